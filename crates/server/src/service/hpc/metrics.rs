//! What observed jobs use: told and asked for (contract H2).

use libra_api::hpc::jobs::{SampleListView, SampleView};
use libra_api::hpc::requests;
use libra_api::problem::Violation;
use libra_core::hpc::job::HpcJob;
use libra_core::hpc::usage::{OutOfTime, Sample, Span};
use libra_core::time::Timestamp;
use libra_store::StoreError;
use libra_store::operations::Operation;
use libra_store::tables::hpc::once::{Answer, Key, Once, once};
use libra_store::tables::hpc::rollups::{self, HOUR, MINUTE, Rollup};
use libra_store::tables::hpc::samples::{self, Batch, Series};
use libra_store::tx::Tx;
use serde_json::Value;

use super::jobs::{first_node, job_terminal};
use super::keys::Said;
use super::view::{mean_percent, percent};
use super::{ByWhom, Service, ServiceError};
use crate::auth::Principal;
use crate::service::expiry::before;
use crate::service::submit::key_reused;

/// A range up to this is answered with the samples themselves, in microseconds.
const RAW_UP_TO: i64 = 6 * HOUR;
/// A range up to this is answered in minutes, in microseconds.
const MINUTES_UP_TO: i64 = 7 * 24 * HOUR;

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

/// A sample as it is kept.
#[derive(Debug)]
pub(crate) struct TakenSample {
    /// False where there was one of this moment before: that one is kept, whatever this one says.
    pub(crate) is_new: bool,
    /// The one that is kept.
    pub(crate) view: SampleView,
}

impl TakenSample {
    /// 201 for a new one, 200 for one that was there.
    pub(crate) fn status(&self) -> u16 {
        if self.is_new { 201 } else { 200 }
    }
}

impl Service {
    /// When samples of a job can have been taken.
    pub(super) fn span_of(&self, job: &HpcJob, now: Timestamp) -> Span {
        let ended = job.state.is_terminal().then(|| job.record.ended.unwrap_or(job.updated_at));
        let kept_from = self.config.retention.samples.map(|kept| before(now, kept));
        Span { started: job.record.started, ended, kept_from }
    }

    /// Notes what a job uses. What it used while it ran may be told after its end, and nothing else.
    pub(crate) async fn record_hpc_sample(
        &self,
        by: &ByWhom,
        id: &str,
        body: &Value,
        key: Option<Key>,
    ) -> Result<Said<TakenSample>, ServiceError> {
        if let Some(said) = self.said_before(key.as_ref()).await? {
            return Ok(said);
        }
        let usage = requests::sample(body).map_err(ServiceError::fields)?;
        let job = self.hpc_job(&by.who, id).await?;
        let now = self.clock.now();
        let sample = usage.sample(now);
        // Who names no time speaks of now, and an ended job uses nothing.
        if job.state.is_terminal() && usage.at.is_none() {
            return Err(job_terminal(&job));
        }
        match self.span_of(&job, now).takes(sample.at, now) {
            Ok(()) => {}
            Err(OutOfTime::AfterItsJob) => return Err(job_terminal(&job)),
            Err(why @ (OutOfTime::Ahead | OutOfTime::BeforeItsJob | OutOfTime::Forgotten)) => {
                return Err(ServiceError::fields(vec![Violation::new("/timestamp", why.to_string())]));
            }
        }
        let (of, node) = (job.id, first_node(&job.record));
        let under = key.clone();
        let db = self.db.named(Operation::RecordMetrics);
        let taken = db.write(move |tx| {
            once(tx, under.as_ref(), now, |tx| {
                let batch = Batch { job: of, node: node.clone(), samples: vec![sample.clone()] };
                let is_new = samples::record(tx, vec![batch])? == 1;
                // Of one moment there is one sample: the first, which others may have read.
                let kept = if is_new { Some(sample) } else { samples::at(tx, of, &node, sample.at)? };
                let Some(kept) = kept else { return Ok((None, None)) };
                let taken = TakenSample { is_new, view: of_sample(&kept, &node) };
                let response =
                    serde_json::to_string(&taken.view).map_err(|e| StoreError::unreadable("answer", e))?;
                let answer = Answer { job: of, status: taken.status(), response };
                Ok((Some(taken), Some(answer)))
            })
        });
        match taken.await {
            Ok(Once::Done(Some(taken))) => Ok(Said::Now(taken)),
            Ok(Once::Before { status, response }) => Ok(Said::Before { status, body: response }),
            Ok(Once::Reused) => Err(key_reused()),
            Ok(Once::Done(None)) => {
                let why = OutOfTime::Forgotten.to_string();
                Err(ServiceError::fields(vec![Violation::new("/timestamp", why)]))
            }
            Err(error @ StoreError::Constraint(_)) => {
                // The same request has come at the same time.
                self.said_before(key.as_ref()).await?.ok_or_else(|| error.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// What a job used in a range of time. Long ranges are answered in minutes or hours.
    pub(crate) async fn hpc_samples(
        &self,
        who: &Principal,
        id: &str,
        query: SampleQuery,
    ) -> Result<SampleListView, ServiceError> {
        let job = self.known_job(who, id).await?;
        let (of, now) = (job.id(), self.clock.now());
        let limit = query.limit;
        let (step, mut found) = self
            .db
            .named(Operation::GetJobMetrics)
            .read(move |tx| {
                let series = samples::of_job(tx, of)?;
                let first = series.iter().filter_map(|series| series.totals.first_at).min();
                let last = series.iter().filter_map(|series| series.totals.last_at).max();
                let from = query.from.or(first).unwrap_or(now);
                let until = query.until.or(last.map(|last| last.plus_micros(1))).unwrap_or(now);
                let step = query.step.unwrap_or_else(|| {
                    // Of samples that are forgotten the minutes are left.
                    let forgotten = series.iter().any(|series| from < series.forgotten_until);
                    match Step::of(until.0.saturating_sub(from.0)) {
                        Step::Raw if forgotten => Step::Minute,
                        step => step,
                    }
                });
                Ok((step, read_all(tx, &series, step, (from, until), limit.saturating_add(1))?))
            })
            .await?;
        let truncated = found.len() > limit as usize;
        found.truncate(limit as usize);
        Ok(SampleListView {
            job_id: job.name(),
            resolution: step.as_str().to_owned(),
            total: found.len() as u64,
            samples: found.into_iter().map(|(_, sample)| sample).collect(),
            truncated,
        })
    }
}

/// What was read, with its time.
type Found = Vec<(Timestamp, SampleView)>;

/// The first `most` of all series, whatever their number: once there are so many, nothing later is read.
fn read_all(
    tx: &mut dyn Tx,
    series: &[Series],
    step: Step,
    (from, mut until): (Timestamp, Timestamp),
    most: u32,
) -> Result<Found, StoreError> {
    let mut found: Found = Vec::new();
    let sort = |found: &mut Found| found.sort_by(|a, b| (a.0, &a.1.node).cmp(&(b.0, &b.1.node)));
    for series in series {
        found.extend(read(tx, series, step, (from, until), most)?);
        if found.len() > most as usize {
            sort(&mut found);
            found.truncate(most as usize);
            until = found.last().map_or(until, |(at, _)| at.plus_micros(1));
        }
    }
    sort(&mut found);
    Ok(found)
}

fn read(
    tx: &mut dyn Tx,
    series: &Series,
    step: Step,
    range: (Timestamp, Timestamp),
    most: u32,
) -> Result<Found, StoreError> {
    let step = match step {
        Step::Raw => {
            let found = samples::between(tx, series.id, range, most)?;
            return Ok(found.iter().map(|sample| (sample.at, of_sample(sample, &series.node))).collect());
        }
        Step::Minute => MINUTE,
        Step::Hour => HOUR,
    };
    let floor = |at: Timestamp| at.plus_micros(-at.0.rem_euclid(step));
    // What is not rolled up yet is summed up here: no more than the time between two of these, and what came late.
    let fresh_from = floor(series.rolled_until).max(floor(range.0));
    let rolled = (floor(range.0), range.1.min(fresh_from));
    let mut found = rollups::between(tx, series.id, step, rolled, most)?;
    let missing = most.saturating_sub(u32::try_from(found.len()).unwrap_or(most));
    if fresh_from < range.1 && missing > 0 {
        found.extend(rollups::fresh(tx, series.id, step, (fresh_from, range.1), missing)?);
    }
    Ok(found.iter().map(|rollup| (rollup.at, of_rollup(rollup, &series.node))).collect())
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
