//! What a job was given beside what it has used (contract H7), and what is wasted while it still runs. Nothing is said of
//! what nobody has measured: unknown is a value, and each figure says how much of the job's time was measured.

use serde::{Deserialize, Serialize};

use super::job::HpcJob;
use super::raw_state::HpcState;
use super::record::Amounts;
use super::usage::{Figure, PER_PERCENT, Totals};
use crate::time::{MICROS_PER_SECOND, Timestamp};

/// Thousandths of a processor in one.
const MILLICORES: f64 = 1_000.0;
/// A full percentage.
const ALL: f64 = 100.0;

/// From when on something is a waste, and how much has to be known for that.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// A job has to have run for so long, in microseconds.
    pub least_runtime: i64,
    /// So much of its time on its nodes has to have been measured; percent.
    pub least_coverage: f64,
    /// GPUs that were this busy in the mean, or less, are idle; percent.
    pub idle_gpu: f64,
    /// Memory is too large when it is so many times what was needed at most.
    pub memory_factor: f64,
    /// Of less memory than this nothing is said, MiB.
    pub least_memory_mb: u64,
    /// Processors at work in the mean, at most, of a job that keeps one of many busy.
    pub busy_cores: f64,
    /// Of fewer processors than this nothing is said.
    pub least_cores: u64,
}

/// What a job was given of something beside what it has used. None is unknown, which is not zero.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Share {
    /// What it asked for.
    pub requested: Option<f64>,
    /// What it had.
    pub allocated: Option<f64>,
    /// What it used of that.
    pub used: Option<f64>,
    /// The same as percent of what it had, else of what it asked for.
    pub percent: Option<f64>,
    /// How much of its time on its nodes this rests on; percent.
    pub coverage: f64,
}

/// What a job has made of what it was given.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Efficiency {
    /// Seconds that it has run.
    pub runtime: Option<f64>,
    /// Samples that all of this rests on.
    pub samples: i64,
    /// Processors times seconds.
    pub cpu: Share,
    /// Memory, MiB: the most at any time, of all nodes together.
    pub memory: Share,
    /// GPUs times seconds.
    pub gpu: Share,
    /// Seconds of its time limit.
    pub time: Share,
}

/// What a run was given, as far as that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Given {
    /// Seconds that it has run.
    pub runtime: Option<f64>,
    /// What it asked for.
    pub requested: Amounts,
    /// What it has; what it asked for, where that is not said.
    pub allocated: Amounts,
    /// How many nodes it has at once.
    pub nodes: usize,
    /// Seconds that it may run.
    pub limit_seconds: Option<f64>,
}

impl Given {
    /// What an observed job was given by `now`.
    pub fn to(job: &HpcJob, now: Timestamp) -> Self {
        let record = &job.record;
        Self {
            runtime: job.runtime_seconds(now),
            requested: record.requested,
            allocated: record.allocated,
            nodes: record.node_count.map_or(0, |count| count as usize).max(record.nodes.len()),
            limit_seconds: record.time_limit_minutes.map(|minutes| f64::from(minutes) * 60.0),
        }
    }
}

impl Efficiency {
    /// What a job has made of what it was given by `now`; `usage` is what it used on each of its nodes.
    pub fn of(job: &HpcJob, usage: &[Totals], now: Timestamp) -> Self {
        Self::of_given(&Given::to(job, now), usage)
    }

    /// What was made of what was given; `usage` is what was used on each node.
    pub fn of_given(given: &Given, usage: &[Totals]) -> Self {
        let runtime = given.runtime.filter(|seconds| *seconds > 0.0);
        let nodes = Nodes { usage, all: given.nodes.max(usage.len()).max(1) as f64, runtime };
        let (requested, allocated) = (given.requested, given.allocated.or(given.requested));
        let times = |amount: Option<u64>| Some(amount? as f64 * runtime?);
        let cores = cores(usage, allocated.cpus, nodes.all);
        let seconds = |used: Option<f64>| Some(used? * runtime?);
        let peaks = usage.iter().map(|totals| totals.memory_peak_mb.max(totals.memory_mb.max));
        let limit = given.limit_seconds;
        Self {
            runtime,
            samples: usage.iter().map(|totals| totals.samples).sum(),
            cpu: nodes.share(times(requested.cpus), times(allocated.cpus), seconds(cores), |t| {
                t.cpu.count.max(t.millicores.count)
            }),
            memory: nodes.share(
                requested.memory_mb.map(|mb| mb as f64),
                allocated.memory_mb.map(|mb| mb as f64),
                sum(peaks.map(|mb| mb.map(|mb| mb as f64))),
                |t| t.memory_mb.count,
            ),
            gpu: nodes.share(
                times(requested.gpus),
                times(allocated.gpus),
                gpus(usage, allocated.gpus, nodes.all).and_then(|busy| seconds(Some(busy))),
                |t| t.gpu.count,
            ),
            time: Share {
                requested: limit,
                allocated: limit,
                used: runtime,
                percent: limit.zip(runtime).map(|(limit, ran)| ALL * ran / limit),
                coverage: if runtime.is_some() { ALL } else { 0.0 },
            },
        }
    }
}

/// How many nodes a job has, and how much of its time on them was measured.
struct Nodes<'a> {
    usage: &'a [Totals],
    all: f64,
    runtime: Option<f64>,
}

impl Nodes<'_> {
    /// How much of the time on all nodes a figure is known for, percent.
    fn coverage(&self, known: fn(&Totals) -> i64) -> f64 {
        let Some(runtime) = self.runtime else { return 0.0 };
        let covered = self.usage.iter().filter(|totals| totals.samples > 0).map(|totals| {
            let seconds = totals.covered as f64 / MICROS_PER_SECOND as f64;
            seconds * known(totals) as f64 / totals.samples as f64
        });
        // The sum of nothing is a negative zero.
        (ALL * covered.sum::<f64>().abs() / (runtime * self.all)).clamp(0.0, ALL)
    }

    /// A share: where some nodes were not measured, they are taken to be as the others.
    fn share(
        &self,
        requested: Option<f64>,
        allocated: Option<f64>,
        used: Option<f64>,
        known: fn(&Totals) -> i64,
    ) -> Share {
        let measured = self.usage.iter().filter(|totals| known(totals) > 0).count() as f64;
        let used = used.filter(|_| measured > 0.0).map(|used| used * self.all / measured);
        let percent = used.zip(allocated.or(requested)).filter(|(_, of)| *of > 0.0);
        let percent = percent.map(|(used, of)| ALL * used / of);
        Share { requested, allocated, used, percent, coverage: self.coverage(known) }
    }
}

fn sum(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    values.flatten().fold(None, |sum: Option<f64>, value| Some(sum.unwrap_or(0.0) + value))
}

/// Processors at work in the mean, of the nodes that were measured: by the processors' own time, and where only the share
/// of a job's processors is known, by that.
fn cores(usage: &[Totals], allocated: Option<u64>, nodes: f64) -> Option<f64> {
    sum(usage.iter().map(|totals| match totals.millicores.mean() {
        Some(mean) => Some(mean / MILLICORES),
        None => of_share(&totals.cpu, allocated, nodes),
    }))
}

/// GPUs at work in the mean, of the nodes that were measured. A job without GPUs wastes none.
fn gpus(usage: &[Totals], allocated: Option<u64>, nodes: f64) -> Option<f64> {
    sum(usage.iter().map(|totals| of_share(&totals.gpu, allocated, nodes)))
}

/// What a mean share comes to of what there is on one node.
fn of_share(share: &Figure, allocated: Option<u64>, nodes: f64) -> Option<f64> {
    Some(share.mean()? / PER_PERCENT / ALL * allocated? as f64 / nodes)
}

/// What is wasted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// GPUs that do nothing.
    IdleGpu,
    /// Far more memory than is needed.
    OversizedMemory,
    /// Many processors of which one is at work.
    IdleCores,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::IdleGpu, Self::OversizedMemory, Self::IdleCores];

    /// The spelling on the wire and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::IdleGpu => "idle_gpu",
            Self::OversizedMemory => "oversized_memory",
            Self::IdleCores => "idle_cores",
        }
    }

    /// Reads the spelling.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// That something is wasted, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What.
    pub kind: Kind,
    /// The figures that say so, and what to do.
    pub message: String,
}

/// What a job wastes while it runs; nothing, as long as not enough is known.
pub fn verdicts(job: &HpcJob, found: &Efficiency, thresholds: &Thresholds) -> Vec<Verdict> {
    let runs = job.hpc_state() == HpcState::Running;
    let least = thresholds.least_runtime as f64 / MICROS_PER_SECOND as f64;
    let Some(runtime) = found.runtime.filter(|runtime| runs && *runtime >= least) else { return Vec::new() };
    let known = |share: &Share| share.coverage >= thresholds.least_coverage;
    let mut told = Vec::new();
    let Efficiency { cpu, memory, gpu, .. } = found;
    let gpus = gpu.allocated.map(|seconds| seconds / runtime).filter(|gpus| *gpus >= 1.0);
    if let (Some(gpus), Some(percent)) = (gpus, gpu.percent)
        && known(gpu)
        && percent <= thresholds.idle_gpu
    {
        let message = format!(
            "its {gpus:.0} GPUs were busy for {percent:.1} % of the time ({:.0} % of it measured): does it use them at all?",
            gpu.coverage
        );
        told.push(Verdict { kind: Kind::IdleGpu, message });
    }
    if let (Some(has), Some(needs)) = (memory.allocated.or(memory.requested), memory.used)
        && known(memory)
        && has >= thresholds.least_memory_mb as f64
        && has >= thresholds.memory_factor * needs
    {
        let message = format!(
            "it has {has:.0} MiB of memory and has needed {needs:.0} MiB at most so far ({:.0} % of its time measured): ask for less",
            memory.coverage
        );
        told.push(Verdict { kind: Kind::OversizedMemory, message });
    }
    if let (Some(has), Some(used)) = (cpu.allocated, cpu.used)
        && known(cpu)
        && has / runtime >= thresholds.least_cores as f64
        && used / runtime <= thresholds.busy_cores
    {
        let message = format!(
            "{:.1} of its {:.0} processors were at work in the mean ({:.0} % of its time measured): does it know of the others?",
            used / runtime,
            has / runtime,
            cpu.coverage
        );
        told.push(Verdict { kind: Kind::IdleCores, message });
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hpc::record::Record;
    use crate::hpc::usage::Sample;
    use crate::id::JobId;
    use crate::job::State;

    const BEGUN: Timestamp = Timestamp(1_700_000_000_000_000);
    const MINUTE: i64 = 60 * MICROS_PER_SECOND;
    const THRESHOLDS: Thresholds = Thresholds {
        least_runtime: 10 * MINUTE,
        least_coverage: 50.0,
        idle_gpu: 1.0,
        memory_factor: 5.0,
        least_memory_mb: 1_024,
        busy_cores: 1.25,
        least_cores: 4,
    };

    fn job(nodes: &[&str], has: Amounts) -> HpcJob {
        HpcJob {
            id: JobId::new(BEGUN, [1; 10]),
            revision: 1,
            state: State::Running,
            tenant: "t".into(),
            client_id: None,
            cluster: "c".into(),
            run: 1,
            record: Record {
                raw_state: "RUNNING".into(),
                started: Some(BEGUN),
                nodes: nodes.iter().map(|node| (*node).to_owned()).collect(),
                requested: has,
                allocated: has,
                time_limit_minutes: Some(60),
                ..Record::default()
            },
            hint: None,
            failure: None,
            correlation_id: String::new(),
            created_at: BEGUN,
            updated_at: BEGUN,
        }
    }

    fn measured(minutes: i64, sample: &Sample) -> Totals {
        let mut totals = Totals::default();
        for n in 0..=minutes * 2 {
            totals.add(&Sample { at: BEGUN.plus_seconds(30 * n), ..sample.clone() });
        }
        totals
    }

    fn found(job: &HpcJob, usage: &[Totals], minutes: i64) -> (Efficiency, Vec<Kind>) {
        let found = Efficiency::of(job, usage, BEGUN.plus_micros(minutes * MINUTE));
        let told = verdicts(job, &found, &THRESHOLDS);
        (found, told.into_iter().map(|verdict| verdict.kind).collect())
    }

    fn wasteful() -> Sample {
        Sample { millicores: Some(1_000), memory_mb: Some(500), gpu: Some(0), ..Sample::at(BEGUN) }
    }

    const MUCH: Amounts = Amounts { cpus: Some(64), memory_mb: Some(64_000), gpus: Some(2) };

    #[test]
    fn what_was_given_stands_beside_what_was_used() {
        let job = job(&["n1"], MUCH);
        let (found, told) = found(&job, &[measured(30, &wasteful())], 30);
        assert_eq!((found.cpu.allocated, found.cpu.used), (Some(64.0 * 1_800.0), Some(1_800.0)));
        assert_eq!((found.memory.used, found.gpu.percent), (Some(500.0), Some(0.0)));
        assert_eq!((found.time.percent, found.cpu.coverage), (Some(50.0), 100.0));
        assert_eq!(told, [Kind::IdleGpu, Kind::OversizedMemory, Kind::IdleCores]);
    }

    #[test]
    fn nothing_is_said_of_what_is_unknown() {
        let job = job(&["n1"], MUCH);
        let (found, told) = found(&job, &[], 30);
        assert_eq!(
            (found.cpu.used, found.memory.percent, found.gpu.coverage, told),
            (None, None, 0.0, vec![])
        );
        // Memory alone is known, and of ten of thirty minutes only.
        let memory = Sample { memory_mb: Some(10), ..Sample::at(BEGUN) };
        let short = self::found(&job, &[measured(10, &memory)], 30);
        assert_eq!((short.0.memory.percent.is_some(), short.0.cpu.percent, short.1), (true, None, vec![]));
        let enough = self::found(&job, &[measured(20, &memory)], 30);
        assert_eq!(enough.1, [Kind::OversizedMemory]);
        let mut unsaid = job.clone();
        unsaid.record.allocated = Amounts::default();
        unsaid.record.requested = Amounts::default();
        let (found, told) = self::found(&unsaid, &[measured(30, &wasteful())], 30);
        assert_eq!((found.cpu.used, found.cpu.percent, told), (Some(1_800.0), None, vec![]));
    }

    #[test]
    fn a_young_or_ended_job_gets_no_verdict() {
        let mut job = job(&["n1"], MUCH);
        assert_eq!(found(&job, &[measured(9, &wasteful())], 9).1, []);
        job.state = State::Succeeded;
        job.record.ended = Some(BEGUN.plus_micros(30 * MINUTE));
        let (found, told) = found(&job, &[measured(30, &wasteful())], 90);
        assert_eq!((found.runtime, told), (Some(1_800.0), vec![]));
    }

    #[test]
    fn nodes_that_were_not_measured_count_as_unknown_time() {
        let job = job(&["n1", "n2", "n3"], MUCH);
        let (one, told) = found(&job, &[measured(30, &wasteful())], 30);
        assert_eq!((one.cpu.used, one.memory.used), (Some(3.0 * 1_800.0), Some(1_500.0)), "as the others");
        assert!((one.cpu.coverage - 100.0 / 3.0).abs() < 0.01 && told.is_empty(), "{one:?}");
        let half = Sample { cpu: Some(50_000), ..Sample::at(BEGUN) };
        let (all, _) = found(&job, &[measured(30, &half), measured(30, &half), measured(30, &half)], 30);
        assert_eq!(
            (all.cpu.percent, all.cpu.coverage),
            (Some(50.0), 100.0),
            "by the share of its processors"
        );
    }
}
