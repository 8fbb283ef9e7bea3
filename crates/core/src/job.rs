//! A job: one row, one state, one revision.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::id::JobId;
use crate::mode::Mode;
use crate::requirement::Requirement;
use crate::retry;
use crate::spec::{JobSpec, RetryPolicy};
use crate::time::Timestamp;

/// The ten states (contract L1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    /// Received.
    Submitted,
    /// Being checked.
    Validating,
    /// Waiting for its turn.
    Queued,
    /// Chosen: its resources are reserved and its launch is under way.
    Scheduled,
    /// Running on its engine.
    Running,
    /// Done. Terminal.
    Succeeded,
    /// Failed for good. Terminal (while a retry is left, readers see `Retrying`).
    Failed,
    /// Waiting out a backoff before it is queued again.
    Retrying,
    /// Cancelled by somebody. Terminal.
    Cancelled,
    /// Ended by a time limit. Terminal.
    Timeout,
}

impl State {
    /// All states, in the order of a job's life.
    pub const ALL: [Self; 10] = [
        Self::Submitted,
        Self::Validating,
        Self::Queued,
        Self::Scheduled,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::Retrying,
        Self::Cancelled,
        Self::Timeout,
    ];

    /// The spelling on the wire and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Submitted => "SUBMITTED",
            Self::Validating => "VALIDATING",
            Self::Queued => "QUEUED",
            Self::Scheduled => "SCHEDULED",
            Self::Running => "RUNNING",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::Retrying => "RETRYING",
            Self::Cancelled => "CANCELLED",
            Self::Timeout => "TIMEOUT",
        }
    }

    /// Reads the spelling, in any case.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str().eq_ignore_ascii_case(text))
    }

    /// True when nothing leaves this state.
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Succeeded | Self::Failed | Self::Cancelled | Self::Timeout => true,
            Self::Submitted
            | Self::Validating
            | Self::Queued
            | Self::Scheduled
            | Self::Running
            | Self::Retrying => false,
        }
    }

    /// True when an attempt exists that holds resources.
    pub fn holds_resources(self) -> bool {
        match self {
            Self::Scheduled | Self::Running => true,
            Self::Submitted
            | Self::Validating
            | Self::Queued
            | Self::Succeeded
            | Self::Failed
            | Self::Retrying
            | Self::Cancelled
            | Self::Timeout => false,
        }
    }

    /// True when the present attempt has begun to run.
    pub fn has_started(self) -> bool {
        self == Self::Running
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The time limits that apply to a job, in seconds; None = no limit (contract L5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TimeLimits {
    /// From each QUEUED.
    pub queue_seconds: Option<i64>,
    /// From each RUNNING.
    pub run_seconds: Option<i64>,
    /// From each SCHEDULED.
    pub launch_seconds: Option<i64>,
}

/// Why the running attempt is to be ended. Stored before the engine is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// Somebody asked.
    Cancel,
    /// It ran too long.
    RunTimeout,
    /// It did not start in time.
    LaunchTimeout,
}

impl StopReason {
    /// The spelling in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::RunTimeout => "run_timeout",
            Self::LaunchTimeout => "launch_timeout",
        }
    }

    /// Reads the spelling.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Cancel, Self::RunTimeout, Self::LaunchTimeout].into_iter().find(|r| r.as_str() == text)
    }
}

/// A job as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// Counts the writes; every write names the revision that it read.
    pub revision: i64,
    /// Where it is.
    pub state: State,
    /// Who submitted it.
    pub user: String,
    /// Whose tenant.
    pub tenant: String,
    /// What to run.
    pub spec: JobSpec,
    /// Where it runs.
    pub mode: Mode,
    /// The machine on which it holds resources; None while it holds none (contract R2).
    pub host: Option<String>,
    /// What it occupies.
    pub requirement: Requirement,
    /// Which time limits apply.
    pub limits: TimeLimits,
    /// How failures are retried.
    pub retry: RetryPolicy,
    /// The number of the last attempt; 0 before the first.
    pub attempt: u32,
    /// Retries spent.
    pub retries: u32,
    /// Launches lost before anything ran.
    pub lost_launches: u32,
    /// When it was submitted.
    pub submitted_at: Timestamp,
    /// When it was last queued.
    pub queued_at: Option<Timestamp>,
    /// When it was last scheduled.
    pub scheduled_at: Option<Timestamp>,
    /// When it last began to run.
    pub started_at: Option<Timestamp>,
    /// When it became terminal.
    pub completed_at: Option<Timestamp>,
    /// When a backoff ends.
    pub not_before: Option<Timestamp>,
    /// When somebody asked for its end.
    pub cancel_requested_at: Option<Timestamp>,
    /// Why its attempt is being ended.
    pub stop: Option<StopReason>,
    /// The last failure.
    pub failure: Option<Failure>,
    /// Ties together what one request caused.
    pub correlation_id: String,
}

/// What a job is when it is received; the rest follows ([`Job::received`]).
#[derive(Clone, Debug)]
pub struct Draft {
    /// Its id.
    pub id: JobId,
    /// When it was submitted.
    pub submitted_at: Timestamp,
    /// Who submitted it.
    pub user: String,
    /// Whose tenant.
    pub tenant: String,
    /// What to run.
    pub spec: JobSpec,
    /// Where it runs.
    pub mode: Mode,
    /// What it occupies.
    pub requirement: Requirement,
    /// Which time limits apply.
    pub limits: TimeLimits,
    /// Ties together what one request caused.
    pub correlation_id: String,
}

impl Job {
    /// A job to which nothing has happened yet. Failures are retried as its specification says, else as the default does.
    pub fn received(draft: Draft) -> Self {
        let Draft { id, submitted_at, user, tenant, spec, mode, requirement, limits, correlation_id } = draft;
        Self {
            id,
            revision: 0,
            state: State::Submitted,
            user,
            tenant,
            mode,
            host: None,
            requirement,
            limits,
            retry: spec.retry_policy.clone().unwrap_or_else(retry::default_policy),
            spec,
            attempt: 0,
            retries: 0,
            lost_launches: 0,
            submitted_at,
            queued_at: None,
            scheduled_at: None,
            started_at: None,
            completed_at: None,
            not_before: None,
            cancel_requested_at: None,
            stop: None,
            failure: None,
            correlation_id,
        }
    }

    /// When the scheduler has to act on this job by itself: the end of its queue wait or of its backoff.
    pub fn due_at(&self) -> Option<Timestamp> {
        match self.state {
            State::Queued => {
                self.limits.queue_seconds.zip(self.queued_at).map(|(limit, since)| since.plus_seconds(limit))
            }
            State::Retrying => self.not_before,
            State::Submitted
            | State::Validating
            | State::Scheduled
            | State::Running
            | State::Succeeded
            | State::Failed
            | State::Cancelled
            | State::Timeout => None,
        }
    }
}
