//! Jobs of batch schedulers that Libra sees (contract H).

mod batch;
mod efficiency;
mod events;
mod figures;
mod jobs;
mod metrics;
mod mock;
mod own;
mod slurm;
mod submitted;
mod view;

use libra_api::problem::Code;
use libra_core::hpc::job::HpcJob;
use libra_core::hpc::observe::{Change, Fresh, Means, Outcome as Observed, Word, observe};
use libra_core::id::JobId;
use libra_core::time::Timestamp;
use libra_store::StoreError;
use libra_store::lane::Outcome;
use libra_store::tables::hpc::audit::{Author, ChangeType};
use libra_store::tables::hpc::jobs::{self as rows, Write};
use libra_store::tx::Tx;

use super::{Service, ServiceError};
use crate::auth::{Principal, Role, may_see};

pub(crate) use jobs::HpcListQuery;
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

/// What is to be stored of a word.
enum Step {
    /// A change, for the log and the audit.
    Change(Write),
    /// What has moved on by itself.
    Refresh(HpcJob),
}

impl Step {
    fn of(change: Change, new: bool, by: &ByWhom, at: Timestamp) -> Self {
        if change.quiet {
            return Self::Refresh(change.job);
        }
        let author = by.author(ChangeType::Upsert);
        Self::Change(Write { job: change.job, new, log: change.log, author, at })
    }

    /// The row afterwards.
    fn job(&self) -> &HpcJob {
        match self {
            Self::Change(write) => &write.job,
            Self::Refresh(job) => job,
        }
    }

    /// True where it is a job of which nobody has heard before.
    fn is_new(&self) -> bool {
        match self {
            Self::Change(write) => write.new,
            Self::Refresh(_) => false,
        }
    }

    fn apply(&self, tx: &mut dyn Tx) -> Result<Outcome, StoreError> {
        match self {
            Self::Change(write) => {
                let outcomes = rows::apply(tx, std::slice::from_ref(write))?;
                Ok(outcomes.first().copied().unwrap_or(Outcome::Stale))
            }
            Self::Refresh(job) => rows::refresh(tx, job),
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

    /// Hears a word about the job with a number on a cluster; says what the job is then, and whether that is new.
    pub(super) async fn hear(
        &self,
        by: &ByWhom,
        cluster: &str,
        number: &str,
        word: &Word,
    ) -> Result<(Option<HpcJob>, bool), ServiceError> {
        if let Some(tenant) = self.slurm.tenant(cluster)
            && tenant != by.who.tenant
        {
            let message =
                format!("the jobs of {cluster} are the tenant {tenant}'s; use a key of that tenant");
            return Err(ServiceError::new(Code::Forbidden, message));
        }
        for _ in 0..MOST_TRIES {
            let (of, external_id) = (cluster.to_owned(), number.to_owned());
            let before = self.db.read(move |tx| rows::newest(tx, &of, &external_id)).await?;
            if before.as_ref().is_some_and(|job| job.tenant != by.who.tenant) {
                let message = format!("the job {number} on {cluster} is another tenant's");
                return Err(ServiceError::new(Code::Forbidden, message));
            }
            let now = self.clock.now();
            let fresh = Fresh {
                id: JobId::new(now, self.clock.entropy()),
                tenant: by.who.tenant.clone(),
                cluster: cluster.to_owned(),
                correlation_id: by.correlation_id.clone(),
            };
            let means = self.means_of(cluster);
            let (change, new) = match observe(before.as_ref(), word.clone(), means, fresh, now) {
                Observed::Unchanged => return Ok((before, false)),
                Observed::Changed(change) => (change, false),
                Observed::New(change) => (change, true),
            };
            let again = change.again;
            let step = Step::of(*change, new, by, now);
            let job = step.job().clone();
            let first = step.is_new();
            let outcome = self.db.write(move |tx| step.apply(tx)).await?;
            self.metrics.hpc.heard(u64::from(first && outcome == Outcome::Updated));
            if outcome == Outcome::Updated && !again {
                return Ok((Some(job), true));
            }
        }
        Err(ServiceError::new(Code::Unavailable, "others change this job at the same time; try again")
            .retry_after(1))
    }

    /// Stores a row that was decided on; None where it is not as it was read.
    pub(super) async fn write_hpc(&self, write: Write) -> Result<Option<HpcJob>, ServiceError> {
        let (job, new) = (write.job.clone(), write.new);
        let outcomes = self.db.write(move |tx| rows::apply(tx, &[write])).await?;
        match outcomes.as_slice() {
            [Outcome::Updated] => {
                self.metrics.hpc.heard(u64::from(new));
                Ok(Some(job))
            }
            _ => Ok(None),
        }
    }

    /// The job that is meant by `id`: Libra's id of it, the one that its maker gave it, or its number with its scheduler,
    /// as such or as `slurm-12` (contract L9).
    pub(super) async fn hpc_job(&self, who: &Principal, id: &str) -> Result<HpcJob, ServiceError> {
        let (tenant, wanted) = (who.tenant.clone(), id.to_owned());
        let found = self
            .db
            .read(move |tx| {
                if let Ok(id) = wanted.parse::<JobId>()
                    && let Some(job) = rows::get(tx, id)?
                {
                    return Ok(vec![job]);
                }
                if let Some(job) = rows::of_client(tx, &tenant, &wanted)? {
                    return Ok(vec![job]);
                }
                let number = wanted.strip_prefix("slurm-").unwrap_or(&wanted);
                rows::with_number(tx, &tenant, number)
            })
            .await?;
        let mut seen: Vec<HpcJob> = found.into_iter().filter(|job| may_see_job(who, job)).collect();
        match (seen.pop(), seen.as_slice()) {
            (Some(job), []) => Ok(job),
            (Some(last), others) => {
                let ids = others.iter().chain([&last]);
                let ids: Vec<String> = ids.map(|job| format!("{} on {}", job.id, job.cluster)).collect();
                let message = format!(
                    "several clusters have had a job {id}: {}; ask for one of these ids",
                    ids.join(", ")
                );
                Err(ServiceError::new(Code::Ambiguous, message))
            }
            (None, _) => Err(ServiceError::job_not_found(id)),
        }
    }
}

fn may_see_job(who: &Principal, job: &HpcJob) -> bool {
    let user = job.record.user.as_deref().unwrap_or_default();
    who.role == Role::Admin || may_see(who, user, &job.tenant)
}
