//! From what was counted at two looks to what a job uses.

use std::path::Path;
use std::time::Duration;

use libra_api::hpc::samples::{JobSample, MAX_MEMORY_BYTES};
use libra_core::time::Timestamp;

use crate::cgroup::Reading;
use crate::gpu::assign::{GpuUse, Meter};
use crate::job::Job;
use crate::look::{mib, rounded};
use crate::proc::environ;
use crate::proc::process;
use crate::proc::table::Member;
use crate::tally::{Figures, Tally};

/// Two looks that are nearer to each other say nothing of a rate.
const LEAST_TIME: Duration = Duration::from_millis(100);
/// A job can't use more than all processors; more than this part above it is a wrong figure and no inaccuracy.
const TOLERANCE: f64 = 1.1;
/// File pages that are at most this part of a peak leave it a peak of the program's own memory.
const FEW_FILE_PAGES: u64 = 20;
/// A job's environment is looked at for its GPUs so often.
const GPU_TRIES: u8 = 3;
const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// What was read of one job at one look.
#[derive(Debug, Default)]
pub struct Parts {
    /// When, by the even clock.
    pub at: Duration,
    /// Its cgroup, where it has one.
    pub reading: Option<Reading>,
    /// Its processes.
    pub members: Vec<Member>,
    /// All pids of its cgroup, also those of Slurm's own processes.
    pub claimed: Vec<u32>,
}

/// What holds for all jobs of a look.
#[derive(Debug)]
pub struct Rates<'a> {
    /// When the look before was, in clock ticks since the machine was started.
    pub since: u64,
    /// The node's processors.
    pub processors: Option<f64>,
    /// Where `/proc` is.
    pub proc: &'a Path,
}

/// Who has counted the processor time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counter {
    Cgroup,
    Processes,
}

/// What is remembered of a job.
#[derive(Debug, Default)]
pub struct History {
    /// The number of the look at which it was last there.
    pub last_look: u64,
    time: Option<(Counter, Duration, u64)>,
    ticks: Tally,
    read: Tally,
    written: Tally,
    read_bytes: u64,
    written_bytes: u64,
    most_memory: u64,
    most_file_pages: u64,
    joules: Meter,
    gpus: Option<Vec<u32>>,
    gpu_tries: u8,
}

impl History {
    /// What it uses, as far as it is known.
    pub fn sample(
        &mut self,
        job: &Job,
        part: Parts,
        gpu: Option<&GpuUse>,
        rates: &Rates<'_>,
        now: Timestamp,
    ) -> JobSample {
        let reading = part.reading.unwrap_or_default();
        let cores = self.cores(&reading, &part.members, part.at, rates);
        let allotted = match (reading.processors, rates.processors) {
            (Some(granted), Some(all)) => Some(granted.min(all)),
            (granted, all) => granted.or(all),
        };
        let memory = reading.working_set.or_else(|| resident(&part.members)).filter(|bytes| can_be(*bytes));
        let (read, written) = self.storage(&reading, &part.members, rates);
        if gpu.is_none() {
            self.joules.rest();
        }
        let joules = gpu.and_then(|gpu| self.joules.look(gpu.energy_joules.as_ref()));
        let (external_job_id, attempt) = match job {
            Job::Scheduled(id) => (Some(id.clone()), None),
            Job::Attempt(token) => (None, Some(token.clone())),
        };
        JobSample {
            external_job_id,
            attempt,
            timestamp: now.rfc3339(),
            cpu_usage: cores
                .zip(allotted)
                .filter(|(_, allotted)| *allotted > 0.0)
                .map(|(cores, allotted)| rounded((cores / allotted * 100.0).min(100.0))),
            cpu_cores: cores.map(rounded),
            memory_usage_mb: memory.map(mib),
            memory_peak_mb: memory.map(|memory| mib(self.peak(memory, &reading))),
            gpu_usage: gpu.and_then(|gpu| gpu.usage).map(rounded),
            gpu_memory_mb: gpu.and_then(|gpu| gpu.memory).map(mib),
            gpu_power_watts: gpu.and_then(|gpu| gpu.power_watts).map(rounded),
            gpu_energy_joules: joules.map(rounded),
            io_read_bytes: read.and_then(|bytes| i64::try_from(bytes).ok()),
            io_write_bytes: written.and_then(|bytes| i64::try_from(bytes).ok()),
            processes: i64::try_from(part.members.len()).ok(),
        }
    }

    /// The GPUs that its environment says it was given. It is asked a few times: a job has no process at first.
    pub fn allotted(&mut self, proc: &Path, members: &[Member]) -> Option<&[u32]> {
        if self.gpus.is_none() && self.gpu_tries < GPU_TRIES && !members.is_empty() {
            self.gpu_tries += 1;
            self.gpus = members.iter().find_map(|member| environ::of(proc, member.who.pid).gpus);
        }
        self.gpus.as_deref()
    }

    /// Processors at work since the look before; None at the first one, and where the figures can't be true.
    fn cores(
        &mut self,
        reading: &Reading,
        members: &[Member],
        at: Duration,
        rates: &Rates<'_>,
    ) -> Option<f64> {
        let figures: Vec<Figures> = members
            .iter()
            .map(|member| Figures {
                who: member.who,
                own: member.stat.own_ticks,
                waited: member.stat.waited_ticks,
            })
            .collect();
        let ticks = self.ticks.look(&figures, rates.since);
        let (counter, nanos) = if let Some(nanos) = reading.cpu_nanos {
            (Counter::Cgroup, nanos)
        } else {
            let per_tick = NANOS_PER_SECOND / rustix::param::clock_ticks_per_second().max(1);
            (Counter::Processes, ticks.saturating_mul(per_tick))
        };
        let before = self.time.replace((counter, at, nanos));
        let (_, then, used) = before.filter(|(by, _, _)| *by == counter)?;
        let time = at.checked_sub(then).filter(|time| *time >= LEAST_TIME)?;
        let cores = nanos.checked_sub(used)? as f64 / time.as_nanos() as f64;
        match rates.processors {
            Some(all) if cores > all * TOLERANCE => None,
            Some(all) => Some(cores.min(all)),
            None => Some(cores),
        }
    }

    /// The most memory so far. The kernel's own mark has the file pages in it; where there were hardly any it is the
    /// better one, since it sees what was between two looks.
    fn peak(&mut self, memory: u64, reading: &Reading) -> u64 {
        self.most_memory = self.most_memory.max(memory);
        self.most_file_pages = self.most_file_pages.max(reading.file_pages.unwrap_or(0));
        match (reading.peak.filter(|bytes| can_be(*bytes)), reading.file_pages) {
            (Some(peak), Some(_)) if self.most_file_pages <= peak / FEW_FILE_PAGES => {
                peak.max(self.most_memory)
            }
            _ => self.most_memory,
        }
    }

    /// Bytes read and written so far. A cgroup does not see network file systems, and processes take their figures along:
    /// each is a lower bound, so the larger one counts.
    fn storage(
        &mut self,
        reading: &Reading,
        members: &[Member],
        rates: &Rates<'_>,
    ) -> (Option<u64>, Option<u64>) {
        let all: Option<Vec<_>> = members
            .iter()
            .map(|member| Some((member.who, process::io(rates.proc, member.who.pid)?)))
            .collect();
        let (read, written) = all.filter(|all| !all.is_empty()).map_or((None, None), |all| {
            let of = |bytes: fn(&process::Io) -> u64| -> Vec<Figures> {
                all.iter().map(|(who, io)| Figures { who: *who, own: 0, waited: bytes(io) }).collect()
            };
            let read = self.read.look(&of(|io| io.read), rates.since);
            let written = self.written.look(&of(|io| io.written), rates.since);
            (Some(read), Some(written))
        });
        let read = reading.read_bytes.max(read);
        let written = reading.written_bytes.max(written);
        // What could not be read for a moment has not fallen meanwhile.
        self.read_bytes = self.read_bytes.max(read.unwrap_or(0));
        self.written_bytes = self.written_bytes.max(written.unwrap_or(0));
        (read.map(|_| self.read_bytes), written.map(|_| self.written_bytes))
    }
}

/// Whether so many bytes can be anybody's memory: a counter that says more says nothing.
fn can_be(bytes: u64) -> bool {
    bytes <= MAX_MEMORY_BYTES
}

/// Resident memory of processes, in bytes, for jobs whose cgroup counts none: what several share counts for each.
fn resident(members: &[Member]) -> Option<u64> {
    let page = rustix::param::page_size() as u64;
    let sum =
        members.iter().fold(0u64, |sum, member| sum.saturating_add(member.stat.pages.saturating_mul(page)));
    (!members.is_empty()).then_some(sum)
}

#[cfg(test)]
#[path = "measure_tests.rs"]
mod tests;
