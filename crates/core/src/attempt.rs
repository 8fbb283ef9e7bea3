//! One try at running a job: what was launched, where, and how it ended.

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::id::{JobId, Token};
use crate::mode::Mode;
use crate::time::Timestamp;

/// What an engine needs to find a launched attempt again; opaque to everyone but that engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Handle(pub serde_json::Value);

/// How far a running attempt is. A percentage never goes backwards: the supervisor keeps the highest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// 0–100.
    pub percentage: u8,
    /// For people: `Stage 2/4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_stage: Option<String>,
    /// Tasks done.
    pub tasks_completed: u64,
    /// Tasks known so far; may grow while the engine plans.
    pub tasks_total: u64,
}

/// What the processes of an attempt have used, as far as they are the attempt's own: not a shared server, and not
/// executors on other machines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Processor time so far, of ended processes too, in milliseconds.
    pub cpu_millis: u64,
    /// The most resident memory that was seen at once, in bytes.
    pub peak_memory_bytes: u64,
    /// Processors at work lately, in thousandths; None before two looks and after the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub millicores: Option<u64>,
    /// Resident memory when it was last looked at, in bytes; None after the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Executors on its cluster when they were last counted; None where it has none, and after the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executors: Option<u32>,
}

impl Usage {
    /// This after `before`: neither the time nor the peak ever falls.
    #[must_use]
    pub fn after(self, before: Option<&Self>) -> Self {
        let before = before.copied().unwrap_or_default();
        Self {
            cpu_millis: self.cpu_millis.max(before.cpu_millis),
            peak_memory_bytes: self.peak_memory_bytes.max(before.peak_memory_bytes),
            // Who did not answer this time has not lost them.
            executors: self.executors.or(before.executors),
            ..self
        }
    }

    /// The same once nothing runs any more.
    #[must_use]
    pub fn ended(self) -> Self {
        Self { millicores: None, memory_bytes: None, executors: None, ..self }
    }
}

/// Addresses that a person can open (contract A2).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Links {
    /// The Spark UI while the driver lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spark_ui: Option<String>,
    /// The history server afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<String>,
    /// The driver's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver_log: Option<String>,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "outcome")]
pub enum Outcome {
    /// The engine's own record says that the work is done.
    Succeeded,
    /// It did not get done, and why.
    Failed {
        /// Why.
        failure: Failure,
    },
    /// It ended because Libra stopped it.
    Stopped,
}

/// The end of an attempt as its engine recorded it (contract L7).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exit {
    /// What became of the work.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// The driver's exit code, where there is a process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal that ended the driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// When it began, where the engine knows that better than whoever has looked at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<Timestamp>,
    /// When it ended.
    pub at: Timestamp,
}

/// A replica in one of its lives: what it wrote before its lease was lost does not count for what it writes now.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    /// The replica's id.
    pub replica: String,
    /// The epoch of its lease.
    pub epoch: i64,
}

/// A stored attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The job.
    pub job_id: JobId,
    /// 1 for the first.
    pub number: u32,
    /// The engine's name for it.
    pub token: Token,
    /// Where it runs.
    pub mode: Mode,
    /// The host it belongs to: machine-id and boot-id (design §6).
    pub host: String,
    /// Whose files it uses: replicas with the same shared directory have the same storage.
    pub storage: String,
    /// Who looks after it; None until a replica has claimed it.
    pub holder: Option<Holder>,
    /// When it was scheduled.
    pub created_at: Timestamp,
    /// When the intent to launch was stored.
    pub launched_at: Option<Timestamp>,
    /// When it began to run.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The engine's handle, once it is known.
    pub handle: Option<Handle>,
    /// How it ended.
    pub exit: Option<Exit>,
    /// The last known progress.
    pub progress: Option<Progress>,
    /// What its own processes have used; None where it has none.
    pub usage: Option<Usage>,
    /// How often what was seen of it has been stored: a look that is stored late must not undo a later one.
    pub looks: i64,
    /// The engine's application id.
    pub application_id: Option<String>,
    /// Addresses kept after the end.
    pub links: Links,
}
