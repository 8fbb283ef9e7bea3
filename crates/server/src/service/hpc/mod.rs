//! Jobs of batch schedulers that Libra sees (contract H).

mod batch;
mod ear;
mod efficiency;
mod events;
mod figures;
mod hearing;
mod jobs;
mod keys;
mod metrics;
mod mock;
mod own;
mod slurm;
mod submitted;
mod view;

use libra_api::problem::Code;
use libra_core::hpc::job::HpcJob;
use libra_core::hpc::observe::Means;
use libra_core::id::JobId;
use libra_store::lane::Outcome;
use libra_store::operations::Operation;
use libra_store::tables::hpc::audit::{Author, ChangeType};
use libra_store::tables::hpc::jobs as rows;
use libra_store::tables::hpc::writes::Write;

use super::{Service, ServiceError};
use crate::auth::{Principal, Role, may_see};
use crate::telemetry::storage::error_type;

pub(super) use ear::Ear;
pub(crate) use jobs::HpcListQuery;
pub(crate) use keys::Said;
pub(crate) use metrics::{SampleQuery, Step as SampleStep};
pub(crate) use slurm::Heard;
pub(crate) use submitted::SlurmRecords;

/// The cluster of jobs of which nobody says where they are.
const NO_CLUSTER: &str = "default";
/// A row that others change at the same time is read again so often.
const MOST_TRIES: u32 = 20;

/// Who changes something, as the audit is to have it.
#[derive(Clone, Debug)]
pub(crate) struct ByWhom {
    /// The caller.
    pub(crate) who: Principal,
    /// Who it says has made the change.
    pub(crate) changed_by: String,
    /// By which way.
    pub(crate) source: String,
    /// Ties together what belongs together.
    pub(crate) correlation_id: String,
}

impl ByWhom {
    fn author(&self, change_type: ChangeType) -> Author {
        Author {
            change_type,
            changed_by: self.changed_by.clone(),
            source: self.source.clone(),
            correlation_id: self.correlation_id.clone(),
        }
    }
}

impl Service {
    /// Whether a cluster's scheduler is asked before anything is an end.
    fn means_of(&self, cluster: &str) -> Means {
        Means { asks: self.slurm.has(cluster) }
    }

    /// The cluster that is meant where none is named.
    fn cluster_or_only(&self, named: Option<String>) -> String {
        named.unwrap_or_else(|| self.slurm.only().unwrap_or(NO_CLUSTER).to_owned())
    }

    /// Stores a row that was decided on; None where it is not as it was read.
    pub(super) async fn write_hpc(&self, write: Write) -> Result<Option<HpcJob>, ServiceError> {
        let job = write.job.clone();
        let outcomes = self.store_hpc(vec![write], false).await?;
        Ok((outcomes == [Outcome::Updated]).then_some(job))
    }

    /// The job that is meant by `id`: Libra's id of it, the one that its maker gave it, or its number with its scheduler,
    /// as such or as `slurm-12` (contract L9). What one may call its job and another's number is: nobody guesses which is meant.
    pub(super) async fn hpc_job(&self, who: &Principal, id: &str) -> Result<HpcJob, ServiceError> {
        let (tenant, wanted) = (who.tenant.clone(), id.to_owned());
        let found = self
            .db
            .named(Operation::GetJob)
            .read(move |tx| {
                if let Ok(id) = wanted.parse::<JobId>()
                    && let Some(job) = rows::get(tx, id)?
                {
                    return Ok(vec![job]);
                }
                let named = rows::of_client(tx, &tenant, &wanted)?;
                let of_slurm = wanted.strip_prefix("slurm-");
                let mut found = rows::with_number(tx, &tenant, of_slurm.unwrap_or(&wanted))?;
                // Who says whose number it is means no other's.
                found.retain(|job| of_slurm.is_none() || job.client_id.is_none() || job.record.said_of_slurm);
                found.retain(|job| named.as_ref().is_none_or(|named| named.id != job.id));
                found.extend(named);
                Ok(found)
            })
            .await?;
        let mut seen: Vec<HpcJob> = found.into_iter().filter(|job| may_see_job(who, job)).collect();
        match (seen.pop(), seen.as_slice()) {
            (Some(job), []) => Ok(job),
            (Some(last), others) => {
                let ids = others.iter().chain([&last]);
                let ids: Vec<String> = ids.map(|job| format!("{} on {}", job.id, job.cluster)).collect();
                let message =
                    format!("several jobs are called {id}: {}; ask for one of these ids", ids.join(", "));
                Err(ServiceError::new(Code::Ambiguous, message))
            }
            (None, _) => Err(ServiceError::job_not_found(id)),
        }
    }
}

impl Service {
    /// The same; what is wrong with what is stored, or was to be, is counted (contract O1).
    pub(crate) fn counted<T>(
        &self,
        operation: Operation,
        answer: Result<T, ServiceError>,
    ) -> Result<T, ServiceError> {
        if let Err(error) = &answer
            && let Some(error) = error_type(error.code)
        {
            self.db.operations().failed(operation, error);
        }
        answer
    }
}

fn may_see_job(who: &Principal, job: &HpcJob) -> bool {
    who.role == Role::Admin || may_see(who, job.record.owner(), &job.tenant)
}
