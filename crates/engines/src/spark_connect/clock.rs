//! Spells dates, times and timestamps as contract A2 wants them: ISO 8601, without trailing zeros.
//!
//! Spark's range (years ±290,000) is wider than any calendar library's, hence the arithmetic here.

use std::io::Write;

const SECONDS_PER_DAY: i64 = 86_400;
const NANOS_PER_SECOND: i64 = 1_000_000_000;
/// Days in 400 Gregorian years.
const DAYS_PER_ERA: i64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01.
const EPOCH_SHIFT_DAYS: i64 = 719_468;

/// Appends `YYYY-MM-DD` of a number of days since 1970-01-01 (proleptic Gregorian calendar).
///
/// Years beyond four digits carry a sign, as ISO 8601's expanded form does.
pub(super) fn date(days: i64, out: &mut Vec<u8>) {
    // Years are counted from March, so that the leap day is the last day of a year.
    let shifted = days + EPOCH_SHIFT_DAYS;
    let era = shifted.div_euclid(DAYS_PER_ERA);
    let day_of_era = shifted.rem_euclid(DAYS_PER_ERA);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / (DAYS_PER_ERA - 1)) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    if (0..=9999).contains(&year) {
        print(out, format_args!("{year:04}-{month:02}-{day:02}"));
    } else {
        print(out, format_args!("{year:+05}-{month:02}-{day:02}"));
    }
}

/// Appends `HH:MM:SS[.fraction]` of nanoseconds since midnight.
pub(super) fn time_of_day(nanos: i64, out: &mut Vec<u8>) {
    let seconds = nanos.div_euclid(NANOS_PER_SECOND);
    print(out, format_args!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60));
    fraction(nanos.rem_euclid(NANOS_PER_SECOND), out);
}

/// Appends `YYYY-MM-DDTHH:MM:SS[.fraction]` of a time since the epoch, counted in `per_second` parts of a second.
pub(super) fn timestamp(units: i64, per_second: i64, out: &mut Vec<u8>) {
    let seconds = units.div_euclid(per_second);
    date(seconds.div_euclid(SECONDS_PER_DAY), out);
    out.push(b'T');
    let nanos = units.rem_euclid(per_second) * (NANOS_PER_SECOND / per_second);
    time_of_day(seconds.rem_euclid(SECONDS_PER_DAY) * NANOS_PER_SECOND + nanos, out);
}

/// Appends `.5` for 500,000,000 nanoseconds; nothing for 0.
fn fraction(nanos: i64, out: &mut Vec<u8>) {
    if nanos != 0 {
        print(out, format_args!(".{nanos:09}"));
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
}

/// Appends formatted text.
pub(super) fn print(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to a Vec can't fail.
    let _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn known_points_are_spelled_right() {
        for (days, expected) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (19_782, "2024-02-29"),
            (-719_162, "0001-01-01"),
            (-719_528, "0000-01-01"),
            (-719_529, "-0001-12-31"),
            (2_932_896, "9999-12-31"),
            (2_932_897, "+10000-01-01"),
        ] {
            assert_eq!(text(|o| date(days, o)), expected);
        }
        for (micros, expected) in [
            (0, "1970-01-01T00:00:00"),
            (-1, "1969-12-31T23:59:59.999999"),
            (1_764_671_400_120_000, "2025-12-02T10:30:00.12"),
            (i64::MAX, "+294247-01-10T04:00:54.775807"),
            (i64::MIN, "-290308-12-21T19:59:05.224192"),
        ] {
            assert_eq!(text(|o| timestamp(micros, 1_000_000, o)), expected);
        }
        assert_eq!(text(|o| timestamp(1_500_000_001, 1_000_000_000, o)), "1970-01-01T00:00:01.500000001");
        assert_eq!(text(|o| time_of_day(86_399_999_999_000, o)), "23:59:59.999999");
        assert_eq!(text(|o| time_of_day(0, o)), "00:00:00");
    }

    proptest::proptest! {
        #[test]
        fn agrees_with_a_calendar_library(micros in -62_135_596_800_000_000_i64..253_402_300_799_000_000) {
            let expected = jiff::Timestamp::from_microsecond(micros).unwrap().to_string();
            proptest::prop_assert_eq!(text(|o| { timestamp(micros, 1_000_000, o); o.push(b'Z'); }), expected);
        }
    }
}
