//! What the HPC face shows. Null is unknown, which is not zero (contract H5).

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// An observed job. Its usage rests on `sample_count` samples; while that is 0 nothing of it is known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HpcJobView {
    /// Its id: what whoever made it has chosen, else Libra's own.
    #[schema(example = "job-01a2032a-00cd-74b1-90db-ffe2d8776719")]
    pub id: String,
    /// Its owner; empty while unknown.
    pub user: String,
    /// Its nodes.
    pub nodes: Vec<String>,
    /// How many it has or asks for.
    pub node_count: Option<u32>,
    /// `pending`, `running`, `completed`, `failed` or `cancelled`.
    pub state: String,
    /// The same in Libra's ten states.
    pub status: String,
    /// When it began to run.
    pub start_time: Option<String>,
    /// When it ended.
    pub end_time: Option<String>,
    /// How long it has run.
    pub runtime_seconds: Option<f64>,
    /// Percent of its processors at the newest sample, the mean of its nodes.
    pub cpu_usage: Option<f64>,
    /// MiB at the newest sample, all nodes together.
    pub memory_usage_mb: Option<i64>,
    /// Percent of its GPUs at the newest sample, the mean of its nodes.
    pub gpu_usage: Option<f64>,
    /// What its scheduler says.
    pub scheduler: SchedulerView,
    /// Why it failed; absent where it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<HpcFailureView>,
    /// When its newest sample was taken.
    pub last_sample_at: Option<String>,
    /// How many samples its usage rests on.
    pub sample_count: i64,
    /// The mean, percent.
    pub avg_cpu_usage: Option<f64>,
    /// The greatest, percent, on any node.
    pub max_cpu_usage: Option<f64>,
    /// The greatest, MiB: the sum of each node's greatest.
    pub max_memory_usage_mb: Option<i64>,
    /// The mean, percent.
    pub avg_gpu_usage: Option<f64>,
    /// The greatest, percent, on any node.
    pub max_gpu_usage: Option<f64>,
    /// When Libra first heard of it.
    pub created_at: String,
    /// When it last changed.
    pub updated_at: String,
}

/// What a scheduler says of a job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SchedulerView {
    /// `slurm`, or `mock` where no scheduler knows it.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its number there.
    pub external_job_id: String,
    /// Its state in the scheduler's own words.
    pub raw_state: String,
    /// Why it is in that state, in the scheduler's words.
    pub state_reason: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// Its partition.
    pub partition: Option<String>,
    /// The account that is charged.
    pub account: Option<String>,
    /// Its quality of service.
    pub qos: Option<String>,
    /// Its priority.
    pub priority: Option<u64>,
    /// When it was submitted.
    pub submit_time: Option<String>,
    /// The exit code of its script.
    pub exit_code: Option<i32>,
    /// The signal that ended its script; 0 for none.
    pub signal: Option<i32>,
    /// Its time limit; null = unknown or none.
    pub time_limit_minutes: Option<u32>,
    /// Processors that it asks for.
    pub requested_cpus: Option<u64>,
    /// Processors that it has.
    pub allocated_cpus: Option<u64>,
    /// MiB that it asks for.
    pub requested_memory_mb: Option<u64>,
    /// MiB that it has.
    pub allocated_memory_mb: Option<u64>,
    /// GPUs that it asks for.
    pub requested_gpus: Option<u64>,
    /// GPUs that it has.
    pub allocated_gpus: Option<u64>,
    /// How often it was put back into the queue.
    pub restarts: Option<u32>,
    /// The array that it is a task of.
    pub array_job_id: Option<u64>,
    /// Which task of the array it is.
    pub array_task_id: Option<u64>,
    /// The heterogeneous job that it is a part of.
    pub het_job_id: Option<u64>,
    /// The cluster.
    pub cluster_name: String,
}

/// Why an observed job failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HpcFailureView {
    /// `user`, `infrastructure`, `resources` or `policy`.
    pub class: String,
    /// A stable short code.
    pub code: String,
    /// What happened.
    pub message: String,
    /// True where nobody knows how it ended.
    pub outcome_unknown: bool,
}

/// A page of observed jobs, newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HpcJobListView {
    /// The jobs.
    pub jobs: Vec<HpcJobView>,
    /// How many the whole list has; null where that is more than 10,000.
    pub total: Option<u64>,
    /// How many were asked for.
    pub limit: u32,
    /// How many were skipped.
    pub offset: u32,
    /// Where the next page goes on (`cursor`); null on the last one.
    pub next_cursor: Option<String>,
}

/// The answer to an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HpcEventView {
    /// `processed`, or `unchanged` where it told nothing new.
    pub status: String,
    /// The job's id with Libra.
    pub job_id: String,
    /// The same in words.
    pub message: String,
}

/// What was measured of a job on a node, or of a minute or an hour of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SampleView {
    /// When, or when the minute or hour begins.
    pub timestamp: String,
    /// On which node.
    pub node: String,
    /// Percent of its processors; of a minute or an hour the mean.
    pub cpu_usage: Option<f64>,
    /// MiB; of a minute or an hour the mean.
    pub memory_usage_mb: Option<i64>,
    /// Percent of its GPUs; of a minute or an hour the mean.
    pub gpu_usage: Option<f64>,
    /// How many samples it is made of.
    pub samples: i64,
    /// The greatest share of its processors in it.
    pub max_cpu_usage: Option<f64>,
    /// The most memory in it, MiB.
    pub max_memory_usage_mb: Option<i64>,
    /// The greatest share of its GPUs in it.
    pub max_gpu_usage: Option<f64>,
}

/// What was measured of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SampleListView {
    /// The job.
    pub job_id: String,
    /// `raw`, `1m` or `1h`.
    pub resolution: String,
    /// The oldest first.
    pub samples: Vec<SampleView>,
    /// How many these are.
    pub total: u64,
    /// True where there are more than were asked for.
    pub truncated: bool,
}

/// What was changed of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditView {
    /// `upsert`, `update` or `delete`.
    pub change_type: String,
    /// When.
    pub changed_at: String,
    /// Who.
    pub changed_by: String,
    /// By which way.
    pub source: String,
    /// Ties together what belongs together.
    pub correlation_id: String,
    /// The job afterwards; of one that was removed, the job before.
    pub job_snapshot: Value,
}

/// All changes of a job, the oldest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditListView {
    /// The changes.
    pub changes: Vec<AuditView>,
}
