//! Leases, the epochs that fence off former holders, and the feed that only the leader numbers.

use libra_store::lane::{Fence, Outcome};
use libra_store::tables::{feed, leases, transitions};

use crate::given::{Store, admit, get, new_job};
use crate::on_every_store;

on_every_store!(
    a_lease_is_held_renewed_released_and_taken,
    an_expired_lease_is_fenced_off_once,
    an_old_epoch_is_fenced_off,
    the_feed_is_gapless_and_only_the_leader_numbers_it,
    the_clock_is_the_stores,
);

/// A minute, in microseconds.
const MINUTE: i64 = 60_000_000;

async fn a_lease_is_held_renewed_released_and_taken(s: Store) {
    let take = |holder: &'static str, micros, fresh| {
        s.db.write(move |tx| leases::take(tx, "l", holder, micros, fresh))
    };
    assert_eq!(take("a", MINUTE, true).await.unwrap(), Some(1));
    assert_eq!(take("a", MINUTE, false).await.unwrap(), Some(1), "renewed");
    assert_eq!(take("b", MINUTE, true).await.unwrap(), None, "held by another");
    assert!(s.db.write(|tx| leases::renew(tx, "l", 1, MINUTE)).await.unwrap());
    assert!(!s.db.write(|tx| leases::renew(tx, "l", 2, MINUTE)).await.unwrap(), "another epoch");
    s.db.write(|tx| leases::release(tx, "l", 1)).await.unwrap();
    assert_eq!(take("b", -1, true).await.unwrap(), Some(2));
    assert_eq!(take("a", MINUTE, true).await.unwrap(), Some(3), "expired");
    assert_eq!(take("a", MINUTE, true).await.unwrap(), Some(4), "the same holder in another life");
    s.db.write(|tx| leases::expire(tx, "l")).await.unwrap();
    assert_eq!(take("b", MINUTE, true).await.unwrap(), Some(5), "its holder is known to be gone");
    let all = s.db.read(leases::leases).await.unwrap();
    let lease = &all["l"];
    assert_eq!((lease.holder.as_str(), lease.epoch, lease.alive), ("b", 5, true));
}

async fn an_expired_lease_is_fenced_off_once(s: Store) {
    s.db.write(|tx| leases::take(tx, "l", "a", MINUTE, true)).await.unwrap();
    let fence_off = |epoch| s.db.write(move |tx| leases::fence_off(tx, "l", epoch));
    assert!(!fence_off(1).await.unwrap(), "it is alive");
    s.db.write(|tx| leases::expire(tx, "l")).await.unwrap();
    assert!(!fence_off(2).await.unwrap(), "another epoch");
    let (first, second) = tokio::join!(fence_off(1), fence_off(1));
    assert!(first.unwrap() ^ second.unwrap(), "one of them");
    assert!(!s.db.write(|tx| leases::renew(tx, "l", 1, MINUTE)).await.unwrap());
}

async fn an_old_epoch_is_fenced_off(s: Store) {
    let new = new_job(1);
    s.db.submit(new.clone()).await.unwrap();
    let take = || s.db.write(|tx| leases::take(tx, "leader", "a", MINUTE, true));
    let old = take().await.unwrap().unwrap();
    let present = take().await.unwrap().unwrap();
    assert!(present > old, "a process that starts again gets a new epoch");
    let fence = |epoch| Some(Fence { lease: "leader".into(), epoch });
    assert_eq!(s.db.apply(admit(&new.job, fence(old))).await.unwrap(), Outcome::Stale);
    let nobodys = Some(Fence { lease: "nobody's".into(), epoch: 1 });
    assert_eq!(s.db.apply(admit(&new.job, nobodys)).await.unwrap(), Outcome::Stale);
    let mut long = admit(&new.job, fence(old));
    long.log = vec![long.log[0].clone(); 4];
    assert_eq!(s.db.apply(long).await.unwrap(), Outcome::Stale);
    assert_eq!(get(&s.db, new.job.id).await, new.job);
    assert_eq!(s.db.apply(admit(&new.job, fence(present))).await.unwrap(), Outcome::Updated);
}

async fn the_feed_is_gapless_and_only_the_leader_numbers_it(s: Store) {
    // contract: A10
    for n in 1..=3 {
        s.db.submit(new_job(n)).await.unwrap();
    }
    let epoch = s.db.write(|tx| leases::take(tx, "leader", "a", MINUTE, true)).await.unwrap().unwrap();
    let fence = |epoch| Fence { lease: "leader".into(), epoch };
    assert_eq!(s.db.number_feed(fence(epoch + 1)).await.unwrap(), 0);
    assert_eq!(s.db.number_feed(fence(epoch)).await.unwrap(), 9);
    assert_eq!(s.db.number_feed(fence(epoch)).await.unwrap(), 0);
    s.db.apply(admit(&new_job(2).job, None)).await.unwrap();
    let inside = fence(epoch);
    assert_eq!(s.db.write(move |tx| feed::number(tx, &inside)).await.unwrap(), 1, "in a transaction as well");
    let mut seen = Vec::new();
    for n in 1..=3 {
        let id = new_job(n).job.id;
        seen.extend(
            s.db.read(move |tx| transitions::of_job(tx, id)).await.unwrap().into_iter().map(|r| r.feed_seq),
        );
    }
    let expected: Vec<_> = [1, 2, 3, 4, 5, 6, 10, 7, 8, 9].map(Some).to_vec();
    assert_eq!(seen, expected);
    assert_eq!(s.db.read(feed::newest).await.unwrap(), 10);
}

async fn the_clock_is_the_stores(s: Store) {
    let (first, second) = s.db.write(|tx| Ok((tx.now()?, tx.now()?))).await.unwrap();
    let here = std::time::UNIX_EPOCH.elapsed().unwrap().as_micros();
    let apart = i64::try_from(here).unwrap() - first.0;
    assert!(second >= first && apart.abs() < MINUTE, "{first:?} {second:?} {apart}");
}
