//! What the scheduler reads: everything once, and every change since.

use libra_core::id::JobId;
use libra_core::job::State;
use libra_core::time::Timestamp;
use libra_store::Db;
use libra_store::lane::Fence;
use libra_store::tables::turns::{Position, Submitter};
use libra_store::tables::{leases, turns};
use libra_testkit::Postgres;

use crate::given::{Store, admit, new_job, open};
use crate::on_every_store;

on_every_store!(
    who_waits_and_who_holds_is_told,
    a_follower_sees_every_change_once,
    a_follower_reads_many_changes_in_pieces,
    submissions_are_counted_by_whose_they_are,
);

fn id(n: u32) -> JobId {
    new_job(n).job.id
}

async fn who_waits_and_who_holds_is_told(s: Store) {
    for n in 1..=3 {
        s.db.submit(new_job(n)).await.unwrap();
    }
    s.db.apply(admit(&new_job(1).job, None)).await.unwrap();
    let (waiting, holding) = s.db.read(|tx| Ok((turns::waiting(tx)?, turns::holding(tx)?))).await.unwrap();
    let mut ids: Vec<JobId> = waiting.iter().map(|job| job.id).collect();
    ids.sort_unstable();
    assert_eq!(ids, [id(2), id(3)]);
    let [holds] = holding.as_slice() else { panic!("{holding:?}") };
    assert_eq!((holds.id, holds.state, holds.attempt), (id(1), State::Scheduled, 1));
    assert_eq!((holds.host.as_deref(), holds.name.as_deref()), (Some("m"), Some("job 1")));
    assert_eq!(holds.limits.queue_seconds, Some(1_800));
    let (count, held) = s.db.read(turns::tally).await.unwrap();
    assert_eq!((count, held.into_iter().collect::<Vec<_>>()), (2, vec![id(1)]));
    let found = s.db.read(|tx| turns::briefs(tx, &[id(3), id(9), id(1)])).await.unwrap();
    assert_eq!(found.len(), 2, "those that are there");
    let ended = |since| s.db.read(move |tx| turns::ended(tx, since, 10));
    assert!(ended(Timestamp(0)).await.unwrap().is_empty());
    for n in [4, 5] {
        let mut over = new_job(n);
        over.job.completed_at = Some(Timestamp(i64::from(n)));
        s.db.submit(over).await.unwrap();
    }
    let ids = |jobs: Vec<turns::Brief>| jobs.into_iter().map(|job| job.id).collect::<Vec<_>>();
    assert_eq!(ids(ended(Timestamp(0)).await.unwrap()), [id(5), id(4)], "the newest first");
    assert_eq!(ids(ended(Timestamp(5)).await.unwrap()), [id(5)]);
}

/// Everything since `at`, and the position behind it.
async fn changes(db: &Db, at: Position) -> (Vec<(JobId, i64)>, Position) {
    let mut all = Vec::new();
    let mut at = at;
    loop {
        let from = at.clone();
        let found = db.read(move |tx| from.changes(tx)).await.unwrap().unwrap();
        all.extend(found.jobs);
        at = found.next;
        if !found.more {
            return (all, at);
        }
    }
}

async fn a_follower_sees_every_change_once(s: Store) {
    s.db.submit(new_job(1)).await.unwrap();
    let at = s.db.read(Position::end).await.unwrap();
    assert_eq!(changes(&s.db, at.clone()).await.0, []);
    s.db.submit(new_job(2)).await.unwrap();
    s.db.apply(admit(&new_job(1).job, None)).await.unwrap();
    let (seen, at) = changes(&s.db, at).await;
    assert_eq!(seen, [(id(1), 2), (id(2), 1)]);
    // That rows get their numbers is no news.
    let epoch = s.db.write(|tx| leases::take(tx, "leader", "a", 1_000_000_000, false)).await.unwrap();
    let fence = Fence { lease: "leader".into(), epoch: epoch.unwrap() };
    while s.db.number_feed(fence.clone()).await.unwrap() > 0 {}
    let (seen, at) = changes(&s.db, at).await;
    assert!(seen.iter().all(|(job, _)| *job == id(1)), "at most what was there to begin with: {seen:?}");
    s.db.submit(new_job(3)).await.unwrap();
    while s.db.number_feed(fence.clone()).await.unwrap() > 0 {}
    let (seen, at) = changes(&s.db, at).await;
    assert_eq!(seen, [(id(3), 1)]);
    assert_eq!(changes(&s.db, at).await.0, []);
}

async fn a_follower_reads_many_changes_in_pieces(s: Store) {
    let at = s.db.read(Position::end).await.unwrap();
    for n in 1..=2_000 {
        s.db.submit(new_job(n)).await.unwrap();
    }
    let (mut seen, _) = changes(&s.db, at).await;
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 2_000, "6,000 rows");
}

async fn submissions_are_counted_by_whose_they_are(s: Store) {
    for n in 1..=4 {
        let mut new = new_job(n);
        new.job.spec.queue = (n == 4).then(|| "fast".to_owned());
        new.job.user = if n == 1 { "bob".to_owned() } else { new.job.user };
        s.db.submit(new).await.unwrap();
    }
    let who = |user: Option<&str>, queue: Option<&str>| Submitter {
        tenant: Some("default".to_owned()),
        user: user.map(str::to_owned),
        queue: queue.map(str::to_owned),
    };
    let since = new_job(3).job.submitted_at;
    for (who, queued, recent) in [
        (who(None, None), 4, 2),
        (who(Some("ada"), None), 3, 2),
        (who(Some("bob"), None), 1, 0),
        (who(None, Some("fast")), 1, 1),
        (who(None, Some("default")), 3, 1),
    ] {
        let asked = who.clone();
        let found = s.db.read(move |tx| Ok((asked.queued(tx, 100)?, asked.recent(tx, since, 100)?)));
        let (found, times) = found.await.unwrap();
        assert_eq!((found, times.len()), (queued, recent), "{who:?}");
        assert!(times.is_sorted());
        assert_eq!(s.db.read(move |tx| who.queued(tx, 1)).await.unwrap(), 1, "no further than asked");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_appears_behind_others_is_seen_when_it_has_its_number() {
    let at = Postgres::shared().create_database();
    let db = open(&at).await;
    let epoch = db.write(|tx| leases::take(tx, "leader", "a", 1_000_000_000, false)).await.unwrap();
    let fence = Fence { lease: "leader".into(), epoch: epoch.unwrap() };
    let began = db.read(Position::end).await.unwrap();
    db.submit(new_job(1)).await.unwrap();
    // An id is given, and its transaction takes its time: the next row is there before.
    let skip = "SELECT nextval(pg_get_serial_sequence('transitions', 'id'))";
    let late = Postgres::shared().query(&at, skip);
    db.submit(new_job(2)).await.unwrap();
    let (seen, at_end) = changes(&db, began).await;
    assert_eq!(seen, [(id(1), 1), (id(2), 1)]);
    let sql = format!(
        "INSERT INTO transitions (id, job_id, revision, to_state, at, actor, reason, attempt, correlation_id) \
         OVERRIDING SYSTEM VALUE VALUES ({late}, '{}', 7, 'QUEUED', 1, 'libra', 'late', 0, 'c')",
        id(1)
    );
    Postgres::shared().query(&at, &sql);
    while db.number_feed(fence.clone()).await.unwrap() > 0 {}
    let (seen, at_end) = changes(&db, at_end).await;
    assert_eq!(seen, [(id(1), 7)]);
    assert_eq!(changes(&db, at_end).await.0, []);
}
