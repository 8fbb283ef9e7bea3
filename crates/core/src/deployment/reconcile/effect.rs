//! What has to be done because of a step: values, performed by the caller after the row is stored.

use super::flink_id::FlinkId;
use super::row::{Phase, State};
use super::trouble::Trouble;
use crate::time::Timestamp;

/// Something to do. What is sent to Flink carries an id that is already in the row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Upload the artifact under a name that contains its sha256, so that it is found again.
    Upload {
        /// The artifact.
        digest: String,
    },
    /// Run a generation. The caller adds what the spec says, and always `RETAIN_ON_CANCELLATION` for checkpoints.
    Run {
        /// The job id to give.
        job: FlinkId,
        /// Which request with this id, from 1.
        send: u32,
        /// Whose spec.
        generation: u64,
        /// Flink's id of the jar.
        jar: String,
        /// The state to begin with.
        from: Option<String>,
        /// Whether state without an operator may be left out.
        allow_non_restored_state: bool,
    },
    /// Stop the job with a savepoint.
    Stop {
        /// The job.
        job: FlinkId,
        /// The trigger id to give.
        trigger: FlinkId,
        /// Which request with this id, from 1.
        send: u32,
        /// Where to; no other savepoint is written there.
        directory: String,
    },
    /// Make a savepoint, and let the job run.
    Savepoint {
        /// The job.
        job: FlinkId,
        /// The trigger id to give.
        trigger: FlinkId,
        /// Which request with this id, from 1.
        send: u32,
        /// Where to; no other savepoint is written there.
        directory: String,
    },
    /// Change the number of subtasks of the job. Safe to repeat.
    Rescale {
        /// The job.
        job: FlinkId,
        /// Parts of the job with so many subtasks are meant; others have their number from the program.
        from: u32,
        /// How many they get.
        to: u32,
    },
    /// Cancel the job. Safe to repeat.
    Cancel {
        /// The job.
        job: FlinkId,
    },
    /// Remove a savepoint that nothing needs any more. Safe to repeat.
    Dispose {
        /// Where it is.
        path: String,
        /// The trigger id to give.
        trigger: FlinkId,
    },
    /// The next look asks about this trigger.
    Poll {
        /// The job that it is about.
        job: FlinkId,
        /// The trigger.
        trigger: FlinkId,
    },
    /// Tell those who listen.
    Emit(Event),
    /// Look again at this time at the latest; without it, whenever the usual time comes.
    WaitUntil(Timestamp),
}

/// Something worth telling.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Event {
    /// The phase changed.
    #[error("it is now {}", .0.words())]
    Phase(Phase),
    /// A run was sent.
    #[error("generation {generation} starts as job {job}, {}", from_words(.from.as_ref()))]
    Starts {
        /// The generation.
        generation: u64,
        /// The job.
        job: FlinkId,
        /// Its state.
        from: Option<State>,
    },
    /// A job of ours has ended.
    #[error("job {job} {how}")]
    Ended {
        /// The job.
        job: FlinkId,
        /// How.
        how: String,
    },
    /// A savepoint is there.
    #[error("savepoint {0}")]
    SavepointMade(String),
    /// A savepoint could not be made.
    #[error("no savepoint: {0}")]
    SavepointFailed(String),
    /// A savepoint was removed.
    #[error("savepoint {0} is removed")]
    SavepointRemoved(String),
    /// The job runs on with another number of subtasks.
    #[error("generation {generation} runs with {to} subtasks where it had {from}; the job was not stopped")]
    Rescaled {
        /// The generation that it is now.
        generation: u64,
        /// Subtasks that it had.
        from: u32,
        /// Subtasks that it has.
        to: u32,
    },
    /// The job is to have another number of subtasks, and the cluster has no room for them.
    #[error("the cluster has no room for {0} subtasks yet; the job goes there by itself when it has")]
    RescaleWaits(u32),
    /// The number of subtasks could not be changed in place.
    #[error("the number of subtasks could not be changed while the job runs; it is started anew")]
    RescaleFailed,
    /// The cluster does not answer.
    #[error("the cluster does not answer ({0}); nothing is decided until it does")]
    Unreachable(String),
    /// It answers again.
    #[error("the cluster answers again")]
    ReachableAgain,
    /// The JobManager was restarted.
    #[error("the JobManager was restarted; nothing is started before tasks of its former life are over")]
    JobManagerRestarted,
    /// The job is no longer in the list.
    #[error("the cluster no longer knows job {0}; it is restored once its last tasks must be over")]
    JobVanished(FlinkId),
    /// A former job of this deployment was found alive, beside or instead of the present one.
    #[error("job {0} is a former run of this deployment and was found alive; it is cancelled")]
    StrayFound(FlinkId),
    /// A job of ours was ended or stopped by somebody else.
    #[error("job {0} was ended by somebody else; it is brought back")]
    EndedFromOutside(FlinkId),
    /// The last stable generation comes back.
    #[error("generation {from} is given up, generation {to} comes back: {why}")]
    RolledBack {
        /// What was given up.
        from: u64,
        /// What comes back.
        to: u64,
        /// Why.
        why: Trouble,
    },
    /// Something was given up; it stays as it is until the wish changes.
    #[error("{0}; {hint}", hint = .0.hint())]
    GivenUp(Trouble),
    /// Something failed and is tried again.
    #[error("{why}; try {tries} follows")]
    TriesAgain {
        /// What failed.
        why: Trouble,
        /// The number of the next try.
        tries: u32,
    },
    /// Flink has restarted the job.
    #[error("Flink has restarted the job{}: {why}", times_words(*.times))]
    Restarted {
        /// How often since that was last told.
        times: u64,
        /// The newest failure, as Flink tells it.
        why: String,
    },
    /// The job can't keep up with what comes in.
    #[error(
        "the job does not keep up: {part} has to wait for what comes after it; give that more subtasks, or less to do"
    )]
    HeldBack {
        /// What waits.
        part: String,
    },
    /// It keeps up again.
    #[error("the job keeps up again")]
    KeepsUp,
    /// It is not stable, and there is nothing to go back to.
    #[error("generation {0} is not stable, and there is no stable one to go back to; it is left running")]
    NotStable(u64),
}

fn from_words(from: Option<&State>) -> String {
    from.map_or_else(|| "without state".to_owned(), |state| format!("from {}", state.path))
}

fn times_words(times: u64) -> String {
    if times == 1 { String::new() } else { format!(" {times} times") }
}

/// Of what people want to be told at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alert {
    /// Something failed.
    Failure,
    /// It does not keep up, or does again.
    Backpressure,
}

impl Event {
    /// What this is an alert of, if it is one.
    pub fn alert(&self) -> Option<Alert> {
        match self {
            Self::Restarted { .. }
            | Self::RolledBack { .. }
            | Self::GivenUp(_)
            | Self::TriesAgain { .. }
            | Self::NotStable(_)
            | Self::JobVanished(_)
            | Self::EndedFromOutside(_)
            | Self::SavepointFailed(_) => Some(Alert::Failure),
            Self::HeldBack { .. } | Self::KeepsUp => Some(Alert::Backpressure),
            // Of a cluster that is gone its own alert tells, once for all of its deployments.
            Self::Unreachable(_)
            | Self::ReachableAgain
            | Self::JobManagerRestarted
            | Self::Phase(_)
            | Self::Starts { .. }
            | Self::Ended { .. }
            | Self::SavepointMade(_)
            | Self::SavepointRemoved(_)
            | Self::Rescaled { .. }
            | Self::RescaleWaits(_)
            | Self::RescaleFailed
            | Self::StrayFound(_) => None,
        }
    }
}
