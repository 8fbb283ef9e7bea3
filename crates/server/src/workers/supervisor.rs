//! Every attempt that is open has somebody who looks after it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use libra_core::attempt::Attempt;
use libra_core::id::JobId;
use libra_core::job::{Job, State};
use libra_store::StoreError;
use libra_store::lane::{AttemptNote, Note, Outcome};
use libra_store::tables::{attempts, jobs};
use tokio::time::sleep;

use super::{Shutdown, attempt};
use crate::service::Service;

/// Open attempts without anybody are looked for this often.
const PERIOD: Duration = Duration::from_secs(5);

/// How an attempt came to be looked after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// This process has just stored it, intent and all: nothing was launched yet.
    JustOpened,
    /// It was there: whether it was launched has to be looked up.
    InTheStore,
}

/// Knows which attempts are looked after.
pub(crate) struct Supervisor {
    service: Arc<Service>,
    shutdown: Shutdown,
    taken: Mutex<BTreeSet<(JobId, u32)>>,
}

/// Marks an attempt as looked after, until it is dropped.
pub(super) struct Taken {
    supervisor: Arc<Supervisor>,
    key: (JobId, u32),
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.supervisor.taken.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

impl Supervisor {
    pub(super) fn new(service: Arc<Service>, shutdown: Shutdown) -> Arc<Self> {
        Arc::new(Self { service, shutdown, taken: Mutex::default() })
    }

    /// Marks an attempt as looked after, unless it is already. Done before the attempt is stored, so that the
    /// sweep never finds one that its own process is about to launch.
    pub(super) fn reserve(self: &Arc<Self>, job: JobId, attempt: u32) -> Option<Taken> {
        let key = (job, attempt);
        let new = self.taken.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
        new.then(|| Taken { supervisor: Arc::clone(self), key })
    }

    /// Looks after an attempt from now on.
    pub(super) fn look_after(&self, taken: Taken, job: Job, attempt: Attempt, found: Found) {
        let (service, shutdown) = (Arc::clone(&self.service), self.shutdown.clone());
        tokio::spawn(async move {
            attempt::drive(service, job, attempt, found, shutdown).await;
            drop(taken);
        });
    }

    /// Takes over what an earlier process left, at once and then periodically.
    pub(super) async fn run(self: Arc<Self>, mut shutdown: Shutdown) {
        loop {
            if let Err(e) = self.sweep().await {
                tracing::warn!(error = %e, "open attempts could not be looked for; trying again");
            }
            tokio::select! {
                () = shutdown.wait() => return,
                () = sleep(PERIOD) => {}
            }
        }
    }

    async fn sweep(self: &Arc<Self>) -> Result<(), StoreError> {
        let open = self
            .service
            .db
            .read(|tx| {
                let mut open = Vec::new();
                for job in jobs::in_states(tx, &[State::Scheduled, State::Running])? {
                    let attempt = attempts::get(tx, job.id, job.attempt)?;
                    open.extend(attempt.map(|a| (job, a)));
                }
                Ok(open)
            })
            .await?;
        for (job, mut attempt) in open {
            let Some(taken) = self.reserve(job.id, attempt.number) else { continue };
            let epoch = self.service.fence.epoch;
            if attempt.epoch != epoch {
                let note = AttemptNote {
                    job_id: job.id,
                    number: attempt.number,
                    epoch: attempt.epoch,
                    what: Note::TakeOver { epoch },
                };
                if self.service.db.note(note).await? != Outcome::Updated {
                    continue;
                }
                attempt.epoch = epoch;
                tracing::info!(job_id = %job.id, attempt = attempt.number, "an attempt of before is taken over");
            }
            self.look_after(taken, job, attempt, Found::InTheStore);
        }
        Ok(())
    }
}
