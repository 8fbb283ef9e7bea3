//! What Slurm itself says, as it was read (contract H4).

use std::collections::HashMap;

use libra_core::hpc::job::HpcJob;
use libra_core::hpc::observe::{Fresh, Outcome as Observed, Word, observe};
use libra_core::hpc::record::Record;
use libra_core::id::JobId;
use libra_core::time::Timestamp;
use libra_store::StoreError;
use libra_store::lane::Outcome;
use libra_store::tables::hpc::jobs as rows;
use libra_store::tables::hpc::list;

use super::{ByWhom, Step};
use crate::auth::Principal;
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
        let (of, numbers) = (cluster.to_owned(), records.iter().map(|record| record.external_id.clone()));
        let numbers: Vec<String> = numbers.collect();
        let known = self
            .db
            .read(move |tx| {
                let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
                list::newest_of(tx, &of, &numbers)
            })
            .await?;
        let known: HashMap<&str, &HpcJob> =
            known.iter().map(|job| (job.record.external_id.as_str(), job)).collect();
        let mut heard = Vec::new();
        let mut steps = Vec::new();
        for record in records {
            let before = known.get(record.external_id.as_str()).copied();
            let word = Word::Record(Box::new(record.clone()), asked_at);
            let (step, again) = self.step_of(cluster, before, word).unzip();
            // The word is of another job than the one that it has closed.
            let done = again != Some(true);
            let after = step.as_ref().map(Step::job).or(before);
            let ended = after.is_some_and(|job| job.state.is_terminal());
            let one = Heard { record: record.clone(), ended };
            heard.push((one, done, step.as_ref().map(|_| steps.len())));
            steps.extend(step);
        }
        let new: Vec<bool> = steps.iter().map(Step::is_new).collect();
        let outcomes = if steps.is_empty() {
            Vec::new()
        } else {
            let outcomes = self
                .db
                .write(move |tx| steps.iter().map(|step| step.apply(tx)).collect::<Result<Vec<Outcome>, _>>())
                .await?;
            self.slurm.heard.notify_waiters();
            outcomes
        };
        let heard_first =
            new.iter().zip(&outcomes).filter(|(new, outcome)| **new && **outcome == Outcome::Updated);
        self.metrics.hpc.heard(heard_first.count() as u64);
        let stored = |step: &Option<usize>| step.is_none_or(|n| outcomes.get(n) == Some(&Outcome::Updated));
        let heard = heard.into_iter().filter(|(_, done, step)| *done && stored(step));
        Ok(heard.map(|(heard, ..)| heard).collect())
    }

    /// Hears a word about one job of a cluster.
    pub(crate) async fn hear_of_slurm(
        &self,
        cluster: &str,
        number: &str,
        word: Word,
    ) -> Result<(), StoreError> {
        let (of, external_id) = (cluster.to_owned(), number.to_owned());
        let before = self.db.read(move |tx| rows::newest(tx, &of, &external_id)).await?;
        if let Some((step, _)) = self.step_of(cluster, before.as_ref(), word) {
            let new = step.is_new();
            let outcome = self.db.write(move |tx| step.apply(tx)).await?;
            self.metrics.hpc.heard(u64::from(new && outcome == Outcome::Updated));
            self.slurm.heard.notify_waiters();
        }
        Ok(())
    }

    /// What is to be stored of a word, and whether that has to be heard once more afterwards.
    fn step_of(&self, cluster: &str, before: Option<&HpcJob>, word: Word) -> Option<(Step, bool)> {
        let now = self.clock.now();
        let id = JobId::new(now, self.clock.entropy());
        // Hooks of this cluster have to have a key of the same tenant.
        let tenant = self.slurm.tenant(cluster).unwrap_or(Principal::DEFAULT_TENANT);
        let by = collector(before.map_or_else(|| id.to_string(), |job| job.correlation_id.clone()));
        let fresh = Fresh {
            id,
            tenant: tenant.to_owned(),
            cluster: cluster.to_owned(),
            correlation_id: by.correlation_id.clone(),
        };
        let (change, new) = match observe(before, word, self.means_of(cluster), fresh, now) {
            Observed::Unchanged => return None,
            Observed::Changed(change) => (change, false),
            Observed::New(change) => (change, true),
        };
        let again = change.again;
        Some((Step::of(*change, new, &by, now), again))
    }
}

/// Who reads schedulers.
fn collector(correlation_id: String) -> ByWhom {
    let (changed_by, source) = ("collector".to_owned(), "slurm".to_owned());
    ByWhom { who: Principal::local(), changed_by, source, correlation_id }
}
