//! Figures, for people: `cargo test --release -p libra-store --test conformance -- --ignored --nocapture measure`.

use std::time::{Duration, Instant};

use libra_core::id::JobId;
use libra_core::job::State;
use libra_core::lifecycle::{self, Event};
use libra_core::mode::Mode;
use libra_core::spec::Kind;
use libra_store::lane::{AttemptWrite, Fence, Outcome, Submission, Submitted};
use libra_store::tables::jobs::{self, Filter};
use libra_store::tables::leases;
use libra_store::{Db, PoolSettings};
use libra_testkit::postgres::Setup;
use tokio::task::JoinSet;

use crate::given::{Store, admit, change, new_job, open, submission, url};

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn measure_lanes() {
    let server = Setup::new().setting("shared_buffers", "256MB").setting("max_wal_size", "4GB").start();
    println!("PostgreSQL");
    lanes(&open(&server.create_database()).await).await;
    println!("SQLite");
    lanes(&Store::sqlite().db).await;
}

/// Jobs in the lists.
const LISTED: u32 = 1_000_000;

fn listed(n: u32) -> Submission {
    let mut job = new_job(n).job;
    job.revision = 0;
    job.state = State::Submitted;
    job.queued_at = None;
    job.user = format!("user {}", n % 50);
    job.spec.kind = if n.is_multiple_of(1_000) { Kind::Jar } else { Kind::Sql };
    job.spec.name = Some(format!("name {}", n % 5_000));
    job.mode = if n.is_multiple_of(10) { Mode::SparkSubmit } else { Mode::InCluster };
    let mut new = submission(job);
    new.outbox.clear();
    Submission { max_queued: 10_000_000, ..new }
}

async fn lists(db: &Db) {
    let began = Instant::now();
    let mut all = JoinSet::new();
    for client in 0..256 {
        let db = db.clone();
        all.spawn(async move {
            for n in (1..=LISTED).filter(|n| n % 256 == client) {
                let new = listed(n);
                db.submit(new.clone()).await.unwrap();
                // A hundred wait, one in a hundred failed, the others ended well.
                if n > 100 {
                    let admitted = admit(&new.job, None);
                    let event = if n.is_multiple_of(100) { Event::CancelRequested } else { Event::Succeeded };
                    let state = if n.is_multiple_of(100) { new.job.clone() } else { admitted.job.clone() };
                    if !n.is_multiple_of(100) {
                        db.apply(admitted).await.unwrap();
                    }
                    let done = lifecycle::step(&state, event, state.submitted_at).unwrap();
                    db.apply(change(&state, done, Vec::new(), None)).await.unwrap();
                }
            }
        });
    }
    all.join_all().await;
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
        ("user, cancelled", Filter { user: some("user 50"), states: vec![State::Cancelled], ..plain() }),
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
                since: Some(listed(400_000).job.submitted_at),
                until: Some(listed(405_000).job.submitted_at),
                ..plain()
            },
        ),
    ];
    for (what, filter) in filters {
        let mut took = Vec::new();
        let mut before: Option<JobId> = None;
        for _ in 0..100 {
            let (filter, from) = (filter.clone(), before);
            let began = Instant::now();
            let page = db.read(move |tx| jobs::list(tx, &filter, from, 50, 0)).await.unwrap();
            took.push(began.elapsed());
            before = page.jobs.last().map(|job| job.id).filter(|_| page.more);
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
