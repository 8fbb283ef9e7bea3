//! What observed jobs use: samples, and what they come to so far (contract H2).
//!
//! A sample is of a job on a node at a time. The same sample twice is one sample: agents send again what they are not sure
//! of.

use std::collections::BTreeMap;

use libra_core::hpc::usage::{Figure, Sample, Totals};
use libra_core::id::JobId;
use libra_core::time::Timestamp;
use serde_json::{Value, json};

use super::rollups::ROLLED_AFTER;
use crate::error::StoreError;
use crate::tables::{element, json as text_of};
use crate::tx::{Arg, Row, Tx, all};

/// Jobs, or series, that one statement looks for.
const MOST_AT_ONCE: usize = 250;
/// Samples that one statement stores.
const STORED_AT_ONCE: usize = 5_000;
/// Columns of a sample.
const WIDTH: usize = 8;

/// What a job uses on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    /// Its number.
    pub id: i64,
    /// The job.
    pub job: JobId,
    /// The node.
    pub node: String,
    /// What its samples come to.
    pub totals: Totals,
    /// Up to here they are rolled up.
    pub rolled_until: Timestamp,
    /// When they are to be rolled up; None while there is nothing new.
    pub roll_at: Option<Timestamp>,
    /// Its oldest sample is not older than this.
    pub kept_from: Timestamp,
    /// Its samples from before this are forgotten: none is taken any more.
    pub forgotten_until: Timestamp,
}

const COLUMNS: &str = "id, job_id, node, first_at, last_at, samples, cpu_last, cpu_count, cpu_sum, cpu_max, memory_last, \
     memory_count, memory_sum, memory_max, gpu_last, gpu_count, gpu_sum, gpu_max, gpu_memory_max, energy, read_bytes, \
     written_bytes, rolled_until, roll_at, kept_from, cores_last, cores_count, cores_sum, cores_max, memory_peak, covered, \
     forgotten_until";

fn read(row: &dyn Row) -> Result<Series, StoreError> {
    let job = row.text(1)?;
    let figure = |at: usize| {
        Ok::<_, StoreError>(Figure {
            last: row.opt_int(at)?,
            count: row.int(at + 1)?,
            sum: row.int(at + 2)?,
            max: row.opt_int(at + 3)?,
        })
    };
    Ok(Series {
        id: row.int(0)?,
        job: job.parse().map_err(|_| StoreError::unreadable("job id", job))?,
        node: row.text(2)?,
        totals: Totals {
            first_at: row.opt_int(3)?.map(Timestamp),
            last_at: row.opt_int(4)?.map(Timestamp),
            samples: row.int(5)?,
            cpu: figure(6)?,
            millicores: figure(25)?,
            memory_mb: figure(10)?,
            memory_peak_mb: row.opt_int(29)?,
            gpu: figure(14)?,
            gpu_memory_mb: row.opt_int(18)?,
            energy_joules: row.opt_int(19)?,
            read_bytes: row.opt_int(20)?,
            written_bytes: row.opt_int(21)?,
            covered: row.int(30)?,
        },
        rolled_until: Timestamp(row.int(22)?),
        roll_at: row.opt_int(23)?.map(Timestamp),
        kept_from: Timestamp(row.int(24)?),
        forgotten_until: Timestamp(row.int(31)?),
    })
}

/// What a job uses on each of its nodes.
pub fn of_job(tx: &mut dyn Tx, job: JobId) -> Result<Vec<Series>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM hpc_series WHERE job_id = ?1 ORDER BY node");
    all(tx, &sql, &[Arg::from(&job.to_string())], read)
}

/// The same of several jobs.
pub fn of_jobs(tx: &mut dyn Tx, jobs: &[JobId]) -> Result<Vec<Series>, StoreError> {
    let ids: Vec<String> = jobs.iter().map(ToString::to_string).collect();
    let mut found = Vec::new();
    for some in ids.chunks(MOST_AT_ONCE) {
        let places = crate::tables::places(0, some.len());
        let sql =
            format!("SELECT {COLUMNS} FROM hpc_series WHERE job_id IN ({places}) ORDER BY job_id, node");
        let args: Vec<Arg<'_>> = some.iter().map(Arg::from).collect();
        found.extend(all(tx, &sql, &args, read)?);
    }
    Ok(found)
}

/// Samples of a job on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The job.
    pub job: JobId,
    /// The node.
    pub node: String,
    /// In any order.
    pub samples: Vec<Sample>,
}

/// Stores samples, and counts them in; says how many were new. One that is there already stays as it is.
pub fn record(tx: &mut dyn Tx, batches: Vec<Batch>) -> Result<u64, StoreError> {
    let mut wanted: BTreeMap<(String, String), BTreeMap<i64, Sample>> = BTreeMap::new();
    for Batch { job, node, samples } in batches {
        let of = wanted.entry((job.to_string(), node)).or_default();
        for sample in samples {
            // The first of a moment counts, as it does from one batch to the next.
            of.entry(sample.at.0).or_insert(sample);
        }
    }
    let series = found_or_made(tx, wanted.keys())?;
    let mut stored = 0;
    let mut fresh: Vec<(i64, Sample)> = Vec::new();
    // In the order of their numbers: whoever else writes waits, and nobody waits for somebody who waits.
    let mut changed = Vec::new();
    for mut series in series {
        let key = (series.job.to_string(), series.node.clone());
        let Some(samples) = wanted.remove(&key) else { continue };
        let known_until = series.totals.last_at;
        let mut any = false;
        for (at, sample) in samples {
            // Its hour is rolled up, and what else was in it is gone.
            if at < series.forgotten_until.0 {
                continue;
            }
            // What comes in order is new; the others have to be looked for.
            let is_new = if known_until.is_none_or(|known| at > known.0) {
                fresh.push((series.id, sample.clone()));
                true
            } else {
                insert(tx, &[(series.id, sample.clone())])? == 1
            };
            if is_new {
                series.totals.add(&sample);
                series.rolled_until = series.rolled_until.min(sample.at);
                series.kept_from = series.kept_from.min(sample.at);
                stored += 1;
                any = true;
            }
        }
        if any {
            let due = series.totals.last_at.map(|last| last.plus_micros(ROLLED_AFTER));
            series.roll_at = series.roll_at.or(due);
            changed.push(series);
        }
    }
    for some in fresh.chunks(STORED_AT_ONCE) {
        insert(tx, some)?;
    }
    update(tx, &changed)?;
    Ok(stored)
}

/// The sample that is kept of a job on a node at a time.
pub fn at(tx: &mut dyn Tx, job: JobId, node: &str, at: Timestamp) -> Result<Option<Sample>, StoreError> {
    let key = (job.to_string(), node.to_owned());
    let Some(series) = find(tx, &[&key])?.pop() else { return Ok(None) };
    Ok(between(tx, series.id, (at, at.plus_micros(1)), 1)?.pop())
}

fn found_or_made<'a>(
    tx: &mut dyn Tx,
    keys: impl Iterator<Item = &'a (String, String)>,
) -> Result<Vec<Series>, StoreError> {
    let keys: Vec<&(String, String)> = keys.collect();
    let mut all_found = Vec::new();
    for some in keys.chunks(MOST_AT_ONCE) {
        let mut found = find(tx, some)?;
        if found.len() < some.len() {
            for (job, node) in some {
                if !found.iter().any(|series| series.node == *node && series.job.to_string() == *job) {
                    let sql = "INSERT INTO hpc_series (job_id, node, samples, cpu_count, cpu_sum, memory_count, memory_sum, gpu_count, \
                               gpu_sum, rolled_until, kept_from) VALUES (?1, ?2, 0, 0, 0, 0, 0, 0, 0, ?3, ?3) ON CONFLICT DO NOTHING";
                    tx.execute(sql, &[job.into(), node.into(), i64::MAX.into()])?;
                }
            }
            found = find(tx, some)?;
        }
        all_found.extend(found);
    }
    all_found.sort_by_key(|series| series.id);
    Ok(all_found)
}

fn find(tx: &mut dyn Tx, keys: &[&(String, String)]) -> Result<Vec<Series>, StoreError> {
    let pairs: Vec<String> = (0..keys.len()).map(|n| format!("(?{}, ?{})", 2 * n + 1, 2 * n + 2)).collect();
    let hold = if tx.ids_may_appear_late() { " FOR UPDATE" } else { "" };
    let sql = format!(
        "SELECT {COLUMNS} FROM hpc_series WHERE (job_id, node) IN (VALUES {}) ORDER BY id{hold}",
        pairs.join(", ")
    );
    let args: Vec<Arg<'_>> = keys.iter().flat_map(|(job, node)| [Arg::from(job), Arg::from(node)]).collect();
    all(tx, &sql, &args, read)
}

/// Stores samples; says how many were not there.
fn insert(tx: &mut dyn Tx, samples: &[(i64, Sample)]) -> Result<u64, StoreError> {
    let row = |(series, sample): &(i64, Sample)| {
        let Sample { at, cpu, millicores, memory_mb, gpu, gpu_memory_mb, power_milliwatts, .. } = sample;
        json!([series, at.0, cpu, millicores, memory_mb, gpu, gpu_memory_mb, power_milliwatts])
    };
    let rows: Vec<Value> = samples.iter().map(row).collect();
    let read: Vec<String> = (0..WIDTH).map(|n| element(n, "BIGINT")).collect();
    // SQLite takes ON for a join's where no condition stands before it.
    let sql = format!(
        "INSERT INTO hpc_samples (series, at, cpu, millicores, memory_mb, gpu, gpu_memory_mb, power) SELECT {} FROM {} AS e \
         WHERE 1 = 1 ON CONFLICT DO NOTHING",
        read.join(", "),
        tx.elements()
    );
    tx.execute(&sql, &[Arg::from(&text_of("samples", &rows)?)])
}

/// The columns that an update changes, in the order of [`values`], behind the number.
const CHANGED: [&str; 28] = [
    "first_at",
    "last_at",
    "samples",
    "cpu_last",
    "cpu_count",
    "cpu_sum",
    "cpu_max",
    "memory_last",
    "memory_count",
    "memory_sum",
    "memory_max",
    "gpu_last",
    "gpu_count",
    "gpu_sum",
    "gpu_max",
    "gpu_memory_max",
    "energy",
    "read_bytes",
    "written_bytes",
    "rolled_until",
    "roll_at",
    "kept_from",
    "cores_last",
    "cores_count",
    "cores_sum",
    "cores_max",
    "memory_peak",
    "covered",
];

/// A series: its number, and [`CHANGED`].
fn values(series: &Series) -> Value {
    let Totals {
        first_at,
        last_at,
        samples,
        cpu,
        millicores,
        memory_mb,
        memory_peak_mb,
        gpu,
        gpu_memory_mb,
        energy_joules,
        read_bytes,
        written_bytes,
        covered,
    } = &series.totals;
    let mut row = vec![Some(series.id), first_at.map(|at| at.0), last_at.map(|at| at.0), Some(*samples)];
    let figure = |f: &Figure| [f.last, Some(f.count), Some(f.sum), f.max];
    row.extend([cpu, memory_mb, gpu].into_iter().flat_map(figure));
    row.extend([gpu_memory_mb, energy_joules, read_bytes, written_bytes]);
    row.extend([Some(series.rolled_until.0), series.roll_at.map(|at| at.0), Some(series.kept_from.0)]);
    row.extend(figure(millicores));
    row.extend([*memory_peak_mb, Some(*covered)]);
    json!(row)
}

fn update(tx: &mut dyn Tx, series: &[Series]) -> Result<(), StoreError> {
    if series.is_empty() {
        return Ok(());
    }
    let set: Vec<String> =
        CHANGED.iter().zip(1..).map(|(name, n)| format!("{name} = {}", element(n, "BIGINT"))).collect();
    let sql = format!(
        "UPDATE hpc_series SET {} FROM {} AS e WHERE hpc_series.id = {}",
        set.join(", "),
        tx.elements(),
        element(0, "BIGINT")
    );
    let rows: Vec<Value> = series.iter().map(values).collect();
    tx.execute(&sql, &[Arg::from(&text_of("series of samples", &rows)?)])?;
    Ok(())
}

/// Samples of a series from `from` until before `until`, the oldest first, `limit` of them at most.
pub fn between(
    tx: &mut dyn Tx,
    series: i64,
    (from, until): (Timestamp, Timestamp),
    limit: u32,
) -> Result<Vec<Sample>, StoreError> {
    let sql = format!(
        "SELECT at, cpu, millicores, memory_mb, gpu, gpu_memory_mb, power FROM hpc_samples \
         WHERE series = ?1 AND at >= ?2 AND at < ?3 ORDER BY at LIMIT {limit}"
    );
    all(tx, &sql, &[series.into(), from.0.into(), until.0.into()], |row| {
        Ok(Sample {
            at: Timestamp(row.int(0)?),
            cpu: row.opt_int(1)?,
            millicores: row.opt_int(2)?,
            memory_mb: row.opt_int(3)?,
            gpu: row.opt_int(4)?,
            gpu_memory_mb: row.opt_int(5)?,
            power_milliwatts: row.opt_int(6)?,
            ..Sample::at(Timestamp(row.int(0)?))
        })
    })
}
