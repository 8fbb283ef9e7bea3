//! Taking a step of the lifecycle: decide with core, write conditionally, tell those who wait.

use std::sync::Arc;

use libra_core::attempt::{Attempt, Exit, Handle, Holder};
use libra_core::id::{JobId, Token};
use libra_core::job::{Job, State};
use libra_core::lifecycle::times::EngineTimes;
use libra_core::lifecycle::{self, Effect, Event, Rejected, Step};
use libra_core::mode::Mode;
use libra_core::time::Timestamp;
use libra_core::turn::Why;
use libra_store::StoreError;
use libra_store::lane::{AttemptWrite, Change, Origin, Outcome, Seen};
use libra_store::signals::Signal;
use serde_json::json;

use super::standing::{fence_of, leader_fence};
use super::{Service, notify};

/// Who takes the step.
#[derive(Clone, Debug)]
pub(crate) enum ByWhom {
    /// The leader, under its epoch.
    Leader(i64),
    /// The replica that looks after the attempt, in the life in which it took it.
    Holder(Holder),
    /// A user, guarded by the revision alone.
    User(String),
}

/// What an engine said that goes into the attempt's row with the step.
#[derive(Clone, Debug, Default)]
pub(crate) struct FromEngine {
    pub(crate) handle: Option<Handle>,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) exit: Option<Exit>,
    /// What a look brought that is not stored yet.
    pub(crate) seen: Option<Seen>,
    /// Where a new attempt is to run.
    pub(crate) place: Option<Place>,
    /// Why it is the job's turn.
    pub(crate) why: Option<Why>,
}

/// Where a new attempt is to run, and who looks after it.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Machine-id and boot-id.
    pub(crate) host: String,
    /// Whose files it uses.
    pub(crate) storage: String,
    /// Who launches it next; None when a replica on that host is to claim it.
    pub(crate) holder: Option<Holder>,
}

/// A step that was decided, and is not stored yet.
pub(crate) struct Decided {
    /// What is to be stored.
    pub(crate) change: Change,
    /// The step.
    pub(crate) step: Step,
    opened: Option<Attempt>,
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
        let Decided { change, step, opened } = match self.decide(job, event, who, engine) {
            Ok(decided) => decided,
            Err(rejected) => return Ok(Applied::Rejected(rejected)),
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

    /// Decides a step of `job`. Whoever stores it tells of it: [`Self::announce`].
    ///
    /// # Errors
    /// When it can't happen to a job in this state.
    pub(crate) fn decide(
        &self,
        job: &Job,
        event: Event,
        who: ByWhom,
        engine: FromEngine,
    ) -> Result<Decided, Rejected> {
        let now = self.clock.now();
        let mut step = lifecycle::step(job, event, now)?;
        if job.mode == Mode::Slurm {
            step.tell(times(&engine), now);
        }
        let opened = self.opened(&step, now, engine.place.clone());
        let replica = &self.standing.me.id;
        // The epochs are in the log, so that anybody can see that no two replicas did the same.
        let (actor, fence, metadata) = match who {
            ByWhom::Leader(epoch) => {
                let mut metadata = json!({"leader": replica, "epoch": epoch});
                match engine.why {
                    None => {}
                    Some(Why::Turn) => metadata["turn"] = json!("in order"),
                    Some(Why::Reserved) => metadata["turn"] = json!("room was kept for it"),
                    // Whose job is ahead is not for everybody who reads this one's history.
                    Some(Why::Backfill { ahead: _, reserved_at }) => {
                        metadata["turn"] = json!("before another, which it does not delay");
                        metadata["otherStartsBy"] = json!(reserved_at.rfc3339());
                    }
                }
                ("libra".to_owned(), Some(leader_fence(epoch)), Some(metadata.to_string()))
            }
            ByWhom::Holder(holder) => {
                let metadata = json!({"replica": holder.replica, "epoch": holder.epoch});
                ("libra".to_owned(), Some(fence_of(&holder)), Some(metadata.to_string()))
            }
            ByWhom::User(user) => (user, None, None),
        };
        let change = Change {
            expected_revision: job.revision,
            attempts: attempt_writes(&step, opened.as_ref(), engine, now),
            outbox: notify::outbox(&step, now),
            job: step.job.clone(),
            log: step.log.clone(),
            origin: Origin { at: now, actor, metadata },
            fence,
        };
        Ok(Decided { change, step, opened })
    }

    /// Tells those who wait for this job to look at it.
    pub(super) fn changed(&self, job: JobId) {
        self.signals.tell(Signal::Changed(job));
    }

    fn opened(&self, step: &Step, now: Timestamp, place: Option<Place>) -> Option<Attempt> {
        let number = step.effects.iter().find_map(|e| match e {
            Effect::OpenAttempt(number) => Some(*number),
            Effect::WakeScheduler
            | Effect::WakeSupervisor(_)
            | Effect::StartAttempt(_)
            | Effect::CloseAttempt(_)
            | Effect::Notify(_) => None,
        })?;
        let place = place.unwrap_or_else(|| self.here());
        Some(Attempt {
            job_id: step.job.id,
            number,
            token: Token::new(now, self.clock.entropy()),
            mode: step.job.mode,
            host: place.host,
            storage: place.storage,
            created_at: now,
            // The row is the intent: its holder launches next, and whoever finds the row later looks first.
            launched_at: place.holder.as_ref().map(|_| now),
            holder: place.holder,
            started_at: None,
            ended_at: None,
            handle: None,
            exit: None,
            progress: None,
            usage: None,
            looks: 0,
            application_id: None,
            links: libra_core::attempt::Links::default(),
        })
    }

    /// This replica's own place.
    pub(crate) fn here(&self) -> Place {
        let me = &self.standing.me;
        Place { host: me.host.clone(), storage: me.storage.clone(), holder: Some(self.standing.holder()) }
    }

    /// Counts, logs and wakes, after the step is durable.
    pub(crate) fn announce(&self, step: &Step) {
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
            self.signals.tell(if queued { Signal::Queue } else { Signal::Room });
        }
        self.signals.tell(Signal::Logged);
        self.changed(job.id);
    }
}

/// When Slurm says that it ran: it runs a job whether anybody looks or not.
fn times(engine: &FromEngine) -> EngineTimes {
    let exit = engine.exit.as_ref();
    EngineTimes {
        began: exit.and_then(|exit| exit.began).or(engine.started_at),
        ended: exit.map(|exit| exit.at),
    }
}

fn attempt_writes(
    step: &Step,
    opened: Option<&Attempt>,
    engine: FromEngine,
    now: Timestamp,
) -> Vec<AttemptWrite> {
    let FromEngine { handle, started_at, exit, seen, place: _, why: _ } = engine;
    let mut writes = Vec::new();
    let mut look = seen;
    let mut looked = |number: u32| look.take().map(|seen| AttemptWrite::Look { number, seen });
    let starts = step.effects.iter().any(|effect| matches!(effect, Effect::StartAttempt(_)));
    for effect in &step.effects {
        match effect {
            Effect::OpenAttempt(_) => writes.extend(opened.map(|a| AttemptWrite::Open(Box::new(a.clone())))),
            Effect::StartAttempt(number) => {
                writes.extend(looked(*number));
                writes.push(AttemptWrite::Start {
                    number: *number,
                    at: started_at.or(exit.as_ref().and_then(|exit| exit.began)).unwrap_or(now),
                    handle: handle.clone(),
                });
            }
            Effect::CloseAttempt(number) => {
                writes.extend(looked(*number));
                // What the engine has put back and begun anew has begun with its last run.
                let began = exit.as_ref().and_then(|exit| exit.began).filter(|_| !starts);
                writes.extend(began.map(|at| AttemptWrite::Start { number: *number, at, handle: None }));
                writes.push(AttemptWrite::Close {
                    number: *number,
                    at: exit.as_ref().map_or(now, |e| e.at),
                    exit: exit.clone(),
                });
            }
            Effect::WakeScheduler | Effect::WakeSupervisor(_) | Effect::Notify(_) => {}
        }
    }
    writes
}
