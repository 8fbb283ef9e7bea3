//! Several replicas on one PostgreSQL.

use std::collections::BTreeSet;
use std::time::Duration;

use libra_core::job::State;
use libra_store::lane::{Fence, Outcome, Submission, Submitted};
use libra_store::tables::{feed, jobs, leases, transitions};
use libra_testkit::Postgres;
use tokio::task::JoinSet;

use crate::given::{admit, get, new_job, open};
use crate::writes::keyed;

/// A minute, in microseconds.
const MINUTE: i64 = 60_000_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_requests_with_the_same_key_is_stored() {
    // contract: A5
    let url = Postgres::shared().create_database();
    let (a, b) = (open(&url).await, open(&url).await);
    for n in 0..40 {
        let with_key = |one: u32| {
            let mut new = keyed(2 * n + one, "h");
            if let Some(kept) = &mut new.idempotency {
                kept.key = format!("k{n}");
            }
            new
        };
        let (first, second) = (with_key(0), with_key(1));
        let answers = [first.clone(), second.clone()].map(|new| new.idempotency.unwrap().response);
        let (x, y) = tokio::join!(a.submit(first), b.submit(second));
        match (x.unwrap(), y.unwrap()) {
            (Submitted::Stored, Submitted::Replayed { response, .. }) => assert_eq!(response, answers[0]),
            (Submitted::Replayed { response, .. }, Submitted::Stored) => assert_eq!(response, answers[1]),
            other => panic!("{other:?}"),
        }
    }
    let stored = a.read(|tx| jobs::count_in_state(tx, State::Queued, 1_000)).await.unwrap();
    assert_eq!(stored, 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_the_queue_is_exact() {
    // contract: R3
    let url = Postgres::shared().create_database();
    let replicas = [open(&url).await, open(&url).await, open(&url).await];
    let mut number = 0;
    let mut room = 0_usize;
    // Each round there is room for a few of fifty; in between some leave.
    for bound in [7_u64, 7, 20, 20, 31, 33] {
        let queued = replicas[0].read(|tx| jobs::in_states(tx, &[State::Queued])).await.unwrap();
        for job in queued.iter().take(5) {
            assert_eq!(replicas[1].apply(admit(job, None)).await.unwrap(), Outcome::Updated);
        }
        let before = queued.len().saturating_sub(5);
        let mut all = JoinSet::new();
        for n in 0..50_u32 {
            number += 1;
            let db = replicas[n as usize % 3].clone();
            let new = if n.is_multiple_of(4) { keyed(number, "h") } else { new_job(number) };
            let mut new = Submission { max_queued: bound, ..new };
            if let Some(kept) = &mut new.idempotency {
                kept.key = format!("k{number}");
            }
            all.spawn(async move { db.submit(new).await.unwrap() });
        }
        let outcomes = all.join_all().await;
        let stored = outcomes.iter().filter(|o| **o == Submitted::Stored).count();
        assert_eq!(before + stored, usize::try_from(bound).unwrap(), "{outcomes:?}");
        assert_eq!(outcomes.iter().filter(|o| **o == Submitted::QueueFull).count(), 50 - stored);
        room += stored;
    }
    assert!(room > 33);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_former_holder_takes_effect_after_a_takeover() {
    let url = Postgres::shared().create_database();
    let (former, next) = (open(&url).await, open(&url).await);
    let mut refused = 0;
    for round in 0..8_u32 {
        let epoch = former.write(|tx| leases::take(tx, "l", "a", MINUTE, true)).await.unwrap().unwrap();
        let ids: Vec<u32> = (1..=60).map(|n| round * 100 + n).collect();
        for n in &ids {
            former.submit(new_job(*n)).await.unwrap();
        }
        let mut writes = JoinSet::new();
        let (tell, taking) = tokio::sync::watch::channel(false);
        for n in ids.clone() {
            let (former, mut taking) = (former.clone(), taking.clone());
            writes.spawn(async move {
                // Most come while the lease is taken, some after.
                if n % 5 == 0 {
                    taking.wait_for(|taken| *taken).await.unwrap();
                }
                tokio::time::sleep(Duration::from_micros(u64::from(n % 60) * 200)).await;
                let fence = Fence { lease: "l".into(), epoch };
                (n, former.apply(admit(&new_job(n).job, Some(fence))).await.unwrap())
            });
        }
        tokio::time::sleep(Duration::from_millis(4)).await;
        next.write(|tx| leases::expire(tx, "l")).await.unwrap();
        let taken = next.write(|tx| leases::take(tx, "l", "b", MINUTE, true)).await.unwrap().unwrap();
        assert!(taken > epoch);
        tell.send(true).unwrap();
        let mut seen = BTreeSet::new();
        for n in &ids {
            if get(&next, new_job(*n).job.id).await.state == State::Scheduled {
                seen.insert(*n);
            }
        }
        while let Some(done) = writes.join_next().await {
            let (n, outcome) = done.unwrap();
            assert_eq!(outcome == Outcome::Updated, seen.contains(&n), "round {round}, job {n}: {outcome:?}");
            refused += u32::from(outcome == Outcome::Stale);
        }
        next.write(|tx| leases::expire(tx, "l")).await.unwrap();
    }
    assert!(refused >= 8 * 12, "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewals_do_not_wait_for_writes_under_the_lease() {
    let url = Postgres::shared().create_database();
    let db = open(&url).await;
    let epoch = db.write(|tx| leases::take(tx, "l", "a", MINUTE, true)).await.unwrap().unwrap();
    let fence = Fence { lease: "l".into(), epoch };
    let (held, wait) = std::sync::mpsc::channel::<()>();
    let writing = db.write(move |tx| {
        assert!(feed::holds(tx, &fence)?);
        // Until the renewals are through.
        Ok(wait.recv_timeout(Duration::from_secs(20)).is_ok())
    });
    let renewing = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(db.write(move |tx| leases::renew(tx, "l", epoch, MINUTE)).await.unwrap());
        let again = db.write(|tx| leases::take(tx, "l", "a", MINUTE, false)).await.unwrap();
        assert_eq!(again, Some(epoch));
        assert_eq!(db.write(|tx| leases::take(tx, "l", "b", MINUTE, true)).await.unwrap(), None);
        held.send(()).unwrap();
    };
    let (in_time, ()) = tokio::join!(writing, renewing);
    assert!(in_time.unwrap(), "a renewal waited");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_feed_has_no_gap_through_commits_and_changes_of_leader() {
    // contract: A10
    let url = Postgres::shared().create_database();
    let (a, b) = (open(&url).await, open(&url).await);
    let mut writers = JoinSet::new();
    for (replica, db) in [a.clone(), b.clone()].into_iter().enumerate() {
        let first = u32::try_from(replica).unwrap() * 1_000;
        for n in first + 1..=first + 300 {
            let db = db.clone();
            writers.spawn(async move {
                db.submit(new_job(n)).await.unwrap();
                db.apply(admit(&new_job(n).job, None)).await.unwrap();
            });
        }
    }
    // Two leaders in turns, and each former one tries once more.
    let mut former = Fence { lease: "leader".into(), epoch: 0 };
    let mut done = false;
    for turn in 0.. {
        let (db, holder) = if turn % 2 == 0 { (&a, "a") } else { (&b, "b") };
        db.write(|tx| leases::expire(tx, "leader")).await.unwrap();
        let epoch =
            db.write(move |tx| leases::take(tx, "leader", holder, MINUTE, true)).await.unwrap().unwrap();
        let fence = Fence { lease: "leader".into(), epoch };
        for _ in 0..3 {
            let (new, old) = tokio::join!(db.number_feed(fence.clone()), a.number_feed(former.clone()));
            assert_eq!(old.unwrap(), 0, "a former leader numbered");
            if new.unwrap() == 0 && done {
                break;
            }
        }
        former = fence;
        if done {
            break;
        }
        while writers.try_join_next().is_some() {}
        done = writers.is_empty();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let mut numbers = BTreeSet::new();
    for n in (1..=300).chain(1_001..=1_300) {
        let id = new_job(n).job.id;
        let log = a.read(move |tx| transitions::of_job(tx, id)).await.unwrap();
        let of_job: Vec<i64> = log.iter().filter_map(|row| row.feed_seq).collect();
        assert!(of_job.is_sorted() && of_job.len() == 4, "{of_job:?}");
        numbers.extend(of_job);
    }
    assert!(numbers.into_iter().eq(1..=2_400), "a gap");
}
