//! The `transitions` table: the one log of what happened (contract L2).

use libra_core::id::JobId;
use libra_core::job::State;
use libra_core::lifecycle::Transition;
use libra_core::time::Timestamp;
use serde_json::{Value, json};

use super::numbering::NUMBER;
use crate::error::StoreError;
use crate::lane::Origin;
use crate::tx::{Arg, Row, Tx, all};

/// A stored row of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRow {
    /// Its number in the feed; None until it was numbered.
    pub feed_seq: Option<i64>,
    /// What happened.
    pub transition: Transition,
    /// The job's revision afterwards.
    pub revision: i64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// The request that caused it.
    pub correlation_id: String,
    /// JSON, or None.
    pub metadata: Option<String>,
}

/// What [`read`] reads, of the table as `t`; `number` is SQL for the number in the feed.
pub(super) fn columns(number: &str) -> String {
    format!(
        "{number}, t.from_state, t.to_state, t.reason, t.attempt, t.revision, t.at, t.actor, t.correlation_id, \
         t.metadata"
    )
}
/// How many columns these are.
pub(super) const WIDTH: usize = 10;

/// Appends rows about one job.
pub(crate) fn append(
    tx: &mut dyn Tx,
    job_id: &str,
    revision: i64,
    correlation_id: &str,
    log: &[Transition],
    origin: &Origin,
) -> Result<(), StoreError> {
    for t in log {
        tx.execute(
            "INSERT INTO transitions (job_id, revision, from_state, to_state, at, actor, reason, attempt, \
             correlation_id, metadata) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            &[
                job_id.into(),
                revision.into(),
                t.from.map(State::as_str).into(),
                t.to.as_str().into(),
                origin.at.0.into(),
                Arg::from(&origin.actor),
                Arg::from(&t.reason),
                t.attempt.into(),
                correlation_id.into(),
                origin.metadata.as_ref().into(),
            ],
        )?;
    }
    Ok(())
}

/// Rows about one job.
#[derive(Clone, Debug)]
pub(crate) struct Entry<'a> {
    /// The job.
    pub(crate) job: JobId,
    /// Its revision afterwards.
    pub(crate) revision: i64,
    /// The request that has caused it.
    pub(crate) correlation_id: String,
    /// What happened, in order.
    pub(crate) log: &'a [Transition],
    /// Where it comes from.
    pub(crate) origin: Origin,
}

/// Appends rows about many jobs in one statement.
pub(crate) fn append_all(tx: &mut dyn Tx, entries: &[Entry<'_>]) -> Result<(), StoreError> {
    let mut rows: Vec<Value> = Vec::new();
    for Entry { job, revision, correlation_id, log, origin } in entries {
        let Origin { at, actor, metadata } = origin;
        let row = |t: &Transition| {
            let (from, to) = (t.from.map(State::as_str), t.to.as_str());
            json!([
                job.to_string(),
                revision,
                from,
                to,
                at.0,
                actor,
                t.reason,
                t.attempt,
                correlation_id,
                metadata
            ])
        };
        rows.extend(log.iter().map(row));
    }
    if rows.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "INSERT INTO transitions (job_id, revision, from_state, to_state, at, actor, reason, attempt, correlation_id, \
         metadata) SELECT e.value ->> 0, CAST(e.value ->> 1 AS BIGINT), e.value ->> 2, e.value ->> 3, \
         CAST(e.value ->> 4 AS BIGINT), e.value ->> 5, e.value ->> 6, CAST(e.value ->> 7 AS BIGINT), e.value ->> 8, \
         e.value ->> 9 FROM {} AS e",
        tx.elements()
    );
    tx.execute(&sql, &[Arg::from(&super::json("rows of the log", &rows)?)])?;
    Ok(())
}

pub(super) fn read(row: &dyn Row) -> Result<LogRow, StoreError> {
    let state = |text: String| State::parse(&text).ok_or_else(|| StoreError::unreadable("state", text));
    Ok(LogRow {
        feed_seq: row.opt_int(0)?,
        transition: Transition {
            from: row.opt_text(1)?.map(state).transpose()?,
            to: state(row.text(2)?)?,
            reason: row.text(3)?,
            attempt: u32::try_from(row.int(4)?).map_err(|e| StoreError::unreadable("attempt number", e))?,
        },
        revision: row.int(5)?,
        at: Timestamp(row.int(6)?),
        actor: row.text(7)?,
        correlation_id: row.text(8)?,
        metadata: row.opt_text(9)?,
    })
}

/// The log of one job, oldest first.
pub fn of_job(tx: &mut dyn Tx, job_id: JobId) -> Result<Vec<LogRow>, StoreError> {
    let sql = format!("SELECT {} FROM transitions t WHERE t.job_id = ?1 ORDER BY t.id", columns(NUMBER));
    all(tx, &sql, &[Arg::from(&job_id.to_string())], read)
}
