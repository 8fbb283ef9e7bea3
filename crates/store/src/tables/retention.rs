//! Forgetting what has been kept long enough (contract Q3), in batches that hold nobody up.
//!
//! What was forgotten leaves two traces: the newest moment at which a forgotten job was made, so that its id is
//! answered with `expired`, and the greatest number that is gone from the feed.

use std::collections::BTreeMap;

use libra_core::id::JobId;
use libra_core::time::Timestamp;

use super::feed::holds;
use super::hpc::own;
use super::{facts, numbering, places};
use crate::error::StoreError;
use crate::lane::Fence;
use crate::tx::{Arg, Tx, all, first};

/// Jobs forgotten in one transaction, at most.
pub const MAX_FORGOTTEN: u32 = 100;
/// The fact that holds when the youngest of the forgotten jobs was made, microseconds.
const JOBS_EXPIRED_UNTIL: &str = "jobs_expired_until";

/// Jobs that ended before this moment are more than `most`: the end of the youngest that is too many, plus one
/// microsecond. None while there are no more than `most`.
pub fn too_many_before(tx: &mut dyn Tx, most: u64) -> Result<Option<Timestamp>, StoreError> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let sql = "SELECT completed_at FROM jobs WHERE completed_at IS NOT NULL \
               ORDER BY completed_at DESC, id DESC LIMIT 1 OFFSET ?1";
    let youngest = first(tx, sql, &[most.into()], |row| row.int(0))?;
    Ok(youngest.map(|at| Timestamp(at).plus_micros(1)))
}

/// Forgets at most [`MAX_FORGOTTEN`] jobs that ended before `before`, the oldest first, with everything that
/// belongs to them; says how many. None when the fence is broken.
///
/// A job stays while a message about it waits to be delivered, and until the feed has numbered all its rows.
pub fn forget_ended(tx: &mut dyn Tx, fence: &Fence, before: Timestamp) -> Result<Option<u64>, StoreError> {
    if !holds(tx, fence)? {
        return Ok(None);
    }
    let sql = format!(
        "SELECT j.id FROM jobs j WHERE j.completed_at IS NOT NULL AND j.completed_at < ?1 \
         AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.job_id = j.id AND o.done_at IS NULL AND o.dead_at IS NULL) \
         AND NOT EXISTS (SELECT 1 FROM transitions t WHERE t.job_id = j.id AND {}) \
         ORDER BY j.completed_at, j.id LIMIT {MAX_FORGOTTEN}",
        numbering::is_waiting()
    );
    let ids = all(tx, &sql, &[before.0.into()], |row| row.text(0))?;
    if ids.is_empty() {
        return Ok(Some(0));
    }
    let args: Vec<Arg<'_>> = ids.iter().map(Arg::from).collect();
    let these = places(0, ids.len());
    let last = first(
        tx,
        &format!("SELECT MAX({}) FROM transitions t WHERE t.job_id IN ({these})", numbering::NUMBER),
        &args,
        |row| row.opt_int(0),
    )?;
    numbering::forget_until(tx, last.flatten().unwrap_or(0))?;
    let mut made = expired_until(tx)?.unwrap_or(Timestamp(i64::MIN));
    for id in &ids {
        let id: JobId = id.parse().map_err(|e| StoreError::unreadable("job id", e))?;
        made = made.max(id.made_at());
    }
    facts::set(tx, JOBS_EXPIRED_UNTIL, &made.0.to_string())?;
    own::forget(tx, &ids)?;
    for table in ["outbox", "idempotency", "job_labels", "attempts", "transitions", "job_specs"] {
        tx.execute(&format!("DELETE FROM {table} WHERE job_id IN ({these})"), &args)?;
    }
    let forgotten = tx.execute(&format!("DELETE FROM jobs WHERE id IN ({these})"), &args)?;
    Ok(Some(forgotten))
}

/// When the youngest of the forgotten jobs was made; None while none was.
pub fn expired_until(tx: &mut dyn Tx) -> Result<Option<Timestamp>, StoreError> {
    match facts::get(tx, JOBS_EXPIRED_UNTIL)? {
        None => Ok(None),
        Some(text) => text
            .parse()
            .map(|n| Some(Timestamp(n)))
            .map_err(|e| StoreError::unreadable("retention's mark", e)),
    }
}

/// Of these jobs, those that are there, and when they ended.
pub fn ends(tx: &mut dyn Tx, ids: &[JobId]) -> Result<BTreeMap<JobId, Option<Timestamp>>, StoreError> {
    let texts: Vec<String> = ids.iter().map(JobId::to_string).collect();
    let args: Vec<Arg<'_>> = texts.iter().map(Arg::from).collect();
    if args.is_empty() {
        return Ok(BTreeMap::new());
    }
    let sql = format!("SELECT id, completed_at FROM jobs WHERE id IN ({})", places(0, args.len()));
    let found = all(tx, &sql, &args, |row| {
        let id: JobId = row.text(0)?.parse().map_err(|e| StoreError::unreadable("job id", e))?;
        Ok((id, row.opt_int(1)?.map(Timestamp)))
    })?;
    Ok(found.into_iter().collect())
}

/// A piece of the outbox that was looked through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Looked {
    /// Messages that were delivered before the moment asked for.
    pub old: Vec<i64>,
    /// Where to go on; None at the end, or where younger messages begin.
    pub next: Option<i64>,
}

/// Looks through at most `limit` messages behind the id `after` for those delivered before `before`.
///
/// Delivered messages have no index of their own: they are looked for in the order of their ids, and only among
/// those written before `before`, which are few once the old ones are gone.
pub fn delivered_before(
    tx: &mut dyn Tx,
    after: i64,
    before: Timestamp,
    limit: u32,
) -> Result<Looked, StoreError> {
    let mut looked = Looked::default();
    let (mut seen, mut last, mut young) = (0, after, false);
    let sql = format!("SELECT id, created_at, done_at FROM outbox WHERE id > ?1 ORDER BY id LIMIT {limit}");
    tx.query(&sql, &[after.into()], &mut |row| {
        (seen, last) = (seen + 1, row.int(0)?);
        young = row.int(1)? >= before.0;
        if row.opt_int(2)?.is_some_and(|done| done < before.0) {
            looked.old.push(last);
        }
        Ok(())
    })?;
    looked.next = (seen == limit && !young).then_some(last);
    Ok(looked)
}

/// Forgets delivered messages; false when the fence is broken.
pub fn forget_delivered(tx: &mut dyn Tx, fence: &Fence, ids: &[i64]) -> Result<bool, StoreError> {
    if !holds(tx, fence)? {
        return Ok(false);
    }
    if !ids.is_empty() {
        let args: Vec<Arg<'_>> = ids.iter().map(|id| Arg::Int(*id)).collect();
        let sql =
            format!("DELETE FROM outbox WHERE id IN ({}) AND done_at IS NOT NULL", places(0, ids.len()));
        tx.execute(&sql, &args)?;
    }
    Ok(true)
}
