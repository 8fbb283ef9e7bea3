//! Spells intervals as Spark's SQL does.

use super::clock::print;
use super::proto_types::Interval;

const MICROS_PER_SECOND: u64 = 1_000_000;
const MICROS_PER_MINUTE: u64 = 60 * MICROS_PER_SECOND;
const MICROS_PER_HOUR: u64 = 60 * MICROS_PER_MINUTE;
const MICROS_PER_DAY: u64 = 24 * MICROS_PER_HOUR;
const MONTHS_PER_YEAR: u32 = 12;

const YEAR_MONTH_FIELDS: [&str; 2] = ["YEAR", "MONTH"];
const DAY_TIME_FIELDS: [&str; 4] = ["DAY", "HOUR", "MINUTE", "SECOND"];

/// The first and the last field of an interval type, as indices into its field names. Spark's default is the
/// widest interval, and a start without an end stands for one field.
fn range(interval: Interval, fields: usize) -> (usize, usize) {
    let last = fields - 1;
    let index = |field: i32| usize::try_from(field).map_or(last, |f| f.min(last));
    let start = interval.start_field.map_or(0, index);
    let end = interval.end_field.map_or(if interval.start_field.is_some() { start } else { last }, index);
    (start, end.max(start))
}

/// `DAY TO SECOND`, or `DAY` alone.
fn name(fields: &[&str], (start, end): (usize, usize)) -> String {
    if start == end { fields[start].to_owned() } else { format!("{} TO {}", fields[start], fields[end]) }
}

/// The type's name in Spark's JSON schema: `interval year to month`.
pub(super) fn year_month_type(interval: Interval) -> String {
    format!("interval {}", name(&YEAR_MONTH_FIELDS, range(interval, 2)).to_ascii_lowercase())
}

/// The type's name in Spark's JSON schema: `interval day to second`.
pub(super) fn day_time_type(interval: Interval) -> String {
    format!("interval {}", name(&DAY_TIME_FIELDS, range(interval, 4)).to_ascii_lowercase())
}

/// Appends `INTERVAL '1-2' YEAR TO MONTH`.
pub(super) fn year_month(months: i32, interval: Interval, out: &mut Vec<u8>) {
    let range = range(interval, 2);
    let sign = if months < 0 { "-" } else { "" };
    let months = months.unsigned_abs();
    print(out, format_args!("INTERVAL '{sign}"));
    match range {
        (0, 0) => print(out, format_args!("{}", months / MONTHS_PER_YEAR)),
        (0, _) => print(out, format_args!("{}-{}", months / MONTHS_PER_YEAR, months % MONTHS_PER_YEAR)),
        (_, _) => print(out, format_args!("{months}")),
    }
    print(out, format_args!("' {}", name(&YEAR_MONTH_FIELDS, range)));
}

/// Appends `INTERVAL '1 02:03:04.5' DAY TO SECOND`.
pub(super) fn day_time(micros: i64, interval: Interval, out: &mut Vec<u8>) {
    let (start, end) = range(interval, 4);
    let sign = if micros < 0 { "-" } else { "" };
    let mut rest = micros.unsigned_abs();
    print(out, format_args!("INTERVAL '{sign}"));
    for field in start..=end {
        if field > start {
            out.push(if field == 1 { b' ' } else { b':' });
        }
        match field {
            0 => {
                print(out, format_args!("{}", rest / MICROS_PER_DAY));
                rest %= MICROS_PER_DAY;
            }
            1 => {
                print(out, format_args!("{:02}", rest / MICROS_PER_HOUR));
                rest %= MICROS_PER_HOUR;
            }
            2 => {
                print(out, format_args!("{:02}", rest / MICROS_PER_MINUTE));
                rest %= MICROS_PER_MINUTE;
            }
            _ => {
                print(out, format_args!("{:02}", rest / MICROS_PER_SECOND));
                fraction(rest % MICROS_PER_SECOND, out);
            }
        }
    }
    print(out, format_args!("' {}", name(&DAY_TIME_FIELDS, (start, end))));
}

/// Appends `1 years 2 months 3 days 4 hours 5 minutes 6.5 seconds` without the parts that are zero.
pub(super) fn calendar(months: i32, days: i32, nanos: i64, out: &mut Vec<u8>) {
    let micros = nanos / 1_000;
    let start = out.len();
    let mut part = |number: i64, unit: &str| {
        if number != 0 {
            let gap = if out.len() > start { " " } else { "" };
            print(out, format_args!("{gap}{number} {unit}"));
        }
    };
    part(i64::from(months / 12), "years");
    part(i64::from(months % 12), "months");
    part(i64::from(days), "days");
    part(micros / 3_600_000_000, "hours");
    part(micros / 60_000_000 % 60, "minutes");
    let rest = micros % 60_000_000;
    if rest != 0 {
        let gap = if out.len() > start { " " } else { "" };
        let sign = if rest < 0 { "-" } else { "" };
        let rest = rest.unsigned_abs();
        print(out, format_args!("{gap}{sign}{}", rest / MICROS_PER_SECOND));
        fraction(rest % MICROS_PER_SECOND, out);
        out.extend_from_slice(b" seconds");
    } else if out.len() == start {
        out.extend_from_slice(b"0 seconds");
    }
}

fn fraction(micros: u64, out: &mut Vec<u8>) {
    if micros != 0 {
        print(out, format_args!(".{micros:06}"));
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(start: i32, end: i32) -> Interval {
        Interval { start_field: Some(start), end_field: Some(end) }
    }

    fn text(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn year_month_intervals_are_spelled_as_spark_does() {
        let show = |months, start, end| text(|o| year_month(months, fields(start, end), o));
        assert_eq!(show(14, 0, 1), "INTERVAL '1-2' YEAR TO MONTH");
        assert_eq!(show(-14, 0, 1), "INTERVAL '-1-2' YEAR TO MONTH");
        assert_eq!(show(24, 0, 0), "INTERVAL '2' YEAR");
        assert_eq!(show(14, 1, 1), "INTERVAL '14' MONTH");
        assert_eq!(show(i32::MIN, 0, 1), "INTERVAL '-178956970-8' YEAR TO MONTH");
        assert_eq!(year_month_type(fields(0, 1)), "interval year to month");
        assert_eq!(year_month_type(Interval { start_field: Some(1), end_field: None }), "interval month");
        assert_eq!(
            year_month_type(Interval { start_field: None, end_field: None }),
            "interval year to month"
        );
    }

    #[test]
    fn day_time_intervals_are_spelled_as_spark_does() {
        let show = |micros, start, end| text(|o| day_time(micros, fields(start, end), o));
        let value = 93_784_500_000;
        assert_eq!(show(value, 0, 3), "INTERVAL '1 02:03:04.5' DAY TO SECOND");
        assert_eq!(show(-value, 0, 3), "INTERVAL '-1 02:03:04.5' DAY TO SECOND");
        assert_eq!(show(value, 0, 1), "INTERVAL '1 02' DAY TO HOUR");
        assert_eq!(show(value, 0, 0), "INTERVAL '1' DAY");
        assert_eq!(show(value, 1, 2), "INTERVAL '26:03' HOUR TO MINUTE");
        assert_eq!(show(value, 3, 3), "INTERVAL '93784.5' SECOND");
        assert_eq!(show(0, 0, 3), "INTERVAL '0 00:00:00' DAY TO SECOND");
        assert_eq!(show(i64::MIN, 0, 3), "INTERVAL '-106751991 04:00:54.775808' DAY TO SECOND");
        assert_eq!(day_time_type(fields(1, 3)), "interval hour to second");
    }

    #[test]
    fn calendar_intervals_name_their_parts() {
        let show = |months, days, nanos| text(|o| calendar(months, days, nanos, o));
        assert_eq!(show(14, 3, 14_706_500_000_000), "1 years 2 months 3 days 4 hours 5 minutes 6.5 seconds");
        assert_eq!(show(-1, 0, -500_000_000), "-1 months -0.5 seconds");
        assert_eq!(show(0, 0, 0), "0 seconds");
    }

    proptest::proptest! {
        #[test]
        fn no_value_makes_it_panic(micros: i64, months: i32, start: Option<i32>, end: Option<i32>) {
            let interval = Interval { start_field: start, end_field: end };
            let mut out = Vec::new();
            day_time(micros, interval, &mut out);
            year_month(months, interval, &mut out);
            calendar(months, months, micros, &mut out);
            proptest::prop_assert!(!day_time_type(interval).is_empty());
        }
    }
}
