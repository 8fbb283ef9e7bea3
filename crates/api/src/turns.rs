//! Whose turn it is: why a job waits, and how everything stands (contract A9, R3–R5).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Why a job is where it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExplainView {
    /// The job.
    pub job_id: String,
    /// Its state.
    pub status: String,
    /// In words.
    pub reason: String,
    /// Its place among the jobs that wait for the same capacity, from 1; while it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
    /// True when its place is this one or a later one: places are counted so far only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub position_is_least: bool,
    /// What stands in its way; absent when nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_by: Option<BlockedView>,
    /// When it is likely to start; absent when that can't be said, and once it has started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_start_time: Option<String>,
    /// How that was estimated, or why it can't be said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate_basis: Option<String>,
    /// Seconds spent so far, or in all.
    pub seconds: TimeSplit,
}

/// The first limit in a job's way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BlockedView {
    /// Its configuration key; `libra.scheduler.reservation` when room is kept for another job.
    pub limit: String,
    /// In words, with figures.
    pub message: String,
    /// What the figures count: `jobs`, `cores`, `bytes`, `gpus` or `slots`.
    pub unit: String,
    /// What is held already.
    pub used: u64,
    /// What the job asks for.
    pub requested: u64,
    /// What there is.
    pub capacity: u64,
    /// The jobs that hold it, those first that are expected to end first; at most 20, and only those that may be seen.
    pub holders: Vec<String>,
    /// How many hold it.
    pub holders_total: u64,
}

/// Where a job's time went, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TimeSplit {
    /// Waiting for its turn.
    pub queued: f64,
    /// Being launched.
    pub launching: f64,
    /// Running.
    pub running: f64,
    /// Waiting out backoffs.
    pub backoff: f64,
}

/// Who holds what, who waits, and for whom room is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueueView {
    /// When this was so.
    pub as_of: String,
    /// Jobs that wait.
    pub waiting: u64,
    /// Jobs that hold resources.
    pub running: u64,
    /// How long the job waits that has waited longest; absent when none waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_waiting_seconds: Option<f64>,
    /// Capacity that one or several execution modes draw on. Turns are given in each by itself.
    pub pools: Vec<PoolView>,
    /// Limits under which something runs or waits.
    pub limits: Vec<LimitView>,
    /// Limits that more is held of than they allow, because they were lowered or a host is gone. Nothing joins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exceeded: Vec<ExceededView>,
}

/// Capacity that jobs compete for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PoolView {
    /// Its name: `in-cluster` are the places of the shared server, `hosts` cores and memory of the hosts.
    pub name: String,
    /// All that there is.
    pub capacity: AmountView,
    /// All that jobs hold.
    pub held: AmountView,
    /// Jobs that hold it.
    pub running: u64,
    /// Jobs that wait for it.
    pub waiting: u64,
    /// The room that is kept for the job which is next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reservation: Option<ReservationView>,
    /// Queues that hold some of it or wait for it.
    pub queues: Vec<PartyView>,
}

/// Amounts of what jobs compete for; what does not matter in a pool is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AmountView {
    /// Cores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_cores: Option<u64>,
    /// GiB of memory.
    #[serde(rename = "memoryGB", default, skip_serializing_if = "Option::is_none")]
    pub memory_gb: Option<f64>,
    /// GPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpus: Option<u64>,
    /// Places on a shared server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slots: Option<u64>,
}

/// Room that is kept for a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReservationView {
    /// The job; absent when it may not be seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<String>,
    /// When it starts at the latest, if running jobs take no longer than they may.
    pub starts_by: String,
}

/// A queue, a tenant in it, or a user of that.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PartyView {
    /// Its name.
    pub name: String,
    /// Its weight against those beside it.
    pub share: u32,
    /// What it would hold, in percent of what all beside it hold who hold something or wait, if each held its share.
    pub fair_percent: f64,
    /// The greatest part of anything in the pool that it holds, in percent.
    pub held_percent: f64,
    /// What it holds.
    pub held: AmountView,
    /// The greatest part of anything in the pool that it held on average over the past hour, in percent.
    pub average_percent: f64,
    /// Its jobs that hold it.
    pub running: u64,
    /// Its jobs that wait.
    pub waiting: u64,
    /// Tenants of a queue, users of a tenant; only those that may be seen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(no_recursion)]
    pub parts: Vec<PartyView>,
}

/// A limit, and what is held under it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LimitView {
    /// Whom it binds, in words.
    pub of: String,
    /// Its configuration key.
    pub limit: String,
    /// Jobs that run under it.
    pub running: u64,
    /// How many may; absent = any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running_jobs: Option<u64>,
    /// What is held under it.
    pub held: AmountView,
    /// What may be held at most; what is not limited is left out.
    pub most: AmountView,
    /// Jobs that wait under it.
    pub waiting: u64,
}

/// A limit that more is held of than it allows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExceededView {
    /// Its configuration key.
    pub limit: String,
    /// In words, with figures.
    pub message: String,
}
