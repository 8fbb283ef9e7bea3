//! The figures of observed jobs, by the names of the reference (contract H5). They are read from the store now and then and
//! shown from memory: a scrape asks neither the store nor a scheduler. What is unknown is not there.

use std::collections::BTreeMap;
use std::fmt::Error;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use libra_core::hpc::figures::{Figures, NodeTotals, Together};
use libra_core::hpc::usage::PER_PERCENT;
use libra_core::time::{MICROS_PER_SECOND, Timestamp};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// One MiB, in bytes.
const MIB: f64 = 1_048_576.0;
/// Figures that could not be read anew for so long are not shown any more, in microseconds.
const SHOWN_FOR: i64 = 120 * MICROS_PER_SECOND;

/// The figures of observed jobs.
pub struct HpcMetrics {
    shown: Arc<Shown>,
    jobs: Counter,
    reads: Family<OfCluster, Gauge<f64, AtomicU64>>,
    unread: Family<OfCluster, Counter>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfCluster {
    cluster: String,
}

impl OfCluster {
    fn named(name: &str) -> Self {
        Self { cluster: name.to_owned() }
    }
}

/// What a scrape shows.
#[derive(Debug, Default)]
struct Shown {
    figures: Mutex<Option<Arc<Figures>>>,
    /// The moment of the scrape, in microseconds.
    now: AtomicI64,
}

impl HpcMetrics {
    /// Nothing yet.
    pub(super) fn new(r: &mut Registry) -> Self {
        let metrics = Self {
            shown: Arc::default(),
            jobs: Counter::default(),
            reads: Family::default(),
            unread: Family::default(),
        };
        let help = "When the cluster was last read, as a Unix time; the replica that leads says it";
        r.register("libra_slurm_last_read_timestamp_seconds", help, metrics.reads.clone());
        r.register(
            "libra_slurm_read_failures",
            "Questions that Slurm has not answered",
            metrics.unread.clone(),
        );
        r.register("hpc_job", "Jobs that this replica was the first to hear of", metrics.jobs.clone());
        r.register_collector(Box::new(Arc::clone(&metrics.shown)));
        metrics
    }

    /// Jobs were heard of for the first time.
    pub fn heard(&self, jobs: u64) {
        self.jobs.inc_by(jobs);
    }

    /// A cluster was read.
    pub fn read(&self, cluster: &str, at: Timestamp) {
        let seconds = at.0 as f64 / MICROS_PER_SECOND as f64;
        self.reads.get_or_create(&OfCluster::named(cluster)).set(seconds);
    }

    /// A cluster has not answered.
    pub fn unread(&self, cluster: &str) {
        self.unread.get_or_create(&OfCluster::named(cluster)).inc();
    }

    /// Another replica reads it.
    pub fn reads_no_more(&self, cluster: &str) {
        self.reads.remove(&OfCluster::named(cluster));
    }

    /// These from now on.
    pub fn show(&self, figures: Figures) {
        *self.shown.figures.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(figures));
    }

    /// A scrape is about to be answered.
    pub fn scraped(&self, now: Timestamp) {
        self.shown.now.store(now.0, Ordering::Relaxed);
    }
}

/// A value with its labels.
type Value<'a> = (Vec<(&'static str, &'a str)>, f64);

fn gauges<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl Iterator<Item = Value<'a>>,
) -> Result<(), Error> {
    let mut values = values.peekable();
    // Without a value it is not known, and is not spoken of.
    if values.peek().is_none() {
        return Ok(());
    }
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in values {
        if labels.is_empty() {
            metric.encode_gauge(&value)?;
        } else {
            metric.encode_family(&labels)?.encode_gauge(&value)?;
        }
    }
    Ok(())
}

fn percent(share: Option<i64>) -> Option<f64> {
    share.map(|share| share as f64 / PER_PERCENT)
}

fn bytes(mb: Option<i64>) -> Option<f64> {
    mb.map(|mb| mb as f64 * MIB)
}

impl Collector for Shown {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(figures) = figures else { return Ok(()) };
        let e = &mut encoder;
        let now = Timestamp(self.now.load(Ordering::Relaxed));
        let age = now.seconds_since(figures.at).max(0.0);
        let help = "How long ago these figures of observed jobs were read";
        gauges(e, "hpc_figures_age_seconds", help, [(Vec::new(), age)].into_iter())?;
        if now.0.saturating_sub(figures.at.0) > SHOWN_FOR {
            return Ok(());
        }
        states(e, &figures)?;
        jobs(e, &figures, now)?;
        nodes(e, &figures)?;
        for (of, groups) in
            [("user", &figures.users), ("account", &figures.accounts), ("partition", &figures.partitions)]
        {
            together(e, of, groups)?;
        }
        left_out(e, &figures)
    }
}

fn states(e: &mut DescriptorEncoder<'_>, figures: &Figures) -> Result<(), Error> {
    let states = figures.states.iter().map(|(state, jobs)| (vec![("state", state.as_str())], *jobs as f64));
    gauges(e, "hpc_job_state_total", "Observed jobs by state", states)
}

fn jobs(e: &mut DescriptorEncoder<'_>, figures: &Figures, now: Timestamp) -> Result<(), Error> {
    let mut family =
        |name: &str, help: &str, of: &dyn Fn(&libra_core::hpc::figures::JobOnNode) -> Option<f64>| {
            let values = figures.jobs.iter().filter_map(|job| {
                let labels = vec![("job_id", job.job.as_str()), ("user", &job.user), ("node", &job.node)];
                Some((labels, of(job)?))
            });
            gauges(e, name, help, values)
        };
    let runtime = |started: Timestamp| now.seconds_since(started).max(0.0);
    family("hpc_job_runtime_seconds", "How long a running job has run", &|job| job.started.map(runtime))?;
    let help = "What a running job uses of its processors of a node";
    family("hpc_job_cpu_usage_percent", help, &|job| percent(job.cpu))?;
    let help = "Memory of a running job on a node";
    family("hpc_job_memory_usage_bytes", help, &|job| bytes(job.memory_mb))?;
    let help = "What a running job uses of its GPUs of a node";
    family("hpc_job_gpu_usage_percent", help, &|job| percent(job.gpu))
}

/// A node by its name and, unless it is of the one cluster that is meant where none is named, by its cluster: what a node is
/// called depends on nothing that others do.
fn labels<'a>(cluster: &'a str, node: &'a str, home: &str) -> Vec<(&'static str, &'a str)> {
    let mut labels = vec![("node", node)];
    if cluster != home {
        labels.push(("cluster", cluster));
    }
    labels
}

fn nodes(e: &mut DescriptorEncoder<'_>, figures: &Figures) -> Result<(), Error> {
    let home = figures.home.as_str();
    let mut family = |name: &str, help: &str, of: &dyn Fn(&Together) -> Option<f64>| {
        let values = figures.nodes.iter();
        let values =
            values.filter_map(|((cluster, node), group)| Some((labels(cluster, node, home), of(group)?)));
        gauges(e, name, help, values)
    };
    let help = "The mean of the running jobs of a node";
    family("hpc_node_cpu_usage_percent", help, &|g| g.cpu.mean().map(|mean| mean / PER_PERCENT))?;
    let help = "Memory of the running jobs of a node together";
    family("hpc_node_memory_usage_bytes", help, &|g| bytes(g.memory_mb))?;
    let help = "The mean of those running jobs of a node that have GPUs";
    family("hpc_node_gpu_usage_percent", help, &|g| g.gpu.mean().map(|mean| mean / PER_PERCENT))?;
    family("hpc_node_job_count", "Running jobs of a node", &|g| Some(g.running as f64))?;
    let help = "Running jobs of a node that were measured lately";
    family("hpc_node_measured_jobs", help, &|g| Some(g.measured as f64))?;
    let mut family = |name: &str, help: &str, of: &dyn Fn(&NodeTotals) -> Option<f64>| {
        let values = figures.totals.iter();
        let values = values.filter_map(|told| Some((labels(&told.cluster, &told.node, home), of(told)?)));
        gauges(e, name, help, values)
    };
    let count = |count: Option<i64>| count.map(|count| count as f64);
    let help = "What all of the node's processors do";
    family("hpc_node_total_cpu_usage_percent", help, &|node| percent(node.cpu))?;
    family("hpc_node_total_cpus", "The node's processors", &|node| count(node.cpus))?;
    let help = "Memory that new programs can't have";
    family("hpc_node_total_memory_usage_bytes", help, &|node| bytes(node.memory_mb))?;
    family("hpc_node_total_memory_bytes", "The node's memory", &|node| bytes(node.memory_total_mb))?;
    let help = "The mean of the node's GPUs";
    family("hpc_node_total_gpu_usage_percent", help, &|node| percent(node.gpu))?;
    family("hpc_node_total_gpus", "The node's GPUs", &|node| count(node.gpus))
}

fn together(
    e: &mut DescriptorEncoder<'_>,
    of: &'static str,
    groups: &BTreeMap<String, Together>,
) -> Result<(), Error> {
    let mut family = |what: &str, help: &str, value: &dyn Fn(&Together) -> Option<f64>| {
        let values = groups.iter().filter_map(|(name, g)| Some((vec![(of, name.as_str())], value(g)?)));
        gauges(e, &format!("hpc_{of}_{what}"), &format!("{help}, by {of}"), values)
    };
    let amount = |amount: Option<u64>| amount.map(|amount| amount as f64);
    family("running_jobs", "Jobs that run", &|g| Some(g.running as f64))?;
    family("pending_jobs", "Jobs that wait", &|g| Some(g.pending as f64))?;
    family("measured_jobs", "Running jobs that were measured lately", &|g| Some(g.measured as f64))?;
    family("allocated_cpus", "Processors that running jobs have", &|g| amount(g.cpus))?;
    family("allocated_gpus", "GPUs that running jobs have", &|g| amount(g.gpus))?;
    let help = "What running jobs use of their processors, their mean";
    family("cpu_usage_percent", help, &|g| g.cpu.mean().map(|mean| mean / PER_PERCENT))?;
    family("memory_usage_bytes", "Memory of running jobs together", &|g| bytes(g.memory_mb))?;
    let help = "What running jobs use of their GPUs, their mean";
    family("gpu_usage_percent", help, &|g| g.gpu.mean().map(|mean| mean / PER_PERCENT))
}

fn left_out(e: &mut DescriptorEncoder<'_>, figures: &Figures) -> Result<(), Error> {
    let left = figures.left_out;
    let of = [
        ("jobs", left.jobs),
        ("nodes", left.nodes),
        ("users", left.users),
        ("accounts", left.accounts),
        ("partitions", left.partitions),
    ];
    let values = of.into_iter().map(|(kind, count)| (vec![("kind", kind)], count as f64));
    let help = "What has no series of its own because there are too many: libra.slurm.metrics.*";
    gauges(e, "hpc_left_out", help, values)
}

#[cfg(test)]
mod tests {
    use libra_core::hpc::figures::{Bounds, NodeUse, Running};
    use libra_core::hpc::record::Amounts;
    use prometheus_client::encoding::text::encode;

    use super::*;

    const NOW: Timestamp = Timestamp(1_700_000_000_000_000);
    const BOUNDS: Bounds = Bounds { jobs: 2_000, nodes: 5_000, names: 1_000 };

    fn shown(figures: Figures, now: Timestamp) -> String {
        let mut registry = Registry::default();
        let metrics = HpcMetrics::new(&mut registry);
        metrics.show(figures);
        metrics.scraped(now);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        text
    }

    /// Nothing yet, of a Libra whose one cluster is `c`.
    fn at_home() -> Figures {
        let mut figures = Figures::new(NOW, BOUNDS);
        figures.home = "c".into();
        figures
    }

    fn job(n: usize, cpu: Option<i64>) -> Running {
        let node = format!("n{}", n % 500);
        let at = Some(NOW);
        Running {
            id: format!("job-{n}"),
            cluster: "c".into(),
            user: format!("user-{}", n % 300),
            account: Some(format!("acc-{}", n % 40)),
            partition: Some("batch".into()),
            started: Some(NOW.plus_seconds(-90)),
            nodes: vec![node.clone()],
            allocated: Amounts { cpus: Some(4), ..Amounts::default() },
            usage: vec![NodeUse { node, at, cpu, memory_mb: Some(2), gpu: None }],
        }
    }

    #[test]
    fn twenty_thousand_jobs_have_no_more_series_than_they_may() {
        // contract: H5
        let mut figures = at_home();
        for n in 0..20_000 {
            figures.run(job(n, Some(50_000)));
        }
        figures.bound();
        let text = shown(figures, NOW);
        let lines = |begin: &str| text.lines().filter(|line| line.starts_with(begin)).count();
        assert_eq!(lines("hpc_job_cpu_usage_percent{"), 2_000);
        assert_eq!(lines("hpc_job_runtime_seconds{"), 2_000);
        assert_eq!((lines("hpc_node_job_count{"), lines("hpc_user_running_jobs{")), (500, 300));
        assert!(text.contains("hpc_left_out{kind=\"jobs\"} 18000.0"), "what was left out is counted");
        assert!(text.contains("hpc_partition_running_jobs{partition=\"batch\"} 20000.0"), "sums are of all");
        assert!(text.contains("hpc_node_cpu_usage_percent{node=\"n7\"} 50.0"));
    }

    #[test]
    fn what_is_unknown_has_no_figure_and_what_is_old_is_not_shown() {
        // contract: H5
        let mut figures = Figures::new(NOW, BOUNDS);
        figures.run(job(1, None));
        let text = shown(figures.clone(), NOW.plus_seconds(10));
        let runtime = "hpc_job_runtime_seconds{job_id=\"job-1\",user=\"user-1\",node=\"n1\"} 100.0";
        assert!(text.contains(runtime), "{text}");
        assert!(
            text.contains(
                "hpc_job_memory_usage_bytes{job_id=\"job-1\",user=\"user-1\",node=\"n1\"} 2097152.0"
            )
        );
        for unknown in ["cpu_usage", "gpu_usage", "allocated_gpus", "hpc_node_total"] {
            assert!(!text.contains(unknown), "{unknown}: {text}");
        }
        let late = shown(figures, NOW.plus_seconds(600));
        assert!(
            late.contains("hpc_figures_age_seconds 600.0") && !late.contains("hpc_job_runtime"),
            "{late}"
        );
    }

    #[test]
    fn what_a_node_is_called_does_not_change_when_another_cluster_has_one_of_its_name() {
        let lines = |clusters: &[&str]| {
            let mut figures = at_home();
            for cluster in clusters {
                figures.run(Running { cluster: (*cluster).into(), ..job(1, None) });
            }
            let text = shown(figures, NOW);
            let lines = text.lines().filter_map(|line| line.strip_prefix("hpc_node_job_count"));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        let (of_c, of_d) = (r#"{node="n1"} 1.0"#, r#"{node="n1",cluster="d"} 1.0"#);
        assert_eq!(lines(&["c"]), [of_c]);
        assert_eq!(lines(&["d"]), [of_d]);
        assert_eq!(lines(&["c", "d"]), [of_c, of_d]);
    }
}
