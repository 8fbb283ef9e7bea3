//! Durable submissions beside bare inserts of the same rows: many rows to a statement, and one by one.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use libra_core::id::JobId;
use libra_core::job::State;
use libra_store::Db;
use libra_store::lane::Submitted;
use libra_store::tables::jobs::count_in_state;
use libra_testkit::Postgres;
use tokio::task::JoinSet;

use super::rows::Rows;
use super::{bare, open};
use crate::Outcome;
use crate::figures::{Table, aim};
use crate::jobs;
use crate::service::Service;
use crate::submissions;

/// Clients that submit at once.
const CLIENTS: [usize; 2] = [64, 256];
/// Clients over HTTP, and connections of those that insert one by one.
const SINGLE: usize = 64;
/// Connections on the bare side: as many as Libra has for new jobs.
const CONNECTIONS: usize = 4;
/// All sides take turns this many times.
const ROUNDS: u32 = 2;
/// Aimed at: this share of the bare rate.
const AIM: f64 = 0.5;

/// What was stored in how long.
#[derive(Clone, Copy, Default)]
struct Tally {
    stored: u64,
    time: Duration,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.stored += other.stored;
        self.time += other.time;
    }

    fn rate(self) -> f64 {
        self.stored as f64 / self.time.as_secs_f64()
    }
}

pub(super) async fn measure(
    server: &Postgres,
    libra: &Path,
    time: Duration,
    table: &mut Table,
) -> Outcome<()> {
    let rows = Arc::new(sample(server).await?);
    let turn = time / ROUNDS;
    let mut one_by_one = Tally::default();
    let mut over_http = Tally::default();
    for clients in CLIENTS {
        let group = clients / CONNECTIONS;
        let (mut lanes, mut bare) = (Tally::default(), Tally::default());
        for _ in 0..ROUNDS {
            lanes.add(through_lanes(server, clients, turn).await?);
            bare.add(bare_inserts(server, &rows, CONNECTIONS, group, turn).await?);
            if clients == SINGLE {
                over_http.add(http(server, libra, turn).await?);
                one_by_one.add(bare_inserts(server, &rows, SINGLE, 1, turn).await?);
            }
        }
        line(table, &format!("PostgreSQL: submissions, {clients} clients"), lanes, bare, true);
    }
    line(table, &format!("  over HTTP, {SINGLE} clients"), over_http, one_by_one, false);
    table.remark(format!(
        "PostgreSQL submissions: {} s on each side in {ROUNDS} turns, each in a new database; every stored job was \
         counted afterwards. Bare: the same rows (jobs, job_specs, transitions), tables and indexes, inserted from \
         {CONNECTIONS} connections with as many submissions to a transaction as clients share a connection (16 and \
         64), three statements of many rows in one round trip. The line over HTTP stands beside {SINGLE} connections \
         that insert one submission to a transaction; its clients and Libra are processes of their own.",
        time.as_secs()
    ));
    Ok(())
}

fn line(table: &mut Table, what: &str, libra: Tally, bare: Tally, aimed: bool) {
    let ratio = libra.rate() / bare.rate();
    table.add(
        what,
        &format!("{:.0} /s", libra.rate()),
        &format!("{:.0} /s", bare.rate()),
        &format!("{ratio:.2} of bare inserts{}", if aimed { "" } else { ", one by one" }),
        &if aimed { aim("≥ 0.5", ratio >= AIM) } else { String::new() },
    );
}

/// The rows of one submission as Libra writes them.
async fn sample(server: &Postgres) -> Outcome<Rows> {
    let url = server.create_database();
    let db = open(&url).await?;
    db.submit(jobs::submission(&jobs::draft()?)).await?;
    Rows::of_newest_job(&bare::connect(&url).await?).await
}

async fn through_lanes(server: &Postgres, clients: usize, time: Duration) -> Outcome<Tally> {
    let db = open(&server.create_database()).await?;
    let draft = Arc::new(jobs::draft()?);
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..clients {
        let (db, draft) = (db.clone(), Arc::clone(&draft));
        tasks.spawn(async move {
            let mut stored = 0;
            while began.elapsed() < time {
                match db.submit(jobs::submission(&draft)).await? {
                    Submitted::Stored => stored += 1,
                    other => return Err(format!("a submission was answered by {other:?}").into()),
                }
            }
            Outcome::Ok(stored)
        });
    }
    let mut stored = 0;
    while let Some(ended) = tasks.join_next().await {
        stored += ended??;
    }
    let time = began.elapsed();
    let found = queued(&db, stored).await?;
    if found != stored {
        return Err(format!("{stored} jobs were stored and {found} are queued").into());
    }
    Ok(Tally { stored, time })
}

async fn queued(db: &Db, expected: u64) -> Outcome<u64> {
    Ok(db.read(move |tx| count_in_state(tx, State::Queued, expected + 1)).await?)
}

/// Inserts `group` submissions to a transaction on each of the connections.
async fn bare_inserts(
    server: &Postgres,
    rows: &Arc<Rows>,
    connections: usize,
    group: usize,
    time: Duration,
) -> Outcome<Tally> {
    let url = server.create_database();
    // The same tables and indexes.
    drop(open(&url).await?);
    let mut ready = Vec::new();
    for _ in 0..connections {
        let client = bare::connect(&url).await?;
        let statements = rows.prepare(&client).await?;
        ready.push((client, statements));
    }
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for (client, statements) in ready {
        let rows = Arc::clone(rows);
        tasks.spawn(async move {
            let mut stored = 0;
            while began.elapsed() < time {
                let now = jobs::now();
                let ids: Vec<String> =
                    (0..group).map(|_| JobId::new(now, rand::random()).to_string()).collect();
                rows.insert(&client, &statements, &ids).await?;
                stored += group as u64;
            }
            Outcome::Ok(stored)
        });
    }
    let mut stored = 0;
    while let Some(ended) = tasks.join_next().await {
        stored += ended??;
    }
    Ok(Tally { stored, time: began.elapsed() })
}

async fn http(server: &Postgres, libra: &Path, time: Duration) -> Outcome<Tally> {
    let url = server.create_database();
    let scratch = tempfile::tempdir()?;
    let config = format!("{}libra.store.url: \"{url}\"\n", submissions::CONFIG);
    let service = Service::start(libra, scratch.path(), &config)?;
    let began = Instant::now();
    let (stored, _) = submissions::load(service.address, time).await?;
    let time = began.elapsed();
    service.end()?;
    let found = queued(&open(&url).await?, stored).await?;
    if found != stored {
        return Err(format!("{stored} jobs were accepted and {found} are queued").into());
    }
    Ok(Tally { stored, time })
}
