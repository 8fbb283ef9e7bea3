//! Samples into the store, and a month of them read again.

use std::path::Path;
use std::time::{Duration, Instant};

use libra_core::hpc::usage::Sample;
use libra_core::id::JobId;
use libra_core::time::Timestamp;
use libra_store::Db;
use libra_store::lane::Fence;
use libra_store::tables::hpc::rollups;
use libra_store::tables::hpc::samples::{Batch, record};
use libra_store::tables::leases;

use super::jobs;
use crate::Outcome;
use crate::figures::{Samples, Table, aim};
use crate::http1::{Connection, get};
use crate::service::Service;

/// Samples in a batch, as many as one request may hold.
const BATCH: i64 = 10_000;
/// Jobs in a batch.
const JOBS: i64 = 100;
/// Aimed at, samples a second.
const AIM: f64 = 100_000.0;
/// A month of a job on a node, one sample a minute.
const MONTH_MINUTES: i64 = 31 * 24 * 60;
/// Aimed at for a month's range, in milliseconds.
const AIM_MS: f64 = 20.0;
/// Ranges that are read.
const READ: usize = 300;
/// Ranges that are read before.
const WARM_UP: usize = 20;
/// A lease that outlasts the benchmark, microseconds.
const LEASE: i64 = 3_600_000_000;

fn sample(at: Timestamp, n: i64) -> Sample {
    let (cpu, memory_mb) = (Some(n % 100_000), Some(1_000 + n % 500));
    Sample { cpu, millicores: Some(n % 8_000), memory_mb, ..Sample::at(at) }
}

/// Stores samples for `time`; answers a job of which there is a month, rolled up.
pub(super) async fn measure(db: &Db, store: &str, time: Duration, table: &mut Table) -> Outcome<JobId> {
    let count = u32::try_from(JOBS)? + 1;
    let ids = jobs::run(db, count).await?;
    let now = crate::jobs::now();
    let each = BATCH / JOBS;
    let (began, mut stored, mut batch) = (Instant::now(), 0_u64, 0);
    while began.elapsed() < time / 2 {
        let from = now.plus_seconds(-86_400 * 20 + 30 * each * batch);
        let of = |(n, id): (u32, &JobId)| Batch {
            job: *id,
            node: jobs::node(n),
            samples: (0..each).map(|s| sample(from.plus_seconds(30 * s), s * 997 + batch)).collect(),
        };
        let batches: Vec<Batch> = (1..count).zip(&ids[1..]).map(of).collect();
        stored += db.write(move |tx| record(tx, batches)).await?;
        batch += 1;
    }
    let rate = stored as f64 / began.elapsed().as_secs_f64();
    table.add(
        &format!("{store}: samples in batches of {BATCH}"),
        &format!("{rate:.0} /s"),
        "",
        &format!("{stored} of {JOBS} jobs"),
        &aim("≥ 100000", rate >= AIM),
    );
    let (month, first) = (ids[0], now.plus_seconds(-60 * MONTH_MINUTES));
    for from in (0..MONTH_MINUTES).step_by(usize::try_from(BATCH)?) {
        let minutes = from..MONTH_MINUTES.min(from + BATCH);
        let samples = minutes.map(|minute| sample(first.plus_seconds(60 * minute), minute * 997)).collect();
        let batch = Batch { job: month, node: jobs::node(0), samples };
        db.write(move |tx| record(tx, vec![batch])).await?;
    }
    let epoch = db.write(|tx| leases::take(tx, "bench", "a", LEASE, true)).await?;
    let fence = Fence { lease: "bench".into(), epoch: epoch.ok_or("the lease is another's")? };
    let began = Instant::now();
    let mut rolled = 0;
    loop {
        let of = fence.clone();
        let series = db.write(move |tx| rollups::roll(tx, &of, now.plus_seconds(86_400))).await?;
        let Some(series) = series.filter(|series| *series > 0) else { break };
        rolled += series;
    }
    let seconds = began.elapsed().as_secs_f64();
    table.add(&format!("  rolled up, {rolled} series"), &format!("{seconds:.1} s"), "", "", "");
    Ok(month)
}

/// Reads a month of a job over HTTP.
pub(super) async fn ranges(
    libra: &Path,
    dir: &Path,
    config: &str,
    job: JobId,
    store: &str,
    table: &mut Table,
) -> Outcome<()> {
    let service = Service::start(libra, dir, config)?;
    let mut connection = Connection::open(service.address).await?;
    let from = crate::jobs::now().plus_seconds(-60 * MONTH_MINUTES).rfc3339();
    let request = get(&format!("/v1/jobs/{job}/metrics?start_time={from}"));
    let mut samples = Samples::default();
    for n in 0..WARM_UP + READ {
        let began = Instant::now();
        let (status, body) = connection.call(&request).await?;
        let took = began.elapsed();
        if n == 0 {
            let answer: serde_json::Value = serde_json::from_slice(body)?;
            let hours = answer["samples"].as_array().map_or(0, Vec::len);
            if status != 200 || answer["resolution"] != "1h" || hours < 700 {
                return Err(format!("a month was answered by {status} and {hours} hours").into());
            }
        }
        if n >= WARM_UP {
            samples.add(took);
        }
    }
    service.end()?;
    let p99 = samples.percentile(99);
    table.add(
        &format!("{store}: a month of a job in hours, p99"),
        &format!("{p99:.1} ms"),
        "",
        &format!("p50 {:.1} ms", samples.percentile(50)),
        &aim("≤ 20 ms", p99 <= AIM_MS),
    );
    Ok(())
}
