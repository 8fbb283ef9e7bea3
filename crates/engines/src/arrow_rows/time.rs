//! Dates and times from the texts in which they are stored, for any year.

/// Microseconds in a second and in a day.
const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;
/// The Gregorian calendar repeats itself after so many days and years; 1970-01-01 is so many days into it.
const ERA_DAYS: i64 = 146_097;
const ERA_YEARS: i64 = 400;
const EPOCH: i64 = 719_468;

/// Days since 1970-01-01 of `2026-01-31`.
pub(super) fn date(text: &str) -> Option<i32> {
    i32::try_from(days(text)?).ok()
}

/// Microseconds since 1970 of `2026-01-31T08:00:00.5`, with or without a `Z`.
pub(super) fn timestamp(text: &str) -> Option<i64> {
    let (day, time) = text.strip_suffix('Z').unwrap_or(text).split_once(['T', ' '])?;
    // The first day that 64 bits of microseconds reach begins before them.
    let micros = i128::from(days(day)?) * i128::from(DAY) + i128::from(nanos(time)? / 1_000);
    i64::try_from(micros).ok()
}

/// Nanoseconds since midnight of `08:00:00.5`.
pub(super) fn nanos(text: &str) -> Option<i64> {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut parts = clock.split(':').map(digits);
    let (hours, minutes) = (parts.next()??, parts.next()??);
    let seconds = parts.next().unwrap_or(Some(0))?;
    if fraction.len() > 9 || (!fraction.is_empty() && digits(fraction).is_none()) {
        return None;
    }
    let fraction: i64 = format!("{fraction:0<9}").parse().ok()?;
    Some((hours * 3_600 + minutes * 60 + seconds) * SECOND * 1_000 + fraction)
}

fn digits(text: &str) -> Option<i64> {
    Some(text).filter(|t| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()
}

fn days(text: &str) -> Option<i64> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut parts = text.split('-').map(digits);
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    if parts.next().is_some() || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // A year begins in March here, so that the leap day is its last.
    let year = if negative { -year } else { year } - i64::from(month <= 2);
    let (era, of_era) = (year.div_euclid(ERA_YEARS), year.rem_euclid(ERA_YEARS));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = of_era * 365 + of_era / 4 - of_era / 100 + day_of_year;
    era.checked_mul(ERA_DAYS)?.checked_add(day_of_era - EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        assert_eq!(date("1970-01-01"), Some(0));
        assert_eq!(date("2000-02-29"), Some(11_016));
        assert_eq!(date("1969-12-31"), Some(-1));
        assert_eq!(date("0001-01-01"), Some(-719_162));
        assert_eq!(date("+10000-01-01"), Some(2_932_897));
        assert_eq!(timestamp("1970-01-02T00:00:00.5Z"), Some(86_400_500_000));
        assert_eq!(timestamp("1969-12-31T23:59:59.999999"), Some(-1));
        assert_eq!(timestamp("-290308-12-21T19:59:05.224192"), Some(i64::MIN));
        assert_eq!(timestamp("+294247-01-10T04:00:54.775807Z"), Some(i64::MAX));
        assert_eq!(timestamp("+294247-01-10T04:00:54.775808Z"), None);
        assert_eq!(nanos("00:00:01.000000001"), Some(1_000_000_001));
        for text in ["", "2026", "2026-13-01", "2026-01-01T", "x-01-01"] {
            assert_eq!(timestamp(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_day_is_read_as_the_calendar_has_it(day in -719_162_i32..=2_932_896) {
            let start = jiff::civil::date(1970, 1, 1);
            let text = start.checked_add(jiff::Span::new().days(day)).unwrap().to_string();
            proptest::prop_assert_eq!(date(&text), Some(day));
        }
    }
}
