//! A history at random: jobs come, start, grow, end and leave; and books that are kept beside the scheduler's own.

use std::collections::BTreeMap;

use libra_core::id::JobId;
use libra_core::memory::GIB;
use libra_core::mode::Mode;
use libra_core::simulate::Dice;
use libra_core::time::Timestamp;
use libra_core::turn::{
    Candidate, Decision, Demand, Elsewhere, Executors, Limits, Node, Past, Policy, Pool, Quota, Remembered,
    Resources, RunTime, Scheduler, Scope, Shares, Snapshot,
};

pub const SECOND: i64 = 1_000_000;

pub fn id(n: u64) -> JobId {
    let mut entropy = [0; 10];
    entropy[2..].copy_from_slice(&n.to_be_bytes());
    JobId::new(Timestamp(0), entropy)
}

/// A job on one node of the pool `hosts`.
pub fn job(n: u64, user: &str, cores: u64, seconds: i64) -> Candidate {
    Candidate {
        id: id(n),
        queue: "default".into(),
        tenant: format!("tenant-of-{user}"),
        user: user.into(),
        priority: 5,
        since: Timestamp(i64::try_from(n).unwrap_or(0)),
        mode: Mode::SparkSubmit,
        pool: "hosts".into(),
        demand: Demand::on_one_node(Resources::new(cores, cores * GIB)),
        run_time: RunTime::exactly(seconds * SECOND),
    }
}

/// One host of so many cores.
pub fn host(cores: u64) -> Vec<Pool> {
    vec![Pool::single("hosts", Resources::new(cores, cores * GIB))]
}

/// The same seed again, when one is asked for.
pub fn seed_or(seed: u64) -> u64 {
    std::env::var("LIBRA_TURNS_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(seed)
}

/// A job that runs.
pub struct Runs {
    pub job: Candidate,
    pub node: String,
    pub executors: Vec<(String, u32)>,
    pub held: Resources,
    pub from: Timestamp,
    pub ends: Timestamp,
}

/// A history.
pub struct World {
    pub dice: Dice,
    pub scheduler: Scheduler,
    pub now: Timestamp,
    pub policy: Policy,
    pub pools: Vec<Pool>,
    pub waiting: BTreeMap<JobId, Candidate>,
    pub running: BTreeMap<JobId, Runs>,
    /// What ended.
    pub past: Vec<Remembered>,
    next: u64,
}

fn maybe(dice: &mut Dice, most: u64) -> Option<u64> {
    (!dice.once_in(3)).then(|| dice.below(most))
}

fn quota(dice: &mut Dice) -> Quota {
    if dice.once_in(2) {
        return Quota::default();
    }
    Quota {
        jobs: maybe(dice, 8),
        cores: maybe(dice, 24),
        memory: maybe(dice, 32).map(|g| g * GIB),
        gpus: None,
    }
}

pub fn policy(dice: &mut Dice) -> Policy {
    let mut shares = || Shares {
        share: u32::try_from(dice.below(4)).unwrap(),
        limits: Limits { running: quota(dice), ..Limits::default() },
    };
    let queues = ["a", "b"].map(|name| (name.to_owned(), shares())).into();
    let tenants = ["t1".to_owned()].map(|name| (name, shares())).into();
    Policy {
        queues,
        tenants,
        all: quota(dice),
        modes: [(Mode::SparkSubmit, quota(dice))].into(),
        clusters: [("yarn".to_owned(), quota(dice))].into(),
        user_default: Limits { running: quota(dice), ..Limits::default() },
        memory: 600 * SECOND,
        ..Policy::default()
    }
}

pub fn pools(dice: &mut Dice) -> Vec<Pool> {
    let nodes = (0..=dice.below(3)).map(|n| Node {
        name: format!("host-{n}"),
        capacity: Resources::new(2 + dice.below(14), (2 + dice.below(14)) * GIB),
    });
    let nodes = nodes.collect();
    let slots = Resources::of_slots(dice.below(5));
    vec![Pool { name: "hosts".into(), nodes, ..Pool::default() }, Pool::single("server", slots)]
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let (policy, pools) = (policy(&mut dice), pools(&mut dice));
        let now = Timestamp(1_000_000 * SECOND);
        let scheduler = Scheduler::new(policy.clone(), &pools, now);
        let (waiting, running) = (BTreeMap::new(), BTreeMap::new());
        Self { dice, scheduler, now, policy, pools, waiting, running, past: Vec::new(), next: 0 }
    }

    fn candidate(&mut self) -> Candidate {
        let dice = &mut self.dice;
        self.next += 1;
        let pick = |dice: &mut Dice, of: &[&str]| {
            of[usize::try_from(dice.below(of.len() as u64)).unwrap()].to_owned()
        };
        let slot = dice.once_in(4);
        let mut demand = if slot {
            Demand::on_one_node(Resources::of_slots(1))
        } else {
            Demand::on_one_node(Resources::new(1 + dice.below(8), (1 + dice.below(8)) * GIB))
        };
        if !slot && dice.once_in(4) {
            let (min, more) = (u32::try_from(dice.below(3)).unwrap(), u32::try_from(dice.below(4)).unwrap());
            demand.executors = Executors { each: Resources::new(2, GIB), min, max: min + more };
        }
        if !slot && dice.once_in(8) {
            let executors = Executors {
                each: Resources::new(dice.below(10), 0),
                min: 1,
                max: 1 + u32::try_from(dice.below(3)).unwrap(),
            };
            demand.elsewhere = Some(Elsewhere { cluster: "yarn".into(), executors });
        }
        let length = 1 + i64::try_from(dice.below(600)).unwrap();
        let at_most = (!dice.once_in(10)).then_some(length * SECOND);
        Candidate {
            id: id(self.next),
            queue: pick(dice, &["a", "b", "c"]),
            tenant: pick(dice, &["t1", "t2"]),
            user: pick(dice, &["ann", "bob", "cy"]),
            priority: 1 + u8::try_from(dice.below(10)).unwrap(),
            since: self.now,
            mode: if slot { Mode::InCluster } else { Mode::SparkSubmit },
            pool: if slot { "server" } else { "hosts" }.into(),
            demand,
            run_time: RunTime { expected: at_most, at_most },
        }
    }

    /// Something happens, not a pass.
    pub fn step(&mut self) {
        self.now = self.now.plus_micros(i64::try_from(self.dice.below(60)).unwrap() * SECOND);
        self.scheduler.advance(self.now);
        match self.dice.below(10) {
            0..=4 => {
                for _ in 0..=self.dice.below(3) {
                    let job = self.candidate();
                    self.scheduler.queued(&job);
                    self.waiting.insert(job.id, job);
                }
            }
            5..=7 => {
                let over: Vec<JobId> =
                    self.running.iter().filter(|(_, r)| r.ends <= self.now).map(|(id, _)| *id).collect();
                for id in over {
                    self.end(id);
                }
            }
            8 => {
                let n = usize::try_from(self.dice.below(20)).unwrap();
                if let Some(id) = self.waiting.keys().nth(n).copied() {
                    self.waiting.remove(&id);
                    self.scheduler.left(id);
                }
            }
            _ => {
                let n = usize::try_from(self.dice.below(10)).unwrap();
                if let Some(id) = self.running.keys().nth(n).copied() {
                    self.end(id);
                }
            }
        }
    }

    pub fn end(&mut self, id: JobId) {
        let Some(gone) = self.running.remove(&id) else { return };
        self.past.push(Self::span(&gone, Some(self.now)));
        self.scheduler.ended(id);
    }

    fn span(runs: &Runs, to: Option<Timestamp>) -> Remembered {
        Remembered {
            pool: runs.job.pool.clone(),
            queue: runs.job.queue.clone(),
            tenant: runs.job.tenant.clone(),
            user: runs.job.user.clone(),
            past: Past::Span { held: runs.held, from: runs.from, to },
        }
    }

    /// A pass; the books follow.
    pub fn pass(&mut self) -> Vec<Decision> {
        let decisions = self.scheduler.pass(self.now);
        for d in &decisions {
            let job = self.waiting.remove(&d.job).expect("only what waits starts");
            let length = job.run_time.at_most.unwrap_or(5_000 * SECOND);
            let runs = Runs {
                node: d.node.clone(),
                executors: d.executors.clone(),
                held: job.demand.reserve(),
                from: self.now,
                ends: self.now.plus_micros(length),
                job,
            };
            self.running.insert(d.job, runs);
        }
        decisions
    }

    /// What the store would tell a new leader, with the reservations of the old one.
    pub fn store(&self) -> Snapshot {
        let running = self.running.values().map(|r| Self::span(r, None));
        Snapshot { memory: self.past.iter().cloned().chain(running).collect(), ..self.scheduler.snapshot() }
    }

    fn on_node(&self, node: &str) -> Resources {
        let mut sum = Resources::default();
        for r in self.running.values() {
            if r.node == node {
                sum = sum.plus(r.job.demand.driver);
            }
            for (_, n) in r.executors.iter().filter(|(name, _)| name == node) {
                sum = sum.plus(r.job.demand.executors.each.times(*n));
            }
        }
        sum
    }

    /// Free on each node of a pool, by these books.
    pub fn free(&self, pool: &str) -> Vec<Resources> {
        let pool = self.pools.iter().find(|p| p.name == pool).expect("a pool");
        pool.nodes.iter().map(|n| n.capacity.minus(self.on_node(&n.name))).collect()
    }

    pub fn scopes(job: &Candidate) -> Vec<Scope> {
        let mut scopes = vec![
            Scope::All,
            Scope::Mode(job.mode),
            Scope::Queue(job.queue.clone()),
            Scope::Tenant(job.tenant.clone()),
            Scope::User(job.tenant.clone(), job.user.clone()),
        ];
        scopes.extend(job.demand.elsewhere.as_ref().map(|e| Scope::Cluster(e.cluster.clone())));
        scopes
    }

    fn counts(job: &Candidate, scope: &Scope) -> Resources {
        match scope {
            Scope::Cluster(_) => job.demand.taken_elsewhere(),
            _ => job.demand.counted(),
        }
    }

    /// What would be held in a scope with `more`.
    fn exceeds(&self, scope: &Scope, more: Option<&Candidate>) -> bool {
        let jobs = self.running.values().map(|r| &r.job).chain(more);
        let inside: Vec<&Candidate> = jobs.filter(|j| Self::scopes(j).contains(scope)).collect();
        let sum = inside.iter().fold(Resources::default(), |sum, j| sum.plus(Self::counts(j, scope)));
        let q = self.policy.limits(scope).running;
        let over = |most: Option<u64>, have: u64| most.is_some_and(|most| have > most);
        over(q.jobs, inside.len() as u64) || over(q.cores, sum.cores) || over(q.memory, sum.memory)
    }

    /// Every limit under which a job was admitted just now must hold.
    pub fn check_limits(&self, decisions: &[Decision]) {
        for d in decisions {
            let runs = &self.running[&d.job];
            let pool = self.pools.iter().find(|p| p.name == runs.job.pool).unwrap();
            for name in [&d.node].into_iter().chain(d.executors.iter().map(|e| &e.0)) {
                let node = pool.nodes.iter().find(|n| n.name == *name).unwrap();
                let held = self.on_node(name);
                assert!(held.fits(&node.capacity), "{name}: {held:?} of {:?}", node.capacity);
            }
            for scope in Self::scopes(&runs.job) {
                assert!(!self.exceeds(&scope, None), "{scope:?} is exceeded by {}", d.job);
            }
        }
    }

    /// True when a job without executors fits somewhere, by these books, and no limit speaks against it.
    pub fn fits(&self, job: &Candidate) -> bool {
        let room = self.free(&job.pool).iter().any(|free| job.demand.driver.fits(free));
        room && !Self::scopes(job).iter().any(|s| self.exceeds(s, Some(job)))
    }
}
