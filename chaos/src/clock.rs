//! Times as the marks and the database have them: microseconds since the Unix epoch. All on one machine.

use std::time::{SystemTime, UNIX_EPOCH};

/// The present time, in microseconds since the Unix epoch.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Seconds between two times.
pub(crate) fn seconds(from: i64, to: i64) -> f64 {
    (to - from) as f64 / 1e6
}

/// A time of the API (RFC 3339).
pub(crate) fn parse(text: &str) -> Option<i64> {
    text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_microsecond)
}
