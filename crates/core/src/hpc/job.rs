//! A job that Libra sees: one row for each time that a scheduler has taken it on.

use serde::{Deserialize, Serialize};

use super::end::End;
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
    /// What the hook itself makes of it, which is not the scheduler's word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub final_state: Option<HpcState>,
}

impl EndHint {
    /// The end that the scheduler's own word in it names.
    pub fn proved(&self) -> Option<End> {
        match self.standing() {
            Some(Standing::Ended(end)) => Some(end),
            Some(Standing::Waits | Standing::Suspended | Standing::Runs) | None => None,
        }
    }

    /// The end that it tells of, where nobody can be asked: by the scheduler's word, by the hook's, by the exit status. A
    /// scheduler's word that is no end is none, and without any of them nothing is known (contract L7).
    pub fn end(&self) -> Option<End> {
        match self.standing() {
            Some(Standing::Ended(end)) => return Some(end),
            Some(Standing::Waits | Standing::Suspended | Standing::Runs) => return None,
            None => {}
        }
        let by_exit = self.exit.map(End::of_exit);
        match self.final_state {
            Some(HpcState::Completed) => Some(End::Completed),
            Some(HpcState::Failed) => Some(End::Failed),
            Some(HpcState::Cancelled) => Some(End::Cancelled),
            // Of a word that this build does not know, exit code 0 is no proof.
            Some(HpcState::Pending | HpcState::Running) | None => {
                by_exit.filter(|end| self.raw_state.is_none() || *end != End::Completed)
            }
        }
    }

    /// The better of two: the scheduler's word before a hook's, that before an exit status, and the later of equals.
    #[must_use]
    pub fn or_better(self, other: Self) -> Self {
        let weight =
            |hint: &Self| (hint.proved().is_some(), hint.final_state.is_some(), hint.exit.is_some(), hint.at);
        if weight(&other) > weight(&self) { other } else { self }
    }

    /// Where the job stands by the scheduler's word in it.
    pub fn standing(&self) -> Option<Standing> {
        self.raw_state.as_deref().and_then(Standing::of)
    }
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
