//! What jobs that are made up use, and the nodes that they are on.

use super::job::Job;
use super::{MockCluster, NODE_CPUS, NODE_GPUS, NODE_MEMORY_MB, name};
use crate::hpc::end::End;
use crate::simulate::Dice;

/// A full percentage.
const ALL: f64 = 100.0;
/// How long usage takes to rise and fall once, in seconds.
const WAVE: f64 = 900.0;
/// By how much of itself it does so.
const RISES: f64 = 0.15;
/// By how much of itself it trembles beside.
const TREMBLES: f64 = 0.05;
/// Memory is what it will be after this part of the run.
const GROWN: f64 = 0.25;
/// Of the memory so far a job always holds this part at least.
const HELD: f64 = 0.9;
/// What the node's own system uses, of processors and of memory.
const SYSTEM: (f64, f64) = (0.005, 0.01);
/// Memory of a GPU, in MiB.
const GPU_MEMORY_MB: f64 = 40.0 * 1_024.0;
/// Watts of a GPU that does nothing, and of one that does all it can.
const GPU_WATTS: (f64, f64) = (60.0, 400.0);

/// A node and its jobs at one time.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeUse {
    /// Its name.
    pub node: String,
    /// Percent of its processors.
    pub cpu_percent: f64,
    /// Its processors.
    pub cpus: u64,
    /// Memory in use, MiB.
    pub memory_mb: f64,
    /// Its memory, MiB.
    pub memory_total_mb: f64,
    /// Percent of its GPUs; None where it has none.
    pub gpu_percent: Option<f64>,
    /// Its GPUs; None where it has none.
    pub gpus: Option<u64>,
    /// The jobs that run on it.
    pub jobs: Vec<JobUse>,
}

/// A job on one node at one time.
#[derive(Clone, Debug, PartialEq)]
pub struct JobUse {
    /// Its number.
    pub external_id: String,
    /// Percent of its processors.
    pub cpu_percent: f64,
    /// Processors at work.
    pub cores: f64,
    /// Memory, MiB.
    pub memory_mb: f64,
    /// The most memory so far, MiB.
    pub memory_peak_mb: f64,
    /// Its GPUs; None where it has none.
    pub gpu: Option<GpuUse>,
    /// Bytes read so far.
    pub read_bytes: i64,
    /// Bytes written so far.
    pub written_bytes: i64,
}

/// The GPUs of a job on one node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GpuUse {
    /// Percent.
    pub percent: f64,
    /// Memory of all of them, MiB.
    pub memory_mb: f64,
    /// Watts of all of them.
    pub watts: f64,
    /// Joules of all of them so far.
    pub joules: f64,
}

/// A node with those of the running jobs that are on it.
pub(super) fn of_node(node: u32, running: &[Job], at: i64) -> NodeUse {
    let on = running.iter().filter(|job| job.nodes.contains(&node));
    let jobs: Vec<(u64, JobUse)> = on.map(|job| (job.gpus, of_job(job, node, at))).collect();
    let cores: f64 = jobs.iter().map(|(_, job)| job.cores).sum();
    let memory: f64 = jobs.iter().map(|(_, job)| job.memory_mb).sum();
    let busy_gpus = jobs.iter().filter_map(|(gpus, job)| Some(*gpus as f64 * job.gpu?.percent));
    let (cpus, memory_total_mb) = (NODE_CPUS as f64, NODE_MEMORY_MB as f64);
    let gpus = MockCluster::has_gpus(node).then_some(NODE_GPUS);
    NodeUse {
        node: name(node),
        cpu_percent: (ALL * (cores / cpus + SYSTEM.0)).min(ALL),
        cpus: NODE_CPUS,
        memory_mb: (memory + SYSTEM.1 * memory_total_mb).min(memory_total_mb),
        memory_total_mb,
        gpu_percent: gpus.map(|gpus| busy_gpus.sum::<f64>() / gpus as f64),
        gpus,
        jobs: jobs.into_iter().map(|(_, job)| job).collect(),
    }
}

fn of_job(job: &Job, node: u32, at: i64) -> JobUse {
    let started = job.started.unwrap_or(at);
    let (age, ran) = ((at - started).max(0), (job.ended - started).max(1));
    let mut dice = Dice::new(job.habits.dice ^ (at.unsigned_abs() << 8) ^ u64::from(node));
    // Each job rises and falls at its own time.
    let phase = (job.number % 97) as f64 / 97.0;
    let rises = RISES * (std::f64::consts::TAU * (age as f64 / WAVE + phase)).sin();
    let mut varied = |mean: f64| {
        let trembles = TREMBLES * (2.0 * dice.unit() - 1.0);
        (mean * (1.0 + rises + trembles)).clamp(0.0, 1.0)
    };
    let busy = varied(job.habits.busy);
    let gpu_busy = varied(job.habits.gpu_busy);
    let part = age as f64 / ran as f64;
    // Who runs out of memory grows until the end, all others are as large as they get rather soon.
    let grown = match job.end {
        End::OutOfMemory => part,
        End::Completed
        | End::Failed
        | End::Timeout
        | End::Deadline
        | End::NodeFail
        | End::BootFail
        | End::Cancelled
        | End::Preempted
        | End::Revoked => job.habits.memory * (part / GROWN).min(1.0),
    };
    let peak = job.memory_mb as f64 * grown.min(1.0);
    let gpus = job.gpus as f64;
    let watts = |busy: f64| gpus * (GPU_WATTS.0 + (GPU_WATTS.1 - GPU_WATTS.0) * busy);
    JobUse {
        external_id: job.number.to_string(),
        cpu_percent: ALL * busy,
        cores: job.cpus as f64 * busy,
        memory_mb: peak * (HELD + (1.0 - HELD) * dice.unit()),
        memory_peak_mb: peak,
        gpu: (job.gpus > 0).then(|| GpuUse {
            percent: ALL * gpu_busy,
            memory_mb: gpus * GPU_MEMORY_MB * job.habits.memory * gpu_busy.min(1.0),
            watts: watts(gpu_busy),
            joules: watts(job.habits.gpu_busy) * age as f64,
        }),
        read_bytes: job.habits.reads.saturating_mul(age),
        written_bytes: job.habits.writes.saturating_mul(age),
    }
}
