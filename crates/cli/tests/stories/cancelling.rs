//! Cancelling: CANCELLED is shown when nothing is alive, and nobody else is hurt.

use libra_testkit::{Api, processes, wait};
use serde_json::{Value, json};

use crate::surroundings::{quoted, shared, turn};

/// Asks until it is done: 202 says that it is under way.
async fn cancel(api: &Api, id: &str) -> Value {
    loop {
        let answer = api.delete(&format!("/api/v1/spark/jobs/{id}")).await;
        if answer.status != 202 {
            return answer.expect(200);
        }
        assert!(answer.json()["cancelRequestedAt"].is_string(), "{}", answer.text);
    }
}

#[tokio::test]
async fn a_cancelled_driver_leaves_nothing_alive_its_python_workers_included() {
    // contract: L6, S2
    let _turn = turn().await;
    let libra = shared().await;
    let api = libra.api();
    let marker = libra.scratch("udf-runs");
    let code = format!(
        "from pyspark.sql.functions import udf\n\
         def slow(x):\n    import time\n    open({}, 'a').write('x')\n    time.sleep(1000)\n    return x\n\
         spark.range(2).select(udf(slow)('id')).collect()\n",
        quoted(&marker)
    );
    let id = api.submit(&json!({"code": code, "kind": "python", "executionMode": "spark-submit"})).await;
    wait::until_true("a Python worker is in the function", || marker.exists()).await;
    let job = api.reaches(&id, "RUNNING").await;
    let token = job["attempts"][0]["token"].as_str().unwrap().to_owned();
    let alive = processes::of_attempt(&token);
    assert!(alive.len() >= 3, "a JVM, the driver's Python and a worker: {alive:?}");

    let view = cancel(&api, &id).await;
    let left: Vec<String> = processes::of_attempt(&token).into_iter().map(processes::command_line).collect();
    assert_eq!(left, Vec::<String>::new(), "alive although the job is CANCELLED");
    assert_eq!(view["status"], "CANCELLED");
    assert!(view["cancelledAt"].is_string() && view["message"].is_string(), "{view}");
    assert_eq!(cancel(&api, &id).await, view, "the same answer again");
    assert_eq!(api.job(&id).await["status"], "CANCELLED");
}

#[tokio::test]
async fn a_cancelled_query_hurts_no_neighbour() {
    // contract: L6, S1
    let _turn = turn().await;
    let api = shared().await.api();
    // Each is one task, so that both are at work at the same time on two cores.
    let work = |rows: u64| {
        let code = format!("SELECT max((hash(id) & 0) + 1) AS n FROM range(0, {rows}, 1, 1)");
        json!({"code": code, "kind": "sql", "executionMode": "in-cluster"})
    };
    let neighbour = api.submit(&work(1_000_000_000)).await;
    let endless = api.submit(&work(4_000_000_000_000)).await;
    api.reaches(&endless, "RUNNING").await;
    let view = cancel(&api, &endless).await;
    assert_eq!(view["status"], "CANCELLED");
    let job = api.ended(&neighbour).await;
    assert_eq!(job["status"], "SUCCEEDED", "{job:#}");
    assert_eq!(job["result"]["rows"], json!([{"n": 1}]));
    assert_eq!(cancel(&api, &endless).await, view, "the same answer again");

    let late = api.delete(&format!("/api/v1/jobs/{neighbour}")).await;
    assert_eq!(late.expect(409)["error"], "already_ended");
    assert_eq!(api.job(&neighbour).await["status"], "SUCCEEDED", "nothing changed");
}
