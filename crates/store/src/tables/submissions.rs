//! Storing a new job: the row, its log, its messages and the answer to repeat, all or nothing.

use libra_core::job::State;

use super::{idempotency, jobs, outbox, transitions};
use crate::error::StoreError;
use crate::lane::{Submission, Submitted};
use crate::tx::Tx;

/// Stores new jobs, in order; each unless its key came before or too many jobs wait.
pub(crate) fn insert(tx: &mut dyn Tx, new: &[Submission]) -> Result<Vec<Submitted>, StoreError> {
    let most = new.iter().map(|n| n.max_queued).max().unwrap_or(0);
    let mut queued = jobs::count_in_state(tx, State::Queued, most)?;
    let mut outcomes = Vec::with_capacity(new.len());
    for submission in new {
        let outcome = insert_one(tx, submission, queued)?;
        if outcome == Submitted::Stored {
            queued += 1;
        }
        outcomes.push(outcome);
    }
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
