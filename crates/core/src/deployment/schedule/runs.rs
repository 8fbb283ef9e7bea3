//! Runs of a batch job: whose turn it is, and when a run has lasted long enough.

use crate::deployment::spec::Overlap;
use crate::time::{MICROS_PER_SECOND, Timestamp};

use super::Schedule;

/// How long a run may take to stop after its time is over, in microseconds; then it is cancelled.
pub const GRACE: i64 = 60 * MICROS_PER_SECOND;

/// A run that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The time for which it was started.
    pub due: Timestamp,
    /// When its job began.
    pub since: Timestamp,
}

/// What is known of a batch job's runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Runs {
    /// From when on times count: when the deployment was made, resumed, or its schedule changed.
    pub since: Timestamp,
    /// The last time that was dealt with, by a run or by leaving it out.
    pub last_due: Option<Timestamp>,
    /// Runs that were started, ever.
    pub started: u32,
    /// The run under way.
    pub current: Option<Run>,
}

/// What is to be done about the schedule now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing before this time.
    Wait(Timestamp),
    /// A run starts for this time.
    Start(Timestamp),
    /// The run for this time is left out: another one runs. Written down as dealt with.
    Skip(Timestamp),
    /// The run for this time waits for the one under way to end by itself.
    Queue(Timestamp),
    /// The run under way is ended; the one for this time starts after it.
    Replace(Timestamp),
    /// There are no more runs: this many there were to be.
    Over(u32),
    /// The one run under way is the last; or no more times come.
    Last,
}

/// Whose turn is it? Without a schedule a job runs once.
///
/// When several times went by unseen, only the latest counts: work that was missed is done once.
pub fn turn(
    schedule: Option<&Schedule>,
    overlap: Overlap,
    max_runs: Option<u32>,
    runs: &Runs,
    now: Timestamp,
) -> Turn {
    let most = if schedule.is_none() { Some(1) } else { max_runs };
    if let Some(most) = most.filter(|most| runs.started >= *most) {
        return if runs.current.is_some() { Turn::Last } else { Turn::Over(most) };
    }
    let Some(schedule) = schedule else { return Turn::Start(runs.since) };
    let from = runs.last_due.map_or(runs.since, |last| last.max(runs.since));
    let Some(first) = schedule.next(from) else { return Turn::Last };
    if first > now {
        return Turn::Wait(first);
    }
    let due = schedule.latest(first, now);
    match (runs.current, overlap) {
        (None, _) => Turn::Start(due),
        (Some(_), Overlap::Skip) => Turn::Skip(due),
        (Some(_), Overlap::Queue) => Turn::Queue(due),
        (Some(_), Overlap::Replace) => Turn::Replace(due),
    }
}

/// Has a run lasted long enough?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnOver {
    /// It may run; look again at this time, if ever.
    Runs(Option<Timestamp>),
    /// Its time is over: it is ended.
    Over,
}

/// What a run's time to live makes necessary.
pub fn over(since: Timestamp, ttl_seconds: Option<u64>, now: Timestamp) -> TurnOver {
    let Some(ttl) = ttl_seconds else { return TurnOver::Runs(None) };
    let end = since.plus_seconds(i64::try_from(ttl).unwrap_or(i64::MAX));
    if now >= end { TurnOver::Over } else { TurnOver::Runs(Some(end)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60 * MICROS_PER_SECOND;

    fn at(minutes: i64) -> Timestamp {
        Timestamp(minutes * MINUTE)
    }

    fn runs(last_due: Option<i64>, started: u32, running: bool) -> Runs {
        let current = running.then_some(Run { due: at(0), since: at(0) });
        Runs { since: at(0), last_due: last_due.map(at), started, current }
    }

    #[test]
    fn a_run_starts_when_it_is_due() {
        let ten = Schedule::parse("*/10 * * * *", None).unwrap();
        let turn = |runs: &Runs, overlap, now| super::turn(Some(&ten), overlap, Some(3), runs, at(now));
        let free = runs(None, 0, false);
        assert_eq!(turn(&free, Overlap::Skip, 9), Turn::Wait(at(10)), "the moment it was made is no time");
        assert_eq!(turn(&free, Overlap::Skip, 10), Turn::Start(at(10)));
        assert_eq!(turn(&runs(Some(10), 1, false), Overlap::Skip, 10), Turn::Wait(at(20)), "once");
        assert_eq!(turn(&runs(Some(10), 1, false), Overlap::Skip, 55), Turn::Start(at(50)), "missed: once");
        let busy = runs(Some(10), 1, true);
        assert_eq!(turn(&busy, Overlap::Skip, 21), Turn::Skip(at(20)));
        assert_eq!(turn(&busy, Overlap::Queue, 45), Turn::Queue(at(40)), "one waits");
        assert_eq!(turn(&busy, Overlap::Replace, 21), Turn::Replace(at(20)));
        assert_eq!(turn(&runs(Some(30), 3, true), Overlap::Skip, 99), Turn::Last);
        assert_eq!(turn(&runs(Some(30), 3, false), Overlap::Skip, 99), Turn::Over(3));
    }

    #[test]
    fn without_a_schedule_it_runs_once() {
        let turn = |runs: &Runs| super::turn(None, Overlap::Skip, Some(5), runs, at(3));
        assert_eq!(turn(&runs(None, 0, false)), Turn::Start(at(0)));
        assert_eq!(turn(&runs(Some(0), 1, true)), Turn::Last);
        assert_eq!(turn(&runs(Some(0), 1, false)), Turn::Over(1));
    }

    #[test]
    fn a_run_has_its_time() {
        assert_eq!(over(at(10), None, at(1_000_000)), TurnOver::Runs(None));
        assert_eq!(over(at(10), Some(60), at(10)), TurnOver::Runs(Some(at(11))));
        assert_eq!(over(at(10), Some(60), at(11)), TurnOver::Over);
    }

    proptest::proptest! {
        #[test]
        fn the_latest_time_is_the_latest(minutes in 1i64..5_000, every in 1i64..60, hour in 0u8..24) {
            for text in [format!("*/{every} * * * *"), format!("5 {hour} * * *")] {
                let schedule = Schedule::parse(&text, None).unwrap();
                let Some(first) = schedule.next(at(0)).filter(|first| *first <= at(minutes)) else { continue };
                let found = schedule.latest(first, at(minutes));
                proptest::prop_assert!(found <= at(minutes));
                proptest::prop_assert!(schedule.next(found).unwrap() > at(minutes), "{}", text);
                proptest::prop_assert_eq!(schedule.next(found.plus_micros(-1)), Some(found));
            }
        }
    }
}
