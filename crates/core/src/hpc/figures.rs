//! What running jobs come to at one moment, for the exporter (contract H5): series of jobs, and sums by node, user, account
//! and partition. What nobody has measured lately is not there, which is not zero; and however many jobs, nodes and
//! names there are, what is shown is bounded, and what was left out is counted.

use std::collections::{BTreeMap, BTreeSet};

use super::raw_state::HpcState;
use super::record::Amounts;
use super::usage::Figure;
use crate::time::{MICROS_PER_SECOND, Timestamp};

/// What was measured longer ago than this is not what is used now, in microseconds: ten of an agent's usual looks.
pub const STALE_AFTER: i64 = 300 * MICROS_PER_SECOND;

/// How much is shown, at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Jobs on nodes: a job on three nodes counts three times.
    pub jobs: usize,
    /// Nodes.
    pub nodes: usize,
    /// Users; and so many accounts, and partitions.
    pub names: usize,
}

/// What a job uses on a node by its newest sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeUse {
    /// The node.
    pub node: String,
    /// When the newest sample was taken.
    pub at: Option<Timestamp>,
    /// Thousandths of a percent of its processors.
    pub cpu: Option<i64>,
    /// Memory, MiB.
    pub memory_mb: Option<i64>,
    /// Thousandths of a percent of its GPUs.
    pub gpu: Option<i64>,
}

/// A job that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Its id, as lists show it.
    pub id: String,
    /// Its cluster.
    pub cluster: String,
    /// Its owner; empty while unknown.
    pub user: String,
    /// The account that is charged.
    pub account: Option<String>,
    /// Its partition.
    pub partition: Option<String>,
    /// When it began.
    pub started: Option<Timestamp>,
    /// Its nodes.
    pub nodes: Vec<String>,
    /// What it has.
    pub allocated: Amounts,
    /// What it uses.
    pub usage: Vec<NodeUse>,
}

/// Jobs of one owner that wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The owner; empty while unknown.
    pub user: String,
    /// The account that is charged.
    pub account: Option<String>,
    /// The partition, or several with commas between.
    pub partition: Option<String>,
    /// How many.
    pub jobs: u64,
}

/// What a whole node used when its agent last told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeTotals {
    /// Its cluster.
    pub cluster: String,
    /// Its name.
    pub node: String,
    /// When.
    pub at: Timestamp,
    /// Thousandths of a percent of its processors.
    pub cpu: Option<i64>,
    /// Its processors.
    pub cpus: Option<i64>,
    /// Memory that new programs can't have, MiB.
    pub memory_mb: Option<i64>,
    /// Its memory, MiB.
    pub memory_total_mb: Option<i64>,
    /// Thousandths of a percent of its GPUs.
    pub gpu: Option<i64>,
    /// Its GPUs.
    pub gpus: Option<i64>,
}

/// One job on one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobOnNode {
    /// The job.
    pub job: String,
    /// Its owner.
    pub user: String,
    /// The node; empty while unknown.
    pub node: String,
    /// When it began.
    pub started: Option<Timestamp>,
    /// Thousandths of a percent of its processors.
    pub cpu: Option<i64>,
    /// Memory, MiB.
    pub memory_mb: Option<i64>,
    /// Thousandths of a percent of its GPUs.
    pub gpu: Option<i64>,
}

/// Running jobs together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Together {
    /// How many run.
    pub running: u64,
    /// How many wait.
    pub pending: u64,
    /// On how many of them what follows rests.
    pub measured: u64,
    /// Shares of their processors.
    pub cpu: Figure,
    /// Memory, MiB.
    pub memory_mb: Option<i64>,
    /// Shares of their GPUs.
    pub gpu: Figure,
    /// Processors that they have, where that is known of any.
    pub cpus: Option<u64>,
    /// GPUs that they have, likewise.
    pub gpus: Option<u64>,
}

/// What there was no room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Running jobs without series of their own.
    pub jobs: u64,
    /// Nodes.
    pub nodes: u64,
    /// Users.
    pub users: u64,
    /// Accounts.
    pub accounts: u64,
    /// Partitions.
    pub partitions: u64,
}

/// Everything at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figures {
    /// When it was so.
    pub at: Timestamp,
    /// Jobs by their state.
    pub states: BTreeMap<HpcState, u64>,
    /// Running jobs, those that were seen first.
    pub jobs: Vec<JobOnNode>,
    /// By cluster and node.
    pub nodes: BTreeMap<(String, String), Together>,
    /// By user.
    pub users: BTreeMap<String, Together>,
    /// By account.
    pub accounts: BTreeMap<String, Together>,
    /// By partition.
    pub partitions: BTreeMap<String, Together>,
    /// Whole nodes.
    pub totals: Vec<NodeTotals>,
    /// What there was no room for.
    pub left_out: LeftOut,
    /// The cluster that is meant where none is named: its nodes are called by their name alone.
    pub home: String,
    bounds: Bounds,
}

impl Figures {
    /// Nothing yet.
    pub fn new(at: Timestamp, bounds: Bounds) -> Self {
        Self {
            at,
            states: BTreeMap::new(),
            jobs: Vec::new(),
            nodes: BTreeMap::new(),
            users: BTreeMap::new(),
            accounts: BTreeMap::new(),
            partitions: BTreeMap::new(),
            totals: Vec::new(),
            left_out: LeftOut::default(),
            home: String::new(),
            bounds,
        }
    }

    /// Counts a running job in. Jobs come in the order in which they were seen, so that whoever has series keeps them.
    pub fn run(&mut self, mut job: Running) {
        let stale = self.at.plus_micros(-STALE_AFTER);
        job.usage.retain(|usage| usage.at.is_some_and(|at| at >= stale));
        let used = Used::of(&job.usage);
        let count = |groups: &mut BTreeMap<String, Together>, name: Option<&str>| {
            if let Some(name) = name.filter(|name| !name.is_empty()) {
                used.count(groups.entry(name.to_owned()).or_default(), job.allocated);
            }
        };
        count(&mut self.users, Some(&job.user));
        count(&mut self.accounts, job.account.as_deref());
        count(&mut self.partitions, job.partition.as_deref());
        self.on_nodes(&job);
        let series = job.series();
        if self.jobs.len() + series.len() > self.bounds.jobs {
            self.left_out.jobs += 1;
        } else {
            self.jobs.extend(series);
        }
    }

    fn on_nodes(&mut self, job: &Running) {
        for node in job.names() {
            if node.is_empty() {
                continue;
            }
            let group = self.nodes.entry((job.cluster.clone(), node.to_owned())).or_default();
            let here: Vec<NodeUse> = job.usage.iter().filter(|usage| usage.node == node).cloned().collect();
            // What it has of this node is not known where it has several.
            Used::of(&here).count(group, Amounts::default());
        }
    }

    /// Counts jobs in that wait. One that waits for several partitions waits for each.
    pub fn wait(&mut self, pending: &Pending) {
        let Pending { user, account, partition, jobs } = pending;
        let count = |groups: &mut BTreeMap<String, Together>, name: &str| {
            if !name.is_empty() {
                groups.entry(name.to_owned()).or_default().pending += jobs;
            }
        };
        count(&mut self.users, user);
        count(&mut self.accounts, account.as_deref().unwrap_or_default());
        for partition in partition.as_deref().unwrap_or_default().split(',') {
            count(&mut self.partitions, partition.trim());
        }
    }

    /// Keeps to the bounds: of names those with the most jobs.
    pub fn bound(&mut self) {
        let names = self.bounds.names;
        self.left_out.users = keep(&mut self.users, names);
        self.left_out.accounts = keep(&mut self.accounts, names);
        self.left_out.partitions = keep(&mut self.partitions, names);
        self.left_out.nodes = keep(&mut self.nodes, self.bounds.nodes);
        let beyond = self.totals.len().saturating_sub(self.bounds.nodes);
        self.totals.truncate(self.bounds.nodes);
        self.left_out.nodes = self.left_out.nodes.max(beyond as u64);
    }
}

impl Running {
    /// Its nodes, and those where it was measured although nobody has named them.
    fn names(&self) -> BTreeSet<&str> {
        self.nodes.iter().chain(self.usage.iter().map(|usage| &usage.node)).map(String::as_str).collect()
    }

    fn series(&self) -> Vec<JobOnNode> {
        let mut names = self.names();
        if names.is_empty() {
            names.insert("");
        }
        let on = |node: &str| {
            let usage = self.usage.iter().find(|usage| usage.node == node);
            JobOnNode {
                job: self.id.clone(),
                user: self.user.clone(),
                node: node.to_owned(),
                started: self.started,
                cpu: usage.and_then(|usage| usage.cpu),
                memory_mb: usage.and_then(|usage| usage.memory_mb),
                gpu: usage.and_then(|usage| usage.gpu),
            }
        };
        names.into_iter().map(on).collect()
    }
}

/// What one job uses, all of these nodes together.
struct Used {
    cpu: Option<i64>,
    memory_mb: Option<i64>,
    gpu: Option<i64>,
}

impl Used {
    fn of(usage: &[NodeUse]) -> Self {
        let mean = |of: fn(&NodeUse) -> Option<i64>| {
            let (mut sum, mut count) = (0_i64, 0_i64);
            for value in usage.iter().filter_map(of) {
                (sum, count) = (sum.saturating_add(value), count + 1);
            }
            (count > 0).then(|| sum / count)
        };
        let memory = usage.iter().filter_map(|usage| usage.memory_mb);
        Self {
            cpu: mean(|usage| usage.cpu),
            memory_mb: memory.fold(None, |sum: Option<i64>, mb| Some(sum.unwrap_or(0).saturating_add(mb))),
            gpu: mean(|usage| usage.gpu),
        }
    }

    fn count(&self, group: &mut Together, allocated: Amounts) {
        group.running += 1;
        let known = [self.cpu, self.memory_mb, self.gpu].iter().any(Option::is_some);
        group.measured += u64::from(known);
        group.cpu.add(self.cpu, true);
        group.gpu.add(self.gpu, true);
        if let Some(mb) = self.memory_mb {
            group.memory_mb = Some(group.memory_mb.unwrap_or(0).saturating_add(mb));
        }
        let add = |sum: &mut Option<u64>, amount: Option<u64>| {
            if let Some(amount) = amount {
                *sum = Some(sum.unwrap_or(0).saturating_add(amount));
            }
        };
        add(&mut group.cpus, allocated.cpus);
        add(&mut group.gpus, allocated.gpus);
    }
}

/// Keeps the `most` groups with the most jobs; says how many went.
fn keep<K: Ord + Clone>(groups: &mut BTreeMap<K, Together>, most: usize) -> u64 {
    let beyond = groups.len().saturating_sub(most);
    if beyond > 0 {
        let jobs = |group: &Together| group.running.saturating_add(group.pending);
        let mut by_jobs: Vec<(u64, K)> =
            groups.iter().map(|(name, group)| (jobs(group), name.clone())).collect();
        by_jobs.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        for (_, name) in by_jobs.split_off(most) {
            groups.remove(&name);
        }
    }
    beyond as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_700_000_000_000_000);
    const BOUNDS: Bounds = Bounds { jobs: 5, nodes: 3, names: 2 };

    fn used(node: &str, ago: i64, cpu: Option<i64>, memory_mb: Option<i64>) -> NodeUse {
        NodeUse { node: node.into(), at: Some(NOW.plus_seconds(-ago)), cpu, memory_mb, gpu: None }
    }

    fn job(id: &str, user: &str, nodes: &[&str], usage: Vec<NodeUse>) -> Running {
        Running {
            id: id.into(),
            cluster: "c".into(),
            user: user.into(),
            account: None,
            partition: Some("p".into()),
            started: Some(NOW.plus_seconds(-60)),
            nodes: nodes.iter().map(|node| (*node).to_owned()).collect(),
            allocated: Amounts { cpus: Some(4), ..Amounts::default() },
            usage,
        }
    }

    #[test]
    fn what_nobody_has_measured_lately_is_unknown_and_not_zero() {
        let mut figures = Figures::new(NOW, BOUNDS);
        figures.run(job("1", "ann", &["n1", "n2"], vec![used("n1", 10, Some(50_000), Some(100))]));
        figures.run(job("2", "ann", &["n1"], vec![used("n1", 400, Some(90_000), Some(900))]));
        let on: Vec<_> = figures.jobs.iter().map(|on| (on.job.as_str(), on.node.as_str(), on.cpu)).collect();
        assert_eq!(on, [("1", "n1", Some(50_000)), ("1", "n2", None), ("2", "n1", None)]);
        let ann = &figures.users["ann"];
        assert_eq!(
            (ann.running, ann.measured, ann.cpu.mean(), ann.memory_mb),
            (2, 1, Some(50_000.0), Some(100))
        );
        assert_eq!((ann.cpus, ann.gpus, ann.gpu.mean()), (Some(8), None, None));
        let n2 = &figures.nodes[&("c".to_owned(), "n2".to_owned())];
        assert_eq!((n2.running, n2.measured, n2.memory_mb), (1, 0, None));
        assert!(figures.accounts.is_empty(), "nobody knows it");
    }

    #[test]
    fn what_is_shown_is_bounded_and_the_rest_is_counted() {
        let mut figures = Figures::new(NOW, BOUNDS);
        for n in 0..10 {
            let user = ["ann", "bob", "cat", "ann"][n % 4];
            figures.run(job(&n.to_string(), user, &[&format!("n{n}")], Vec::new()));
        }
        figures.wait(&Pending { user: "cat".into(), account: None, partition: Some("p,q".into()), jobs: 9 });
        figures.bound();
        assert_eq!(figures.jobs.len(), 5);
        assert_eq!(figures.jobs.last().map(|on| on.job.as_str()), Some("4"), "who has series keeps them");
        assert_eq!(figures.users.keys().collect::<Vec<_>>(), ["ann", "cat"]);
        assert_eq!((figures.partitions["p"].pending, figures.partitions["q"].pending), (9, 9));
        let left_out = LeftOut { jobs: 5, nodes: 7, users: 1, accounts: 0, partitions: 0 };
        assert_eq!(figures.left_out, left_out);
    }

    #[test]
    fn a_job_has_all_its_series_or_none() {
        let mut figures = Figures::new(NOW, BOUNDS);
        figures.run(job("1", "ann", &["n1", "n2", "n3"], Vec::new()));
        figures.run(job("2", "ann", &["n1", "n2", "n3"], Vec::new()));
        figures.run(job("3", "ann", &["n1"], Vec::new()));
        let jobs: Vec<&str> = figures.jobs.iter().map(|on| on.job.as_str()).collect();
        assert_eq!((jobs, figures.left_out.jobs), (vec!["1", "1", "1", "3"], 1));
    }
}
