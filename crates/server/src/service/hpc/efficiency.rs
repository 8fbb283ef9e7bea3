//! What jobs have made of what they were given, and verdicts while they run (contract H7).

use std::collections::BTreeMap;

use libra_api::hpc::efficiency::{
    EfficiencyListView, EfficiencyView, ShareView, SumView, SumsView, VerdictView,
};
use libra_core::hpc::efficiency::{Efficiency, Share, Verdict, verdicts};
use libra_core::hpc::efficiency_sums::{Sum, Sums};
use libra_core::hpc::job::HpcJob;
use libra_core::hpc::usage::Totals;
use libra_core::id::JobId;
use libra_core::job::State;
use libra_core::lifecycle::Transition;
use libra_core::time::Timestamp;
use libra_store::StoreError;
use libra_store::lane::OutboxRow;
use libra_store::tables::hpc::audit::{Author, ChangeType};
use libra_store::tables::hpc::samples::{self, Series};
use libra_store::tables::hpc::verdicts::{self as rows, Of, Told};
use libra_store::tables::hpc::writes::{Told as WhatIsTold, Write};
use serde_json::json;

use super::own::Known;
use crate::auth::{Principal, Role};
use crate::service::standing::leader_fence;
use crate::service::{Service, ServiceError};

/// Jobs that a report is made of, at most: the newest.
const MOST_JOBS: u32 = 10_000;
/// Running jobs that are looked at in one read.
const PAGE: u32 = 500;
/// What the topic of a verdict is, where that of other messages is the state of a job.
const TOPIC: &str = "VERDICT";

impl Service {
    /// What a job has made of what it was given.
    pub(crate) async fn hpc_efficiency(
        &self,
        who: &Principal,
        id: &str,
    ) -> Result<EfficiencyView, ServiceError> {
        let job = match self.known_job(who, id).await? {
            Known::Observed(job) => job,
            Known::Own(job, attempts) => return self.own_efficiency(&job, &attempts).await,
        };
        let of = job.id;
        let (series, told) =
            self.db.read(move |tx| Ok((samples::of_job(tx, of)?, rows::of_jobs(tx, &[of])?))).await?;
        let usage: Vec<Totals> = series.into_iter().map(|series| series.totals).collect();
        let view = shown(&Efficiency::of(&job, &usage, self.clock.now()), told);
        Ok(EfficiencyView {
            job_id: job.client_id.clone().unwrap_or_else(|| job.id.to_string()),
            user: job.record.owner().to_owned(),
            state: job.hpc_state().as_str().to_owned(),
            ..view
        })
    }

    /// What all jobs since `since` have made of it, by user. Whoever is no admin sees the own ones.
    pub(crate) async fn hpc_efficiencies(
        &self,
        who: &Principal,
        (user, account): (Option<String>, Option<String>),
        since: Timestamp,
    ) -> Result<EfficiencyListView, ServiceError> {
        let own = who.user.clone();
        let user = if who.role == Role::Admin { user } else { Some(user.unwrap_or_else(|| own.clone())) };
        if who.role != Role::Admin && user.as_ref() != Some(&own) {
            // As in lists: there are none of others.
            return Ok(EfficiencyListView { since: since.rfc3339(), ..EfficiencyListView::default() });
        }
        let of = Of { tenant: who.tenant.clone(), user, account };
        let (mut jobs, series, told) = self
            .db
            .read(move |tx| {
                let jobs = rows::begun(tx, &of, since, MOST_JOBS + 1)?;
                let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
                Ok((jobs, samples::of_jobs(tx, &ids)?, rows::of_jobs(tx, &ids)?))
            })
            .await?;
        let truncated = jobs.len() > MOST_JOBS as usize;
        jobs.truncate(MOST_JOBS as usize);
        let usage = by_job(series);
        let mut kinds: BTreeMap<JobId, Vec<&'static str>> = BTreeMap::new();
        for told in &told {
            kinds.entry(told.job).or_default().push(told.kind.as_str());
        }
        let (mut total, mut users) = (Party::default(), BTreeMap::<String, Party>::new());
        let (now, nothing) = (self.clock.now(), Vec::new());
        for job in &jobs {
            let found = Efficiency::of(job, usage.get(&job.id).unwrap_or(&nothing), now);
            let kinds = kinds.get(&job.id).map_or(&[][..], Vec::as_slice);
            total.add(&found, kinds);
            users.entry(job.record.owner().to_owned()).or_default().add(&found, kinds);
        }
        let mut users: Vec<SumsView> =
            users.into_iter().map(|(user, party)| party.shown(Some(user))).collect();
        let wasted = |sums: &SumsView| sums.cpu_core_seconds.allocated - sums.cpu_core_seconds.used;
        users.sort_by(|a, b| wasted(b).total_cmp(&wasted(a)).then_with(|| a.user.cmp(&b.user)));
        Ok(EfficiencyListView { since: since.rfc3339(), total: total.shown(None), users, truncated })
    }

    /// Looks at all running jobs, and tells what they waste: each thing once. Only the leader does.
    pub(crate) async fn judge_hpc_jobs(&self) -> Result<u64, StoreError> {
        let (thresholds, mut told) = (self.config.efficiency.thresholds, 0);
        let mut after = Some(String::new());
        while let (Some(from), Some(epoch)) = (after.take(), self.leader_epoch()) {
            let (jobs, series, known) = self
                .db
                .read(move |tx| {
                    let jobs = rows::running(tx, &from, PAGE)?;
                    let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
                    Ok((jobs, samples::of_jobs(tx, &ids)?, rows::of_jobs(tx, &ids)?))
                })
                .await?;
            let usage = by_job(series);
            for job in &jobs {
                let Some(usage) = usage.get(&job.id) else { continue };
                let now = self.clock.now();
                let found = verdicts(job, &Efficiency::of(job, usage, now), &thresholds);
                let news = found
                    .into_iter()
                    .filter(|verdict| !known.iter().any(|k| k.job == job.id && k.kind == verdict.kind));
                // One at a time: each names the revision that the one before has left.
                if let Some(verdict) = news.into_iter().next() {
                    let (fence, write) = (leader_fence(epoch), self.telling(job, &verdict, now));
                    let stored = self.db.write(move |tx| rows::tell(tx, &fence, &verdict, &write)).await?;
                    told += u64::from(stored == Some(true));
                }
            }
            after = jobs.last().filter(|_| jobs.len() >= PAGE as usize).map(|job| job.id.to_string());
        }
        Ok(told)
    }

    /// The change that a verdict is: nothing of the job is another, but that this is known of it.
    fn telling(&self, job: &HpcJob, verdict: &Verdict, now: Timestamp) -> Write {
        let author = Author {
            change_type: ChangeType::Update,
            changed_by: "libra".to_owned(),
            source: "efficiency".to_owned(),
            correlation_id: job.correlation_id.clone(),
        };
        let reason = verdict.kind.as_str().to_owned();
        let attempt = job.record.restarts.unwrap_or(0).saturating_add(1);
        let log = Transition { from: Some(State::Running), to: State::Running, reason, attempt };
        let outbox = self.config.efficiency.webhook.iter().map(|target| OutboxRow {
            topic: TOPIC.to_owned(),
            target: target.clone(),
            payload: json!({
                "jobId": job.id.to_string(),
                "externalJobId": job.record.external_id,
                "cluster": job.cluster,
                "user": job.record.owner(),
                "kind": verdict.kind.as_str(),
                "message": verdict.message,
                "timestamp": now.rfc3339(),
                "correlationId": job.correlation_id,
            })
            .to_string(),
        });
        let metadata =
            json!({"source": author.source, "verdict": verdict.kind.as_str(), "message": verdict.message});
        let told = WhatIsTold { author, log: vec![log], metadata: Some(metadata), outbox: outbox.collect() };
        let after = HpcJob { revision: job.revision + 1, ..job.clone() };
        Write { job: after, new: false, at: now, told: Some(told) }
    }
}

fn by_job(series: Vec<Series>) -> BTreeMap<JobId, Vec<Totals>> {
    let mut usage: BTreeMap<JobId, Vec<Totals>> = BTreeMap::new();
    for series in series {
        usage.entry(series.job).or_default().push(series.totals);
    }
    usage
}

/// A user's jobs, or all.
#[derive(Default)]
struct Party {
    sums: Sums,
    verdicts: BTreeMap<String, u64>,
}

impl Party {
    fn add(&mut self, job: &Efficiency, kinds: &[&'static str]) {
        self.sums.add(job);
        for kind in kinds {
            *self.verdicts.entry((*kind).to_owned()).or_default() += 1;
        }
    }

    fn shown(self, user: Option<String>) -> SumsView {
        let sum = |sum: &Sum| SumView {
            jobs: sum.jobs,
            allocated: sum.allocated,
            used: sum.used,
            percent: sum.percent(),
            coverage_percent: sum.coverage(),
        };
        let Sums { jobs, measured, cpu, memory, gpu, time } = &self.sums;
        SumsView {
            user,
            jobs: *jobs,
            measured_jobs: *measured,
            cpu_core_seconds: sum(cpu),
            memory_mb_seconds: sum(memory),
            gpu_seconds: sum(gpu),
            time_seconds: sum(time),
            verdicts: self.verdicts,
        }
    }
}

/// The figures; whose they are is not said yet.
pub(super) fn shown(found: &Efficiency, told: Vec<Told>) -> EfficiencyView {
    let share = |share: &Share| ShareView {
        requested: share.requested,
        allocated: share.allocated,
        used: share.used,
        percent: share.percent,
        coverage_percent: share.coverage,
    };
    let verdicts = told.into_iter().map(|told| VerdictView {
        kind: told.kind.as_str().to_owned(),
        at: told.at.rfc3339(),
        message: told.message,
    });
    EfficiencyView {
        runtime_seconds: found.runtime,
        sample_count: found.samples,
        cpu_core_seconds: share(&found.cpu),
        memory_mb: share(&found.memory),
        gpu_seconds: share(&found.gpu),
        time_seconds: share(&found.time),
        verdicts: verdicts.collect(),
        ..EfficiencyView::default()
    }
}
