//! What is wrong with a deployment, and what its owner can do about it.

use serde::{Deserialize, Serialize};

use super::flink_id::FlinkId;

/// The longest text of Flink's that is kept, in characters.
pub const MOST_WORDS: usize = 1_000;

/// Why something failed, was given up, or has to wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "reason", content = "detail")]
pub enum Trouble {
    /// The entry class is not there, or the artifact is no jar.
    #[error("Flink can't load the program: {0}")]
    BadProgram(String),
    /// The program may not be given to Flink: it is not signed as is asked, or its bytes have changed.
    #[error("the program is not given to Flink: {0}")]
    ProgramRefused(String),
    /// `main()` failed.
    #[error("the program's main() failed: {0}")]
    MainFailed(String),
    /// The state to begin with is not there.
    #[error("the state at {0} is not there")]
    StateGone(String),
    /// The program has no place for some of the state.
    #[error("the program has no place for some of its state: {0}")]
    StateMismatch(String),
    /// The job was stopped with a savepoint, and nobody knows where that is.
    #[error("the job was stopped with a savepoint under {0}, but its path is not known")]
    SavepointLost(String),
    /// Savepoints fail.
    #[error("no savepoint can be made: {0}")]
    SavepointFails(String),
    /// The job failed and Flink does not restart it.
    #[error("the job failed: {0}")]
    JobFailed(String),
    /// There are not enough slots.
    #[error("the cluster has no room for the job: {0}")]
    NoResources(String),
    /// The run never began.
    #[error("the run was sent again and again, and the job never appeared")]
    NeverRan,
    /// It does not become stable.
    #[error("it did not become stable in time")]
    NotStable,
    /// It is restarted more often than is forgiven; so often.
    #[error("it was restarted {0} times before it was stable")]
    KeepsRestarting(u64),
    /// A job of the same name is alive and is not ours.
    #[error("job {id} has the same name and was not started by this deployment")]
    ForeignJob {
        /// That job.
        id: FlinkId,
    },
    /// A batch job is gone and nobody knows how it ended.
    #[error("the cluster no longer knows the batch job, so nobody knows how it ended")]
    OutcomeUnknown,
    /// The spec of a generation is not there.
    #[error("the spec of generation {0} is not stored")]
    GenerationGone(u64),
    /// Tried too often; the last failure.
    #[error("given up after {tries} tries; the last one: {last}")]
    TooManyTries {
        /// How many.
        tries: u32,
        /// The last failure.
        last: Box<Trouble>,
    },
    /// Flink gave another reason.
    #[error("Flink refuses: {0}")]
    Refused(String),
}

impl Trouble {
    /// What to do next, in plain words.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::BadProgram(_) => "check entry_class and the artifact, then apply again",
            Self::ProgramRefused(_) => {
                "sign it with a key that is trusted here (libra.flink.artifacts.public-keys), then apply again; after a change of the configuration alone, resume it"
            }
            Self::MainFailed(_) => {
                "the program's own error is above; correct its arguments or code, then apply again"
            }
            Self::StateGone(_) => {
                "put it back and ask again, or name another one to begin with, or apply a spec with upgrade_mode: stateless if the state may be lost"
            }
            Self::StateMismatch(_) => {
                "keep the operators' uids, or set allow_non_restored_state if that part of the state may be lost"
            }
            Self::SavepointLost(_) => {
                "look into that directory, and ask again with the path of the savepoint to begin with"
            }
            Self::SavepointFails(_) => {
                "the job runs on as it was; check that Flink can write to the savepoint directory, then ask again"
            }
            Self::JobFailed(_) => {
                "its exceptions are kept with the deployment; correct the job, then apply again"
            }
            Self::NoResources(_) => "add TaskManagers or lower the parallelism; then ask again",
            Self::NeverRan => "look at the JobManager's log: main() may hang; then ask again",
            Self::KeepsRestarting(_) => {
                "look at its exceptions, correct the job, then apply again; stability.max_restarts says how many are forgiven"
            }
            Self::NotStable => "look at its restarts and checkpoints, correct the job, then apply again",
            Self::ForeignJob { .. } => {
                "cancel that job, or give this one another name; it starts as soon as the name is free"
            }
            Self::OutcomeUnknown => "check what it has written; ask again if it shall run once more",
            Self::GenerationGone(_) => "apply the spec again",
            Self::TooManyTries { last, .. } => last.hint(),
            Self::Refused(_) => "look at the JobManager's log; then ask again",
        }
    }
}

/// At most [`MOST_WORDS`] characters of what Flink said.
pub(super) fn shortened(text: &str) -> String {
    text.chars().take(MOST_WORDS).collect()
}
