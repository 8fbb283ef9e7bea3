//! A cluster that is made up (contract H4): jobs that are submitted, wait, run and end in different states, and what they
//! use meanwhile. For people who try dashboards and reports where there is no Slurm.
//!
//! All of it follows from a seed and the time, and nothing is remembered: whoever asks again, after a restart as well, is
//! told the same story. A node has a few places, a place has one job after the other in cells of time of its own, so that
//! no processor is given twice.

mod job;
mod usage;

#[cfg(test)]
mod tests;

use job::Job;
pub use usage::{GpuUse, JobUse, NodeUse};

use super::record::Record;
use crate::simulate::Dice;
use crate::time::{MICROS_PER_SECOND, Timestamp};

/// The most nodes: numbers of jobs have room for no more.
pub const MOST_NODES: u32 = 256;
/// Its first jobs, in seconds since the Unix epoch: 2026-01-01T00:00:00Z.
const BEGIN: i64 = 1_767_225_600;
/// The shortest cell of time, in seconds.
const TICK: i64 = 600;
/// Jobs that have ended are told of for so long, in seconds, as Slurm does (`MinJobAge`).
const KEPT: i64 = 300;
/// Of more time than this at once accounting tells nothing, in seconds.
const ACCOUNTED: i64 = 86_400;
/// Processors of a node.
const NODE_CPUS: u64 = 64;
/// Memory of a node, in MiB.
const NODE_MEMORY_MB: u64 = 256 * 1_024;
/// One in so many nodes, the last of them, has GPUs.
const GPU_NODES: u32 = 4;
/// GPUs of a node that has any.
const NODE_GPUS: u64 = 4;

/// A part of a node that one job has at a time.
struct Place {
    /// How long its cells are.
    ticks: i64,
    cpus: u64,
    memory_mb: u64,
    /// Where the node has GPUs.
    gpus: u64,
}

/// Together they are a node.
const PLACES: [Place; 4] = [
    Place { ticks: 1, cpus: 8, memory_mb: 32 * 1_024, gpus: 0 },
    Place { ticks: 1, cpus: 8, memory_mb: 32 * 1_024, gpus: 0 },
    Place { ticks: 6, cpus: 16, memory_mb: 64 * 1_024, gpus: 1 },
    Place { ticks: 24, cpus: 32, memory_mb: 128 * 1_024, gpus: 3 },
];
/// The place of jobs that may have the same one on the next node as well.
const WIDE: usize = 2;

/// The cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MockCluster {
    seed: u64,
    nodes: u32,
}

/// Where and when a job has its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cell {
    node: u32,
    place: usize,
    /// When it begins, in ticks; and a little later, each place at its own time.
    tick: i64,
}

impl Cell {
    /// The number of the job in it: greater ones came later, more or less.
    fn number(self) -> u64 {
        let place = u64::try_from(self.place).unwrap_or(0);
        let tick = u64::try_from(self.tick).unwrap_or(0);
        (tick * u64::from(MOST_NODES) + u64::from(self.node)) * PLACES.len() as u64 + place + 1
    }

    /// The cell of the job with a number.
    fn of(number: u64) -> Option<Self> {
        let number = number.checked_sub(1)?;
        let places = PLACES.len() as u64;
        let place = usize::try_from(number % places).ok()?;
        let node = u32::try_from(number / places % u64::from(MOST_NODES)).ok()?;
        let tick = i64::try_from(number / places / u64::from(MOST_NODES)).ok()?;
        (tick % PLACES[place].ticks == 0).then_some(Self { node, place, tick })
    }

    /// When it begins, in seconds.
    fn begin(self) -> i64 {
        BEGIN.saturating_add(self.tick.saturating_mul(TICK)).saturating_add(self.later())
    }

    /// So many seconds after its tick: a cluster does not begin all of its jobs at once. A node and its neighbour do, since a
    /// job may be on both.
    fn later(self) -> i64 {
        let of = u64::from(self.node / 2) * PLACES.len() as u64 + self.place as u64;
        let seconds = u64::try_from(self.seconds()).unwrap_or(0);
        i64::try_from(Dice::new(of).below(seconds)).unwrap_or(0)
    }

    /// How long it is, in seconds.
    fn seconds(self) -> i64 {
        PLACES[self.place].ticks * TICK
    }
}

impl MockCluster {
    /// The cluster of a seed, with so many nodes: one at least, [`MOST_NODES`] at most.
    pub fn new(seed: u64, nodes: u32) -> Self {
        Self { seed, nodes: nodes.clamp(1, MOST_NODES) }
    }

    /// What its scheduler says at `now` of all jobs that it still knows.
    pub fn records(&self, now: Timestamp) -> Vec<Record> {
        let at = seconds(now);
        let known = self.jobs(at, at).filter(|job| at < job.ended.saturating_add(KEPT));
        known.filter_map(|job| job.record(at)).collect()
    }

    /// What its accounting says at `now` of one job, however long ago that was.
    pub fn record(&self, number: &str, now: Timestamp) -> Option<Record> {
        let cell = Cell::of(number.parse().ok()?).filter(|cell| cell.node < self.nodes)?;
        Job::of(self, cell)?.record(seconds(now))
    }

    /// What its accounting says at `now` of the jobs that waited, ran or ended between two times: of the last day of it.
    pub fn records_between(&self, (from, until): (Timestamp, Timestamp), now: Timestamp) -> Vec<Record> {
        let until = seconds(until.min(now));
        let from = seconds(from).max(until.saturating_sub(ACCOUNTED));
        let meant = self.jobs(from, until).filter(|job| job.submitted <= until && job.ended >= from);
        meant.filter_map(|job| job.record(seconds(now))).collect()
    }

    /// What its nodes and the jobs on them use at a time.
    pub fn uses(&self, at: Timestamp) -> Vec<NodeUse> {
        let second = seconds(at);
        let running: Vec<Job> = self.jobs(second, second).filter(|job| job.runs(second)).collect();
        (0..self.nodes).map(|node| usage::of_node(node, &running, second)).collect()
    }

    /// Whether a node has GPUs.
    fn has_gpus(node: u32) -> bool {
        node % GPU_NODES == GPU_NODES - 1
    }

    /// All jobs of which anything can be told between two times.
    fn jobs(&self, from: i64, until: i64) -> impl Iterator<Item = Job> {
        let places = (0..self.nodes).flat_map(|node| (0..PLACES.len()).map(move |place| (node, place)));
        places.flat_map(move |(node, place)| {
            let ticks = PLACES[place].ticks;
            let seconds = ticks * TICK;
            let begin = Cell { node, place, tick: 0 }.begin();
            let cell = |at: i64| at.saturating_sub(begin).div_euclid(seconds).max(0);
            // A job is submitted half a cell before its own at the earliest, and has ended with it.
            let first = cell(from.saturating_sub(KEPT));
            let last = cell(until.saturating_add(seconds / 2));
            let cells = (first..=last).map(move |n| Cell { node, place, tick: n.saturating_mul(ticks) });
            cells.filter_map(|cell| Job::of(self, cell))
        })
    }
}

/// What a node is called.
fn name(node: u32) -> String {
    format!("mock-{:03}", node + 1)
}

fn seconds(at: Timestamp) -> i64 {
    at.0.div_euclid(MICROS_PER_SECOND)
}

fn timestamp(seconds: i64) -> Timestamp {
    Timestamp(seconds.saturating_mul(MICROS_PER_SECOND))
}
