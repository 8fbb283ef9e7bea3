//! Observed jobs: made known, shown, listed, changed and removed by people (contract H2).

use std::collections::BTreeMap;

use libra_api::hpc::jobs::{AuditListView, AuditView, HpcJobListView, HpcJobView};
use libra_api::hpc::requests::{self, Patch};
use libra_api::problem::{Code, Violation};
use libra_core::hpc::job::HpcJob;
use libra_core::hpc::observe::{Fresh, Means, Outcome as Observed, Word, observe};
use libra_core::hpc::raw_state::HpcState;
use libra_core::hpc::record::Record;
use libra_core::hpc::usage::Totals;
use libra_core::id::JobId;
use libra_store::tables::hpc::audit::{self, ChangeType};
use libra_store::tables::hpc::jobs as rows;
use libra_store::tables::hpc::list::{self, Filter};
use libra_store::tables::hpc::samples::{self, Batch};
use libra_store::tables::hpc::writes::{Told, Write};
use serde_json::Value;

use super::own::Known;
use super::{ByWhom, MOST_TRIES, NO_CLUSTER, view};
use crate::auth::{Principal, Role};
use crate::service::{Service, ServiceError};

/// Which jobs are asked for.
#[derive(Clone, Debug)]
pub(crate) struct HpcListQuery {
    /// Conditions.
    pub(crate) filter: Filter,
    /// Jobs to skip.
    pub(crate) offset: u32,
    /// Jobs on the page, at most.
    pub(crate) limit: u32,
}

impl Service {
    /// Makes a job known that no scheduler has told of.
    pub(crate) async fn create_hpc_job(&self, by: &ByWhom, body: &Value) -> Result<HpcJobView, ServiceError> {
        let now = self.clock.now();
        let new = requests::new_job(body, now).map_err(ServiceError::fields)?;
        let owner = new.record.user.as_deref().unwrap_or_default();
        if by.who.role != Role::Admin && owner != by.who.user {
            let message = format!("you may make known jobs of your own ({}) only", by.who.user);
            return Err(ServiceError::new(Code::Forbidden, message));
        }
        let cluster = new.cluster.unwrap_or_else(|| NO_CLUSTER.to_owned());
        if self.slurm.has(&cluster) {
            let reason = "names a cluster that tells of its jobs itself";
            return Err(ServiceError::fields(vec![Violation::new("/scheduler/cluster_name", reason)]));
        }
        let fresh = Fresh {
            id: JobId::new(now, self.clock.entropy()),
            tenant: by.who.tenant.clone(),
            cluster,
            correlation_id: by.correlation_id.clone(),
        };
        let (word, means) = (Word::Record(Box::new(new.record), now), Means { asks: false });
        let Observed::New(change) = observe(None, word, means, fresh, now) else {
            return Err(ServiceError::new(Code::Internal, "a job that is new was taken for another"));
        };
        let job = HpcJob { client_id: Some(new.client_id.clone()), ..change.job };
        let told = Told::here(by.author(ChangeType::Upsert), change.log);
        let write = Write { job, new: true, at: now, told: Some(told) };
        let Some(job) = self.write_hpc(write).await? else {
            let message = format!("there is a job `{}` already, or one with its number runs", new.client_id);
            return Err(ServiceError::new(Code::JobExists, message));
        };
        Ok(view::shown(&job, &[], now))
    }

    /// One job.
    pub(crate) async fn hpc_job_view(&self, who: &Principal, id: &str) -> Result<HpcJobView, ServiceError> {
        let Known::Observed(job) = self.known_job(who, id).await? else {
            return Err(ServiceError::job_not_found(id));
        };
        let of = job.id;
        let series = self.db.read(move |tx| samples::of_job(tx, of)).await?;
        let usage: Vec<Totals> = series.into_iter().map(|series| series.totals).collect();
        Ok(view::shown(&job, &usage, self.clock.now()))
    }

    /// Jobs, newest first. Who is no admin sees the own ones.
    pub(crate) async fn hpc_jobs(
        &self,
        who: &Principal,
        query: HpcListQuery,
    ) -> Result<HpcJobListView, ServiceError> {
        let HpcListQuery { mut filter, offset, limit } = query;
        filter.tenant.clone_from(&who.tenant);
        if who.role != Role::Admin {
            if filter.user.as_ref().is_some_and(|user| *user != who.user) {
                let none =
                    HpcJobListView { jobs: Vec::new(), total: Some(0), limit, offset, next_cursor: None };
                return Ok(none);
            }
            filter.user = Some(who.user.clone());
        }
        let (page, series) = self
            .db
            .read(move |tx| {
                // One more than asked for says whether there is a next page.
                let page = list::list(tx, &filter, offset, limit.saturating_add(1))?;
                let ids: Vec<JobId> = page.jobs.iter().map(|job| job.id).collect();
                let series = samples::of_jobs(tx, &ids)?;
                Ok((page, series))
            })
            .await?;
        let mut usage: BTreeMap<JobId, Vec<Totals>> = BTreeMap::new();
        for series in series {
            usage.entry(series.job).or_default().push(series.totals);
        }
        let now = self.clock.now();
        let shown = page.jobs.iter().take(limit as usize);
        let more = page.jobs.len() > limit as usize;
        let next_cursor = shown.clone().next_back().filter(|_| more).map(|job| job.id.to_string());
        let none = Vec::new();
        let jobs = shown.map(|job| view::shown(job, usage.get(&job.id).unwrap_or(&none), now)).collect();
        Ok(HpcJobListView { jobs, total: page.total, limit, offset, next_cursor })
    }

    /// Changes a job's state, or tells what it uses.
    pub(crate) async fn patch_hpc_job(
        &self,
        by: &ByWhom,
        id: &str,
        body: &Value,
    ) -> Result<HpcJobView, ServiceError> {
        let Patch { state, usage } = requests::patch(body).map_err(ServiceError::fields)?;
        for _ in 0..MOST_TRIES {
            let job = self.hpc_job(&by.who, id).await?;
            if job.state.is_terminal() {
                return Err(job_terminal(&job));
            }
            let now = self.clock.now();
            let (of, node) = (job.id, first_node(&job.record));
            if let Some(usage) = usage {
                let samples = vec![usage.sample(now)];
                let batch = Batch { job: of, node, samples };
                self.db.write(move |tx| samples::record(tx, vec![batch])).await?;
            }
            if state.is_some() && self.slurm.has(&job.cluster) {
                let reason = "is what its scheduler says; tell that";
                return Err(ServiceError::fields(vec![Violation::new("/state", reason)]));
            }
            let Some(state) = state else { return self.hpc_job_view(&by.who, &of.to_string()).await };
            if self.moved(by, &job, state).await? {
                return self.hpc_job_view(&by.who, &of.to_string()).await;
            }
        }
        Err(ServiceError::new(Code::Unavailable, "others change this job at the same time; try again")
            .retry_after(1))
    }

    async fn moved(&self, by: &ByWhom, job: &HpcJob, state: HpcState) -> Result<bool, ServiceError> {
        let now = self.clock.now();
        let started = (state != HpcState::Pending).then_some(now);
        let record = Record {
            external_id: job.record.external_id.clone(),
            raw_state: state.raw().to_owned(),
            started: job.record.started.or(started),
            restarts: job.record.restarts,
            ..Record::default()
        };
        let fresh = Fresh {
            id: job.id,
            tenant: job.tenant.clone(),
            cluster: job.cluster.clone(),
            correlation_id: by.correlation_id.clone(),
        };
        let (word, means) = (Word::Record(Box::new(record), now), Means { asks: false });
        match observe(Some(job), word, means, fresh, now) {
            Observed::Changed(change) => {
                let told = Told::here(by.author(ChangeType::Update), change.log);
                let write = Write { job: change.job, new: false, at: now, told: Some(told) };
                Ok(self.write_hpc(write).await?.is_some())
            }
            Observed::Unchanged | Observed::New(_) => Ok(true),
        }
    }

    /// Forgets a job with its samples. Its audit stays.
    pub(crate) async fn delete_hpc_job(&self, by: &ByWhom, id: &str) -> Result<(), ServiceError> {
        for _ in 0..MOST_TRIES {
            let job = self.hpc_job(&by.who, id).await?;
            let (author, at) = (by.author(ChangeType::Delete), self.clock.now());
            if self.db.write(move |tx| rows::delete(tx, &job, &author, at)).await? {
                return Ok(());
            }
        }
        Err(ServiceError::new(Code::Unavailable, "others change this job at the same time; try again")
            .retry_after(1))
    }

    /// Everything that was changed of a job, also of one that was removed, if asked for by Libra's id.
    pub(crate) async fn hpc_audit(&self, who: &Principal, id: &str) -> Result<AuditListView, ServiceError> {
        let of = match (self.hpc_job(who, id).await, id.parse::<JobId>()) {
            (Ok(job), _) => job.id,
            (Err(_), Ok(id)) if who.role == Role::Admin => id,
            (Err(error), _) => return Err(error),
        };
        let rows = self.db.read(move |tx| audit::of_job(tx, of)).await?;
        if rows.is_empty() {
            return Err(ServiceError::job_not_found(id));
        }
        let changes = rows.into_iter().map(|row| AuditView {
            change_type: row.change_type,
            changed_at: row.changed_at.rfc3339(),
            changed_by: row.changed_by,
            source: row.source,
            correlation_id: row.correlation_id,
            job_snapshot: serde_json::from_str(&row.job_snapshot).unwrap_or(Value::Null),
        });
        Ok(AuditListView { changes: changes.collect() })
    }
}

/// Samples that name no node are of the first one.
pub(super) fn first_node(record: &Record) -> String {
    record.nodes.first().cloned().unwrap_or_default()
}

pub(super) fn job_terminal(job: &HpcJob) -> ServiceError {
    let state = job.hpc_state().as_str();
    ServiceError::new(
        Code::JobTerminal,
        format!("the job has ended as {state}; what has ended stays as it is"),
    )
}
