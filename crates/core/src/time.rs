//! Points in time and their spelling on the wire.

use serde::{Deserialize, Serialize};

/// A point in time: microseconds since the Unix epoch, UTC. Stored as BIGINT in every store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

/// Microseconds in one second.
pub const MICROS_PER_SECOND: i64 = 1_000_000;

impl Timestamp {
    /// RFC 3339 in UTC with milliseconds, as the references print it: `2025-12-02T10:30:00.123Z`.
    pub fn rfc3339(self) -> String {
        jiff::Timestamp::from_microsecond(self.0)
            .map_or_else(|_| String::from("1970-01-01T00:00:00.000Z"), |t| format!("{t:.3}"))
    }

    /// Reads RFC 3339 with any offset.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        text.parse::<jiff::Timestamp>().ok().map(|t| Self(t.as_microsecond()))
    }

    /// This point moved by `seconds` (negative moves back); saturates at the ends of time.
    #[must_use]
    pub fn plus_seconds(self, seconds: i64) -> Self {
        self.plus_micros(seconds.saturating_mul(MICROS_PER_SECOND))
    }

    /// This point moved by `micros`; saturates at the ends of time.
    #[must_use]
    pub fn plus_micros(self, micros: i64) -> Self {
        Self(self.0.saturating_add(micros))
    }

    /// Seconds from `earlier` to this point, as a fraction; never negative.
    pub fn seconds_since(self, earlier: Self) -> f64 {
        self.0.saturating_sub(earlier.0).max(0) as f64 / MICROS_PER_SECOND as f64
    }

    /// Milliseconds since the Unix epoch, zero for times before it.
    pub fn unix_millis(self) -> u64 {
        u64::try_from(self.0 / 1_000).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_prints_as_the_references_print_it() {
        assert_eq!(Timestamp(1_764_671_400_123_456).rfc3339(), "2025-12-02T10:30:00.123Z");
    }

    #[test]
    fn offsets_are_read() {
        assert_eq!(
            Timestamp::parse_rfc3339("2025-12-02T11:30:00.123456+01:00"),
            Some(Timestamp(1_764_671_400_123_456))
        );
        assert_eq!(Timestamp::parse_rfc3339("yesterday"), None);
    }
}
