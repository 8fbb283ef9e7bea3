//! The shared Spark server and Libra die in turn.

use libra_testkit::{Libra, processes};
use serde_json::{Value, json};

use crate::surroundings::{setup, turn};

fn sql(code: &str) -> Value {
    json!({"code": code, "kind": "sql", "executionMode": "in-cluster"})
}

/// A query that works through so many rows.
fn work(rows: u64) -> Value {
    sql(&format!("SELECT max((hash(id) & 0) + 1) AS n FROM range(0, {rows}, 1, 2)"))
}

/// The Java process of the server.
fn server(libra: &Libra) -> Vec<i32> {
    let below = processes::working_below(&libra.data_dir().join("connect"));
    below.into_iter().filter(|pid| processes::command_line(*pid).contains("SparkConnectServer")).collect()
}

#[tokio::test]
async fn a_query_outlives_libra_and_the_job_outlives_sparks_server() {
    // contract: S1, L4, L7
    let _turn = turn().await;
    let mut libra = setup().start().await;
    let id = libra.api().submit(&work(600_000_000)).await;
    libra.api().reaches(&id, "RUNNING").await;
    let before = server(&libra);
    assert_eq!(before.len(), 1, "{before:?}");
    libra.kill();
    libra.start(&setup()).await;
    let api = libra.api();
    let job = api.ended(&id).await;
    assert_eq!(job["status"], "SUCCEEDED", "{job:#}");
    assert_eq!(job["attempts"].as_array().unwrap().len(), 1, "{job:#}");
    assert_eq!(job["result"]["rows"], json!([{"n": 1}]));
    assert_eq!(server(&libra), before, "the same server");

    let id = api.submit(&work(600_000_000)).await;
    api.reaches(&id, "RUNNING").await;
    processes::kill(before[0]);
    let job = api.ended(&id).await;
    let attempts = job["attempts"].as_array().unwrap();
    assert_eq!(job["status"], "SUCCEEDED", "retried on a new server: {job:#}");
    assert!(attempts.len() >= 2, "{job:#}");
    assert_eq!(attempts[0]["error"]["class"], "infrastructure", "{job:#}");
    assert_ne!(server(&libra), before, "a new server");

    let mut once = work(600_000_000);
    once["retryPolicy"] = json!({"maxRetries": 0});
    let id = api.submit(&once).await;
    api.reaches(&id, "RUNNING").await;
    server(&libra).into_iter().for_each(processes::kill);
    let job = api.ended(&id).await;
    assert_eq!(
        (&job["status"], &job["error"]["class"]),
        (&json!("FAILED"), &json!("infrastructure")),
        "{job:#}"
    );
    assert_eq!(api.rows(&work(10)).await, [json!({"n": 1})], "the server is back for the next");

    let last = server(&libra);
    libra.stop();
    assert!(last.into_iter().all(|pid| !processes::is_alive(pid)), "told to, it ends the server");
}

#[tokio::test]
async fn libra_dies_after_it_launched_a_statement_and_it_runs_once() {
    // contract: S1, L3, L7
    runs_once_though_libra_dies(&["after-launch"]).await;
}

#[tokio::test]
#[ignore = "a drill: make drills"]
async fn drill_libra_dies_between_any_two_steps_and_a_statement_still_runs_once() {
    // contract: S1, L3, L7
    let points =
        ["after-scheduled", "after-intent", "after-launch", "after-handle", "before-result", "after-result"];
    runs_once_though_libra_dies(&points).await;
}

async fn runs_once_though_libra_dies(points: &[&str]) {
    let _turn = turn().await;
    let mut libra = setup().start().await;
    let made = libra.api().run(&sql("CREATE TABLE marks (point STRING) USING parquet")).await;
    assert_eq!(made["status"], "SUCCEEDED", "{made:#}");
    for point in points {
        // Killed, not stopped: Spark's server goes on, and so does what it works on.
        libra.kill();
        libra.start(&setup().env("LIBRA_FAILPOINT", point)).await;
        let mut insert = sql(&format!("INSERT INTO marks VALUES ('{point}')"));
        insert["name"] = json!(point);
        // Libra may die before it has answered; what it has stored counts.
        let _ = libra.api().try_post("/api/v1/jobs", &insert).await;
        let status = libra.end().await;
        assert!(!status.success(), "{point}: {status}");
        libra.start(&setup()).await;
        let api = libra.api();
        let list = api.get(&format!("/api/v1/jobs?name={point}")).await.expect(200);
        assert_eq!(list["total"], 1, "{point}: the job is not lost, and is there once");
        let job = api.ended(list["jobs"][0]["jobId"].as_str().unwrap()).await;
        assert_eq!(job["status"], "SUCCEEDED", "{point}: {job:#}");
        let count = format!("SELECT count(*) AS n FROM marks WHERE point = '{point}'");
        assert_eq!(api.rows(&sql(&count)).await, [json!({"n": 1})], "{point}: exactly one run: {job:#}");
        assert_eq!(job["retryCount"], 0, "{point}: {job:#}");
    }
}
