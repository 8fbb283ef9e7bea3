//! What every store must do. Run on each database behind `Db`.
#![allow(missing_docs, clippy::unwrap_used, clippy::similar_names)]

use libra_core::attempt::{Attempt, Exit, Links, Outcome as Ended};
use libra_core::id::{JobId, Token};
use libra_core::job::{Job, State, TimeLimits};
use libra_core::lifecycle::{self, Event, Step};
use libra_core::mode::Mode;
use libra_core::requirement::Requirement;
use libra_core::retry;
use libra_core::spec::{JobSpec, Kind, Source};
use libra_core::time::Timestamp;
use libra_store::lane::{
    AttemptNote, AttemptWrite, Change, Fence, Idempotency, Note, Origin, OutboxRow, Outcome, Submission,
    Submitted,
};
use libra_store::tables::jobs::Filter;
use libra_store::tables::{attempts, feed, jobs, leases, outbox, transitions};
use libra_store::{Db, StoreError};

struct Store {
    db: Db,
    dir: tempfile::TempDir,
}

fn store() -> Store {
    let dir = tempfile::tempdir().unwrap();
    Store { db: Db::open_sqlite(&dir.path().join("libra.db")).unwrap(), dir }
}

fn origin(at: Timestamp) -> Origin {
    Origin { at, actor: "ada".into(), metadata: None }
}

fn new_job(n: u8) -> Submission {
    let now = Timestamp(1_000_000_000 + i64::from(n) * 1_000);
    let mut spec = JobSpec::new(Kind::Sql, Source::Code("SELECT 1".into()));
    spec.labels.insert("team".into(), if n.is_multiple_of(2) { "even" } else { "odd" }.into());
    spec.name = Some(format!("job {n}"));
    let job = Job {
        id: JobId::new(now, [n; 10]),
        revision: 0,
        state: State::Submitted,
        user: "ada".into(),
        tenant: "default".into(),
        spec,
        mode: Mode::InCluster,
        requirement: Requirement::default(),
        limits: TimeLimits { queue_seconds: Some(1_800), run_seconds: None, launch_seconds: Some(600) },
        retry: retry::default_policy(),
        attempt: 0,
        retries: 0,
        lost_launches: 0,
        submitted_at: now,
        queued_at: None,
        scheduled_at: None,
        started_at: None,
        completed_at: None,
        not_before: None,
        cancel_requested_at: None,
        stop: None,
        failure: None,
        correlation_id: format!("c-{n}"),
    };
    let step = lifecycle::submit(job, now);
    let outbox = vec![OutboxRow {
        topic: "QUEUED".into(),
        target: "https://example.org".into(),
        payload: "{}".into(),
    }];
    Submission {
        job: step.job,
        log: step.log,
        origin: origin(now),
        outbox,
        idempotency: None,
        max_queued: 100,
    }
}

fn change(before: &Job, step: Step, attempts: Vec<AttemptWrite>, fence: Option<Fence>) -> Change {
    Change {
        expected_revision: before.revision,
        origin: origin(before.submitted_at.plus_seconds(1)),
        job: step.job,
        log: step.log,
        attempts,
        outbox: Vec::new(),
        fence,
    }
}

fn admit(job: &Job, fence: Option<Fence>) -> Change {
    let now = job.submitted_at.plus_seconds(1);
    let step = lifecycle::step(job, Event::Admitted, now).unwrap();
    let attempt = Attempt {
        job_id: job.id,
        number: step.job.attempt,
        token: Token::new(now, [u8::try_from(step.job.attempt).unwrap(); 10]),
        mode: job.mode,
        host: "m/b".into(),
        epoch: 1,
        created_at: now,
        launched_at: Some(Timestamp(3)),
        started_at: None,
        ended_at: None,
        handle: None,
        exit: None,
        progress: None,
        application_id: None,
        links: Links::default(),
    };
    change(job, step, vec![AttemptWrite::Open(Box::new(attempt))], fence)
}

async fn get(db: &Db, id: JobId) -> Job {
    db.read(move |tx| jobs::get(tx, id)).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_job_reads_back_as_it_was_written() {
    let s = store();
    let new = new_job(1);
    assert_eq!(s.db.submit(new.clone()).await.unwrap(), Submitted::Stored);
    assert_eq!(get(&s.db, new.job.id).await, new.job);
    let id = new.job.id;
    let log = s.db.read(move |tx| transitions::of_job(tx, id)).await.unwrap();
    assert_eq!(log.iter().map(|r| r.transition.clone()).collect::<Vec<_>>(), new.log);
    assert_eq!(s.db.read(move |tx| outbox::of_job(tx, id)).await.unwrap(), new.outbox);
}

#[tokio::test]
async fn a_stale_write_changes_nothing() {
    // contract: L2
    let s = store();
    let new = new_job(1);
    s.db.submit(new.clone()).await.unwrap();
    let first = admit(&new.job, None);
    assert_eq!(s.db.apply(first.clone()).await.unwrap(), Outcome::Updated);
    assert_eq!(s.db.apply(first.clone()).await.unwrap(), Outcome::Stale, "the same write again");
    assert_eq!(s.db.apply(admit(&new_job(9).job, None)).await.unwrap(), Outcome::Absent);
    let id = new.job.id;
    let log = s.db.read(move |tx| transitions::of_job(tx, id)).await.unwrap();
    assert_eq!(log.len(), 4, "no row of the refused write");
    assert_eq!(s.db.read(move |tx| attempts::of_job(tx, id)).await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_old_epoch_is_fenced_off() {
    let s = store();
    let new = new_job(1);
    s.db.submit(new.clone()).await.unwrap();
    let old = s.db.write(|tx| leases::take(tx, "leader", "a", 60, true)).await.unwrap().unwrap();
    let present = s.db.write(|tx| leases::take(tx, "leader", "a", 60, true)).await.unwrap().unwrap();
    assert!(present > old, "a process that starts again gets a new epoch");
    let fence = |epoch| Some(Fence { lease: "leader".into(), epoch });
    assert_eq!(s.db.apply(admit(&new.job, fence(old))).await.unwrap(), Outcome::Stale);
    assert_eq!(get(&s.db, new.job.id).await, new.job);
    assert_eq!(s.db.apply(admit(&new.job, fence(present))).await.unwrap(), Outcome::Updated);
}

#[tokio::test]
async fn a_lease_is_held_renewed_released_and_taken() {
    let s = store();
    let take = |holder: &'static str, seconds, fresh| {
        s.db.write(move |tx| leases::take(tx, "l", holder, seconds, fresh))
    };
    assert_eq!(take("a", 60, true).await.unwrap(), Some(1));
    assert_eq!(take("a", 60, false).await.unwrap(), Some(1), "renewed");
    assert_eq!(take("b", 60, true).await.unwrap(), None, "held by another");
    s.db.write(|tx| leases::release(tx, "l", 1)).await.unwrap();
    assert_eq!(take("b", -1, true).await.unwrap(), Some(2));
    assert_eq!(take("a", 60, true).await.unwrap(), Some(3), "expired");
}

#[tokio::test]
async fn attempts_remember_what_is_noted_and_only_while_open() {
    let s = store();
    let new = new_job(1);
    s.db.submit(new.clone()).await.unwrap();
    let admitted = admit(&new.job, None);
    s.db.apply(admitted.clone()).await.unwrap();
    let id = new.job.id;
    let opened = s.db.read(move |tx| attempts::get(tx, id, 1)).await.unwrap().unwrap();
    assert_eq!(opened.launched_at, Some(Timestamp(3)), "the intent comes with the row");
    let note = |epoch, what| AttemptNote { job_id: id, number: 1, epoch, what };
    let intent = Note::Intent { at: Timestamp(5), host: "m/b2".into() };
    assert_eq!(s.db.note(note(2, intent.clone())).await.unwrap(), Outcome::Stale, "another epoch");
    assert_eq!(s.db.note(note(1, intent)).await.unwrap(), Outcome::Updated);
    assert_eq!(s.db.note(note(1, Note::TakeOver { epoch: 7 })).await.unwrap(), Outcome::Updated);
    let seen = s.db.read(move |tx| attempts::get(tx, id, 1)).await.unwrap().unwrap();
    assert_eq!((seen.launched_at, seen.host.as_str(), seen.epoch), (Some(Timestamp(5)), "m/b2", 7));

    let job = get(&s.db, id).await;
    let done = lifecycle::step(&job, Event::Succeeded, Timestamp(9)).unwrap();
    let exit = Exit { outcome: Ended::Succeeded, exit_code: Some(0), signal: None, at: Timestamp(9) };
    let close = AttemptWrite::Close { number: 1, at: Timestamp(9), exit: Some(exit.clone()) };
    s.db.apply(change(&job, done, vec![close], None)).await.unwrap();
    assert_eq!(
        s.db.note(note(7, Note::TakeOver { epoch: 8 })).await.unwrap(),
        Outcome::Stale,
        "it is closed"
    );
    assert_eq!(s.db.read(move |tx| attempts::get(tx, id, 1)).await.unwrap().unwrap().exit, Some(exit));
}

#[tokio::test]
async fn the_same_key_gives_the_first_answer_and_another_body_is_refused() {
    // contract: A5
    let s = store();
    let keyed = |n, hash: &str| Submission {
        idempotency: Some(Idempotency {
            scope: "ada POST /jobs".into(),
            key: "k".into(),
            body_hash: hash.into(),
            status: 202,
            response: format!("{{\"n\":{n}}}"),
        }),
        ..new_job(n)
    };
    assert_eq!(s.db.submit(keyed(1, "h")).await.unwrap(), Submitted::Stored);
    let replay = Submitted::Replayed { status: 202, response: "{\"n\":1}".into() };
    assert_eq!(s.db.submit(keyed(2, "h")).await.unwrap(), replay);
    assert_eq!(s.db.submit(keyed(3, "other")).await.unwrap(), Submitted::KeyReused);
    let page = s.db.read(|tx| jobs::list(tx, &Filter::default(), None, 10, 0)).await.unwrap();
    assert_eq!(page.total, Some(1), "nothing else was stored");
}

#[tokio::test]
async fn the_queue_has_an_end() {
    // contract: R3
    let s = store();
    let bounded = |n| Submission { max_queued: 2, ..new_job(n) };
    let all = (1..=5).map(|n| s.db.submit(bounded(n)));
    let outcomes: Vec<_> = futures_join(all).await;
    assert_eq!(outcomes.iter().filter(|o| **o == Submitted::Stored).count(), 2);
    assert_eq!(outcomes.iter().filter(|o| **o == Submitted::QueueFull).count(), 3);
}

async fn futures_join<F: Future<Output = Result<Submitted, StoreError>>>(
    all: impl Iterator<Item = F>,
) -> Vec<Submitted> {
    let mut outcomes = Vec::new();
    for one in all {
        outcomes.push(one.await.unwrap());
    }
    outcomes
}

#[tokio::test]
async fn one_failed_submission_does_not_take_its_neighbours_along() {
    let s = store();
    s.db.submit(new_job(1)).await.unwrap();
    let (a, b, c) = tokio::join!(s.db.submit(new_job(2)), s.db.submit(new_job(1)), s.db.submit(new_job(3)));
    assert_eq!(a.unwrap(), Submitted::Stored);
    assert!(b.is_err(), "the same id twice");
    assert_eq!(c.unwrap(), Submitted::Stored);
}

#[tokio::test]
async fn a_failing_closure_leaves_nothing() {
    let s = store();
    let failed: Result<(), StoreError> =
        s.db.write(|tx| {
            leases::take(tx, "l", "a", 60, true)?;
            Err(StoreError::Closed)
        })
        .await;
    assert!(failed.is_err());
    assert_eq!(s.db.write(|tx| leases::take(tx, "l", "b", 60, true)).await.unwrap(), Some(1));
}

#[tokio::test]
async fn the_feed_is_gapless_and_only_the_leader_numbers_it() {
    let s = store();
    for n in 1..=3 {
        s.db.submit(new_job(n)).await.unwrap();
    }
    let epoch = s.db.write(|tx| leases::take(tx, "leader", "a", 60, true)).await.unwrap().unwrap();
    let fence = move |epoch| Fence { lease: "leader".into(), epoch };
    assert_eq!(s.db.write(move |tx| feed::number(tx, &fence(epoch + 1))).await.unwrap(), 0);
    assert_eq!(s.db.write(move |tx| feed::number(tx, &fence(epoch))).await.unwrap(), 9);
    assert_eq!(s.db.write(move |tx| feed::number(tx, &fence(epoch))).await.unwrap(), 0);
    let mut seen = Vec::new();
    for n in 1..=3 {
        let id = new_job(n).job.id;
        seen.extend(
            s.db.read(move |tx| transitions::of_job(tx, id)).await.unwrap().into_iter().map(|r| r.feed_seq),
        );
    }
    assert_eq!(seen, (1..=9).map(Some).collect::<Vec<_>>());
}

#[tokio::test]
async fn lists_are_filtered_and_paged_newest_first() {
    // contract: A3
    let s = store();
    for n in 1..=5 {
        s.db.submit(new_job(n)).await.unwrap();
    }
    let list = |filter: Filter, before, limit, offset| {
        s.db.read(move |tx| jobs::list(tx, &filter, before, limit, offset))
    };
    let names = |page: &jobs::Page| page.jobs.iter().filter_map(|j| j.spec.name.clone()).collect::<Vec<_>>();

    let first = list(Filter::default(), None, 2, 0).await.unwrap();
    assert_eq!(
        (names(&first), first.total, first.more),
        (vec!["job 5".into(), "job 4".into()], Some(5), true)
    );
    let last = list(Filter::default(), Some(new_job(2).job.id), 2, 0).await.unwrap();
    assert_eq!((names(&last), last.more), (vec!["job 1".to_owned()], false));
    assert_eq!(names(&list(Filter::default(), None, 2, 3).await.unwrap()), ["job 2", "job 1"]);

    let even = Filter { labels: vec![("team".into(), "even".into())], ..Filter::default() };
    assert_eq!(names(&list(even, None, 10, 0).await.unwrap()), ["job 4", "job 2"]);
    let none = Filter { states: vec![State::Running, State::Failed], ..Filter::default() };
    assert_eq!(list(none, None, 10, 0).await.unwrap().total, Some(0));
    let several = Filter {
        states: vec![State::Queued],
        user: Some("ada".into()),
        kind: Some(Kind::Sql),
        mode: Some(Mode::InCluster),
        since: Some(new_job(2).job.submitted_at),
        until: Some(new_job(4).job.submitted_at),
        ..Filter::default()
    };
    assert_eq!(names(&list(several, None, 10, 0).await.unwrap()), ["job 3", "job 2"]);
}

#[tokio::test]
async fn turns_and_deadlines_are_found() {
    let s = store();
    for n in 1..=3 {
        let mut new = new_job(n);
        new.job.spec.priority = if n == 2 { 9 } else { 5 };
        s.db.submit(new).await.unwrap();
    }
    let turns = s.db.read(|tx| jobs::waiting(tx, Mode::InCluster, 10)).await.unwrap();
    let id = |n| new_job(n).job.id;
    assert_eq!(turns.iter().map(|w| w.id).collect::<Vec<_>>(), [id(2), id(1), id(3)]);
    assert!(s.db.read(|tx| jobs::waiting(tx, Mode::SparkSubmit, 10)).await.unwrap().is_empty());

    let due = new_job(1).job.submitted_at.plus_seconds(1_800);
    assert_eq!(s.db.read(jobs::next_due).await.unwrap(), Some(due));
    assert_eq!(s.db.read(move |tx| jobs::due(tx, due, 10)).await.unwrap(), [id(1)]);
    s.db.apply(admit(&new_job(1).job, None)).await.unwrap();
    assert_eq!(s.db.read(move |tx| jobs::due(tx, due, 10)).await.unwrap(), []);
    let holding = s.db.read(jobs::holding).await.unwrap();
    assert_eq!(holding.iter().map(|h| h.0).collect::<Vec<_>>(), [id(1)]);
}

#[tokio::test]
async fn hot_queries_use_an_index() {
    let s = store();
    for sql in [
        "SELECT 1 FROM jobs WHERE state = 'QUEUED' LIMIT 1000",
        "SELECT * FROM jobs j JOIN job_specs s ON s.job_id = j.id WHERE j.state = 'QUEUED' ORDER BY j.id",
        "SELECT * FROM jobs j JOIN job_specs s ON s.job_id = j.id WHERE j.id = 'x'",
        "SELECT * FROM jobs j JOIN job_specs s ON s.job_id = j.id WHERE j.user_id = 'x' AND j.id < 'y' ORDER BY j.id DESC LIMIT 51",
        "SELECT id FROM jobs WHERE state = 'QUEUED' AND mode = 'x' ORDER BY priority DESC, queued_at, id LIMIT 64",
        "SELECT id, mode FROM jobs WHERE state IN ('SCHEDULED', 'RUNNING')",
        "SELECT id FROM jobs WHERE due_at <= 5 ORDER BY due_at, id LIMIT 256",
        "SELECT MIN(due_at) FROM jobs WHERE due_at IS NOT NULL",
        "SELECT * FROM attempts WHERE job_id = 'x' AND number = 1",
        "SELECT * FROM transitions WHERE job_id = 'x' ORDER BY id",
        "SELECT id FROM transitions WHERE feed_seq IS NULL ORDER BY id LIMIT 2000",
        "SELECT MAX(feed_seq) FROM transitions WHERE feed_seq IS NOT NULL",
        "SELECT * FROM idempotency WHERE scope = 'x' AND key = 'y'",
        "SELECT * FROM outbox WHERE done_at IS NULL AND next_at <= 1 ORDER BY next_at, id LIMIT 100",
    ] {
        let plan =
            s.db.read(move |tx| {
                libra_store::tx::all(tx, &format!("EXPLAIN QUERY PLAN {sql}"), &[], |row| row.text(3))
            })
            .await
            .unwrap();
        for step in &plan {
            let scans = step.starts_with("SCAN") && !step.contains("USING");
            assert!(!scans && !step.contains("TEMP B-TREE"), "{sql}\n{plan:#?}");
        }
    }
}

#[tokio::test]
async fn a_write_that_is_refused_leaves_nothing() {
    let s = store();
    s.db.submit(new_job(1)).await.unwrap();
    // Another process holds the write lock for longer than a connection waits.
    let other = rusqlite::Connection::open(s.dir.path().join("libra.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (change, submission) =
        tokio::join!(s.db.apply(admit(&new_job(1).job, None)), s.db.submit(new_job(2)));
    assert!(change.is_err() && submission.is_err());
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(get(&s.db, new_job(1).job.id).await, new_job(1).job, "answered with an error, so not stored");
    let page = s.db.read(|tx| jobs::list(tx, &Filter::default(), None, 10, 0)).await.unwrap();
    assert_eq!(page.total, Some(1));
    assert_eq!(s.db.submit(new_job(2)).await.unwrap(), Submitted::Stored, "and afterwards all is well");
}

#[tokio::test]
async fn a_database_of_a_newer_libra_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("libra.db");
    drop(Db::open_sqlite(&path).unwrap());
    let conn = rusqlite::Connection::open(&path).unwrap();
    conn.pragma_update(None, "user_version", 99).unwrap();
    assert!(matches!(Db::open_sqlite(&path), Err(StoreError::TooNew { found: 99, .. })));
}
