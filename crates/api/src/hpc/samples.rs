//! What a node agent sends: `POST /v1/metrics/batch` (contract H2, H3).
//!
//! Whatever is measured is optional. Absent is unknown, which is not zero. Who gets no answer may send the same batch
//! again: a sample is known by its job, its node and its time.

use libra_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::problem::Violation;

/// Samples in a batch, at most.
pub const MAX_SAMPLES: usize = 10_000;
/// A name of a cluster, a node or a job, in bytes, at most.
pub const MAX_NAME_BYTES: usize = 255;
/// A sample may be so many seconds ahead of the server's clock: nodes' clocks differ.
pub const MAX_AHEAD_SECONDS: i64 = 300;
/// A sample may be so many seconds old, 30 days: an agent keeps what it could not send.
pub const MAX_AGE_SECONDS: i64 = 30 * 24 * 3_600;
/// The greatest amount of anything: sums of a great many of these are still whole numbers.
const MOST_AMOUNT: f64 = 1_099_511_627_776.0;
/// The same for memory, in bytes: a counter above it is no memory of anybody's.
pub const MAX_MEMORY_BYTES: u64 = 1 << 60;
/// A full percentage.
const ALL: f64 = 100.0;

/// What an agent has seen at one or several looks at its node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SampleBatch {
    /// The cluster, as Libra's configuration names it.
    pub cluster: String,
    /// The node, as its scheduler names it.
    pub node: String,
    /// What its jobs use.
    #[serde(default)]
    pub samples: Vec<JobSample>,
    /// What the whole node uses, whoever does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_totals: Option<NodeTotals>,
}

/// What one job used on one node at one time. It has either an `external_job_id` or an `attempt`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobSample {
    /// The job's number with the scheduler; each task of an array has its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_job_id: Option<String>,
    /// The token of an attempt that Libra has launched itself (`LIBRA_ATTEMPT_TOKEN` of its processes).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<String>,
    /// When it was so, RFC 3339.
    pub timestamp: String,
    /// Percent, 0–100, of the processors that the job may use where those are known, else of the node's; since the
    /// look before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_usage: Option<f64>,
    /// Processors at work since the look before: 1.5 is one and a half of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_cores: Option<f64>,
    /// Memory that can't be given back without a loss (the working set), in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_usage_mb: Option<f64>,
    /// The most that it was so far, in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_peak_mb: Option<f64>,
    /// Percent, 0–100: how much of the time its GPUs had something to do, their mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_usage: Option<f64>,
    /// Memory of GPUs that it holds, in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_memory_mb: Option<f64>,
    /// What its GPUs draw, in watts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_power_watts: Option<f64>,
    /// What its GPUs have drawn since the agent has first seen it, in joules. It begins again with another agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_energy_joules: Option<f64>,
    /// Bytes read from storage so far, as far as they were counted. It may begin again with another agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub io_read_bytes: Option<i64>,
    /// Bytes written to storage so far, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub io_write_bytes: Option<i64>,
    /// Its processes that live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes: Option<i64>,
}

/// What a whole node used at one time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NodeTotals {
    /// When it was so, RFC 3339.
    pub timestamp: String,
    /// Percent, 0–100, of its processors, since the look before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_usage: Option<f64>,
    /// Its processors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<i64>,
    /// Memory that is not available to new programs, in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_used_mb: Option<f64>,
    /// Its memory, in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_total_mb: Option<f64>,
    /// Percent, 0–100: how much of the time its GPUs had something to do, their mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_usage: Option<f64>,
    /// Its GPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpus: Option<i64>,
}

/// What became of a batch. A sample that is refused does not hold up the others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BatchAnswer {
    /// Samples that were taken, now or before.
    pub accepted: u64,
    /// Those of them of whose job, node and time there was a sample already: that one stays as it is, whatever this one says.
    #[serde(default)]
    pub duplicates: u64,
    /// Those that were not, and why.
    #[serde(default)]
    pub rejected: Vec<Rejected>,
    /// Fields that nobody here knows; the rest of their samples counts all the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<Violation>,
}

/// A sample that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rejected {
    /// Its place in `samples`, from 0; absent for `node_totals`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
    /// The field, and what is wrong with it.
    pub reason: String,
    /// True where the same sample may be taken in a while: its cluster may not have told of its job yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub later: bool,
}

impl Rejected {
    /// For good.
    pub fn wrong(index: Option<u32>, reason: String) -> Self {
        Self { index, reason, later: false }
    }
}

impl SampleBatch {
    /// What is wrong with single samples; `now` is the server's clock.
    ///
    /// # Errors
    /// What is wrong with the batch as a whole: a name, or its length.
    pub fn check(&self, now: Timestamp) -> Result<Vec<Rejected>, Violation> {
        for (pointer, name) in [("/cluster", &self.cluster), ("/node", &self.node)] {
            check_name(name).map_err(|reason| Violation::new(pointer, reason))?;
        }
        if self.samples.len() > MAX_SAMPLES {
            let reason = format!(
                "holds {} samples, at most {MAX_SAMPLES} are taken: send several batches",
                self.samples.len()
            );
            return Err(Violation::new("/samples", reason));
        }
        let samples = self.samples.iter().enumerate().filter_map(|(index, sample)| {
            Some(Rejected::wrong(u32::try_from(index).ok(), sample.check(now).err()?))
        });
        let totals = self.node_totals.iter().filter_map(|totals| {
            Some(Rejected::wrong(None, format!("node_totals.{}", totals.check(now).err()?)))
        });
        Ok(samples.chain(totals).collect())
    }
}

impl JobSample {
    /// What is wrong with it, the field first.
    ///
    /// # Errors
    /// The first field that can't be true.
    pub fn check(&self, now: Timestamp) -> Result<(), String> {
        match (&self.external_job_id, &self.attempt) {
            (Some(id), None) => check_name(id).map_err(|why| format!("external_job_id {why}"))?,
            (None, Some(token)) => check_name(token).map_err(|why| format!("attempt {why}"))?,
            (None, None) => return Err("external_job_id is missing: say whose sample it is".to_owned()),
            (Some(_), Some(_)) => return Err("attempt must be absent beside external_job_id".to_owned()),
        }
        check_time(&self.timestamp, now)?;
        check_share("cpu_usage", self.cpu_usage)?;
        check_share("gpu_usage", self.gpu_usage)?;
        let amounts = [
            ("cpu_cores", self.cpu_cores),
            ("memory_usage_mb", self.memory_usage_mb),
            ("memory_peak_mb", self.memory_peak_mb),
            ("gpu_memory_mb", self.gpu_memory_mb),
            ("gpu_power_watts", self.gpu_power_watts),
            ("gpu_energy_joules", self.gpu_energy_joules),
        ];
        amounts.into_iter().try_for_each(|(field, value)| check_amount(field, value))?;
        let counts = [
            ("io_read_bytes", self.io_read_bytes),
            ("io_write_bytes", self.io_write_bytes),
            ("processes", self.processes),
        ];
        counts.into_iter().try_for_each(|(field, value)| check_count(field, value))?;
        if self.has_figures() {
            Ok(())
        } else {
            Err("cpu_usage is absent, and so are all other figures: say what was measured".to_owned())
        }
    }

    /// Whether anything is in it that is kept: how many processes there are is not.
    pub fn has_figures(&self) -> bool {
        let Self {
            external_job_id: _,
            attempt: _,
            timestamp: _,
            cpu_usage,
            cpu_cores,
            memory_usage_mb,
            memory_peak_mb,
            gpu_usage,
            gpu_memory_mb,
            gpu_power_watts,
            gpu_energy_joules,
            io_read_bytes,
            io_write_bytes,
            processes: _,
        } = self;
        let shares = [cpu_usage, cpu_cores, gpu_usage, gpu_power_watts, gpu_energy_joules];
        let memory = [memory_usage_mb, memory_peak_mb, gpu_memory_mb];
        let told = shares.into_iter().chain(memory).any(Option::is_some);
        told || io_read_bytes.is_some() || io_write_bytes.is_some()
    }
}

impl NodeTotals {
    /// What is wrong with it, the field first.
    ///
    /// # Errors
    /// The first field that can't be true.
    pub fn check(&self, now: Timestamp) -> Result<(), String> {
        check_time(&self.timestamp, now)?;
        check_share("cpu_usage", self.cpu_usage)?;
        check_share("gpu_usage", self.gpu_usage)?;
        check_amount("memory_used_mb", self.memory_used_mb)?;
        check_amount("memory_total_mb", self.memory_total_mb)?;
        check_count("cpus", self.cpus)?;
        check_count("gpus", self.gpus)
    }
}

fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("must not be empty".to_owned());
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(format!("has {} bytes, at most {MAX_NAME_BYTES} are taken", name.len()));
    }
    if name.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err("must not hold blanks or control characters".to_owned());
    }
    Ok(())
}

fn check_time(text: &str, now: Timestamp) -> Result<(), String> {
    let Some(time) = Timestamp::parse_rfc3339(text) else {
        return Err("timestamp must be a time like 2026-01-31T08:00:00Z".to_owned());
    };
    if time > now.plus_seconds(MAX_AHEAD_SECONDS) {
        return Err(format!(
            "timestamp {text} is more than {MAX_AHEAD_SECONDS} s in the future: set the node's clock"
        ));
    }
    if time < now.plus_seconds(-MAX_AGE_SECONDS) {
        return Err(format!("timestamp {text} is more than {} days old", MAX_AGE_SECONDS / 86_400));
    }
    Ok(())
}

fn check_amount(field: &str, value: Option<f64>) -> Result<(), String> {
    match value {
        Some(value) if !value.is_finite() => Err(format!("{field} must be a number, not {value}")),
        Some(value) if value < 0.0 => Err(format!("{field} must not be negative, as {value} is")),
        Some(value) if value > MOST_AMOUNT => {
            Err(format!("{field} must be at most {MOST_AMOUNT}, not {value}"))
        }
        Some(_) | None => Ok(()),
    }
}

fn check_share(field: &str, value: Option<f64>) -> Result<(), String> {
    check_amount(field, value)?;
    match value {
        Some(value) if value > ALL => Err(format!("{field} must be at most 100 percent, not {value}")),
        Some(_) | None => Ok(()),
    }
}

fn check_count(field: &str, value: Option<i64>) -> Result<(), String> {
    match value {
        Some(value) if value < 0 => Err(format!("{field} must not be negative, as {value} is")),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
#[path = "samples_tests.rs"]
mod tests;
