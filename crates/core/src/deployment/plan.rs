//! What a change makes necessary: told before anything is touched (contract F2, F3).
//!
//! A job keeps its state unless the new specification says `stateless`, or there is nothing to keep. Where state ought
//! to be there and none is known, nothing is started: losing it is a person's decision.

mod advice;
mod change;
mod decide;
mod drift;
mod live;
mod seen;
mod words;

use serde::Serialize;

use super::Violation;
use super::normal::Normal;

pub use change::{Change, Needs};
pub use drift::Drift;
pub use live::{ClusterView, Ending, Live, LiveJob, Newest, Snapshot, Wanted};

/// What happens to the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Nothing; changes are only stored.
    None,
    /// The number of subtasks changes while it runs.
    InPlace,
    /// Stopped with a savepoint, started from it.
    SavepointRedeploy,
    /// Started from the newest snapshot that there is: the last checkpoint, or a savepoint that is newer.
    CheckpointRedeploy,
    /// Started without state.
    StatelessRedeploy,
    /// Started for the first time.
    FirstDeploy,
    /// Started again after it was suspended.
    Resume,
}

impl Kind {
    /// Every kind, for the labels of metrics.
    pub const ALL: [Self; 7] = [
        Self::None,
        Self::InPlace,
        Self::SavepointRedeploy,
        Self::CheckpointRedeploy,
        Self::StatelessRedeploy,
        Self::FirstDeploy,
        Self::Resume,
    ];

    /// The spelling on the wire and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::InPlace => "in-place",
            Self::SavepointRedeploy => "savepoint-redeploy",
            Self::CheckpointRedeploy => "checkpoint-redeploy",
            Self::StatelessRedeploy => "stateless-redeploy",
            Self::FirstDeploy => "first-deploy",
            Self::Resume => "resume",
        }
    }

    /// True when a job is started.
    pub fn starts(self) -> bool {
        match self {
            Self::None | Self::InPlace => false,
            Self::SavepointRedeploy
            | Self::CheckpointRedeploy
            | Self::StatelessRedeploy
            | Self::FirstDeploy
            | Self::Resume => true,
        }
    }
}

/// With which state the job goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum StateUse {
    /// With its own: it is not stopped.
    Kept,
    /// With the savepoint that it is stopped with.
    NewSavepoint {
        /// The directory in which it is made; None = the cluster's own.
        directory: Option<String>,
    },
    /// With the last checkpoint that it completes before it is cancelled.
    LastCheckpoint,
    /// With this snapshot.
    Snapshot(Snapshot),
    /// With its last state, of which it is not known where it is.
    Unknown,
    /// With none.
    Fresh,
}

/// What is lost, or done twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Loss {
    /// All state.
    State,
    /// What came after the snapshot is read again: what is not written exactly once comes twice.
    ReadAgain {
        /// The time of the snapshot; None = not known yet.
        since: Option<crate::time::Timestamp>,
    },
    /// What the batch run under way has done.
    Run,
}

/// What stands in the way, and what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Obstacle {
    /// The cluster does not answer: what happens is decided when it does.
    ClusterSilent,
    /// A job of this name is alive and is not Libra's.
    ForeignJob,
    /// A batch run is lost with its cluster: what may have happened is not repeated unasked.
    RunLost,
    /// The job is down, and no snapshot of its state is known.
    StateUnknown,
}

/// What will happen, and why.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// The deployment.
    pub job_id: String,
    /// What the job is, in words: program, parallelism, cluster.
    pub job: String,
    /// What happens to the job.
    pub kind: Kind,
    /// What differs from what is deployed.
    pub changes: Vec<Change>,
    /// What is not as it was deployed.
    pub drift: Vec<Drift>,
    /// With which state it goes on.
    pub state: StateUse,
    /// What is lost.
    pub lost: Vec<Loss>,
    /// What stands in the way at present.
    pub obstacle: Option<Obstacle>,
    /// What is worth knowing, as sentences.
    pub warnings: Vec<String>,
    /// True for a deployment that stays suspended.
    pub suspended: bool,
}

/// See [`Normal::job_key`].
pub(super) fn job_key(normal: &Normal) -> String {
    change::job(normal).to_string()
}

/// See [`Normal::shape_key`].
pub(super) fn shape_key(normal: &Normal) -> String {
    change::shape(normal).to_string()
}

/// What is to be done so that `new` runs where `old` was deployed; `live` is how things are.
pub fn plan(old: Option<&Normal>, new: &Normal, live: &Live) -> Plan {
    decide::Decision::new(old, new, live).plan()
}

impl Plan {
    /// True when the job that is deployed is the new version's job as it is, or becomes so while it runs.
    pub fn is_same_job(&self) -> bool {
        let is_small = self.changes.iter().all(|change| change.needs <= Needs::NextRun);
        match self.kind {
            Kind::FirstDeploy => false,
            Kind::InPlace => true,
            Kind::None
            | Kind::SavepointRedeploy
            | Kind::CheckpointRedeploy
            | Kind::StatelessRedeploy
            | Kind::Resume => is_small,
        }
    }

    /// The same with the warnings of a specification.
    #[must_use]
    pub fn with_warnings_of(mut self, warnings: &[Violation]) -> Self {
        self.warnings.extend(warnings.iter().map(ToString::to_string));
        self
    }
}

#[cfg(test)]
mod tests;
