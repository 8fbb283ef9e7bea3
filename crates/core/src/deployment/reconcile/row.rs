//! The row of a deployment: its write-ahead log. What is about to be asked of Flink stands here first, with the id
//! that the request will carry; what came of it is added by later steps.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::desired::Mode;
use super::flink_id::FlinkId;
use super::observed::{Kept, Refusal};
use super::trouble::Trouble;
use super::watch::Noticed;
use crate::deployment::turns::Turn;
use crate::time::Timestamp;

/// Former job ids that are remembered, so that one of them is known for ours when it shows up alive.
pub const MOST_PAST: usize = 32;

/// Where a deployment stands. For views and events; decisions are made from the rest of the row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Nothing was done yet.
    #[default]
    New,
    /// A run is to begin, and waits for its turn.
    Waiting,
    /// A run is being prepared or sent, or waits for a later try.
    Starting,
    /// The job is there and has to show that it is well.
    Proving,
    /// The job has shown it.
    Stable,
    /// It has shown it, and not all of its tasks run now: Flink restarts them, or the cluster has lost the job.
    Ailing,
    /// The job is being stopped or cancelled.
    Stopping,
    /// It waits for what somebody else has to do.
    Blocked,
    /// It does not run, as wanted.
    Suspended,
    /// It has ended by itself.
    Completed,
    /// It was given up.
    Failed,
    /// It does not run and can be forgotten.
    Deleted,
}

impl Phase {
    /// The word for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Waiting => "waiting for its turn",
            Self::Starting => "starting",
            Self::Proving => "running, not yet stable",
            Self::Stable => "running and stable",
            Self::Ailing => "not well: not all of its tasks run",
            Self::Stopping => "stopping",
            Self::Blocked => "blocked",
            Self::Suspended => "suspended",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Deleted => "deleted",
        }
    }
}

/// A state from which a run can begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Where, as Flink writes it.
    pub path: String,
    /// The generation that has made it, or has gone on from it; 0 for one that was given from outside.
    pub generation: u64,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Stopped with a savepoint, or cancelled, by us.
    Stopped,
    /// By itself.
    Finished,
    /// It failed.
    Failed,
    /// Somebody else cancelled or stopped it.
    Outside,
    /// The cluster lost it.
    Vanished,
    /// It never began.
    NeverRan,
    /// Flink refused it.
    Refused,
}

/// The requests for a run of which it is not known whether there is a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// How many with this id.
    pub sends: u32,
    /// When the last was recorded.
    pub at: Timestamp,
    /// Until when an earlier one without an answer may still start the job.
    pub open_until: Option<Timestamp>,
    /// What the last one came to, where that was heard.
    pub heard: Option<Heard>,
    /// The life of the JobManager to which it was sent.
    pub life: Option<String>,
}

/// What was heard about a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Heard {
    /// It was taken, now or earlier.
    Taken,
    /// It was refused.
    Refused(Refusal),
}

/// What became of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// Not known yet.
    Sent(Sent),
    /// The cluster has listed it as alive, and has not told of its end.
    Live,
    /// It is over.
    Ended(End),
}

/// Since when a job is well, and the counters at that time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// Since when all tasks run and nothing is counted.
    pub since: Timestamp,
    /// Restarts then.
    pub restarts: u64,
    /// Exceptions then.
    pub exceptions: u64,
}

/// One job of this deployment. It is made before it is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Its Flink job id.
    pub id: FlinkId,
    /// Whose spec.
    pub generation: u64,
    /// The wish under which it was started ([`super::Desired::nonce`]).
    pub nonce: u64,
    /// What it began with.
    pub from: Option<State>,
    /// What became of it.
    pub fate: Fate,
    /// Its program has to begin alone: see [`super::Version::alone`].
    #[serde(default)]
    pub alone: bool,
    /// The newest snapshot of its state that was seen.
    pub kept: Option<Kept>,
    /// Since when the cluster does not list it.
    pub absent_since: Option<Timestamp>,
    /// Since when it is well.
    pub proof: Option<Proof>,
    /// By when it must be stable; None before it is seen, and once it is stable or let be.
    pub prove_by: Option<Timestamp>,
    /// True once it was found stable.
    pub proven: bool,
    /// What its job had counted when it became this generation's; only what comes after that proves anything.
    #[serde(default)]
    pub before: Counted,
    /// What was noticed of it while it ran.
    #[serde(default)]
    pub noticed: Noticed,
    /// The parts of its job that have as many subtasks as its generation says, by Flink's ids: found when the job was
    /// first asked to have another number. What the program itself has given a number is not among them, whatever the
    /// generation's number is later. Empty until then.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub scaled: BTreeSet<String>,
}

/// What a job has counted since it was submitted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// Restarts.
    pub restarts: u64,
    /// Completed checkpoints.
    pub checkpoints: u64,
}

impl Run {
    /// A run of which nothing is known but its fate.
    pub fn new(id: FlinkId, generation: u64, nonce: u64, fate: Fate) -> Self {
        Self {
            id,
            generation,
            nonce,
            from: None,
            fate,
            alone: false,
            kept: None,
            absent_since: None,
            proof: None,
            prove_by: None,
            proven: false,
            before: Counted::default(),
            noticed: Noticed::default(),
            scaled: BTreeSet::new(),
        }
    }

    /// Until when its `main()`, which has to be the only one on its cluster, may be at work; None when it need not be, or
    /// is over. `budget` is how long one may take, in microseconds: see [`super::MAIN_BUDGET`].
    pub fn begins_alone_until(&self, budget: i64) -> Option<Timestamp> {
        match &self.fate {
            Fate::Sent(sent) if self.alone => {
                let last = sent.heard.is_none().then(|| sent.at.plus_micros(budget));
                last.max(sent.open_until)
            }
            Fate::Sent(_) | Fate::Live | Fate::Ended(_) => None,
        }
    }

    /// True while there is, or may be, a job.
    pub fn may_live(&self) -> bool {
        match self.fate {
            Fate::Sent(_) | Fate::Live => true,
            Fate::Ended(_) => false,
        }
    }
}

/// A savepoint that is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saving {
    /// The trigger id to give: Flink knows it again.
    pub trigger: FlinkId,
    /// Where to, as Flink writes it; no other savepoint is written there.
    pub directory: String,
}

/// What is being done with the run's job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// Stop it with a savepoint.
    Stop(Saving),
    /// Make a savepoint on demand.
    Savepoint(Saving),
    /// Let it run with another number of subtasks.
    Rescale {
        /// The generation that it is then.
        generation: u64,
        /// Subtasks that it has.
        from: u32,
        /// Subtasks that it gets.
        to: u32,
    },
    /// Cancel it. With `discard` its state is not the one that the next run begins with.
    Cancel {
        /// Go on from the last stable generation's state.
        discard: bool,
    },
}

/// Something asked of the run's job. It is made before it is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// What.
    pub act: Act,
    /// The job.
    pub job: FlinkId,
    /// Since when.
    pub since: Timestamp,
    /// How many requests.
    pub sends: u32,
    /// When the last was recorded.
    pub sent_at: Timestamp,
}

impl Operation {
    /// Its savepoint, where it makes one.
    pub fn saving(&self) -> Option<&Saving> {
        match &self.act {
            Act::Stop(saving) | Act::Savepoint(saving) => Some(saving),
            Act::Rescale { .. } | Act::Cancel { discard: _ } => None,
        }
    }
}

/// An upload that was recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// The artifact.
    pub digest: String,
    /// When the last request was recorded.
    pub sent_at: Timestamp,
    /// How many.
    pub sends: u32,
}

/// The last generation that was found stable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stable {
    /// Which.
    pub generation: u64,
    /// The state with which its last run ended; None while it runs for the first time, or without state.
    pub state: Option<State>,
}

/// A wish that was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The generation that was wanted.
    pub generation: u64,
    /// See [`super::Desired::nonce`].
    pub nonce: u64,
    /// The mode that was wanted, when another mode makes the wish a new one.
    pub mode: Option<Mode>,
    /// The generation that runs instead; None when nothing more is done.
    pub instead: Option<u64>,
    /// Why.
    pub why: Trouble,
}

/// A savepoint that we made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Savepoint {
    /// Where.
    pub path: String,
    /// The generation that made it.
    pub generation: u64,
    /// When it was seen complete.
    pub at: Timestamp,
    /// The trigger of its removal and when that was last sent.
    pub removal: Option<(FlinkId, Timestamp)>,
}

/// What was wanted when the row was last looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// Running, suspended or deleted.
    pub mode: Mode,
    /// The generation.
    pub generation: u64,
    /// See [`super::Desired::nonce`].
    pub nonce: u64,
}

/// The row of one deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Raised by one by each step that changes anything; every write names the one it read.
    pub revision: u64,
    /// Where it stands.
    pub phase: Phase,
    /// What is wrong, if anything is.
    pub trouble: Option<Trouble>,
    /// The wish that is followed.
    pub wish: Option<Wish>,
    /// The wish that was given up, as long as it stays the same.
    pub refused: Option<Refused>,
    /// The present run, or the last one.
    pub run: Option<Run>,
    /// The job that stands for the present run, or for the next one. See [`crate::deployment::turns`].
    pub turn: Option<Turn>,
    /// The run that ended last, and how: the one after it may have begun in the same step.
    pub ended: Option<(FlinkId, End)>,
    /// What is being done with its job.
    pub operation: Option<Operation>,
    /// The upload that the next run waits for.
    pub upload: Option<Upload>,
    /// The state with which the next run begins.
    pub state: Option<State>,
    /// The last stable generation.
    pub stable: Option<Stable>,
    /// Savepoints that we made, oldest first.
    pub savepoints: Vec<Savepoint>,
    /// Former job ids, oldest first.
    pub past: Vec<FlinkId>,
    /// Former jobs that were found alive and are being cancelled.
    pub strays: Vec<FlinkId>,
    /// Failures in a row.
    pub tries: u32,
    /// Failed savepoints in a row.
    pub savepoint_tries: u32,
    /// Nothing is started earlier.
    pub not_before: Option<Timestamp>,
    /// Since when the present job is to be left and is not well enough for a savepoint.
    pub ailing_since: Option<Timestamp>,
    /// The request for a savepoint that was last dealt with ([`super::Desired::savepoint_nonce`]).
    pub savepoint_nonce: u64,
    /// The generation for which the job could not be rescaled: it is started anew.
    #[serde(default)]
    pub not_in_place: Option<u64>,
    /// The given state that was last taken ([`super::Given::nonce`]).
    pub given_nonce: u64,
    /// The life of the JobManager that was last seen.
    pub life: Option<String>,
    /// When another life was first seen.
    pub reborn_at: Option<Timestamp>,
    /// Since when the cluster does not answer.
    pub unreachable_since: Option<Timestamp>,
}
