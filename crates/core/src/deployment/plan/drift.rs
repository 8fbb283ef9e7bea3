//! How a job differs from what was deployed, without anybody having changed the specification.

use serde::Serialize;

use super::live::{Ending, Live, LiveJob, Wanted};
use crate::deployment::normal::Normal;
use crate::deployment::spec::JobType;

/// Something that is not as it was deployed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Drift {
    /// Somebody has changed the number of subtasks.
    Parallelism {
        /// What it is.
        is: u32,
        /// What was deployed.
        deployed: u32,
    },
    /// The cluster does not know the job: it was started anew, or the job was removed.
    Missing {
        /// Flink's id of it.
        job: String,
    },
    /// The job has failed for good.
    Failed {
        /// Flink's id of it.
        job: String,
    },
    /// Somebody else cancelled or stopped the job.
    Cancelled {
        /// Flink's id of it.
        job: String,
    },
    /// More than one job of this deployment is alive.
    Several {
        /// Flink's ids of those too many.
        jobs: Vec<String>,
    },
    /// Jobs of the deployment's name are alive that are not Libra's.
    Foreign {
        /// Flink's ids of them.
        jobs: Vec<String>,
    },
}

/// Everything that is not as `deployed`.
pub(super) fn drift(deployed: Option<&Normal>, live: &Live) -> Vec<Drift> {
    let mut found = Vec::new();
    let stream = deployed.is_none_or(|d| d.job_type == JobType::Stream);
    match (&live.job, live.wanted) {
        // A batch run that is under way may be of an older version than the one that was stored last.
        (LiveJob::Alive { parallelism: Some(is), .. }, _) if stream => {
            if let Some(d) = deployed.map(|d| d.deployment.parallelism).filter(|d| d != is) {
                found.push(Drift::Parallelism { is: *is, deployed: d });
            }
        }
        (LiveJob::Missing { id }, Wanted::Run) => found.push(Drift::Missing { job: id.clone() }),
        (LiveJob::Ended { id, how }, Wanted::Run) => match how {
            Ending::Failed => found.push(Drift::Failed { job: id.clone() }),
            Ending::Cancelled => found.push(Drift::Cancelled { job: id.clone() }),
            Ending::Finished | Ending::Suspended => {}
        },
        (LiveJob::Never | LiveJob::Unknown | LiveJob::Alive { .. }, _)
        | (LiveJob::Missing { .. } | LiveJob::Ended { .. }, Wanted::Suspend) => {}
    }
    // Runs of a batch job are jobs of one name, one after the other; only of a stream job there is always one.
    if stream && !live.doubles.is_empty() {
        found.push(Drift::Several { jobs: live.doubles.clone() });
    }
    if !live.foreign.is_empty() {
        found.push(Drift::Foreign { jobs: live.foreign.clone() });
    }
    found
}
