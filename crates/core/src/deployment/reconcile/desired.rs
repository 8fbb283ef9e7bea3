//! What is wanted of a deployment: the policy. It is stored by its owner and never changed here.

use serde::{Deserialize, Serialize};

use super::timing::Timing;
use crate::deployment::retention::Retention;

/// What should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It runs.
    Running,
    /// It does not run, and its state is kept.
    Suspended,
    /// It does not run and is forgotten; with `savepoint` its state is saved once more.
    Deleted {
        /// Whether a last savepoint is made. When none can be made, it is not deleted.
        savepoint: bool,
    },
}

/// Whether the job ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It runs until it is stopped, and has state.
    Streaming,
    /// It ends, and begins without state.
    Batch,
}

/// With which state a generation begins when it replaces another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Upgrade {
    /// A savepoint with which the running job is stopped; its last checkpoint when it is down.
    Savepoint,
    /// The last checkpoint of the running job, which is cancelled.
    LastCheckpoint,
    /// None: what was before is left behind.
    Stateless,
}

/// What of a generation's spec matters here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Its number, from 1.
    pub generation: u64,
    /// What its program is called among the uploads: the sha256 of its artifact, in hexadecimal, and how it was packed.
    pub digest: String,
    /// Streaming or batch.
    pub kind: Kind,
    /// How it takes over.
    pub upgrade: Upgrade,
    /// Whether its program has to be the only one of its kind that begins on its cluster: Flink tells Python programs what
    /// they are by one place in the JobManager's process.
    #[serde(default)]
    pub alone: bool,
    /// Whether state that no operator takes may be left out.
    pub allow_non_restored_state: bool,
    /// What makes its job the job that it is: between generations with one text here nothing in Flink has to change,
    /// so none of them replaces the other's job. None = a job of its own. See
    /// [`crate::deployment::normal::Normal::job_key`].
    #[serde(default)]
    pub job: Option<String>,
    /// Subtasks of each operator.
    #[serde(default)]
    pub parallelism: u32,
    /// What makes its job what it is, but for the number of subtasks: between generations with one text here a job that
    /// runs becomes the other's where its cluster can rescale. None = never. See
    /// [`crate::deployment::normal::Normal::shape_key`].
    #[serde(default)]
    pub shape: Option<String>,
}

/// When a generation counts as stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stability {
    /// Checkpoints that it must have completed; 0 for jobs without checkpoints.
    pub checkpoints: u64,
    /// How long all tasks must run without a restart or an exception, in microseconds.
    pub window: i64,
    /// Restarts before that window that are forgiven. After one more, the last stable generation comes back at once,
    /// if there is one.
    pub max_restarts: u64,
    /// How long that may take, in microseconds, from when the job is first seen. Then the last stable generation
    /// comes back, if there is one.
    pub within: i64,
}

/// A state that somebody names for the next run, whatever the runs before have left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// Raised with each request, so that one is honoured once.
    pub nonce: u64,
    /// Where it is, as Flink writes it.
    pub path: String,
}

/// What is wanted of one deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Desired {
    /// The name of its jobs in Flink. Another's job of that name keeps ours from being started.
    pub name: String,
    /// Running, suspended or deleted.
    pub mode: Mode,
    /// The newest generation.
    pub generation: u64,
    /// The older generation that somebody asked to go back to; a new generation ends that.
    pub rollback_to: Option<u64>,
    /// Raised to ask for another try of what was given up, or for another run of a batch job that has ended.
    pub nonce: u64,
    /// Runs of a batch job that were asked for with this nonce or an earlier one are over: one that is there is ended,
    /// with a savepoint where it can make one, else cancelled; none begins. See [`crate::deployment::agenda`].
    #[serde(default)]
    pub end_run: Option<u64>,
    /// No run begins as long as this is true: it is another's turn. See [`crate::deployment::turns`].
    #[serde(default)]
    pub waits: bool,
    /// A program that has to begin alone may be beginning on the cluster for another deployment.
    #[serde(default)]
    pub another_begins: bool,
    /// Whether it is told when a job can't keep up.
    #[serde(default)]
    pub watches_pressure: bool,
    /// Raised to ask for a savepoint.
    pub savepoint_nonce: u64,
    /// The state from which the next run begins, as somebody asked.
    pub given: Option<Given>,
    /// The directory under which each savepoint gets one of its own, as Flink writes it.
    pub savepoint_directory: String,
    /// The wanted generation, the last stable one and the one that runs, in any order.
    pub versions: Vec<Version>,
    /// When a generation is stable.
    pub stability: Stability,
    /// How many savepoints are kept.
    pub retention: Retention,
    /// Windows, waits and limits.
    pub timing: Timing,
}

impl Desired {
    /// The generation that should run.
    pub fn target(&self) -> u64 {
        self.rollback_to.unwrap_or(self.generation)
    }

    /// What is known of a generation.
    pub fn version(&self, generation: u64) -> Option<&Version> {
        self.versions.iter().find(|version| version.generation == generation)
    }

    /// True when the job of one generation need not be replaced for the other.
    pub fn is_same_job(&self, one: u64, other: u64) -> bool {
        let job = |generation| self.version(generation).and_then(|version| version.job.as_ref());
        one == other || job(one).is_some_and(|job_of_one| job(other) == Some(job_of_one))
    }
}
