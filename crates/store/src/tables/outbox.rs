//! The `outbox` table: messages for the world, written with the state they tell of, and how their delivery goes.
//!
//! Messages about one job to one target go out in order: it is the turn of the oldest that is neither delivered nor
//! given up. Whoever sends one first claims it (design §3: intent, then the step outside, then the result), so a
//! message is not sent by two at once, and one whose sender died is due again when its claim has run out.

use libra_core::id::JobId;
use libra_core::time::Timestamp;

use super::feed::holds;
use crate::error::StoreError;
use crate::lane::{Fence, OutboxRow};
use crate::tx::{Arg, Tx, all};

/// Appends messages about one job, due at once whatever the clock of the store says.
pub(crate) fn append(
    tx: &mut dyn Tx,
    job_id: &str,
    rows: &[OutboxRow],
    at: Timestamp,
) -> Result<(), StoreError> {
    for row in rows {
        tx.execute(
            "INSERT INTO outbox (job_id, topic, target, payload, created_at, tries, next_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, 0, 0)",
            &[
                job_id.into(),
                Arg::from(&row.topic),
                Arg::from(&row.target),
                Arg::from(&row.payload),
                at.0.into(),
            ],
        )?;
    }
    Ok(())
}

/// The messages about one job, oldest first.
pub fn of_job(tx: &mut dyn Tx, job_id: JobId) -> Result<Vec<OutboxRow>, StoreError> {
    all(
        tx,
        "SELECT topic, target, payload FROM outbox WHERE job_id = ?1 ORDER BY id",
        &[Arg::from(&job_id.to_string())],
        |row| Ok(OutboxRow { topic: row.text(0)?, target: row.text(1)?, payload: row.text(2)? }),
    )
}

/// A message whose time has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// Its id.
    pub id: i64,
    /// The job it tells of.
    pub job_id: JobId,
    /// Where it goes.
    pub target: String,
    /// JSON.
    pub payload: String,
    /// When it was written.
    pub created_at: Timestamp,
    /// How often it was sent so far.
    pub tries: u32,
    /// The request that caused the job.
    pub correlation_id: String,
    /// When an earlier message about the same job to the same target is due, which has to go first; None when it is
    /// this one's turn.
    pub behind: Option<Timestamp>,
}

/// At most `limit` messages whose time has come, those that wait longest first, whether it is their turn or not: so
/// a look costs the same however many wait behind others. Who looks puts those off ([`postpone`]).
pub fn due(tx: &mut dyn Tx, limit: u32) -> Result<Vec<Due>, StoreError> {
    let now = tx.now()?;
    let sql = format!(
        "SELECT o.id, o.job_id, o.target, o.payload, o.created_at, o.tries, COALESCE(j.correlation_id, h.correlation_id), (\
           SELECT MAX(e.next_at) FROM outbox e WHERE e.job_id = o.job_id AND e.id < o.id AND e.target = o.target \
           AND e.done_at IS NULL AND e.dead_at IS NULL) \
         FROM outbox o LEFT JOIN jobs j ON j.id = o.job_id LEFT JOIN hpc_jobs h ON h.id = o.job_id \
         WHERE (j.id IS NOT NULL OR h.id IS NOT NULL) AND o.done_at IS NULL AND o.dead_at IS NULL AND o.next_at <= ?1 \
         ORDER BY o.next_at, o.id LIMIT {limit}"
    );
    all(tx, &sql, &[now.0.into()], |row| {
        Ok(Due {
            id: row.int(0)?,
            job_id: row.text(1)?.parse().map_err(|e| StoreError::unreadable("job id", e))?,
            target: row.text(2)?,
            payload: row.text(3)?,
            created_at: Timestamp(row.int(4)?),
            tries: u32::try_from(row.int(5)?).map_err(|e| StoreError::unreadable("tries", e))?,
            correlation_id: row.text(6)?,
            behind: row.opt_int(7)?.map(Timestamp),
        })
    })
}

/// Notes that these messages (id, tries so far) are about to be sent, which counts as a try, and keeps them from
/// everybody else for `micros`. Answers the ids for which this holds; none when the fence is broken.
pub fn claim(
    tx: &mut dyn Tx,
    fence: &Fence,
    messages: &[(i64, u32)],
    micros: i64,
) -> Result<Vec<i64>, StoreError> {
    let mut claimed = Vec::with_capacity(messages.len());
    if !holds(tx, fence)? {
        return Ok(claimed);
    }
    let until = tx.now()?.plus_micros(micros);
    for (id, tries) in messages {
        let changed = tx.execute(
            "UPDATE outbox SET tries = tries + 1, next_at = ?3 \
             WHERE id = ?1 AND tries = ?2 AND done_at IS NULL AND dead_at IS NULL",
            &[(*id).into(), (*tries).into(), until.0.into()],
        )?;
        if changed == 1 {
            claimed.push(*id);
        }
    }
    Ok(claimed)
}

/// Puts off messages that were not sent, without counting a try: each until its moment, and for `micros` at least.
pub fn postpone(
    tx: &mut dyn Tx,
    fence: &Fence,
    messages: &[(i64, Timestamp)],
    micros: i64,
) -> Result<(), StoreError> {
    if messages.is_empty() || !holds(tx, fence)? {
        return Ok(());
    }
    let soonest = tx.now()?.plus_micros(micros);
    let rows: Vec<String> = (0..messages.len())
        .map(|n| format!("(CAST(?{} AS BIGINT), CAST(?{} AS BIGINT))", 2 * n + 1, 2 * n + 2))
        .collect();
    let args: Vec<Arg<'_>> =
        messages.iter().flat_map(|(id, until)| [Arg::Int(*id), Arg::Int(until.max(&soonest).0)]).collect();
    let sql = format!(
        "UPDATE outbox SET next_at = later.column2 FROM (VALUES {}) later \
         WHERE outbox.id = later.column1 AND outbox.done_at IS NULL AND outbox.dead_at IS NULL",
        rows.join(", ")
    );
    tx.execute(&sql, &args)?;
    Ok(())
}

/// How one delivery went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The message.
    pub id: i64,
    /// Its job.
    pub job_id: JobId,
    /// Where it went.
    pub target: String,
    /// What came of it.
    pub verdict: Verdict,
}

/// What came of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The target took it.
    Delivered,
    /// To be sent again.
    Again {
        /// Why.
        error: String,
        /// After so many microseconds.
        micros: i64,
    },
    /// Given up.
    Dead {
        /// Why.
        error: String,
    },
}

/// Records how deliveries went; false when the fence is broken and nothing was recorded.
pub fn record(tx: &mut dyn Tx, fence: &Fence, reports: &[Report]) -> Result<bool, StoreError> {
    if !holds(tx, fence)? {
        return Ok(false);
    }
    let now = tx.now()?;
    for report in reports {
        let id = Arg::Int(report.id);
        match &report.verdict {
            Verdict::Delivered => {
                tx.execute(
                    "UPDATE outbox SET done_at = ?2, dead_at = NULL, last_error = NULL WHERE id = ?1",
                    &[id, now.0.into()],
                )?;
                next_turn(tx, report)?;
            }
            Verdict::Dead { error } => {
                tx.execute(
                    "UPDATE outbox SET dead_at = ?2, last_error = ?3 WHERE id = ?1 AND done_at IS NULL",
                    &[id, now.0.into(), Arg::from(error)],
                )?;
                next_turn(tx, report)?;
            }
            Verdict::Again { error, micros } => {
                tx.execute(
                    "UPDATE outbox SET next_at = ?2, last_error = ?3 \
                     WHERE id = ?1 AND done_at IS NULL AND dead_at IS NULL",
                    &[id, now.plus_micros(*micros).0.into(), Arg::from(error)],
                )?;
            }
        }
    }
    Ok(true)
}

/// What was put off behind a message that is no longer in the way is due at once.
fn next_turn(tx: &mut dyn Tx, gone: &Report) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE outbox SET next_at = 0 WHERE job_id = ?1 AND id > ?2 AND target = ?3 \
         AND done_at IS NULL AND dead_at IS NULL",
        &[Arg::from(&gone.job_id.to_string()), gone.id.into(), Arg::from(&gone.target)],
    )?;
    Ok(())
}

/// What waits to be delivered, counted no further than [`COUNTED_AT_MOST`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Messages that are neither delivered nor given up.
    pub pending: u64,
    /// When the oldest of them was written.
    pub oldest: Option<Timestamp>,
    /// Messages that were given up.
    pub dead: u64,
}

/// Figures of the backlog are exact up to this number.
pub const COUNTED_AT_MOST: u32 = 10_000;

/// How much waits.
pub fn backlog(tx: &mut dyn Tx) -> Result<Backlog, StoreError> {
    let mut backlog = Backlog::default();
    let pending = format!(
        "SELECT COUNT(*), MIN(created_at) FROM (SELECT created_at FROM outbox \
         WHERE done_at IS NULL AND dead_at IS NULL ORDER BY next_at, id LIMIT {COUNTED_AT_MOST}) counted"
    );
    tx.query(&pending, &[], &mut |row| {
        backlog.pending = u64::try_from(row.int(0)?).unwrap_or(0);
        backlog.oldest = row.opt_int(1)?.map(Timestamp);
        Ok(())
    })?;
    let dead = format!(
        "SELECT COUNT(*) FROM (SELECT 1 FROM outbox WHERE dead_at IS NOT NULL \
         ORDER BY dead_at, id LIMIT {COUNTED_AT_MOST}) counted"
    );
    tx.query(&dead, &[], &mut |row| {
        backlog.dead = u64::try_from(row.int(0)?).unwrap_or(0);
        Ok(())
    })?;
    Ok(backlog)
}
