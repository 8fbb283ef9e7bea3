//! What comes back: views of jobs (contract A1–A3). Times are RFC 3339 in UTC with milliseconds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// The answer to a submission, 202.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubmitView {
    /// The job's id.
    #[schema(example = "job-0198f0c4-6b1e-7c3a-9a55-3f1f0f6c2a10")]
    pub job_id: String,
    /// `QUEUED`.
    pub status: String,
    /// When it was stored.
    pub submitted_at: String,
    /// When it is likely to start; null when that can't be said.
    pub estimated_start_time: Option<String>,
    /// Where it will run.
    pub execution_mode: String,
    /// `spark`.
    pub engine: String,
    /// What it needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourcesView>,
    /// The time limits that apply.
    pub limits: LimitsView,
    /// What was taken but will not have the effect that one may expect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// The time limits of a job; 0 = none.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LimitsView {
    /// From each QUEUED.
    pub queue_timeout_seconds: i64,
    /// From each RUNNING.
    pub timeout_seconds: i64,
}

/// How far a running job is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProgressView {
    /// 0–100; never goes backwards within an attempt.
    pub percentage: u8,
    /// For people: `Stage 2/4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_stage: Option<String>,
    /// Tasks done.
    pub tasks_completed: u64,
    /// Tasks known so far.
    pub tasks_total: u64,
}

/// What an attempt's own processes have used: the driver and all that it started on its machine. A page of memory that
/// several processes share counts for each of them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsageView {
    /// Cores at work lately; absent after the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_cores: Option<f64>,
    /// Processor time so far, seconds.
    pub cpu_seconds: f64,
    /// Resident memory now, bytes; absent after the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// The most resident memory that was seen, bytes.
    pub peak_memory_bytes: u64,
    /// Executors on its cluster when they were last counted; absent where it has none, and after the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executors: Option<u32>,
}

/// What a job holds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourcesView {
    /// Cores of driver and executors together.
    pub cpu_cores: u64,
    /// Memory of driver and executors together, GiB, with overhead; absent where a script for Slurm says nothing of it.
    #[serde(rename = "memoryGB", default, skip_serializing_if = "Option::is_none")]
    pub memory_gb: Option<f64>,
    /// Executors.
    pub executors: u32,
    /// GPUs of all executors together; absent when there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpus: Option<u64>,
    /// Task slots on a Flink cluster; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slots: Option<u32>,
}

/// Addresses that a person can open.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LinksView {
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

/// Why a job or an attempt failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErrorView {
    /// `user`, `infrastructure`, `resources` or `policy`.
    pub class: String,
    /// A stable short code.
    pub code: String,
    /// What happened and what to do next.
    pub message: String,
    /// The engine's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// `unknown` when nobody can know whether the work took effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
}

/// One try at running a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AttemptView {
    /// 1 for the first.
    pub number: u32,
    /// The engine's name for it.
    pub token: String,
    /// When it was scheduled.
    pub scheduled_at: String,
    /// When it began to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// `SUCCEEDED`, `FAILED`, `STOPPED` or `NEVER_RAN`; absent while it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// The driver's exit code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal that ended the driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorView>,
    /// The engine's application id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application_id: Option<String>,
    /// What its own processes have used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<UsageView>,
}

/// A job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobView {
    /// Its id.
    pub job_id: String,
    /// One of the ten states.
    pub status: String,
    /// Where it runs.
    pub execution_mode: String,
    /// `spark`.
    pub engine: String,
    /// `sql`, `python`, `scala` or `jar`.
    pub kind: String,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Who submitted it.
    pub user: String,
    /// Whose tenant.
    pub tenant: String,
    /// Its queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// The cluster of its executors, where that has a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// 1–10.
    pub priority: u8,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// When it was submitted.
    pub submitted_at: String,
    /// When it was last queued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued_at: Option<String>,
    /// When it was last scheduled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled_at: Option<String>,
    /// When it last began to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<String>,
    /// When somebody asked for its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_requested_at: Option<String>,
    /// When the next try is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<String>,
    /// Run time: `45.2s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_time: Option<String>,
    /// How far it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<ProgressView>,
    /// What it needs.
    pub resource_requirement: ResourcesView,
    /// What it holds; present while it holds anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_usage: Option<ResourcesView>,
    /// What the last attempt's own processes have used, some seconds old while it runs; absent where it has none, as SQL
    /// in the shared server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<UsageView>,
    /// Retries spent.
    pub retry_count: u32,
    /// Retries allowed.
    pub max_retries: u32,
    /// Time limits.
    pub limits: LimitsView,
    /// The engine's application id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application_id: Option<String>,
    /// Addresses.
    pub links: LinksView,
    /// The driver's exit code in the last attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The last failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorView>,
    /// Every try; absent in lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<AttemptView>,
    /// The whole result where it is small and the job SUCCEEDED; else ask `/result`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<ResultRows>,
    /// Ties the job to the request that made it.
    pub correlation_id: String,
}

/// A page of jobs, newest first.
///
/// Where several conditions are combined that are each met by very many jobs, a page looks at a limited number of them:
/// it may hold fewer jobs than `limit`, even none, and still have a `nextCursor`. Only a page without one is the last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobListView {
    /// The jobs.
    pub jobs: Vec<JobView>,
    /// How many matched in all when the first page was read. Null beyond 10,000, and where conditions are combined
    /// that are each met by too many jobs to look at them all at once.
    pub total: Option<u64>,
    /// Where `total` is null: how many were found so far. There may be more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_at_least: Option<u64>,
    /// Jobs on a page at most.
    pub limit: u32,
    /// Jobs skipped.
    pub offset: u32,
    /// Hand this back as `cursor` for the next page, which goes on behind the last job that was looked at; null on the
    /// last one. Following it until it is null gives every job once.
    pub next_cursor: Option<String>,
}

/// The answer to a cancellation: 200 when it is done, 202 when it is under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CancelView {
    /// The job.
    pub job_id: String,
    /// `CANCELLED`, or the present state.
    pub status: String,
    /// When it was cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled_at: Option<String>,
    /// When somebody asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_requested_at: Option<String>,
    /// In words.
    pub message: String,
}

/// Rows with their schema.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ResultRows {
    /// Spark's JSON spelling: `{"type":"struct","fields":[{"name","type","nullable"}]}`.
    pub schema: Value,
    /// One object a row.
    pub rows: Vec<Value>,
    /// True when rows beyond 256 MiB were left out.
    pub truncated: bool,
}

/// The media type of a result as CSV.
pub const CSV: &str = "text/csv";
/// The media type of a result as an Arrow IPC stream.
pub const ARROW_STREAM: &str = "application/vnd.apache.arrow.stream";

/// A page of a job's result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResultView {
    /// The job.
    pub job_id: String,
    /// `SUCCEEDED`.
    pub status: String,
    /// Schema and rows of this page.
    pub result: ResultRows,
    /// Rows in all.
    pub row_count: u64,
    /// Run time: `45.2s`.
    pub execution_time: String,
    /// When it ended.
    pub completed_at: String,
    /// Hand this back as `cursor` for the next page; null on the last one.
    pub next_cursor: Option<String>,
}

/// A piece of a job's log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogsView {
    /// The job.
    pub job_id: String,
    /// The attempt.
    pub attempt: u32,
    /// `stdout` or `stderr`.
    pub stream: String,
    /// Where the piece begins, bytes.
    pub offset: u64,
    /// Where the next piece begins, bytes.
    pub next_offset: u64,
    /// Bytes in all, so far.
    pub total: u64,
    /// True when the driver can write no more and the piece reaches the end.
    pub complete: bool,
    /// The text; bytes that are no UTF-8 are shown as `�`.
    pub content: String,
}

/// Lines of a log that is followed: the data of a `log` event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogLinesView {
    /// The attempt.
    pub attempt: u32,
    /// `stdout` or `stderr`.
    pub stream: String,
    /// Where they begin, bytes.
    pub offset: u64,
    /// Where the next ones begin, bytes.
    pub next_offset: u64,
    /// The text, with its line ends; bytes that are no UTF-8 are shown as `�`.
    pub content: String,
}

/// The end of a log that is followed: the data of the `end` event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogEndView {
    /// The job.
    pub job_id: String,
    /// The job's state.
    pub status: String,
    /// The attempt that was followed last; 0 when there was none.
    pub attempt: u32,
    /// The exit code of its driver, where it had one.
    pub exit_code: Option<i32>,
}

/// One row of a job's history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventView {
    /// Its number in the feed of all jobs; null for a moment after it happened.
    pub seq: Option<i64>,
    /// From.
    pub from: Option<String>,
    /// To.
    pub to: String,
    /// When.
    pub at: String,
    /// Who.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// Which attempt; 0 before the first.
    pub attempt: u32,
    /// The request that caused it.
    pub correlation_id: String,
    /// What else is known about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Value>,
}

/// A job's history, oldest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventListView {
    /// The job.
    pub job_id: String,
    /// What happened.
    pub events: Vec<EventView>,
}

/// Whether the service is well.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HealthView {
    /// `UP` or `DOWN`.
    pub status: String,
    /// Its parts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(no_recursion)]
    pub components: BTreeMap<String, HealthView>,
    /// In words, where there is something to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// One replica.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaView {
    /// Its name.
    pub id: String,
    /// How often its lease was taken anew: what it wrote under an earlier epoch can no longer take effect.
    pub epoch: i64,
    /// True for the one that schedules.
    pub leader: bool,
    /// The leader's epoch, for the leader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader_epoch: Option<i64>,
    /// False when it was not heard of for longer than its lease.
    pub alive: bool,
    /// Seconds since it was last heard of, by the store's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat_age_seconds: Option<f64>,
    /// Attempts that it looks after.
    pub attempts_held: u64,
    /// Its machine and boot.
    pub host: String,
    /// Where the other replicas reach it.
    pub address: String,
    /// Its Libra's version.
    pub version: String,
    /// Cores that jobs may use on its host.
    pub cpu_cores: u64,
    /// Memory that jobs may use on its host, in GiB.
    pub memory_gb: f64,
    /// When it started.
    pub started_at: String,
}

/// All replicas.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaListView {
    /// By name.
    pub replicas: Vec<ReplicaView>,
}
