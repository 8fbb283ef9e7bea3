//! The order in which the world hears of transitions.
//!
//! Rows are numbered after their commit, by the leader alone, so that the numbers have no gaps and no row
//! appears behind one that was already read (design §3).

use crate::error::StoreError;
use crate::lane::Fence;
use crate::tx::{Arg, Tx, first};

/// Rows numbered in one transaction, at most.
pub const MAX_NUMBERED: i64 = 2_000;

/// Numbers committed rows, if the fence still holds; says how many.
pub fn number(tx: &mut dyn Tx, fence: &Fence) -> Result<usize, StoreError> {
    let held = first(
        tx,
        "SELECT 1 FROM leases WHERE name = ?1 AND epoch = ?2",
        &[Arg::from(&fence.lease), fence.epoch.into()],
        |_| Ok(()),
    )?;
    if held.is_none() {
        return Ok(0);
    }
    let last = newest(tx)?;
    let numbered = tx.execute(
        "UPDATE transitions SET feed_seq = numbered.seq FROM (\
           SELECT id, ?1 + ROW_NUMBER() OVER (ORDER BY id) AS seq FROM (\
             SELECT id FROM transitions WHERE feed_seq IS NULL ORDER BY id LIMIT ?2) waiting) numbered \
         WHERE transitions.id = numbered.id",
        &[last.into(), MAX_NUMBERED.into()],
    )?;
    Ok(usize::try_from(numbered).unwrap_or(usize::MAX))
}

/// The newest number given so far; 0 before the first.
pub fn newest(tx: &mut dyn Tx) -> Result<i64, StoreError> {
    let newest = first(tx, "SELECT MAX(feed_seq) FROM transitions WHERE feed_seq IS NOT NULL", &[], |row| {
        row.opt_int(0)
    })?;
    Ok(newest.flatten().unwrap_or(0))
}
