//! What must hold of stored jobs at every moment. Run after every step of a test, and on demand in production.

use crate::id::JobId;
use crate::job::{Job, State};
use crate::lifecycle::{Effect, Step, Transition};
use crate::retry;

/// What is looked at: one job with its attempts and its log.
#[derive(Clone, Debug)]
pub struct Snapshot<'a> {
    /// The job.
    pub job: &'a Job,
    /// Its attempts: (number, still open).
    pub attempts: &'a [(u32, bool)],
    /// Its transition log, oldest first.
    pub log: &'a [Transition],
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Of which job.
    pub job: JobId,
    /// Which one, in words.
    pub what: String,
}

/// Checks one job; an empty list is what one hopes for.
pub fn check(snapshot: &Snapshot<'_>) -> Vec<Violation> {
    let Snapshot { job, attempts, log } = *snapshot;
    let mut found = Vec::new();
    let mut must = |holds: bool, what: String| {
        if !holds {
            found.push(Violation { job: job.id, what });
        }
    };

    must(log.first().is_some_and(|t| t.from.is_none()), "the log does not begin with the submission".into());
    must(
        log.last().map(|t| t.to) == Some(job.state),
        format!("the state is {}, the log ends elsewhere", job.state),
    );
    for pair in log.windows(2) {
        if let [before, after] = pair {
            must(after.from == Some(before.to), format!("the log jumps from {} to {}", before.to, after.to));
            let retried = before.to == State::Failed && after.to == State::Retrying;
            must(!before.to.is_terminal() || retried, format!("the log leaves {}", before.to));
        }
    }

    let open: Vec<u32> = attempts.iter().filter(|(_, open)| *open).map(|(n, _)| *n).collect();
    if job.state.holds_resources() {
        must(
            open == [job.attempt],
            format!("{} with open attempts {open:?}, not [{}]", job.state, job.attempt),
        );
    } else {
        must(open.is_empty(), format!("{} with open attempts {open:?}", job.state));
    }
    let numbers: Vec<u32> = attempts.iter().map(|(n, _)| *n).collect();
    must(numbers == (1..=job.attempt).collect::<Vec<_>>(), format!("attempts are numbered {numbers:?}"));

    must(
        job.state.is_terminal() == job.completed_at.is_some(),
        format!("{} and completedAt {:?}", job.state, job.completed_at),
    );
    must((job.state == State::Retrying) == job.not_before.is_some(), "a backoff without RETRYING".into());
    must(job.stop.is_none() || job.state.holds_resources(), format!("{} is still to be stopped", job.state));
    must(job.retries <= job.retry.max_retries, format!("{} retries spent", job.retries));
    must(job.lost_launches <= retry::MAX_LOST_LAUNCHES, format!("{} launches lost", job.lost_launches));
    must(
        u64::from(job.attempt) <= 1 + u64::from(job.retries) + u64::from(job.lost_launches),
        format!(
            "{} attempts for {} retries and {} lost launches",
            job.attempt, job.retries, job.lost_launches
        ),
    );
    must(
        !matches!(job.state, State::Failed | State::Timeout) || job.failure.is_some(),
        format!("{} without a reason", job.state),
    );
    found
}

/// Keeps what the store would keep, for tests of the pure machine.
#[derive(Clone, Debug, Default)]
pub struct History {
    attempts: Vec<(u32, bool)>,
    log: Vec<Transition>,
}

impl History {
    /// Begins with a submission.
    pub fn begin(step: &Step) -> Self {
        let mut history = Self::default();
        history.follow(step);
        history
    }

    /// Applies one step.
    pub fn follow(&mut self, step: &Step) {
        self.log.extend(step.log.iter().cloned());
        for effect in &step.effects {
            match effect {
                Effect::OpenAttempt(n) => self.attempts.push((*n, true)),
                Effect::CloseAttempt(n) => {
                    for attempt in self.attempts.iter_mut().filter(|a| a.0 == *n) {
                        attempt.1 = false;
                    }
                }
                Effect::StartAttempt(_)
                | Effect::WakeScheduler
                | Effect::WakeSupervisor(_)
                | Effect::Notify(_) => {}
            }
        }
    }

    /// What to check for `job`.
    pub fn snapshot<'a>(&'a self, job: &'a Job) -> Snapshot<'a> {
        Snapshot { job, attempts: &self.attempts, log: &self.log }
    }
}
