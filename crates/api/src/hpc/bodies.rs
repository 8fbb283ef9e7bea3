//! What may be sent to the HPC face, for its description. [`super::requests`] reads it, and names each field that is wrong.

use serde::Serialize;
use utoipa::ToSchema;

/// A job that somebody makes known: `POST /v1/jobs`.
#[derive(Debug, Serialize, ToSchema)]
pub struct HpcJobRequest {
    /// The id that it is to have, within the tenant.
    pub id: String,
    /// Whose it is.
    pub user: String,
    /// The nodes that it is on, at least one.
    pub nodes: Vec<String>,
    /// `pending`, `running`, `completed`, `failed` or `cancelled`; `running` where neither this nor the scheduler's state
    /// is given.
    #[schema(required = false)]
    pub state: Option<String>,
    /// When it began, RFC 3339; now, where it runs and this is not given.
    #[schema(required = false)]
    pub start_time: Option<String>,
    /// What its scheduler knows of it.
    #[schema(required = false)]
    pub scheduler: Option<HpcSchedulerRequest>,
}

/// What a scheduler knows of a job.
#[derive(Debug, Serialize, ToSchema)]
pub struct HpcSchedulerRequest {
    /// `slurm` or `mock`.
    #[schema(rename = "type", required = false)]
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Its number with the scheduler; its id, where it is not given.
    #[schema(required = false)]
    pub external_job_id: Option<String>,
    /// The state as the scheduler names it, such as `COMPLETING`.
    #[schema(required = false)]
    pub raw_state: Option<String>,
    /// Why it is in this state.
    #[schema(required = false)]
    pub state_reason: Option<String>,
    /// Its name.
    #[schema(required = false)]
    pub name: Option<String>,
    /// Its partition.
    #[schema(required = false)]
    pub partition: Option<String>,
    /// The account that it is charged to.
    #[schema(required = false)]
    pub account: Option<String>,
    /// Its quality of service.
    #[schema(required = false)]
    pub qos: Option<String>,
    /// Its priority.
    #[schema(required = false)]
    pub priority: Option<u64>,
    /// When it was submitted, RFC 3339.
    #[schema(required = false)]
    pub submit_time: Option<String>,
    /// The exit code of its script.
    #[schema(required = false, minimum = 0, maximum = 255)]
    pub exit_code: Option<u32>,
    /// How long it may run, in minutes.
    #[schema(required = false)]
    pub time_limit_minutes: Option<u32>,
    /// Processors that were asked for.
    #[schema(required = false)]
    pub requested_cpus: Option<u64>,
    /// Memory that was asked for, in MiB, on all nodes.
    #[schema(required = false)]
    pub requested_memory_mb: Option<u64>,
    /// GPUs that were asked for.
    #[schema(required = false)]
    pub requested_gpus: Option<u64>,
    /// Processors that it has.
    #[schema(required = false)]
    pub allocated_cpus: Option<u64>,
    /// Memory that it has, in MiB, on all nodes.
    #[schema(required = false)]
    pub allocated_memory_mb: Option<u64>,
    /// GPUs that it has.
    #[schema(required = false)]
    pub allocated_gpus: Option<u64>,
    /// The name of its cluster.
    #[schema(required = false)]
    pub cluster_name: Option<String>,
}

/// A change of a job: `PATCH /v1/jobs/{id}`.
#[derive(Debug, Serialize, ToSchema)]
pub struct HpcJobPatch {
    /// Its state from now on: `pending`, `running`, `completed`, `failed` or `cancelled`.
    #[schema(required = false)]
    pub state: Option<String>,
    /// Percent of the processors that it has, now.
    #[schema(required = false, minimum = 0, maximum = 100)]
    pub cpu_usage: Option<f64>,
    /// Memory that it uses now, in MiB.
    #[schema(required = false)]
    pub memory_usage_mb: Option<u64>,
    /// Percent that its GPUs are busy, now.
    #[schema(required = false, minimum = 0, maximum = 100)]
    pub gpu_usage: Option<f64>,
}

/// What a job uses: `POST /v1/jobs/{id}/metrics`.
#[derive(Debug, Serialize, ToSchema)]
pub struct HpcSampleRequest {
    /// Percent of the processors that it has.
    #[schema(minimum = 0, maximum = 100)]
    pub cpu_usage: f64,
    /// Memory, in MiB.
    pub memory_usage_mb: u64,
    /// Percent that its GPUs are busy.
    #[schema(required = false, minimum = 0, maximum = 100)]
    pub gpu_usage: Option<f64>,
    /// When, RFC 3339; now, where it is not given.
    #[schema(required = false)]
    pub timestamp: Option<String>,
}

/// A hook says that a job runs: `POST /v1/events/job-started`.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobStartedRequest {
    /// Its number with the scheduler; `slurm-12` is 12.
    pub job_id: String,
    /// Whose it is.
    pub user: String,
    /// Its nodes, one by one or as Slurm writes lists: `n[1-3]`.
    pub node_list: Vec<String>,
    /// Processors that it has.
    #[schema(required = false)]
    pub cpu_allocation: Option<u64>,
    /// GPUs that it has.
    #[schema(required = false)]
    pub gpu_allocation: Option<u64>,
    /// Memory that it has, in MiB.
    #[schema(required = false)]
    pub memory_allocation_mb: Option<u64>,
    /// `none`, `nvidia` or `amd`; the agent knows it better.
    #[schema(required = false)]
    pub gpu_vendor: Option<String>,
    /// Its GPUs; the agent knows them better.
    #[schema(required = false)]
    pub gpu_devices: Option<Vec<String>>,
    /// Its cgroup; the agent knows it better.
    #[schema(required = false)]
    pub cgroup_path: Option<String>,
    /// When it began, RFC 3339; now, where it is not given or still to come.
    #[schema(required = false)]
    pub timestamp: Option<String>,
    /// The cluster, as Libra's configuration names it; the only one, where it is not given.
    #[schema(required = false)]
    pub cluster: Option<String>,
    /// Its partition.
    #[schema(required = false)]
    pub partition: Option<String>,
    /// The account that it is charged to.
    #[schema(required = false)]
    pub account: Option<String>,
    /// Its name.
    #[schema(required = false)]
    pub name: Option<String>,
    /// How often Slurm has put it back into its queue.
    #[schema(required = false)]
    pub restart_count: Option<u32>,
}

/// A hook says that a job has ended: `POST /v1/events/job-finished`.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobFinishedRequest {
    /// Its number with the scheduler; `slurm-12` is 12.
    pub job_id: String,
    /// What the hook makes of it: `completed`, `failed` or `cancelled`. Exit code, signal and the scheduler's own state count for
    /// more.
    #[schema(required = false)]
    pub final_state: Option<String>,
    /// The state as the scheduler names it, such as `TIMEOUT`.
    #[schema(required = false)]
    pub raw_state: Option<String>,
    /// The exit code.
    #[schema(required = false, minimum = 0, maximum = 255)]
    pub exit_code: Option<u32>,
    /// The signal that has ended it.
    #[schema(required = false, minimum = 0, maximum = 255)]
    pub signal: Option<u32>,
    /// When it ended, RFC 3339; now, where it is not given or still to come.
    #[schema(required = false)]
    pub timestamp: Option<String>,
    /// The cluster, as Libra's configuration names it; the only one, where it is not given.
    #[schema(required = false)]
    pub cluster: Option<String>,
    /// The one node that this is of, as an epilog says it: the job may go on elsewhere.
    #[schema(required = false)]
    pub node: Option<String>,
    /// Whose it is.
    #[schema(required = false)]
    pub user: Option<String>,
    /// How often Slurm has put it back into its queue.
    #[schema(required = false)]
    pub restart_count: Option<u32>,
    /// Its nodes, one by one or as Slurm writes lists: `n[1-3]`.
    #[schema(required = false)]
    pub node_list: Option<Vec<String>>,
    /// When it began, RFC 3339.
    #[schema(required = false)]
    pub start_time: Option<String>,
    /// When it was submitted, RFC 3339.
    #[schema(required = false)]
    pub submit_time: Option<String>,
    /// Its name.
    #[schema(required = false)]
    pub name: Option<String>,
    /// Its partition.
    #[schema(required = false)]
    pub partition: Option<String>,
    /// The account that it is charged to.
    #[schema(required = false)]
    pub account: Option<String>,
}

#[cfg(test)]
mod tests {
    use libra_core::time::Timestamp;
    use serde_json::{Value, json};
    use utoipa::PartialSchema;

    use super::*;
    use crate::hpc::requests::{finished, new_job, patch, sample, started};
    use crate::problem::Violation;

    fn described<T: PartialSchema>() -> Vec<String> {
        let schema = serde_json::to_value(T::schema()).unwrap();
        schema["properties"].as_object().unwrap().keys().cloned().collect()
    }

    /// The fields that the reader does not know.
    fn unknown(fields: &[String], read: impl Fn(&Value) -> Vec<Violation>) -> Vec<String> {
        let body: Value = fields.iter().map(|field| (field.clone(), json!({"wrong": true}))).collect();
        let wrong =
            read(&body).into_iter().filter(|violation| violation.reason.contains("is not a known field"));
        wrong.map(|violation| violation.pointer).filter(|pointer| !pointer.ends_with("/wrong")).collect()
    }

    #[test]
    fn what_is_described_is_read() {
        let none: Vec<String> = Vec::new();
        let now = Timestamp(0);
        assert_eq!(
            unknown(&described::<HpcJobRequest>(), |b| new_job(b, now).err().unwrap_or_default()),
            none
        );
        let scheduler = |b: &Value| new_job(&json!({"scheduler": b}), now).err().unwrap_or_default();
        assert_eq!(unknown(&described::<HpcSchedulerRequest>(), scheduler), none);
        assert_eq!(unknown(&described::<HpcJobPatch>(), |b| patch(b).err().unwrap_or_default()), none);
        assert_eq!(unknown(&described::<HpcSampleRequest>(), |b| sample(b).err().unwrap_or_default()), none);
        assert_eq!(
            unknown(&described::<JobStartedRequest>(), |b| started(b, now).err().unwrap_or_default()),
            none
        );
        assert_eq!(
            unknown(&described::<JobFinishedRequest>(), |b| finished(b, now).err().unwrap_or_default()),
            none
        );
        let odd = ["odd".to_owned()];
        assert_eq!(unknown(&odd, |b| patch(b).err().unwrap_or_default()), ["/odd"], "it is seen");
    }
}
