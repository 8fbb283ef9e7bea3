//! When a job ran by its engine's own words.

use super::Step;
use crate::time::{MICROS_PER_SECOND, Timestamp};

/// An end is noted as so old, at most, in microseconds; its attempt has the true time.
const MOST_BACKDATED: i64 = 300 * MICROS_PER_SECOND;

/// When an engine says that a job began and ended, by a clock of its own. An engine that runs jobs whether anybody looks or not
/// knows it better than who looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EngineTimes {
    /// The beginning.
    pub began: Option<Timestamp>,
    /// The end.
    pub ended: Option<Timestamp>,
}

impl Step {
    /// Gives the job the engine's times where the step has given it Libra's. They stay between the moment at which the job was
    /// given to the engine and now: another clock cuts no job's past short, and no job ends in the future.
    pub fn tell(&mut self, times: EngineTimes, now: Timestamp) {
        let job = &mut self.job;
        let given = job.scheduled_at.unwrap_or(job.submitted_at).min(now);
        if let Some(began) = times.began.filter(|_| job.started_at.is_some()) {
            job.started_at = Some(began.clamp(given, now));
        }
        if let Some(ended) = times.ended.filter(|_| job.completed_at.is_some()) {
            let from = job.started_at.unwrap_or(given).min(now);
            // What is kept is counted from there: an end of long ago that is only known now must not be forgotten at once.
            let from = from.max(now.plus_micros(-MOST_BACKDATED)).min(now);
            job.completed_at = Some(ended.clamp(from, now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::job;
    use super::*;
    use crate::job::{Job, State};

    const SECOND: i64 = MICROS_PER_SECOND;

    fn at(seconds: i64) -> Timestamp {
        Timestamp(1_000_000_000).plus_micros(seconds * SECOND)
    }

    fn told(
        job: Job,
        began: Option<i64>,
        ended: Option<i64>,
        now: i64,
    ) -> (Option<Timestamp>, Option<Timestamp>) {
        let mut step = Step { job, log: Vec::new(), effects: Vec::new() };
        step.tell(EngineTimes { began: began.map(at), ended: ended.map(at) }, at(now));
        (step.job.started_at, step.job.completed_at)
    }

    fn ended() -> Job {
        Job {
            scheduled_at: Some(at(10)),
            started_at: Some(at(30)),
            completed_at: Some(at(60)),
            ..job(State::Succeeded)
        }
    }

    #[test]
    fn the_engine_knows_when_it_ran() {
        assert_eq!(told(ended(), Some(12), Some(55), 60), (Some(at(12)), Some(at(55))));
        assert_eq!(told(ended(), None, None, 60), (Some(at(30)), Some(at(60))));
    }

    #[test]
    fn nothing_is_told_of_what_has_not_come() {
        let waits = Job { started_at: None, completed_at: None, ..ended() };
        assert_eq!(told(waits, Some(12), Some(55), 60), (None, None));
    }

    #[test]
    fn another_clock_cuts_no_past_short_and_makes_no_future() {
        assert_eq!(told(ended(), Some(2), Some(90), 60), (Some(at(10)), Some(at(60))));
        // An end before its own beginning.
        assert_eq!(told(ended(), Some(40), Some(20), 60), (Some(at(40)), Some(at(40))));
    }

    #[test]
    fn an_end_of_long_ago_is_noted_as_of_some_minutes_ago() {
        assert_eq!(told(ended(), Some(12), Some(55), 4_000).1, Some(at(3_700)));
    }
}
