//! Reading jobs: one, many, and waiting for one to end.

use std::collections::BTreeMap;
use std::time::Duration;

use libra_api::views::{EventListView, JobListView, JobView};
use libra_core::attempt::Attempt;
use libra_core::id::JobId;
use libra_core::job::{Job, State};
use libra_store::tables::jobs::{Filter, PageAt, Total};
use libra_store::tables::{attempts, jobs, retention, transitions};
use tokio::time::{Instant, timeout_at};

use super::{Service, ServiceError, cursor, results, view};
use crate::auth::{Principal, Role, may_see};

/// Rows of a result that come along with a job.
const INLINE_ROWS: u64 = 100;
/// Bytes of a result that come along with a job.
const INLINE_BYTES: u64 = 64 * 1024;

/// Which jobs to list.
pub(crate) struct ListQuery {
    pub(crate) filter: Filter,
    pub(crate) cursor: Option<String>,
    pub(crate) limit: u32,
    pub(crate) offset: u32,
}

impl Service {
    /// A job that `principal` may see, with its attempts.
    pub(crate) async fn job(
        &self,
        principal: &Principal,
        id: &str,
    ) -> Result<(Job, Vec<Attempt>), ServiceError> {
        let job_id: JobId = id.parse().map_err(|_| ServiceError::job_not_found(id))?;
        let (found, expired) = self
            .db
            .read(move |tx| match jobs::get(tx, job_id)? {
                None => {
                    Ok((None, retention::expired_until(tx)?.is_some_and(|until| job_id.made_at() <= until)))
                }
                Some(job) => Ok((Some((job, attempts::of_job(tx, job_id)?)), false)),
            })
            .await?;
        if expired {
            return Err(Self::job_expired(id));
        }
        // Who may not see a job is told the same as if there were none.
        found
            .filter(|(job, _)| may_see(principal, &job.user, &job.tenant))
            .ok_or_else(|| ServiceError::job_not_found(id))
    }

    /// A job's view; with `wait`, once it has ended or the time is up.
    pub(crate) async fn job_view(
        &self,
        principal: &Principal,
        id: &str,
        wait: Duration,
    ) -> Result<JobView, ServiceError> {
        let (job, attempts) = self.job_after(principal, id, wait, |job| job.state.is_terminal()).await?;
        let mut view = view::job(&job, &attempts, self.clock.now());
        if job.state == State::Succeeded && self.files_expired(&job).is_none() {
            view.result =
                results::inline(&self.attempt_dir(job.id, job.attempt), INLINE_ROWS, INLINE_BYTES).await;
        }
        Ok(view)
    }

    /// A job once `enough` holds of it, or as it is when `wait` is over.
    pub(super) async fn job_after(
        &self,
        principal: &Principal,
        id: &str,
        wait: Duration,
        enough: impl Fn(&Job) -> bool,
    ) -> Result<(Job, Vec<Attempt>), ServiceError> {
        let deadline = Instant::now() + wait;
        let job_id = id.parse().map_err(|_| ServiceError::job_not_found(id))?;
        // Before looking: a change in between is not missed.
        let mut changes = self.watch(job_id);
        loop {
            let (job, attempts) = self.job(principal, id).await?;
            if enough(&job) || wait.is_zero() || Instant::now() >= deadline {
                return Ok((job, attempts));
            }
            // Whatever happened: what is stored tells.
            let _ = timeout_at(deadline, changes.changed()).await;
        }
    }

    /// A page of jobs that `principal` may see.
    pub(crate) async fn list(
        &self,
        principal: &Principal,
        mut query: ListQuery,
    ) -> Result<JobListView, ServiceError> {
        match principal.role {
            Role::Admin => {}
            Role::Viewer | Role::Developer => {
                let asked = query.filter.user.as_ref();
                if asked.is_some_and(|user| *user != principal.user) {
                    // Other people's jobs are not theirs to see: the list is empty, not forbidden.
                    query.filter.states = State::ALL.to_vec();
                    query.filter.until = Some(libra_core::time::Timestamp(i64::MIN));
                }
                query.filter.user = Some(principal.user.clone());
                query.filter.tenant = Some(principal.tenant.clone());
            }
        }
        let from = query.cursor.as_deref().map(|text| cursor::read(&query.filter, text)).transpose()?;
        let (limit, offset) = (query.limit, query.offset);
        let at = PageAt { from, offset, ..PageAt::first(limit) };
        let filter = query.filter.clone();
        let (page, last) = self
            .db
            .read(move |tx| {
                let page = jobs::list(tx, &filter, &at)?;
                // Progress and exit codes live with the last attempt.
                let ids: Vec<JobId> = page.jobs.iter().filter(|j| j.attempt > 0).map(|j| j.id).collect();
                let last = attempts::last_of(tx, &ids)?;
                Ok((page, last))
            })
            .await?;
        if !page.reached {
            let reason = "reaches further than conditions are combined at once; follow `nextCursor` instead";
            return Err(ServiceError::query("offset", reason));
        }
        let last: BTreeMap<JobId, Attempt> = last.into_iter().map(|a| (a.job_id, a)).collect();
        let now = self.clock.now();
        let (total, total_at_least) = match page.total {
            Total::Exactly(all) => (Some(all), None),
            Total::AtLeast(some) => (None, Some(some)),
        };
        let jobs = page
            .jobs
            .iter()
            .map(|job| {
                let last = last.get(&job.id).map(std::slice::from_ref).unwrap_or_default();
                let mut view = view::job(job, last, now);
                view.attempts.clear();
                view
            })
            .collect();
        Ok(JobListView {
            jobs,
            total,
            total_at_least,
            limit,
            offset,
            next_cursor: page.next.map(|place| cursor::write(&query.filter, &place)),
        })
    }

    /// A job's history.
    pub(crate) async fn events(
        &self,
        principal: &Principal,
        id: &str,
    ) -> Result<EventListView, ServiceError> {
        let (job, _) = self.job(principal, id).await?;
        let rows = self.db.read(move |tx| transitions::of_job(tx, job.id)).await?;
        Ok(EventListView { job_id: job.id.to_string(), events: rows.into_iter().map(view::event).collect() })
    }
}
