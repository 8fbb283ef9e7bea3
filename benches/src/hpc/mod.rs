//! Jobs of batch schedulers: events of hooks, samples of agents, long ranges, and a scrape of very many running jobs.

mod events;
mod jobs;
pub(crate) mod requests;
mod samples;
mod scrape;

use std::path::Path;
use std::time::Duration;

use libra_store::Db;
use libra_store::db::DATABASE_FILE;

use crate::Outcome;
use crate::figures::Table;
use crate::postgres;

pub(crate) async fn measure(libra: &Path, time: Duration, table: &mut Table) -> Outcome<()> {
    let scratch = tempfile::tempdir()?;
    let dir = |name: &str| scratch.path().join(name);
    eprintln!("  events on SQLite …");
    events::sqlite(libra, &dir("events"), time, table).await?;
    let server = postgres::server();
    eprintln!("  events on PostgreSQL …");
    events::postgres(&server, libra, &dir("events-on-postgres"), time, table).await?;
    for store in ["SQLite", "PostgreSQL"] {
        eprintln!("  samples, and a month of them, on {store} …");
        let dir = dir(&format!("samples-on-{store}"));
        let (db, config) = open(&dir, (store == "PostgreSQL").then_some(&server)).await?;
        let job = samples::measure(&db, store, time, table).await?;
        drop(db);
        samples::ranges(libra, &dir, &config, job, store, table).await?;
        eprintln!("  a scrape on {store} …");
        let dir = scratch.path().join(format!("scrape-on-{store}"));
        let (db, config) = open(&dir, (store == "PostgreSQL").then_some(&server)).await?;
        scrape::measure(libra, (&dir, &config), db, store, table).await?;
    }
    table.remark(format!(
        "Events: job-started over HTTP from {} connections, each of a job of its own, answered when it is durable; bare: the \
         same rows, as many jobs in a transaction. Samples: batches of an agent that was away, into the store. Ranges: \
         31 days over HTTP. The clients run on the same machine.",
        events::CONNECTIONS
    ));
    Ok(())
}

/// A new store, and the configuration for a Libra on it.
async fn open(dir: &Path, server: Option<&libra_testkit::Postgres>) -> Outcome<(Db, String)> {
    let data = dir.join("data");
    std::fs::create_dir_all(&data)?;
    match server {
        None => Ok((Db::open_sqlite(&data.join(DATABASE_FILE))?, String::new())),
        Some(server) => {
            let url = server.create_database();
            Ok((postgres::open(&url).await?, format!("libra.store.url: \"{url}\"\n")))
        }
    }
}
