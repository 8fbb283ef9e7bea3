//! What a job needs, computed from its Spark settings (contract R1).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::allocation::Allocation;
use crate::memory::{self, GIB, MIB};
use crate::mode::{Mode, Shape};
use crate::spec::JobSpec;

/// Spark's default driver and executor heap, in bytes.
pub const DEFAULT_HEAP: u64 = GIB;
/// Spark's least memory overhead, in bytes.
pub const MIN_OVERHEAD: u64 = 384 * MIB;
/// Spark's default memory overhead factor, in thousandths.
pub const DEFAULT_OVERHEAD_MILLI: u64 = 100;
/// The most cores, executors or threads that are believed; larger numbers are typing errors.
pub const MAX_COUNT: u32 = 1_000_000;
/// Executors that a cluster manager starts when nothing is said (`spark.executor.instances`).
const DEFAULT_EXECUTORS: u32 = 2;

/// What one job occupies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Requirement {
    /// Driver cores.
    pub driver_cores: u32,
    /// Driver memory with overhead, in bytes.
    pub driver_memory: u64,
    /// Executors at most (the upper bound with dynamic allocation).
    pub executors: u32,
    /// With dynamic allocation: executors that it begins with and does not give back. None = all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least_executors: Option<u32>,
    /// Cores of one executor.
    pub executor_cores: u32,
    /// Heap of one executor, in bytes, without overhead: what quotas and `auto` compare.
    pub executor_heap: u64,
    /// Memory of one executor with overhead, in bytes.
    pub executor_memory: u64,
    /// GPUs of one executor.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub executor_gpus: u32,
    /// True when the executors run on this host (a local master), false when a cluster has them.
    pub executors_here: bool,
    /// True when a standalone master has the executors: it shares out their heap, and asks for no overhead.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub standalone: bool,
    /// True for a job that takes a slot of the shared server and no memory of its own.
    pub shared_server: bool,
    /// Task slots on a Flink cluster.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub slots: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks in this way")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl Requirement {
    /// Task slots on a Flink cluster, and nothing else.
    pub fn of_slots(slots: u32) -> Self {
        Self { slots, ..Self::default() }
    }

    /// What is asked of a batch scheduler. It is the scheduler that shares it out: here it is only told.
    pub fn of_allocation(asked: &Allocation) -> Self {
        Self {
            driver_cores: asked.least_cpus(),
            driver_memory: asked.memory_of_all_mb().saturating_mul(MIB),
            ..Self::default()
        }
    }

    /// GPUs of all executors.
    pub fn gpus(&self) -> u64 {
        u64::from(self.executors) * u64::from(self.executor_gpus)
    }

    /// All cores, wherever they are.
    pub fn total_cores(&self) -> u64 {
        u64::from(self.driver_cores) + u64::from(self.executors) * u64::from(self.executor_cores)
    }

    /// All memory in bytes, wherever it is.
    pub fn total_memory(&self) -> u64 {
        self.driver_memory.saturating_add(u64::from(self.executors).saturating_mul(self.executor_memory))
    }

    /// Cores that this host must have.
    pub fn host_cores(&self) -> u64 {
        match (self.shared_server, self.executors_here) {
            (true, _) => 0,
            (false, true) => self.total_cores(),
            (false, false) => u64::from(self.driver_cores),
        }
    }

    /// Bytes of memory that this host must have.
    pub fn host_memory(&self) -> u64 {
        match (self.shared_server, self.executors_here) {
            (true, _) => 0,
            (false, true) => self.total_memory(),
            (false, false) => self.driver_memory,
        }
    }
}

/// A setting that can't be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadSetting {
    /// The Spark setting.
    pub key: String,
    /// What is wrong, ready to be shown after the key.
    pub reason: String,
}

/// What the arithmetic has to know about its surroundings.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// Cores of this host: what `local[*]` means.
    pub host_cores: u32,
    /// The master of a job that names none.
    pub default_master: &'a str,
}

/// Where a master puts the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Master {
    /// In the driver, with this many threads.
    Local(u32),
    /// On a cluster.
    Cluster {
        /// With a standalone master, which knows no overhead and no number of executors.
        standalone: bool,
    },
}

/// Reads a Spark master: `local`, `local[N]`, `local[N,F]`, `local[*]`, or a cluster's address.
///
/// # Errors
/// When the text is none of Spark's spellings.
pub fn master(text: &str, host_cores: u32) -> Result<Master, String> {
    if text == "local" {
        return Ok(Master::Local(1));
    }
    if let Some(inside) = text.strip_prefix("local[").and_then(|t| t.strip_suffix(']')) {
        let (threads, retries) = inside.split_once(',').map_or((inside, None), |(t, r)| (t, Some(r)));
        let retries_fine = retries.is_none_or(|r| r.trim().parse::<u32>().is_ok());
        let threads = threads.trim();
        let threads = if threads == "*" { Some(host_cores.max(1)) } else { threads.parse().ok() };
        return match threads {
            Some(n) if retries_fine && (1..=MAX_COUNT).contains(&n) => Ok(Master::Local(n)),
            _ => Err("must be `local`, `local[N]` with N from 1, or `local[*]`".to_owned()),
        };
    }
    if text == "yarn" || text.starts_with("k8s://") {
        return Ok(Master::Cluster { standalone: false });
    }
    if text.starts_with("spark://") {
        return Ok(Master::Cluster { standalone: true });
    }
    Err("must be `local[N]`, `local[*]`, `spark://host:port`, `yarn` or `k8s://…`".to_owned())
}

/// Reads every resource setting of `config`, collecting all that is wrong.
struct Settings<'a> {
    config: &'a BTreeMap<String, String>,
    wrong: Vec<BadSetting>,
}

impl Settings<'_> {
    fn refuse(&mut self, key: &str, reason: impl Into<String>) {
        self.wrong.push(BadSetting { key: key.to_owned(), reason: reason.into() });
    }

    fn count(&mut self, key: &str, least: u32) -> Option<u32> {
        let text = self.config.get(key)?;
        match text.trim().parse::<u32>() {
            Ok(n) if (least..=MAX_COUNT).contains(&n) => Some(n),
            _ => {
                self.refuse(key, format!("must be a whole number from {least} to {MAX_COUNT}, not `{text}`"));
                None
            }
        }
    }

    fn memory(&mut self, key: &str) -> Option<u64> {
        self.memory_in(key, MIB)
    }

    /// An amount of which a bare number counts `unit` bytes.
    fn memory_in(&mut self, key: &str, unit: u64) -> Option<u64> {
        let text = self.config.get(key)?;
        match memory::parse(text, unit) {
            Ok(bytes) => Some(bytes),
            Err(why) => {
                self.refuse(key, format!("{why}, not `{text}`"));
                None
            }
        }
    }

    fn flag(&mut self, key: &str) -> Option<bool> {
        let text = self.config.get(key)?;
        match text.trim().to_ascii_lowercase().as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => {
                self.refuse(key, format!("must be `true` or `false`, not `{text}`"));
                None
            }
        }
    }

    /// A factor such as `0.1`, in thousandths.
    fn factor(&mut self, key: &str) -> Option<u64> {
        let text = self.config.get(key)?;
        match text.trim().parse::<f64>() {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "0.0..=100.0 × 1000 fits"
            )]
            Ok(f) if (0.0..=100.0).contains(&f) => Some((f * 1000.0).round() as u64),
            _ => {
                self.refuse(key, format!("must be a number from 0 to 100, not `{text}`"));
                None
            }
        }
    }

    /// Heap and heap-with-overhead of `role` (`driver` or `executor`), in bytes.
    fn process(&mut self, role: &str) -> (u64, u64) {
        let heap = self.memory(&format!("spark.{role}.memory")).unwrap_or(DEFAULT_HEAP);
        let fixed = self.memory(&format!("spark.{role}.memoryOverhead"));
        let factor = self.factor(&format!("spark.{role}.memoryOverheadFactor"));
        let least = self.memory(&format!("spark.{role}.minMemoryOverhead")).unwrap_or(MIN_OVERHEAD);
        let off_heap = if self.flag("spark.memory.offHeap.enabled") == Some(true) {
            self.memory_in("spark.memory.offHeap.size", 1).unwrap_or(0)
        } else {
            0
        };
        let python =
            if role == "executor" { self.memory("spark.executor.pyspark.memory").unwrap_or(0) } else { 0 };
        let overhead = fixed.unwrap_or_else(|| {
            let milli = u128::from(factor.unwrap_or(DEFAULT_OVERHEAD_MILLI));
            let part = u128::from(heap) * milli / 1000;
            u64::try_from(part).unwrap_or(u64::MAX).max(least)
        });
        (heap, heap.saturating_add(overhead).saturating_add(off_heap).saturating_add(python))
    }
}

/// Computes what a job with these Spark settings needs, were it to run with a process of its own.
///
/// # Errors
/// Every setting that can't be read, each with its reason (contract R1: 400 with the field).
pub fn requirement(
    config: &BTreeMap<String, String>,
    around: Surroundings<'_>,
) -> Result<Requirement, Vec<BadSetting>> {
    let mut s = Settings { config, wrong: Vec::new() };
    let (_, driver_memory) = s.process("driver");
    let (executor_heap, executor_memory) = s.process("executor");
    let driver_cores = s.count("spark.driver.cores", 1);
    let executor_cores = s.count("spark.executor.cores", 1);
    let executor_gpus = s.count("spark.executor.resource.gpu.amount", 0);
    let instances = s.count("spark.executor.instances", 0);
    let dynamic = s.flag("spark.dynamicAllocation.enabled") == Some(true);
    let dynamic_least = s.count("spark.dynamicAllocation.minExecutors", 0);
    let dynamic_first = s.count("spark.dynamicAllocation.initialExecutors", 0);
    let dynamic_most = s.count("spark.dynamicAllocation.maxExecutors", 1);
    let cores_most = s.count("spark.cores.max", 1);
    let master_text = config.get("spark.master").map_or(around.default_master, String::as_str);
    let place = match master(master_text, around.host_cores) {
        Ok(place) => place,
        Err(reason) => {
            s.refuse("spark.master", format!("{reason}, not `{master_text}`"));
            Master::Local(1)
        }
    };
    if dynamic
        && let (Some(least), Some(most)) = (dynamic_least, dynamic_most)
        && least > most
    {
        s.refuse(
            "spark.dynamicAllocation.minExecutors",
            format!("is {least}, more than spark.dynamicAllocation.maxExecutors ({most})"),
        );
    }
    if !s.wrong.is_empty() {
        return Err(s.wrong);
    }

    let per_executor = executor_cores.unwrap_or(1);
    let standalone = place == Master::Cluster { standalone: true };
    let by_cores = cores_most.map(|cores| (cores / per_executor).max(1));
    let executors = if dynamic {
        // The bound that can be reached counts; without one, what is named at least.
        let named = instances.into_iter().chain(dynamic_first).chain(dynamic_least).max();
        dynamic_most.or(named.filter(|n| *n > 0)).unwrap_or(DEFAULT_EXECUTORS)
    } else {
        match (instances, place) {
            // A standalone master counts cores, and knows of no number of executors.
            (_, Master::Cluster { standalone: true }) => {
                by_cores.or(instances.filter(|n| *n > 0)).unwrap_or(DEFAULT_EXECUTORS)
            }
            (Some(n), _) => n,
            (None, Master::Local(_)) => 0,
            (None, Master::Cluster { standalone: false }) => by_cores.unwrap_or(DEFAULT_EXECUTORS),
        }
    };
    let (driver_cores, executors_here) = match place {
        // With a local master the driver does the executors' work with N threads; named executors count as well.
        Master::Local(threads) => (threads, true),
        Master::Cluster { .. } => (driver_cores.unwrap_or(1), false),
    };
    // What is written down counts against the quotas even where no executor will use it (contract R1); what is
    // not written down and not used is nothing.
    let named_or_used = |key: &str| executors > 0 || config.contains_key(key);
    let sized = named_or_used("spark.executor.memory");
    // Spark begins with the greatest of these three, and gives back down to the least number.
    let least = dynamic_least.into_iter().chain(dynamic_first).chain(instances).max().unwrap_or(0);
    Ok(Requirement {
        driver_cores,
        driver_memory,
        executors,
        least_executors: dynamic.then_some(least.min(executors)),
        executor_cores: if named_or_used("spark.executor.cores") { per_executor } else { 0 },
        executor_heap: if sized { executor_heap } else { 0 },
        executor_memory: if sized { executor_memory } else { 0 },
        // A local master has no executors that could be given any.
        executor_gpus: if executors_here { 0 } else { executor_gpus.unwrap_or(0) },
        executors_here,
        standalone,
        shared_server: false,
        slots: 0,
    })
}

/// The requirement once the mode is chosen: in-cluster jobs take one slot of the server (contract R1).
#[must_use]
pub fn in_mode(needed: Requirement, mode: Mode) -> Requirement {
    match mode {
        Mode::InCluster => Requirement { shared_server: true, ..needed },
        Mode::SparkSubmit | Mode::Flink | Mode::Slurm => needed,
        Mode::Kubernetes => Requirement { executors_here: false, standalone: false, ..needed },
    }
}

/// What `auto` looks at (contract R1: executors without overhead).
pub fn shape(spec: &JobSpec, needed: &Requirement) -> Shape {
    Shape {
        kind: spec.kind,
        executors: needed.executors,
        executor_memory: u64::from(needed.executors).saturating_mul(needed.executor_heap),
        needs_own_process: spec.is_written_for_its_own_process(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Kind, Source};

    const AROUND: Surroundings<'static> = Surroundings { host_cores: 8, default_master: "local[2]" };

    fn needs(settings: &[(&str, &str)]) -> Result<Requirement, Vec<BadSetting>> {
        let mut spec = JobSpec::new(Kind::Sql, Source::Code("SELECT 1".into()));
        for (key, value) in settings {
            spec.spark_config.insert((*key).to_owned(), (*value).to_owned());
        }
        requirement(&spec.spark_config, AROUND)
    }

    fn wrong(settings: &[(&str, &str)]) -> Vec<String> {
        needs(settings).unwrap_err().into_iter().map(|b| b.key).collect()
    }

    #[test]
    fn a_job_that_says_nothing_takes_the_default_master() {
        let r = needs(&[]).unwrap();
        assert_eq!((r.driver_cores, r.executors), (2, 0));
        assert_eq!(r.driver_memory, GIB + 384 * MIB);
        assert_eq!((r.host_cores(), r.host_memory()), (2, GIB + 384 * MIB));
    }

    #[test]
    fn the_references_figures_come_out() {
        // contract: R1. Ten executors of 4 cores and 7 GiB beside the driver.
        let r = needs(&[
            ("spark.executor.instances", "10"),
            ("spark.executor.memory", "7g"),
            ("spark.executor.cores", "4"),
        ])
        .unwrap();
        assert_eq!(r.total_cores(), 42, "ten executors of four cores, and the driver's two threads");
        assert_eq!(r.executor_heap, 7 * GIB);
        assert_eq!(r.executor_memory, 7 * GIB + 7 * GIB / 10, "ten percent overhead");
    }

    #[test]
    fn local_masters_mean_threads() {
        for (text, cores) in
            [("local", 1), ("local[3]", 3), ("local[*]", 8), ("local[4,2]", 4), ("local[*,2]", 8)]
        {
            assert_eq!(needs(&[("spark.master", text)]).unwrap().host_cores(), cores, "{text}");
        }
        for text in ["local[0]", "local[x]", "local[", "mesos://a", "", "local[2,x]"] {
            assert_eq!(wrong(&[("spark.master", text)]), ["spark.master"], "{text}");
        }
    }

    #[test]
    fn clusters_hold_the_executors() {
        let r = needs(&[
            ("spark.master", "spark://h:7077"),
            ("spark.cores.max", "6"),
            ("spark.executor.cores", "2"),
        ])
        .unwrap();
        assert_eq!((r.executors, r.host_cores(), r.total_cores()), (3, 1, 7));
        let (standalone, two) = (("spark.master", "spark://h:7077"), ("spark.executor.instances", "2"));
        assert_eq!(needs(&[standalone, two]).unwrap().executors, 2);
        assert_eq!(needs(&[standalone, ("spark.executor.instances", "0")]).unwrap().executors, 2);
        assert_eq!(needs(&[standalone, two, ("spark.cores.max", "400")]).unwrap().executors, 400);
        assert_eq!(needs(&[("spark.master", "yarn"), two, ("spark.cores.max", "400")]).unwrap().executors, 2);
        let gpus = ("spark.executor.resource.gpu.amount", "2");
        let r = needs(&[("spark.master", "yarn"), ("spark.executor.instances", "4"), gpus]).unwrap();
        assert_eq!((r.gpus(), r.standalone), (8, false));
        assert_eq!(needs(&[gpus]).unwrap().gpus(), 0);
    }

    #[test]
    fn dynamic_allocation_counts_what_it_may_reach() {
        let on = ("spark.dynamicAllocation.enabled", "true");
        assert_eq!(needs(&[on, ("spark.dynamicAllocation.maxExecutors", "12")]).unwrap().executors, 12);
        let none = needs(&[on, ("spark.dynamicAllocation.minExecutors", "0")]).unwrap();
        assert_eq!((none.executors, none.least_executors), (2, Some(0)), "it will have some all the same");
        assert_eq!(
            needs(&[on, ("spark.dynamicAllocation.minExecutors", "3"), ("spark.executor.instances", "4")])
                .unwrap()
                .executors,
            4
        );
        assert_eq!(
            wrong(&[
                on,
                ("spark.dynamicAllocation.minExecutors", "5"),
                ("spark.dynamicAllocation.maxExecutors", "4")
            ]),
            ["spark.dynamicAllocation.minExecutors"]
        );
    }

    #[test]
    fn overhead_follows_factor_or_figure() {
        let heap = ("spark.executor.memory", "10g");
        let memory = |more: (&str, &str)| needs(&[heap, more]).unwrap().executor_memory;
        assert_eq!(memory(("spark.executor.memoryOverheadFactor", "0.4")), 14 * GIB);
        assert_eq!(memory(("spark.executor.memoryOverhead", "512")), 10 * GIB + 512 * MIB);
        assert_eq!(memory(("spark.executor.pyspark.memory", "1g")), 12 * GIB);
    }

    #[test]
    fn executor_settings_count_even_without_executors() {
        let r = needs(&[("spark.executor.memory", "17g"), ("spark.executor.cores", "9")]).unwrap();
        assert_eq!((r.executors, r.executor_heap, r.executor_cores), (0, 17 * GIB, 9));
        let r = needs(&[]).unwrap();
        assert_eq!((r.executor_heap, r.executor_cores), (0, 0));
    }

    #[test]
    fn every_wrong_setting_is_named() {
        assert_eq!(
            wrong(&[
                ("spark.executor.memory", "2x"),
                ("spark.executor.cores", "0"),
                ("spark.driver.memory", "-1g"),
                ("spark.dynamicAllocation.enabled", "yes"),
            ]),
            [
                "spark.driver.memory",
                "spark.executor.memory",
                "spark.executor.cores",
                "spark.dynamicAllocation.enabled"
            ]
        );
    }

    proptest::proptest! {
        #[test]
        fn no_setting_makes_it_panic(
            key in proptest::sample::select(vec![
                "spark.executor.memory", "spark.executor.cores", "spark.executor.instances", "spark.master",
                "spark.driver.memoryOverheadFactor", "spark.dynamicAllocation.enabled",
            ]),
            value in ".*",
        ) {
            if let Ok(r) = needs(&[(key, &value)]) {
                let _ = (r.total_cores(), r.total_memory(), r.host_cores(), r.host_memory());
            }
        }
    }
}
