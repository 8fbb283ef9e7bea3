//! The order in which the world hears of transitions (contract A10).
//!
//! Rows are numbered after their commit, by the leader alone, so that the numbers have no gaps and no row
//! appears behind one that was already read (design §3). Retention may remove rows; the greatest number that it
//! removed is remembered, so that whoever comes back too late is told instead of missing something.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use libra_core::id::JobId;
use libra_core::job::State;

use super::transitions::{self, LogRow};
use super::{facts, places};
use crate::error::StoreError;
use crate::lane::Fence;
use crate::tx::{Arg, Tx, all, first};

/// Rows numbered in one transaction, at most.
pub const MAX_NUMBERED: i64 = 2_000;
/// Numbers that one page looks at, however few of them its reader wants.
pub const MAX_SCANNED: i64 = 2_000;
/// The fact that holds the greatest number whose row was removed.
const BEGINS_AFTER: &str = "feed_begins_after";

/// True while the lease of `fence` is still of its epoch, which then stays so until the transaction ends.
pub fn holds(tx: &mut dyn Tx, fence: &Fence) -> Result<bool, StoreError> {
    let sql = format!("SELECT 1 FROM leases WHERE name = ?1 AND epoch = ?2{}", tx.hold());
    let held = first(tx, &sql, &[Arg::from(&fence.lease), fence.epoch.into()], |_| Ok(()))?;
    Ok(held.is_some())
}

/// Numbers committed rows, if the fence still holds; says how many.
pub fn number(tx: &mut dyn Tx, fence: &Fence) -> Result<usize, StoreError> {
    if !holds(tx, fence)? {
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

/// The newest number given so far, whether its row is still kept or not; 0 before the first.
pub fn newest(tx: &mut dyn Tx) -> Result<i64, StoreError> {
    let newest = first(tx, "SELECT MAX(feed_seq) FROM transitions WHERE feed_seq IS NOT NULL", &[], |row| {
        row.opt_int(0)
    })?;
    Ok(newest.flatten().unwrap_or(0).max(begins_after(tx)?))
}

/// The feed is whole after this number; 0 while nothing was removed.
pub fn begins_after(tx: &mut dyn Tx) -> Result<i64, StoreError> {
    match facts::get(tx, BEGINS_AFTER)? {
        None => Ok(0),
        Some(text) => text.parse().map_err(|e| StoreError::unreadable("feed position", e)),
    }
}

/// Remembers that the row of this number, and perhaps others before it, is gone.
pub(crate) fn forget_until(tx: &mut dyn Tx, seq: i64) -> Result<(), StoreError> {
    if seq > begins_after(tx)? {
        facts::set(tx, BEGINS_AFTER, &seq.to_string())?;
    }
    Ok(())
}

/// Which rows a reader wants. All given conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeedFilter {
    /// Of this job.
    pub job: Option<JobId>,
    /// Of jobs of this user and tenant.
    pub owner: Option<(String, String)>,
    /// Of jobs with these labels.
    pub labels: Vec<(String, String)>,
    /// That lead to one of these states; empty = any.
    pub states: Vec<State>,
}

/// A row of the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedRow {
    /// Its number.
    pub seq: i64,
    /// The job.
    pub job_id: JobId,
    /// Who submitted the job.
    pub user: String,
    /// The job's labels.
    pub labels: BTreeMap<String, String>,
    /// What happened.
    pub log: LogRow,
}

/// A piece of the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedPage {
    /// In order.
    pub rows: Vec<FeedRow>,
    /// Where the next piece begins: everything up to here was looked at.
    pub next_after: i64,
    /// The newest number given so far.
    pub newest: i64,
    /// The feed is whole after this number: a page that was asked for from an earlier one may lack rows.
    pub begins_after: i64,
}

/// At most `limit` rows after the number `after`. A page may be empty although newer rows follow: the number of
/// rows that it looks at is bounded.
pub fn page(tx: &mut dyn Tx, filter: &FeedFilter, after: i64, limit: u32) -> Result<FeedPage, StoreError> {
    // Before the rows: what is numbered by then is all there.
    let newest = newest(tx)?;
    // One job has few rows and an index of its own; anything else is a walk along the numbers.
    let until = if filter.job.is_some() { newest } else { newest.min(after.saturating_add(MAX_SCANNED)) };
    let mut rows = rows(tx, filter, after, until, limit)?;
    let full = rows.len() >= limit as usize;
    let next_after = if full { rows.last().map_or(after, |row| row.seq) } else { until.max(after) };
    label(tx, &mut rows)?;
    // After the rows: if some were removed meanwhile, this says so.
    let begins_after = begins_after(tx)?;
    Ok(FeedPage { rows, next_after, newest, begins_after })
}

fn rows(
    tx: &mut dyn Tx,
    filter: &FeedFilter,
    after: i64,
    until: i64,
    limit: u32,
) -> Result<Vec<FeedRow>, StoreError> {
    let job = filter.job.map(|id| id.to_string());
    let mut args: Vec<Arg<'_>> = vec![after.into(), until.into()];
    let mut conditions = String::new();
    if let Some(job) = &job {
        args.push(Arg::from(job));
        let _ = write!(conditions, " AND t.job_id = ?{}", args.len());
    }
    if let Some((user, tenant)) = &filter.owner {
        args.extend([Arg::from(user), Arg::from(tenant)]);
        let _ = write!(conditions, " AND j.user_id = ?{} AND j.tenant = ?{}", args.len() - 1, args.len());
    }
    for (key, value) in &filter.labels {
        args.extend([Arg::from(key), Arg::from(value)]);
        let _ = write!(
            conditions,
            " AND EXISTS (SELECT 1 FROM job_labels l WHERE l.key = ?{} AND l.value = ?{} AND l.job_id = t.job_id)",
            args.len() - 1,
            args.len()
        );
    }
    if !filter.states.is_empty() {
        let _ = write!(conditions, " AND t.to_state IN ({})", places(args.len(), filter.states.len()));
        args.extend(filter.states.iter().map(|state| Arg::from(state.as_str())));
    }
    // CROSS keeps SQLite from beginning with all jobs of a user.
    let sql = format!(
        "SELECT {}, t.job_id, j.user_id FROM transitions t CROSS JOIN jobs j \
         WHERE j.id = t.job_id AND t.feed_seq > ?1 AND t.feed_seq <= ?2{conditions} \
         ORDER BY t.feed_seq LIMIT {limit}",
        transitions::COLUMNS
    );
    all(tx, &sql, &args, |row| {
        let log = transitions::read(row)?;
        let seq = log.feed_seq.ok_or_else(|| StoreError::unreadable("feed number", "it is NULL"))?;
        Ok(FeedRow {
            seq,
            job_id: row.text(transitions::WIDTH)?.parse().map_err(|e| StoreError::unreadable("job id", e))?,
            user: row.text(transitions::WIDTH + 1)?,
            labels: BTreeMap::new(),
            log,
        })
    })
}

/// Fills in the labels of the rows' jobs.
fn label(tx: &mut dyn Tx, rows: &mut [FeedRow]) -> Result<(), StoreError> {
    let jobs: BTreeSet<String> = rows.iter().map(|row| row.job_id.to_string()).collect();
    if jobs.is_empty() {
        return Ok(());
    }
    let args: Vec<Arg<'_>> = jobs.iter().map(Arg::from).collect();
    let sql =
        format!("SELECT job_id, key, value FROM job_labels WHERE job_id IN ({})", places(0, args.len()));
    let mut found: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    tx.query(&sql, &args, &mut |row| {
        found.entry(row.text(0)?).or_default().insert(row.text(1)?, row.text(2)?);
        Ok(())
    })?;
    for row in rows {
        if let Some(labels) = found.get(&row.job_id.to_string()) {
            row.labels.clone_from(labels);
        }
    }
    Ok(())
}
