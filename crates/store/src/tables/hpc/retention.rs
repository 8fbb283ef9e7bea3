//! Forgetting what observed jobs used, and the jobs themselves (contract H2, Q3), a little at a time.

use libra_core::time::Timestamp;

use super::jobs::forget_what_belongs_to;
use super::rollups::HOUR;
use crate::error::StoreError;
use crate::lane::Fence;
use crate::tables::feed::holds;
use crate::tables::numbering;
use crate::tx::{Arg, Tx, all, first};

/// Series whose samples, or jobs, that are forgotten in one transaction, at most.
pub const MOST_AT_ONCE: u32 = 100;

/// Forgets samples from before `before` of some series; says of how many. What they came to stays, and so do the minutes
/// and hours of them. None when the fence is broken.
///
/// Whole hours are forgotten, and none is taken of them any more: what comes late would be rolled up without the others of its
/// hour. What is not rolled up yet stays: nothing is lost from long ranges.
pub fn forget_samples(
    tx: &mut dyn Tx,
    fence: &Fence,
    before: Timestamp,
) -> Result<Option<usize>, StoreError> {
    if !holds(tx, fence)? {
        return Ok(None);
    }
    let before = before.plus_micros(-before.0.rem_euclid(HOUR));
    let sql = format!(
        "SELECT id FROM hpc_series WHERE kept_from < ?1 AND (roll_at IS NULL OR rolled_until >= ?1) ORDER BY kept_from, id LIMIT {MOST_AT_ONCE}"
    );
    let old = all(tx, &sql, &[before.0.into()], |row| row.int(0))?;
    for series in &old {
        let args = [Arg::from(*series), before.0.into()];
        tx.execute("DELETE FROM hpc_samples WHERE series = ?1 AND at < ?2", &args)?;
        tx.execute("UPDATE hpc_series SET kept_from = ?2, forgotten_until = ?2 WHERE id = ?1", &args)?;
    }
    Ok(Some(old.len()))
}

/// Forgets jobs that have ended, and were not heard of since `before`, with all that belongs to them; says how many. None
/// when the fence is broken. A job stays while a message about it waits, and until the feed has numbered all its rows.
pub fn forget_jobs(tx: &mut dyn Tx, fence: &Fence, before: Timestamp) -> Result<Option<usize>, StoreError> {
    if !holds(tx, fence)? {
        return Ok(None);
    }
    let sql = format!(
        "SELECT j.id FROM hpc_jobs j WHERE j.hpc_state NOT IN ('pending', 'running') AND j.updated_at < ?1 \
         AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.job_id = j.id AND o.done_at IS NULL AND o.dead_at IS NULL) \
         AND NOT EXISTS (SELECT 1 FROM transitions t WHERE t.job_id = j.id AND {}) \
         ORDER BY j.updated_at, j.id LIMIT {MOST_AT_ONCE}",
        numbering::is_waiting()
    );
    let old = all(tx, &sql, &[before.0.into()], |row| row.text(0))?;
    if !old.is_empty() {
        // Who reads the feed from before that is told so.
        let args: Vec<Arg<'_>> = old.iter().map(Arg::from).collect();
        let sql = format!(
            "SELECT MAX({}) FROM transitions t WHERE t.job_id IN ({})",
            numbering::NUMBER,
            crate::tables::places(0, args.len())
        );
        let last = first(tx, &sql, &args, |row| row.opt_int(0))?.flatten();
        numbering::forget_until(tx, last.unwrap_or(0))?;
    }
    for id in &old {
        forget_what_belongs_to(tx, id)?;
        for sql in [
            "DELETE FROM hpc_audit WHERE job_id = ?1",
            "DELETE FROM transitions WHERE job_id = ?1",
            "DELETE FROM hpc_jobs WHERE id = ?1",
        ] {
            tx.execute(sql, &[Arg::from(id)])?;
        }
    }
    Ok(Some(old.len()))
}
