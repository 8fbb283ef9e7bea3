//! How a Spark job stands in an allocation of its own: the driver and a standalone master on the first node, a worker on
//! every node that has executors.

use std::collections::BTreeMap;

use super::Allocation;
use crate::memory::MIB;
use crate::requirement::{Requirement, Surroundings, requirement};

/// The heap of a master and of a worker, in MiB.
pub const DAEMON_HEAP_MB: u64 = 256;
/// What a master and a worker are given beside executors and driver, in MiB.
pub const DAEMON_MB: u64 = 512;
/// The least heap of an executor, in MiB. Spark itself refuses less than 450.
const LEAST_HEAP_MB: u64 = 512;
/// The largest heap that is looked for in what a node has, in MiB.
const MOST_HEAP_MB: u64 = 1 << 30;
/// Executors of a job that names neither them nor processors (contract R1), unless it has more nodes.
const USUAL_EXECUTORS: u32 = 2;
/// Stands for the master that is found in the allocation.
pub const MASTER: &str = "spark://allocation:1";

/// What a worker offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// Processors; 0 where there is no worker.
    pub cores: u32,
    /// Memory in MiB.
    pub memory_mb: u64,
}

/// Who stands where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Nodes.
    pub nodes: u32,
    /// Processors of each node.
    pub cpus: u32,
    /// Memory of each node, in MiB.
    pub memory_mb: u64,
    /// The worker beside the driver.
    pub first: Offer,
    /// The worker of each other node.
    pub others: Offer,
    /// Cores of an executor; None: it has all those of its node.
    pub executor_cores: Option<u32>,
    /// Heap of an executor, in MiB.
    pub executor_heap_mb: u64,
    /// Cores of all executors.
    pub cores: u32,
}

/// Why a job does not fit into what it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// The field of the submission, a JSON pointer.
    pub pointer: String,
    /// What is wrong and what to do.
    pub reason: String,
}

impl Misfit {
    fn at(pointer: &str, reason: impl Into<String>) -> Self {
        Self { pointer: pointer.to_owned(), reason: reason.into() }
    }

    fn of_setting(key: &str, reason: impl Into<String>) -> Self {
        Self::at(&format!("/sparkConfig/{}", key.replace('~', "~0").replace('/', "~1")), reason)
    }
}

impl Layout {
    /// Finds who stands where. What the allocation asks for is shared out among driver and executors; what it leaves open
    /// follows from Spark's settings, and those that are absent from the allocation.
    ///
    /// # Errors
    /// The first thing that can't be read, or that does not fit.
    pub fn of(config: &BTreeMap<String, String>, asked: &Allocation) -> Result<Self, Misfit> {
        let for_scripts = [
            ("/slurm/array", asked.array.is_some(), "is for scripts; a Spark job is one job"),
            (
                "/slurm/maxNodes",
                asked.max_nodes.is_some(),
                "is for scripts; a Spark job has as many nodes as its workers need",
            ),
            (
                "/slurm/tasksPerNode",
                asked.tasks_per_node.is_some(),
                "is for scripts; ask for `tasks` and `cpusPerTask`",
            ),
            (
                "/slurm/memoryPerCpuMb",
                asked.memory_per_cpu_mb.is_some(),
                "is for scripts; ask for `memoryMb`, of a node",
            ),
            (
                "/slurm/signal",
                asked.signal.is_some(),
                "is for scripts; a Spark job does not know what to do with it",
            ),
        ];
        if let Some((pointer, _, reason)) = for_scripts.into_iter().find(|(_, given, _)| *given) {
            return Err(Misfit::at(pointer, reason));
        }
        let needed = needed(config, None)?;
        if needed.executor_gpus > 0 {
            return Err(Misfit::of_setting(
                "spark.executor.resource.gpu.amount",
                "is not shared out in mode slurm; ask for `slurm.gpus`: executors see the GPUs of their node",
            ));
        }
        let room = Room::of(config, asked, needed);
        let (executor_cores, count) = room.executors()?;
        let (first, other) = room.spread(executor_cores, count)?;
        let cpus = room.cpus.unwrap_or_else(|| {
            let each = executor_cores.unwrap_or(1);
            room.least_cpus(first, other, each)
        });
        let (heap_mb, each_mb) = room.memory_of_each(first, other)?;
        let memory_mb = room.memory_mb.unwrap_or_else(|| room.least_memory_mb(first, other, each_mb));
        let offer = |executors: u32, all: u32| Offer {
            cores: executor_cores
                .map_or(if executors > 0 { all } else { 0 }, |each| executors.saturating_mul(each)),
            memory_mb: u64::from(executors).saturating_mul(each_mb),
        };
        let (first, others) = (offer(first, room.first_cores(cpus)), offer(other, cpus));
        let offered = first.cores.saturating_add(others.cores.saturating_mul(room.nodes - 1));
        let cores = executor_cores.map_or(offered, |each| count.saturating_mul(each).min(offered));
        Ok(Self {
            nodes: room.nodes,
            cpus,
            memory_mb,
            first,
            others,
            executor_cores,
            executor_heap_mb: heap_mb,
            cores,
        })
    }

    /// What is asked of the scheduler: `asked`, and what follows.
    #[must_use]
    pub fn allocation(&self, asked: &Allocation) -> Allocation {
        Allocation {
            nodes: Some(self.nodes),
            // One task a node: so its processors are where its worker is.
            tasks: Some(self.nodes),
            cpus_per_task: Some(self.cpus),
            memory_mb: Some(self.memory_mb),
            ..asked.clone()
        }
    }

    /// Settings that follow; those that the job has itself count before them.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let mut all = vec![
            ("spark.executor.memory", format!("{}m", self.executor_heap_mb)),
            ("spark.cores.max", self.cores.to_string()),
        ];
        all.extend(self.executor_cores.map(|cores| ("spark.executor.cores", cores.to_string())));
        all
    }

    /// Workers.
    pub fn workers(&self) -> u32 {
        let of = |offer: Offer, nodes: u32| if offer.cores > 0 { nodes } else { 0 };
        of(self.first, 1) + of(self.others, self.nodes - 1)
    }
}

/// What a job with these settings needs of a standalone cluster, with another heap where one is given.
fn needed(config: &BTreeMap<String, String>, heap_mb: Option<u64>) -> Result<Requirement, Misfit> {
    let mut config = config.clone();
    config.insert("spark.master".to_owned(), MASTER.to_owned());
    if let Some(heap) = heap_mb {
        config.insert("spark.executor.memory".to_owned(), format!("{heap}m"));
    }
    requirement(&config, Surroundings { host_cores: 1, default_master: MASTER }).map_err(|wrong| {
        wrong.first().map_or_else(
            || Misfit::at("/sparkConfig", "can't be read"),
            |bad| Misfit::of_setting(&bad.key, &bad.reason),
        )
    })
}

/// What is there to be shared out, and what is said about it.
struct Room<'a> {
    config: &'a BTreeMap<String, String>,
    nodes: u32,
    /// Processors of a node, where they are asked for, and the field that says so.
    cpus: Option<u32>,
    cpus_field: &'static str,
    memory_mb: Option<u64>,
    driver_cores: u32,
    /// With the master's, in MiB.
    driver_mb: u64,
    executor_mb: u64,
    executor_heap_mb: u64,
    executor_cores: Option<u32>,
    executors: Option<u32>,
    names_heap: bool,
}

impl<'a> Room<'a> {
    fn of(config: &'a BTreeMap<String, String>, asked: &Allocation, needed: Requirement) -> Self {
        let nodes = asked.least_nodes();
        let names_cpus = asked.tasks.is_some() || asked.cpus_per_task.is_some();
        let named = |key: &str| config.contains_key(key);
        let dynamic = needed.least_executors.is_some();
        let names_count = dynamic || named("spark.executor.instances") || named("spark.cores.max");
        Self {
            config,
            nodes,
            cpus: names_cpus.then(|| asked.least_cpus().div_ceil(nodes)),
            cpus_field: if asked.cpus_per_task.is_some() { "/slurm/cpusPerTask" } else { "/slurm/tasks" },
            memory_mb: asked.memory_mb,
            driver_cores: needed.driver_cores,
            driver_mb: needed.driver_memory.div_ceil(MIB) + DAEMON_MB,
            executor_mb: needed.executor_memory.div_ceil(MIB),
            executor_heap_mb: needed.executor_heap.div_ceil(MIB),
            executor_cores: named("spark.executor.cores").then_some(needed.executor_cores),
            executors: names_count.then_some(needed.executors.max(1)),
            names_heap: named("spark.executor.memory"),
        }
    }

    /// Processors that the driver leaves on its node. On a node alone an executor shares the last one with it.
    fn first_cores(&self, cpus: u32) -> u32 {
        cpus.saturating_sub(self.driver_cores).max(u32::from(self.nodes == 1))
    }

    /// Executors for which the memory of a node lasts, beside so much else.
    fn by_memory(&self, beside_mb: u64) -> u32 {
        match self.memory_mb {
            Some(memory) if self.names_heap => {
                let room = memory.saturating_sub(beside_mb + DAEMON_MB) / self.executor_mb.max(1);
                u32::try_from(room).unwrap_or(u32::MAX)
            }
            Some(_) | None => u32::MAX,
        }
    }

    /// Executors that find their place on the first node and on each other one.
    fn places(&self, each: Option<u32>) -> (u32, u32) {
        let by_cores = |cores: u32| match each {
            Some(each) => cores / each.max(1),
            None => cores.min(1),
        };
        let (first, other) = match self.cpus {
            Some(cpus) => (by_cores(self.first_cores(cpus)), by_cores(cpus)),
            None => (u32::MAX, u32::MAX),
        };
        (first.min(self.by_memory(self.driver_mb)), other.min(self.by_memory(0)))
    }

    /// Cores of an executor, and how many executors there are.
    fn executors(&self) -> Result<(Option<u32>, u32), Misfit> {
        let each = match (self.executor_cores, self.cpus, self.executors) {
            (Some(each), _, _) => Some(each),
            (None, Some(cpus), Some(count)) => {
                Some((self.first_cores(cpus) / count.div_ceil(self.nodes)).max(1))
            }
            (None, Some(_), None) => None,
            (None, None, _) => Some(1),
        };
        let count = match (self.executors, self.cpus) {
            (Some(count), _) => count,
            (None, Some(_)) => {
                let (first, other) = self.places(each);
                other.saturating_mul(self.nodes - 1).saturating_add(first)
            }
            (None, None) => USUAL_EXECUTORS.max(self.nodes),
        };
        // One node may be the driver's alone.
        if count < self.nodes - 1 {
            let reason = format!("{} nodes are more than its {count} executors can use", self.nodes);
            return Err(Misfit::at("/slurm/nodes", reason));
        }
        Ok((each, count))
    }

    /// So many of the executors stand on the first node, and at most so many on each other one.
    fn spread(&self, each: Option<u32>, count: u32) -> Result<(u32, u32), Misfit> {
        let (first_places, other_places) = self.places(each);
        let others = self.nodes - 1;
        let other = if others == 0 {
            0
        } else {
            let left = count.saturating_sub(first_places);
            count.div_ceil(self.nodes).max(left.div_ceil(others))
        };
        let first = count.saturating_sub(other.saturating_mul(others));
        if count > 0 && first <= first_places && other <= other_places {
            return Ok((first, other));
        }
        let (first, other) = if count == 0 { (1, 0) } else { (first, other) };
        let (places_by_memory, beside) = (self.by_memory(self.driver_mb), self.by_memory(0));
        if first > places_by_memory || other > beside {
            return Err(self.too_small(first, other));
        }
        let each = each.unwrap_or(1);
        let least = self.least_cpus(first, other, each);
        let reason = format!(
            "{count} executors of {each} cores and a driver of {} need {least} processors on each node, of {}; ask for \
             more of them, or for less in sparkConfig",
            self.driver_cores, self.nodes
        );
        Err(Misfit::at(self.cpus_field, reason))
    }

    /// Processors that a node has to have.
    fn least_cpus(&self, first: u32, other: u32, each: u32) -> u32 {
        first.saturating_mul(each).saturating_add(self.driver_cores).max(other.saturating_mul(each))
    }

    /// Memory that a node has to have, in MiB.
    fn least_memory_mb(&self, first: u32, other: u32, each_mb: u64) -> u64 {
        let of = |executors: u32| match executors {
            0 => 0,
            count => u64::from(count).saturating_mul(each_mb).saturating_add(DAEMON_MB),
        };
        of(first).saturating_add(self.driver_mb).max(of(other))
    }

    /// Heap of an executor, and all that it takes, in MiB.
    fn memory_of_each(&self, first: u32, other: u32) -> Result<(u64, u64), Misfit> {
        let Some(memory) = self.memory_mb else { return Ok((self.executor_heap_mb, self.executor_mb)) };
        let fits = |each_mb: u64| self.least_memory_mb(first, other, each_mb) <= memory;
        if self.names_heap {
            return if fits(self.executor_mb) {
                Ok((self.executor_heap_mb, self.executor_mb))
            } else {
                Err(self.too_small(first, other))
            };
        }
        let total =
            |heap: u64| needed(self.config, Some(heap)).map(|needed| needed.executor_memory.div_ceil(MIB));
        let (mut heap, mut too_much) = (LEAST_HEAP_MB, MOST_HEAP_MB);
        let mut each = total(heap)?;
        if !fits(each) {
            return Err(too_small_for(self.least_memory_mb(first, other, each)));
        }
        while too_much - heap > 1 {
            let middle = heap.midpoint(too_much);
            let all = total(middle)?;
            if fits(all) {
                (heap, each) = (middle, all);
            } else {
                too_much = middle;
            }
        }
        Ok((heap, each))
    }

    fn too_small(&self, first: u32, other: u32) -> Misfit {
        too_small_for(self.least_memory_mb(first, other, self.executor_mb))
    }
}

fn too_small_for(least: u64) -> Misfit {
    let reason = format!(
        "driver, executors, master and worker need {least} MiB on a node; ask for more, or for less in sparkConfig"
    );
    Misfit::at("/slurm/memoryMb", reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(settings: &[(&str, &str)], asked: &Allocation) -> Result<Layout, Misfit> {
        let config = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Layout::of(&config, asked)
    }

    fn refused(settings: &[(&str, &str)], asked: &Allocation) -> String {
        layout(settings, asked).unwrap_err().pointer
    }

    fn nodes(nodes: u32) -> Allocation {
        Allocation { nodes: Some(nodes), ..Allocation::default() }
    }

    /// A driver of 1 GiB, and a master.
    const DRIVER: u64 = 1024 + 384 + DAEMON_MB;
    /// An executor of 1 GiB.
    const EXECUTOR: u64 = 1024 + 384;

    #[test]
    fn the_allocation_follows_from_sparks_settings() {
        let said = layout(&[], &Allocation::default()).unwrap();
        assert_eq!((said.nodes, said.cpus, said.workers()), (1, 3, 1), "two executors and the driver");
        assert_eq!(said.memory_mb, DRIVER + 2 * EXECUTOR + DAEMON_MB);
        let named = [
            ("spark.executor.instances", "5"),
            ("spark.executor.cores", "4"),
            ("spark.executor.memory", "8g"),
            ("spark.driver.cores", "2"),
            ("spark.driver.memory", "2g"),
        ];
        let each = 8 * 1024 + 820;
        let said = layout(&named, &nodes(2)).unwrap();
        assert_eq!(
            (said.first.cores, said.others.cores, said.cpus),
            (8, 12, 12),
            "the driver's node has two"
        );
        assert_eq!((said.others.memory_mb, said.memory_mb), (3 * each, 3 * each + DAEMON_MB));
        assert_eq!((said.cores, said.executor_cores), (20, Some(4)));
        let allocation = said.allocation(&nodes(2));
        assert_eq!((allocation.tasks, allocation.cpus_per_task), (Some(2), Some(12)), "one task a node");
    }

    #[test]
    fn executors_follow_from_the_allocation() {
        let asked =
            Allocation { tasks: Some(8), cpus_per_task: Some(2), memory_mb: Some(16_000), ..nodes(2) };
        let said = layout(&[], &asked).unwrap();
        assert_eq!((said.cpus, said.first.cores, said.others.cores, said.cores), (8, 7, 8, 15));
        assert_eq!((said.executor_cores, said.workers()), (None, 2), "one on each node, with all of it");
        // 10 % of its heap beside it, and the driver on the first node.
        let room = 16_000 - DRIVER - DAEMON_MB;
        assert_eq!(said.executor_heap_mb, room * 10 / 11);
        let alone = Allocation { cpus_per_task: Some(1), ..Allocation::default() };
        assert_eq!(layout(&[], &alone).unwrap().first.cores, 1, "it shares the processor with the driver");
        let said = layout(&[], &Allocation { cpus_per_task: Some(1), ..nodes(3) }).unwrap();
        assert_eq!(
            (said.first.cores, said.others.cores, said.workers()),
            (0, 1, 2),
            "the first is the driver's"
        );
        let four = [("spark.executor.instances", "4")];
        let said = layout(&four, &Allocation { cpus_per_task: Some(9), ..nodes(2) }).unwrap();
        assert_eq!((said.executor_cores, said.cores), (Some(4), 16));
    }

    #[test]
    fn what_does_not_fit_is_refused_at_its_field() {
        let cpus = |cpus| Allocation { cpus_per_task: Some(cpus), ..nodes(2) };
        let four = [("spark.executor.instances", "4"), ("spark.executor.cores", "2")];
        assert!(layout(&four, &cpus(5)).is_ok());
        assert_eq!(refused(&four, &cpus(4)), "/slurm/cpusPerTask");
        let tasks = Allocation { tasks: Some(8), ..nodes(2) };
        assert_eq!(refused(&four, &tasks), "/slurm/tasks");
        let memory = |memory| Allocation { memory_mb: Some(memory), ..Allocation::default() };
        let least = DRIVER + DAEMON_MB + EXECUTOR;
        let one = [("spark.executor.instances", "1"), ("spark.executor.memory", "1g")];
        assert!(layout(&one, &memory(least)).is_ok());
        assert_eq!(refused(&one, &memory(least - 1)), "/slurm/memoryMb");
        assert_eq!(refused(&[], &memory(1_000)), "/slurm/memoryMb", "no heap is small enough");
        assert_eq!(refused(&one, &nodes(3)), "/slurm/nodes");
        assert_eq!(refused(&[], &Allocation { array: Some("0-3".to_owned()), ..nodes(1) }), "/slurm/array");
        let gpu = "spark.executor.resource.gpu.amount";
        assert_eq!(refused(&[(gpu, "1")], &nodes(1)), format!("/sparkConfig/{gpu}"));
        let bad = [("spark.executor.memory", "lots")];
        assert_eq!(refused(&bad, &nodes(1)), "/sparkConfig/spark.executor.memory");
        let both = Allocation { cpus_per_task: Some(4), memory_mb: Some(2_000), ..nodes(1) };
        assert_eq!(refused(&[("spark.executor.memory", "4g")], &both), "/slurm/memoryMb");
    }

    proptest::proptest! {
        #[test]
        fn no_figure_is_too_large(figures in proptest::collection::vec(1u64..=1_000_000, 5), memory in 1u64..1 << 60) {
            let [nodes, tasks, cpus, count, each] = figures[..] else { return Ok(()) };
            let small = |n: u64| u32::try_from(n).ok();
            let config = BTreeMap::from([
                ("spark.executor.instances".to_owned(), count.to_string()),
                ("spark.executor.cores".to_owned(), each.to_string()),
                ("spark.executor.memory".to_owned(), memory.to_string()),
                ("spark.driver.cores".to_owned(), each.to_string()),
            ]);
            for (tasks, memory_mb) in [(None, None), (small(tasks), Some(memory))] {
                let asked = Allocation {
                    nodes: small(nodes), tasks, cpus_per_task: tasks.and(small(cpus)), memory_mb, ..Allocation::default()
                };
                let _ = Layout::of(&config, &asked);
                let _ = Layout::of(&BTreeMap::new(), &asked);
            }
        }

        #[test]
        fn what_is_laid_out_fits(
            nodes in 1u32..6, cpus in proptest::option::of(1u32..20), memory in proptest::option::of(1u64..60_000),
            count in proptest::option::of(1u32..12), each in proptest::option::of(1u32..5),
            heap in proptest::option::of(512u64..6_000), driver in 1u32..3,
        ) {
            let asked = Allocation {
                nodes: Some(nodes), cpus_per_task: cpus, memory_mb: memory, ..Allocation::default()
            };
            let mut config = BTreeMap::from([("spark.driver.cores".to_owned(), driver.to_string())]);
            let mut set = |key: &str, value: Option<String>| {
                config.extend(value.map(|value| (key.to_owned(), value)));
            };
            set("spark.executor.instances", count.map(|n| n.to_string()));
            set("spark.executor.cores", each.map(|n| n.to_string()));
            set("spark.executor.memory", heap.map(|n| format!("{n}m")));
            if let Ok(said) = Layout::of(&config, &asked) {
                let alone = nodes == 1;
                let shared = said.first.cores <= u32::from(alone);
                proptest::prop_assert!(said.first.cores + driver <= said.cpus || shared);
                proptest::prop_assert!(said.others.cores <= said.cpus && said.workers() > 0 && said.cores > 0);
                proptest::prop_assert!(said.first.memory_mb + DRIVER <= said.memory_mb);
                proptest::prop_assert!(said.others.memory_mb <= said.memory_mb);
                proptest::prop_assert!(cpus.is_none_or(|cpus| cpus == said.cpus));
                proptest::prop_assert!(memory.is_none_or(|memory| memory == said.memory_mb));
                let executors = |offer: Offer| said.executor_cores.map_or(u32::from(offer.cores > 0), |c| offer.cores / c);
                let all = executors(said.first) + executors(said.others) * (nodes - 1);
                proptest::prop_assert!(count.is_none_or(|count| count <= all), "{said:?}");
            }
        }
    }
}
