//! Durations as people write them.

use std::time::Duration;

/// Reads `30m`, `10s`, `500ms`, `2h`, `7d`, or `0`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let seconds = match unit.trim() {
        "" if number == 0 => 0,
        "ms" => return Some(Duration::from_millis(number)),
        "s" => number,
        "m" | "min" => number.checked_mul(60)?,
        "h" => number.checked_mul(3_600)?,
        "d" => number.checked_mul(86_400)?,
        _ => return None,
    };
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("30m"), Some(Duration::from_mins(30)));
        assert_eq!(duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(duration("0"), Some(Duration::ZERO));
        for text in ["30", "m", "-1s", "1w", "99999999999999999999s", ""] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
