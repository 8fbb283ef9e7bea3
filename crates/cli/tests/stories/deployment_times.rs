//! What time asks of deployments, on a real Flink: batch runs, once and by the clock, their end, periodic savepoints.

use std::path::Path;

use libra_testkit::{Api, FlinkCluster, flink, wait};
use serde_json::{Value, json};

use crate::deployments::{
    alive, apply, away, counter, events, programs, stable, told, until, view, with_flink,
};

fn batch(id: &str, out: &Path, pause_ms: u32, config: &Value) -> Value {
    json!({
        "job_id": id,
        "job_type": "batch",
        "artifact_path": flink::jobs_jar(),
        "entry_class": "libra.jobs.Batch",
        "args": ["--out", out, "--records", "10", "--pause-ms", pause_ms.to_string()],
        "batch_config": config,
    })
}

fn sums(out: &Path) -> usize {
    std::fs::read_to_string(out).unwrap_or_default().lines().filter(|line| *line == "SUM 55").count()
}

async fn count(api: &Api, id: &str, kind: &str) -> usize {
    events(api, id).await.iter().filter(|line| line.split(' ').nth(1) == Some(kind)).count()
}

#[tokio::test]
async fn a_batch_job_runs_once_a_generation_and_again_when_it_is_asked_for() {
    // contract: F4
    let cluster = FlinkCluster::shared().await;
    let libra = with_flink(cluster, &programs()).start().await;
    let api = libra.api();
    let out = libra.scratch("sums");
    let spec = batch("totals", &out, 0, &json!({}));
    assert_eq!(apply(&api, &spec).await, "first-deploy");
    let done = until(&api, "totals", "completed", |view| view["state"] == "completed").await;
    assert_eq!((&done["jobId"], &done["trouble"]), (&Value::Null, &Value::Null), "{done:#}");
    assert_eq!(sums(&out), 1);
    assert_eq!(apply(&api, &spec).await, "none", "it is done");
    api.post("/api/v1/deployments/totals/resume", &json!({})).await.expect(202);
    wait::until_true("it has run once more", || sums(&out) == 2).await;
    until(&api, "totals", "completed", |view| view["state"] == "completed").await;
    assert_eq!(count(&api, "totals", "starts").await, 2);
}

#[tokio::test]
async fn the_clock_starts_runs_as_many_as_are_wanted() {
    // contract: F4
    let cluster = FlinkCluster::shared().await;
    let libra = with_flink(cluster, &programs()).start().await;
    let api = libra.api();
    let out = libra.scratch("sums");
    let config = json!({"cron": "* * * * *", "timezone": "Europe/Berlin", "max_runs": 1});
    apply(&api, &batch("nightly", &out, 0, &config)).await;
    wait::until_async("the series is over", async || told(&api, "nightly", "series_over").await).await;
    assert_eq!((sums(&out), count(&api, "nightly", "run_due").await), (1, 1));
    assert_eq!(view(&api, "nightly").await["state"], "completed");
}

#[tokio::test]
async fn a_run_that_takes_too_long_is_ended() {
    // contract: F4
    let cluster = FlinkCluster::shared().await;
    let libra = with_flink(cluster, &programs()).start().await;
    let api = libra.api();
    let out = libra.scratch("sums");
    apply(&api, &batch("slow", &out, 60_000, &json!({"ttl_seconds": 3}))).await;
    wait::until_async("its time is over", async || told(&api, "slow", "run_time_over").await).await;
    wait::until_async("nothing of it is alive", async || alive(cluster, "slow").await.is_empty()).await;
    assert_eq!(sums(&out), 0);
}

#[tokio::test]
async fn savepoints_are_made_as_time_goes_by_and_the_job_goes_on() {
    // contract: F5
    let cluster = FlinkCluster::shared().await;
    let libra = with_flink(cluster, &programs()).start().await;
    let api = libra.api();
    let progress = libra.scratch("progress");
    let mut spec = counter("saved-by-the-clock", &progress);
    spec["stream_config"] = json!({"savepoint_trigger_interval": 2_000});
    apply(&api, &spec).await;
    stable(&api, "saved-by-the-clock").await;
    wait::until_async("there are some", async || {
        count(&api, "saved-by-the-clock", "savepoint_made").await >= 3
    })
    .await;
    assert_eq!(count(&api, "saved-by-the-clock", "starts").await, 1);
    flink::assert_nothing_twice(&progress);

    // What only Libra goes by changes nothing in Flink.
    let job = view(&api, "saved-by-the-clock").await["jobId"].clone();
    spec["stream_config"]["savepoint_trigger_interval"] = json!(3_600_000);
    assert_eq!(apply(&api, &spec).await, "none");
    let now = until(&api, "saved-by-the-clock", "the same job of another generation", |view| {
        view["generation"] == 2 && view["runningGeneration"] == 2 && view["stable"] == true
    })
    .await;
    assert_eq!(now["jobId"], job, "{now:#}");
    assert_eq!(count(&api, "saved-by-the-clock", "starts").await, 1);
    away(&api, cluster, "saved-by-the-clock").await;
}
