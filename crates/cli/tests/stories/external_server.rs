//! A Spark Connect server that Libra did not start: let in by a token, over TLS, and away for a while.

use std::path::Path;

use libra_engines::spark_home::SparkHome;
use libra_testkit::spark_connect::ConnectServer;
use libra_testkit::tls_door::TlsDoor;
use libra_testkit::{Setup, wait};
use serde_json::{Value, json};

use crate::surroundings::{setup, turn};

const TOKEN: &str = "t0ken-that-nobody-may-read";

/// A Libra that uses the server behind the door.
fn external(port: u16, token: &str, ca: Option<&Path>) -> Setup {
    let key = |name: &str| format!("LIBRA_EXECUTION_MODES_IN_CLUSTER_{name}");
    let setup = setup()
        .env(&key("BACKEND"), "external")
        .env(&key("URL"), &format!("sc://localhost:{port}/;use_ssl=true"))
        .env(&key("TOKEN"), token)
        .env(&key("PROBE_EVERY"), "1s");
    match ca {
        Some(file) => setup.env(&key("CA_FILE"), &file.display().to_string()),
        None => setup,
    }
}

fn sql(code: &str) -> Value {
    json!({"code": code, "kind": "sql", "executionMode": "in-cluster", "retryPolicy": {"maxRetries": 0}})
}

fn work(rows: u64) -> Value {
    sql(&format!("SELECT max((hash(id) & 0) + 1) AS n FROM range(0, {rows}, 1, 2)"))
}

#[tokio::test]
async fn an_external_server_is_used_and_what_runs_when_it_dies_ends_truthfully() {
    // contract: S1, L4, L7
    let _turn = turn().await;
    let home = SparkHome::find(None).unwrap().home;
    let mut server = ConnectServer::start(&home, TOKEN).await;
    let dir = tempfile::tempdir().unwrap();
    let door = TlsDoor::open(dir.path(), server.port()).await;
    let ca = Some(door.ca_file.as_path());
    let setup = external(door.port, TOKEN, ca);
    let mut libra = setup.start().await;
    let api = libra.api();
    assert_eq!(api.rows(&sql("SELECT 1 AS n")).await, [json!({"n": 1})]);
    let connect = libra.data_dir().join("connect");
    assert!(libra_testkit::processes::working_below(&connect).is_empty(), "no server of its own");

    // A wrong token, and a certificate that nobody vouches for.
    let stranger = external(door.port, "another-token", ca).start().await;
    let job = stranger.api().run(&sql("SELECT 1")).await;
    assert_eq!(job["error"]["code"], "engine_refused", "{job:#}");
    assert!(
        !job.to_string().contains("another-token") && !stranger.log().contains("another-token"),
        "{job:#}"
    );
    drop(stranger);
    let start_timeout = "LIBRA_EXECUTION_MODES_IN_CLUSTER_START_TIMEOUT";
    let doubter = external(door.port, TOKEN, None).env(start_timeout, "2s").start().await;
    let job = doubter.api().run(&sql("SELECT 1")).await;
    assert_eq!(job["error"]["code"], "engine_unreachable", "{job:#}");
    let text = job["error"]["message"].as_str().unwrap();
    assert!(text.contains("certificate") && text.contains("in a row"), "{text}");
    drop(doubter);

    // Libra dies: the query goes on there.
    let id = api.submit(&work(300_000_000)).await;
    api.reaches(&id, "RUNNING").await;
    libra.kill();
    libra.start(&setup).await;
    let api = libra.api();
    let job = api.ended(&id).await;
    assert_eq!(
        (&job["status"], job["attempts"].as_array().unwrap().len()),
        (&json!("SUCCEEDED"), 1),
        "{job:#}"
    );

    // The server dies under a read and a write, and comes back knowing neither.
    let read = api.submit(&work(3_000_000_000)).await;
    let table = libra.scratch("table").display().to_string();
    let insert = format!(
        "CREATE TABLE lost USING parquet LOCATION '{table}' AS SELECT max(hash(id)) AS n FROM range(0, 3000000000, 1, 2)"
    );
    let write = api.submit(&sql(&insert)).await;
    api.reaches(&read, "RUNNING").await;
    api.reaches(&write, "RUNNING").await;
    server.kill();
    let waits = api.submit(&sql("SELECT 2 AS n")).await;
    wait::until_async("the one that waits is told why", || async {
        let view = api.get(&format!("/api/v1/spark/jobs/{waits}/explain")).await.json();
        let reason = view["reason"].as_str().unwrap_or_default().to_owned();
        reason.contains("does not answer") || reason.contains("can't be used")
    })
    .await;
    server.start_again().await;
    let job = api.ended(&read).await;
    assert_eq!(job["error"]["code"], "engine_lost", "{job:#}");
    assert!(job["error"]["message"].as_str().unwrap().contains("can be run again"), "{job:#}");
    let job = api.ended(&write).await;
    assert_eq!(job["error"]["code"], "engine_lost", "{job:#}");
    assert!(job["error"]["message"].as_str().unwrap().contains("Nobody knows"), "{job:#}");
    let job = api.ended(&waits).await;
    assert_eq!(
        (&job["status"], &job["result"]["rows"]),
        (&json!("SUCCEEDED"), &json!([{"n": 2}])),
        "{job:#}"
    );
    assert!(!libra.log().contains(TOKEN), "the log shows no token");
}
