//! Storing a new job: the row, its log, its messages and the answer to repeat, all or nothing.

use libra_core::job::State;

use super::{idempotency, jobs, outbox, transitions};
use crate::error::StoreError;
use crate::lane::{Submission, Submitted};
use crate::tx::Tx;

/// No more jobs than this wait; unknown when others than submissions may have added some. Saves counting them
/// for every commit, which takes the longer the more there are.
#[derive(Debug, Default)]
pub(crate) struct QueueBound(Option<u64>);

impl QueueBound {
    /// Something else may have put jobs into the queue.
    pub(crate) fn forget(&mut self) {
        self.0 = None;
    }
}

/// Stores new jobs, in order; each unless its key came before or too many jobs wait.
pub(crate) fn insert(
    tx: &mut dyn Tx,
    new: &[Submission],
    bound: &mut QueueBound,
) -> Result<Vec<Submitted>, StoreError> {
    let most = new.iter().map(|n| n.max_queued).max().unwrap_or(0);
    // Forgotten until this has succeeded.
    let mut queued = match bound.0.take() {
        Some(queued) if new.iter().all(|n| queued + new.len() as u64 <= n.max_queued) => queued,
        // Perhaps full: jobs may have left since, so it is the true number that counts.
        Some(_) | None => jobs::count_in_state(tx, State::Queued, most)?,
    };
    let mut outcomes = Vec::with_capacity(new.len());
    for submission in new {
        let outcome = insert_one(tx, submission, queued)?;
        if outcome == Submitted::Stored {
            queued += 1;
        }
        outcomes.push(outcome);
    }
    bound.0 = Some(queued);
    Ok(outcomes)
}

fn insert_one(tx: &mut dyn Tx, new: &Submission, queued: u64) -> Result<Submitted, StoreError> {
    let id = new.job.id.to_string();
    if let Some(key) = &new.idempotency
        && let Some(kept) = idempotency::get(tx, &key.scope, &key.key)?
    {
        return Ok(if kept.body_hash == key.body_hash {
            Submitted::Replayed { status: kept.status, response: kept.response }
        } else {
            Submitted::KeyReused
        });
    }
    if queued >= new.max_queued {
        return Ok(Submitted::QueueFull);
    }
    jobs::insert(tx, &new.job)?;
    transitions::append(tx, &id, new.job.revision, &new.job.correlation_id, &new.log, &new.origin)?;
    outbox::append(tx, &id, &new.outbox, new.origin.at)?;
    if let Some(key) = &new.idempotency {
        idempotency::insert(tx, key, &id, new.origin.at.0)?;
    }
    Ok(Submitted::Stored)
}
