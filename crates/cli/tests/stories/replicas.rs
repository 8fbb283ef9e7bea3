//! Several replicas on one PostgreSQL: any of them answers any call, and what one of them leaves the others finish.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use libra_testkit::{Libra, Postgres, Redis, Setup, processes, wait, write};
use serde_json::{Value, json};

use crate::surroundings::{quoted, setup as libra, submit_only, turn};

/// Short, so that a death is noticed soon.
const LEASE: Duration = Duration::from_secs(3);

/// Replicas that share a database and, mostly, a directory.
pub(crate) struct Together {
    setup: Setup,
    shared: tempfile::TempDir,
}

impl Together {
    /// On a new database of the shared server.
    pub(crate) fn new(setup: Setup) -> Self {
        Self::on(setup, &Postgres::shared().create_database())
    }

    pub(crate) fn on(setup: Setup, database: &str) -> Self {
        let shared = tempfile::tempdir().unwrap();
        let setup = setup
            .env("LIBRA_STORE_URL", database)
            .env("LIBRA_SHARED_DIR", shared.path().to_str().unwrap())
            .env("LIBRA_REPLICA_LEASE", &format!("{}s", LEASE.as_secs()));
        Self { setup, shared }
    }

    pub(crate) fn named(&self, name: &str) -> Setup {
        self.setup.clone().env("LIBRA_REPLICA_ID", name)
    }

    pub(crate) fn shared(&self) -> &Path {
        self.shared.path()
    }

    pub(crate) fn scratch(&self, name: &str) -> PathBuf {
        self.shared.path().join(name)
    }
}

impl Drop for Together {
    fn drop(&mut self) {
        // What works below the shared directory outlives the replicas.
        for pid in processes::working_below(self.shared.path()) {
            processes::kill(pid);
        }
    }
}

/// A program that says that it has begun, waits for a file, and says that it ends.
pub(crate) fn patient(marker: &Path, go: &Path) -> Value {
    let (marker, go) = (quoted(marker), quoted(go));
    let code = format!(
        "import os, time\nopen({marker}, 'a').write('begin\\n')\nprint('first line', flush=True)\n\
         while not os.path.exists({go}): time.sleep(0.1)\n\
         print('last line', flush=True)\nopen({marker}, 'a').write('end\\n')\n"
    );
    json!({"code": code, "kind": "python", "executionMode": "spark-submit"})
}

pub(crate) async fn begun(marker: &Path) {
    wait::until_true("the program has begun", || {
        fs::read_to_string(marker).is_ok_and(|t| t.contains("begin\n"))
    })
    .await;
}

async fn replicas(of: &Libra) -> Vec<Value> {
    of.api().get("/api/v1/replicas").await.expect(200)["replicas"].as_array().unwrap().clone()
}

/// The name of the replica that leads, once there is one.
async fn leader(of: &Libra) -> String {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(leads) = replicas(of).await.iter().find(|r| r["leader"] == true) {
            return leads["id"].as_str().unwrap().to_owned();
        }
        assert!(Instant::now() < deadline, "nobody leads");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Who looks after a job's attempt, once somebody does.
async fn holder(of: &Libra) -> String {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(holds) = replicas(of).await.iter().find(|r| r["attemptsHeld"] != 0) {
            return holds["id"].as_str().unwrap().to_owned();
        }
        assert!(Instant::now() < deadline, "nobody holds the attempt");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn rows_of(of: &Libra, id: &str, state: &str) -> Vec<Value> {
    let events = of.api().get(&format!("/api/v1/jobs/{id}/events")).await.expect(200);
    events["events"].as_array().unwrap().iter().filter(|e| e["to"] == state).cloned().collect()
}

#[tokio::test]
async fn any_replica_answers_any_call() {
    // contract: P1, A2, L6
    let _turn = turn().await;
    let together = Together::new(submit_only());
    let a = together.named("a").start().await;
    let b = together.named("b").start().await;
    let (marker, go) = (together.scratch("marker"), together.scratch("go"));
    let id = a.api().submit(&patient(&marker, &go)).await;
    assert_eq!(b.api().job(&id).await["jobId"], id.as_str());
    begun(&marker).await;
    b.api().reaches(&id, "RUNNING").await;
    for one in [&a, &b] {
        assert!(one.api().log(&id, "stdout").await.contains("first line"));
        let known = replicas(one).await;
        assert_eq!(known.len(), 2, "{known:?}");
        assert_eq!(known.iter().filter(|r| r["leader"] == true).count(), 1, "{known:?}");
        assert!(known.iter().all(|r| r["alive"] == true), "{known:?}");
    }
    // The one that does not hold it is asked for its end: heard at once, not at the next look.
    let asked = if holder(&a).await == "a" { &b } else { &a };
    let cancelled = asked.api().delete(&format!("/api/v1/jobs/{id}")).await.expect(200);
    assert_eq!(cancelled["status"], "CANCELLED", "{cancelled}");
    assert_eq!(a.api().job(&id).await["status"], "CANCELLED");
}

#[tokio::test]
async fn what_a_dead_replica_ran_goes_on_with_another() {
    // contract: L3, L7, S2; design §6, the host rule
    let _turn = turn().await;
    let together = Together::new(submit_only());
    let a = together.named("a").start().await;
    let b = together.named("b").start().await;
    let (marker, go) = (together.scratch("marker"), together.scratch("go"));
    let id = a.api().submit(&patient(&marker, &go)).await;
    begun(&marker).await;
    let token = a.api().reaches(&id, "RUNNING").await["attempts"][0]["token"].as_str().unwrap().to_owned();
    let before = processes::of_attempt(&token);
    let held = holder(&a).await;
    let (mut dies, lives) = if held == "a" { (a, b) } else { (b, a) };
    dies.kill();
    wait::until_async("the other one holds it", || async {
        replicas(&lives).await.iter().any(|r| r["id"] != held.as_str() && r["attemptsHeld"] == 1)
    })
    .await;
    assert_eq!(processes::of_attempt(&token), before, "the same processes as before");
    write(&go, "");
    let job = lives.api().ended(&id).await;
    assert_eq!((&job["status"], &job["exitCode"]), (&json!("SUCCEEDED"), &json!(0)), "{job:#}");
    assert_eq!(job["attempts"].as_array().unwrap().len(), 1, "{job:#}");
    assert_eq!(fs::read_to_string(&marker).unwrap(), "begin\nend\n", "exactly one run");
    assert!(lives.api().log(&id, "stdout").await.contains("last line"));
}

#[tokio::test]
async fn a_replica_that_slept_too_long_writes_nothing_of_its_former_life() {
    // contract: L2; design §4: correctness comes from the epoch
    let _turn = turn().await;
    let together = Together::new(submit_only());
    let a = together.named("a").start().await;
    let b = together.named("b").start().await;
    let (marker, go) = (together.scratch("marker"), together.scratch("go"));
    let id = a.api().submit(&patient(&marker, &go)).await;
    begun(&marker).await;
    let held = holder(&a).await;
    let (sleeps, wakes) = if held == "a" { (a, b) } else { (b, a) };
    let before: Value = replicas(&wakes).await.into_iter().find(|r| r["id"] == held.as_str()).unwrap();
    processes::stop(sleeps.pid());
    wait::until_async("the other one holds it", || async {
        replicas(&wakes).await.iter().any(|r| r["id"] != held.as_str() && r["attemptsHeld"] == 1)
    })
    .await;
    write(&go, "");
    let job = wakes.api().ended(&id).await;
    assert_eq!(job["status"], "SUCCEEDED", "{job:#}");
    processes::go_on(sleeps.pid());
    wait::until_async("it begins a new life", || async {
        replicas(&wakes).await.iter().any(|r| r["id"] == held.as_str() && r["alive"] == true)
    })
    .await;
    let after: Value = replicas(&wakes).await.into_iter().find(|r| r["id"] == held.as_str()).unwrap();
    assert!(after["epoch"].as_i64() > before["epoch"].as_i64(), "{before} {after}");
    assert_eq!(rows_of(&wakes, &id, "SCHEDULED").await.len(), 1);
    let ends = rows_of(&sleeps, &id, "SUCCEEDED").await;
    assert_eq!(ends.len(), 1);
    assert_ne!(ends[0]["metadata"]["replica"], held.as_str(), "{ends:?}");
    assert_eq!(fs::read_to_string(&marker).unwrap(), "begin\nend\n", "exactly one run");
}

#[tokio::test]
async fn when_the_leader_is_killed_the_next_one_schedules_within_two_leases() {
    // issue: the next leader schedules within 2 leases; no job is scheduled twice
    let _turn = turn().await;
    let together = Together::new(libra());
    let a = together.named("a").start().await;
    let b = together.named("b").start().await;
    // The shared Spark is up before it counts.
    let first = a.api().run(&json!({"code": "SELECT 1", "kind": "sql", "executionMode": "in-cluster"})).await;
    assert_eq!(first["status"], "SUCCEEDED", "{first:#}");
    let led = leader(&a).await;
    let (mut dies, lives) = if led == "a" { (a, b) } else { (b, a) };
    let epoch = |rows: &[Value]| rows[0]["metadata"]["epoch"].as_i64().unwrap();
    let mut ids = Vec::new();
    for n in 0..20 {
        let sql = json!({"code": format!("SELECT {n}"), "kind": "sql", "executionMode": "in-cluster"});
        ids.push(lives.api().submit(&sql).await);
    }
    dies.kill();
    let sql = json!({"code": "SELECT 'after'", "kind": "sql", "executionMode": "in-cluster"});
    let after = lives.api().submit(&sql).await;
    let job = lives.api().ended(&after).await;
    assert_eq!(job["status"], "SUCCEEDED", "{job:#}");
    for id in &ids {
        let job = lives.api().ended(id).await;
        assert_eq!(job["status"], "SUCCEEDED", "{job:#}");
        let attempts = job["attempts"].as_array().unwrap().len();
        let rows = rows_of(&lives, id, "SCHEDULED").await;
        assert_eq!(rows.len(), attempts, "one row for each attempt: {rows:?}");
    }
    let (old, new) =
        (rows_of(&lives, &ids[0], "SCHEDULED").await, rows_of(&lives, &after, "SCHEDULED").await);
    assert!(epoch(&new) > epoch(&old), "the epoch is visible in the log: {old:?} {new:?}");
}

#[tokio::test]
async fn without_a_shared_directory_files_are_read_through_the_replica_that_has_them() {
    // issue: logs and results are readable from any replica
    let _turn = turn().await;
    let database = Postgres::shared().create_database();
    let setup = |name: &str| {
        libra()
            .env("LIBRA_STORE_URL", &database)
            .env("LIBRA_REPLICA_LEASE", "3s")
            .env("LIBRA_REPLICA_ID", name)
    };
    let a = setup("a").start().await;
    let b = setup("b").start().await;
    let program = json!({"code": "print('said once')", "kind": "python", "executionMode": "spark-submit"});
    let sql = json!({"code": "SELECT 41 + 1 AS n", "kind": "sql", "executionMode": "in-cluster"});
    let (program, sql) = (a.api().submit(&program).await, a.api().submit(&sql).await);
    for one in [&a, &b] {
        assert_eq!(one.api().ended(&program).await["status"], "SUCCEEDED");
        assert!(one.api().log(&program, "stdout").await.contains("said once"));
        let followed = one.api().get(&format!("/api/v1/jobs/{program}/logs?follow=true")).await;
        assert_eq!((followed.status, followed.header("content-type")), (200, "text/event-stream"));
        assert!(followed.text.contains("said once") && followed.text.contains("event: end"), "{followed:?}");
        let job = one.api().ended(&sql).await;
        assert_eq!(job["result"]["rows"], json!([{"n": 42}]), "{job:#}");
        let result = one.api().get(&format!("/api/v1/jobs/{sql}/result")).await.expect(200);
        assert_eq!(result["result"]["rows"], json!([{"n": 42}]));
        let csv = [("accept", "text/csv")];
        let csv = one.api().send("GET", &format!("/api/v1/jobs/{sql}/result"), &csv, Vec::new()).await;
        assert_eq!((csv.text.as_str(), csv.header("x-libra-row-count")), ("n\r\n42\r\n", "1"));
    }
}

#[tokio::test]
async fn two_processes_with_one_id_do_not_serve_together() {
    let together = Together::new(submit_only());
    let a = together.named("same").start().await;
    let other = tempfile::tempdir().unwrap();
    let dir = other.path().join("data").display().to_string();
    let refused = together.named("same").run(&["serve", "--listen", "127.0.0.1:0", "--data-dir", &dir]);
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("the replica id `same` is in use") && said.contains("hint:"), "{said}");
    assert_eq!(replicas(&a).await.len(), 1);
}

#[tokio::test]
async fn two_machines_with_one_name_do_not_serve_together() {
    // design §6: what another boot has started is dead, so a machine has to be one
    let database = Postgres::shared().create_database();
    let together = Together::on(submit_only(), &database);
    let a = together.named("a").start().await;
    let sql = "UPDATE replicas SET host = split_part(host, '/', 1) || '/another-boot'";
    Postgres::shared().query(&database, sql);
    let other = tempfile::tempdir().unwrap();
    let dir = other.path().join("data").display().to_string();
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--data-dir", &dir];
    let refused = together.named("b").run(&arguments);
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("another machine") && said.contains("libra.replica.machine"), "{said}");
    assert_eq!(replicas(&a).await.len(), 1);
    let _b = together.named("b").env("LIBRA_REPLICA_MACHINE", "another").start().await;
    assert_eq!(replicas(&a).await.len(), 2);
}

#[tokio::test]
async fn jobs_go_on_when_postgresql_and_redis_are_restarted() {
    // contract: Q2: the store stays the truth; a lost Redis loses nothing
    let _turn = turn().await;
    let mut postgres = Postgres::start();
    let mut redis = Redis::start();
    let together = Together::on(libra().env("REDIS_URL", &redis.url()), &postgres.create_database());
    let a = together.named("a").start().await;
    let b = together.named("b").start().await;
    let sql =
        |n: usize| json!({"code": format!("SELECT {n} AS n"), "kind": "sql", "executionMode": "in-cluster"});
    let mut ids = Vec::new();
    for n in 0..4 {
        ids.push(a.api().submit(&sql(n)).await);
    }
    redis.kill();
    for n in 4..8 {
        ids.push(b.api().submit(&sql(n)).await);
    }
    for id in &ids {
        assert_eq!(a.api().ended(id).await["status"], "SUCCEEDED");
    }
    redis.start_again();
    postgres.restart();
    let late = ids.len();
    wait::until_async("it takes jobs again", || async {
        a.api().try_post("/api/v1/jobs", &sql(late)).await.is_ok_and(|answer| answer.status == 202)
    })
    .await;
    for n in late + 1..late + 5 {
        ids.push(b.api().submit(&sql(n)).await);
    }
    redis.flush();
    for id in &ids {
        let job = b.api().ended(id).await;
        assert_eq!(job["status"], "SUCCEEDED", "{job:#}");
        assert_eq!(job["attempts"].as_array().unwrap().len(), rows_of(&b, id, "SCHEDULED").await.len());
    }
}
