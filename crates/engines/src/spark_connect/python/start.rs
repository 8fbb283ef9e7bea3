//! Starting a Python attempt: the server first, then a process for it.

use std::sync::Arc;
use std::time::Duration;

use libra_core::attempt::{Exit, Outcome};
use libra_core::failure::{ErrorClass, Failure};
use tokio::sync::OwnedSemaphorePermit;

use super::super::record;
use super::super::server::{Live, start};
use super::cradle::Taken;
use super::job::Job;
use super::{Python, files};
use crate::failpoint;
use crate::shim::{self, LaunchFile, process, verdict};
use crate::spark_home::SparkHome;

/// How long a cold process's shim may take to own the attempt; a busy machine may be slow to start a process.
const OWNER_PATIENCE: Duration = Duration::from_secs(10);
/// How long the process may take to begin after that.
const START_PATIENCE: Duration = Duration::from_secs(2);
/// The pause before another server is looked for, when the one that was found takes no more.
const CLOSED_LOOK: Duration = Duration::from_millis(50);

impl Python {
    /// Starts the attempt, at once when the server is up and a slot is free.
    pub(super) async fn begin(self: &Arc<Self>, job: &Arc<Job>) {
        let begun = match (self.server.known(), Arc::clone(&self.slots).try_acquire_owned()) {
            (Some(live), Ok(slot)) => self.begin_on(job, live, slot).await,
            (None, _) | (_, Err(_)) => false,
        };
        if !begun {
            tokio::spawn(Arc::clone(self).begin_later(Arc::clone(job)));
        }
    }

    async fn begin_later(self: Arc<Self>, job: Arc<Job>) {
        loop {
            let ready = async {
                let slot = Arc::clone(&self.slots).acquire_owned().await;
                (self.server.live().await, slot)
            };
            let begun = tokio::select! {
                ready = ready => match ready {
                    (Ok(live), Ok(slot)) => self.begin_on(&job, live, slot).await,
                    (Err(failure), _) => return refuse(&job, &verdict::failed(failure)),
                    // The slots are never closed while the engine lives.
                    (_, Err(_)) => return refuse(&job, &verdict::stopped()),
                },
                () = job.cancelled() => return refuse(&job, &verdict::stopped()),
            };
            if begun {
                return;
            }
            tokio::time::sleep(CLOSED_LOOK).await;
        }
    }

    /// Starts the attempt, or ends it; false when the server takes no more jobs, because another takes its place.
    async fn begin_on(&self, job: &Arc<Job>, live: Arc<Live>, slot: OwnedSemaphorePermit) -> bool {
        match live.admit(job.launch.token, &job.dir) {
            Ok(true) => self.start_on(job, live, slot).await,
            Ok(false) => return false,
            Err(error) => refuse(job, &verdict::failed(unwritable(&error))),
        }
        true
    }

    async fn start_on(&self, job: &Arc<Job>, live: Arc<Live>, slot: OwnedSemaphorePermit) {
        job.attach(Arc::clone(&live), Some(slot));
        match self.hand_over(job, &live).await {
            Ok(()) => job.started(),
            Err(failure) => refuse(job, &verdict::failed(failure)),
        }
    }

    async fn hand_over(&self, job: &Job, live: &Live) -> Result<(), Failure> {
        let cold = files::needs_a_new_process(&job.launch.spec.env);
        let cradle = if cold { None } else { self.pool.take().await };
        if job.is_cancelled() {
            // Nothing of it is written any more: it may have been let go of already.
            refuse(job, &verdict::stopped());
            return Ok(());
        }
        if let Some(cradle) = cradle {
            if self.prepare(job, live, &cradle.spark)?.is_none() {
                return Ok(());
            }
            match cradle.take(&job.dir).await {
                Taken::By(shim) => {
                    job.watch(shim);
                    return Ok(());
                }
                // The files tell who has it.
                Taken::Refused => return Ok(()),
                Taken::Unfit(why) | Taken::Unclear(why) => {
                    tracing::debug!(
                        why,
                        "a warm Python process could not take a job, which gets one of its own"
                    );
                }
            }
        }
        let spark = start::find_spark(&self.settings)?;
        let Some(file) = self.prepare(job, live, &spark)? else { return Ok(()) };
        files::write_scripts(job.dir.path()).map_err(|error| unwritable(&error))?;
        let spawned = shim::spawn(&self.settings.shim_exe, &job.dir, &file).map_err(|error| {
            failed(
                "shim_not_started",
                "The process that watches over the program could not be started.",
                &error,
            )
        })?;
        failpoint::hit("after-spawn");
        job.watch(spawned.clone());
        let owned = process::wait_owner(&job.dir, &spawned, OWNER_PATIENCE).await;
        failpoint::hit("after-owner");
        if owned.is_ok() {
            // What can't be told now is seen by the next look.
            let _ = process::wait_started(&job.dir, Some(&spawned), START_PATIENCE).await;
        }
        Ok(())
    }

    /// Writes what the attempt's process reads; answers what a cold one is started with. None when it is not to be started here
    /// any more.
    fn prepare(&self, job: &Job, live: &Live, spark: &SparkHome) -> Result<Option<LaunchFile>, Failure> {
        let file =
            files::prepare(spark, &job.launch, live, &self.settings).map_err(|error| unwritable(&error))?;
        if job.is_left() {
            return Ok(None);
        }
        if job.launch.is_late() {
            // Refused, so that nobody starts it any more.
            let message = "It came too late to be launched.";
            return Err(Failure::new(ErrorClass::Infrastructure, "launched_late", message));
        }
        Ok(Some(file))
    }
}

fn failed(code: &str, message: &str, error: &std::io::Error) -> Failure {
    Failure::new(ErrorClass::Infrastructure, code, message).with_detail(error.to_string())
}

fn unwritable(error: &std::io::Error) -> Failure {
    let message = "The attempt's files could not be written. Check the free space and the permissions of Libra's data \
                   directory.";
    failed("attempt_dir_unwritable", message, error)
}

/// Ends an attempt that was not started, and sees to it that nobody starts it.
fn refuse(job: &Job, exit: &Exit) {
    if job.is_left() {
        return;
    }
    match process::revoke(&job.dir) {
        Ok(true) if exit.outcome == Outcome::Stopped => {}
        Ok(true) => {
            if let Err(error) = record::write_end(&job.dir, exit) {
                tracing::warn!(%error, "the end of a job could not be recorded");
            }
        }
        // Another process decided first; its files tell.
        Ok(false) => {}
        Err(error) => tracing::warn!(%error, "a job that can't be started could not be revoked"),
    }
    job.started();
}
