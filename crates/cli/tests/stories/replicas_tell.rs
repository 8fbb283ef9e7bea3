//! Several replicas tell the world of one history, whichever of them lives.

use std::collections::BTreeMap;

use libra_testkit::{Libra, Postgres, Setup};
use serde_json::Value;

use crate::events_feed::Stream;
use crate::webhooks::{Answer, Target, job, settle, setup};

struct Replicas {
    setup: Setup,
    /// Kept while they run.
    _shared: tempfile::TempDir,
}

impl Replicas {
    fn new() -> Self {
        let shared = tempfile::tempdir().unwrap();
        let setup = setup()
            .env("LIBRA_STORE_URL", &Postgres::shared().create_database())
            .env("LIBRA_SHARED_DIR", shared.path().to_str().unwrap())
            .env("LIBRA_REPLICA_LEASE", "3s");
        Self { setup, _shared: shared }
    }

    async fn start(&self, name: &str) -> Libra {
        self.setup.clone().env("LIBRA_REPLICA_ID", name).start().await
    }
}

async fn leader(of: &Libra) -> Option<String> {
    let view = of.api().get("/api/v1/replicas").await.expect(200);
    let leads = |r: &&Value| r["leader"] == true && r["alive"] == true;
    view["replicas"].as_array().unwrap().iter().find(leads).map(|r| r["id"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn when_the_leader_dies_another_goes_on_telling() {
    // contract: A10, A12, L2
    let replicas = Replicas::new();
    let (mut a, mut b) = (replicas.start("a").await, replicas.start("b").await);
    let target = Target::new(Answer::Status(500));
    let mut ids = Vec::new();
    for n in 0..6 {
        let api = if n % 2 == 0 { a.api() } else { b.api() };
        ids.push(api.submit(&job(&target.url)).await);
    }
    // The first one runs and keeps the others waiting.
    let waiting: Vec<String> = {
        a.api().reaches(&ids[0], "RUNNING").await;
        ids[1..].to_vec()
    };
    for id in &waiting {
        a.api().delete(&format!("/api/v1/jobs/{id}")).await.expect(200);
    }
    target.gets(waiting.len()).await;
    // Five rows of the first job, four of each other one.
    let rows = 5 + 4 * waiting.len();
    let seen: Vec<i64> = Stream::open(b.url(), "", "").take(rows).await.iter().map(|e| e.id).collect();

    let leads = wait_for_leader(&a).await;
    let survivor = if leads == "a" {
        a.kill();
        &b
    } else {
        b.kill();
        &a
    };
    target.answers(Answer::Status(200));
    for id in &waiting {
        settle(&survivor.api(), id, |w| w["state"] == "delivered").await;
    }
    assert_ne!(wait_for_leader(survivor).await, leads);

    let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for came in target.came() {
        let body: Value = serde_json::from_str(&came.body).unwrap();
        told.entry(body["jobId"].as_str().unwrap().to_owned()).or_default().push(came.status());
    }
    for id in &waiting {
        let mut states = told[id].clone();
        states.dedup();
        assert_eq!(states, ["QUEUED", "CANCELLED"], "in order, whoever sent them");
    }

    survivor.api().submit(&job(&target.url)).await;
    let last = seen.last().unwrap();
    let after = Stream::open(survivor.url(), "", &format!("Last-Event-ID: {last}\r\n")).take(3).await;
    let numbers: Vec<i64> = seen.into_iter().chain(after.iter().map(|e| e.id)).collect();
    assert_eq!(numbers, (1..).take(rows + 3).collect::<Vec<i64>>(), "one history, without gaps");
}

async fn wait_for_leader(of: &Libra) -> String {
    for _ in 0..600 {
        if let Some(leader) = leader(of).await {
            return leader;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("nobody leads");
}
