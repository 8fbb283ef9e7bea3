//! The one state machine (contract L1–L6): a pure step from a job and an event to a job, the rows of the
//! transition log and the effects that follow.
//!
//! Invariant: only [`step`] changes a job's state, and no wildcard arm decides about a state.

pub mod times;

use crate::failure::{ErrorClass, Failure, as_message};
use crate::job::{Job, State, StopReason};
use crate::retry;
use crate::time::Timestamp;

/// What can happen to a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The request was read.
    Received,
    /// The checks passed.
    Accepted,
    /// The checks failed.
    Refused(Failure),
    /// Its turn has come and there is room on this machine: an attempt is made.
    Admitted(String),
    /// What another run of its deployment has held on this machine is its own from now on: an attempt is made
    /// (contract F2).
    TakesOver(String),
    /// The launch was lost before anything ran.
    LaunchLost(String),
    /// The engine runs it.
    Started,
    /// The engine's record says that the work is done.
    Succeeded,
    /// The attempt failed; `jitter` is any random number, for the backoff.
    Failed {
        /// Why.
        failure: Failure,
        /// Random.
        jitter: u64,
    },
    /// The attempt failed, and what brings it back does so at once: it keeps what it holds, and another attempt is made.
    /// Failures that are not to be retried any more end it.
    LaunchedAgain(Failure),
    /// The backoff is over.
    BackoffElapsed,
    /// Somebody asks for the end.
    CancelRequested,
    /// It is wanted no more, for this reason, and nothing of it is alive: replaced or suspended (contract F2).
    Withdrawn(String),
    /// It waited too long.
    QueueTimedOut,
    /// It did not start in time.
    LaunchTimedOut,
    /// It ran too long.
    RunTimedOut,
    /// The engine confirms that nothing of the attempt is alive, because Libra ended it.
    Stopped,
}

/// One row of the transition log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// From; None for the first row of a job.
    pub from: Option<State>,
    /// To.
    pub to: State,
    /// Why, in plain words.
    pub reason: String,
    /// The attempt it is about; 0 before the first.
    pub attempt: u32,
}

/// What has to be done because of a step. Values: the caller performs them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Look for jobs to admit.
    WakeScheduler,
    /// Launch, observe or stop the attempt with this number.
    WakeSupervisor(u32),
    /// The attempt row with this number is to be made, in the same transaction.
    OpenAttempt(u32),
    /// The attempt row with this number has begun to run.
    StartAttempt(u32),
    /// The attempt row with this number is to be closed, in the same transaction.
    CloseAttempt(u32),
    /// Subscribers hear about this state: outbox rows in the same transaction.
    Notify(State),
}

/// A step taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The job afterwards, with its revision raised by one.
    pub job: Job,
    /// Rows for the transition log, in order.
    pub log: Vec<Transition>,
    /// What follows.
    pub effects: Vec<Effect>,
}

/// An event that can't happen to a job in this state. Nothing changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// Nothing leaves a terminal state.
    #[error("the job has already ended as {0}")]
    Terminal(State),
    /// The event belongs to another state.
    #[error("this can't happen to a job that is {0}")]
    NotNow(State),
}

/// Collects one step.
struct Stepper {
    job: Job,
    log: Vec<Transition>,
    effects: Vec<Effect>,
    now: Timestamp,
}

impl Stepper {
    fn to(&mut self, state: State, reason: impl Into<String>) {
        let from = self.job.state;
        self.log.push(Transition {
            from: Some(from),
            to: state,
            // Some of it others have said.
            reason: as_message(reason),
            attempt: self.job.attempt,
        });
        self.job.state = state;
        if from.holds_resources() && !state.holds_resources() {
            self.job.host = None;
            self.effects.push(Effect::CloseAttempt(self.job.attempt));
            self.effects.push(Effect::WakeScheduler);
            self.job.stop = None;
        }
        if state.is_terminal() {
            self.job.completed_at = Some(self.now);
            self.job.not_before = None;
        }
        self.effects.push(Effect::Notify(state));
    }

    fn queue(&mut self, reason: &str) {
        self.to(State::Queued, reason);
        self.job.queued_at = Some(self.now);
        self.job.started_at = None;
        self.job.not_before = None;
        self.effects.push(Effect::WakeScheduler);
    }

    fn run(&mut self) {
        self.to(State::Running, "the engine runs it");
        self.job.started_at = Some(self.now);
        self.effects.push(Effect::StartAttempt(self.job.attempt));
    }

    fn admit(&mut self, host: String, why: &str) {
        self.job.attempt += 1;
        self.job.host = Some(host);
        self.to(State::Scheduled, why);
        self.job.scheduled_at = Some(self.now);
        self.job.started_at = None;
        self.effects.push(Effect::OpenAttempt(self.job.attempt));
        self.effects.push(Effect::WakeSupervisor(self.job.attempt));
    }

    fn launch_lost(&mut self, why: &str) {
        if let Some(reason) = self.job.stop {
            self.stopped(reason);
        } else if self.job.lost_launches < retry::MAX_LOST_LAUNCHES {
            self.job.lost_launches += 1;
            self.queue(&format!("the launch was lost before anything ran: {why}"));
        } else {
            // What is lost again and again is trouble like any other: the retry policy decides, with its full wait.
            let message = format!("launches are lost again and again before anything runs; the last: {why}");
            let failure = Failure::new(ErrorClass::Infrastructure, "launch_lost", message);
            let wait = retry::ceiling_ms(&self.job.retry, self.job.retries + 1);
            self.fail(failure, wait);
        }
    }

    fn stop_unless_stopping(&mut self, reason: StopReason) -> Result<(), Rejected> {
        if self.job.stop.is_some() {
            return Err(Rejected::NotNow(self.job.state));
        }
        self.stop(reason);
        Ok(())
    }

    fn stop(&mut self, reason: StopReason) {
        self.job.stop = Some(reason);
        self.effects.push(Effect::WakeSupervisor(self.job.attempt));
    }

    fn fail(&mut self, failure: Failure, jitter: u64) {
        // What took effect is never done again; what may have taken effect only if the user said how to retry
        // (contract L7; docs/decisions/0004).
        let safe = !failure.took_effect && (!failure.outcome_unknown || self.job.spec.retry_policy.is_some());
        let retried = safe && retry::retries(&self.job.retry, failure.class, self.job.retries);
        let reason = failure.message.clone();
        self.job.failure = Some(failure);
        if !retried {
            self.to(State::Failed, reason);
            return;
        }
        // Two rows, one write: nobody is told of FAILED while a retry is left (contract L1).
        let completed_at = self.job.completed_at;
        self.to(State::Failed, reason);
        self.effects.retain(|e| *e != Effect::Notify(State::Failed));
        self.job.completed_at = completed_at;
        self.job.retries += 1;
        let wait = retry::delay_ms(&self.job.retry, self.job.retries, jitter);
        let wait_micros = i64::try_from(wait.saturating_mul(1_000)).unwrap_or(i64::MAX);
        self.job.not_before = Some(self.now.plus_micros(wait_micros));
        let reason = format!("retry {} of {} in {wait} ms", self.job.retries, self.job.retry.max_retries);
        self.to(State::Retrying, reason);
    }

    /// Four rows, one write: nobody sees it in a state in which it holds nothing.
    fn launch_again(&mut self, failure: Failure) {
        if let Some(reason) = self.job.stop {
            return self.stopped(reason);
        }
        let host = self.job.host.clone().unwrap_or_default();
        let reason = failure.message.clone();
        self.job.failure = Some(failure);
        let completed_at = self.job.completed_at;
        self.to(State::Failed, reason);
        if self.job.retries >= self.job.retry.max_retries {
            return;
        }
        self.effects.retain(|e| *e != Effect::Notify(State::Failed));
        self.job.completed_at = completed_at;
        self.job.retries += 1;
        self.to(State::Retrying, format!("retry {}", self.job.retries));
        self.queue("it keeps what it holds");
        self.admit(host, "it is brought back");
    }

    fn withdraw(&mut self, reason: String) {
        if let Some(stop) = self.job.stop {
            return self.stopped(stop);
        }
        let waited = !self.job.state.holds_resources();
        self.to(State::Cancelled, reason);
        if waited {
            self.effects.push(Effect::WakeScheduler);
        }
    }

    /// The end of an attempt that Libra wanted ended.
    fn stopped(&mut self, reason: StopReason) {
        match reason {
            StopReason::Cancel => self.to(State::Cancelled, "cancelled; nothing of it is alive"),
            StopReason::RunTimeout => {
                let limit = self.job.limits.run_seconds.unwrap_or(0);
                self.time_out("run_timeout", format!("ran longer than its limit of {}", seconds(limit)));
            }
            StopReason::LaunchTimeout => {
                let limit = self.job.limits.launch_seconds.unwrap_or(0);
                self.time_out("launch_timeout", format!("did not start within {}", seconds(limit)));
            }
        }
    }

    fn time_out(&mut self, code: &str, message: String) {
        self.job.failure = Some(Failure::new(ErrorClass::Policy, code, message.clone()));
        self.to(State::Timeout, message);
    }

    fn done(mut self) -> Step {
        self.job.revision += 1;
        Step { job: self.job, log: self.log, effects: self.effects }
    }
}

fn seconds(limit: i64) -> String {
    if limit >= 60 && limit % 60 == 0 { format!("{} min", limit / 60) } else { format!("{limit} s") }
}

/// The submission of a new job: SUBMITTED, VALIDATING, QUEUED in one step (contract L1). `job.state` is
/// SUBMITTED and its revision 0.
pub fn submit(job: Job, now: Timestamp) -> Step {
    let mut s = Stepper { job, log: Vec::new(), effects: Vec::new(), now };
    let first = Transition { from: None, to: State::Submitted, reason: "submitted".to_owned(), attempt: 0 };
    s.log.push(first);
    s.effects.push(Effect::Notify(State::Submitted));
    s.to(State::Validating, "the request was read");
    s.queue("the checks passed");
    s.done()
}

/// The states in which an event can happen.
fn happens_in(event: &Event) -> &'static [State] {
    match event {
        Event::Received => &[State::Submitted],
        Event::Accepted | Event::Refused(_) => &[State::Validating],
        Event::Admitted(_) | Event::TakesOver(_) | Event::QueueTimedOut => &[State::Queued],
        Event::LaunchLost(_) | Event::Started | Event::LaunchTimedOut => &[State::Scheduled],
        Event::Succeeded | Event::Failed { .. } | Event::LaunchedAgain(_) | Event::Stopped => {
            &[State::Scheduled, State::Running]
        }
        Event::Withdrawn(_) => &[State::Queued, State::Scheduled, State::Running],
        Event::BackoffElapsed => &[State::Retrying],
        Event::CancelRequested => &[
            State::Submitted,
            State::Validating,
            State::Queued,
            State::Scheduled,
            State::Running,
            State::Retrying,
        ],
        Event::RunTimedOut => &[State::Running],
    }
}

/// Applies `event` to `job` at `now`.
///
/// # Errors
/// [`Rejected`] when the event can't happen in this state; the job is unchanged.
pub fn step(job: &Job, event: Event, now: Timestamp) -> Result<Step, Rejected> {
    let state = job.state;
    if state.is_terminal() {
        return Err(Rejected::Terminal(state));
    }
    let not_now = Rejected::NotNow(state);
    if !happens_in(&event).contains(&state) {
        return Err(not_now);
    }
    let mut s = Stepper { job: job.clone(), log: Vec::new(), effects: Vec::new(), now };
    match event {
        Event::Received => s.to(State::Validating, "the request was read"),
        Event::Accepted => s.queue("the checks passed"),
        Event::Refused(failure) => {
            let reason = failure.message.clone();
            s.job.failure = Some(failure);
            s.to(State::Failed, reason);
        }
        Event::Admitted(host) => s.admit(host, "there is room and it is its turn"),
        Event::TakesOver(host) => s.admit(host, "it takes the place of the run before it"),
        Event::LaunchLost(why) => s.launch_lost(&why),
        Event::Started => s.run(),
        Event::Succeeded => {
            if !state.has_started() {
                s.run();
            }
            s.job.failure = None;
            s.to(State::Succeeded, "the engine reports success");
        }
        Event::Failed { failure, jitter } => match s.job.stop {
            Some(reason) => s.stopped(reason),
            None => s.fail(failure, jitter),
        },
        Event::LaunchedAgain(failure) => s.launch_again(failure),
        Event::BackoffElapsed => s.queue("the backoff is over"),
        Event::Withdrawn(reason) => s.withdraw(reason),
        Event::CancelRequested => {
            s.job.cancel_requested_at.get_or_insert(now);
            if state.holds_resources() {
                // A cancel outranks a time limit: somebody is waiting for it.
                s.stop(StopReason::Cancel);
            } else {
                let reason = if s.job.attempt == 0 {
                    "cancelled before it ran"
                } else {
                    "cancelled between two attempts"
                };
                s.to(State::Cancelled, reason);
                s.effects.push(Effect::WakeScheduler);
            }
        }
        Event::QueueTimedOut => {
            let limit = s.job.limits.queue_seconds.unwrap_or(0);
            s.time_out(
                "queue_timeout",
                format!("waited in the queue longer than its limit of {}", seconds(limit)),
            );
        }
        Event::LaunchTimedOut => s.stop_unless_stopping(StopReason::LaunchTimeout)?,
        Event::RunTimedOut => s.stop_unless_stopping(StopReason::RunTimeout)?,
        Event::Stopped => {
            let reason = s.job.stop.ok_or(not_now)?;
            s.stopped(reason);
        }
    }
    Ok(s.done())
}

#[cfg(test)]
mod tests;
