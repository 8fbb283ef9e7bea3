//! What users, tenants and queues may submit.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use libra_api::problem::{Code, Violation};
use libra_core::job::Job;
use libra_core::turn::{Candidate, Refused, Scope, Submitted, may_submit};
use libra_store::tables::turns::Submitter;

use super::turns::queue_of;
use super::{Service, ServiceError};

/// The span of the limit on submissions, in seconds.
const MINUTE: i64 = 60;

/// Submissions of limited parties that were counted and are not stored yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct UnderWay(Arc<Mutex<BTreeMap<Scope, u64>>>);

/// A submission that counts until this is dropped.
#[derive(Debug)]
pub(super) struct Counted {
    under_way: UnderWay,
    scopes: Vec<Scope>,
}

impl UnderWay {
    fn locked(&self) -> MutexGuard<'_, BTreeMap<Scope, u64>> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more of each; with it, how many there were before.
    fn count(&self, scopes: Vec<Scope>) -> (Counted, Vec<u64>) {
        let mut counts = self.locked();
        let before = scopes.iter().map(|scope| {
            let count = counts.entry(scope.clone()).or_default();
            *count += 1;
            *count - 1
        });
        let before = before.collect();
        drop(counts);
        (Counted { under_way: self.clone(), scopes }, before)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self.under_way.locked();
        for scope in &self.scopes {
            if let Some(count) = counts.get_mut(scope) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    counts.remove(scope);
                }
            }
        }
    }
}

impl Service {
    /// Refuses a job of somebody who has as many waiting, or has submitted as many within a minute, as they may. The
    /// caller holds on to what is answered until the job is stored: until then it counts. One replica never takes more
    /// than the limit; at its edge it may refuse one that is counted twice while it is being stored. Several replicas
    /// together may take a few more, one for each submission that they look at in the same moment.
    pub(super) async fn may_submit(&self, job: &Job) -> Result<Option<Counted>, ServiceError> {
        let rules = self.rules();
        let queue = queue_of(job.spec.queue.as_deref()).to_owned();
        let scopes = [
            Scope::Queue(queue.clone()),
            Scope::Tenant(job.tenant.clone()),
            Scope::User(job.tenant.clone(), job.user.clone()),
        ];
        let limited: Vec<_> = scopes
            .into_iter()
            .map(|scope| (rules.policy.limits(&scope), scope))
            .filter(|(limits, _)| limits.queued.is_some() || limits.per_minute.is_some())
            .collect();
        if limited.is_empty() {
            return Ok(None);
        }
        let (counted, before) =
            self.under_way.count(limited.iter().map(|(_, scope)| scope.clone()).collect());
        let now = self.clock.now();
        let found = self
            .db
            .read(move |tx| {
                let mut found = Vec::new();
                for ((limits, scope), before) in limited.into_iter().zip(before) {
                    let who = submitter(&scope);
                    let queued = match limits.queued {
                        Some(most) => who.queued(tx, most)?.saturating_add(before),
                        None => 0,
                    };
                    let mut recent = match limits.per_minute {
                        Some(most) => who.recent(tx, now.plus_seconds(-MINUTE), most)?,
                        None => Vec::new(),
                    };
                    recent.extend((0..before).map(|_| now));
                    found.push((scope, queued, recent));
                }
                Ok(found)
            })
            .await?;
        let parties: Vec<Submitted<'_>> = found
            .iter()
            .map(|(scope, queued, recent)| Submitted { scope, queued: *queued, recent })
            .collect();
        match may_submit(&rules.policy, &queue, &parties, now) {
            Ok(()) => Ok(Some(counted)),
            Err(Refused::Queue(unknown)) => {
                Err(ServiceError::fields(vec![Violation::new("/queue", unknown.to_string())]))
            }
            Err(Refused::TooMany { limit, message, retry_after }) => {
                let message = format!("{message} ({limit}); try again later");
                let seconds = u64::try_from(retry_after).unwrap_or(1);
                Err(ServiceError::new(Code::QuotaExceeded, message).retry_after(seconds))
            }
        }
    }

    /// The limit of its queue, tenant, user or cluster that the job alone exceeds, whatever else runs (contract R3: 422 at
    /// once).
    pub(super) fn never_starts(&self, job: &Candidate) -> Option<(String, String)> {
        let policy = &self.rules().policy;
        let scopes = [
            Scope::Queue(job.queue.clone()),
            Scope::Tenant(job.tenant.clone()),
            Scope::User(job.tenant.clone(), job.user.clone()),
        ];
        let cluster =
            job.demand.elsewhere.as_ref().map(|elsewhere| Scope::Cluster(elsewhere.cluster.clone()));
        scopes.into_iter().chain(cluster).find_map(|scope| policy.never_allows(&scope, &job.demand))
    }
}

fn submitter(scope: &Scope) -> Submitter {
    match scope.clone() {
        Scope::Queue(queue) => Submitter { queue: Some(queue), ..Submitter::default() },
        Scope::Tenant(tenant) => Submitter { tenant: Some(tenant), ..Submitter::default() },
        Scope::User(tenant, user) => {
            Submitter { tenant: Some(tenant), user: Some(user), ..Submitter::default() }
        }
        Scope::All | Scope::Mode(_) | Scope::Cluster(_) => Submitter::default(),
    }
}
