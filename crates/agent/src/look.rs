//! One look at the node: what its jobs and the whole of it use.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::time::Duration;

use libra_api::hpc::samples::{JobSample, NodeTotals, SampleBatch};
use libra_core::time::Timestamp;

use crate::cgroup::Reading;
use crate::cgroup::find::Tree;
use crate::cgroup::names::JobName;
use crate::gpu::assign::{GpuUse, assign};
use crate::gpu::{Device, Gpus};
use crate::job::Job;
use crate::measure::{History, Parts, Rates};
use crate::proc::environ;
use crate::proc::node::{self, Processors};
use crate::proc::table::{self, Member, Table};

/// Samples in one batch, at most: some 300 KB of JSON.
const BATCH_SAMPLES: usize = 1_000;
/// A job that was not there at so many looks is forgotten.
const FORGET_LOOKS: u64 = 10;
/// `/proc/uptime` counts hundredths of a second.
const UPTIME_HZ: u64 = 100;
/// One mebibyte, in bytes.
const MIB: f64 = 1_048_576.0;

/// Where the kernel's files are; others than `/proc` and `/sys` for recorded trees.
#[derive(Clone, Debug)]
pub struct Roots {
    /// Processes and the node.
    pub proc: PathBuf,
    /// Control groups and devices.
    pub sys: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self { proc: PathBuf::from("/proc"), sys: PathBuf::from("/sys") }
    }
}

/// What one look has seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// A sample of each job.
    pub samples: Vec<JobSample>,
    /// The node.
    pub totals: NodeTotals,
    /// Directories of jobs of which it could not be said which jobs they are.
    pub unnamed: usize,
}

impl Seen {
    /// The same as what is sent: at least one batch, since the node is always there.
    pub fn batches(self, cluster: &str, node: &str) -> Vec<SampleBatch> {
        let batch = |samples: &[JobSample], node_totals| SampleBatch {
            cluster: cluster.to_owned(),
            node: node.to_owned(),
            samples: samples.to_vec(),
            node_totals,
        };
        // Of a job of which nothing could be read there is nothing to say.
        let told: Vec<JobSample> = self.samples.into_iter().filter(JobSample::has_figures).collect();
        let mut pieces = told.chunks(BATCH_SAMPLES);
        let first = batch(pieces.next().unwrap_or_default(), Some(self.totals));
        std::iter::once(first).chain(pieces.map(|piece| batch(piece, None))).collect()
    }
}

/// Looks, and remembers what a rate needs.
pub struct Looker {
    roots: Roots,
    node: Option<String>,
    gpus: Box<dyn Gpus>,
    tree: Tree,
    table: Table,
    sluids: HashMap<String, Job>,
    histories: HashMap<Job, History>,
    processors: Option<Processors>,
    ticks: u64,
    looks: u64,
}

impl Looker {
    /// One that has not looked yet. `node`: only the jobs of the node of this name, where several share a machine.
    pub fn new(roots: Roots, node: Option<String>, gpus: Box<dyn Gpus>) -> Self {
        Self {
            roots,
            node,
            gpus,
            tree: Tree::default(),
            table: Table::default(),
            sluids: HashMap::new(),
            histories: HashMap::new(),
            processors: None,
            ticks: 0,
            looks: 0,
        }
    }

    /// Looks. `clock` goes evenly and never back; `now` is what people's clocks say.
    pub fn look(&mut self, clock: impl Fn() -> Duration, now: Timestamp) -> Seen {
        self.looks += 1;
        let processors = node::processors(&self.roots.proc);
        let since = self.ticks;
        self.ticks = node::uptime(&self.roots.proc).map_or(since, |uptime| {
            uptime.saturating_mul(rustix::param::clock_ticks_per_second()) / UPTIME_HZ
        });
        let (mut parts, unnamed) = self.in_cgroups(&clock);
        let claimed: HashSet<u32> = parts.values().flat_map(|part| part.claimed.iter().copied()).collect();
        let mut is_outside = false;
        for (job, members) in self.table.marked(&self.roots.proc, &claimed, self.node.as_deref()) {
            let part = parts.entry(job.clone()).or_default();
            // Beside a cgroup these are processes that have left it: the cgroup's figures stand for themselves.
            if part.reading.is_none() {
                // Slurm may have been started since its directories were looked for.
                is_outside |= matches!(job, Job::Scheduled(_)) && !self.histories.contains_key(&job);
                part.at = clock();
                part.members = members;
            }
        }
        if is_outside {
            self.tree.look_for_more();
        }
        let devices = self.gpus.look();
        let uses = self.gpu_uses(&devices, &parts);
        let rates =
            Rates { since, processors: processors.map(|seen| f64::from(seen.count)), proc: &self.roots.proc };
        let mut samples = Vec::with_capacity(parts.len());
        for (job, part) in parts {
            let history = self.histories.entry(job.clone()).or_default();
            history.last_look = self.looks;
            samples.push(history.sample(&job, part, uses.get(&job), &rates, now));
        }
        self.histories.retain(|_, history| history.last_look + FORGET_LOOKS > self.looks);
        let totals = self.totals(processors, &devices, now);
        Seen { samples, totals, unnamed }
    }

    /// What cgroups say of jobs, and how many of them have no name yet.
    fn in_cgroups(&mut self, clock: &impl Fn() -> Duration) -> (BTreeMap<Job, Parts>, usize) {
        let mut parts: BTreeMap<Job, Parts> = BTreeMap::new();
        let (mut sluids, mut unnamed) = (HashMap::new(), 0);
        for (name, place) in self.tree.jobs(&self.roots.sys, self.node.as_deref()) {
            let at = clock();
            // What has gone while it was read is no job any more.
            let Some(reading) = place.read(&self.roots.sys) else { continue };
            let members = table::members(&self.roots.proc, &reading.pids);
            let job = match name {
                JobName::Number(id) => Job::Scheduled(id),
                JobName::Sluid(sluid) => {
                    let known = self.sluids.remove(&sluid).or_else(|| self.job_of(&members));
                    let Some(job) = known else {
                        unnamed += 1;
                        continue;
                    };
                    sluids.insert(sluid, job.clone());
                    job
                }
            };
            parts.entry(job).or_default().add(at, reading, members);
        }
        self.sluids = sluids;
        (parts, unnamed)
    }

    /// The job that processes say they belong to.
    fn job_of(&self, members: &[Member]) -> Option<Job> {
        members.iter().find_map(|member| match environ::of(&self.roots.proc, member.who.pid).job {
            Some(job @ Job::Scheduled(_)) => Some(job),
            Some(Job::Attempt(_)) | None => None,
        })
    }

    fn gpu_uses(&mut self, devices: &[Device], parts: &BTreeMap<Job, Parts>) -> HashMap<Job, GpuUse> {
        if devices.is_empty() {
            return HashMap::new();
        }
        let mut allotted = BTreeMap::new();
        let mut owners = HashMap::new();
        for (job, part) in parts {
            owners.extend(part.members.iter().map(|member| (member.who.pid, job)));
            let history = self.histories.entry(job.clone()).or_default();
            if let Some(gpus) = history.allotted(&self.roots.proc, &part.members) {
                allotted.insert(job.clone(), gpus.to_vec());
            }
        }
        assign(devices, |pid| owners.get(&pid).map(|job| (*job).clone()), &allotted)
    }

    fn totals(&mut self, processors: Option<Processors>, devices: &[Device], now: Timestamp) -> NodeTotals {
        let before = self.processors.take();
        self.processors = processors;
        let memory = node::memory(&self.roots.proc);
        let usages: Option<f64> = devices.iter().map(|device| device.usage).sum();
        let is_there = !devices.is_empty();
        NodeTotals {
            timestamp: now.rfc3339(),
            cpu_usage: processors.zip(before).and_then(|(now, before)| now.usage_since(before)).map(rounded),
            cpus: processors.map(|seen| i64::from(seen.count)),
            memory_used_mb: memory.map(|memory| mib(memory.used())),
            memory_total_mb: memory.map(|memory| mib(memory.total)),
            gpu_usage: usages.filter(|_| is_there).map(|sum| rounded(sum / devices.len() as f64)),
            gpus: is_there.then(|| i64::try_from(devices.len()).unwrap_or(i64::MAX)),
        }
    }
}

impl Parts {
    /// Adds a cgroup of the same job: it may have two, of two nodes on one machine.
    fn add(&mut self, at: Duration, reading: Reading, members: Vec<Member>) {
        self.at = at;
        self.claimed.extend(&reading.pids);
        self.members.extend(members);
        self.reading = Some(match self.reading.take() {
            Some(before) => before.and(reading),
            None => reading,
        });
    }
}

/// Bytes in MiB.
pub(crate) fn mib(bytes: u64) -> f64 {
    rounded(bytes as f64 / MIB)
}

/// To thousandths: more says nothing.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}
