//! Looking after one attempt: intent, launch, observation, end (design §3).
//!
//! Every turn is: read what is stored, do one idempotent thing outside, record what came of it. A crash between
//! any two leaves a state from which the next turn goes on.

use std::sync::Arc;
use std::time::Duration;

use libra_core::artifact;
use libra_core::attempt::{Attempt, Exit, Handle, Holder, Links, Outcome as Ended};
use libra_core::failure::{ErrorClass, Failure};
use libra_core::job::{Job, State};
use libra_core::lifecycle::Event;
use libra_core::time::Timestamp;
use libra_engines::engine::{CancelOutcome, Engine, Launch, LaunchError, Launched, Observation, Running};
use libra_engines::failpoint;
use libra_store::StoreError;
use libra_store::lane::{AttemptNote, Note, Outcome, Seen};
use libra_store::tables::{attempts, jobs};
use tokio::time::{Instant, sleep};

use super::Shutdown;
use super::supervisor::Found;
use crate::service::{Applied, ByWhom, FromEngine, Service, Watch, uploads_dir};

/// A running attempt is looked at this often when nothing was heard of it (contract L2: at least every 10 s).
const LOOK: Duration = Duration::from_secs(5);
/// An attempt that starts or stops is looked at more often.
const LOOK_SOON: Duration = Duration::from_millis(250);
/// After a failure of the store or of an engine's answer.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// After this many writes in a row that came too late, the next one waits.
const MAX_MISSES: u32 = 3;
/// Progress is stored no more often than this.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// What an attempt uses changes at every look: where nothing else is news, it is stored no more often than this.
const USAGE_EVERY: Duration = Duration::from_secs(10);

/// What a turn leads to.
enum Next {
    /// Look again at once.
    Again,
    /// Wait for news, or this long.
    Wait(Duration),
    /// The attempt is over.
    Over,
    /// It is somebody else's.
    TakenAway,
    /// Somebody else has ended it: nothing of it may run on.
    GivenUp,
}

struct Driver {
    service: Arc<Service>,
    engine: Arc<dyn Engine>,
    launch: Launch,
    job: Job,
    attempt: Attempt,
    /// In which life this replica looks after it: nothing is written in the name of a later one.
    holder: Holder,
    /// The row may have changed: read it before the next decision.
    stale: bool,
    /// Nothing was launched yet: this process has just stored the intent.
    fresh: bool,
    noted_at: Option<tokio::time::Instant>,
    /// When its usage was stored last.
    usage_noted_at: Option<tokio::time::Instant>,
    /// Since when it runs, as the launch said.
    running_since: Option<Timestamp>,
    /// Steps of this driver's own that its watch will still tell of.
    own: u64,
    /// Writes in a row that came too late.
    misses: u32,
}

/// Looks after one attempt until it is over or Libra stops.
pub(super) async fn drive(
    service: Arc<Service>,
    job: Job,
    attempt: Attempt,
    found: Found,
    mut shutdown: Shutdown,
) {
    let Some(engine) = service.engines.get(&attempt.mode).cloned() else {
        tracing::error!(job_id = %job.id, mode = attempt.mode.as_str(), "this mode's engine is not enabled any more");
        return;
    };
    let Some(holder) = attempt.holder.clone() else { return };
    let mut changes = service.watch(job.id);
    let until = match found {
        Found::JustOpened { until } => until,
        Found::InTheStore => None,
    };
    let launch = launch_of(&service, &job, &attempt, until);
    let mut driver = Driver {
        service,
        engine,
        launch,
        job,
        attempt,
        holder,
        stale: found == Found::InTheStore,
        fresh: matches!(found, Found::JustOpened { .. }),
        noted_at: None,
        usage_noted_at: None,
        running_since: None,
        own: 0,
        misses: 0,
    };
    while !shutdown.is_now() {
        // After trouble nothing but time helps: what the engine tells at once would only make a busy loop of it.
        let mut in_trouble = false;
        let wait = match driver.turn().await {
            Ok(Next::Again) if driver.misses < MAX_MISSES => continue,
            Ok(Next::Again) => {
                in_trouble = true;
                driver.misses = 0;
                TRY_AGAIN
            }
            Ok(Next::Wait(wait)) => wait,
            Ok(Next::Over) => return,
            Ok(Next::GivenUp) => {
                tracing::info!(job_id = %driver.job.id, attempt = driver.attempt.number, "somebody else has ended it");
                driver.clear_away(&mut shutdown).await;
                return;
            }
            Ok(Next::TakenAway) => {
                tracing::info!(job_id = %driver.job.id, attempt = driver.attempt.number, "somebody else looks after it now");
                driver.engine.leave(driver.launch.token);
                return;
            }
            Err(e) => {
                tracing::warn!(job_id = %driver.job.id, error = %e, "an attempt's state could not be stored; trying again");
                driver.stale = true;
                in_trouble = true;
                TRY_AGAIN
            }
        };
        tokio::select! {
            biased;
            () = shutdown.wait() => return,
            () = driver.engine.changed(driver.launch.token), if !in_trouble => {}
            () = by_others(&mut changes, &mut driver.own) => driver.stale = true,
            // A wake-up may have been lost: the row is looked at as well.
            () = sleep(wait) => driver.stale = true,
        }
    }
}

/// What the engine is told about an attempt.
fn launch_of(service: &Service, job: &Job, attempt: &Attempt, until: Option<Instant>) -> Launch {
    Launch {
        job_id: job.id,
        attempt: attempt.number,
        token: attempt.token,
        spec: artifact::at(&job.spec, &uploads_dir(&service.attempt_dir(job.id, attempt.number))),
        user: job.user.clone(),
        tenant: job.tenant.clone(),
        dir: service.attempt_dir(job.id, attempt.number),
        same_boot: attempt.host == service.standing.me.host,
        until,
    }
}

/// Returns when the job's row may have been changed by somebody else.
async fn by_others(changes: &mut Watch, own: &mut u64) {
    loop {
        let heard = changes.changed().await;
        if heard > *own {
            *own = 0;
            return;
        }
        *own -= heard;
    }
}

impl Driver {
    async fn turn(&mut self) -> Result<Next, StoreError> {
        if self.stale
            && let Some(end) = self.refresh().await?
        {
            return Ok(end);
        }
        if self.fresh {
            return self.begin().await;
        }
        match (self.attempt.launched_at, self.attempt.handle.clone()) {
            (None, None) => self.intend().await,
            (Some(_), None) => self.look_for().await,
            (_, Some(handle)) => match self.job.stop {
                Some(_) => self.stop(&handle).await,
                None => self.observe(&handle).await,
            },
        }
    }

    /// Reads the rows again; says so when this attempt is over, or no longer this replica's.
    async fn refresh(&mut self) -> Result<Option<Next>, StoreError> {
        let (id, number) = (self.job.id, self.attempt.number);
        let found = self
            .service
            .db
            .read(move |tx| Ok(jobs::get(tx, id)?.zip(attempts::get(tx, id, number)?)))
            .await?;
        let Some((job, attempt)) = found else { return Ok(Some(Next::TakenAway)) };
        let over = job.attempt != number || !job.state.holds_resources() || attempt.ended_at.is_some();
        if over {
            return Ok(Some(Next::GivenUp));
        }
        // In a later life of its own this replica takes it over like anybody else.
        let ours =
            attempt.holder.as_ref() == Some(&self.holder) && self.holder == self.service.standing.holder();
        if !ours {
            return Ok(Some(Next::TakenAway));
        }
        // A handle that is known but not yet stored is not forgotten.
        let handle = attempt.handle.clone().or_else(|| self.attempt.handle.take());
        self.attempt = Attempt { handle, ..attempt };
        self.job = job;
        self.stale = false;
        Ok(None)
    }

    /// Ends what still runs of an attempt that others have given up: it may run a second time by now. Where nothing is
    /// left, as after an end that another replica of this host has recorded, that is quickly seen.
    async fn clear_away(&mut self, shutdown: &mut Shutdown) {
        let nothing = || Handle(serde_json::Value::Null);
        let handle = self.attempt.handle.take().unwrap_or_else(nothing);
        while !shutdown.is_now() {
            match self.engine.cancel(&self.launch, &handle).await {
                Ok(CancelOutcome::Gone(_)) => break,
                Ok(CancelOutcome::Stopping) => {}
                Err(e) => {
                    tracing::warn!(job_id = %self.job.id, error = %e, "what was given up can't be ended yet; trying again");
                }
            }
            tokio::select! {
                () = shutdown.wait() => {}
                () = sleep(LOOK_SOON) => {}
            }
        }
        self.engine.release(&self.launch, &handle).await;
        self.engine.leave(self.launch.token);
    }

    /// Takes a step; true when it was taken. A stale job is read again by the next turn.
    async fn step(&mut self, event: Event, engine: FromEngine) -> Result<bool, StoreError> {
        match self.service.step(&self.job, event, ByWhom::Holder(self.holder.clone()), engine).await? {
            Applied::Done(job, _) => {
                self.job = *job;
                self.own += 1;
                self.misses = 0;
                Ok(true)
            }
            Applied::Stale => {
                self.stale = true;
                self.misses += 1;
                Ok(false)
            }
            Applied::Rejected(why) => {
                tracing::debug!(job_id = %self.job.id, %why, "a step was refused");
                self.stale = true;
                self.misses += 1;
                Ok(false)
            }
        }
    }

    async fn note(&mut self, what: Note) -> Result<bool, StoreError> {
        let by = self.holder.clone();
        let note = AttemptNote { job_id: self.job.id, number: self.attempt.number, by, what };
        let noted = self.service.db.note(note).await? == Outcome::Updated;
        self.stale |= !noted;
        Ok(noted)
    }

    /// Scheduled without an intent: store it, so that whatever happens next can be looked up.
    async fn intend(&mut self) -> Result<Next, StoreError> {
        let at = self.service.clock.now();
        self.launch.until = self.service.launch_until();
        let host = self.service.standing.me.host.clone();
        if self.note(Note::Intent { at, host: host.clone() }).await? {
            self.attempt.launched_at = Some(at);
            self.attempt.host = host;
            self.launch.same_boot = true;
            self.fresh = true;
        }
        Ok(Next::Again)
    }

    /// The intent is stored and nothing was done yet: launch.
    async fn begin(&mut self) -> Result<Next, StoreError> {
        self.fresh = false;
        failpoint::hit("after-intent");
        if self.job.stop.is_some() {
            return self.ended(Event::Stopped, FromEngine::default()).await;
        }
        if let Err(e) = self.service.files.make_dir(&self.launch.dir) {
            let message =
                format!("the job's directory can't be made: {e}; check the disk of the data directory");
            let failure = Failure::new(ErrorClass::Infrastructure, "no_directory", message);
            return self.failed(failure, None).await;
        }
        if let Err(failure) = self.service.place_uploads(&self.job, &self.launch.dir).await {
            return self.failed(failure, None).await;
        }
        if self.launch.is_late() {
            // It stood still, or was cut off. Others may run the job by now: whether anything was launched is looked up.
            return Ok(Next::Again);
        }
        match self.engine.launch(&self.launch).await {
            Ok(launched) => {
                failpoint::hit("after-launch");
                self.launched(launched).await
            }
            Err(LaunchError::Refused(failure)) => self.failed(failure, None).await,
            Err(LaunchError::NotNow(why)) => {
                tracing::debug!(job_id = %self.job.id, why, "the engine can't be reached; it is launched later");
                // As if the intent had just been stored: nothing has happened since.
                self.fresh = true;
                self.launch.until = self.service.launch_until();
                self.wait_for_launch().await
            }
            Err(LaunchError::Unknown(why)) => {
                tracing::warn!(job_id = %self.job.id, why, "a launch has an unknown outcome: it is looked up");
                Ok(Next::Again)
            }
        }
    }

    /// The outcome of a launch is unknown: ask the engine, never launch again.
    async fn look_for(&mut self) -> Result<Next, StoreError> {
        // Whoever stored the intent may have died before it made the directory, where `find` revokes the launch.
        if let Err(e) = self.service.files.make_dir(&self.launch.dir) {
            tracing::warn!(job_id = %self.job.id, error = %e, "the job's directory can't be made");
        }
        match self.engine.find(&self.launch).await {
            Ok(Some(launched)) => self.launched(launched).await,
            Ok(None) => {
                let why = "Libra went away before the engine had it".to_owned();
                self.ended(Event::LaunchLost(why), FromEngine::default()).await
            }
            Err(e) => {
                tracing::warn!(job_id = %self.job.id, error = %e, "the engine does not say whether it was launched");
                self.wait_for_launch().await
            }
        }
    }

    /// Waits for an engine that does not answer, as long as a launch may take.
    async fn wait_for_launch(&mut self) -> Result<Next, StoreError> {
        Ok(match self.time_out_launch().await? {
            Next::Wait(_) => Next::Wait(LOOK),
            next @ (Next::Again | Next::Over | Next::TakenAway | Next::GivenUp) => next,
        })
    }

    async fn launched(&mut self, launched: Launched) -> Result<Next, StoreError> {
        let Launched { handle, running_since } = launched;
        self.attempt.handle = Some(handle.clone());
        self.running_since = running_since;
        // A success that is there already is told with one write: its beginning and its end.
        let asked = [(self.launch.clone(), handle.clone())];
        let mut running = None;
        match self.engine.observe(&asked).await.pop() {
            Some(Observation::Ended(exit)) if exit.outcome == Ended::Succeeded => {
                failpoint::hit("before-result");
                return self.exited(exit).await;
            }
            Some(Observation::Running(seen)) => running = Some(seen),
            Some(
                Observation::Starting
                | Observation::Waiting(_)
                | Observation::Ended(_)
                | Observation::NeverRan(_)
                | Observation::Unknown(_),
            )
            | None => {}
        }
        if let Some(since) = running_since
            && self.job.state == State::Scheduled
            && self.job.stop.is_none()
        {
            // The handle goes along with RUNNING: one write instead of two.
            self.started(handle, Some(since), running.unwrap_or_default()).await?;
        } else {
            self.note(Note::Handle(handle)).await?;
        }
        failpoint::hit("after-handle");
        Ok(Next::Again)
    }

    async fn observe(&mut self, handle: &Handle) -> Result<Next, StoreError> {
        let asked = [(self.launch.clone(), handle.clone())];
        let seen = self.engine.observe(&asked).await.pop();
        match seen.unwrap_or_else(|| Observation::Unknown("the engine gave no answer".into())) {
            Observation::Starting => self.time_out_launch().await,
            Observation::Waiting(waiting) => self.waiting(waiting).await,
            Observation::Running(running) => self.running(handle, running).await,
            Observation::Ended(exit) => {
                failpoint::hit("before-result");
                self.exited(exit).await
            }
            Observation::NeverRan(why) => self.never_ran(why).await,
            Observation::Unknown(why) => {
                tracing::debug!(job_id = %self.job.id, why, "the engine can't tell at present");
                if self.job.state.has_started() {
                    self.time_out_run().await
                } else {
                    self.time_out_launch().await
                }
            }
        }
    }

    /// The engine has no trace of it. A job that was seen running must not be launched again as if it had not been.
    async fn never_ran(&mut self, why: String) -> Result<Next, StoreError> {
        if !self.job.state.has_started() {
            return self.ended(Event::LaunchLost(why), FromEngine::default()).await;
        }
        let message = format!("it was running, and its engine has no trace of it any more: {why}");
        let failure = Failure::new(ErrorClass::Infrastructure, "trace_lost", message).with_unknown_outcome();
        self.failed(failure, None).await
    }

    async fn running(&mut self, handle: &Handle, running: Running) -> Result<Next, StoreError> {
        if self.job.state == State::Scheduled {
            if !self.started(handle.clone(), running.since, running).await? {
                return Ok(Next::Again);
            }
        } else {
            self.keep(running).await?;
        }
        self.time_out_run().await
    }

    /// It runs: that, and what was seen of it, is one write.
    async fn started(
        &mut self,
        handle: Handle,
        since: Option<Timestamp>,
        running: Running,
    ) -> Result<bool, StoreError> {
        let seen = self.news(running);
        let engine = FromEngine {
            handle: Some(handle),
            started_at: since,
            seen: seen.clone(),
            ..FromEngine::default()
        };
        let taken = self.step(Event::Started, engine).await?;
        if let Some(seen) = seen.filter(|_| taken) {
            self.kept(seen);
        }
        Ok(taken)
    }

    /// It waits for its turn where it is; one that has run before was put back there.
    async fn waiting(&mut self, waiting: Running) -> Result<Next, StoreError> {
        self.keep(waiting).await?;
        if self.job.state.has_started() { self.time_out_run().await } else { self.wait_for_launch().await }
    }

    /// Stores progress, usage, application id and addresses where they are news.
    async fn keep(&mut self, running: Running) -> Result<(), StoreError> {
        if let Some(seen) = self.news(running)
            && self.note(Note::Seen(seen.clone())).await?
        {
            self.kept(seen);
        }
        Ok(())
    }

    /// What of a look is news that is to be stored now.
    fn news(&self, running: Running) -> Option<Seen> {
        let before = self.attempt.progress.as_ref();
        let mut progress = running.progress.clone();
        if let (Some(now), Some(before)) = (&mut progress, before) {
            // A percentage never goes backwards.
            now.percentage = now.percentage.max(before.percentage);
        }
        // Nothing known is no news: what was known before stays.
        let links =
            if running.links == Links::default() { self.attempt.links.clone() } else { running.links };
        let began = running.again.filter(|at| self.attempt.started_at != Some(*at));
        let news = (progress.is_some() && progress.as_ref() != before)
            || began.is_some()
            || (running.application_id.is_some() && running.application_id != self.attempt.application_id)
            || links != self.attempt.links;
        let usage = running.usage.map(|usage| usage.after(self.attempt.usage.as_ref()));
        // Turns depend on it.
        let known = self.attempt.usage.and_then(|usage| usage.executors);
        let grown = usage.is_some_and(|usage| usage.executors != known);
        let used = usage.is_some()
            && usage != self.attempt.usage
            && self.usage_noted_at.is_none_or(|at| at.elapsed() >= USAGE_EVERY);
        let early = self.noted_at.is_some_and(|at| at.elapsed() < PROGRESS_EVERY);
        if !(news || used || grown) || early {
            return None;
        }
        let application_id = running.application_id;
        Some(Seen { after: self.attempt.looks, progress, usage, application_id, links, began })
    }

    /// What was seen is stored, or something newer is: then the next write comes too late, and the row is read again.
    fn kept(&mut self, seen: Seen) {
        self.noted_at = Some(tokio::time::Instant::now());
        self.usage_noted_at = self.noted_at;
        self.attempt.started_at = seen.began.or(self.attempt.started_at);
        self.attempt.progress = seen.progress.or_else(|| self.attempt.progress.take());
        self.attempt.usage = seen.usage.or(self.attempt.usage);
        self.attempt.looks = seen.after + 1;
        self.attempt.application_id = seen.application_id.or_else(|| self.attempt.application_id.take());
        self.attempt.links = seen.links;
    }

    async fn time_out_launch(&mut self) -> Result<Next, StoreError> {
        let limit = self.job.limits.launch_seconds.zip(self.job.scheduled_at);
        match limit.map(|(limit, since)| since.plus_seconds(limit)) {
            Some(deadline) if deadline <= self.service.clock.now() && self.job.stop.is_none() => {
                self.step(Event::LaunchTimedOut, FromEngine::default()).await?;
                Ok(Next::Again)
            }
            _ => Ok(Next::Wait(LOOK_SOON)),
        }
    }

    async fn time_out_run(&mut self) -> Result<Next, StoreError> {
        let limit = self.job.limits.run_seconds.zip(self.job.started_at);
        match limit.map(|(limit, since)| since.plus_seconds(limit)) {
            Some(deadline) if deadline <= self.service.clock.now() => {
                self.step(Event::RunTimedOut, FromEngine::default()).await?;
                Ok(Next::Again)
            }
            Some(deadline) => {
                let left = Duration::from_secs_f64(deadline.seconds_since(self.service.clock.now()));
                Ok(Next::Wait(LOOK.min(left)))
            }
            None => Ok(Next::Wait(LOOK)),
        }
    }

    /// The attempt is to end: tell the engine until nothing of it is alive.
    async fn stop(&mut self, handle: &Handle) -> Result<Next, StoreError> {
        match self.engine.cancel(&self.launch, handle).await {
            Ok(CancelOutcome::Gone(exit)) => self.exited(exit).await,
            Ok(CancelOutcome::Stopping) => Ok(Next::Wait(LOOK_SOON)),
            Err(e) => {
                tracing::warn!(job_id = %self.job.id, error = %e, "the engine did not take the cancellation; trying again");
                Ok(Next::Wait(TRY_AGAIN))
            }
        }
    }

    async fn exited(&mut self, exit: Exit) -> Result<Next, StoreError> {
        // What was seen since the last look is kept as well; the throttle is for running attempts.
        self.noted_at = None;
        self.usage_noted_at = None;
        let seen = self.news(self.engine.traces(&self.launch));
        let event = match &exit.outcome {
            Ended::Succeeded => Event::Succeeded,
            Ended::Failed { failure } => {
                Event::Failed { failure: failure.clone(), jitter: self.service.clock.jitter() }
            }
            Ended::Stopped if self.job.stop.is_some() => Event::Stopped,
            Ended::Stopped => {
                let message = "it was stopped by somebody else than Libra";
                let failure = Failure::new(ErrorClass::Infrastructure, "stopped_elsewhere", message);
                Event::Failed { failure, jitter: self.service.clock.jitter() }
            }
        };
        let handle = self.attempt.handle.clone();
        let started_at = self.running_since;
        self.ended(event, FromEngine { handle, started_at, exit: Some(exit), seen, place: None, why: None })
            .await
    }

    async fn failed(&mut self, failure: Failure, exit: Option<Exit>) -> Result<Next, StoreError> {
        let exit = exit.or_else(|| {
            let outcome = Ended::Failed { failure: failure.clone() };
            Some(Exit { outcome, exit_code: None, signal: None, began: None, at: self.service.clock.now() })
        });
        let event = Event::Failed { failure, jitter: self.service.clock.jitter() };
        self.ended(event, FromEngine { exit, ..FromEngine::default() }).await
    }

    /// Takes the last step of this attempt; what the engine still holds is let go only after it is durable.
    async fn ended(&mut self, event: Event, engine: FromEngine) -> Result<Next, StoreError> {
        if !self.step(event, engine).await? {
            return Ok(Next::Again);
        }
        failpoint::hit("after-result");
        if let Some(handle) = self.attempt.handle.take() {
            self.engine.release(&self.launch, &handle).await;
        }
        Ok(Next::Over)
    }
}
