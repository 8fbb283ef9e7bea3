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
use crate::service::family_cpu_seconds;
use engine::NoOp;
use graphile::Way;

/// Clients that submit at once.
const CLIENTS: u64 = 256;
/// The slow way into graphile-worker is measured with one job in so many.
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

/// What one turn took, in seconds.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    jobs: u64,
    /// From the first submission to the last.
    submitted: f64,
    /// From the first submission to the last end.
    done: f64,
    used: Used,
}

/// Processor time, in seconds.
#[derive(Clone, Copy, Debug, Default)]
struct Used {
    /// Of everything but PostgreSQL.
    own: f64,
    postgres: f64,
}

impl Used {
    fn so_far(server: &Postgres) -> Outcome<Self> {
        let postgres =
            server.pid().and_then(|pid| u32::try_from(pid).ok()).ok_or("PostgreSQL does not run")?;
        Ok(Self {
            own: family_cpu_seconds(std::process::id(), Some(postgres))?,
            postgres: family_cpu_seconds(postgres, None)?,
        })
    }

    fn since(self, before: Self) -> Self {
        Self { own: self.own - before.own, postgres: self.postgres - before.postgres }
    }
}

/// The turns of one side together.
struct Runs(Vec<Run>);

impl Runs {
    fn jobs(&self) -> f64 {
        self.0.iter().map(|r| r.jobs as f64).sum()
    }

    fn rate(&self, time: impl Fn(&Run) -> f64) -> f64 {
        self.jobs() / self.0.iter().map(time).sum::<f64>()
    }

    fn each(&self, used: impl Fn(&Used) -> f64) -> f64 {
        self.0.iter().map(|r| used(&r.used)).sum::<f64>() * 1e6 / self.jobs()
    }
}

pub(crate) async fn measure(graphile: &Path, count: u64, table: &mut Table) -> Outcome<()> {
    let server = postgres::server();
    // Removed at the end: a file system that has just let go of many directories is slow to make new ones.
    let scratch = tempfile::tempdir()?;
    let one_by_one = (count / ONE_BY_ONE_SHARE).max(1);
    // Once for nothing: files are made, statements are compiled.
    libra(&server, &scratch.path().join("first"), one_by_one).await?;
    let (mut ours, mut theirs) = (Runs(Vec::new()), Runs(Vec::new()));
    for round in 0..ROUNDS {
        server.query(&server.url(), "CHECKPOINT");
        ours.0.push(libra(&server, &scratch.path().join(round.to_string()), count).await?);
        server.query(&server.url(), "CHECKPOINT");
        theirs.0.push(graphile::run(&server, graphile, count, Way::Many).await?);
    }
    let slow = Runs(vec![graphile::run(&server, graphile, one_by_one, Way::One).await?]);
    let (our_rate, their_rate, slow_rate) =
        (ours.rate(|r| r.done), theirs.rate(|r| r.done), slow.rate(|r| r.done));
    let a_second = |rate: f64| format!("{rate:.0} /s");
    table.add(
        "end to end, no-op jobs, PostgreSQL",
        &a_second(our_rate),
        &a_second(their_rate),
        &format!("{:.2} of graphile-worker, 1,000 jobs added by each call", our_rate / their_rate),
        &aim("ahead", our_rate > their_rate),
    );
    table.add(
        "  the same, beside jobs added one by one",
        &a_second(our_rate),
        &a_second(slow_rate),
        &format!("{:.2} of graphile-worker, one job by each call, 64 at once", our_rate / slow_rate),
        &aim("≥ 10,000 /s", our_rate >= AIM),
    );
    table.add(
        "  submitted in the meantime",
        &a_second(ours.rate(|r| r.submitted)),
        &a_second(theirs.rate(|r| r.submitted)),
        "",
        "",
    );
    let each = |used: f64| format!("{used:.0} µs");
    table.add(
        "  processor time for each",
        &each(ours.each(|u| u.own)),
        &each(theirs.each(|u| u.own)),
        "",
        "",
    );
    let of_postgres = |runs: &Runs| each(runs.each(|u| u.postgres));
    table.add("  PostgreSQL's for each", &of_postgres(&ours), &of_postgres(&theirs), "", "");
    table.remark(format!(
        "End to end: {count} jobs in each of {ROUNDS} turns, from the first submission to the last durable end, new \
         ones being submitted while others run; a new database for each. Libra: {CLIENTS} clients in the process of \
         the service (no HTTP, no log lines), each submitting one job at a time and waiting until it is durable; \
         every job has its row, its specification, an attempt, four log rows that are numbered for the feed, and a \
         directory. Jobs added to graphile-worker one by one, as Libra's are, are a tenth as many, and took {} of \
         PostgreSQL's processor time each. {}",
        of_postgres(&slow),
        graphile::WORDS
    ));
    Ok(())
}

fn body() -> Value {
    json!({"kind": "sql", "executionMode": "in-cluster", "code": "SELECT 1"})
}

async fn libra(server: &Postgres, dir: &Path, count: u64) -> Outcome<Run> {
    let url = server.create_database();
    std::fs::create_dir_all(dir)?;
    let file = dir.join("config.yaml");
    std::fs::write(&file, format!("{CONFIG}libra.store.url: \"{url}\"\n"))?;
    let source = Source { file: Some(file), data_dir: Some(dir.join("data")), listen: None };
    let config = Config::from(source, &BTreeMap::new())?;
    let engine = Arc::new(NoOp::default());
    let engines = BTreeMap::from([(Mode::InCluster, Arc::clone(&engine) as Arc<dyn Engine>)]);
    let libra = Arc::new(Embedded::start(config, engines).await?);
    // It leads before anything is measured, as the other side's workers have started as well.
    tokio::time::sleep(Duration::from_secs(1)).await;

    let used = Used::so_far(server)?;
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
    let used = Used::so_far(server)?.since(used);
    let found = libra.store().read(move |tx| count_in_state(tx, State::Succeeded, count + 1)).await?;
    if found != count {
        return Err(format!("{count} jobs ended and {found} are SUCCEEDED").into());
    }
    if let Some(libra) = Arc::into_inner(libra) {
        libra.end().await;
    }
    Ok(Run { jobs: count, submitted, done, used })
}
