//! Words about jobs of schedulers, heard: one read for all of them, a decision on each, one transaction (contract H1).

use std::collections::{BTreeSet, HashMap, HashSet};

use libra_core::hpc::job::HpcJob;
use libra_core::hpc::observe::{Change, Fresh, Outcome as Observed, Word, observe};
use libra_core::id::{JobId, Token};
use libra_store::StoreError;
use libra_store::lane::Outcome;
use libra_store::tables::hpc::audit::{Author, ChangeType};
use libra_store::tables::hpc::list;
use libra_store::tables::hpc::own::{self, Measured};
use libra_store::tables::hpc::writes::{Told, Write, apply};

use super::ear::{Answer, Saying, Speaker};
use crate::auth::Principal;
use crate::service::Service;

impl Service {
    /// Hears words, each of another job, with one read and one transaction; an answer for each. Of two about one job the
    /// second is left.
    pub(super) async fn hear_together(&self, sayings: &[Saying]) -> Result<Vec<Answer>, StoreError> {
        let numbers: Vec<(String, String)> = sayings.iter().map(Saying::key).collect();
        let tokens: BTreeSet<Token> = sayings.iter().flat_map(Saying::tokens).collect();
        let (known, attempts) = self
            .db
            .read(move |tx| {
                let numbers: Vec<(&str, &str)> = numbers.iter().map(|(c, n)| (&**c, &**n)).collect();
                let tokens: Vec<Token> = tokens.into_iter().collect();
                Ok((list::newest_of(tx, &numbers)?, own::with_tokens(tx, &tokens)?))
            })
            .await?;
        let owners: HashMap<Token, Measured> =
            attempts.into_iter().map(|attempt| (attempt.token, attempt)).collect();
        let mut known: HashMap<(String, String), HpcJob> = known
            .into_iter()
            .map(|job| ((job.cluster.clone(), job.record.external_id.clone()), job))
            .collect();
        let (mut heard, mut writes, mut seen) =
            (Vec::with_capacity(sayings.len()), Vec::new(), HashSet::new());
        for saying in sayings {
            let key = saying.key();
            let before = known.remove(&key);
            if !seen.insert(key) {
                heard.push((Answer::Stale, None));
                continue;
            }
            let (answer, write) = self.decided(saying, before, &owners);
            heard.push((answer, write.as_ref().map(|_| writes.len())));
            writes.extend(write);
        }
        let of_slurm = sayings.iter().any(|saying| matches!(saying.speaker, Speaker::Scheduler));
        let outcomes = self.store_hpc(writes, of_slurm).await?;
        let stored = |(answer, write): (Answer, Option<usize>)| match write {
            Some(n) if outcomes.get(n) != Some(&Outcome::Updated) => Answer::Stale,
            _ => answer,
        };
        Ok(heard.into_iter().map(stored).collect())
    }

    /// Stores rows that were decided on; [`Outcome::Stale`] for those that are not as they were read.
    pub(super) async fn store_hpc(
        &self,
        writes: Vec<Write>,
        of_slurm: bool,
    ) -> Result<Vec<Outcome>, StoreError> {
        if writes.is_empty() {
            return Ok(Vec::new());
        }
        let new: Vec<bool> = writes.iter().map(|write| write.new).collect();
        let outcomes = self.db.write(move |tx| apply(tx, &writes)).await?;
        let first = new.iter().zip(&outcomes).filter(|(new, outcome)| **new && **outcome == Outcome::Updated);
        self.metrics.hpc.heard(first.count() as u64);
        if of_slurm {
            self.slurm.heard.notify_waiters();
        }
        Ok(outcomes)
    }

    /// What a word makes of a job, and what is to be stored of that.
    fn decided(
        &self,
        saying: &Saying,
        before: Option<HpcJob>,
        attempts: &HashMap<Token, Measured>,
    ) -> (Answer, Option<Write>) {
        let Saying { cluster, word, speaker, .. } = saying;
        let now = self.clock.now();
        let id = JobId::new(now, self.clock.entropy());
        let correlation_id = before.as_ref().map_or_else(|| id.to_string(), |job| job.correlation_id.clone());
        let (tenant, author) = match speaker {
            // Hooks of this cluster have to have a key of the same tenant.
            Speaker::Scheduler => {
                (self.slurm.tenant(cluster).unwrap_or(Principal::DEFAULT_TENANT), collector(correlation_id))
            }
            Speaker::Caller(by) if before.as_ref().is_some_and(|job| job.tenant != by.who.tenant) => {
                return (Answer::OfAnotherTenant, None);
            }
            Speaker::Caller(by) => (by.who.tenant.as_str(), by.author(ChangeType::Upsert)),
        };
        let mut word = word.clone();
        if let Word::Record(record, _) = &mut word {
            // Anybody can write a comment: who submitted a run stays, and an attempt has but its own numbers.
            let open = before.as_ref().filter(|job| !job.state.is_terminal());
            let known = open.is_some_and(|job| job.record.submitted_by.is_some());
            let owner = saying.tokens().find_map(|token| attempts.get(&token));
            let owner = owner.filter(|owner| !known && owner.tenant == tenant && owner.may_be(record));
            record.submitted_by = owner.map(|owner| owner.user.clone());
        }
        let fresh = Fresh {
            id,
            tenant: tenant.to_owned(),
            cluster: cluster.clone(),
            correlation_id: author.correlation_id.clone(),
        };
        let (change, new) = match observe(before.as_ref(), word, self.means_of(cluster), fresh, now) {
            Observed::Unchanged => {
                return (Answer::Heard { job: before.map(Box::new), changed: false, again: false }, None);
            }
            Observed::Changed(change) => (change, false),
            Observed::New(change) => (change, true),
        };
        let Change { job, log, again, quiet, .. } = *change;
        let told = (!quiet).then(|| Told::here(author, log));
        let answer = Answer::Heard { job: Some(Box::new(job.clone())), changed: true, again };
        (answer, Some(Write { job, new, at: now, told }))
    }
}

/// Who reads schedulers.
fn collector(correlation_id: String) -> Author {
    let (changed_by, source) = ("collector".to_owned(), "slurm".to_owned());
    Author { change_type: ChangeType::Upsert, changed_by, source, correlation_id }
}
