//! What Slurm itself says, as it was read (contract H4).

use libra_core::hpc::observe::Word;
use libra_core::hpc::record::Record;
use libra_core::time::Timestamp;
use libra_store::StoreError;

use super::hearing::{Answer, of_scheduler};
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
        let sayings = records.iter().map(|record| {
            let word = Word::Record(Box::new(record.clone()), asked_at);
            of_scheduler(cluster, &record.external_id, word)
        });
        let answers = self.hear_together(&sayings.collect::<Vec<_>>()).await?;
        let heard = records.iter().zip(answers).filter_map(|(record, answer)| match answer {
            Answer::Heard { job, again: false, .. } => {
                let ended = job.is_some_and(|job| job.state.is_terminal());
                Some(Heard { record: record.clone(), ended })
            }
            Answer::Heard { again: true, .. } | Answer::Stale | Answer::OfAnotherTenant => None,
        });
        Ok(heard.collect())
    }

    /// Hears a word about one job of a cluster. A row that somebody else changes meanwhile is left to the next
    /// read.
    pub(crate) async fn hear_of_slurm(
        &self,
        cluster: &str,
        number: &str,
        word: Word,
    ) -> Result<(), StoreError> {
        self.hear_together(&[of_scheduler(cluster, number, word)]).await.map(drop)
    }
}
