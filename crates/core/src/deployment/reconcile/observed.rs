//! What a look at the cluster has told. It may be incomplete and says so; nothing in it is guessed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::flink_id::FlinkId;

/// What a look has told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observed {
    /// The cluster did not answer, or not with sense: nothing is known, so nothing is decided.
    Unreachable(String),
    /// The cluster answered every question of this look.
    Reachable(Box<Cluster>),
}

/// What the cluster said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// A mark of this life of the JobManager: it changes when it is restarted or another one takes over. None where
    /// the cluster tells none; then every outage counts as a restart.
    pub life: Option<String>,
    /// The parts of the row's job by Flink's ids; None where it can't change their numbers while the job runs, and where
    /// it was not asked because that does not matter ([`super::may_rescale`]).
    pub parts: Option<BTreeMap<String, Part>>,
    /// The jobs that the cluster lists, ended ones included: all with an id that the row knows, and all of the
    /// deployment's name. Others may be left out.
    pub jobs: Vec<Job>,
    /// The uploaded artifacts, at least those of the versions that are wanted: sha256 and Flink's id of the jar.
    pub jars: Vec<(String, String)>,
    /// What the cluster answers about the trigger of the row's savepoint.
    pub trigger: Trigger,
    /// What came back on the last request of this row, if anybody heard it.
    pub reply: Option<Reply>,
    /// What the directories of the row's run and operation hold; None where they can't be read from here.
    pub disk: Option<Disk>,
    /// Disposals: their trigger and what the cluster answers about it.
    pub disposals: Vec<(FlinkId, Trigger)>,
    /// Requests of this row whose answers are still waited for.
    pub open: Open,
}

/// Requests that may take minutes, and that are still waited for: none of them is made again meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Open {
    /// The last one for the row's run.
    pub run: bool,
    /// The upload.
    pub upload: bool,
}

/// State of a job as Flink names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum JobState {
    /// The JobManager prepares it.
    Initializing,
    /// No task has been started.
    Created,
    /// It runs, as Flink sees it: that says nothing about its tasks.
    Running,
    /// A failure is being handled.
    Failing,
    /// It has failed for good.
    Failed,
    /// It is being cancelled.
    Cancelling,
    /// It is cancelled.
    Canceled,
    /// It has ended, by itself or with a savepoint.
    Finished,
    /// It begins again after a failure.
    Restarting,
    /// Its JobManager lost the leadership; another one may go on with it.
    Suspended,
    /// The JobManager takes it over.
    Reconciling,
}

impl JobState {
    /// True while the job is being made ready, or was only made to say why it can't be: who asked for it is about to
    /// hear which.
    pub(super) fn is_undecided(self) -> bool {
        match self {
            Self::Initializing | Self::Created | Self::Failed => true,
            Self::Running
            | Self::Failing
            | Self::Cancelling
            | Self::Canceled
            | Self::Finished
            | Self::Restarting
            | Self::Suspended
            | Self::Reconciling => false,
        }
    }

    /// True when nothing of the job runs, or ever will again.
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Failed | Self::Canceled | Self::Finished => true,
            Self::Initializing
            | Self::Created
            | Self::Running
            | Self::Failing
            | Self::Cancelling
            | Self::Restarting
            | Self::Suspended
            | Self::Reconciling => false,
        }
    }
}

/// A snapshot of a job's state that exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Where, as Flink writes it.
    pub path: String,
    /// Flink's number of it: checkpoints and savepoints of a job are counted together, so the greatest is the newest.
    pub number: u64,
}

/// One job in the cluster's list. Counters are of this job, since it was submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its id.
    pub id: FlinkId,
    /// Its name.
    pub name: String,
    /// Its state; from `/jobs/overview`, which is not cached for seconds.
    pub state: JobState,
    /// True when every task runs, or has finished.
    pub all_tasks_run: bool,
    /// Restarts because it failed; another number of subtasks is none.
    pub restarts: u64,
    /// Entries of its exception history.
    pub exceptions: u64,
    /// Checkpoints that it completed.
    pub checkpoints: u64,
    /// Its newest checkpoint that is still there.
    pub checkpoint: Option<Kept>,
    /// Its newest savepoint.
    pub savepoint: Option<Kept>,
    /// Its newest exception, shortened.
    pub failure: Option<String>,
    /// Whether it keeps up; None where that was not asked, or can't be said.
    pub pressure: Option<Pressure>,
}

/// How much a job is held back by a part of it that is too slow. Flink's own words for it: `ok`, `low` and `high`, the last
/// when a subtask can do nothing but wait for more than half of its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pressure {
    /// It keeps up.
    None,
    /// Now and then.
    Low,
    /// It does not keep up.
    High {
        /// The last part that is held back: what comes after it is too slow.
        part: String,
    },
}

/// A part of a job: operators that run as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The subtasks that it is asked to have.
    pub asked: u32,
    /// The subtasks that it has.
    pub has: u32,
}

/// What the cluster answers about a trigger id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Trigger {
    /// It was not asked.
    #[default]
    NotAsked,
    /// It does not know it: it never came, came to another life of the JobManager, or is too long ago.
    Unknown,
    /// It works on it.
    InProgress,
    /// Done: the savepoint's path.
    Completed(String),
    /// Flink calls it COMPLETED, with this failure cause.
    Failed(String),
}

/// What files say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    /// The newest complete checkpoint in the directory of the row's run (`<checkpoints>/<job id>/chk-N`).
    pub checkpoint: Option<Kept>,
    /// The newest complete savepoint in the directory of the row's operation.
    pub savepoint: Option<String>,
    /// Flink's number of it, as its `_metadata` has it: by that it is known whether a checkpoint is newer. None where
    /// it can't be read.
    pub savepoint_number: Option<u64>,
}

/// What came back on one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The id that the request carried.
    pub key: FlinkId,
    /// Which of the requests with that id.
    pub send: u32,
    /// What it said.
    pub answer: Answer,
}

/// What a reply said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Flink took it.
    Accepted,
    /// Flink refused it.
    Refused(Refusal),
    /// Nothing that tells whether it was done: no connection, no answer in time, a server error, garbage.
    Unclear(String),
}

/// Why Flink refused a request. Each of them says that this request started nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// A job with this id was submitted before: an earlier request with the same id was successful.
    Duplicate,
    /// The uploaded artifact is no longer there.
    MissingJar,
    /// The entry class is not there, or the artifact can't be read.
    BadProgram(String),
    /// It was not sent: the program is not signed as is asked.
    ProgramRefused(String),
    /// It was not sent: the program can't be read, or its bytes are not those that were applied.
    ProgramUnread(String),
    /// The program's `main()` failed.
    MainFailed(String),
    /// The savepoint or checkpoint is not there.
    StateNotFound(String),
    /// The program has no place for some of the state.
    StateMismatch(String),
    /// There are not enough slots.
    NoResources(String),
    /// The cluster does not know the job.
    UnknownJob,
    /// Anything else that Flink gives as a reason.
    Other(String),
}
