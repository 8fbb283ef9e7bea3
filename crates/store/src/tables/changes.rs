//! Applying a step of the lifecycle: the job, its attempts, its log and its messages, all or nothing.

use super::{attempts, feed, jobs, outbox, transitions};
use crate::error::StoreError;
use crate::lane::{Change, Outcome};
use crate::tx::Tx;

/// Applies `change` if the job is still as it was read and the writer's lease still holds.
pub fn apply(tx: &mut dyn Tx, change: &Change) -> Result<Outcome, StoreError> {
    // A single writer holds everything anyway.
    if let Some(fence) = &change.fence
        && !tx.hold().is_empty()
        && !feed::holds(tx, fence)?
    {
        return Ok(Outcome::Stale);
    }
    let updated = jobs::update(tx, &change.job, change.expected_revision, change.fence.as_ref())?;
    if updated != Outcome::Updated {
        return Ok(updated);
    }
    let id = change.job.id.to_string();
    for write in &change.attempts {
        attempts::write(tx, &id, write)?;
    }
    transitions::append(
        tx,
        &id,
        change.job.revision,
        &change.job.correlation_id,
        &change.log,
        &change.origin,
    )?;
    outbox::append(tx, &id, &change.outbox, change.origin.at)?;
    Ok(Outcome::Updated)
}
