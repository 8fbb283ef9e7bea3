//! Samples of minutes and hours together, so that long ranges are small (contract H2).
//!
//! A series is rolled up some time after its samples have come, whole minutes and whole hours of it at once, from the
//! samples themselves: done twice it is the same, and what comes late is counted in when it comes.

use libra_core::hpc::usage::Figure;
use libra_core::time::{MICROS_PER_SECOND, Timestamp};

use crate::error::StoreError;
use crate::lane::Fence;
use crate::tables::feed::holds;
use crate::tx::{Row, Tx, all};

/// One minute, in microseconds.
pub const MINUTE: i64 = 60 * MICROS_PER_SECOND;
/// One hour, in microseconds.
pub const HOUR: i64 = 60 * MINUTE;
/// A series is rolled up so long after its first sample that was not yet, in microseconds.
pub(super) const ROLLED_AFTER: i64 = 15 * MINUTE;
/// Series that are rolled up in one transaction, at most.
pub const MOST_AT_ONCE: u32 = 200;

/// A minute or an hour of a series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollup {
    /// When it begins.
    pub at: Timestamp,
    /// Samples in it.
    pub samples: i64,
    /// Shares of its processors; without the last.
    pub cpu: Figure,
    /// Memory, MiB; without the last.
    pub memory_mb: Figure,
    /// Shares of its GPUs; without the last.
    pub gpu: Figure,
}

/// Rolls up what is due by `now`; says how many series that were. None when the fence is broken.
pub fn roll(tx: &mut dyn Tx, fence: &Fence, now: Timestamp) -> Result<Option<usize>, StoreError> {
    if !holds(tx, fence)? {
        return Ok(None);
    }
    let sql = format!(
        "SELECT id, rolled_until, last_at FROM hpc_series WHERE roll_at IS NOT NULL AND roll_at <= ?1 \
         ORDER BY roll_at, id LIMIT {MOST_AT_ONCE}"
    );
    let due =
        all(tx, &sql, &[now.0.into()], |row| Ok((row.int(0)?, row.int(1)?, row.opt_int(2)?.unwrap_or(0))))?;
    for (series, from, last) in &due {
        for step in [MINUTE, HOUR] {
            // The one that is not over is rolled up with what it has so far, and again when there is more.
            sum_up(tx, *series, step, from - from.rem_euclid(step))?;
        }
        let sql = "UPDATE hpc_series SET roll_at = NULL, rolled_until = ?2 WHERE id = ?1";
        tx.execute(sql, &[(*series).into(), last.saturating_add(1).into()])?;
    }
    Ok(Some(due.len()))
}

fn sum_up(tx: &mut dyn Tx, series: i64, step: i64, from: i64) -> Result<(), StoreError> {
    let sql = format!(
        "INSERT INTO hpc_rollups (series, step, at, samples, cpu_count, cpu_sum, cpu_max, memory_count, memory_sum, memory_max, \
         gpu_count, gpu_sum, gpu_max) \
         SELECT series, {step}, at - at % {step}, COUNT(*), COUNT(cpu), COALESCE(SUM(cpu), 0), MAX(cpu), COUNT(memory_mb), \
         COALESCE(SUM(memory_mb), 0), MAX(memory_mb), COUNT(gpu), COALESCE(SUM(gpu), 0), MAX(gpu) \
         FROM hpc_samples WHERE series = ?1 AND at >= ?2 GROUP BY series, at - at % {step} \
         ON CONFLICT (series, step, at) DO UPDATE SET samples = excluded.samples, cpu_count = excluded.cpu_count, \
         cpu_sum = excluded.cpu_sum, cpu_max = excluded.cpu_max, memory_count = excluded.memory_count, \
         memory_sum = excluded.memory_sum, memory_max = excluded.memory_max, gpu_count = excluded.gpu_count, \
         gpu_sum = excluded.gpu_sum, gpu_max = excluded.gpu_max"
    );
    tx.execute(&sql, &[series.into(), from.into()])?;
    Ok(())
}

/// The minutes or hours of a series from `from` until before `until`, the oldest first, `most` of them at most.
pub fn between(
    tx: &mut dyn Tx,
    series: i64,
    step: i64,
    (from, until): (Timestamp, Timestamp),
    most: u32,
) -> Result<Vec<Rollup>, StoreError> {
    let sql = format!(
        "SELECT at, samples, cpu_count, cpu_sum, cpu_max, memory_count, memory_sum, memory_max, gpu_count, gpu_sum, gpu_max \
         FROM hpc_rollups WHERE series = ?1 AND step = ?2 AND at >= ?3 AND at < ?4 ORDER BY at LIMIT {most}"
    );
    all(tx, &sql, &[series.into(), step.into(), from.0.into(), until.0.into()], read)
}

/// The same of samples that are not rolled up yet.
pub fn fresh(
    tx: &mut dyn Tx,
    series: i64,
    step: i64,
    (from, until): (Timestamp, Timestamp),
    most: u32,
) -> Result<Vec<Rollup>, StoreError> {
    let sum =
        |column: &str| format!("COUNT({column}), CAST(COALESCE(SUM({column}), 0) AS BIGINT), MAX({column})");
    let sql = format!(
        "SELECT at - at % {step}, COUNT(*), {}, {}, {} FROM hpc_samples WHERE series = ?1 AND at >= ?2 AND at < ?3 \
         GROUP BY at - at % {step} ORDER BY at - at % {step} LIMIT {most}",
        sum("cpu"),
        sum("memory_mb"),
        sum("gpu")
    );
    all(tx, &sql, &[series.into(), from.0.into(), until.0.into()], read)
}

fn read(row: &dyn Row) -> Result<Rollup, StoreError> {
    let figure = |at: usize| {
        let (count, sum, max) = (row.int(at)?, row.int(at + 1)?, row.opt_int(at + 2)?);
        Ok::<_, StoreError>(Figure { last: None, count, sum, max })
    };
    Ok(Rollup {
        at: Timestamp(row.int(0)?),
        samples: row.int(1)?,
        cpu: figure(2)?,
        memory_mb: figure(5)?,
        gpu: figure(8)?,
    })
}
