//! What Slurm itself says, as it was read (contract H4).

use std::collections::HashMap;

use libra_core::hpc::observe::Word;
use libra_core::hpc::record::Record;
use libra_core::time::Timestamp;
use libra_store::StoreError;

use super::ear::{Answer, of_scheduler};
use crate::service::Service;

/// A record that was heard, and whether its job has ended, so that it need not be heard again.
pub(crate) struct Heard {
    pub(crate) record: Record,
    pub(crate) ended: bool,
}

impl Service {
    /// Hears records that were asked for at one time. A row that somebody else changes meanwhile is left to the next read.
    pub(crate) async fn hear_records(
        &self,
        cluster: &str,
        records: &[Record],
        asked_at: Timestamp,
    ) -> Result<Vec<Heard>, StoreError> {
        // Accounting may tell of several runs of one number: one after the other, as they were.
        let mut passes: Vec<Vec<&Record>> = Vec::new();
        let mut told: HashMap<&str, usize> = HashMap::new();
        for record in records {
            let pass = told.entry(&record.external_id).or_default();
            if passes.len() == *pass {
                passes.push(Vec::new());
            }
            passes[*pass].push(record);
            *pass += 1;
        }
        let mut heard = Vec::with_capacity(records.len());
        for pass in passes {
            let sayings = pass.iter().map(|record| {
                let word = Word::Record(Box::new((*record).clone()), asked_at);
                of_scheduler(cluster, &record.external_id, word)
            });
            let answers = self.hear_each(&sayings.collect::<Vec<_>>()).await;
            for (record, answer) in pass.into_iter().zip(answers) {
                match answer? {
                    Answer::Heard { job, again: false, .. } => {
                        let ended = job.is_some_and(|job| job.state.is_terminal());
                        heard.push(Heard { record: record.clone(), ended });
                    }
                    Answer::Heard { again: true, .. } | Answer::Stale | Answer::OfAnotherTenant => {}
                }
            }
        }
        Ok(heard)
    }

    /// Hears that neither a scheduler nor its accounting knows a job any more. A row that somebody else changes meanwhile is
    /// left to the next time.
    pub(crate) async fn hear_of_forgotten(&self, cluster: &str, number: &str) -> Result<(), StoreError> {
        self.hear_together(&[of_scheduler(cluster, number, Word::Forgotten)]).await.map(drop)
    }
}
