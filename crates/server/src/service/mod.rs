//! The use cases. Every face calls these; none of them knows HTTP.

mod artifact_versions;
mod artifacts;
mod cancel;
mod changes;
mod cursor;
mod deliveries;
mod deployments;
mod error;
pub(crate) mod expiry;
mod explain;
mod feed;
mod hand_off;
mod hpc;
mod log_follow;
mod logs;
mod notify;
mod places;
mod query;
mod queue;
mod quota;
mod replicas;
mod results;
pub(crate) mod signals;
pub(crate) mod standing;
mod step;
mod submit;
mod turns;
pub(crate) mod view;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use libra_core::id::JobId;
use libra_core::mode::Mode;
use libra_engines::engine::Engine;
use libra_store::Db;

pub(crate) use artifact_versions::Versioned;
pub(crate) use artifacts::uploads_dir;
pub(crate) use changes::Watch;
pub(crate) use deliveries::WebhookQuery;
pub(crate) use deployments::{
    FollowedProgram, Precondition, SpecText, Unfit, file_in, followed_program, generations_of,
};
pub(crate) use error::ServiceError;
pub(crate) use feed::{After, FeedReader};
pub(crate) use hand_off::{HandOff, handed_to, host_lease_file};
pub(crate) use hpc::{ByWhom as HpcAuthor, Heard, HpcListQuery, Said, SampleQuery, SampleStep, SlurmRecords};
pub(crate) use log_follow::{LogFollower, LogPiece};
pub(crate) use logs::{LogPlace, LogQuery};
pub(crate) use places::{Full, Places, Taking};
pub(crate) use query::ListQuery;
pub(crate) use replicas::{Whereabouts, usage_of};
pub(crate) use results::ResultQuery;
pub(crate) use signals::Signals;
pub(crate) use standing::Standing;
pub(crate) use standing::machine_of;
pub(crate) use step::{Applied, ByWhom, Decided, FromEngine, Place};
pub(crate) use submit::Submit;
pub(crate) use turns::{Given, Rules, Standings, Turns, flink_pool};

use crate::artifacts::Artifacts;
use crate::clock::Clock;
use crate::config::Config;
use crate::files::Files;
use crate::flink::FlinkClusters;
use crate::slurm::SlurmClusters;
use crate::telemetry::metrics::Metrics;

/// Everything that a use case needs.
pub(crate) struct Service {
    pub(crate) config: Config,
    pub(crate) db: Db,
    pub(crate) engines: BTreeMap<Mode, Arc<dyn Engine>>,
    pub(crate) metrics: Metrics,
    pub(crate) clock: Arc<dyn Clock>,
    /// Who this replica is.
    pub(crate) standing: Standing,
    /// Wakes those who wait, here and elsewhere.
    pub(crate) signals: Signals,
    /// Makes directories and signs of life.
    pub(crate) files: Arc<dyn Files>,
    /// Where the attempts' files are.
    pub(crate) files_dir: PathBuf,
    /// What was uploaded.
    pub(crate) artifacts: Artifacts,
    /// The Flink clusters.
    pub(crate) flink: FlinkClusters,
    /// The Slurm clusters.
    pub(crate) slurm: SlurmClusters,
    /// True when no other process can use this database: what it does not know is nobody's.
    pub(crate) alone: bool,
    /// Hands scheduled attempts on, where it is configured.
    pub(crate) redis: Option<Arc<dyn HandOff>>,
    /// Places for those who follow a log.
    pub(crate) followers: Places,
    /// Places for uploads under way.
    uploads: Places,
    /// Whose turn it is.
    turns: Turns,
    /// What binds turns, as of now.
    rules: RwLock<Arc<Rules>>,
    /// Submissions of limited parties that are not stored yet.
    under_way: quota::UnderWay,
    /// What is said of jobs of schedulers.
    ear: hpc::Ear,
}

/// What a [`Service`] is put together from.
pub(crate) struct Parts {
    pub(crate) config: Config,
    pub(crate) db: Db,
    pub(crate) engines: BTreeMap<Mode, Arc<dyn Engine>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) standing: Standing,
    pub(crate) signals: Signals,
    pub(crate) files: Arc<dyn Files>,
    pub(crate) files_dir: PathBuf,
    pub(crate) alone: bool,
    pub(crate) redis: Option<Arc<dyn HandOff>>,
    pub(crate) flink: FlinkClusters,
    pub(crate) slurm: SlurmClusters,
}

impl Service {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts {
            config,
            db,
            engines,
            clock,
            standing,
            signals,
            files,
            files_dir,
            alone,
            redis,
            flink,
            slurm,
        } = parts;
        let followers = Places::new(config.logs.max_followers);
        let metrics = Metrics::new();
        metrics.storage.is_of(db.operations());
        Self {
            followers,
            uploads: Places::new(artifacts::MAX_UPLOADS),
            turns: Turns::default(),
            rules: RwLock::new(Arc::new(Rules::of(&config))),
            under_way: quota::UnderWay::default(),
            ear: hpc::Ear::on(db.kind()),
            config,
            db,
            engines,
            metrics,
            clock,
            standing,
            signals,
            files,
            artifacts: Artifacts::within(&files_dir),
            flink,
            slurm,
            files_dir,
            alone,
            redis,
        }
    }

    /// Hears of every change of `job` from now on.
    pub(crate) fn watch(&self, job: JobId) -> Watch {
        self.signals.watch(job)
    }

    /// What binds turns, as of now.
    pub(crate) fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Other rules from now on, made from those of before; the scheduler looks at once. False when they are the same.
    pub(crate) fn rebind(&self, change: impl FnOnce(&Rules) -> Rules) -> bool {
        let mut held = self.rules.write().unwrap_or_else(PoisonError::into_inner);
        let rules = change(&held);
        let other = rules != **held;
        if other {
            *held = Arc::new(rules);
            drop(held);
            self.signals.room.notify_one();
        }
        other
    }

    /// The epoch under which this replica leads, if it does.
    pub(crate) fn leader_epoch(&self) -> Option<i64> {
        self.standing.leader_epoch()
    }

    /// Where the directories of all jobs are.
    pub(crate) fn jobs_dir(&self) -> PathBuf {
        self.files_dir.join("jobs")
    }

    /// The directory of one attempt.
    pub(crate) fn attempt_dir(&self, job: JobId, attempt: u32) -> PathBuf {
        attempt_dir(&self.files_dir, job, attempt)
    }
}

fn attempt_dir(files_dir: &Path, job: JobId, attempt: u32) -> PathBuf {
    files_dir.join("jobs").join(job.to_string()).join(attempt.to_string())
}
