//! Taking a step of the lifecycle: decide with core, write conditionally, tell those who wait.

use std::sync::Arc;

use libra_core::attempt::{Attempt, Exit, Handle};
use libra_core::id::{JobId, Token};
use libra_core::job::{Job, State};
use libra_core::lifecycle::{self, Effect, Event, Rejected, Step};
use libra_core::time::Timestamp;
use libra_store::StoreError;
use libra_store::lane::{AttemptWrite, Change, Origin, Outcome};

use super::{Service, notify};
use crate::clock;

/// Who takes the step.
#[derive(Clone, Debug)]
pub(crate) enum ByWhom {
    /// A worker of Libra's, under its lease.
    Worker,
    /// A user, guarded by the revision alone.
    User(String),
}

/// What an engine said that goes into the attempt's row with the step.
#[derive(Clone, Debug, Default)]
pub(crate) struct FromEngine {
    pub(crate) handle: Option<Handle>,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) exit: Option<Exit>,
}

/// What became of a step.
#[derive(Debug)]
pub(crate) enum Applied {
    /// Taken: the job afterwards, and the attempt it opened, if any.
    Done(Box<Job>, Option<Box<Attempt>>),
    /// The job has moved on since it was read, or is gone: read again.
    Stale,
    /// It can't happen to a job in this state.
    Rejected(Rejected),
}

impl Service {
    /// Takes one step of `job`.
    pub(crate) async fn step(
        self: &Arc<Self>,
        job: &Job,
        event: Event,
        who: ByWhom,
        engine: FromEngine,
    ) -> Result<Applied, StoreError> {
        let now = clock::now();
        let step = match lifecycle::step(job, event, now) {
            Ok(step) => step,
            Err(rejected) => return Ok(Applied::Rejected(rejected)),
        };
        let opened = self.opened(&step, now);
        let (actor, fence) = match who {
            ByWhom::Worker => ("libra".to_owned(), Some(self.fence.clone())),
            ByWhom::User(user) => (user, None),
        };
        let change = Change {
            expected_revision: job.revision,
            attempts: attempt_writes(&step, opened.as_ref(), engine, now),
            outbox: notify::outbox(&step, now),
            job: step.job.clone(),
            log: step.log.clone(),
            origin: Origin { at: now, actor, metadata: None },
            fence,
        };
        // A task of its own: whoever asked may go away in the middle, and what is stored must be told all the same.
        let service = Arc::clone(self);
        let applied = tokio::spawn(async move {
            let outcome = service.db.apply(change).await?;
            if outcome == Outcome::Updated {
                service.announce(&step);
            }
            Ok::<_, StoreError>((outcome, step))
        });
        let (outcome, step) = applied.await.map_err(|_| StoreError::Closed)??;
        Ok(match outcome {
            Outcome::Updated => Applied::Done(Box::new(step.job), opened.map(Box::new)),
            Outcome::Stale | Outcome::Absent => Applied::Stale,
        })
    }

    /// Tells those who wait for this job to look at it.
    pub(super) fn changed(&self, job: JobId) {
        // Nobody waiting is fine.
        let _ = self.changes.send(job);
    }

    fn opened(&self, step: &Step, now: Timestamp) -> Option<Attempt> {
        let number = step.effects.iter().find_map(|e| match e {
            Effect::OpenAttempt(number) => Some(*number),
            Effect::WakeScheduler
            | Effect::WakeSupervisor(_)
            | Effect::StartAttempt(_)
            | Effect::CloseAttempt(_)
            | Effect::Notify(_) => None,
        })?;
        Some(Attempt {
            job_id: step.job.id,
            number,
            token: Token::new(now, clock::entropy()),
            mode: step.job.mode,
            host: self.host.clone(),
            epoch: self.fence.epoch,
            created_at: now,
            // The row is the intent: this process launches next, and whoever finds the row later looks first.
            launched_at: Some(now),
            started_at: None,
            ended_at: None,
            handle: None,
            exit: None,
            progress: None,
            application_id: None,
            links: libra_core::attempt::Links::default(),
        })
    }

    /// Counts, logs and wakes, after the step is durable.
    pub(super) fn announce(&self, step: &Step) {
        let job = &step.job;
        for row in &step.log {
            // A FAILED that is retried is told to nobody, and counted nowhere.
            if step.effects.contains(&Effect::Notify(row.to)) {
                self.metrics.reached(row.to, job);
            }
            tracing::info!(
                job_id = %job.id, correlation_id = %job.correlation_id, user_id = %job.user,
                execution_mode = job.mode.as_str(), attempt = row.attempt,
                from = row.from.map_or("", State::as_str), to = row.to.as_str(),
                reason = %row.reason, "job is {}", row.to
            );
        }
        if step.effects.contains(&Effect::WakeScheduler) {
            let queued = job.state == State::Queued;
            if queued { &self.wake_for_queue } else { &self.wake_for_room }.notify_one();
        }
        self.wake_feed.notify_one();
        self.changed(job.id);
    }
}

fn attempt_writes(
    step: &Step,
    opened: Option<&Attempt>,
    engine: FromEngine,
    now: Timestamp,
) -> Vec<AttemptWrite> {
    let FromEngine { handle, started_at, exit } = engine;
    let mut writes = Vec::new();
    for effect in &step.effects {
        match effect {
            Effect::OpenAttempt(_) => writes.extend(opened.map(|a| AttemptWrite::Open(Box::new(a.clone())))),
            Effect::StartAttempt(number) => writes.push(AttemptWrite::Start {
                number: *number,
                at: started_at.unwrap_or(now),
                handle: handle.clone(),
            }),
            Effect::CloseAttempt(number) => writes.push(AttemptWrite::Close {
                number: *number,
                at: exit.as_ref().map_or(now, |e| e.at),
                exit: exit.clone(),
            }),
            Effect::WakeScheduler | Effect::WakeSupervisor(_) | Effect::Notify(_) => {}
        }
    }
    writes
}
