//! Figures, for people: `cargo test --release -p libra-store --test conformance -- --ignored --nocapture measure`.

use std::time::{Duration, Instant};

use libra_core::job::State;
use libra_core::lifecycle::{self, Event};
use libra_core::mode::Mode;
use libra_core::spec::Kind;
use libra_store::backend::Kind as Kind_;
use libra_store::lane::{AttemptWrite, Fence, Outcome, Submission, Submitted};
use libra_store::tables::jobs::{self, Filter, PageAt};
use libra_store::tables::leases;
use libra_store::tx::Arg;
use libra_store::{Db, PoolSettings};
use libra_testkit::postgres::Setup;
use tokio::task::JoinSet;

use crate::given::{Store, admit, change, new_job, open, url};

const CLIENTS: u32 = 128;
const EACH: u32 = 300;

async fn clients<F: Future<Output = ()> + Send + 'static>(f: impl Fn(u32) -> F) -> f64 {
    let began = Instant::now();
    let mut all = JoinSet::new();
    for client in 0..CLIENTS {
        all.spawn(f(client));
    }
    all.join_all().await;
    f64::from(CLIENTS * EACH) / began.elapsed().as_secs_f64()
}

async fn lanes(db: &Db) {
    let epoch = db.write(|tx| leases::take(tx, "leader", "a", 600_000_000, true)).await.unwrap().unwrap();
    let submitted = clients(|client| {
        let db = db.clone();
        async move {
            for n in 0..EACH {
                let mut new = Submission { max_queued: 10_000_000, ..new_job(client * EACH + n + 1) };
                new.outbox.clear();
                assert_eq!(db.submit(new).await.unwrap(), Submitted::Stored);
            }
        }
    });
    println!("submissions: {:.0}/s", submitted.await);
    let changed = clients(|client| {
        let db = db.clone();
        async move {
            for n in 0..EACH {
                let fence = Some(Fence { lease: "leader".into(), epoch });
                let admitted = admit(&new_job(client * EACH + n + 1).job, fence.clone());
                assert_eq!(db.apply(admitted.clone()).await.unwrap(), Outcome::Updated);
                let done = lifecycle::step(&admitted.job, Event::Succeeded, admitted.origin.at).unwrap();
                let close = AttemptWrite::Close { number: 1, at: admitted.origin.at, exit: None };
                let done = change(&admitted.job, done, vec![close], fence);
                assert_eq!(db.apply(done).await.unwrap(), Outcome::Updated);
            }
        }
    });
    println!("changes: {:.0}/s", 2.0 * changed.await);
    let (began, mut numbered) = (Instant::now(), 0);
    loop {
        match db.number_feed(Fence { lease: "leader".into(), epoch }).await.unwrap() {
            0 => break,
            some => numbered += some,
        }
    }
    println!(
        "numbered: {:.0}/s",
        f64::from(u32::try_from(numbered).unwrap()) / began.elapsed().as_secs_f64()
    );
}

/// Connections of the bare side, as many as a lane has.
const BARE_CONNECTIONS: u32 = 4;
/// Rows of its statements: as many as wait for a lane when all clients do.
const BARE_ROWS: u32 = CLIENTS / BARE_CONNECTIONS;
/// How long the bare side works.
const BARE_TIME: Duration = Duration::from_secs(4);

/// The rows of one submission many times over, with new ids; they are made by the server, so nothing is sent.
const BARE_SUBMISSIONS: &str = "WITH t AS (SELECT * FROM jobs WHERE id = $1), \
     n AS MATERIALIZED (SELECT 'job-' || gen_random_uuid()::text AS nid FROM generate_series(1, $2::bigint)), \
     a AS (INSERT INTO jobs SELECT n.nid, revision, 'QUEUED', user_id, tenant, name, kind, engine, mode, queue, cluster, \
       priority, requirement, attempt, retries, lost_launches, submitted_at, queued_at, scheduled_at, started_at, \
       completed_at, not_before, due_at, cancel_requested_at, stop, failure, correlation_id, host FROM n, t), \
     b AS (INSERT INTO job_specs SELECT n.nid, user_id, tenant, mode, kind, name, queue, cluster, limits, retry, spec, \
       source FROM n, job_specs WHERE job_id = $1), \
     c AS (INSERT INTO job_labels SELECT n.nid, key, value FROM n, job_labels WHERE job_id = $1) \
     INSERT INTO transitions (job_id, revision, from_state, to_state, at, actor, reason, attempt, correlation_id) \
     SELECT n.nid, revision, from_state, to_state, at, actor, reason, attempt, correlation_id \
     FROM n, (SELECT * FROM transitions WHERE job_id = $1 ORDER BY id LIMIT 3) l";

/// A conditional update and a log row for each of some jobs.
const BARE_CHANGES: &str = "WITH u AS (UPDATE jobs SET revision = jobs.revision + 1, \
       state = CASE state WHEN 'RUNNING' THEN 'SCHEDULED' ELSE 'RUNNING' END, started_at = 1, due_at = NULL \
       FROM unnest($1::text[]) AS c(id) WHERE jobs.id = c.id AND jobs.revision > 0 RETURNING jobs.id, jobs.revision) \
     INSERT INTO transitions (job_id, revision, from_state, to_state, at, actor, reason, attempt, correlation_id) \
     SELECT id, revision, 'QUEUED', 'RUNNING', 1, 'libra', 'there is room and it is its turn', 1, 'c-1' FROM u";

/// Runs `sql` on a few connections; says how many rows it wrote each second.
async fn bare(text: &str, sql: &'static str, ids: bool) -> f64 {
    let (began, mut all) = (Instant::now(), JoinSet::new());
    for connection in 0..BARE_CONNECTIONS {
        let (client, driver) = tokio_postgres::connect(text, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(driver);
        all.spawn(async move {
            client.batch_execute("SET jit = off; SET enable_seqscan = off").await.unwrap();
            let mine = "SELECT id FROM jobs ORDER BY id LIMIT 8192 OFFSET $1";
            let offset = i64::from(connection * 8192);
            let found = client.query(mine, &[&offset]).await.unwrap();
            let found: Vec<String> = found.iter().map(|row| row.get(0)).collect();
            let statement = client.prepare(sql).await.unwrap();
            let (mut rows, mut chunks) = (0.0, found.chunks(BARE_ROWS as usize).cycle());
            let until = Instant::now() + BARE_TIME;
            while Instant::now() < until {
                let chunk: Vec<&str> = chunks.next().unwrap().iter().map(String::as_str).collect();
                if ids {
                    client.execute(&statement, &[&chunk]).await.unwrap();
                } else {
                    client.execute(&statement, &[&found[0], &i64::from(BARE_ROWS)]).await.unwrap();
                }
                rows += f64::from(BARE_ROWS);
            }
            rows
        });
    }
    all.join_all().await.iter().sum::<f64>() / began.elapsed().as_secs_f64()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn measure_lanes() {
    let server = Setup::new().setting("shared_buffers", "256MB").setting("max_wal_size", "4GB").start();
    let at = server.create_database();
    println!("PostgreSQL");
    lanes(&open(&at).await).await;
    println!("bare submissions: {:.0}/s", bare(&at, BARE_SUBMISSIONS, false).await);
    println!("bare changes: {:.0}/s", bare(&at, BARE_CHANGES, true).await);
    println!("SQLite");
    lanes(&Store::sqlite().db).await;
}

/// Jobs in the lists.
const LISTED: u32 = 1_000_000;

/// Copies of job 1, made by the database itself: a hundred wait, one in a hundred was cancelled, the others ended well.
async fn fill(db: &Db) {
    const AT_ONCE: u32 = 20_000;
    let mut new = new_job(1);
    new.outbox.clear();
    db.submit(new.clone()).await.unwrap();
    let original = new.job.id.to_string();
    let (id, numbers) = match db.kind() {
        Kind_::Postgres => (
            "lpad(to_hex(1000000 + n), 12, '0')",
            "SELECT generate_series(CAST(?2 AS BIGINT), CAST(?3 AS BIGINT)) AS n",
        ),
        Kind_::Sqlite => (
            "printf('%012x', 1000000 + n)",
            "WITH RECURSIVE s(n) AS (SELECT ?2 UNION ALL SELECT n + 1 FROM s WHERE n < ?3) SELECT n FROM s",
        ),
    };
    let id = format!("'job-' || substr({id}, 1, 8) || '-' || substr({id}, 9, 4) || '-7000-8000-' || {id}");
    let (user, name) = ("'user ' || CAST(n % 50 AS TEXT)", "'name ' || CAST(n % 5000 AS TEXT)");
    let mode = "CASE WHEN n % 10 = 0 THEN 'spark-submit' ELSE 'in-cluster' END";
    let kind = "CASE WHEN n % 1000 = 0 THEN 'jar' ELSE 'sql' END";
    let state = "CASE WHEN n <= 100 THEN 'QUEUED' WHEN n % 100 = 0 THEN 'CANCELLED' ELSE 'SUCCEEDED' END";
    let rest = "queue, cluster, priority, requirement, attempt, retries, lost_launches";
    let statements = [
        format!(
            "INSERT INTO jobs (id, revision, state, user_id, tenant, name, kind, engine, mode, {rest}, submitted_at, \
             queued_at, completed_at, correlation_id) \
             SELECT {id}, 4, {state}, {user}, tenant, {name}, {kind}, engine, {mode}, {rest}, \
             (1000000 + n) * 1000, submitted_at, submitted_at, correlation_id FROM jobs, ({numbers}) s WHERE id = ?1"
        ),
        format!(
            "INSERT INTO job_specs (job_id, user_id, tenant, mode, kind, name, queue, cluster, limits, retry, spec, \
             source) SELECT {id}, {user}, tenant, {mode}, {kind}, {name}, queue, cluster, limits, retry, spec, source \
             FROM job_specs, ({numbers}) s WHERE job_id = ?1"
        ),
        format!(
            "INSERT INTO job_labels (job_id, key, value) \
             SELECT {id}, key, CASE WHEN n % 2 = 0 THEN 'even' ELSE 'odd' END \
             FROM job_labels, ({numbers}) s WHERE job_id = ?1"
        ),
    ];
    for from in (2..LISTED).step_by(AT_ONCE as usize) {
        let (statements, original) = (statements.clone(), original.clone());
        let range = [i64::from(from), i64::from(from + AT_ONCE - 1)];
        db.write(move |tx| {
            for sql in &statements {
                tx.execute(sql, &[Arg::from(&original), range[0].into(), range[1].into()])?;
            }
            Ok(())
        })
        .await
        .unwrap();
    }
}

async fn lists(db: &Db) {
    let began = Instant::now();
    fill(db).await;
    println!("{LISTED} jobs in {:.0} s", began.elapsed().as_secs_f64());
    let plain = Filter::default;
    let some = |text: &str| Some(text.to_owned());
    let filters = [
        ("all", plain()),
        ("succeeded", Filter { states: vec![State::Succeeded], ..plain() }),
        ("queued", Filter { states: vec![State::Queued], ..plain() }),
        ("cancelled, failed", Filter { states: vec![State::Cancelled, State::Failed], ..plain() }),
        ("user", Filter { user: some("user 7"), tenant: some("default"), ..plain() }),
        ("user, succeeded", Filter { user: some("user 7"), states: vec![State::Succeeded], ..plain() }),
        ("user, cancelled", Filter { user: some("user 0"), states: vec![State::Cancelled], ..plain() }),
        ("tenant", Filter { tenant: some("default"), ..plain() }),
        ("tenant, cancelled", Filter { tenant: some("default"), states: vec![State::Cancelled], ..plain() }),
        ("name", Filter { name: some("name 77"), ..plain() }),
        ("name, succeeded", Filter { name: some("name 77"), states: vec![State::Succeeded], ..plain() }),
        ("mode", Filter { mode: Some(Mode::SparkSubmit), ..plain() }),
        ("kind", Filter { kind: Some(Kind::Jar), ..plain() }),
        ("label", Filter { labels: vec![("team".into(), "odd".into())], ..plain() }),
        (
            "label, succeeded",
            Filter { labels: vec![("team".into(), "odd".into())], states: vec![State::Succeeded], ..plain() },
        ),
        (
            "a while",
            Filter {
                since: Some(new_job(400_000).job.submitted_at),
                until: Some(new_job(405_000).job.submitted_at),
                ..plain()
            },
        ),
    ];
    for (what, filter) in filters {
        let mut took = Vec::new();
        let mut from = None;
        for _ in 0..100 {
            let (filter, at) = (filter.clone(), PageAt { from, ..PageAt::first(50) });
            let began = Instant::now();
            let page = db.read(move |tx| jobs::list(tx, &filter, &at)).await.unwrap();
            took.push(began.elapsed());
            from = page.next;
        }
        took.sort();
        let at = |n: usize| took[n].as_secs_f64() * 1e3;
        println!("{what:20} p50 {:.1} ms, p99 {:.1} ms", at(50), at(98));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn measure_lists_on_postgres() {
    let server = Setup::new().setting("shared_buffers", "512MB").setting("max_wal_size", "4GB").start();
    let pool = PoolSettings { max_lifetime: Duration::from_mins(30), ..PoolSettings::default() };
    let db = Db::open(&url(&server.create_database()), pool).await.unwrap();
    lists(&db).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn measure_lists_on_sqlite() {
    let s = Store::sqlite();
    lists(&s.db).await;
}
