//! What jobs have made of what they were given (contract H7). Null is unknown, which is not zero.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a job was given of something beside what it has used.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ShareView {
    /// What it asked for.
    pub requested: Option<f64>,
    /// What it had.
    pub allocated: Option<f64>,
    /// What it used of that.
    pub used: Option<f64>,
    /// The same in percent.
    pub percent: Option<f64>,
    /// How much of its time on its nodes was measured, percent.
    pub coverage_percent: f64,
}

/// Something that a job wasted while it ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VerdictView {
    /// `idle_gpu`, `oversized_memory` or `idle_cores`.
    pub kind: String,
    /// When it was found.
    pub at: String,
    /// The figures that say so.
    pub message: String,
}

/// What a job has made of what it was given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EfficiencyView {
    /// The job.
    pub job_id: String,
    /// Its owner.
    pub user: String,
    /// Its state.
    pub state: String,
    /// How long it has run.
    pub runtime_seconds: Option<f64>,
    /// How many samples this rests on.
    pub sample_count: i64,
    /// Processors times seconds.
    pub cpu_core_seconds: ShareView,
    /// Memory in MiB, the most at any time.
    pub memory_mb: ShareView,
    /// GPUs times seconds.
    pub gpu_seconds: ShareView,
    /// Seconds of its time limit.
    pub time_seconds: ShareView,
    /// What was found to be wasted.
    pub verdicts: Vec<VerdictView>,
}

/// One thing of many jobs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SumView {
    /// Jobs of which it is known what they had and what they used.
    pub jobs: u64,
    /// What those had.
    pub allocated: f64,
    /// What they used.
    pub used: f64,
    /// The same in percent; null where nothing is known.
    pub percent: Option<f64>,
    /// How much of what all jobs had was measured, percent.
    pub coverage_percent: f64,
}

/// Many jobs together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SumsView {
    /// Whose they are; null of all together.
    pub user: Option<String>,
    /// How many.
    pub jobs: u64,
    /// Those of which anything was measured.
    pub measured_jobs: u64,
    /// Processors times seconds.
    pub cpu_core_seconds: SumView,
    /// MiB times seconds; what a job needed at most counts for all its time.
    pub memory_mb_seconds: SumView,
    /// GPUs times seconds.
    pub gpu_seconds: SumView,
    /// Seconds of their time limits.
    pub time_seconds: SumView,
    /// Verdicts that were told of them, by kind.
    pub verdicts: std::collections::BTreeMap<String, u64>,
}

/// What the jobs of some time have made of what they were given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EfficiencyListView {
    /// Jobs that have begun, of which Libra first heard at this time or later.
    pub since: String,
    /// All of them.
    pub total: SumsView,
    /// By user, who has wasted most first.
    pub users: Vec<SumsView>,
    /// True where there are more jobs than are looked at: only the newest are in this.
    pub truncated: bool,
}
