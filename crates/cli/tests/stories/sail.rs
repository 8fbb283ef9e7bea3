//! Sail in the place of Spark's server: SQL without Java.

use libra_testkit::{Libra, Setup, processes, wait};
use serde_json::{Value, json};

use crate::surroundings::setup;

fn sail() -> Setup {
    setup()
        .env("LIBRA_EXECUTION_MODES_IN_CLUSTER_BACKEND", "sail")
        .env("LIBRA_EXECUTION_MODES_IN_CLUSTER_KILL_AFTER", "2s")
}

fn sql(code: &str) -> Value {
    json!({"code": code, "kind": "sql", "executionMode": "in-cluster"})
}

fn servers(libra: &Libra) -> Vec<i32> {
    let below = processes::working_below(&libra.data_dir().join("connect"));
    below.into_iter().filter(|pid| processes::command_line(*pid).contains("spark server")).collect()
}

/// Sail works on it for hours, and looks up when it is interrupted.
const LONG: &str = "SELECT sum(hash(id)) FROM range(200000000000)";
/// Sail works on it for hours, and never looks up.
const DEAF: &str =
    "SELECT count(*) FROM range(10000000) a CROSS JOIN range(10000000) b WHERE a.id + b.id < 0";
/// Gathering one side of [`DEAF`] takes a fraction of a second.
const DEAF_AFTER_CPU_SECONDS: u64 = 5;

#[tokio::test]
async fn sql_runs_is_cancelled_and_a_query_that_does_not_obey_is_killed() {
    // contract: S1
    let mut libra = sail().start().await;
    let api = libra.api();
    let rows =
        api.rows(&sql("SELECT id AS n, concat('x', id) AS s, date'2024-02-29' AS d FROM range(2)")).await;
    assert_eq!(
        rows,
        [json!({"n": 0, "s": "x0", "d": "2024-02-29"}), json!({"n": 1, "s": "x1", "d": "2024-02-29"})]
    );
    let wrong = api.run(&sql("SELECT nothing FROM nowhere")).await;
    assert_eq!((&wrong["status"], &wrong["error"]["class"]), (&json!("FAILED"), &json!("user")), "{wrong:#}");

    // Spark's Python client speaks to it as well.
    let program = "print('here')\nlibra.result(spark.range(3).selectExpr('id * 2 AS n'))";
    let python = json!({"code": program, "kind": "python", "executionMode": "in-cluster"});
    assert_eq!(api.rows(&python).await, [json!({"n": 0}), json!({"n": 2}), json!({"n": 4})]);

    let id = api.submit(&sql(LONG)).await;
    api.reaches(&id, "RUNNING").await;
    let before = servers(&libra);
    assert_eq!(before.len(), 1, "{before:?}");
    api.delete(&format!("/api/v1/spark/jobs/{id}")).await;
    let job = api.ended(&id).await;
    assert_eq!(job["status"], "CANCELLED", "{job:#}");
    assert_eq!(servers(&libra), before, "it obeyed");

    // Libra dies and comes back: the same server, and the query that it works on.
    let id = api.submit(&sql("SELECT sum(hash(id)) AS n FROM range(1000000000)")).await;
    api.reaches(&id, "RUNNING").await;
    libra.kill();
    libra.start(&sail()).await;
    let api = libra.api();
    let job = api.ended(&id).await;
    assert_eq!(job["status"], "SUCCEEDED", "{job:#}");
    assert_eq!(servers(&libra), before, "the same server");

    let used = || -> u64 { before.iter().map(|pid| processes::cpu_seconds(*pid)).sum() };
    let idle = used();
    let deaf = api.submit(&sql(DEAF)).await;
    // By its work and not by the clock: while it only prepares, it still obeys.
    wait::until_true("it is deep in its work", || used() >= idle + DEAF_AFTER_CPU_SECONDS).await;
    api.delete(&format!("/api/v1/spark/jobs/{deaf}")).await;
    let job = api.ended(&deaf).await;
    assert_eq!(job["status"], "CANCELLED", "{job:#}");
    wait::until_true("the old server is gone", || before.iter().all(|pid| !processes::is_alive(*pid))).await;
    assert_eq!(api.rows(&sql("SELECT 1 AS n")).await, [json!({"n": 1})], "another server is there");

    let said = sail().run(&["doctor"]);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("no progress"), "the limits are told:\n{said}");
}
