//! Spans of time for people.

use libra_core::time::Timestamp;

/// Seconds in a minute, an hour, a day.
const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// The present, by this machine's clock.
pub(crate) fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// `12s`, `3m 20s`, `5h 10m`, `4d`; a second part that is zero is left out.
pub(crate) fn span(seconds: i64) -> String {
    let two = |first: i64, of: &str, second: i64, than: &str| {
        if second == 0 { format!("{first}{of}") } else { format!("{first}{of} {second}{than}") }
    };
    let seconds = seconds.max(0);
    if seconds < MINUTE {
        format!("{seconds}s")
    } else if seconds < HOUR {
        two(seconds / MINUTE, "m", seconds % MINUTE, "s")
    } else if seconds < DAY {
        two(seconds / HOUR, "h", seconds % HOUR / MINUTE, "m")
    } else {
        format!("{}d", seconds / DAY)
    }
}

/// How long ago `at` (RFC 3339) was: `3m ago`. A clock that runs ahead shows as `0s ago`.
pub(crate) fn ago(at: &str, now: Timestamp) -> String {
    since(at, now).map_or_else(|| at.to_owned(), |text| format!("{text} ago"))
}

/// The span from `at` (RFC 3339) to `now`.
pub(crate) fn since(at: &str, now: Timestamp) -> Option<String> {
    let at = Timestamp::parse_rfc3339(at)?;
    #[expect(clippy::cast_possible_truncation, reason = "seconds of a 64-bit count of microseconds")]
    Some(span(now.seconds_since(at) as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_short() {
        let spans: Vec<String> = [-5, 0, 59, 60, 3_599, 3_600, 86_399, 86_400, 900_000].map(span).into();
        assert_eq!(spans, ["0s", "0s", "59s", "1m", "59m 59s", "1h", "23h 59m", "1d", "10d"]);
        assert_eq!(ago("1970-01-01T00:00:00.000Z", Timestamp(5_500_000)), "5s ago");
        assert_eq!(ago("1970-01-01T00:00:09Z", Timestamp(5_500_000)), "0s ago");
        assert_eq!(ago("soon", Timestamp(0)), "soon");
    }
}
