//! Opening a store, and saying why it can't be.

use std::time::Duration;

use libra_store::lane::{Outcome, Submitted};
use libra_store::tables::jobs::{self, Filter, PageAt, Total};
use libra_store::{Db, PoolSettings, StoreError};
use libra_testkit::Postgres;
use libra_testkit::postgres::Setup;

use crate::given::{Store, admit, get, new_job, open, url};

async fn refusal(text: &str) -> String {
    let e = Db::open(&url(text), PoolSettings::default()).await.err().unwrap();
    format!("{e}\nhint: {}", e.hint().unwrap_or("none"))
}

/// Without what differs from run to run.
fn steady(text: &str, port: u16) -> String {
    text.replace(&port.to_string(), "PORT")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_said_with_what_to_do_about_it() {
    let server = Setup::new().password("right").start();
    let port = server.port();
    let at = |user: &str, database: &str| format!("postgres://{user}@127.0.0.1:{port}/{database}");
    let said = [
        ("wrong password", refusal(&at("postgres:wrong", "postgres")).await),
        ("no password", refusal(&at("postgres", "postgres")).await),
        ("no such user", refusal(&at("nobody:x", "postgres")).await),
        ("no such database", refusal(&at("postgres:right", "nowhere")).await),
        ("no TLS", refusal(&format!("{}?sslmode=require", at("postgres:right", "postgres"))).await),
        (
            "no certificate",
            refusal(&format!("{}?sslrootcert=/nowhere.pem", at("postgres:right", "postgres"))).await,
        ),
    ];
    let said: Vec<String> = said.iter().map(|(what, text)| format!("{what}:\n{text}\n")).collect();
    insta::assert_snapshot!(steady(&said.join("\n"), port));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_not_there_is_waited_for_and_then_named() {
    let port = libra_testkit::ports::free();
    let began = std::time::Instant::now();
    let said = refusal(&format!("postgres://ada:s3cret@127.0.0.1:{port}/libra")).await;
    assert!(began.elapsed() > Duration::from_secs(5), "it may be starting");
    insta::assert_snapshot!(steady(&said, port), @r"
    the database can't be reached: postgres://ada@127.0.0.1:PORT/libra: error connecting to server: Connection refused (os error 111)
    hint: is the server running, and is libra.store.url right?
    ");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_connection_is_encrypted_and_the_server_is_who_it_says() {
    let server = Setup::new().password("right").tls().start();
    let other = Setup::new().tls().start();
    let base = server.url();
    let roots = |server: &Postgres| server.authority().display().to_string().replace('/', "%2F");
    for good in [
        base.clone(),
        format!("{base}?sslmode=prefer"),
        format!("{base}?sslmode=require"),
        format!("{base}?sslmode=verify-full&sslrootcert={}", roots(&server)),
        format!("{base}?sslrootcert={}", roots(&server)),
    ] {
        let db = open(&good).await;
        let encrypted = db.read(|tx| {
            let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
            libra_store::tx::first(tx, sql, &[], |row| row.int(0))
        });
        assert_eq!(encrypted.await.unwrap(), Some(1), "{good}");
    }
    let impostor = refusal(&format!("{base}?sslrootcert={}", roots(&other))).await;
    assert!(impostor.contains("no TLS connection") && impostor.contains("sslrootcert"), "{impostor}");
    let unknown = refusal(&format!("{base}?sslmode=verify-full")).await;
    assert!(unknown.contains("no TLS connection"), "{unknown}");
    let plain = refusal(&format!("{base}?sslmode=disable")).await;
    assert!(plain.contains("does not let us in"), "{plain}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_takes_no_writes_is_refused() {
    let server = Postgres::shared();
    let at = server.create_database();
    let name = at.rsplit('/').next().unwrap();
    server.query(&at, &format!("ALTER DATABASE {name} SET default_transaction_read_only = on"));
    let said = refusal(&at).await;
    assert!(said.starts_with("the database is read-only") && said.contains("primary"), "{said}");
    let report = Db::check(&url(&at)).await.unwrap();
    assert!(!report.writable && report.schema_found == 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_start_at_once_migrate_once() {
    let server = Postgres::shared();
    let at = server.create_database();
    let (a, b, c, d) = tokio::join!(open(&at), open(&at), open(&at), open(&at));
    for (n, db) in (1..).zip([a, b, c, d]) {
        assert_eq!(db.submit(new_job(n)).await.unwrap(), Submitted::Stored);
    }
    let report = Db::check(&url(&at)).await.unwrap();
    assert_eq!(report.schema_found, report.schema_known);
    let versions = server.query(&at, "SELECT count(*), max(version) FROM libra_schema");
    assert_eq!(versions, format!("{0}|{0}", report.schema_known));
    assert!(report.writable && report.clock_ahead_micros.abs() < 1_000_000, "{report:?}");
    let newest = report.schema_known;
    assert_eq!(Db::migrate(&url(&at)).await.unwrap(), (newest, newest), "nothing to do");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_of_a_newer_libra_is_left_alone() {
    let server = Postgres::shared();
    let at = server.create_database();
    let (before, known) = Db::migrate(&url(&at)).await.unwrap();
    assert_eq!(before, 0);
    server.query(&at, "INSERT INTO libra_schema (version, at) VALUES (99, now())");
    let e = Db::open(&url(&at), PoolSettings::default()).await.err().unwrap();
    assert_eq!(e, StoreError::TooNew { found: 99, known });
    assert!(e.hint().is_some());
    assert_eq!(Db::migrate(&url(&at)).await, Err(StoreError::TooNew { found: 99, known }));

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("libra.db");
    drop(Db::open_sqlite(&path).unwrap());
    let conn = rusqlite::Connection::open(&path).unwrap();
    conn.pragma_update(None, "user_version", 99).unwrap();
    assert!(matches!(Db::open_sqlite(&path), Err(StoreError::TooNew { found: 99, .. })));
    let at = url(&format!("sqlite://{}", path.display()));
    assert_eq!(Db::check(&at).await.unwrap().schema_found, 99);
}

#[tokio::test]
async fn a_database_of_the_first_version_is_brought_up_to_date() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("libra.db");
    let first = rusqlite::Connection::open(&path).unwrap();
    first.execute_batch(include_str!("../../migrations/sqlite/0001_jobs.sql")).unwrap();
    first.pragma_update(None, "user_version", 1).unwrap();
    first
        .execute_batch(
            r#"INSERT INTO jobs (id, revision, state, user_id, tenant, name, kind, engine, mode, priority, requirement,
                 limits, retry, attempt, retries, lost_launches, submitted_at, correlation_id)
               VALUES ('job-00000000-03e9-7100-8101-010101010101', 2, 'RUNNING', 'ada', 'default', 'old', 'sql', 'spark',
                 'in-cluster', 5,
                 '{"driverCores":0,"driverMemory":0,"executors":0,"executorCores":0,"executorHeap":0,"executorMemory":0,"executorsHere":false,"sharedServer":true}',
                 '{"queueSeconds":1,"runSeconds":null,"launchSeconds":null}',
                 '{"maxRetries":3,"backoffMultiplierMilli":2000,"initialDelayMs":1000,"maxDelayMs":60000,"retryOn":[]}',
                 1, 0, 0, 1, 'c');
               INSERT INTO job_specs VALUES ('job-00000000-03e9-7100-8101-010101010101',
                 '{"name":"old","kind":"sql","source":{"code":"SELECT ''old''"},"priority":5}');
               INSERT INTO attempts (job_id, number, token, mode, host, epoch, created_at, links)
               VALUES ('job-00000000-03e9-7100-8101-010101010101', 1, '00000000-03e9-7100-8101-010101010101',
                 'in-cluster', 'machine/boot', 3, 1, '{}')"#,
        )
        .unwrap();
    drop(first);
    let db = Db::open_sqlite(&path).unwrap();
    let id = "job-00000000-03e9-7100-8101-010101010101".parse().unwrap();
    let job = get(&db, id).await;
    assert_eq!(job.spec.source, libra_core::spec::Source::Code("SELECT 'old'".into()));
    assert_eq!((job.host.as_deref(), job.limits.queue_seconds), (Some("machine"), Some(1)));
    let named = Filter { name: Some("old".into()), ..Filter::default() };
    let page = db.read(move |tx| jobs::list(tx, &named, &PageAt::first(10))).await.unwrap();
    assert_eq!(page.total, Total::Exactly(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_is_refused_leaves_nothing() {
    let s = Store::sqlite();
    s.db.submit(new_job(1)).await.unwrap();
    // Another process holds the write lock for longer than a connection waits.
    let other = rusqlite::Connection::open(s.dir.as_ref().unwrap().path().join("libra.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (change, submission) =
        tokio::join!(s.db.apply(admit(&new_job(1).job, None)), s.db.submit(new_job(2)));
    assert!(change.is_err() && submission.is_err());
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(get(&s.db, new_job(1).job.id).await, new_job(1).job, "answered with an error, so not stored");
    let page = s.db.read(|tx| jobs::list(tx, &Filter::default(), &PageAt::first(10))).await.unwrap();
    assert_eq!(page.total, Total::Exactly(1));
    assert_eq!(s.db.submit(new_job(2)).await.unwrap(), Submitted::Stored, "and afterwards all is well");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_failed_undoes_the_whole_transaction() {
    let db = open(&Postgres::shared().create_database()).await;
    let swallowed = db
        .write(|tx| {
            tx.execute("INSERT INTO facts (name, value) VALUES ('a', 'b')", &[])?;
            let failed = tx.execute("INSERT INTO facts (name, value) VALUES ('a', 'b')", &[]);
            assert!(matches!(failed, Err(StoreError::Constraint(_))), "{failed:?}");
            Ok(())
        })
        .await;
    assert!(swallowed.is_err(), "it is not answered as done");
    let kept = db.read(|tx| libra_store::tables::facts::get(tx, "a")).await.unwrap();
    assert_eq!(kept, None);
    assert_eq!(db.apply(admit(&new_job(1).job, None)).await.unwrap(), Outcome::Absent);
}
