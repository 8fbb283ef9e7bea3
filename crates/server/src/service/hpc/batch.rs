//! Samples of node agents, many at once (contract H2, H3).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use libra_api::hpc::samples::{BatchAnswer, JobSample, Rejected, SampleBatch};
use libra_api::problem::Violation;
use libra_core::hpc::job::HpcJob;
use libra_core::hpc::usage::{OutOfTime, PER_PERCENT, Sample};
use libra_core::id::JobId;
use libra_core::time::Timestamp;
use libra_store::StoreError;
use libra_store::operations::Operation;
use libra_store::tables::hpc::once::{Answer, Key, once};
use libra_store::tables::hpc::samples::{self, Batch};
use libra_store::tables::hpc::{figures, list, own};

use super::ByWhom;
use super::figures::node_totals;
use super::keys::Said;
use super::own::Attempts;
use crate::service::{Service, ServiceError};

/// 200.
const TAKEN: u16 = 200;
/// Of a processor, and of a watt.
const THOUSANDTHS: f64 = 1_000.0;

impl Service {
    /// Takes what an agent has measured. A sample that can't be taken holds up no other; the same batch again is the same.
    pub(crate) async fn record_hpc_batch(
        &self,
        by: &ByWhom,
        batch: SampleBatch,
        ignored: Vec<Violation>,
        key: Option<Key>,
    ) -> Result<Said<BatchAnswer>, ServiceError> {
        if let Some(said) = self.said_before(key.as_ref()).await? {
            return Ok(said);
        }
        let now = self.clock.now();
        let mut rejected = batch.check(now).map_err(|wrong| ServiceError::fields(vec![wrong]))?;
        let wrong: BTreeSet<u32> = rejected.iter().filter_map(|one| one.index).collect();
        let fine = (0_u32..).zip(&batch.samples).filter(|(index, _)| !wrong.contains(index));
        let fine: Vec<(u32, &JobSample)> = fine.collect();
        let jobs = self.jobs_of(&batch, &fine).await?;
        let attempts = self.attempts_of(&fine).await?;
        let own: BTreeSet<JobId> = attempts.values().map(|attempt| attempt.job).collect();
        let mut taken: BTreeMap<JobId, Vec<Sample>> = BTreeMap::new();
        let mut accepted = 0;
        for (index, sample) in fine {
            match self.placed(by, (&batch.cluster, sample), (&jobs, &attempts), now) {
                Ok((job, sample)) => {
                    taken.entry(job).or_default().push(sample);
                    accepted += 1;
                }
                Err(Misplaced { reason, later }) => {
                    rejected.push(Rejected { index: Some(index), reason, later });
                }
            }
        }
        let told = batch.node_totals.as_ref().filter(|_| rejected.iter().all(|one| one.index.is_some()));
        let told = told.and_then(|told| node_totals(&batch.cluster, &batch.node, told));
        let node = batch.node;
        let of = |(job, samples)| Batch { job, node: node.clone(), samples };
        let batches = taken.into_iter().map(of);
        let (own, observed): (Vec<Batch>, Vec<Batch>) = batches.partition(|batch| own.contains(&batch.job));
        rejected.sort_by_key(|one| one.index);
        let answer = BatchAnswer { accepted, duplicates: 0, rejected, ignored };
        if own.is_empty() && observed.is_empty() && told.is_none() {
            return Ok(Said::Now(answer));
        }
        let under = key.clone();
        let db = self.db.named(Operation::RecordMetricsBatch);
        let stored = db.write(move |tx| {
            once(tx, under.as_ref(), now, |tx| {
                if let Some(told) = &told {
                    figures::tell_node(tx, told)?;
                }
                let mut batches = own::kept(tx, own)?;
                batches.extend(observed);
                let all: usize = batches.iter().map(|batch| batch.samples.len()).sum();
                let first = batches.first().map(|batch| batch.job);
                let new = samples::record(tx, batches)?;
                let answer = BatchAnswer { duplicates: (all as u64).saturating_sub(new), ..answer };
                let response = text_of(&answer)?;
                // Of a node alone the newest is kept, whoever says it how often; and what may be taken later is to be sent again.
                let done = answer.rejected.iter().all(|one| !one.later);
                let kept = first.filter(|_| done).map(|job| Answer { job, status: TAKEN, response });
                Ok((answer, kept))
            })
        });
        match stored.await {
            Ok(stored) => Said::of(stored),
            Err(error @ StoreError::Constraint(_)) => {
                // The same request has come at the same time.
                self.said_before(key.as_ref()).await?.ok_or_else(|| error.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The newest job of each number that is known.
    async fn jobs_of(
        &self,
        batch: &SampleBatch,
        samples: &[(u32, &JobSample)],
    ) -> Result<HashMap<String, HpcJob>, ServiceError> {
        let numbers: BTreeSet<String> =
            samples.iter().filter_map(|(_, sample)| sample.external_job_id.clone()).collect();
        let of = batch.cluster.clone();
        let found = self
            .db
            .named(Operation::RecordMetricsBatch)
            .read(move |tx| {
                let numbers: Vec<(&str, &str)> = numbers.iter().map(|number| (&*of, &**number)).collect();
                list::newest_of(tx, &numbers)
            })
            .await?;
        Ok(found.into_iter().map(|job| (job.record.external_id.clone(), job)).collect())
    }
}

/// Why a sample is nobody's.
struct Misplaced {
    reason: String,
    /// Its job may be known in a while.
    later: bool,
}

impl From<String> for Misplaced {
    fn from(reason: String) -> Self {
        Self { reason, later: false }
    }
}

fn text_of(answer: &BatchAnswer) -> Result<String, StoreError> {
    serde_json::to_string(answer).map_err(|e| StoreError::unreadable("answer", e))
}

impl Service {
    /// Whose sample it is, or why it is nobody's.
    fn placed(
        &self,
        by: &ByWhom,
        (cluster, sample): (&str, &JobSample),
        (jobs, attempts): (&HashMap<String, HpcJob>, &Attempts),
        now: Timestamp,
    ) -> Result<(JobId, Sample), Misplaced> {
        let at = Timestamp::parse_rfc3339(&sample.timestamp);
        let at = at.ok_or_else(|| "timestamp must be a time".to_owned())?;
        let number = match (&sample.external_job_id, &sample.attempt) {
            (Some(number), _) => number,
            (None, Some(token)) => {
                return Ok(self.placed_with_attempt(by, (token, sample), attempts, (at, now))?);
            }
            (None, None) => {
                return Err("external_job_id is missing: say whose sample it is".to_owned().into());
            }
        };
        let job = jobs.get(number).filter(|job| job.tenant == by.who.tenant);
        let job = job.ok_or_else(|| {
            let reason = format!("external_job_id: no job {number} of {cluster} is known");
            // A sample is no proof that there is a job: its scheduler or its hooks are to tell of it, and may come later.
            let later = !jobs.contains_key(number);
            let reason =
                if later { format!("{reason} yet; its cluster has not told of it so far") } else { reason };
            Misplaced { reason, later }
        })?;
        let taken = self.span_of(job, now).takes(at, now);
        taken.map_err(|why| Misplaced {
            reason: format!("timestamp {} {why}", sample.timestamp),
            // It may be of the number's next run, of which nobody has told yet.
            later: why == OutOfTime::AfterItsJob && self.slurm.has(cluster),
        })?;
        Ok((job.id, measured(sample, at)))
    }
}

/// A sample in the store's units.
pub(super) fn measured(sample: &JobSample, at: Timestamp) -> Sample {
    #[expect(clippy::cast_possible_truncation, reason = "a float as a whole number ends at its ends")]
    let whole = |value: Option<f64>, times: f64| value.map(|value| (value * times).round() as i64);
    Sample {
        at,
        cpu: whole(sample.cpu_usage, PER_PERCENT),
        millicores: whole(sample.cpu_cores, THOUSANDTHS),
        memory_mb: whole(sample.memory_usage_mb, 1.0),
        memory_peak_mb: whole(sample.memory_peak_mb, 1.0),
        gpu: whole(sample.gpu_usage, PER_PERCENT),
        gpu_memory_mb: whole(sample.gpu_memory_mb, 1.0),
        power_milliwatts: whole(sample.gpu_power_watts, THOUSANDTHS),
        energy_joules: whole(sample.gpu_energy_joules, 1.0),
        read_bytes: sample.io_read_bytes,
        written_bytes: sample.io_write_bytes,
    }
}
