//! All that a scheduler knows, to make another one from: when the leader changes, or capacity, or the rules.

use std::collections::BTreeSet;

use super::demand::{Candidate, Node, Pool};
use super::memory::{Amount, cut};
use super::policy::{Policy, Scope};
use super::resources::{Dimension, Held, Resources};
use super::scheduler::{Holding, Scheduler, Waiting};
use crate::id::JobId;
use crate::time::Timestamp;

/// What somebody held in a pool before now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// The pool.
    pub pool: String,
    /// The queue of the jobs.
    pub queue: String,
    /// Their tenant.
    pub tenant: String,
    /// Their user.
    pub user: String,
    /// What, and when.
    pub past: Past,
}

/// What was held, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Past {
    /// These resources all the time, as one attempt held them: how the store tells of ended and of running ones.
    Span {
        /// What was held.
        held: Resources,
        /// From then.
        from: Timestamp,
        /// Until then; None for what is held still.
        to: Option<Timestamp>,
    },
    /// A sum over a bucket of the window: how a scheduler tells of itself.
    Bucket {
        /// The bucket's number.
        index: i64,
        /// Resource × microseconds by dimension.
        amount: [u128; 4],
        /// The part of it that was held by jobs which have ended, in the bucket that is not over.
        ended: [u128; 4],
    },
}

/// A job that room is kept for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keeper {
    /// The job.
    pub job: JobId,
    /// Its number among keepers: the lowest never waits for a higher one.
    pub number: u64,
    /// True when its pool's next room is for it.
    pub of_pool: bool,
    /// The limits whose next room is for it.
    pub of_scopes: Vec<Scope>,
}

/// What a scheduler is made from. From the store alone: without `keepers`, reservations are given anew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The rules.
    pub policy: Policy,
    /// The capacity.
    pub pools: Vec<Pool>,
    /// Jobs that wait.
    pub waiting: Vec<Candidate>,
    /// Jobs that hold resources.
    pub running: Vec<Holding>,
    /// What was held in the past [`Policy::memory`], by ended and by running jobs.
    pub memory: Vec<Remembered>,
    /// Reservations.
    pub keepers: Vec<Keeper>,
}

/// A limit that more is held of than it allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// Whom it binds; None for what there is.
    pub scope: Option<Scope>,
    /// Its configuration key.
    pub key: String,
    /// In words, with figures.
    pub text: String,
}

impl Scheduler {
    /// A scheduler that knows all this.
    pub fn rebuild(snapshot: &Snapshot, now: Timestamp) -> Self {
        let mut new = Self::new(snapshot.policy.clone(), &snapshot.pools, now);
        for job in &snapshot.running {
            new.found_running(job);
        }
        for past in &snapshot.memory {
            new.remember(past);
        }
        for job in &snapshot.waiting {
            // What holds resources does not wait as well.
            if !new.is_running(job.id) && !new.is_waiting(job.id) {
                new.enqueue(job, false);
            }
        }
        new.advance_trees(false);
        for keeper in &snapshot.keepers {
            new.restore(keeper);
        }
        new
    }

    fn remember(&mut self, past: &Remembered) {
        let pool = self.pool(&past.pool);
        let (_, path) = self.applicant(&past.queue, &past.tenant, &past.user, pool);
        let (window, now) = (self.window, self.now);
        let buckets = match &past.past {
            Past::Span { held, from, to } => {
                let parts = cut(window, *held, *from, to.unwrap_or(now), now).into_iter();
                parts.map(|(index, amount)| (index, amount, to.map_or([0; 4], |_| amount))).collect()
            }
            Past::Bucket { index, amount, ended } => vec![(*index, *amount, *ended)],
        };
        let around = self.around(pool);
        self.pools[pool as usize].root.charge(path, &around, |charge| {
            for (index, amount, ended) in &buckets {
                charge.remember(window, *index, *amount, *ended, now);
            }
        });
    }

    fn restore(&mut self, keeper: &Keeper) {
        let Some(job) = self.waiting.get(&keeper.job) else { return };
        let shape = &self.pools[job.pool as usize].shapes[job.shape as usize];
        if !shape.possible {
            return;
        }
        let counted = shape.counted;
        self.set_keeper(keeper.job, keeper.number);
        self.keepers = self.keepers.max(keeper.number);
        let Some(job) = self.waiting.get(&keeper.job) else { return };
        let pool = &mut self.pools[job.pool as usize];
        if keeper.of_pool {
            pool.keeper = Some(keeper.job);
        }
        let scopes: Vec<_> = job
            .scopes
            .iter()
            .filter(|s| {
                let state = self.ledger.at(*s);
                let fits = state.quota.exceeded_by(&state.need(&counted)).is_none();
                keeper.of_scopes.contains(&state.scope) && !state.quota.is_open() && fits
            })
            .collect();
        for scope in scopes {
            self.ledger.keep(scope, keeper.job);
        }
    }

    /// All that it knows.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            waiting: self.waiting.iter().map(|(id, job)| self.candidate(*id, job)).collect(),
            keepers: self.all_keepers(),
            ..self.without_waiting()
        }
    }

    /// All that it knows but for the jobs that wait.
    pub(super) fn without_waiting(&self) -> Snapshot {
        Snapshot {
            policy: self.policy.clone(),
            pools: self.given_pools(),
            waiting: Vec::new(),
            running: self.holdings(),
            memory: self.remembered(),
            keepers: Vec::new(),
        }
    }

    fn given_pools(&self) -> Vec<Pool> {
        let pool = |p: &super::pool::PoolState| Pool {
            name: p.name.clone(),
            nodes: p.nodes.iter().map(|n| Node { name: n.name.clone(), capacity: n.capacity }).collect(),
            keys: p.keys.clone(),
        };
        self.pools.iter().map(pool).collect()
    }

    pub(super) fn holdings(&self) -> Vec<Holding> {
        self.running
            .values()
            .map(|job| Holding {
                candidate: job.candidate.clone(),
                node: job.node.clone(),
                executors: job.executors.clone(),
                since: job.since,
                admitted: job.admitted,
                elsewhere: job.counted.elsewhere,
            })
            .collect()
    }

    /// What every user held, by bucket; the branches above are their sums.
    pub(super) fn remembered(&self) -> Vec<Remembered> {
        let mut all = Vec::new();
        for pool in &self.pools {
            for queue in pool.root.children() {
                for tenant in queue.children() {
                    for user in tenant.children() {
                        // Up to now, so that nothing depends on when somebody last did something.
                        let mut charge = user.charge.clone();
                        charge.advance(self.window, self.now);
                        all.extend(charge.remembered().into_iter().map(
                            |(index, amount, ended): (i64, Amount, Amount)| Remembered {
                                pool: pool.name.clone(),
                                queue: queue.name.clone(),
                                tenant: tenant.name.clone(),
                                user: user.name.clone(),
                                past: Past::Bucket { index, amount, ended },
                            },
                        ));
                    }
                }
            }
        }
        all
    }

    pub(super) fn all_keepers(&self) -> Vec<Keeper> {
        self.waiting.iter().filter_map(|(id, job)| self.keeper(*id, job)).collect()
    }

    fn keeper(&self, id: JobId, job: &Waiting) -> Option<Keeper> {
        let of_scopes = job.scopes.iter().map(|s| self.ledger.at(s));
        Some(Keeper {
            job: id,
            number: job.keeps?,
            of_pool: self.pools[job.pool as usize].keeper == Some(id),
            of_scopes: of_scopes.filter(|s| s.keeper == Some(id)).map(|s| s.scope.clone()).collect(),
        })
    }

    /// The jobs that room is kept for at present, in pools and under limits: few, whatever the queue. Who is told of them
    /// ([`Self::follow_keepers`]) keeps the same room.
    pub fn keepers(&self) -> Vec<Keeper> {
        let of_scopes = self.ledger.kept.iter().filter_map(|scope| self.ledger.at(*scope).keeper);
        let ids: BTreeSet<JobId> = self.pools.iter().filter_map(|p| p.keeper).chain(of_scopes).collect();
        ids.into_iter().filter_map(|id| self.keeper(id, self.waiting.get(&id)?)).collect()
    }

    /// Room is kept for these jobs and no others, as another scheduler has decided.
    pub fn follow_keepers(&mut self, keepers: &[Keeper]) {
        for pool in &mut self.pools {
            pool.keeper = None;
            pool.promises.clear();
        }
        self.ledger.release_all();
        for keeper in keepers {
            self.restore(keeper);
        }
        self.refresh_reservations();
    }

    /// Other rules from now on. Nothing that runs is touched.
    pub fn set_policy(&mut self, policy: Policy, now: Timestamp) {
        self.advance(now);
        if policy != self.policy {
            let snapshot = Snapshot { policy, ..self.snapshot() };
            *self = Self::rebuild(&snapshot, self.now);
        }
    }

    /// Other capacity from now on. What runs where there is none any more goes on, counts, and nothing joins it there.
    pub fn set_pools(&mut self, pools: Vec<Pool>, now: Timestamp) {
        self.advance(now);
        if self.given_pools() != pools {
            let snapshot = Snapshot { pools, ..self.snapshot() };
            *self = Self::rebuild(&snapshot, self.now);
        }
    }

    /// What does not add up, in words; an empty list is what one hopes for. For tests, and to be asked in production.
    pub fn audit(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for (index, pool) in (0u32..).zip(&self.pools) {
            let mine = || self.running.values().filter(|r| r.pool == index);
            let held = mine().fold(Resources::default(), |sum, r| sum.plus(r.held));
            let jobs = mine().count() as u64;
            if (held, jobs) != (pool.root.charge.held(), pool.root.charge.jobs) || held != pool.held {
                wrong.push(format!("pool {}: {held:?} are held by {jobs} jobs", pool.name));
            }
            for (number, node) in (0u32..).zip(&pool.nodes) {
                let parts = mine().flat_map(|r| &r.parts).filter(|(n, _)| *n == number);
                let held = parts.fold(Resources::default(), |sum, (_, part)| sum.plus(*part));
                if held != node.held {
                    wrong.push(format!("node {}: {held:?} are held, not {:?}", node.name, node.held));
                }
            }
            let waiting = self.waiting.values().filter(|w| w.pool == index).count() as u64;
            if waiting != pool.root.waiting {
                wrong.push(format!("pool {}: {waiting} jobs wait, not {}", pool.name, pool.root.waiting));
            }
        }
        for (index, state) in (0u32..).zip(&self.ledger.scopes) {
            let mine = self.running.values().filter(|r| r.scopes.iter().any(|s| s == index));
            let held = mine.fold(Held::default(), |sum, r| sum.plus(state.need(&r.counted)));
            if held != state.held {
                wrong.push(format!("{:?}: {held:?} are held, not {:?}", state.scope, state.held));
            }
        }
        wrong
    }

    /// Limits that are exceeded at present, each with its key: because capacity or a limit shrank below what runs, or
    /// because jobs grew. Nothing is killed; nothing is admitted there until it fits again. An alert's value.
    pub fn exceeded(&self) -> Vec<Exceeded> {
        let mut found = Vec::new();
        for pool in &self.pools {
            for node in &pool.nodes {
                for d in Dimension::ALL {
                    let (held, most) = (node.held.get(d), node.capacity.get(d));
                    if held > most {
                        let text =
                            format!("{} of {} are held on {}", d.words(held), d.figure(most), node.name);
                        found.push(Exceeded { scope: None, key: pool.keys.of(d).to_owned(), text });
                    }
                }
            }
        }
        for state in &self.ledger.scopes {
            if let Some(short) = state.quota.exceeded_by(&state.held) {
                let text =
                    format!("{} jobs {} hold more than it allows", state.held.jobs, state.scope.words());
                let key = self.policy.key(&state.scope, short);
                found.push(Exceeded { scope: Some(state.scope.clone()), key, text });
            }
        }
        let gone = self.running.values().filter(|r| r.parts.len() <= r.executors.len()).count();
        if gone > 0 {
            let text = format!("{gone} jobs run on nodes that are gone");
            found.push(Exceeded { scope: None, key: "libra.replica.lease".to_owned(), text });
        }
        found
    }
}
