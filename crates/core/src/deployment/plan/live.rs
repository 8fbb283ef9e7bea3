//! What is known of a deployment's job when a plan is made.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// What somebody wants, beside the specification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wanted {
    /// It is to run.
    #[default]
    Run,
    /// It was suspended, and stays so until somebody resumes it.
    Suspend,
}

/// Deployment and cluster as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// Whether it is to run.
    pub wanted: Wanted,
    /// The cluster that the new specification names.
    pub cluster: ClusterView,
    /// The job that was started last.
    pub job: LiveJob,
    /// The newest state that could be restored.
    pub newest: Newest,
    /// Ids of further jobs of this deployment that are alive. There should never be one.
    pub doubles: Vec<String>,
    /// Ids of living jobs that have the deployment's name and are not Libra's.
    pub foreign: Vec<String>,
}

/// What the cluster says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterView {
    /// Its configured name.
    pub name: String,
    /// Whether `/config` reports `web-rescale`: the number of subtasks can be changed without a stop.
    pub rescale: bool,
    /// Slots that are free; None when it was not asked.
    pub free_slots: Option<u32>,
}

/// The job that was started last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LiveJob {
    /// None was ever started.
    Never,
    /// It is alive.
    Alive {
        /// Flink's id of it.
        id: String,
        /// All its tasks run. False while it starts or restarts: then it can make no savepoint.
        well: bool,
        /// The subtasks it was asked to have; where the cluster can rescale, those of its resource requirements. None =
        /// not known.
        parallelism: Option<u32>,
    },
    /// It has ended.
    Ended {
        /// Flink's id of it.
        id: String,
        /// How.
        how: Ending,
    },
    /// The cluster answers and does not know it: it was started anew.
    Missing {
        /// Flink's id of it.
        id: String,
    },
    /// The cluster does not answer.
    Unknown,
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By itself.
    Finished,
    /// With a failure, and no restart was left.
    Failed,
    /// Cancelled or stopped, not by Libra.
    Cancelled,
    /// Suspended by Libra.
    Suspended,
}

/// The newest state that could be restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Newest {
    /// This one.
    Snapshot(Snapshot),
    /// There was never one: no checkpoint was ever completed.
    Never,
    /// It is not known whether there is one.
    Unknown,
}

/// A savepoint or checkpoint that is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Where, as Flink writes it.
    pub path: String,
    /// True for a savepoint.
    pub savepoint: bool,
    /// When it was completed; None = not known.
    pub at: Option<Timestamp>,
}

impl Snapshot {
    /// The snapshot in the directory `path`. Flink calls the directories of checkpoints `chk-<number>`.
    pub fn in_directory(path: impl Into<String>, at: Option<Timestamp>) -> Self {
        let path = path.into();
        let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        Self { savepoint: !name.starts_with("chk-"), path, at }
    }
}
