//! What observed jobs use: told and asked for (contract H2).

use libra_api::hpc::jobs::{SampleListView, SampleView};
use libra_api::hpc::requests;
use libra_core::hpc::usage::{Figure, Sample};
use libra_core::time::{MICROS_PER_SECOND, Timestamp};
use libra_store::tables::hpc::rollups::{self, HOUR, MINUTE, Rollup};
use libra_store::tables::hpc::samples::{self, Batch, Series};
use serde_json::Value;

use super::jobs::{first_node, job_terminal};
use super::view::{mean_percent, percent};
use super::{ByWhom, Service, ServiceError};
use crate::auth::Principal;

/// A range up to this is answered with the samples themselves, in microseconds.
const RAW_UP_TO: i64 = 6 * HOUR;
/// A range up to this is answered in minutes, in microseconds.
const MINUTES_UP_TO: i64 = 7 * 24 * HOUR;
/// A sample may be so long ahead of Libra's clock, in microseconds.
pub(super) const MOST_AHEAD: i64 = 300 * MICROS_PER_SECOND;

/// Which samples are asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct SampleQuery {
    /// From here on; from its beginning, where it is not said.
    pub(crate) from: Option<Timestamp>,
    /// Until before this; until now, where it is not said.
    pub(crate) until: Option<Timestamp>,
    /// How many, at most.
    pub(crate) limit: u32,
    /// How fine; by the length of the range, where it is not said.
    pub(crate) step: Option<Step>,
}

/// How fine an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Every sample.
    Raw,
    /// Minutes.
    Minute,
    /// Hours.
    Hour,
}

impl Step {
    /// Reads the spelling on the wire.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Raw, Self::Minute, Self::Hour].into_iter().find(|step| step.as_str() == text)
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Minute => "1m",
            Self::Hour => "1h",
        }
    }

    fn of(range: i64) -> Self {
        if range <= RAW_UP_TO {
            Self::Raw
        } else if range <= MINUTES_UP_TO {
            Self::Minute
        } else {
            Self::Hour
        }
    }
}

impl Service {
    /// Notes what a job uses. What it used while it ran may be told after its end, and nothing else.
    pub(crate) async fn record_hpc_sample(
        &self,
        by: &ByWhom,
        id: &str,
        body: &Value,
    ) -> Result<SampleView, ServiceError> {
        let usage = requests::sample(body).map_err(ServiceError::fields)?;
        let job = self.hpc_job(&by.who, id).await?;
        let sample = usage.sample(self.clock.now());
        if job.state.is_terminal() && job.record.ended.is_none_or(|ended| sample.at > ended) {
            return Err(job_terminal(&job));
        }
        if let Some(reason) = out_of_time(&sample, job.record.started, self.clock.now()) {
            return Err(ServiceError::fields(vec![libra_api::problem::Violation::new("/timestamp", reason)]));
        }
        let node = first_node(&job.record);
        let shown = of_sample(&sample, &node);
        let batch = Batch { job: job.id, node, samples: vec![sample] };
        self.db.write(move |tx| samples::record(tx, vec![batch])).await?;
        Ok(shown)
    }

    /// What a job used in a range of time. Long ranges are answered in minutes or hours.
    pub(crate) async fn hpc_samples(
        &self,
        who: &Principal,
        id: &str,
        query: SampleQuery,
    ) -> Result<SampleListView, ServiceError> {
        let job = self.hpc_job(who, id).await?;
        let (of, now) = (job.id, self.clock.now());
        let limit = query.limit;
        let (step, mut found) = self
            .db
            .read(move |tx| {
                let series = samples::of_job(tx, of)?;
                let first = series.iter().filter_map(|series| series.totals.first_at).min();
                let last = series.iter().filter_map(|series| series.totals.last_at).max();
                let from = query.from.or(first).unwrap_or(now);
                let until = query.until.or(last.map(|last| last.plus_micros(1))).unwrap_or(now);
                let step = query.step.unwrap_or_else(|| Step::of(until.0.saturating_sub(from.0)));
                let mut found = Vec::new();
                for series in &series {
                    found.extend(read(tx, series, step, (from, until), limit.saturating_add(1))?);
                }
                Ok((step, found))
            })
            .await?;
        found.sort_by(|a, b| (&a.timestamp, &a.node).cmp(&(&b.timestamp, &b.node)));
        let truncated = found.len() > limit as usize;
        found.truncate(limit as usize);
        Ok(SampleListView {
            job_id: job.client_id.unwrap_or_else(|| job.id.to_string()),
            resolution: step.as_str().to_owned(),
            total: found.len() as u64,
            samples: found,
            truncated,
        })
    }
}

/// Why a sample can't be: it is ahead of the clock, or from before its job.
fn out_of_time(sample: &Sample, started: Option<Timestamp>, now: Timestamp) -> Option<&'static str> {
    if sample.at > now.plus_micros(MOST_AHEAD) {
        return Some("is in the future; look at the clock of the node");
    }
    let early = started.is_some_and(|started| sample.at < started.plus_micros(-MOST_AHEAD));
    early.then_some("is before the job began")
}

fn read(
    tx: &mut dyn libra_store::tx::Tx,
    series: &Series,
    step: Step,
    range: (Timestamp, Timestamp),
    limit: u32,
) -> Result<Vec<SampleView>, libra_store::StoreError> {
    let step = match step {
        Step::Raw => {
            let found = samples::between(tx, series.id, range, limit)?;
            return Ok(found.iter().map(|sample| of_sample(sample, &series.node)).collect());
        }
        Step::Minute => MINUTE,
        Step::Hour => HOUR,
    };
    let floor = |at: Timestamp| at.plus_micros(-at.0.rem_euclid(step));
    let mut found = rollups::between(tx, series.id, step, (floor(range.0), range.1))?;
    // What is not rolled up yet is summed up here: no more than the time between two of these, and what came late.
    let fresh_from = floor(series.rolled_until).max(floor(range.0));
    if fresh_from < range.1 {
        let fresh = samples::between(tx, series.id, (fresh_from, range.1), u32::MAX)?;
        found.retain(|rollup| rollup.at < fresh_from);
        found.extend(summed_up(&fresh, step));
    }
    Ok(found.iter().map(|rollup| of_rollup(rollup, &series.node)).collect())
}

fn summed_up(samples: &[Sample], step: i64) -> Vec<Rollup> {
    let mut found: Vec<Rollup> = Vec::new();
    for sample in samples {
        let at = sample.at.plus_micros(-sample.at.0.rem_euclid(step));
        if found.last().is_none_or(|last| last.at != at) {
            let none = Figure::default();
            found.push(Rollup { at, samples: 0, cpu: none, memory_mb: none, gpu: none });
        }
        if let Some(rollup) = found.last_mut() {
            rollup.samples += 1;
            rollup.cpu.add(sample.cpu, true);
            rollup.memory_mb.add(sample.memory_mb, true);
            rollup.gpu.add(sample.gpu, true);
        }
    }
    found
}

fn of_sample(sample: &Sample, node: &str) -> SampleView {
    let (cpu, gpu) = (percent(sample.cpu), percent(sample.gpu));
    SampleView {
        timestamp: sample.at.rfc3339(),
        node: node.to_owned(),
        cpu_usage: cpu,
        memory_usage_mb: sample.memory_mb,
        gpu_usage: gpu,
        samples: 1,
        max_cpu_usage: cpu,
        max_memory_usage_mb: sample.memory_mb,
        max_gpu_usage: gpu,
    }
}

fn of_rollup(rollup: &Rollup, node: &str) -> SampleView {
    #[expect(clippy::cast_possible_truncation, reason = "a mean of whole numbers")]
    let memory = rollup.memory_mb.mean().map(|mean| mean.round() as i64);
    SampleView {
        timestamp: rollup.at.rfc3339(),
        node: node.to_owned(),
        cpu_usage: mean_percent(&rollup.cpu),
        memory_usage_mb: memory,
        gpu_usage: mean_percent(&rollup.gpu),
        samples: rollup.samples,
        max_cpu_usage: percent(rollup.cpu.max),
        max_memory_usage_mb: rollup.memory_mb.max,
        max_gpu_usage: percent(rollup.gpu.max),
    }
}
