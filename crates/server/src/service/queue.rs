//! How everything stands: who holds what, who waits, and for whom room is kept (contract R5).

use libra_api::turns::{
    AmountView, ExceededView, LimitView, PartyView, PoolView, QueueView, ReservationView,
};
use libra_core::id::JobId;
use libra_core::memory::GIB;
use libra_core::time::Timestamp;
use libra_core::turn::{LimitStanding, Party, PoolStanding, Resources, Scope};

use super::turns::ANY_SLOTS;
use super::{Service, ServiceError, Standings};
use crate::auth::{Principal, Role, may_see};
use crate::telemetry::metrics::TurnFigures;

impl Service {
    /// How everything stands, as far as the caller may see it: of tenants and users, its own; of all, to an admin.
    pub(crate) async fn queue(&self, principal: &Principal) -> Result<QueueView, ServiceError> {
        let now = self.clock.now();
        let standings = self.standings().await?;
        let sees = Sees { principal, standings: &standings };
        Ok(QueueView {
            as_of: now.rfc3339(),
            waiting: standings.pools.iter().map(|pool| pool.waiting).sum(),
            running: standings.pools.iter().map(|pool| pool.running).sum(),
            oldest_waiting_seconds: standings.oldest.map(|since| now.seconds_since(since)),
            pools: standings.pools.iter().map(|pool| sees.pool(pool)).collect(),
            limits: standings.limits.iter().filter(|limit| sees.scope(&limit.scope)).map(limit).collect(),
            exceeded: standings
                .exceeded
                .iter()
                .filter(|e| match &e.scope {
                    Some(scope) => sees.scope(scope),
                    // It names machines.
                    None => principal.role == Role::Admin,
                })
                .map(|e| ExceededView { limit: e.key.clone(), message: e.text.clone() })
                .collect(),
        })
    }
}

impl Service {
    /// How turns stand, in figures.
    pub(crate) async fn turn_figures(&self) -> Result<TurnFigures, ServiceError> {
        let now = self.clock.now();
        let standings = self.standings().await?;
        let shares = standings.pools.iter().flat_map(|pool| {
            let part = |party: &Party| party.average_ppm as f64 / 1_000_000.0;
            let all: f64 = pool.queues.iter().map(part).sum();
            pool.queues.iter().map(move |queue| {
                let fair = queue.fair_ppm as f64 / 1_000_000.0 * all;
                (pool.name.clone(), queue.name.clone(), part(queue), fair)
            })
        });
        Ok(TurnFigures {
            oldest_seconds: standings.oldest.map_or(0.0, |since| now.seconds_since(since)),
            exceeded: standings.exceeded.len() as u64,
            shares: shares.collect(),
            blocked: standings.blocked,
        })
    }
}

struct Sees<'a> {
    principal: &'a Principal,
    standings: &'a Standings,
}

impl Sees<'_> {
    fn pool(&self, pool: &PoolStanding) -> PoolView {
        let matters = pool.capacity.most(pool.held);
        PoolView {
            name: pool.name.clone(),
            capacity: amount(pool.capacity, matters),
            held: amount(pool.held, matters),
            running: pool.running,
            waiting: pool.waiting,
            reservation: pool.reservation.as_ref().map(|kept| self.reservation(kept.job, kept.at)),
            queues: pool.queues.iter().map(|queue| self.queue(queue, matters)).collect(),
        }
    }

    fn reservation(&self, job: JobId, at: Timestamp) -> ReservationView {
        let mine = |(id, tenant, user): &(JobId, String, String)| {
            *id == job && may_see(self.principal, user, tenant)
        };
        ReservationView {
            job_id: self.standings.owners.iter().any(mine).then(|| job.to_string()),
            starts_by: at.rfc3339(),
        }
    }

    fn queue(&self, queue: &Party, matters: Resources) -> PartyView {
        let all = self.principal.role == Role::Admin;
        let tenants = queue.parts.iter().filter(|tenant| all || tenant.name == self.principal.tenant);
        let tenants = tenants.map(|tenant| {
            let users = tenant.parts.iter().filter(|user| all || user.name == self.principal.user);
            let users = users.map(|user| party_view(user, matters, Vec::new())).collect();
            party_view(tenant, matters, users)
        });
        party_view(queue, matters, tenants.collect())
    }

    /// Limits of others are theirs.
    fn scope(&self, scope: &Scope) -> bool {
        let (tenant, user) = (&self.principal.tenant, &self.principal.user);
        match scope {
            Scope::All | Scope::Mode(_) | Scope::Cluster(_) | Scope::Queue(_) => true,
            Scope::Tenant(of) => self.principal.role == Role::Admin || of == tenant,
            Scope::User(of, name) => self.principal.role == Role::Admin || (of == tenant && name == user),
        }
    }
}

fn party_view(party: &Party, matters: Resources, below: Vec<PartyView>) -> PartyView {
    let percent = |ppm: u64| (ppm as f64 / 1_000.0).round() / 10.0;
    PartyView {
        name: party.name.clone(),
        share: party.share,
        fair_percent: percent(party.fair_ppm),
        held_percent: percent(party.dominant_ppm),
        held: amount(party.held, matters),
        average_percent: percent(party.average_ppm),
        running: party.running,
        waiting: party.waiting,
        parts: below,
    }
}

/// An amount in those dimensions that matter.
fn amount(amount: Resources, matters: Resources) -> AmountView {
    let of = |n: u64, matters: u64| (matters > 0).then_some(n);
    AmountView {
        cpu_cores: of(amount.cores, matters.cores),
        memory_gb: of(amount.memory, matters.memory).map(gib),
        gpus: of(amount.gpus, matters.gpus),
        slots: of(amount.slots, matters.slots).filter(|slots| *slots < ANY_SLOTS),
    }
}

fn gib(bytes: u64) -> f64 {
    (bytes as f64 / GIB as f64 * 100.0).round() / 100.0
}

fn limit(limit: &LimitStanding) -> LimitView {
    let bound = |n: u64| Some(n).filter(|n| *n != u64::MAX);
    let most = limit.most.resources;
    let matters = |n: u64| u64::from(n != u64::MAX);
    let bounded = Resources {
        cores: matters(most.cores),
        memory: matters(most.memory),
        gpus: matters(most.gpus),
        slots: matters(most.slots),
    };
    LimitView {
        of: limit.of.clone(),
        limit: limit.key.clone(),
        running: limit.held.jobs,
        running_jobs: bound(limit.most.jobs),
        held: amount(limit.held.resources, bounded),
        most: amount(most, bounded),
        waiting: limit.queued,
    }
}
