//! The rules that bind turns, and how jobs and hosts look to the scheduler.

use std::collections::BTreeMap;

use libra_core::admission::{Host, Limits};
use libra_core::job::{Job, TimeLimits};
use libra_core::mode::Mode;
use libra_core::time::MICROS_PER_SECOND;
use libra_core::turn::{
    Candidate, DEFAULT_QUEUE, Demand, Holding, Learned, LimitKeys, Micros, Node, Policy, Pool, Quota,
    Resources,
};
use libra_store::tables::turns::Brief;

use crate::config::{Cluster, Config, QueueTimes};

/// The pool of jobs with a process of their own.
const HOSTS: &str = "hosts";
/// The slots of a cluster of which nobody has said how many may be held: more than there will ever be.
pub(crate) const ANY_SLOTS: u64 = u32::MAX as u64;

/// What an operator has set, as of now.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rules {
    /// What bounds a job of each mode, this host, and the queue.
    pub(crate) limits: Limits,
    /// Shares, and what modes, queues, tenants and users may have.
    pub(crate) policy: Policy,
    /// Time limits of the jobs of a queue that name none.
    pub(crate) queue_times: BTreeMap<String, QueueTimes>,
    /// Where drivers may have their executors, by name.
    pub(crate) clusters: BTreeMap<String, Cluster>,
    /// Flink clusters, by name, and the slots that runs of deployments may hold there.
    pub(crate) flink: BTreeMap<String, Option<u32>>,
}

impl Rules {
    /// The rules of a configuration.
    pub(crate) fn of(config: &Config) -> Self {
        let mut rules = Self {
            limits: config.limits.clone(),
            policy: config.policy.clone(),
            queue_times: config.queue_times.clone(),
            clusters: config.clusters.clone(),
            flink: config
                .flink
                .clusters
                .iter()
                .map(|cluster| (cluster.name.clone(), cluster.max_slots))
                .collect(),
        };
        for (name, cluster) in &config.clusters {
            rules.policy.clusters.insert(name.clone(), cluster.limits);
            if cluster.web_url.is_some() {
                // Nothing, until it has answered: too little is admitted rather than too much.
                rules.policy.workers.insert(name.clone(), Resources::default());
            }
        }
        rules.rebind_modes();
        rules
    }

    /// Puts what the limits say of modes into the policy.
    pub(crate) fn rebind_modes(&mut self) {
        self.policy.all.jobs = self.limits.max_jobs.map(u64::from);
        for mode in Mode::ALL {
            // A mode that was disabled while jobs waited for it starts none of them.
            // What binds runs of deployments is their cluster.
            if mode == Mode::Flink {
                continue;
            }
            let quota = self.limits.modes.get(&mode);
            let jobs = quota.map_or(0, |quota| u64::from(quota.max_concurrent_jobs));
            self.policy.modes.insert(mode, Quota { jobs: Some(jobs), ..Quota::default() });
        }
    }

    /// What there is, on these hosts.
    pub(super) fn pools(&self, hosts: &[Host]) -> Vec<Pool> {
        let pool = |name: &str, capacity: &dyn Fn(&Host) -> Resources| {
            let node = |host: &Host| Node { name: host.machine.clone(), capacity: capacity(host) };
            let mut nodes: Vec<Node> = hosts.iter().map(node).collect();
            nodes.sort_by(|a, b| a.name.cmp(&b.name));
            Pool { name: name.to_owned(), nodes, keys: LimitKeys::default() }
        };
        let slots = |mode| {
            let quota = self.limits.modes.get(&mode);
            Resources::of_slots(quota.map_or(0, |quota| u64::from(quota.max_concurrent_jobs)))
        };
        let flink = self.flink.iter().map(|(name, most)| Pool {
            keys: LimitKeys { slots: slots_key(name), ..LimitKeys::default() },
            ..Pool::single(&flink_pool(name), Resources::of_slots(most.map_or(ANY_SLOTS, u64::from)))
        });
        let here = [
            pool(Mode::InCluster.as_str(), &|_| slots(Mode::InCluster)),
            pool(HOSTS, &|host| Resources::new(host.cores, host.memory)),
            // What is free there, Slurm knows; how many jobs it is given at once is a limit of the mode. Any host tells it.
            pool(Mode::Slurm.as_str(), &|_| Resources::of_slots(ANY_SLOTS)),
        ];
        here.into_iter().chain(flink).collect()
    }

    /// The key of the slots of a Flink cluster and how many there are, where a run that needs `slots` never fits.
    pub(crate) fn too_many_slots(&self, cluster: &str, slots: u32) -> Option<(String, u32)> {
        let most = self.flink.get(cluster).copied().flatten()?;
        (slots > most).then(|| (slots_key(cluster), most))
    }
}

impl Rules {
    /// The cluster at this Spark master.
    pub(crate) fn cluster_at(&self, master: &str) -> Option<&str> {
        let same = |cluster: &Cluster| parts_of(&cluster.master) == parts_of(master);
        self.clusters.iter().find(|(_, cluster)| same(cluster)).map(|(name, _)| name.as_str())
    }
}

/// A master whose parts come in any order (`spark://a:7077,b:7077`), and whose case does not count.
fn parts_of(master: &str) -> Vec<String> {
    let lower = master.trim().to_ascii_lowercase();
    let mut parts: Vec<String> = lower.trim_start_matches("spark://").split(',').map(str::to_owned).collect();
    parts.sort_unstable();
    parts
}

/// The pool that jobs of a mode draw on; each Flink cluster is one.
pub(super) fn pool_of(mode: Mode, cluster: Option<&str>) -> String {
    match mode {
        Mode::InCluster | Mode::Kubernetes | Mode::Slurm => mode.as_str().to_owned(),
        Mode::SparkSubmit => HOSTS.to_owned(),
        Mode::Flink => flink_pool(cluster.unwrap_or_default()),
    }
}

/// The pool of a Flink cluster, and its one node.
pub(crate) fn flink_pool(cluster: &str) -> String {
    format!("{}:{cluster}", Mode::Flink.as_str())
}

fn slots_key(cluster: &str) -> String {
    format!("libra.flink.clusters.{cluster}.max-slots")
}

/// The queue of a job that names this one, or none.
pub(crate) fn queue_of(named: Option<&str>) -> &str {
    named.unwrap_or(DEFAULT_QUEUE)
}

/// A waiting job as the scheduler sees it. What is learned of a job's like is kept by its name; nothing is learned of jobs
/// without one.
pub(super) fn candidate(job: &Brief, learned: &Learned) -> Candidate {
    let name = job.name.as_deref().unwrap_or_default();
    Candidate {
        id: job.id,
        queue: queue_of(job.queue.as_deref()).to_owned(),
        tenant: job.tenant.clone(),
        user: job.user.clone(),
        priority: job.priority,
        since: job.queued_at.unwrap_or_else(|| job.id.made_at()),
        mode: job.mode,
        pool: pool_of(job.mode, job.cluster.as_deref()),
        demand: Demand::of(&job.needed, job.mode, job.cluster.as_deref()),
        run_time: learned.estimate(&job.tenant, &job.user, name, limit(job.limits)).run_time,
    }
}

/// A job that is about to be stored, with what was learned of its like.
pub(super) fn new_candidate(job: &Job, learned: &Learned) -> Candidate {
    let brief = Brief {
        id: job.id,
        revision: job.revision,
        state: job.state,
        attempt: job.attempt,
        user: job.user.clone(),
        tenant: job.tenant.clone(),
        mode: job.mode,
        queue: job.spec.queue.clone(),
        cluster: job.spec.cluster.clone(),
        name: job.spec.name.clone(),
        priority: job.spec.priority,
        needed: job.requirement,
        limits: job.limits,
        queued_at: job.queued_at,
        scheduled_at: None,
        started_at: None,
        completed_at: None,
        host: None,
    };
    candidate(&brief, learned)
}

fn limit(limits: TimeLimits) -> Option<Micros> {
    limits.run_seconds.map(|seconds| seconds.saturating_mul(MICROS_PER_SECOND))
}

/// A job that holds resources as the scheduler sees it.
pub(super) fn holding(job: &Brief, learned: &Learned) -> Holding {
    let candidate = candidate(job, learned);
    let node = job.host.clone().unwrap_or_default();
    let reserved = candidate.demand.executors.reserved();
    Holding {
        executors: if reserved > 0 { vec![(node.clone(), reserved)] } else { Vec::new() },
        node,
        since: job.started_at.or(job.scheduled_at).unwrap_or(candidate.since),
        admitted: job.scheduled_at.unwrap_or(candidate.since),
        elsewhere: Resources::default(),
        candidate,
    }
}

/// What an ended job held, from its last admission to its end.
pub(super) fn held(job: &Brief) -> Resources {
    Demand::of(&job.needed, job.mode, None).reserve()
}
