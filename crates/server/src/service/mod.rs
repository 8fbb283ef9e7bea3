//! The use cases. Every face calls these; none of them knows HTTP.

mod cancel;
mod error;
mod explain;
mod logs;
mod notify;
mod query;
mod results;
mod step;
mod submit;
pub(crate) mod view;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use libra_core::id::JobId;
use libra_core::mode::Mode;
use libra_engines::engine::Engine;
use libra_store::Db;
use libra_store::lane::Fence;
use tokio::sync::{Notify, broadcast};

pub(crate) use error::ServiceError;
pub(crate) use logs::LogQuery;
pub(crate) use query::ListQuery;
pub(crate) use results::ResultQuery;
pub(crate) use step::{Applied, ByWhom, FromEngine};
pub(crate) use submit::Submit;

use crate::config::Config;
use crate::telemetry::metrics::Metrics;

/// Changes remembered for those who wait for one; whoever is slower looks again.
const CHANGES_KEPT: usize = 1_024;

/// Everything that a use case needs.
pub(crate) struct Service {
    pub(crate) config: Config,
    pub(crate) db: Db,
    pub(crate) engines: BTreeMap<Mode, Arc<dyn Engine>>,
    pub(crate) metrics: Metrics,
    /// This host's identity, machine and boot.
    pub(crate) host: String,
    /// The lease under which this process schedules and supervises.
    pub(crate) fence: Fence,
    /// Wakes the scheduler because there may be room; carries nothing.
    pub(crate) wake_for_room: Notify,
    /// Wakes the scheduler because there is one more who waits; carries nothing.
    pub(crate) wake_for_queue: Notify,
    /// Wakes the feed; carries nothing.
    pub(crate) wake_feed: Notify,
    /// Ids of jobs that changed.
    changes: broadcast::Sender<JobId>,
}

impl Service {
    pub(crate) fn new(
        config: Config,
        db: Db,
        engines: BTreeMap<Mode, Arc<dyn Engine>>,
        host: String,
        fence: Fence,
    ) -> Self {
        let (changes, _) = broadcast::channel(CHANGES_KEPT);
        Self {
            config,
            db,
            engines,
            metrics: Metrics::new(),
            host,
            fence,
            wake_for_room: Notify::new(),
            wake_for_queue: Notify::new(),
            wake_feed: Notify::new(),
            changes,
        }
    }

    /// Hears of every job that changes from now on.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<JobId> {
        self.changes.subscribe()
    }

    /// The directory of one attempt.
    pub(crate) fn attempt_dir(&self, job: JobId, attempt: u32) -> PathBuf {
        attempt_dir(&self.config.data_dir, job, attempt)
    }
}

fn attempt_dir(data_dir: &Path, job: JobId, attempt: u32) -> PathBuf {
    data_dir.join("jobs").join(job.to_string()).join(attempt.to_string())
}
