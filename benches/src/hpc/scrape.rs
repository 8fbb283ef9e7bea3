//! A scrape with very many running jobs.

use std::path::Path;
use std::time::{Duration, Instant};

use libra_core::hpc::usage::Sample;
use libra_store::Db;
use libra_store::tables::hpc::samples::{Batch, record};

use super::jobs;
use crate::Outcome;
use crate::figures::{Samples, Table, aim};
use crate::http1::{Connection, get};
use crate::service::Service;

/// Running jobs.
const JOBS: u32 = 20_000;
/// Jobs whose samples are stored at once.
const AT_ONCE: usize = 2_000;
/// Aimed at, in milliseconds.
const AIM_MS: f64 = 300.0;
/// Scrapes that are measured, one after the other, beside the readings of the store.
const SCRAPES: usize = 200;
/// Between two of them.
const PAUSE: Duration = Duration::from_millis(150);
/// How long the figures may take to be there.
const PATIENCE: Duration = Duration::from_mins(1);
/// One MB, in bytes.
const MB: f64 = 1e6;

pub(super) async fn measure(
    libra: &Path,
    (dir, config): (&Path, &str),
    db: Db,
    store: &str,
    table: &mut Table,
) -> Outcome<()> {
    let ids = jobs::run(&db, JOBS).await?;
    let now = crate::jobs::now();
    for (some, from) in ids.chunks(AT_ONCE).zip((0_u32..).step_by(AT_ONCE)) {
        let sample = || Sample { cpu: Some(50_000), memory_mb: Some(900), ..Sample::at(now) };
        let of = |(n, id)| Batch { job: id, node: jobs::node(n), samples: vec![sample()] };
        let batches: Vec<Batch> = (from..).zip(some.iter().copied()).map(of).collect();
        db.write(move |tx| record(tx, batches)).await?;
    }
    drop(db);
    let empty = Service::start(libra, &dir.join("empty"), "")?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let without = empty.resident()?;
    empty.end()?;
    let service = Service::start(libra, dir, config)?;
    let mut connection = Connection::open(service.address).await?;
    let request = get("/metrics");
    let began = Instant::now();
    let lines = loop {
        let (_, body) = connection.call(&request).await?;
        let text = std::str::from_utf8(body)?;
        if text.contains("hpc_left_out{kind=\"jobs\"} 18000") {
            break text.lines().filter(|line| line.starts_with("hpc_")).count();
        }
        if began.elapsed() > PATIENCE {
            return Err("the figures of running jobs did not come".into());
        }
        tokio::time::sleep(PAUSE).await;
    };
    let mut samples = Samples::default();
    let cpu = service.cpu_seconds()?;
    let scraping = Instant::now();
    for _ in 0..SCRAPES {
        let began = Instant::now();
        connection.call(&request).await?;
        samples.add(began.elapsed());
        tokio::time::sleep(PAUSE).await;
    }
    let cpu = 100.0 * (service.cpu_seconds()? - cpu) / scraping.elapsed().as_secs_f64();
    let resident = service.resident()?;
    service.end()?;
    let p99 = samples.percentile(99);
    table.add(
        &format!("{store}: a scrape with {JOBS} running jobs, p99"),
        &format!("{p99:.1} ms"),
        "",
        &format!("p50 {:.1} ms, {lines} figures", samples.percentile(50)),
        &aim("≤ 300 ms", p99 <= AIM_MS),
    );
    table.add(
        "  resident memory with them",
        &format!("{:.1} MB", resident as f64 / MB),
        &format!("{:.1} MB", without as f64 / MB),
        &format!("bare: on an empty SQLite; {cpu:.0} % of a core"),
        "",
    );
    Ok(())
}
