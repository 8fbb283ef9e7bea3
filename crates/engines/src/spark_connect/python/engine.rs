//! The engine's side of the trait for Python jobs: everything from the attempt's files.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use libra_core::attempt::{Exit, Handle, Outcome};
use libra_core::id::Token;
use libra_core::time::Timestamp;
use serde_json::json;

use super::super::server::{Live, start};
use super::job::Job;
use super::{Python, ending, session};
use crate::attempt_dir::AttemptDir;
use crate::engine::{CancelOutcome, Launch, LaunchError, Launched, Observation, Running};
use crate::shim;
use crate::shim::process::{self, Status};
use crate::shim::records::StartedRecord;
use crate::shim::tree;
use crate::shim::verdict::{self, Supervised};

/// How long one cancellation waits (contract L6).
const CANCEL_PATIENCE: Duration = Duration::from_secs(5);
/// How long one look waits until the server has let an ended attempt's work go.
const SETTLE_PATIENCE: Duration = Duration::from_secs(3);
/// After so many looks, each time, the server hangs, and nothing but its end can end the work.
const MAX_UNSETTLED: u32 = 5;
/// How the server ended, where nobody knows.
const AWAY: &str = "it ended while Libra was away";
/// How often the files of an attempt are looked at; a shim of this process wakes at once by its end.
const LOOK: Duration = Duration::from_millis(250);

impl Python {
    /// Launches the attempt, once.
    pub(in super::super) async fn launch(self: &Arc<Self>, launch: &Launch) -> Result<Launched, LaunchError> {
        let unknown = |error: io::Error| LaunchError::Unknown(error.to_string());
        let dir = AttemptDir::new(&launch.dir);
        match process::status(&dir).map_err(unknown)? {
            Status::Absent => {
                self.server.check_installed().map_err(LaunchError::Refused)?;
                if self.pool.is_empty() {
                    start::find_spark(&self.settings).map_err(LaunchError::Refused)?;
                }
                let job = Arc::new(Job::new(launch, true));
                let known = match self.jobs().entry(launch.token) {
                    std::collections::hash_map::Entry::Occupied(_) => true,
                    std::collections::hash_map::Entry::Vacant(entry) => {
                        entry.insert(Arc::clone(&job));
                        false
                    }
                };
                if !known {
                    self.begin(&job).await;
                }
            }
            Status::Revoked => {
                return Err(LaunchError::Unknown(
                    "the attempt was revoked before it was launched".to_owned(),
                ));
            }
            Status::Owned { .. } | Status::Exited { .. } | Status::ShimLost { .. } => {}
        }
        self.launched(launch).map_err(unknown)
    }

    fn launched(&self, launch: &Launch) -> io::Result<Launched> {
        let job = self.meet(launch);
        let running_since = match process::status(&job.dir)? {
            Status::Owned { started, .. } | Status::Exited { started, .. } => started.map(|s| s.at),
            Status::Absent | Status::Revoked | Status::ShimLost { .. } => None,
        };
        Ok(Launched { handle: Handle(json!({ "python": launch.token })), running_since })
    }

    /// Resolves an unknown outcome.
    pub(in super::super) fn find(&self, launch: &Launch) -> io::Result<Option<Launched>> {
        let job = self.meet(launch);
        let starting = job.is_starting();
        match process::status(&job.dir)? {
            Status::Absent if starting => self.launched(launch).map(Some),
            Status::Absent if process::revoke(&job.dir)? => Ok(None),
            Status::Revoked if job.end()?.is_none() => Ok(None),
            Status::Absent
            | Status::Revoked
            | Status::Owned { .. }
            | Status::Exited { .. }
            | Status::ShimLost { .. } => self.launched(launch).map(Some),
        }
    }

    /// Looks at the attempt.
    pub(in super::super) async fn look_at(&self, launch: &Launch) -> io::Result<Observation> {
        let job = self.meet(launch);
        // Before the files: what was starting then may have become anything since.
        let starting = job.is_starting();
        let status = process::status(&job.dir)?;
        if let Some(exit) = job.end()? {
            return Ok(Observation::Ended(exit));
        }
        let unsettled =
            || Observation::Unknown("the Spark server still works on what is left of it".to_owned());
        Ok(match status {
            Status::Absent | Status::Revoked if starting => Observation::Starting,
            Status::Absent if !launch.same_boot => Observation::Ended(Supervised::Program.lost()),
            Status::Absent if !process::revoke(&job.dir)? => {
                Observation::Unknown("the attempt is being launched".to_owned())
            }
            Status::Absent | Status::Revoked => {
                Observation::NeverRan("it was revoked before it was launched".to_owned())
            }
            Status::Owned { started: None, .. } => Observation::Starting,
            Status::Owned { started: Some(started), .. } => self.look_at_running(&job, &started).await?,
            Status::Exited { exit, .. } => {
                let exit = ending::exit(&job.dir, &exit);
                // Whatever it did is done; what it left on the server is ended when it is released.
                if exit.outcome == Outcome::Succeeded {
                    Observation::Ended(exit)
                } else if self.settle(&job).await {
                    Observation::Ended(self.judged(&job, exit).await)
                } else {
                    unsettled()
                }
            }
            Status::ShimLost { .. } => {
                if !tree::kill_all(&launch.token.to_string(), CANCEL_PATIENCE).await?.gone {
                    Observation::Unknown("the program lost its guard and is being killed".to_owned())
                } else if self.settle(&job).await {
                    Observation::Ended(Supervised::Program.lost())
                } else {
                    unsettled()
                }
            }
        })
    }

    async fn look_at_running(&self, job: &Job, started: &StartedRecord) -> io::Result<Observation> {
        match self.server_of(job).await {
            Ok(Some(live)) => return Ok(running(&live, job, started.at)),
            Ok(None) => {}
            Err(why) => return Ok(Observation::Unknown(why)),
        }
        // Without its server the program can't go on, and its client would ask for it for minutes.
        if !job.dir.stop_file().exists() {
            let failure =
                job.live().map_or_else(|| ending::engine_lost(AWAY), |live| ending::died_with(&live));
            ending::note_server_lost(&job.dir, &failure)?;
        }
        if let Some(live) = job.live() {
            self.bury(&live).await;
        }
        process::request_stop(&job.dir)?;
        let running = Running { since: Some(started.at), ..Running::default() };
        Ok(Observation::Running(running))
    }

    /// The attempt's server; None when it is dead, or when there is none.
    async fn server_of(&self, job: &Job) -> Result<Option<Arc<Live>>, String> {
        if let Some(live) = job.live() {
            return Ok((!live.is_dead()).then_some(live));
        }
        let Some(plan) = job.plan().map_err(|e| e.to_string())? else { return Ok(None) };
        match self.server.adopted(plan.server).await {
            Ok(Some(live)) => {
                // It runs already, whether a slot is free or not.
                job.attach(Arc::clone(&live), Arc::clone(&self.slots).try_acquire_owned().ok());
                Ok(Some(live))
            }
            Ok(None) => Ok(None),
            Err(failure) => Err(failure.message),
        }
    }

    /// Ends what the attempt has on the server; false when that has not come about yet.
    async fn settle(&self, job: &Job) -> bool {
        let settled = async {
            let ended = self.end_sessions(job).await;
            if let Some(live) = job.live().filter(|_| ended) {
                live.until_at_rest().await;
            }
            ended
        };
        if tokio::time::timeout(SETTLE_PATIENCE, settled).await == Ok(true) {
            job.unsettled.store(0, Ordering::Relaxed);
            return true;
        }
        // Again and again: a server with others' work in it can't always be replaced at once.
        if (job.unsettled.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(MAX_UNSETTLED)
            && let Some(live) = job.live()
        {
            self.server.give_up_on(&live, job.launch.token).await;
        }
        false
    }

    /// Ends the attempt's sessions; false when nobody can tell where they are.
    async fn end_sessions(&self, job: &Job) -> bool {
        let Ok(live) = self.server_of(job).await else { return false };
        if let Some(dead) = job.live().filter(|_| live.is_none()) {
            // Its shim may have died alone: then its Java still works on what this job has begun.
            self.bury(&dead).await;
        }
        if let (Some(live), Ok(Some(plan))) = (live, job.plan()) {
            session::end(&live, &plan, &job.dir).await;
        }
        true
    }

    /// Sees to it that nothing of a dead server works on, and that nobody is sent there any more.
    async fn bury(&self, live: &Arc<Live>) {
        self.server.forget(live);
        live.clear_away().await;
    }

    /// An error that a dying server has caused is not the program's.
    async fn judged(&self, job: &Job, exit: Exit) -> Exit {
        if !matches!(exit.outcome, Outcome::Failed { .. }) || !ending::may_be_the_servers_fault(&job.dir) {
            return exit;
        }
        match job.live() {
            Some(live) if live.dies_soon().await => {
                self.bury(&live).await;
                Exit { outcome: Outcome::Failed { failure: ending::died_with(&live) }, ..exit }
            }
            None => Exit { outcome: Outcome::Failed { failure: ending::engine_lost(AWAY) }, ..exit },
            Some(_) => exit,
        }
    }

    /// Ends the attempt.
    pub(in super::super) async fn end(&self, launch: &Launch) -> io::Result<CancelOutcome> {
        let job = self.meet(launch);
        job.cancel();
        let token = launch.token.to_string();
        if !job.dir.path().try_exists()? {
            // Taken away, or lost with the machine: without files there is no shim to ask and nothing to revoke.
            let killed = tree::kill_all(&token, CANCEL_PATIENCE).await?;
            return Ok(if killed.gone {
                CancelOutcome::Gone(Supervised::Program.lost())
            } else {
                CancelOutcome::Stopping
            });
        }
        if process::status(&job.dir)? == Status::Absent && process::revoke(&job.dir)? {
            return Ok(CancelOutcome::Gone(verdict::stopped()));
        }
        let status = self.stop(&job).await?;
        if matches!(status, Status::Owned { .. } | Status::Absent) {
            return Ok(CancelOutcome::Stopping);
        }
        // Belt and braces: whatever the files say, nothing with the token may be alive.
        let killed = tree::kill_all(&token, CANCEL_PATIENCE).await?;
        if !killed.gone {
            return Ok(CancelOutcome::Stopping);
        }
        let exit = match status {
            Status::Exited { exit, .. } => ending::exit(&job.dir, &exit),
            Status::ShimLost { .. } if !killed.any => Supervised::Program.lost(),
            Status::Revoked => job.end()?.unwrap_or_else(verdict::stopped),
            Status::ShimLost { .. } | Status::Owned { .. } | Status::Absent => verdict::stopped(),
        };
        // What has come to its end by itself left nothing that counts.
        if exit.outcome != Outcome::Succeeded && !self.settle(&job).await {
            return Ok(CancelOutcome::Stopping);
        }
        Ok(CancelOutcome::Gone(exit))
    }

    /// Interrupts what the attempt has on the server, and stops its process.
    async fn stop(&self, job: &Job) -> io::Result<Status> {
        let stop = process::stop(&job.dir, CANCEL_PATIENCE);
        let interrupt = async {
            if let (Ok(Some(live)), Ok(Some(plan))) = (self.server_of(job).await, job.plan()) {
                match session::keep_interrupting(&live, &plan, &job.dir).await {}
            }
            std::future::pending::<std::convert::Infallible>().await
        };
        tokio::select! {
            status = stop => status,
            never = interrupt => match never {},
        }
    }

    /// Lets go of everything that is still held for an ended attempt.
    pub(in super::super) async fn let_go(&self, launch: &Launch) {
        let job = self.meet(launch);
        self.jobs().remove(&launch.token);
        // Whatever had to come to rest has done so before the end was told.
        if tokio::time::timeout(SETTLE_PATIENCE, self.end_sessions(&job)).await != Ok(true) {
            tracing::debug!(token = %launch.token, "the server did not let an ended job go in time");
        }
        if let Some(live) = job.live().filter(|live| !live.is_dead()) {
            live.leave();
        }
        if let Ok(Some(plan)) = job.plan() {
            self.server.dismiss(plan.server, launch.token);
        }
        // They hold the program's environment and the server's secret; nobody needs them any more.
        remove(&job.dir.launch_file());
    }

    /// What is known besides the state.
    pub(in super::super) fn traces(&self, launch: &Launch) -> Running {
        let live = self.known(launch.token).and_then(|job| job.live());
        Running {
            usage: shim::usage(&AttemptDir::new(&launch.dir)),
            application_id: live.as_ref().and_then(|live| live.application_id.clone()),
            links: live.map(|live| live.links.clone()).unwrap_or_default(),
            ..Running::default()
        }
    }

    /// Another replica looks after it now.
    pub(in super::super) fn leave(&self, token: Token) {
        if let Some(job) = self.jobs().remove(&token) {
            job.leave();
        }
    }

    /// Waits until the attempt may have begun or ended, or its server may have died.
    pub(in super::super) async fn changed(&self, token: Token) {
        let Some(job) = self.known(token) else { return std::future::pending().await };
        let starting = job.is_starting();
        loop {
            if starting {
                job.changed.notified().await;
                return;
            }
            match process::status(&job.dir) {
                Ok(Status::Owned { .. }) => {}
                Ok(Status::Absent | Status::Revoked | Status::Exited { .. } | Status::ShimLost { .. })
                | Err(_) => return,
            }
            // Told once: it is being ended then.
            if job.live().is_some_and(|live| live.is_dead()) && !job.dir.stop_file().exists() {
                return;
            }
            // One that has ended is not the owner, which lives.
            match job.shim().filter(|ended| !*ended.borrow()) {
                Some(mut ended) => {
                    tokio::select! {
                        // An error means that the waiting task is gone, with the runtime.
                        _ = ended.wait_for(|ended| *ended) => return,
                        () = tokio::time::sleep(LOOK) => {}
                    }
                }
                None => tokio::time::sleep(LOOK).await,
            }
        }
    }
}

fn running(live: &Live, job: &Job, since: Timestamp) -> Observation {
    Observation::Running(Running {
        since: Some(since),
        again: None,
        progress: job.progress(),
        usage: shim::usage(&job.dir),
        application_id: live.application_id.clone(),
        links: live.links.clone(),
    })
}

fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, path = %path.display(), "a file could not be removed");
    }
}
