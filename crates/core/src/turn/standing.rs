//! How things stand: who holds what of which pool, who waits, and for whom room is kept.

use super::memory::{PARTS, SHARE_BITS, share_of};
use super::policy::Scope;
use super::resources::{Dimension, Held, Resources};
use super::scheduler::Scheduler;
use super::tree::Branch;
use crate::id::JobId;
use crate::time::Timestamp;

/// A queue in a pool, a tenant in a queue, or a user in a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    /// Its name.
    pub name: String,
    /// Its weight against those beside it.
    pub share: u32,
    /// What its jobs hold of the pool.
    pub held: Resources,
    /// The greatest part of any dimension that they held on average over the window before, in millionths of the pool.
    pub average_ppm: u64,
    /// Jobs that hold it.
    pub running: u64,
    /// Jobs that wait.
    pub waiting: u64,
    /// The greatest part of any dimension that it holds at present, in millionths of the pool.
    pub dominant_ppm: u64,
    /// What it would hold if all beside it that hold something or wait held their shares, in millionths of what they hold
    /// together.
    pub fair_ppm: u64,
    /// Those below it.
    pub parts: Vec<Party>,
}

/// Room that is kept for a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// The job.
    pub job: JobId,
    /// When it is there at the latest, if running jobs take no longer than they may.
    pub at: Timestamp,
}

/// A limit that binds, with what is held under it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitStanding {
    /// Whom it binds.
    pub scope: Scope,
    /// Of whom: `of the tenant blue`.
    pub of: String,
    /// The key of its number of jobs.
    pub key: String,
    /// What is held.
    pub held: Held,
    /// The most that may be held; `u64::MAX` where nothing is said.
    pub most: Held,
    /// Jobs that wait in it.
    pub queued: u64,
    /// The job that its next room is kept for.
    pub kept_for: Option<JobId>,
}

/// One pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolStanding {
    /// Its name.
    pub name: String,
    /// All that there is.
    pub capacity: Resources,
    /// All that is held.
    pub held: Resources,
    /// Jobs that hold it.
    pub running: u64,
    /// Jobs that wait.
    pub waiting: u64,
    /// The room that is kept.
    pub reservation: Option<Reservation>,
    /// Its queues.
    pub queues: Vec<Party>,
}

/// Millionths.
fn ppm(part: u64, all: u64) -> u64 {
    let ppm = u128::from(part) * 1_000_000 / u128::from(all.max(1));
    u64::try_from(ppm).unwrap_or(u64::MAX)
}

/// The greatest part of any dimension, in millionths.
fn share_ppm(held: Resources, capacity: &Resources) -> u64 {
    ppm(share_of(held, capacity, 1), 1 << SHARE_BITS)
}

impl Scheduler {
    /// Every pool, with its queues, tenants and users that hold something or wait.
    pub fn standing(&self) -> Vec<PoolStanding> {
        self.pools
            .iter()
            .map(|pool| PoolStanding {
                name: pool.name.clone(),
                capacity: pool.capacity,
                held: pool.held,
                running: pool.root.charge.jobs,
                waiting: pool.root.waiting,
                reservation: pool
                    .keeper
                    .zip(pool.promises.first())
                    .map(|(job, promise)| Reservation { job, at: promise.at }),
                queues: self.parties(&pool.root, &pool.capacity),
            })
            .collect()
    }

    fn parties(&self, above: &Branch, capacity: &Resources) -> Vec<Party> {
        let here = |b: &&Branch| b.waiting > 0 || b.charge.jobs > 0;
        let weights: u64 = above.children().iter().filter(here).map(|b| u64::from(b.weight())).sum();
        let party = |b: &Branch| Party {
            name: b.name.clone(),
            share: b.weight(),
            held: b.charge.held(),
            average_ppm: share_ppm(b.charge.average(self.window), &capacity.times(PARTS)),
            running: b.charge.jobs,
            waiting: b.waiting,
            dominant_ppm: share_ppm(b.charge.held(), capacity),
            fair_ppm: ppm(u64::from(b.weight()), weights),
            parts: self.parties(b, capacity),
        };
        above.children().iter().filter(here).map(party).collect()
    }

    /// The room that is kept in each pool, as of the last pass.
    pub fn reservations(&self) -> Vec<(String, Reservation)> {
        let kept = |p: &super::pool::PoolState| {
            let at = p.promises.first()?.at;
            Some((p.name.clone(), Reservation { job: p.keeper?, at }))
        };
        self.pools.iter().filter_map(kept).collect()
    }

    /// Every limit that is set and under which something runs or waits.
    pub fn limits(&self) -> Vec<LimitStanding> {
        let set =
            self.ledger.scopes.iter().filter(|s| !s.quota.is_open() && (s.held.jobs > 0 || s.queued > 0));
        set.map(|s| LimitStanding {
            scope: s.scope.clone(),
            of: s.scope.words(),
            key: self.policy.key(&s.scope, super::policy::Short::Jobs),
            held: s.held,
            most: s.quota.most(),
            queued: s.queued,
            kept_for: s.keeper,
        })
        .collect()
    }

    /// The greatest part of any dimension of any node that is held, in millionths: alerts go by it.
    pub fn fullest_ppm(&self) -> u64 {
        let nodes = self.pools.iter().flat_map(|p| &p.nodes);
        let part = |n: &super::pool::NodeState| {
            Dimension::ALL.map(|d| ppm(n.held.get(d), n.capacity.get(d))).into_iter().max().unwrap_or(0)
        };
        nodes.filter(|n| !n.capacity.is_zero()).map(part).max().unwrap_or(0)
    }
}
