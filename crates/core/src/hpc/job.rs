//! A job that Libra sees: one row for each time that a scheduler has taken it on.

use serde::{Deserialize, Serialize};

use super::raw_state::{HpcState, Standing};
use super::record::{ExitStatus, Record};
use crate::failure::Failure;
use crate::id::JobId;
use crate::job::State;
use crate::time::Timestamp;

/// What a hook has said of a job's end. It is no proof: an epilog sees exit code 0 also of jobs that were cancelled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndHint {
    /// When it ended.
    pub at: Timestamp,
    /// How its script ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<ExitStatus>,
    /// Its last state, where the scheduler's own record has told the hook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw_state: Option<String>,
}

/// A job as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HpcJob {
    /// Libra's id of it.
    pub id: JobId,
    /// Counts the writes; every write names the revision that it read.
    pub revision: i64,
    /// Where it is, in Libra's states (contract L8).
    pub state: State,
    /// Whose tenant.
    pub tenant: String,
    /// The id that whoever made it has given it, where it was not a scheduler (contract L9).
    pub client_id: Option<String>,
    /// The scheduler's cluster.
    pub cluster: String,
    /// Which job of its number on its cluster it is, counted from 1: numbers begin anew one day, and ended jobs can be put
    /// back.
    pub run: u32,
    /// What is known of it. The newest word counts; what that does not say stays.
    pub record: Record,
    /// What a hook has said of its end, while the scheduler has not.
    pub hint: Option<EndHint>,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// Ties together what belongs to it.
    pub correlation_id: String,
    /// When Libra first heard of it.
    pub created_at: Timestamp,
    /// When its row was last changed.
    pub updated_at: Timestamp,
}

impl HpcJob {
    /// Its state in the five words of the reference: by the scheduler's word, and where that has none for its end, by
    /// Libra's own.
    pub fn hpc_state(&self) -> HpcState {
        match self.state {
            State::Succeeded => HpcState::Completed,
            State::Failed | State::Timeout => HpcState::Failed,
            State::Cancelled => HpcState::Cancelled,
            State::Running => match Standing::of(&self.record.raw_state) {
                Some(Standing::Waits | Standing::Suspended) => HpcState::Pending,
                Some(Standing::Runs | Standing::Ended(_)) | None => HpcState::Running,
            },
            State::Submitted | State::Validating | State::Queued | State::Scheduled | State::Retrying => {
                HpcState::Pending
            }
        }
    }

    /// Seconds that it has run by `now`; None while that is unknown, and before it runs.
    pub fn runtime_seconds(&self, now: Timestamp) -> Option<f64> {
        let ended = if self.state.is_terminal() { self.record.ended? } else { now };
        Some(ended.seconds_since(self.record.started?))
    }
}
