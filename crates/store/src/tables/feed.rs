//! The order in which the world hears of transitions (contract A10).
//!
//! Rows are numbered after their commit ([`super::numbering`]), so that the numbers have no gaps and no row appears
//! behind one that was already read (design §3). Retention may remove rows; the greatest number that it removed is
//! remembered, so that whoever comes back too late is told instead of missing something.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use libra_core::id::JobId;
use libra_core::job::State;

use super::numbering::{self, Segment};
pub use super::numbering::{MAX_NUMBERED, NUMBER, begins_after, newest, number};
use super::places;
use super::transitions::{self, LogRow};
use crate::error::StoreError;
use crate::lane::Fence;
use crate::tx::{Arg, Row, Tx, all, first};

/// Numbers that one page looks at, however few of them its reader wants.
pub const MAX_SCANNED: i64 = 2_000;

/// True while the lease of `fence` is still of its epoch, which then stays so until the transaction ends.
pub fn holds(tx: &mut dyn Tx, fence: &Fence) -> Result<bool, StoreError> {
    let sql = format!("SELECT 1 FROM leases WHERE name = ?1 AND epoch = ?2{}", tx.hold());
    let held = first(tx, &sql, &[Arg::from(&fence.lease), fence.epoch.into()], |_| Ok(()))?;
    Ok(held.is_some())
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
    if filter.job.is_some() {
        let mut rows = of_job(tx, filter)?;
        rows.retain(|row| row.seq > after && row.seq <= until);
        rows.truncate(limit as usize);
        return Ok(rows);
    }
    let mut rows = Vec::new();
    for segment in numbering::between(tx, after, until)? {
        let missing = limit.saturating_sub(u32::try_from(rows.len()).unwrap_or(u32::MAX));
        if missing == 0 {
            break;
        }
        rows.extend(of_segment(tx, filter, segment, (after, until), missing)?);
    }
    Ok(rows)
}

/// SQL: a row's job, which Libra runs or sees. LEFT keeps SQLite from beginning with all jobs of a user.
const JOBS: &str = "LEFT JOIN jobs j ON j.id = t.job_id LEFT JOIN hpc_jobs h ON h.id = t.job_id";
/// SQL: the job is known.
const KNOWN: &str = "(j.id IS NOT NULL OR h.id IS NOT NULL)";
/// SQL: its user.
const USER: &str = "COALESCE(j.user_id, h.user_name)";
/// SQL: the user's tenant.
const TENANT: &str = "COALESCE(j.tenant, h.tenant)";

/// The rows of one job that have numbers.
fn of_job(tx: &mut dyn Tx, filter: &FeedFilter) -> Result<Vec<FeedRow>, StoreError> {
    let job = filter.job.map(|id| id.to_string());
    let mut args: Vec<Arg<'_>> = vec![job.as_ref().into()];
    let conditions = conditions(filter, &mut args);
    let sql = format!(
        "SELECT {}, t.job_id, {USER} FROM transitions t {JOBS} \
         WHERE {KNOWN} AND t.job_id = ?1{conditions} ORDER BY t.id",
        transitions::columns(numbering::NUMBER)
    );
    Ok(all(tx, &sql, &args, read)?.into_iter().flatten().collect())
}

/// The rows of a segment that have numbers after the first and up to the second of `between`.
fn of_segment(
    tx: &mut dyn Tx,
    filter: &FeedFilter,
    segment: Segment,
    between: (i64, i64),
    limit: u32,
) -> Result<Vec<FeedRow>, StoreError> {
    let shift = segment.first_seq - segment.first_id;
    let first = segment.first_seq.max(between.0.saturating_add(1));
    let last = (segment.end_seq() - 1).min(between.1);
    let mut args: Vec<Arg<'_>> = vec![(first - shift).into(), (last - shift).into(), shift.into()];
    let conditions = conditions(filter, &mut args);
    let sql = format!(
        "SELECT {}, t.job_id, {USER} FROM transitions t {JOBS} \
         WHERE {KNOWN} AND t.id >= ?1 AND t.id <= ?2{conditions} ORDER BY t.id LIMIT {limit}",
        transitions::columns("t.id + ?3")
    );
    Ok(all(tx, &sql, &args, read)?.into_iter().flatten().collect())
}

/// What the filter asks for besides the job; its values follow those that `args` has.
fn conditions<'a>(filter: &'a FeedFilter, args: &mut Vec<Arg<'a>>) -> String {
    let mut conditions = String::new();
    if let Some((user, tenant)) = &filter.owner {
        args.extend([Arg::from(user), Arg::from(tenant)]);
        let _ = write!(conditions, " AND {USER} = ?{} AND {TENANT} = ?{}", args.len() - 1, args.len());
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
    conditions
}

/// A row, if it has a number.
fn read(row: &dyn Row) -> Result<Option<FeedRow>, StoreError> {
    let log = transitions::read(row)?;
    let Some(seq) = log.feed_seq else { return Ok(None) };
    Ok(Some(FeedRow {
        seq,
        job_id: row.text(transitions::WIDTH)?.parse().map_err(|e| StoreError::unreadable("job id", e))?,
        user: row.text(transitions::WIDTH + 1)?,
        labels: BTreeMap::new(),
        log,
    }))
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
