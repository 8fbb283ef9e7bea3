//! What bounds a job, and what jobs hold: one that never fits is refused at once (contract R2, R3). Whose turn it is among
//! the others is told by [`crate::turn`].
//!
//! Usage is derived from the jobs that hold resources, never from a counter that could leak (contract R4).

use std::collections::BTreeMap;

use crate::memory;
use crate::mode::Mode;
use crate::requirement::Requirement;

/// The key of the cores that jobs may use on a host.
const CPU_LIMIT: &str = "libra.resources.limits.cpu-cores";
/// The key of the memory that jobs may use on a host.
const MEMORY_LIMIT: &str = "libra.resources.limits.memory-gb";

/// What one execution mode allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModeQuota {
    /// Executors of one job.
    pub max_executors_per_job: u32,
    /// Heap of one executor, in bytes.
    pub max_memory_per_executor: u64,
    /// Cores of one executor; None = any.
    pub max_cores_per_executor: Option<u32>,
    /// Jobs that run at once.
    pub max_concurrent_jobs: u32,
}

/// Everything that bounds admission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Cores of this host.
    pub host_cores: u64,
    /// Memory of this host, in bytes.
    pub host_memory: u64,
    /// Cores that the shared server takes from the host, once.
    pub server_cores: u64,
    /// Memory that the shared server takes from the host, once, in bytes.
    pub server_memory: u64,
    /// One entry for each enabled mode.
    pub modes: BTreeMap<Mode, ModeQuota>,
    /// Jobs that run at once in all modes together; None = any number.
    pub max_jobs: Option<u32>,
    /// Jobs that may wait.
    pub max_queued: u64,
}

impl Limits {
    /// Cores left for jobs with a process of their own.
    pub fn cores_for_jobs(&self) -> u64 {
        self.host_cores.saturating_sub(self.server_cores)
    }
    /// Bytes left for jobs with a process of their own.
    pub fn memory_for_jobs(&self) -> u64 {
        self.host_memory.saturating_sub(self.server_memory)
    }
}

/// A machine on which jobs may run at present, and what it has for them (contract R2: limits are per host).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its name.
    pub machine: String,
    /// Cores for jobs with a process of their own.
    pub cores: u64,
    /// Memory for jobs with a process of their own, in bytes.
    pub memory: u64,
}

/// What the jobs on one machine hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OnHost {
    /// Cores.
    pub cores: u64,
    /// Memory, in bytes.
    pub memory: u64,
    /// Jobs.
    pub jobs: u32,
}

/// What the running jobs hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// By machine.
    pub hosts: BTreeMap<String, OnHost>,
    /// Jobs by mode.
    pub jobs: BTreeMap<Mode, u32>,
    /// Executors by mode, wherever they are.
    pub executors: BTreeMap<Mode, u64>,
}

impl Usage {
    /// The sum over all jobs that hold resources, each with its machine.
    pub fn of<'a>(running: impl IntoIterator<Item = (Mode, Requirement, Option<&'a str>)>) -> Self {
        let mut usage = Self::default();
        for (mode, needed, machine) in running {
            usage.add(mode, &needed, machine.unwrap_or_default());
        }
        usage
    }

    /// What is held on one machine.
    pub fn on(&self, machine: &str) -> OnHost {
        self.hosts.get(machine).copied().unwrap_or_default()
    }

    fn add(&mut self, mode: Mode, needed: &Requirement, machine: &str) {
        let host = self.hosts.entry(machine.to_owned()).or_default();
        // What runs on a cluster of Slurm holds nothing of the machine that looks after it.
        if mode != Mode::Slurm {
            host.cores += needed.host_cores();
            host.memory = host.memory.saturating_add(needed.host_memory());
        }
        host.jobs += 1;
        *self.jobs.entry(mode).or_default() += 1;
        *self.executors.entry(mode).or_default() += u64::from(needed.executors);
    }
}

/// A limit that stands in the way, with its figures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// The limit's configuration key.
    pub limit: String,
    /// In words, with figures.
    pub message: String,
}

/// The limit that `needed` can never meet, if there is one (contract R3: 422 at once, naming the limit).
pub fn never_fits(mode: Mode, needed: &Requirement, limits: &Limits, hosts: &[Host]) -> Option<Blocked> {
    let Some(quota) = limits.modes.get(&mode) else {
        return Some(Blocked {
            limit: format!("libra.execution.modes.{}.enabled", mode.as_str()),
            message: format!("the execution mode {} is not enabled", mode.as_str()),
        });
    };
    let quota_key = |name: &str| format!("libra.resources.quotas.{}.{name}", mode.as_str());
    if needed.executors > quota.max_executors_per_job {
        return Some(Blocked {
            limit: quota_key("max-executors-per-job"),
            message: format!(
                "asks for {} executors; a {} job may have {}",
                needed.executors,
                mode.as_str(),
                quota.max_executors_per_job
            ),
        });
    }
    if needed.executor_heap > quota.max_memory_per_executor {
        return Some(Blocked {
            limit: quota_key("max-memory-per-executor"),
            message: format!(
                "asks for {} per executor; a {} job may have {}",
                memory::display(needed.executor_heap),
                mode.as_str(),
                memory::display(quota.max_memory_per_executor)
            ),
        });
    }
    if let Some(most) = quota.max_cores_per_executor
        && needed.executor_cores > most
    {
        return Some(Blocked {
            limit: quota_key("max-cores-per-executor"),
            message: format!(
                "asks for {} cores per executor; a {} job may have {most}",
                needed.executor_cores,
                mode.as_str()
            ),
        });
    }
    if quota.max_concurrent_jobs == 0 {
        return Some(Blocked {
            limit: quota_key("max-concurrent-jobs"),
            message: format!("{} jobs are limited to none at once", mode.as_str()),
        });
    }
    // A batch scheduler has machines of its own.
    if mode == Mode::Slurm { None } else { hosts_too_small(needed, hosts) }
}

/// Why no machine is large enough even when nothing else runs.
fn hosts_too_small(needed: &Requirement, hosts: &[Host]) -> Option<Blocked> {
    let (cores, memory) = (needed.host_cores(), needed.host_memory());
    if hosts.iter().any(|h| h.cores >= cores && h.memory >= memory) {
        return None;
    }
    let most_cores = hosts.iter().map(|h| h.cores).max().unwrap_or(0);
    if cores > most_cores {
        return Some(Blocked {
            limit: CPU_LIMIT.into(),
            message: format!("needs {cores} cores on one host; jobs may use {most_cores}"),
        });
    }
    // With several hosts, the largest memory among those that have the cores.
    let most = hosts.iter().filter(|h| h.cores >= cores).map(|h| h.memory).max().unwrap_or(0);
    Some(Blocked {
        limit: MEMORY_LIMIT.into(),
        message: format!(
            "needs {} of memory on one host; jobs may use {}",
            memory::display(memory),
            memory::display(most)
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::GIB;

    fn limits() -> Limits {
        let quota = |executors, heap, jobs| ModeQuota {
            max_executors_per_job: executors,
            max_memory_per_executor: heap * GIB,
            max_cores_per_executor: None,
            max_concurrent_jobs: jobs,
        };
        Limits {
            host_cores: 8,
            host_memory: 16 * GIB,
            server_cores: 0,
            server_memory: 2 * GIB,
            modes: [(Mode::InCluster, quota(5, 4, 2)), (Mode::SparkSubmit, quota(20, 16, 5))].into(),
            max_jobs: None,
            max_queued: 1000,
        }
    }

    fn hosts() -> Vec<Host> {
        let l = limits();
        vec![Host { machine: "m".into(), cores: l.cores_for_jobs(), memory: l.memory_for_jobs() }]
    }

    fn process(cores: u32, gib: u64) -> Requirement {
        Requirement {
            driver_cores: cores,
            driver_memory: gib * GIB,
            executors_here: true,
            ..Requirement::default()
        }
    }

    fn slot() -> Requirement {
        Requirement { shared_server: true, ..process(1, 1) }
    }

    fn never(mode: Mode, needed: &Requirement) -> String {
        never_fits(mode, needed, &limits(), &hosts()).map(|b| b.limit).unwrap_or_default()
    }

    #[test]
    fn what_can_never_fit_names_its_limit() {
        // contract: R3
        assert_eq!(never(Mode::SparkSubmit, &process(8, 14)), "");
        assert_eq!(never(Mode::SparkSubmit, &process(9, 1)), "libra.resources.limits.cpu-cores");
        assert_eq!(never(Mode::SparkSubmit, &process(1, 15)), "libra.resources.limits.memory-gb");
        assert_eq!(never(Mode::Kubernetes, &slot()), "libra.execution.modes.kubernetes.enabled");
        let many = Requirement { executors: 6, ..slot() };
        assert_eq!(never(Mode::InCluster, &many), "libra.resources.quotas.in-cluster.max-executors-per-job");
        let fat = Requirement { executors: 1, executor_heap: 5 * GIB, ..slot() };
        assert_eq!(never(Mode::InCluster, &fat), "libra.resources.quotas.in-cluster.max-memory-per-executor");
    }

    #[test]
    fn one_host_that_is_large_enough_will_do() {
        // contract: R2
        let host = |machine: &str, cores| Host { machine: machine.into(), cores, memory: 8 * GIB };
        let large = process(8, 1);
        let fits = |hosts: &[Host]| never_fits(Mode::SparkSubmit, &large, &limits(), hosts).is_none();
        assert!(fits(&[host("a", 4), host("b", 8)]));
        assert!(!fits(&[host("a", 4), host("b", 4)]));
        assert!(!fits(&[]));
    }
}
