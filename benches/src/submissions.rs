//! Durable submissions over HTTP beside bare inserts of the same rows.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use libra_core::id::JobId;
use libra_core::time::Timestamp;
use libra_store::Db;
use libra_store::db::DATABASE_FILE;
use rusqlite::Connection as Sqlite;
use rusqlite::types::Value;
use tokio::task::JoinSet;

use crate::Outcome;
use crate::figures::{Samples, Table, aim};
use crate::http1::{Connection, post};
use crate::service::{Service, cpu_seconds};

/// Clients that submit at once, each on a connection of its own.
const CONNECTIONS: usize = 64;
/// Submissions in one transaction on the bare side: as many as could ever wait for one commit of Libra's.
const BATCH: usize = CONNECTIONS;
/// Both sides take turns this many times.
const ROUNDS: u32 = 2;
/// Aimed at: this share of the bare rate.
const AIM: f64 = 0.5;

/// Jobs are stored and wait: nothing may run, and the queue takes them all.
pub(crate) const CONFIG: &str = "\
libra.resources.limits.max-concurrent-jobs: 0
libra.queue.max-size: 100000000
";

const BODY: &str = r#"{"name":"daily-orders","kind":"sql","executionMode":"in-cluster","priority":5,"code":"SELECT country, count(*) AS orders, sum(amount) AS revenue FROM sales.orders WHERE day = DATE'2026-01-31' GROUP BY country ORDER BY revenue DESC","sparkConfig":{"spark.sql.shuffle.partitions":"8"}}"#;

pub(crate) async fn measure(libra: &Path, time: Duration, table: &mut Table) -> Outcome<()> {
    let scratch = tempfile::tempdir()?;
    let (mut accepted, mut bare) = (0, 0);
    let (mut libra_cpu, mut load_cpu, mut bare_cpu) = (0.0, 0.0, 0.0);
    let own_cpu = || cpu_seconds(std::process::id());
    let (mut http_time, mut bare_time) = (Duration::ZERO, Duration::ZERO);
    let mut answers = Samples::default();
    for round in 0..ROUNDS {
        let dir = scratch.path().join(format!("libra{round}"));
        let service = Service::start(libra, &dir, CONFIG)?;
        let (began, cpu) = (Instant::now(), own_cpu()?);
        let (count, samples) = load(service.address, time / ROUNDS).await?;
        http_time += began.elapsed();
        accepted += count;
        answers.extend(samples);
        libra_cpu += service.cpu_seconds()?;
        load_cpu += own_cpu()? - cpu;
        let database = service.data_dir().join(DATABASE_FILE);
        service.end()?;
        let rows = rows_of_one_job(&database, count)?;

        let path = scratch.path().join(format!("bare{round}.db"));
        let (began, cpu) = (Instant::now(), own_cpu()?);
        bare += insert(&path, &rows, time / ROUNDS)?;
        bare_time += began.elapsed();
        bare_cpu += own_cpu()? - cpu;
    }
    let http_rate = accepted as f64 / http_time.as_secs_f64();
    let bare_rate = bare as f64 / bare_time.as_secs_f64();
    let ratio = http_rate / bare_rate;
    table.add(
        &format!("durable submissions, {CONNECTIONS} connections"),
        &format!("{http_rate:.0} /s"),
        &format!("{bare_rate:.0} /s"),
        &format!("{ratio:.2} of bare SQLite inserts"),
        &aim("≥ 0.5", ratio >= AIM),
    );
    table.add("  answer, p50", &format!("{:.1} ms", answers.percentile(50)), "", "", "");
    table.add("  answer, p99", &format!("{:.1} ms", answers.percentile(99)), "", "", "");
    let each = |cpu: f64, count: u64| format!("{:.0} µs", cpu * 1e6 / count as f64);
    table.add("  processor time for each", &each(libra_cpu, accepted), &each(bare_cpu, bare), "", "");
    table.remark(format!(
        "Submissions: {} s on either side in {ROUNDS} turns; every accepted job was found in the database. Bare: one \
         thread, the same rows and indexes, {BATCH} submissions in a transaction, WAL, synchronous=FULL. The clients \
         run on the same machine and took {} of processor time for each submission.",
        time.as_secs(),
        each(load_cpu, accepted)
    ));
    Ok(())
}

/// Submits on all connections until the time is up; says how many were accepted.
pub(crate) async fn load(address: SocketAddr, time: Duration) -> Outcome<(u64, Samples)> {
    let until = Instant::now() + time;
    let mut clients = JoinSet::new();
    for _ in 0..CONNECTIONS {
        clients.spawn(client(address, until));
    }
    let (mut accepted, mut answers) = (0, Samples::default());
    while let Some(ended) = clients.join_next().await {
        let (count, samples) = ended??;
        accepted += count;
        answers.extend(samples);
    }
    Ok((accepted, answers))
}

async fn client(address: SocketAddr, until: Instant) -> Outcome<(u64, Samples)> {
    let request = post("/api/v1/spark/jobs/submit", BODY);
    let mut connection = Connection::open(address).await?;
    let (mut accepted, mut answers) = (0, Samples::default());
    while Instant::now() < until {
        let began = Instant::now();
        let (status, body) = connection.call(&request).await?;
        if status != 202 {
            return Err(format!("{status}: {}", String::from_utf8_lossy(body)).into());
        }
        answers.add(began.elapsed());
        accepted += 1;
    }
    Ok((accepted, answers))
}

/// The rows that one submission wrote, as they are in Libra's database.
struct Row {
    table: &'static str,
    columns: Vec<String>,
    values: Vec<Value>,
    /// Which column holds the job's id.
    id: usize,
}

/// The tables that a submission writes, and the column with the job's id.
const TABLES: [(&str, &str); 3] = [("jobs", "id"), ("job_specs", "job_id"), ("transitions", "job_id")];
/// Columns that the database gives, or that are given later.
const GIVEN: [(&str, &str); 1] = [("transitions", "id")];

/// Reads the rows of one job, after making sure that all `accepted` ones are there.
fn rows_of_one_job(database: &Path, accepted: u64) -> Outcome<Vec<Row>> {
    let conn = Sqlite::open(database)?;
    let found: i64 = conn.query_row("SELECT COUNT(*) FROM jobs WHERE state = 'QUEUED'", [], |r| r.get(0))?;
    if u64::try_from(found)? != accepted {
        return Err(format!("{accepted} jobs were accepted and {found} are queued").into());
    }
    let job: String = conn.query_row("SELECT MAX(id) FROM jobs", [], |r| r.get(0))?;
    let mut rows = Vec::new();
    for (table, id) in TABLES {
        let mut statement = conn.prepare(&format!("SELECT * FROM {table} WHERE {id} = ?1"))?;
        let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let kept: Vec<usize> =
            (0..names.len()).filter(|n| !GIVEN.contains(&(table, names[*n].as_str()))).collect();
        let columns: Vec<String> = kept.iter().map(|n| names[*n].clone()).collect();
        let id = columns.iter().position(|c| c == id).ok_or("no column with the job's id")?;
        let mut found = statement.query([&job])?;
        while let Some(row) = found.next()? {
            let values = kept.iter().map(|n| row.get(*n)).collect::<Result<_, _>>()?;
            rows.push(Row { table, columns: columns.clone(), values, id });
        }
    }
    Ok(rows)
}

/// Inserts the rows of one submission after the other with new ids; says how many submissions were stored.
fn insert(path: &Path, rows: &[Row], time: Duration) -> Outcome<u64> {
    // The same tables and indexes; then a plain connection with the same settings.
    drop(Db::open_sqlite(path)?);
    let conn = Sqlite::open(path)?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "wal_autocheckpoint", 4_000)?;
    let mut statements = Vec::new();
    for row in rows {
        let places: Vec<String> = (1..=row.columns.len()).map(|n| format!("?{n}")).collect();
        let sql =
            format!("INSERT INTO {} ({}) VALUES ({})", row.table, row.columns.join(", "), places.join(", "));
        statements.push((conn.prepare(&sql)?, row, row.values.clone()));
    }
    let until = Instant::now() + time;
    let mut stored = 0;
    while Instant::now() < until {
        conn.execute_batch("BEGIN IMMEDIATE")?;
        let now = std::time::UNIX_EPOCH.elapsed()?;
        for _ in 0..BATCH {
            let id = JobId::new(Timestamp(i64::try_from(now.as_micros())?), rand::random()).to_string();
            for (statement, row, values) in &mut statements {
                values[row.id] = Value::Text(id.clone());
                statement.execute(rusqlite::params_from_iter(values.iter()))?;
            }
        }
        conn.execute_batch("COMMIT")?;
        stored += BATCH as u64;
    }
    Ok(stored)
}
