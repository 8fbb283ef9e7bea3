//! The engine's side of the trait: everything from the attempt's files.

use std::io;
use std::path::Path;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use libra_core::attempt::{Handle, Usage};
use libra_core::failure::{ErrorClass, Failure};
use libra_core::id::Token;
use libra_core::spec::JobSpec;
use serde_json::json;

use super::application::Application;
use super::{SparkSubmit, command, ending, history, properties, validation};
use crate::attempt_dir::AttemptDir;
use crate::engine::{
    CancelOutcome, Engine, EngineError, Launch, LaunchError, Launched, Observation, Running,
};
use crate::failpoint;
use crate::shim::process::{self, Status};
use crate::shim::records::{Identity, StartedRecord};
use crate::shim::verdict::{self, Supervised};
use crate::shim::{self, tree};

/// How long a launch waits for the shim to take the attempt; a busy machine may be slow to start a process.
const OWNER_PATIENCE: Duration = Duration::from_secs(10);
/// How long a launch waits for the driver after that.
const START_PATIENCE: Duration = Duration::from_secs(2);
/// How long one cancellation waits (contract L6).
const CANCEL_PATIENCE: Duration = Duration::from_secs(5);

fn dir_of(launch: &Launch) -> AttemptDir {
    AttemptDir::new(&launch.dir)
}

fn launched(shim: &Identity, started: Option<&StartedRecord>) -> Launched {
    let handle = Handle(json!({"pid": shim.pid, "startTicks": shim.start_ticks, "bootId": shim.boot_id}));
    Launched { handle, running_since: started.map(|s| s.at) }
}

/// What the status says about an attempt that somebody owns; None while nobody does.
fn as_launched(dir: &AttemptDir, status: &Status) -> io::Result<Option<Launched>> {
    Ok(match status {
        Status::Absent | Status::Revoked => None,
        Status::Owned { shim, started } | Status::ShimLost { shim, started } => {
            Some(launched(shim, started.as_ref()))
        }
        Status::Exited { started, .. } => process::owner(dir)?.map(|shim| launched(&shim, started.as_ref())),
    })
}

fn unknown(error: impl std::fmt::Display) -> LaunchError {
    LaunchError::Unknown(error.to_string())
}

fn unanswered(error: impl std::fmt::Display) -> EngineError {
    EngineError(error.to_string())
}

impl SparkSubmit {
    async fn start(&self, launch: &Launch) -> Result<Launched, LaunchError> {
        let dir = dir_of(launch);
        let before = process::status(&dir).map_err(unknown)?;
        if let Some(launched) = as_launched(&dir, &before).map_err(unknown)? {
            self.waking.meet(launch.token, &dir, None);
            return Ok(launched);
        }
        if before == Status::Revoked {
            return Err(unknown("the attempt was revoked before it was launched"));
        }
        let spark = self.usable_spark().map_err(LaunchError::Refused)?;
        // Before a JVM is started for nothing: with some of them Spark goes on without, or says it badly.
        if let Some(file) = command::absent_file(&launch.spec) {
            return Err(LaunchError::Refused(ending::file_missing(file)));
        }
        let refused = |code: &str, message: &str, error: io::Error| {
            let failure = Failure::new(ErrorClass::Infrastructure, code, message);
            LaunchError::Refused(failure.with_detail(error.to_string()))
        };
        let file = command::prepare(&self.settings, &spark, launch, &dir).map_err(|e| {
            let message = "The attempt's files could not be written. Check the free space and the permissions of \
                           Libra's data directory.";
            refused("attempt_dir_unwritable", message, e)
        })?;
        if launch.is_late() {
            return Err(unknown("it came too late to be launched"));
        }
        let spawned = shim::spawn(&self.settings.shim_exe, &dir, &file).map_err(|e| {
            refused("shim_not_started", "The process that watches over the driver could not be started.", e)
        })?;
        failpoint::hit("after-spawn");
        self.waking.meet(launch.token, &dir, Some(spawned.clone()));
        process::wait_owner(&dir, &spawned, OWNER_PATIENCE).await.map_err(unknown)?;
        failpoint::hit("after-owner");
        let status = process::wait_started(&dir, Some(&spawned), START_PATIENCE).await.map_err(unknown)?;
        as_launched(&dir, &status)
            .map_err(unknown)?
            .ok_or_else(|| unknown("the process that watches over the driver did not come up"))
    }

    fn look_for(&self, launch: &Launch) -> io::Result<Option<Launched>> {
        let dir = dir_of(launch);
        if process::status(&dir)? == Status::Absent && process::revoke(&dir)? {
            return Ok(None);
        }
        let found = as_launched(&dir, &process::status(&dir)?)?;
        if found.is_some() {
            self.waking.meet(launch.token, &dir, None);
        }
        Ok(found)
    }

    async fn look_at(&self, launch: &Launch) -> io::Result<Observation> {
        let dir = dir_of(launch);
        self.waking.meet(launch.token, &dir, None);
        Ok(match process::status(&dir)? {
            Status::Revoked => Observation::NeverRan("it was revoked before it was launched".to_owned()),
            Status::Owned { started: None, .. } => Observation::Starting,
            Status::Owned { started: Some(started), .. } => {
                let known = self.following.look(launch);
                let application = known.application.unwrap_or_else(|| Application::read(&dir));
                Observation::Running(Running {
                    since: Some(started.at),
                    again: None,
                    progress: known.progress,
                    usage: shim::usage(&dir).map(|usage| Usage { executors: known.executors, ..usage }),
                    links: application.links(),
                    application_id: application.id,
                })
            }
            Status::Exited { exit, .. } => Observation::Ended(ending::exit(launch.spec.kind, &dir, &exit)),
            // A handle without its files: they were taken away, or lost with the machine.
            Status::Absent | Status::ShimLost { .. } => {
                let killed = tree::kill_all(&launch.token.to_string(), CANCEL_PATIENCE).await?;
                if killed.gone {
                    Observation::Ended(Supervised::Driver.lost())
                } else {
                    Observation::Unknown("the driver lost its guard and is being killed".to_owned())
                }
            }
        })
    }

    async fn end(&self, launch: &Launch) -> io::Result<CancelOutcome> {
        let dir = dir_of(launch);
        let token = launch.token.to_string();
        if !dir.path().try_exists()? {
            // Taken away, or lost with the machine: without files there is no shim to ask and nothing to revoke.
            let killed = tree::kill_all(&token, CANCEL_PATIENCE).await?;
            let lost = || CancelOutcome::Gone(Supervised::Driver.lost());
            return Ok(if killed.gone { lost() } else { CancelOutcome::Stopping });
        }
        if process::status(&dir)? == Status::Absent && process::revoke(&dir)? {
            return Ok(CancelOutcome::Gone(verdict::stopped()));
        }
        let status = process::stop(&dir, CANCEL_PATIENCE).await?;
        if matches!(status, Status::Owned { .. } | Status::Absent) {
            return Ok(CancelOutcome::Stopping);
        }
        // Belt and braces: whatever the files say, nothing with the token may be alive.
        let killed = tree::kill_all(&token, CANCEL_PATIENCE).await?;
        if !killed.gone {
            return Ok(CancelOutcome::Stopping);
        }
        Ok(CancelOutcome::Gone(match status {
            Status::Exited { exit, .. } => ending::exit(launch.spec.kind, &dir, &exit),
            Status::ShimLost { .. } if !killed.any => Supervised::Driver.lost(),
            Status::ShimLost { .. } | Status::Revoked | Status::Owned { .. } | Status::Absent => {
                verdict::stopped()
            }
        }))
    }
}

impl Engine for SparkSubmit {
    fn validate(&self, spec: &JobSpec) -> Vec<(String, String)> {
        validation::violations(spec)
    }

    fn launch<'a>(&'a self, launch: &'a Launch) -> BoxFuture<'a, Result<Launched, LaunchError>> {
        self.start(launch).boxed()
    }

    fn find<'a>(&'a self, launch: &'a Launch) -> BoxFuture<'a, Result<Option<Launched>, EngineError>> {
        async { self.look_for(launch).map_err(unanswered) }.boxed()
    }

    fn observe<'a>(&'a self, attempts: &'a [(Launch, Handle)]) -> BoxFuture<'a, Vec<Observation>> {
        let looks = attempts.iter().map(|(launch, _)| async {
            self.look_at(launch).await.unwrap_or_else(|e| Observation::Unknown(e.to_string()))
        });
        futures::future::join_all(looks).boxed()
    }

    fn cancel<'a>(
        &'a self,
        launch: &'a Launch,
        _handle: &'a Handle,
    ) -> BoxFuture<'a, Result<CancelOutcome, EngineError>> {
        async { self.end(launch).await.map_err(unanswered) }.boxed()
    }

    fn release<'a>(&'a self, launch: &'a Launch, _handle: &'a Handle) -> BoxFuture<'a, ()> {
        async {
            self.waking.forget(launch.token);
            self.following.forget(launch.token);
            // They hold the driver's environment and settings, and with them perhaps secrets; nobody needs them any
            // more.
            let dir = dir_of(launch);
            remove(&dir.launch_file());
            remove(&properties::file(&dir));
        }
        .boxed()
    }

    fn traces(&self, launch: &Launch) -> Running {
        let dir = dir_of(launch);
        let application = Application::read(&dir);
        let over = matches!(process::status(&dir), Ok(Status::Exited { .. } | Status::ShimLost { .. }));
        let links = if over {
            history::links(&self.settings, &launch.spec, application.id.as_deref())
        } else {
            application.links()
        };
        Running {
            usage: shim::usage(&dir).map(|usage| if over { usage.ended() } else { usage }),
            links,
            application_id: application.id,
            ..Running::default()
        }
    }

    fn leave(&self, token: Token) {
        self.waking.forget(token);
        self.following.forget(token);
    }

    fn changed(&self, token: Token) -> BoxFuture<'_, ()> {
        async move {
            tokio::select! {
                () = self.waking.changed(token) => {}
                () = self.following.news(token) => {}
            }
        }
        .boxed()
    }
}

fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, path = %path.display(), "a file could not be removed");
    }
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
