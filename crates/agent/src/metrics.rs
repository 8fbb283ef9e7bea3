//! The agent's own figures, and the node's totals, for whoever scrapes them (contract O1).

use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use libra_api::hpc::samples::NodeTotals;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::proc::process;
use crate::spool::Lost;

/// One mebibyte, in bytes.
const MIB: f64 = 1_048_576.0;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfNode {
    node: String,
}

type Number = Gauge<f64, AtomicU64>;
type Total = Family<OfNode, Number>;

/// The figures.
pub struct Metrics {
    registry: Registry,
    node: OfNode,
    /// Samples that were taken of jobs.
    pub samples: Counter,
    /// Batches that Libra has taken.
    pub pushes: Counter,
    /// Tries that brought no answer, or none that counts.
    pub failures: Counter,
    /// Samples that Libra has refused for good.
    pub refused: Counter,
    dropped: Counter,
    torn: Counter,
    spool: Gauge,
    jobs: Gauge,
    unnamed: Gauge,
    look: Number,
    memory: Gauge,
    cpu: Counter<f64, AtomicU64>,
    totals: Totals,
}

#[derive(Default)]
struct Totals {
    cpu_usage: Total,
    cpus: Total,
    memory_used: Total,
    memory: Total,
    gpu_usage: Total,
    gpus: Total,
}

impl Metrics {
    /// All figures at zero, and nothing of the node. `node` is its name.
    pub fn new(node: &str) -> Self {
        let mut r = Registry::default();
        let metrics = Self {
            node: OfNode { node: node.to_owned() },
            samples: Counter::default(),
            pushes: Counter::default(),
            failures: Counter::default(),
            refused: Counter::default(),
            dropped: Counter::default(),
            torn: Counter::default(),
            spool: Gauge::default(),
            jobs: Gauge::default(),
            unnamed: Gauge::default(),
            look: Number::default(),
            memory: Gauge::default(),
            cpu: Counter::default(),
            totals: Totals::default(),
            registry: Registry::default(),
        };
        r.register("libra_agent_samples", "Samples of jobs that were taken", metrics.samples.clone());
        r.register("libra_agent_pushes", "Batches that Libra has taken", metrics.pushes.clone());
        r.register("libra_agent_push_failures", "Tries to send that failed", metrics.failures.clone());
        r.register(
            "libra_agent_refused_samples",
            "Samples that Libra refused for good",
            metrics.refused.clone(),
        );
        r.register(
            "libra_agent_dropped_samples",
            "Samples for which the spool had no room",
            metrics.dropped.clone(),
        );
        r.register(
            "libra_agent_torn_lines",
            "Lines of the spool that could not be read",
            metrics.torn.clone(),
        );
        r.register_with_unit(
            "libra_agent_spool",
            "What is still to be sent",
            Unit::Bytes,
            metrics.spool.clone(),
        );
        r.register("libra_agent_jobs", "Jobs that were seen at the last look", metrics.jobs.clone());
        let help = "Directories of jobs, at the last look, whose job could not be told";
        r.register("libra_agent_unnamed_jobs", help, metrics.unnamed.clone());
        r.register_with_unit(
            "libra_agent_look",
            "How long the last look took",
            Unit::Seconds,
            metrics.look.clone(),
        );
        r.register_with_unit(
            "libra_agent_memory",
            "The agent's own resident memory",
            Unit::Bytes,
            metrics.memory.clone(),
        );
        r.register_with_unit(
            "libra_agent_cpu",
            "The agent's own processor time",
            Unit::Seconds,
            metrics.cpu.clone(),
        );
        let t = &metrics.totals;
        r.register(
            "hpc_node_total_cpu_usage_percent",
            "What all of the node's processors do",
            t.cpu_usage.clone(),
        );
        r.register("hpc_node_total_cpus", "The node's processors", t.cpus.clone());
        r.register(
            "hpc_node_total_memory_usage_bytes",
            "Memory that new programs can't have",
            t.memory_used.clone(),
        );
        r.register("hpc_node_total_memory_bytes", "The node's memory", t.memory.clone());
        r.register("hpc_node_total_gpu_usage_percent", "The mean of the node's GPUs", t.gpu_usage.clone());
        r.register("hpc_node_total_gpus", "The node's GPUs", t.gpus.clone());
        Self { registry: r, ..metrics }
    }

    /// A look took so long, and has seen so many jobs and directories without a name. What is not known has no figure.
    pub fn looked(&self, took: Duration, jobs: usize, unnamed: usize, totals: &NodeTotals) {
        self.samples.inc_by(jobs as u64);
        self.jobs.set(i64::try_from(jobs).unwrap_or(i64::MAX));
        self.unnamed.set(i64::try_from(unnamed).unwrap_or(i64::MAX));
        self.look.set(took.as_secs_f64());
        let set = |family: &Total, value: Option<f64>| match value {
            Some(value) => {
                family.get_or_create(&self.node).set(value);
            }
            None => {
                family.remove(&self.node);
            }
        };
        let count = |count: Option<i64>| count.map(|count| count as f64);
        set(&self.totals.cpu_usage, totals.cpu_usage);
        set(&self.totals.cpus, count(totals.cpus));
        set(&self.totals.memory_used, totals.memory_used_mb.map(|mib| mib * MIB));
        set(&self.totals.memory, totals.memory_total_mb.map(|mib| mib * MIB));
        set(&self.totals.gpu_usage, totals.gpu_usage);
        set(&self.totals.gpus, count(totals.gpus));
    }

    /// All figures as text, with what the spool holds and has lost, and what the agent itself uses now.
    pub fn text(&self, spool_bytes: u64, lost: Lost) -> String {
        self.spool.set(i64::try_from(spool_bytes).unwrap_or(i64::MAX));
        self.dropped.inc_by(lost.dropped.saturating_sub(self.dropped.get()));
        self.torn.inc_by(lost.torn.saturating_sub(self.torn.get()));
        if let Some(own) = process::stat(Path::new("/proc"), std::process::id()) {
            let bytes = own.pages.saturating_mul(rustix::param::page_size() as u64);
            self.memory.set(i64::try_from(bytes).unwrap_or(i64::MAX));
            let seconds = own.own_ticks as f64 / rustix::param::clock_ticks_per_second().max(1) as f64;
            self.cpu.inc_by((seconds - self.cpu.get()).max(0.0));
        }
        let mut text = String::new();
        // A String takes everything.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_has_no_figure_and_the_rest_has_one() {
        let metrics = Metrics::new("n1");
        let totals =
            NodeTotals { cpu_usage: Some(12.5), memory_total_mb: Some(2.0), ..NodeTotals::default() };
        metrics.looked(Duration::from_millis(5), 3, 1, &totals);
        let text = metrics.text(77, Lost { dropped: 4, torn: 1 });
        for line in [
            "libra_agent_samples_total 3",
            "libra_agent_dropped_samples_total 4",
            "libra_agent_spool_bytes 77",
            "libra_agent_unnamed_jobs 1",
            "libra_agent_look_seconds 0.005",
            "hpc_node_total_cpu_usage_percent{node=\"n1\"} 12.5",
            "hpc_node_total_memory_bytes{node=\"n1\"} 2097152.0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("hpc_node_total_gpus{"), "{text}");
        let memory = text.lines().find_map(|line| line.strip_prefix("libra_agent_memory_bytes ")).unwrap();
        assert!(memory.parse::<u64>().unwrap() > 1 << 20, "{memory}");
        metrics.looked(Duration::ZERO, 0, 0, &NodeTotals::default());
        let text = metrics.text(0, Lost { dropped: 4, torn: 1 });
        assert!(!text.contains("hpc_node_total_cpu_usage_percent{"), "it is no longer known:\n{text}");
        assert!(text.contains("libra_agent_dropped_samples_total 4"), "{text}");
    }
}
