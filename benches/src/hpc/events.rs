//! Events of hooks over HTTP beside bare inserts of the same rows.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use libra_core::id::JobId;
use libra_store::Db;
use libra_testkit::Postgres;
use rusqlite::Connection as Sqlite;
use tokio::task::JoinSet;

use crate::Outcome;
use crate::figures::{Samples, Table, aim};
use crate::http1::{Connection, post};
use crate::postgres;
use crate::service::Service;

/// Clients at once, each on a connection of its own.
pub(super) const CONNECTIONS: usize = 64;
/// Aimed at, events a second: on SQLite and on PostgreSQL.
const AIMS: (f64, f64) = (5_000.0, 8_000.0);
/// Or this share of the bare rate.
const AIM: f64 = 0.5;

/// The bare rows of one event, with the places of the job's id (?1) and number (?2).
const BARE: [&str; 4] = [
    "INSERT INTO hpc_jobs (id, revision, state, hpc_state, tenant, cluster, external_id, run, user_name, account, partition_name, \
     start_time, record, correlation_id, created_at, updated_at) VALUES (?1, 1, 'RUNNING', 'running', 'default', 'main', ?2, 1, \
     'alice', 'physics', 'batch', 1, '{\"external_id\":\"1000000\",\"raw_state\":\"RUNNING\",\"user\":\"alice\",\"account\":\"physics\",\"partition\":\"batch\",\"nodes\":[\"node-0001\"],\"allocated\":{\"cpus\":16}}', 'c', 1, 1)",
    "INSERT INTO hpc_job_nodes (node, job_id) VALUES ('node-0001', ?1)",
    "INSERT INTO transitions (job_id, revision, to_state, at, actor, reason, attempt, correlation_id, metadata) \
     VALUES (?1, 1, 'RUNNING', 1, 'slurm-prolog', 'started', 1, 'c', '{\"source\":\"slurm\",\"rawState\":\"RUNNING\"}')",
    "INSERT INTO hpc_audit (job_id, change_type, changed_at, changed_by, source, correlation_id, job_snapshot) \
     VALUES (?1, 'upsert', 1, 'slurm-prolog', 'slurm', 'c', '{\"id\":\"1\",\"state\":\"running\",\"record\":{\"external_id\":\"1000000\",\"raw_state\":\"RUNNING\",\"user\":\"alice\",\"account\":\"physics\",\"nodes\":[\"node-0001\"]}}')",
];

pub(super) async fn sqlite(libra: &Path, dir: &Path, time: Duration, table: &mut Table) -> Outcome<()> {
    let service = Service::start(libra, dir, "")?;
    let (rate, answers) = load(service.address, time / 2).await?;
    let cpu = service.cpu_seconds()?;
    service.end()?;
    let path = dir.join("bare.db");
    drop(Db::open_sqlite(&path)?);
    let conn = Sqlite::open(&path)?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    let began = Instant::now();
    let mut stored = 0;
    while began.elapsed() < time / 2 {
        conn.execute_batch("BEGIN IMMEDIATE")?;
        for _ in 0..CONNECTIONS {
            let (id, number) =
                (JobId::new(crate::jobs::now(), rand::random()).to_string(), stored.to_string());
            for sql in BARE {
                let mut statement = conn.prepare_cached(sql)?;
                let wanted = statement.parameter_count();
                statement.execute(rusqlite::params_from_iter([&id, &number].into_iter().take(wanted)))?;
            }
            stored += 1;
        }
        conn.execute_batch("COMMIT")?;
    }
    let bare = f64::from(stored) / began.elapsed().as_secs_f64();
    line(table, "SQLite", (rate, bare, AIMS.0), (&answers, cpu));
    Ok(())
}

pub(super) async fn postgres(
    server: &Postgres,
    libra: &Path,
    dir: &Path,
    time: Duration,
    table: &mut Table,
) -> Outcome<()> {
    let url = server.create_database();
    let service = Service::start(libra, dir, &format!("libra.store.url: \"{url}\"\n"))?;
    let (rate, answers) = load(service.address, time / 2).await?;
    let cpu = service.cpu_seconds()?;
    service.end()?;
    let url = server.create_database();
    drop(postgres::open(&url).await?);
    let (client, driver) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await?;
    tokio::spawn(driver);
    let mut statements = Vec::new();
    for sql in BARE {
        statements.push(client.prepare(&sql.replace("?1", "$1").replace("?2", "$2")).await?);
    }
    let began = Instant::now();
    let mut stored = 0;
    while began.elapsed() < time / 2 {
        client.batch_execute("BEGIN").await?;
        let rows: Vec<(String, String)> = (0..CONNECTIONS)
            .map(|n| (JobId::new(crate::jobs::now(), rand::random()).to_string(), (stored + n).to_string()))
            .collect();
        // Sent one behind the other, without waiting for answers.
        let inserts = rows.iter().flat_map(|(id, number)| {
            let (client, statements) = (&client, &statements);
            statements.iter().map(move |statement| async move {
                let all: [&(dyn tokio_postgres::types::ToSql + Sync); 2] = [id, number];
                client.execute(statement, &all[..statement.params().len()]).await
            })
        });
        futures::future::try_join_all(inserts).await?;
        client.batch_execute("COMMIT").await?;
        stored += CONNECTIONS;
    }
    let bare = stored as f64 / began.elapsed().as_secs_f64();
    line(table, "PostgreSQL", (rate, bare, AIMS.1), (&answers, cpu));
    Ok(())
}

fn line(
    table: &mut Table,
    store: &str,
    (rate, bare, wanted): (f64, f64, f64),
    (answers, cpu): (&Samples, f64),
) {
    let ratio = rate / bare;
    table.add(
        &format!("{store}: events of hooks, {CONNECTIONS} connections"),
        &format!("{rate:.0} /s"),
        &format!("{bare:.0} /s"),
        &format!("{ratio:.2} of bare inserts"),
        &aim(&format!("≥ {wanted:.0} or 0.5"), rate >= wanted || ratio >= AIM),
    );
    table.add(
        "  answer, p99",
        &format!("{:.1} ms", answers.percentile(99)),
        "",
        &format!("{cpu:.1} s of processor"),
        "",
    );
}

/// Tells of one job after the other on all connections; answers the rate.
async fn load(address: SocketAddr, time: Duration) -> Outcome<(f64, Samples)> {
    let numbers = Arc::new(AtomicU64::new(1_000_000));
    let began = Instant::now();
    let mut clients = JoinSet::new();
    for _ in 0..CONNECTIONS {
        clients.spawn(client(address, began + time, Arc::clone(&numbers)));
    }
    let (mut told, mut answers) = (0_u64, Samples::default());
    while let Some(ended) = clients.join_next().await {
        let (count, samples) = ended??;
        told += count;
        answers.extend(samples);
    }
    Ok((told as f64 / began.elapsed().as_secs_f64(), answers))
}

async fn client(address: SocketAddr, until: Instant, numbers: Arc<AtomicU64>) -> Outcome<(u64, Samples)> {
    let mut connection = Connection::open(address).await?;
    let (mut told, mut answers) = (0, Samples::default());
    while Instant::now() < until {
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        let body = format!(
            "{{\"job_id\":\"{number}\",\"user\":\"alice\",\"account\":\"physics\",\"partition\":\"batch\",\"node_list\":[\"node-0001\"],\
             \"cpu_allocation\":16,\"cluster\":\"main\"}}"
        );
        let began = Instant::now();
        let (status, answer) = connection.call(&post("/v1/events/job-started", &body)).await?;
        if status != 200 {
            return Err(format!("{status}: {}", String::from_utf8_lossy(answer)).into());
        }
        answers.add(began.elapsed());
        told += 1;
    }
    Ok((told, answers))
}
