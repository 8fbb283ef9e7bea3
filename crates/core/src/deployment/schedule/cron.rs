//! The five fields of cron, on a calendar without zones.

use jiff::ToSpan;
use jiff::civil::{Date, DateTime};

/// How far ahead is looked: the same date falls on the same weekday again within 40 years, also around a century that
/// is no leap year.
const HORIZON_YEARS: i16 = 40;

/// Minutes, hours, days, months and weekdays as sets of bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Days and weekdays are both restricted: then one of them is enough, as cron has always had it.
    either: bool,
}

/// One field: what it is called, its least and its greatest value, its names.
struct Field {
    name: &'static str,
    least: u8,
    most: u8,
    names: &'static [&'static str],
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const FIELDS: [Field; 5] = [
    Field { name: "minute", least: 0, most: 59, names: &[] },
    Field { name: "hour", least: 0, most: 23, names: &[] },
    Field { name: "day of the month", least: 1, most: 31, names: &[] },
    Field { name: "month", least: 1, most: 12, names: &MONTHS },
    Field { name: "day of the week", least: 0, most: 7, names: &WEEKDAYS },
];
const NICKNAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

impl Cron {
    /// Reads five fields or a nickname.
    ///
    /// # Errors
    /// What is wrong; reads on after the field's name.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let text = match NICKNAMES.iter().find(|(name, _)| text.eq_ignore_ascii_case(name)) {
            Some((_, fields)) => fields,
            None if text.starts_with('@') => {
                return Err(format!(
                    "has `{text}`; there are @hourly, @daily, @weekly, @monthly and @yearly"
                ));
            }
            None => text,
        };
        let parts: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = parts[..] else {
            let count = parts.len();
            let hint = if count == 6 { "; there is none for seconds" } else { "" };
            return Err(format!(
                "has {count} fields; it needs five, minute hour day month weekday, like `0 2 * * *`{hint}"
            ));
        };
        let [f_minute, f_hour, f_day, f_month, f_weekday] = &FIELDS;
        let weekdays = f_weekday.parse(weekday)?;
        let cron = Self {
            minutes: f_minute.parse(minute)?,
            hours: f_hour.parse(hour)?,
            days: f_day.parse(day)?,
            months: f_month.parse(month)?,
            // 7 is Sunday too.
            weekdays: (weekdays | weekdays >> 7) & 0x7f,
            either: !day.starts_with('*') && !weekday.starts_with('*'),
        };
        let start = jiff::civil::date(2000, 1, 1).at(0, 0, 0, 0);
        cron.next(start).map(|_| cron).ok_or_else(|| "never comes: there is no such date".to_owned())
    }

    /// True when every hour is meant: it follows the clock rather than naming times of the day.
    pub(super) fn is_every_hour(&self) -> bool {
        self.hours == (1 << 24) - 1
    }

    /// The first minute at or after `from` that is meant.
    pub(super) fn next(&self, from: DateTime) -> Option<DateTime> {
        let whole = from.with().second(0).subsec_nanosecond(0).build().ok()?;
        let mut from = if whole < from { whole.checked_add(1.minute()).ok()? } else { whole };
        let last = from.year().checked_add(HORIZON_YEARS)?;
        while from.year() <= last {
            if self.is_day(from.date())
                && let Some((hour, minute)) = self.time_from(from.hour(), from.minute())
            {
                return Some(from.date().at(hour, minute, 0, 0));
            }
            from = from.date().tomorrow().ok()?.at(0, 0, 0, 0);
        }
        None
    }

    fn is_day(&self, date: Date) -> bool {
        let day = has(self.days, date.day());
        let weekday = has(self.weekdays, date.weekday().to_sunday_zero_offset());
        has(self.months, date.month()) && if self.either { day || weekday } else { day && weekday }
    }

    /// The first time of a day at or after `hour`:`minute`.
    fn time_from(&self, hour: i8, minute: i8) -> Option<(i8, i8)> {
        let first = |set: u64, from: i8| (from..64).find(|n| has(set, *n));
        if has(self.hours, hour)
            && let Some(minute) = first(self.minutes, minute)
        {
            return Some((hour, minute));
        }
        Some((first(self.hours, hour + 1)?, first(self.minutes, 0)?))
    }
}

fn has(set: u64, n: i8) -> bool {
    u32::try_from(n).is_ok_and(|n| set.checked_shr(n).unwrap_or(0) & 1 == 1)
}

impl Field {
    fn parse(&self, text: &str) -> Result<u64, String> {
        text.split(',').try_fold(0, |set, part| Ok(set | self.part(part)?))
    }

    /// `*`, `5`, `1-5`, each with `/2`; `5/10` is from 5 on.
    fn part(&self, text: &str) -> Result<u64, String> {
        let (range, step) = match text.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (text, None),
        };
        let (low, high) = if range == "*" {
            // Sunday once.
            (self.least, self.most.min(if self.most == 7 { 6 } else { self.most }))
        } else if let Some((low, high)) = range.split_once('-') {
            let (low, high) = (self.value(low, text)?, self.value(high, text)?);
            // `fri-sun`
            (low, if high == 0 && low > 0 && self.most == 7 { 7 } else { high })
        } else {
            let low = self.value(range, text)?;
            (low, if step.is_some() { self.most } else { low })
        };
        if low > high {
            return Err(format!("has `{text}` as the {}: a range goes up", self.name));
        }
        let step = match step.map(str::parse::<u8>) {
            None => 1,
            Some(Ok(step)) if step > 0 => step,
            Some(_) => return Err(format!("has `{text}` as the {}: a step is a number from 1", self.name)),
        };
        Ok((low..=high).step_by(step.into()).fold(0, |set, n| set | 1 << n))
    }

    fn value(&self, text: &str, part: &str) -> Result<u8, String> {
        let by_name = || self.names.iter().position(|name| text.eq_ignore_ascii_case(name));
        let named = || by_name().and_then(|at| u8::try_from(at).ok()).map(|at| at + self.least);
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let value = if digits { text.parse().ok() } else { named() };
        value.filter(|n| (self.least..=self.most).contains(n)).ok_or_else(|| {
            format!("has `{part}` as the {}; it goes from {} to {}", self.name, self.least, self.most)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn times(text: &str, from: &str, count: usize) -> Vec<String> {
        let cron = Cron::parse(text).unwrap();
        let mut from: DateTime = from.parse().unwrap();
        let mut found = Vec::new();
        for _ in 0..count {
            let at = cron.next(from).unwrap();
            found.push(format!("{} {at:.0}", at.weekday().to_sunday_zero_offset()));
            from = at.checked_add(1.second()).unwrap();
        }
        found
    }

    #[test]
    fn fields_mean_what_cron_means() {
        let mut table = String::new();
        for text in [
            "0 2 * * *",
            "*/20 * * * *",
            "5/20 8-9 * * *",
            "0 9 * * mon-fri",
            "0 0 * * FRI-SUN",
            "0 0 13 * fri",
            "0 0 29 2 *",
            "30 4 1,15 jan,jul *",
            "0 0 31 */2 *",
            "0 0 * * 7",
            "@weekly",
            "@yearly",
        ] {
            let times = times(text, "2025-12-02T10:30:30", 4).join("  ");
            writeln!(table, "{text:<20} {times}").unwrap();
        }
        insta::assert_snapshot!(table);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let mut table = String::new();
        for text in [
            "",
            "* * * *",
            "0 0 2 * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * foo *",
            "* * * * 8",
            "*/0 * * * *",
            "*/x * * * *",
            "5-1 * * * *",
            "-1 * * * *",
            "1,,2 * * * *",
            "+1 * * * *",
            "0 0 30 2 *",
            "@reboot",
            "0 0 L * ?",
        ] {
            writeln!(table, "{text:<14} {}", Cron::parse(text).unwrap_err()).unwrap();
        }
        insta::assert_snapshot!(table);
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "[0-9a-z*/,@ -]{0,24}") {
            let _ = Cron::parse(&text);
        }
    }
}
