//! Jobs with nothing to do, from the first one submitted to the last one SUCCEEDED, beside graphile-worker.

mod engine;
mod graphile;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use libra_core::job::State;
use libra_core::mode::Mode;
use libra_engines::engine::Engine;
use libra_server::config::{Config, Source};
use libra_server::embed::Embedded;
use libra_store::tables::jobs::count_in_state;
use libra_testkit::Postgres;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::Outcome;
use crate::figures::{Table, aim};
use crate::postgres;
use engine::NoOp;
use graphile::Way;

/// Clients that submit at once.
const CLIENTS: u64 = 256;
/// Jobs of the slow way into graphile-worker: a share of all, for it is a rate that is compared.
const ONE_BY_ONE_SHARE: u64 = 10;
/// Both sides take turns this many times.
const ROUNDS: u32 = 2;
/// Aimed at, jobs a second.
const AIM: f64 = 10_000.0;

/// Everything may wait and run at once; the engine's jobs take nothing of the machine.
const CONFIG: &str = "\
libra.queue.max-size: 100000000
libra.resources.quotas.in-cluster.max-concurrent-jobs: 1000000
libra.resources.monitor.enabled: false
";

/// How long something took, in seconds from the first submission.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    submitted: f64,
    done: f64,
}

pub(crate) async fn measure(graphile: &Path, count: u64, table: &mut Table) -> Outcome<()> {
    let server = postgres::server();
    let one_by_one = (count / ONE_BY_ONE_SHARE).max(1);
    // Once for nothing: files are made, statements are compiled.
    libra(&server, one_by_one).await?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(libra(&server, count).await?);
        server.query(&server.url(), "CHECKPOINT");
        theirs.push(graphile::run(&server, graphile, count, Way::Many).await?);
        server.query(&server.url(), "CHECKPOINT");
    }
    let slow = graphile::run(&server, graphile, one_by_one, Way::One).await?;
    let rate = |runs: &[Run]| count as f64 * f64::from(ROUNDS) / runs.iter().map(|r| r.done).sum::<f64>();
    let submitted = |runs: &[Run]| count as f64 * f64::from(ROUNDS) / runs.iter().map(|r| r.submitted).sum::<f64>();
    let slow_rate = one_by_one as f64 / slow.done;
    let ours_rate = rate(&ours);
    let ratio = ours_rate / rate(&theirs);
    table.add(
        "end to end, no-op jobs, PostgreSQL",
        &format!("{ours_rate:.0} /s"),
        &format!("{:.0} /s", rate(&theirs)),
        &format!("{ratio:.2} of graphile-worker, jobs added 1,000 at a time"),
        &aim("ahead, and ≥ 10,000 /s", ratio > 1.0 && ours_rate >= AIM),
    );
    table.add(
        "  beside jobs added one by one",
        &format!("{ours_rate:.0} /s"),
        &format!("{slow_rate:.0} /s"),
        &format!("{:.2} of graphile-worker, 64 clients", ours_rate / slow_rate),
        "",
    );
    table.add(
        "  of which until the last is submitted",
        &format!("{:.0} /s", submitted(&ours)),
        &format!("{:.0} /s", submitted(&theirs)),
        "",
        "",
    );
    table.remark(format!(
        "End to end: {count} jobs in each of {ROUNDS} turns, from the first submission to the last durable end, while \
         others are submitted; a new database for each. Libra: {CLIENTS} clients in the process of the service (no \
         HTTP, no log lines), each submitting one job at a time and waiting until it is durable; every job has its \
         row, its specification, an attempt, four log rows that are numbered for the feed, and a directory. {}",
        graphile::words()
    ));
    Ok(())
}

fn body() -> Value {
    json!({"kind": "sql", "executionMode": "in-cluster", "code": "SELECT 1"})
}

async fn libra(server: &Postgres, count: u64) -> Outcome<Run> {
    let url = server.create_database();
    let scratch = tempfile::tempdir()?;
    let file = scratch.path().join("config.yaml");
    std::fs::write(&file, format!("{CONFIG}libra.store.url: \"{url}\"\n"))?;
    let source = Source { file: Some(file), data_dir: Some(scratch.path().join("data")), listen: None };
    let config = Config::from(source, &BTreeMap::new())?;
    let engine = Arc::new(NoOp::default());
    let engines = BTreeMap::from([(Mode::InCluster, Arc::clone(&engine) as Arc<dyn Engine>)]);
    let libra = Arc::new(Embedded::start(config, engines).await?);
    // It leads before anything is measured, as the other side's workers have started as well.
    tokio::time::sleep(Duration::from_secs(1)).await;

    let began = Instant::now();
    let mut clients = JoinSet::new();
    for n in 0..CLIENTS {
        let libra = Arc::clone(&libra);
        clients.spawn(async move {
            let body = body();
            for _ in (n..count).step_by(usize::try_from(CLIENTS).unwrap_or(usize::MAX)) {
                libra.submit(&body).await?;
            }
            Outcome::Ok(())
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended??;
    }
    let submitted = began.elapsed().as_secs_f64();
    engine.released(count).await;
    let done = began.elapsed().as_secs_f64();
    let found = libra.store().read(move |tx| count_in_state(tx, State::Succeeded, count + 1)).await?;
    if found != count {
        return Err(format!("{count} jobs ended and {found} are SUCCEEDED").into());
    }
    if let Some(libra) = Arc::into_inner(libra) {
        libra.end().await;
    }
    Ok(Run { submitted, done })
}
