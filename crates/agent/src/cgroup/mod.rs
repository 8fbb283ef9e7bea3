//! What a job's cgroup counts, in both versions of cgroups.
//!
//! Slurm makes a directory for each job: `job_17`, or since 26.05 one by the job's SLUID, below a directory of its own,
//! which is in another place on nearly every site. So that directory is looked for, and what is in it is read.

pub mod files;
pub mod find;
pub mod names;
pub mod v1;
pub mod v2;

use std::fs;
use std::path::Path;

/// Directories below a job's one that are looked at for processes, at most.
const MOST_DIRECTORIES: usize = 1_024;
/// What Slurm calls the cgroup of its own process in a step (version 2).
const STEP_DAEMONS: &str = "slurm";

/// What a job's cgroup says. What it does not count is None.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// Processor time so far, of ended processes too, in nanoseconds.
    pub cpu_nanos: Option<u64>,
    /// Memory, without file pages that were not used lately, in bytes.
    pub working_set: Option<u64>,
    /// File pages that are in it, in bytes.
    pub file_pages: Option<u64>,
    /// The most memory so far, file pages included, in bytes.
    pub peak: Option<u64>,
    /// Processors that the job may use, a fraction where a quota says so; None where nothing is said.
    pub processors: Option<f64>,
    /// Bytes read from block devices so far.
    pub read_bytes: Option<u64>,
    /// Bytes written to block devices so far.
    pub written_bytes: Option<u64>,
    /// Its processes.
    pub pids: Vec<u32>,
}

impl Reading {
    /// True when there was nothing to read: the job has ended meanwhile.
    pub fn is_nothing(&self) -> bool {
        self.cpu_nanos.is_none() && self.working_set.is_none() && self.pids.is_empty()
    }

    /// The sum of two cgroups of one job. A peak is none: the two were not reached at the same time.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let sum = |a: Option<u64>, b: Option<u64>| Some(a?.saturating_add(b?));
        let mut pids = self.pids;
        pids.extend(other.pids);
        Self {
            cpu_nanos: sum(self.cpu_nanos, other.cpu_nanos),
            working_set: sum(self.working_set, other.working_set),
            file_pages: sum(self.file_pages, other.file_pages),
            peak: None,
            processors: self.processors.zip(other.processors).map(|(a, b)| a + b),
            read_bytes: sum(self.read_bytes, other.read_bytes),
            written_bytes: sum(self.written_bytes, other.written_bytes),
            pids,
        }
    }
}

/// A file of a cgroup; None when it is not there, or no longer.
fn text(dir: &Path, file: &str) -> Option<String> {
    fs::read_to_string(dir.join(file)).ok()
}

/// A file that holds one number.
fn number(dir: &Path, file: &str) -> Option<u64> {
    text(dir, file)?.trim().parse().ok()
}

/// The processes in a cgroup and below it, but not those of Slurm itself.
fn pids(dir: &Path) -> Vec<u32> {
    let mut found = Vec::new();
    let mut waiting = vec![dir.to_owned()];
    let mut looked = 0;
    while let Some(dir) = waiting.pop() {
        looked += 1;
        if looked > MOST_DIRECTORIES {
            break;
        }
        found.extend(files::pids(&text(&dir, "cgroup.procs").unwrap_or_default()));
        let below = find::directories(&dir).into_iter();
        waiting.extend(below.filter(|(name, _)| name != STEP_DAEMONS).map(|(_, path)| path));
    }
    found.sort_unstable();
    found.dedup();
    found
}
