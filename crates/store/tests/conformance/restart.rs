//! A PostgreSQL that dies in the middle.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use libra_core::job::State;
use libra_store::lane::{Outcome, Submission, Submitted};
use libra_store::tables::jobs;
use libra_store::{Db, StoreError};
use libra_testkit::Postgres;
use tokio::task::JoinSet;

use crate::given::{admit, get, new_job, open};
use crate::writes::keyed;

/// Clients that submit one job after the other.
const CLIENTS: u32 = 24;
/// Jobs of each.
const JOBS: u32 = 120;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_is_there_after_the_server_was_killed_and_nothing_is_there_twice() {
    let mut server = Postgres::start();
    let url = server.create_database();
    let db = open(&url).await;
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        clients.spawn(submit_all(db.clone(), client));
    }
    let mut longest = Duration::ZERO;
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(150)).await;
        let began = Instant::now();
        server = tokio::task::spawn_blocking(move || {
            server.restart();
            server
        })
        .await
        .unwrap();
        longest = longest.max(began.elapsed());
    }
    let answers: BTreeMap<u32, Result<Submitted, StoreError>> =
        clients.join_all().await.into_iter().flatten().collect();
    assert_eq!(answers.len(), (CLIENTS * JOBS) as usize);
    let mut stored = 0;
    for (n, answer) in &answers {
        let id = new_job(*n).job.id;
        let there = db.read(move |tx| jobs::get(tx, id)).await.unwrap().is_some();
        match answer {
            Ok(Submitted::Stored) => assert!(there, "{n} was stored and is not there"),
            Ok(other) => panic!("{n}: {other:?}"),
            // Not known: it may be there.
            Err(StoreError::Interrupted(_)) => {}
            Err(e) => assert!(!there, "{n} was refused and is there: {e}"),
        }
        stored += usize::from(there);
    }
    let queued = db.read(|tx| jobs::count_in_state(tx, State::Queued, 1_000_000)).await.unwrap();
    assert_eq!(usize::try_from(queued).unwrap(), stored);
    let failed: Vec<_> = answers.iter().filter_map(|(n, a)| Some((n, a.as_ref().err()?))).collect();
    // A restart is usually shorter than the wait for a connection.
    assert!(failed.is_empty() || longest > Duration::from_secs(4), "{longest:?}: {failed:?}");
}

async fn submit_all(db: Db, client: u32) -> Vec<(u32, Result<Submitted, StoreError>)> {
    let mut answers = Vec::new();
    for job in 0..JOBS {
        let n = client * JOBS + job + 1;
        let new = if client.is_multiple_of(3) {
            let mut new = keyed(n, "h");
            if let Some(kept) = &mut new.idempotency {
                kept.key = format!("k{n}");
            }
            new
        } else {
            new_job(n)
        };
        let new = Submission { max_queued: 1_000_000, ..new };
        answers.push((n, db.submit(new).await));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_server_is_away_callers_are_told_so_and_afterwards_all_is_well() {
    let mut server = Postgres::start();
    let url = server.create_database();
    let db = open(&url).await;
    db.submit(new_job(1)).await.unwrap();
    server.stop();
    let (read, written, submitted) =
        tokio::join!(db.read(jobs::next_due), db.apply(admit(&new_job(1).job, None)), db.submit(new_job(2)),);
    assert!(matches!(read, Err(StoreError::Unreachable(_))), "{read:?}");
    assert!(matches!(written, Err(StoreError::Unreachable(_) | StoreError::Interrupted(_))), "{written:?}");
    let told = matches!(submitted, Err(StoreError::Unreachable(_) | StoreError::Interrupted(_)));
    assert!(told, "{submitted:?}");
    server.start_again();
    assert_eq!(get(&db, new_job(1).job.id).await, new_job(1).job);
    assert_eq!(db.submit(new_job(3)).await.unwrap(), Submitted::Stored);
    assert_eq!(db.apply(admit(&new_job(1).job, None)).await.unwrap(), Outcome::Updated);
}
