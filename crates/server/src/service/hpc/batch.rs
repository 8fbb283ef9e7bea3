//! Samples of node agents, many at once (contract H2, H3).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use libra_api::hpc::samples::{BatchAnswer, JobSample, Rejected, SampleBatch};
use libra_core::hpc::job::HpcJob;
use libra_core::hpc::observe::Word;
use libra_core::hpc::record::Record;
use libra_core::hpc::usage::{PER_PERCENT, Sample};
use libra_core::id::JobId;
use libra_core::time::Timestamp;
use libra_store::tables::hpc::samples::{self, Batch};
use libra_store::tables::hpc::{figures, list, own};

use super::ByWhom;
use super::figures::node_totals;
use super::own::Attempts;
use crate::service::{Service, ServiceError};

/// Of a processor, and of a watt.
const THOUSANDTHS: f64 = 1_000.0;

impl Service {
    /// Takes what an agent has measured. A sample that can't be taken holds up no other; the same batch again is the same.
    pub(crate) async fn record_hpc_batch(
        &self,
        by: &ByWhom,
        batch: SampleBatch,
    ) -> Result<BatchAnswer, ServiceError> {
        let now = self.clock.now();
        let mut rejected = batch.check(now).map_err(|wrong| ServiceError::fields(vec![wrong]))?;
        let wrong: BTreeSet<u32> = rejected.iter().filter_map(|one| one.index).collect();
        let fine = (0_u32..).zip(&batch.samples).filter(|(index, _)| !wrong.contains(index));
        let fine: Vec<(u32, &JobSample)> = fine.collect();
        let jobs = self.jobs_of(by, &batch, &fine).await?;
        let attempts = self.attempts_of(&fine).await?;
        let own: BTreeSet<JobId> = attempts.values().map(|attempt| attempt.job).collect();
        let mut taken: BTreeMap<JobId, Vec<Sample>> = BTreeMap::new();
        let mut accepted = 0;
        for (index, sample) in fine {
            match self.placed(by, sample, (&jobs, &attempts), now) {
                Ok((job, sample)) => {
                    taken.entry(job).or_default().push(sample);
                    accepted += 1;
                }
                Err(reason) => rejected.push(Rejected { index: Some(index), reason }),
            }
        }
        let told = batch.node_totals.as_ref().filter(|_| rejected.iter().all(|one| one.index.is_some()));
        let told = told.and_then(|told| node_totals(&batch.cluster, &batch.node, told));
        let node = batch.node;
        let of = |(job, samples)| Batch { job, node: node.clone(), samples };
        let batches = taken.into_iter().map(of);
        let (own, observed): (Vec<Batch>, Vec<Batch>) = batches.partition(|batch| own.contains(&batch.job));
        if !own.is_empty() || !observed.is_empty() || told.is_some() {
            let stored = self.db.write(move |tx| {
                if let Some(told) = &told {
                    figures::tell_node(tx, told)?;
                }
                let mut batches = own::kept(tx, own)?;
                batches.extend(observed);
                samples::record(tx, batches)
            });
            stored.await?;
        }
        rejected.sort_by_key(|one| one.index);
        Ok(BatchAnswer { accepted, rejected })
    }

    /// The newest job of each number. One that nobody has told of yet runs, where its scheduler will be asked for the rest.
    async fn jobs_of(
        &self,
        by: &ByWhom,
        batch: &SampleBatch,
        samples: &[(u32, &JobSample)],
    ) -> Result<HashMap<String, HpcJob>, ServiceError> {
        let numbers: BTreeSet<String> =
            samples.iter().filter_map(|(_, sample)| sample.external_job_id.clone()).collect();
        let (of, asked) = (batch.cluster.clone(), numbers.clone());
        let found = self
            .db
            .read(move |tx| {
                let numbers: Vec<(&str, &str)> = asked.iter().map(|number| (&*of, &**number)).collect();
                list::newest_of(tx, &numbers)
            })
            .await?;
        let mut jobs: HashMap<String, HpcJob> =
            found.into_iter().map(|job| (job.record.external_id.clone(), job)).collect();
        if !self.means_of(&batch.cluster).asks {
            return Ok(jobs);
        }
        for number in numbers.into_iter().filter(|number| !jobs.contains_key(number)).collect::<Vec<_>>() {
            let nodes = vec![batch.node.clone()];
            let made_up = self.slurm.is_made_up(&batch.cluster);
            let record = Record { external_id: number.clone(), nodes, made_up, ..Record::default() };
            let word = Word::Started(Box::new(record));
            if let (Some(job), _) = self.hear(by, &batch.cluster, &number, &word).await? {
                jobs.insert(number, job);
            }
        }
        Ok(jobs)
    }
}

impl Service {
    /// Whose sample it is, or why it is nobody's.
    fn placed(
        &self,
        by: &ByWhom,
        sample: &JobSample,
        (jobs, attempts): (&HashMap<String, HpcJob>, &Attempts),
        now: Timestamp,
    ) -> Result<(JobId, Sample), String> {
        let at = Timestamp::parse_rfc3339(&sample.timestamp).ok_or("timestamp must be a time")?;
        let number = match (&sample.external_job_id, &sample.attempt) {
            (Some(number), _) => number,
            (None, Some(token)) => {
                return self.placed_with_attempt(by, (token, sample), attempts, (at, now));
            }
            (None, None) => return Err("external_job_id is missing: say whose sample it is".to_owned()),
        };
        let job = jobs.get(number).filter(|job| job.tenant == by.who.tenant);
        let job = job.ok_or_else(|| format!("external_job_id: no job {number} of this cluster is known"))?;
        let taken = self.span_of(job, now).takes(at, now);
        taken.map_err(|why| format!("timestamp {} {why}", sample.timestamp))?;
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
