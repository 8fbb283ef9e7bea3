//! Numbers of rows whose ids were given in another order than they were committed in, which only PostgreSQL does; and
//! of rows that were numbered by an older Libra.

use libra_store::lane::Fence;
use libra_store::tables::{feed, leases, retention};
use libra_store::{Db, PoolSettings};
use libra_testkit::{Postgres, wait};

use crate::given::{new_job, open, url};

const LEASE: i64 = 1_000_000_000;

async fn leader(db: &Db) -> Fence {
    let epoch = db.write(|tx| leases::take(tx, "leader", "a", LEASE, false)).await.unwrap().unwrap();
    Fence { lease: "leader".into(), epoch }
}

/// The ids of the log in the order of their numbers, and the segments.
fn numbered(at: &str) -> (String, String) {
    let server = Postgres::shared();
    let rows = format!(
        "SELECT string_agg(t.id::text, ' ' ORDER BY {0}) FROM transitions t WHERE {0} IS NOT NULL",
        feed::NUMBER
    );
    let segments = "SELECT string_agg(first_seq || ':' || first_id || '+' || length, ' ' ORDER BY first_seq) FROM feed_segments";
    (server.query(at, &rows), server.query(at, segments))
}

/// A row as an older transaction would leave it: under an id that was given long ago.
fn appears(at: &str, id: i64, job: &str) {
    let moment = "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)";
    let sql = format!(
        "INSERT INTO transitions (id, job_id, revision, to_state, at, actor, reason, attempt, correlation_id) \
         OVERRIDING SYSTEM VALUE VALUES ({id}, '{job}', 1, 'QUEUED', {moment}, 'libra', 'late', 0, 'c')"
    );
    Postgres::shared().query(at, &sql);
}

fn skip_ids(at: &str, count: u32) {
    let sql = format!(
        "SELECT COUNT(nextval(pg_get_serial_sequence('transitions', 'id'))) FROM generate_series(1, {count})"
    );
    Postgres::shared().query(at, &sql);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_id_is_waited_for_passed_over_and_numbered_when_it_appears_after_all() {
    // contract: A10
    let at = Postgres::shared().create_database();
    let db = open(&at).await;
    let fence = leader(&db).await;
    db.submit(new_job(1)).await.unwrap();
    assert_eq!(db.number_feed(fence.clone()).await.unwrap(), 3);
    skip_ids(&at, 3);
    // 4, 5 and 6 are under way, as far as anybody can tell; 7 is there.
    let job = new_job(1).job.id.to_string();
    let append = |n: i64| appears(&at, n, &job);
    skip_ids(&at, 1);
    append(7);
    assert_eq!(db.number_feed(fence.clone()).await.unwrap(), 0, "a young gap");
    append(4);
    assert_eq!(db.number_feed(fence.clone()).await.unwrap(), 1, "up to the gap");
    wait::until_async("the gap is passed over", async || db.number_feed(fence.clone()).await.unwrap() == 1)
        .await;
    assert_eq!(numbered(&at), ("1 2 3 4 7".into(), "0:0+5 5:7+1".into()));
    // Together with one that is newer, the late one comes first.
    append(6);
    skip_ids(&at, 1);
    append(8);
    assert_eq!(db.number_feed(fence.clone()).await.unwrap(), 2);
    append(5);
    assert_eq!(db.number_feed(fence.clone()).await.unwrap(), 1);
    skip_ids(&at, 1);
    append(9);
    assert_eq!(db.number_feed(fence.clone()).await.unwrap(), 1);
    assert_eq!(numbered(&at), ("1 2 3 4 7 6 8 5 9".into(), "0:0+5 5:7+1 6:6+1 7:8+1 8:5+1 9:9+1".into()));
    // A reader gets them by their numbers, wherever it begins.
    for after in 0..9 {
        let page = db.read(move |tx| feed::page(tx, &feed::FeedFilter::default(), after, 4)).await.unwrap();
        let seqs: Vec<i64> = page.rows.iter().map(|r| r.seq).collect();
        assert_eq!(seqs, (after + 1..=9).take(4).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn segments_that_nobody_can_ask_for_are_removed() {
    // contract: Q3
    let at = Postgres::shared().create_database();
    let db = open(&at).await;
    let fence = leader(&db).await;
    // As after many statements that failed: long ago, each of 300 rows had a missing id before it.
    let sql = "INSERT INTO feed_segments (first_seq, first_id, length) SELECT n, 2 * n, 1 FROM generate_series(1, 300) n";
    Postgres::shared().query(&at, sql);
    skip_ids(&at, 600);
    let mut ended = new_job(1);
    ended.job.completed_at = Some(libra_core::time::Timestamp(1));
    ended.outbox.clear();
    db.submit(ended).await.unwrap();
    assert_eq!(db.number_feed(fence.clone()).await.unwrap(), 3);
    let everything = libra_core::time::Timestamp(i64::MAX);
    let forgotten = db.write(move |tx| retention::forget_ended(tx, &fence, everything)).await.unwrap();
    assert_eq!(forgotten, Some(1));
    let left = Postgres::shared().query(&at, "SELECT COUNT(*), MAX(first_seq) FROM feed_segments");
    assert_eq!(left, "200|300", "those that are watched stay");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_of_an_older_libra_stay_as_they_are() {
    let server = Postgres::shared();
    let at = server.create_database();
    let first = include_str!("../../migrations/postgres/0001_libra.sql");
    server.query(&at, &format!("CREATE TABLE libra_schema (version BIGINT NOT NULL PRIMARY KEY, at TIMESTAMPTZ NOT NULL); INSERT INTO libra_schema VALUES (1, now()); {first}"));
    // 5 was never committed, 2 came late, 3 was forgotten by retention, 9 waits for its number.
    let rows = "INSERT INTO transitions (id, feed_seq, job_id, revision, to_state, at, actor, reason, attempt, correlation_id) \
                OVERRIDING SYSTEM VALUE SELECT id, seq, 'job', 1, 'QUEUED', 1, 'libra', 'r', 0, 'c' \
                FROM (VALUES (1, 1), (2, 6), (4, 3), (6, 4), (7, 5), (8, 7), (9, NULL)) AS v(id, seq); \
                SELECT setval(pg_get_serial_sequence('transitions', 'id'), 9)";
    server.query(&at, rows);
    let db = Db::open(&url(&at), PoolSettings::default()).await.unwrap();
    assert_eq!(numbered(&at).0, "1 4 6 7 2 8");
    assert_eq!(db.read(feed::newest).await.unwrap(), 7);
    let fence = leader(&db).await;
    assert_eq!(db.number_feed(fence).await.unwrap(), 1);
    assert_eq!(numbered(&at).0, "1 4 6 7 2 8 9");

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("libra.db");
    let old = rusqlite::Connection::open(&path).unwrap();
    old.execute_batch(include_str!("../../migrations/sqlite/0001_jobs.sql")).unwrap();
    old.execute_batch(include_str!("../../migrations/sqlite/0002_replicas.sql")).unwrap();
    old.pragma_update(None, "user_version", 2).unwrap();
    old.execute_batch(
        "INSERT INTO transitions (id, feed_seq, job_id, revision, to_state, at, actor, reason, attempt, correlation_id) \
         SELECT column1, column2, 'job', 1, 'QUEUED', 1, 'libra', 'r', 0, 'c' \
         FROM (VALUES (1, 1), (2, 2), (3, 3), (7, 7), (8, NULL))",
    )
    .unwrap();
    drop(old);
    let db = Db::open_sqlite(&path).unwrap();
    assert_eq!(db.read(feed::newest).await.unwrap(), 7);
    let fence = leader(&db).await;
    assert_eq!(db.number_feed(fence).await.unwrap(), 1);
    assert_eq!(db.read(feed::newest).await.unwrap(), 8);
}
