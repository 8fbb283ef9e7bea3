//! The scheduler's state, and what it is told.

use std::collections::BTreeMap;

use super::demand::{Candidate, Micros, Pool, RunTime};
use super::ledger::{Counted, Ledger, NEVER, Scopes};
use super::memory::Window;
use super::policy::{Discipline, Policy, Scope};
use super::pool::{PoolState, ShapeKey, rounded_up};
use super::resources::Resources;
use super::tree::{Around, Path, ShapeIx, Turn};
use crate::id::JobId;
use crate::mode::Mode;
use crate::time::Timestamp;

/// Somebody whose jobs stand together.
#[derive(Clone, Debug)]
pub(super) struct Applicant {
    pub(super) queue: String,
    pub(super) tenant: String,
    pub(super) user: String,
    /// Their places in the pools' trees, by pool.
    paths: BTreeMap<u32, Path>,
    /// Queue, tenant, user.
    scopes: [super::tree::ScopeIx; 3],
}

/// A job that waits.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) applicant: u32,
    pub(super) pool: u32,
    pub(super) path: Path,
    pub(super) shape: ShapeIx,
    pub(super) turn: Turn,
    pub(super) priority: u8,
    pub(super) since: Timestamp,
    pub(super) run_time: RunTime,
    pub(super) scopes: Scopes,
    /// When it became the keeper of a reservation, counted by all that ever did.
    pub(super) keeps: Option<u64>,
}

/// A job that holds resources.
#[derive(Clone, Debug)]
pub(super) struct Running {
    /// As it waited.
    pub(super) candidate: Candidate,
    pub(super) pool: u32,
    pub(super) path: Path,
    pub(super) scopes: Scopes,
    /// What it holds on which node; the driver's first. Empty when its node is gone.
    pub(super) parts: Vec<(u32, Resources)>,
    /// What it holds in the pool.
    pub(super) held: Resources,
    /// What it counts for in limits.
    pub(super) counted: Counted,
    pub(super) node: String,
    /// Executors by their node's name: a node that is gone may come back, and they with it.
    pub(super) executors: Vec<(String, u32)>,
    pub(super) since: Timestamp,
    /// Since when it holds what it holds.
    pub(super) admitted: Timestamp,
    /// When it ends at the latest, as far as is known.
    pub(super) end: Timestamp,
}

/// Gives turns, kept by one leader and told of every change. See the module's head for what it promises.
#[derive(Clone, Debug)]
pub struct Scheduler {
    pub(super) policy: Policy,
    pub(super) window: Window,
    pub(super) now: Timestamp,
    bucket: i64,
    /// Counts passes.
    pub(super) pass: u64,
    /// Counts keepers.
    pub(super) keepers: u64,
    pub(super) pools: Vec<PoolState>,
    pub(super) pool_index: BTreeMap<String, u32>,
    pub(super) ledger: Ledger,
    pub(super) applicants: Vec<Applicant>,
    applicant_index: BTreeMap<(String, String, String), u32>,
    pub(super) waiting: BTreeMap<JobId, Waiting>,
    pub(super) running: BTreeMap<JobId, Running>,
}

/// When a job that runs since `since` ends at the latest. One that has overrun is expected to take twice as long, and
/// so on: a reservation that counts on its end moves, and never to "now".
pub(super) fn expected_end(since: Timestamp, at_most: Option<Micros>, now: Timestamp) -> Timestamp {
    let Some(at_most) = at_most else { return NEVER };
    let mut span = at_most.max(1);
    while since.plus_micros(span) <= now && span < Micros::MAX {
        span = span.saturating_mul(2);
    }
    Timestamp(since.plus_micros(span).0.min(NEVER.0 - 1))
}

impl Scheduler {
    /// Nobody waits and nothing runs.
    pub fn new(policy: Policy, pools: &[Pool], now: Timestamp) -> Self {
        let window = Window::of(policy.memory);
        let mut new = Self {
            window,
            now,
            bucket: window.index(now),
            pass: 0,
            keepers: 0,
            pools: Vec::new(),
            pool_index: BTreeMap::new(),
            ledger: Ledger::default(),
            applicants: Vec::new(),
            applicant_index: BTreeMap::new(),
            waiting: BTreeMap::new(),
            running: BTreeMap::new(),
            policy,
        };
        for pool in pools {
            new.add_pool(pool);
        }
        new
    }

    fn add_pool(&mut self, pool: &Pool) -> u32 {
        if let Some(index) = self.pool_index.get(&pool.name) {
            return *index;
        }
        let index = u32::try_from(self.pools.len()).unwrap_or(u32::MAX);
        self.pools.push(PoolState::new(pool, self.now));
        self.pool_index.insert(pool.name.clone(), index);
        index
    }

    /// The number of a pool; an unknown one is a pool without nodes, in which jobs wait until it is there.
    pub(super) fn pool(&mut self, name: &str) -> u32 {
        self.add_pool(&Pool { name: name.to_owned(), ..Pool::default() })
    }

    pub(super) fn around(&self, pool: u32) -> Around {
        let capacity = self.pools[pool as usize].capacity;
        Around { window: self.window, capacity, now: self.now }
    }

    /// The rules in force.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Jobs that wait.
    pub fn waiting_jobs(&self) -> usize {
        self.waiting.len()
    }

    /// Jobs that hold resources.
    pub fn running_jobs(&self) -> usize {
        self.running.len()
    }

    /// True while the job waits here for its turn.
    pub fn is_waiting(&self, id: JobId) -> bool {
        self.waiting.contains_key(&id)
    }

    /// True while the job holds resources here.
    pub fn is_running(&self, id: JobId) -> bool {
        self.running.contains_key(&id)
    }

    /// Lets time pass: what was held counts, and jobs that overran are expected to end later. A clock that jumps changes
    /// no limit and loses no job: after a jump back by more than a bucket the past is forgotten.
    ///
    /// A clock that goes back by less than a bucket stands still.
    pub fn advance(&mut self, now: Timestamp) {
        let steps_back = self.now.0.saturating_sub(now.0);
        let now = if steps_back > 0 && steps_back < self.window.bucket() { self.now } else { now };
        let back = now < self.now;
        self.now = now;
        let bucket = self.window.index(now);
        if bucket != self.bucket {
            let forget = bucket < self.bucket;
            self.bucket = bucket;
            self.advance_trees(forget);
        }
        let late: Vec<JobId> = if back {
            self.running.keys().copied().collect()
        } else {
            let late = |p: &PoolState| {
                p.ends.iter().take_while(|(end, _)| *end <= now).map(|e| e.1).collect::<Vec<_>>()
            };
            self.pools.iter().flat_map(late).collect()
        };
        for id in late {
            self.place_end(id);
        }
    }

    /// Writes the past down everywhere, and puts everybody in their place.
    pub(super) fn advance_trees(&mut self, forget: bool) {
        for index in 0..self.pools.len() {
            let around = self.around(u32::try_from(index).unwrap_or(u32::MAX));
            self.pools[index].root.advance(&around, forget);
        }
    }

    /// Puts a running job's expected end where it belongs.
    fn place_end(&mut self, id: JobId) {
        let Some(job) = self.running.get_mut(&id) else { return };
        let before = job.end;
        job.end = expected_end(job.since, job.candidate.run_time.at_most, self.now);
        if job.end != before {
            let ends = &mut self.pools[job.pool as usize].ends;
            ends.remove(&(before, id));
            ends.insert((job.end, id));
            self.ledger.move_end(job.scopes, id, before, job.end);
        }
    }

    /// Who stands where. `waiting` jobs of one applicant share a branch; in order of arrival alone, all share one.
    pub(super) fn applicant(&mut self, queue: &str, tenant: &str, user: &str, pool: u32) -> (u32, Path) {
        let key = (queue.to_owned(), tenant.to_owned(), user.to_owned());
        let index = if let Some(index) = self.applicant_index.get(&key) {
            *index
        } else {
            let scopes = [
                Scope::Queue(queue.to_owned()),
                Scope::Tenant(tenant.to_owned()),
                Scope::User(tenant.to_owned(), user.to_owned()),
            ]
            .map(|scope| self.ledger.scope(scope, &self.policy));
            let index = u32::try_from(self.applicants.len()).unwrap_or(u32::MAX);
            let (queue, tenant, user) = key.clone();
            self.applicants.push(Applicant { queue, tenant, user, paths: BTreeMap::new(), scopes });
            self.applicant_index.insert(key, index);
            index
        };
        let path = self.path(index, pool);
        (index, path)
    }

    pub(super) fn path(&mut self, applicant: u32, pool: u32) -> Path {
        let Applicant { queue, tenant, user, paths, scopes } = &mut self.applicants[applicant as usize];
        if let Some(path) = paths.get(&pool) {
            return *path;
        }
        let root = &mut self.pools[pool as usize].root;
        let path = match self.policy.discipline {
            Discipline::InOrder => {
                root.child("", 1, None, self.now);
                root.at_mut(&[0]).child("", 1, None, self.now);
                root.at_mut(&[0, 0]).child("", 1, None, self.now);
                [0; 3]
            }
            Discipline::Fair => {
                let share = self.policy.queue(queue).unwrap_or_default().share;
                let q = root.child(queue, share, Some(scopes[0]), self.now);
                let weight = self.policy.tenant(tenant).share;
                let t = root.at_mut(&[q]).child(tenant, weight, Some(scopes[1]), self.now);
                let u = root.at_mut(&[q, t]).child(user, 1, Some(scopes[2]), self.now);
                [q, t, u]
            }
        };
        paths.insert(pool, path);
        path
    }

    fn shape_scopes(&mut self, mode: Mode, cluster: Option<&str>) -> [Option<super::tree::ScopeIx>; 3] {
        let cluster = cluster.map(|name| Scope::Cluster(name.to_owned()));
        [Some(Scope::All), Some(Scope::Mode(mode)), cluster]
            .map(|scope| scope.map(|scope| self.ledger.scope(scope, &self.policy)))
    }

    fn scopes(&self, shape: [Option<super::tree::ScopeIx>; 3], applicant: u32) -> Scopes {
        let [queue, tenant, user] = self.applicants[applicant as usize].scopes;
        Scopes([shape[0], shape[1], shape[2], Some(queue), Some(tenant), Some(user)])
    }

    /// A job waits for its turn. One that waited already is put in its new place; one that ran has ended.
    pub fn queued(&mut self, job: &Candidate) {
        self.left(job.id);
        self.ended(job.id);
        self.enqueue(job, true);
    }

    /// Puts a job among those that wait; when it is one of many, nobody is in their place before the trees are advanced.
    pub(super) fn enqueue(&mut self, job: &Candidate, ranked: bool) {
        let pool = self.pool(&job.pool);
        let (applicant, path) = self.applicant(&job.queue, &job.tenant, &job.user, pool);
        let shape_scopes =
            self.shape_scopes(job.mode, job.demand.elsewhere.as_ref().map(|e| e.cluster.as_str()));
        let key = ShapeKey {
            demand: job.demand.clone(),
            at_most: job.run_time.at_most.map(rounded_up),
            mode: job.mode,
        };
        let head_start = i64::from(job.priority).saturating_mul(self.policy.priority_step);
        let turn = Turn { key: job.since.0.saturating_sub(head_start), id: job.id };
        let around = self.around(pool);
        let state = &mut self.pools[pool as usize];
        let shape = state.shape(key);
        if ranked {
            state.root.insert(path, shape, turn, &around);
        } else {
            state.root.insert_unranked(path, shape, turn);
        }
        let scopes = self.scopes(shape_scopes, applicant);
        self.ledger.queued(scopes, true);
        let waiting = Waiting {
            applicant,
            pool,
            path,
            shape,
            turn,
            priority: job.priority,
            since: job.since,
            run_time: job.run_time,
            scopes,
            keeps: None,
        };
        self.waiting.insert(job.id, waiting);
    }

    /// A waiting job is gone: cancelled, or out of time.
    pub fn left(&mut self, id: JobId) {
        self.stop_waiting(id, None);
    }

    /// Takes a job out of all that waits; when it starts, it holds `takes` of its pool from now on.
    pub(super) fn stop_waiting(&mut self, id: JobId, takes: Option<Resources>) -> Option<Waiting> {
        let job = self.waiting.remove(&id)?;
        let around = self.around(job.pool);
        let pool = &mut self.pools[job.pool as usize];
        pool.root.remove(job.path, job.shape, job.turn, takes, &around);
        pool.shape_left(job.shape);
        if pool.keeper == Some(id) {
            pool.keeper = None;
            pool.promises.clear();
        }
        self.ledger.queued(job.scopes, false);
        self.ledger.release(job.scopes, id);
        Some(job)
    }

    /// The job as it was told of.
    pub(super) fn candidate(&self, id: JobId, job: &Waiting) -> Candidate {
        let Applicant { queue, tenant, user, .. } = &self.applicants[job.applicant as usize];
        let pool = &self.pools[job.pool as usize];
        let shape = &pool.shapes[job.shape as usize];
        Candidate {
            id,
            queue: queue.clone(),
            tenant: tenant.clone(),
            user: user.clone(),
            priority: job.priority,
            since: job.since,
            mode: shape.key.mode,
            pool: pool.name.clone(),
            demand: shape.key.demand.clone(),
            run_time: job.run_time,
        }
    }

    /// A job runs that was not started by [`Self::pass`]: found when the leader changed. A job that waited no longer does.
    pub fn found_running(&mut self, found: &Holding) {
        self.left(found.candidate.id);
        self.ended(found.candidate.id);
        let job = &found.candidate;
        let pool = self.pool(&job.pool);
        let (applicant, path) = self.applicant(&job.queue, &job.tenant, &job.user, pool);
        let shape = self.shape_scopes(job.mode, job.demand.elsewhere.as_ref().map(|e| e.cluster.as_str()));
        let scopes = self.scopes(shape, applicant);
        let number = |name: &str| {
            let nodes = &self.pools[pool as usize].nodes;
            nodes.iter().position(|n| n.name == name).and_then(|n| u32::try_from(n).ok())
        };
        let driver = number(&found.node).map(|node| (node, job.demand.driver));
        let each = job.demand.executors.each;
        let executors = found.executors.iter().filter_map(|(node, n)| Some((number(node)?, each.times(*n))));
        let parts = driver.into_iter().chain(executors).collect();
        let count: u32 = found.executors.iter().map(|e| e.1).sum();
        let held = job.demand.driver.plus(each.times(count));
        let elsewhere = job.demand.taken_elsewhere().most(found.elsewhere);
        self.run(Running {
            candidate: job.clone(),
            pool,
            path,
            scopes,
            parts,
            held,
            counted: Counted { all: held.plus(elsewhere), elsewhere },
            node: found.node.clone(),
            executors: found.executors.clone(),
            since: found.since,
            admitted: found.admitted,
            end: expected_end(found.since, job.run_time.at_most, self.now),
        });
        let around = self.around(pool);
        self.pools[pool as usize].root.charge(path, &around, |charge| {
            charge.take(held);
            charge.jobs += 1;
        });
    }

    /// Writes down what a job holds, everywhere but in the tree.
    pub(super) fn run(&mut self, job: Running) {
        let id = job.candidate.id;
        let pool = &mut self.pools[job.pool as usize];
        pool.hold(&job.parts, job.held);
        pool.ends.insert((job.end, id));
        self.ledger.start(job.scopes, &job.counted, id, job.end);
        self.running.insert(id, job);
    }

    /// A running job is gone, and what it held is free.
    pub fn ended(&mut self, id: JobId) {
        let Some(job) = self.running.remove(&id) else { return };
        let around = self.around(job.pool);
        let pool = &mut self.pools[job.pool as usize];
        pool.let_go(&job.parts, job.held);
        pool.ends.remove(&(job.end, id));
        pool.root.charge(job.path, &around, |charge| {
            charge.end(around.window, job.held, job.admitted);
            charge.jobs = charge.jobs.saturating_sub(1);
        });
        self.ledger.end(job.scopes, &job.counted, id, job.end);
    }

    /// A job began to run: its time counts from here, no longer from its admission.
    pub fn began(&mut self, id: JobId, since: Timestamp) {
        if let Some(job) = self.running.get_mut(&id) {
            job.since = since;
            self.place_end(id);
        }
    }

    /// Running jobs that may have more executors than they began with: [`Self::grown`] wants to hear of them.
    pub fn may_grow(&self) -> Vec<JobId> {
        self.running.iter().filter(|(_, job)| job.candidate.demand.may_grow()).map(|(id, _)| *id).collect()
    }

    /// A running job was seen with so many executors. What goes beyond its reserve counts; its reserve stays kept.
    pub fn grown(&mut self, id: JobId, executors: u32) {
        let Some(job) = self.running.get_mut(&id) else { return };
        if let Some(elsewhere) = &job.candidate.demand.elsewhere {
            let wanted = executors.max(elsewhere.executors.reserved());
            let (before, held) = (job.counted, elsewhere.executors.each.times(wanted));
            if before.elsewhere != held {
                job.counted = Counted { all: job.held.plus(held), elsewhere: held };
                self.ledger.end(job.scopes, &before, id, job.end);
                self.ledger.start(job.scopes, &job.counted, id, job.end);
            }
            return;
        }
        let wanted = executors.max(job.candidate.demand.executors.reserved());
        let have: u32 = job.executors.iter().map(|e| e.1).sum();
        let each = job.candidate.demand.executors.each;
        if wanted == have || each.is_zero() {
            return;
        }
        let Some(mut job) = self.running.remove(&id) else { return };
        let around = self.around(job.pool);
        let pool = &mut self.pools[job.pool as usize];
        pool.let_go(&job.parts, job.held);
        pool.ends.remove(&(job.end, id));
        self.ledger.end(job.scopes, &job.counted, id, job.end);
        let before = job.held;
        // Nobody says where the engine put them: where there is room, and what has none, beside the driver.
        let home =
            (0u32..).zip(&pool.nodes).find(|(_, node)| node.name == job.node).map(|(number, _)| number);
        let mut left = wanted;
        let mut executors = Vec::new();
        for (number, node) in (0u32..).zip(&pool.nodes) {
            let mut room = node.capacity.minus(node.held);
            if home == Some(number) {
                room = room.minus(job.candidate.demand.driver);
            }
            let here = each.count_in(&room, left);
            if here > 0 {
                executors.push((number, here));
                left -= here;
            }
        }
        if left > 0 {
            executors.extend(home.map(|node| (node, left)));
        }
        let driver = home.map(|node| (node, job.candidate.demand.driver));
        job.parts =
            driver.into_iter().chain(executors.iter().map(|(node, n)| (*node, each.times(*n)))).collect();
        let name = |node: u32| pool.nodes[node as usize].name.clone();
        job.executors = executors.into_iter().map(|(node, n)| (name(node), n)).collect();
        job.held = job.candidate.demand.driver.plus(each.times(wanted));
        job.counted.all = job.held.plus(job.counted.elsewhere);
        let held = job.held;
        let since = std::mem::replace(&mut job.admitted, self.now);
        pool.root.charge(job.path, &around, |charge| {
            charge.end(around.window, before, since);
            charge.take(held);
        });
        self.run(job);
    }
}

/// A job that holds resources, as the store knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// What it asked for.
    pub candidate: Candidate,
    /// The node of its driver.
    pub node: String,
    /// Executors by node: at least those that were reserved.
    pub executors: Vec<(String, u32)>,
    /// Since when it runs; before that, since when it was admitted.
    pub since: Timestamp,
    /// Since when it holds this: since its admission, or since it grew.
    pub admitted: Timestamp,
    /// What it was seen to hold outside of the pool, where that is more than was kept for it.
    pub elsewhere: Resources,
}
