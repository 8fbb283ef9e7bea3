//! Another number of subtasks for a job that runs, on a real Flink with the adaptive scheduler.

use libra_testkit::flink::{self, Setup};
use serde_json::{Value, json};

use crate::deployments::{apply, away, counter, events, programs, stable, told, until, with_flink};

#[tokio::test]
async fn a_job_gets_more_subtasks_and_is_not_stopped() {
    // contract: F2
    let setup = Setup::new()
        .setting("jobmanager.scheduler", "adaptive")
        // By default it rests for half a minute between two changes.
        .setting("jobmanager.adaptive-scheduler.executing.cooldown-after-rescaling", "1 s")
        .setting("jobmanager.adaptive-scheduler.executing.resource-stabilization-timeout", "1 s");
    let cluster = setup.start().await;
    let libra = with_flink(&cluster, &programs()).start().await;
    let api = libra.api();
    let progress = libra.scratch("progress");
    let mut spec = counter("wider", &progress);
    spec["deployment"]["parallelism"] = json!(2);
    apply(&api, &spec).await;
    let first = stable(&api, "wider").await;

    spec["deployment"]["parallelism"] = json!(3);
    let plan = api.post("/api/v1/deployments/plan", &spec).await.expect(200);
    assert_eq!(plan["kind"], "in-place", "{plan:#}");
    assert_eq!(apply(&api, &spec).await, "in-place");
    let now = stable(&api, "wider").await;
    assert_eq!((&now["jobId"], &now["generation"]), (&first["jobId"], &json!(2)), "the same job: {now:#}");
    assert!(told(&api, "wider", "rescaled").await, "{:#?}", events(&api, "wider").await);
    assert_eq!(now["lastSavepoint"], Value::Null, "it was not stopped");
    let job = now["jobId"].as_str().unwrap();
    let vertices = cluster.api().get(&format!("/jobs/{job}")).await.expect(200)["vertices"].clone();
    let numbers: Vec<_> =
        vertices.as_array().unwrap().iter().filter_map(|vertex| vertex["parallelism"].as_u64()).collect();
    assert_eq!(numbers, [1, 3], "the source stays alone: {vertices:#}");
    flink::assert_unbroken(&progress);

    // More is different: with its state, as ever.
    spec["deployment"]["parallelism"] = json!(1);
    spec["args"][3] = json!("51");
    assert_eq!(apply(&api, &spec).await, "savepoint-redeploy");
    let then = until(&api, "wider", "redeployed", |view| {
        view["runningGeneration"] == 3 && view["state"] == "stable"
    })
    .await;
    assert_ne!(then["jobId"], now["jobId"]);
    flink::assert_unbroken(&progress);
    away(&api, &cluster, "wider").await;
}
