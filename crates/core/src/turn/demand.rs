//! What a job asks for, and what there is.

use super::resources::{Dimension, Resources};
use crate::id::JobId;
use crate::mode::Mode;
use crate::requirement::Requirement;
use crate::time::Timestamp;

/// A span of time in microseconds.
pub type Micros = i64;

/// Executors that a driver asks for once it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Executors {
    /// What each one takes, on one node.
    pub each: Resources,
    /// So many are kept for the job from its start.
    pub min: u32,
    /// It may grow to so many (dynamic allocation); what it grew to is counted once seen.
    pub max: u32,
}

impl Executors {
    /// Those of a Spark job. A standalone master counts their heap alone.
    fn of(needed: &Requirement) -> Self {
        let memory = if needed.standalone { needed.executor_heap } else { needed.executor_memory };
        Self {
            each: Resources {
                gpus: u64::from(needed.executor_gpus),
                ..Resources::new(u64::from(needed.executor_cores), memory)
            },
            min: needed.least_executors.unwrap_or(needed.executors),
            max: needed.executors,
        }
    }

    /// How many are reserved: the least number, and at least one when the job may have any. A driver without room for
    /// a single executor waits for ever, together with all others like it.
    pub fn reserved(&self) -> u32 {
        if self.max == 0 { self.min } else { self.min.max(1) }
    }
}

/// What a job takes from a cluster that is no pool of ours: a standalone master, YARN. Held against
/// [`super::Policy::clusters`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Elsewhere {
    /// The cluster's name.
    pub cluster: String,
    /// Its executors there.
    pub executors: Executors,
}

impl Elsewhere {
    /// What is held there from the start.
    pub fn reserve(&self) -> Resources {
        self.executors.each.times(self.executors.reserved())
    }
}

/// What a job needs in order to start.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Demand {
    /// Held on one node of the pool from the start: the driver, with a local master the whole job, in a shared server
    /// one slot.
    pub driver: Resources,
    /// Executors in the same pool, on any of its nodes.
    pub executors: Executors,
    /// What it takes outside of the pool.
    pub elsewhere: Option<Elsewhere>,
}

impl Demand {
    /// A job on one node, without executors of its own.
    pub fn on_one_node(driver: Resources) -> Self {
        Self { driver, ..Self::default() }
    }

    /// What a Spark job takes from the pool of its mode: a slot of the shared server; or, on a host, its driver, and with
    /// a local master all of it; or driver and executors as processes of a cluster that is the mode's own pool. Executors
    /// on another master's cluster count there: on `cluster`, where that has a name here, else on one that nobody limits. A run
    /// of a deployment takes its task slots, and a job of a batch scheduler a slot.
    pub fn of(needed: &Requirement, mode: Mode, cluster: Option<&str>) -> Self {
        if needed.shared_server {
            return Self::on_one_node(Resources::of_slots(1));
        }
        match mode {
            Mode::InCluster | Mode::SparkSubmit => Self {
                elsewhere: (!needed.executors_here && needed.executors > 0).then(|| Elsewhere {
                    cluster: cluster.unwrap_or_default().to_owned(),
                    executors: Executors::of(needed),
                }),
                ..Self::on_one_node(Resources::new(needed.host_cores(), needed.host_memory()))
            },
            Mode::Kubernetes => Self {
                driver: Resources::new(u64::from(needed.driver_cores), needed.driver_memory),
                executors: Executors::of(needed),
                elsewhere: None,
            },
            // What it takes there is the scheduler's business; here it is one of so many.
            Mode::Slurm => Self::on_one_node(Resources::of_slots(1)),
            Mode::Flink => Self::on_one_node(Resources::of_slots(u64::from(needed.slots))),
        }
    }

    /// True when the job may have more executors than it began with. On a cluster of others nobody but they can say that it
    /// has not.
    pub fn may_grow(&self) -> bool {
        self.elsewhere.is_some() || self.executors.max > self.executors.reserved()
    }

    /// All that is held in the pool from the start.
    pub fn reserve(&self) -> Resources {
        self.driver.plus(self.executors.each.times(self.executors.reserved()))
    }

    /// All that counts against limits: the reserve, and what is taken elsewhere.
    pub fn counted(&self) -> Resources {
        self.reserve().plus(self.taken_elsewhere())
    }

    /// What is held outside of the pool from the start.
    pub fn taken_elsewhere(&self) -> Resources {
        self.elsewhere.as_ref().map(Elsewhere::reserve).unwrap_or_default()
    }
}

/// How long a job runs, as far as is known. In microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunTime {
    /// As long as it will probably take; estimates of starts use it.
    pub expected: Option<Micros>,
    /// It does not take longer, as far as is known: its time limit, or what was learned of its like. Reservations and
    /// backfill use it. None = it may run for ever.
    pub at_most: Option<Micros>,
}

impl RunTime {
    /// Known exactly, or taken to be.
    pub const fn exactly(micros: Micros) -> Self {
        Self { expected: Some(micros), at_most: Some(micros) }
    }
}

/// A job that waits for its turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The job.
    pub id: JobId,
    /// Its queue.
    pub queue: String,
    /// Its tenant.
    pub tenant: String,
    /// Its user.
    pub user: String,
    /// 1–10, higher first.
    pub priority: u8,
    /// Since when it waits; earlier first.
    pub since: Timestamp,
    /// Where it is to run.
    pub mode: Mode,
    /// The pool that it draws on.
    pub pool: String,
    /// What it needs.
    pub demand: Demand,
    /// How long it runs.
    pub run_time: RunTime,
}

/// One machine, server or quota that a driver or an executor must fit on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name: the machine's for hosts.
    pub name: String,
    /// All that jobs may use of it.
    pub capacity: Resources,
}

/// The configuration keys by which a shortage is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitKeys {
    /// The key of the cores.
    pub cores: String,
    /// The key of the memory.
    pub memory: String,
    /// The key of the GPUs.
    pub gpus: String,
    /// The key of the slots.
    pub slots: String,
}

impl Default for LimitKeys {
    /// The keys of the hosts on which Libra itself runs.
    fn default() -> Self {
        Self {
            cores: "libra.resources.limits.cpu-cores".into(),
            memory: "libra.resources.limits.memory-gb".into(),
            gpus: "libra.resources.limits.gpus".into(),
            slots: "libra.resources.quotas.in-cluster.max-concurrent-jobs".into(),
        }
    }
}

impl LimitKeys {
    /// The key for a dimension.
    pub fn of(&self, dimension: Dimension) -> &str {
        match dimension {
            Dimension::Cores => &self.cores,
            Dimension::Memory => &self.memory,
            Dimension::Gpus => &self.gpus,
            Dimension::Slots => &self.slots,
        }
    }
}

/// Capacity that one or several execution modes draw on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    /// Its name, which candidates give.
    pub name: String,
    /// What it consists of. Each driver and each executor has to fit on one node.
    pub nodes: Vec<Node>,
    /// How its limits are named.
    pub keys: LimitKeys,
}

impl Pool {
    /// A pool that is one node.
    pub fn single(name: &str, capacity: Resources) -> Self {
        Self { name: name.into(), nodes: vec![Node { name: name.into(), capacity }], ..Self::default() }
    }

    /// All nodes together.
    pub fn capacity(&self) -> Resources {
        self.nodes.iter().fold(Resources::default(), |sum, n| sum.plus(n.capacity))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_is_never_admitted_without_an_executor() {
        let each = Resources::new(2, 1);
        let demand = |min, max| Demand {
            driver: Resources::new(1, 1),
            executors: Executors { each, min, max },
            elsewhere: None,
        };
        assert_eq!(demand(0, 8).reserve().cores, 3, "one executor, although none is asked for at least");
        assert_eq!(demand(3, 8).reserve().cores, 7);
        assert_eq!(demand(0, 0).reserve().cores, 1);
    }
}
