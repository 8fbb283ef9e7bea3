//! The blocks of a specification.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CacheMode, Every, Millis, Overlap, ResolveOrder, RestartStrategy};

/// Parallelism, checkpoints and restarts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Deployment {
    /// Subtasks of each operator; 1 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallelism: Option<u32>,
    /// Time between checkpoints; 0 = none; 60 s when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint_interval: Option<Millis>,
    /// The directory in which savepoints are made; the cluster's own when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub savepoint_path: Option<String>,
    /// What Flink does when the job fails; `exponential-delay` without an end when nothing is said of restarts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_strategy: Option<RestartStrategy>,
    /// Restarts before the job has failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_restart_attempts: Option<u32>,
    /// The wait before a restart; for `exponential-delay` the first one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_delay: Option<Millis>,
}

/// Sizes of Flink's processes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Resources {
    /// Memory of the JobManager: `2g`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// Cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_cores: Option<f64>,
    /// Memory of network buffers: `1g`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_memory: Option<String>,
}

/// Who may, and what is verified.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Security {
    /// A principal; Libra does not log in with Kerberos.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kerberos_principal: Option<String>,
    /// TLS; it follows from the cluster's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssl_enabled: Option<bool>,
    /// The artifact needs a digest or a signature in the specification.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_verification: Option<bool>,
}

/// What is watched, and of what is told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Monitoring {
    /// A port for metrics; the cluster's processes have theirs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics_port: Option<u16>,
    /// A level of logging; the cluster's processes have theirs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_level: Option<String>,
    /// An http or https address to which alerts are sent; they stand in the deployment's events in any case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<String>,
    /// An alert when the job fails; on when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert_on_failure: Option<bool>,
    /// An event and an alert when the job can't keep up for a minute; off when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert_on_backpressure: Option<bool>,
}

/// When a batch job runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BatchConfig {
    /// Five fields, or `@daily` and the like; once, at once when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// The zone in which `cron` is read: `Europe/Berlin`; UTC when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// What happens when a run is due while another runs; `skip` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlap: Option<Overlap>,
    /// Runs after which there are no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_runs: Option<u32>,
    /// How long one run may take, seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_seconds: Option<u64>,
    /// What a run leaves in the cluster is removed when it has ended; on when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cleanup_on_completion: Option<bool>,
}

/// Savepoints and how checkpoints are made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StreamConfig {
    /// How often Libra takes a savepoint: a time, or a cron text; never when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub savepoint_trigger_interval: Option<Every>,
    /// A checkpoint that takes longer has failed; 10 min when absent, as in Flink.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint_timeout: Option<Millis>,
    /// The least time between the end of a checkpoint and the next; 0 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_pause_between_checkpoints: Option<Millis>,
    /// Checkpoints under way at once; 1 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_concurrent_checkpoints: Option<u32>,
}

/// Class loading and network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Advanced {
    /// Whose classes come first where `main` runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classloader_resolve_order: Option<ResolveOrder>,
    /// Who shares a class loader; Flink has one for each job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classloader_cache_mode: Option<CacheMode>,
    /// The longest time that a record waits in a network buffer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_buffer_timeout: Option<Millis>,
    /// Heap of the TaskManagers: `4g`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taskmanager_heap_size: Option<String>,
}

/// What has to be seen before a new version counts as well; else the old one comes back.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Stability {
    /// Completed checkpoints; 2 when absent, none where checkpoints are off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoints: Option<u32>,
    /// How long all tasks must have been running without a further restart, seconds; 60 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_seconds: Option<u64>,
    /// Restarts that are forgiven before the window begins; 1 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_restarts: Option<u32>,
    /// After this time a version that is not stable is bad, seconds; long enough for the rest when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u64>,
}
