use std::fmt::Write as _;

use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;

const MINUTE: i64 = 60_000_000;
const DAY: i64 = 1_440 * MINUTE;

fn schedule(cron: &str, zone: &str) -> Schedule {
    Schedule::parse(cron, Some(zone)).unwrap()
}

fn time(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

#[test]
fn clocks_that_are_put_forward_and_back() {
    let mut table = String::new();
    for (zone, cron, from) in [
        ("Europe/Berlin", "30 2 * * *", "2025-03-28T12:00:00Z"),
        ("Europe/Berlin", "0,15,30,45 2 * * *", "2025-03-30T00:50:00Z"),
        ("Europe/Berlin", "30 2 * * *", "2025-10-25T12:00:00Z"),
        ("Europe/Berlin", "30 */2 * * *", "2025-10-25T22:00:00Z"),
        ("Europe/Berlin", "*/30 * * * *", "2025-03-30T00:10:00Z"),
        ("Europe/Berlin", "*/30 * * * *", "2025-10-26T00:10:00Z"),
        ("America/New_York", "0 2 * * sun", "2025-03-03T12:00:00Z"),
        ("Africa/Cairo", "@daily", "2025-04-23T12:00:00Z"),
        ("Australia/Lord_Howe", "15 2 * * *", "2025-10-04T00:00:00Z"),
        ("Australia/Lord_Howe", "0 * * * *", "2025-10-04T14:30:00Z"),
        ("Pacific/Apia", "0 12 * * *", "2011-12-28T12:00:00Z"),
        ("Asia/Kolkata", "0 2 * * *", "2025-12-02T00:00:00Z"),
    ] {
        let schedule = schedule(cron, zone);
        let tz = TimeZone::get(zone).unwrap();
        writeln!(table, "{cron} {zone}").unwrap();
        let mut at = time(from);
        for _ in 0..5 {
            at = schedule.next(at).unwrap();
            let local = jiff::Timestamp::from_microsecond(at.0).unwrap().to_zoned(tz.clone());
            writeln!(table, "  {}  {}", at.rfc3339(), local.strftime("%H:%M %z")).unwrap();
        }
    }
    insta::assert_snapshot!(table);
}

#[test]
fn a_wrong_zone_and_a_wrong_cron_are_told_apart() {
    let zone = Schedule::parse("@daily", Some("Europe/Atlantis")).unwrap_err();
    assert!(zone.is_zone() && zone.to_string().contains("Europe/Berlin"));
    assert!(!Schedule::parse("daily", Some("UTC")).unwrap_err().is_zone());
    assert_eq!(Schedule::parse("@daily", None).unwrap().next(Timestamp(i64::MAX)), None, "time ends");
}

const ZONES: [&str; 8] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Santiago",
    "Africa/Cairo",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Pacific/Apia",
];

fn crons() -> impl Strategy<Value = String> {
    let minute = prop_oneof![
        Just("*".to_owned()),
        (1u8..60).prop_map(|n| format!("*/{n}")),
        (0u8..60).prop_map(|n| n.to_string())
    ];
    let hour = prop_oneof![
        Just("*".to_owned()),
        (0u8..24).prop_map(|n| n.to_string()),
        (0u8..4).prop_map(|n| format!("{n}-{}", n + 3)),
        (1u8..24).prop_map(|n| format!("*/{n}"))
    ];
    let day = prop_oneof![Just("*".to_owned()), (1u8..29).prop_map(|n| n.to_string())];
    let weekday = prop_oneof![Just("*".to_owned()), Just("sat,sun".to_owned())];
    (minute, hour, day, weekday).prop_map(|(m, h, d, w)| format!("{m} {h} {d} * {w}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Compared with the plainest way there is: look at the clock every minute.
    #[test]
    fn nothing_comes_that_is_not_meant_and_nothing_is_missed(
        cron in crons(), zone in 0usize..8, change in 0usize..24
    ) {
        let schedule = schedule(&cron, ZONES[zone]);
        let tz = TimeZone::get(ZONES[zone]).unwrap();
        // Two days around a change of the clock, where there is one. (Files of zones may end with one that is none, in
        // 2038, at no full minute.)
        let since = "2010-01-01T00:00:00Z";
        let change = tz.following(since.parse().unwrap()).nth(change).map(|t| t.timestamp().as_microsecond());
        let start = change.unwrap_or(time(since).0) / MINUTE * MINUTE - DAY;
        let reading = |at: i64| tz.to_datetime(jiff::Timestamp::from_microsecond(at).unwrap());
        let meant = |local: DateTime| schedule.cron.next(local) == Some(local);
        let mut expected = Vec::new();
        for minute in 1..=2 * 1_440 {
            let at = start + minute * MINUTE;
            let (before, now) = (reading(at - MINUTE), reading(at));
            let skipped = now.duration_since(before) > jiff::SignedDuration::from_mins(1);
            let due = if schedule.cron.is_every_hour() {
                meant(now)
            } else {
                // In the repeated time, only the first.
                let first = tz.to_ambiguous_timestamp(now).earlier().unwrap().as_microsecond() == at;
                let missed = skipped
                    && schedule.cron.next(before.checked_add(jiff::SignedDuration::from_mins(1)).unwrap()).unwrap() < now;
                (meant(now) && first) || missed
            };
            if due {
                expected.push(at);
            }
        }
        let mut found = Vec::new();
        let mut at = Timestamp(start);
        while let Some(next) = schedule.next(at).filter(|t| t.0 <= start + 2 * DAY) {
            prop_assert!(next > at);
            found.push(next.0);
            at = next;
        }
        prop_assert_eq!(found, expected, "{} {}", cron, ZONES[zone]);
    }

    #[test]
    fn later_questions_never_have_earlier_answers(
        cron in crons(), zone in 0usize..8, minute in 0i64..525_600, later in 0i64..5_000
    ) {
        let schedule = schedule(&cron, ZONES[zone]);
        let at = Timestamp(time("2025-01-01T00:00:00Z").0 + minute * MINUTE);
        prop_assert!(schedule.next(at).unwrap() <= schedule.next(at.plus_micros(later * MINUTE)).unwrap());
    }

    #[test]
    fn every_day_has_its_time_once(hour in 0u8..24, minute in 0u8..60, zone in 0usize..7) {
        let schedule = schedule(&format!("{minute} {hour} * * *"), ZONES[zone]);
        let (mut at, end) = (time("2025-01-01T11:59:59Z"), time("2026-01-01T11:59:59Z"));
        let mut count = 0;
        while let Some(next) = schedule.next(at).filter(|t| *t <= end) {
            prop_assert!(next > at);
            count += 1;
            at = next;
        }
        prop_assert_eq!(count, 365);
    }
}
