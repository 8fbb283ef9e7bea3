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
use libra_store::StoreError;
use libra_store::lane::Outcome;
use libra_store::operations::Operation;
use libra_store::tables::hpc::audit::{self, ChangeType};
use libra_store::tables::hpc::jobs as rows;
use libra_store::tables::hpc::list::{self, Filter};
use libra_store::tables::hpc::once::{Answer, Key, Once, once};
use libra_store::tables::hpc::samples::{self, Batch};
use libra_store::tables::hpc::writes::{Told, Write, apply};
use serde_json::Value;

use super::keys::{Said, written};
use super::own::Known;
use super::{ByWhom, MOST_TRIES, NO_CLUSTER, view};
use crate::auth::{Principal, Role, may_see};
use crate::service::submit::key_reused;
use crate::service::{Service, ServiceError};

/// 201.
const CREATED: u16 = 201;

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
    pub(crate) async fn create_hpc_job(
        &self,
        by: &ByWhom,
        body: &Value,
        key: Option<Key>,
    ) -> Result<Said<HpcJobView>, ServiceError> {
        if let Some(said) = self.said_before(key.as_ref()).await? {
            return Ok(said);
        }
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
        let view = view::shown(&job, &[], now);
        let answer = Answer { job: job.id, status: CREATED, response: written(&view)? };
        let write = Write { job, new: true, at: now, told: Some(told) };
        let under = key.clone();
        let db = self.db.named(Operation::CreateJob);
        let stored = db.write(move |tx| {
            once(tx, under.as_ref(), now, |tx| {
                let stored = apply(tx, &[write])? == [Outcome::Updated];
                Ok((stored, stored.then_some(answer)))
            })
        });
        match stored.await {
            Ok(Once::Done(true)) => {
                self.metrics.hpc.heard(1);
                return Ok(Said::Now(view));
            }
            Ok(Once::Before { status, response }) => return Ok(Said::Before { status, body: response }),
            Ok(Once::Reused) => return Err(key_reused()),
            Ok(Once::Done(false)) | Err(StoreError::Constraint(_)) => {}
            Err(error) => return Err(error.into()),
        }
        // The same request may have come at the same time.
        self.said_before(key.as_ref()).await?.ok_or_else(|| {
            let message = format!("there is a job `{}` already, or one with its number runs", new.client_id);
            ServiceError::new(Code::JobExists, message)
        })
    }

    /// One job.
    pub(crate) async fn hpc_job_view(&self, who: &Principal, id: &str) -> Result<HpcJobView, ServiceError> {
        let Known::Observed(job) = self.known_job(who, id).await? else {
            return Err(ServiceError::job_not_found(id));
        };
        let of = job.id;
        let series = self.db.named(Operation::GetJob).read(move |tx| samples::of_job(tx, of)).await?;
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
            .named(Operation::ListJobs)
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
        let Patch { state, mut usage } = requests::patch(body).map_err(ServiceError::fields)?;
        for _ in 0..MOST_TRIES {
            let job = self.hpc_job(&by.who, id).await?;
            if job.state.is_terminal() {
                return Err(job_terminal(&job));
            }
            if state.is_some() && self.slurm.has(&job.cluster) {
                let reason = "is what its scheduler says; tell that";
                return Err(ServiceError::fields(vec![Violation::new("/state", reason)]));
            }
            let now = self.clock.now();
            let (of, node) = (job.id, first_node(&job.record));
            if let Some(usage) = usage.take() {
                let samples = vec![usage.sample(now)];
                let batch = Batch { job: of, node, samples };
                let db = self.db.named(Operation::UpdateJob);
                db.write(move |tx| samples::record(tx, vec![batch])).await?;
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

    /// Forgets a job with its samples. Its audit stays. What a scheduler still tells of would be there again with its next
    /// word: it has to end first.
    pub(crate) async fn delete_hpc_job(&self, by: &ByWhom, id: &str) -> Result<(), ServiceError> {
        for _ in 0..MOST_TRIES {
            let job = self.hpc_job(&by.who, id).await?;
            if !job.state.is_terminal() && job.client_id.is_none() {
                return Err(self.still_told_of(&job));
            }
            let (author, at) = (by.author(ChangeType::Delete), self.clock.now());
            let db = self.db.named(Operation::DeleteJob);
            if db.write(move |tx| rows::delete(tx, &job, &author, at)).await? {
                return Ok(());
            }
        }
        Err(ServiceError::new(Code::Unavailable, "others change this job at the same time; try again")
            .retry_after(1))
    }

    fn still_told_of(&self, job: &HpcJob) -> ServiceError {
        let (state, cluster, number) = (job.hpc_state().as_str(), &job.cluster, &job.record.external_id);
        let then = if self.slurm.is_made_up(cluster) {
            "wait until it has ended".to_owned()
        } else if self.slurm.has(cluster) {
            format!("end it there (`scancel {number}`)")
        } else {
            "set its `state` to how it ended (PATCH), if nobody tells of it any more,".to_owned()
        };
        let message = format!(
            "the job is {state} on {cluster}, which would tell of it again; {then} and delete it then"
        );
        ServiceError::new(Code::NotFinished, message)
    }

    /// Everything that was changed of a job, also of one that was removed: by Libra's id, or by the one that its maker gave it.
    pub(crate) async fn hpc_audit(&self, who: &Principal, id: &str) -> Result<AuditListView, ServiceError> {
        let db = self.db.named(Operation::GetAuditEvents);
        let of = match (self.hpc_job(who, id).await, id.parse::<JobId>()) {
            (Ok(job), _) => job.id,
            (Err(_), Ok(id)) if who.role == Role::Admin => id,
            (Err(error), _) if error.code == Code::JobNotFound => {
                let (tenant, name) = (who.tenant.clone(), id.to_owned());
                let removed = db.read(move |tx| audit::removed(tx, &tenant, &name)).await?;
                let seen = removed
                    .filter(|removed| who.role == Role::Admin || may_see(who, &removed.owner, &who.tenant));
                seen.ok_or(error)?.job
            }
            (Err(error), _) => return Err(error),
        };
        let rows = db.read(move |tx| audit::of_job(tx, of)).await?;
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
