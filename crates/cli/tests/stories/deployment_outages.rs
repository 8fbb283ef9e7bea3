//! Parts of a Flink cluster die, and others meddle with its jobs: what is told is true, and what was wanted comes back
//! by itself, with its state.

use std::time::Duration;

use libra_testkit::flink::{self, FlinkCluster, Line};
use libra_testkit::{Api, wait};
use serde_json::{Value, json};

use crate::deployment_faults::Watch;
use crate::deployments::{alive, apply, counter, events, programs, stable, told, until, view, with_flink};

/// Where the counter is by now.
fn at(progress: &std::path::Path) -> u64 {
    flink::progress(progress).iter().map(|line| line.value).max().unwrap_or(0)
}

async fn counts_on(progress: &std::path::Path) {
    let before = at(progress);
    wait::until_true("it counts on", || at(progress) > before + 100).await;
}

/// Panics when a job has counted after its successor began.
fn assert_one_after_another(lines: &[Line]) {
    let mut jobs: Vec<&str> = lines.iter().map(|line| line.job.as_str()).collect();
    jobs.dedup();
    let runs = jobs.len();
    jobs.sort_unstable();
    jobs.dedup();
    assert_eq!(runs, jobs.len(), "two at once: {lines:#?}");
}

/// Runs the counting job without Libra; answers its id.
async fn run_by_hand(cluster: &FlinkCluster, name: &str) -> String {
    let jar = std::fs::read(flink::jobs_jar()).unwrap();
    let mut body = b"--x\r\nContent-Disposition: form-data; name=\"jarfile\"; filename=\"hand.jar\"\r\n\
        Content-Type: application/x-java-archive\r\n\r\n"
        .to_vec();
    body.extend(jar);
    body.extend(b"\r\n--x--\r\n");
    let form = [("content-type", "multipart/form-data; boundary=x")];
    let uploaded = cluster.api().send("POST", "/jars/upload", &form, body).await.expect(200);
    let id = uploaded["filename"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    let run =
        json!({"entryClass": "libra.jobs.Counter", "programArgsList": ["--name", name, "--rate", "10"]});
    let started = cluster.api().post(&format!("/jars/{id}/run"), &run).await.expect(200);
    started["jobid"].as_str().unwrap().to_owned()
}

pub async fn cancel(cluster: &FlinkCluster, job: &str) {
    let answer = cluster.api().send("PATCH", &format!("/jobs/{job}?mode=cancel"), &[], Vec::new()).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
}

/// How many jobs Libra has started for it.
async fn starts(api: &Api, id: &str) -> usize {
    events(api, id).await.iter().filter(|line| line.split(' ').nth(1) == Some("starts")).count()
}

#[tokio::test]
async fn what_dies_in_a_cluster_is_told_truthfully_and_comes_back_once() {
    // contract: F2, F3, F7
    let mut cluster = FlinkCluster::start().await;
    let libra = with_flink(&cluster, &programs()).start().await;
    let api = libra.api();
    let watch = Watch::begin(&cluster, "survivor");
    let progress = libra.scratch("progress");
    apply(&api, &counter("survivor", &progress)).await;
    let first = stable(&api, "survivor").await;

    cluster.kill_task_manager();
    let hurt = until(&api, "survivor", "no longer called stable", |view| view["stable"] == false).await;
    assert_eq!(hurt["jobId"], first["jobId"], "Flink restarts it by itself: {hurt:#}");
    cluster.start_task_manager().await;
    let healed = stable(&api, "survivor").await;
    assert_eq!((&healed["jobId"], starts(&api, "survivor").await), (&first["jobId"], 1), "{healed:#}");
    counts_on(&progress).await;

    cluster.kill_job_manager();
    let gone =
        until(&api, "survivor", "known to be unreachable", |view| !view["unreachableSince"].is_null()).await;
    assert_eq!(gone["stable"], false, "nobody knows: {gone:#}");
    // Specifications can be read, changed and planned meanwhile.
    let mut changed = counter("survivor", &progress);
    changed["args"][3] = json!("40");
    assert_eq!(apply(&api, &changed).await, "savepoint-redeploy");
    tokio::time::sleep(Duration::from_secs(20)).await;
    cluster.start_job_manager().await;
    let back = stable(&api, "survivor").await;
    assert_ne!(back["jobId"], first["jobId"], "{back:#}");
    assert_eq!((&back["generation"], &back["unreachableSince"]), (&json!(2), &Value::Null), "{back:#}");
    assert_eq!(starts(&api, "survivor").await, 2, "once: {:#?}", events(&api, "survivor").await);
    assert_eq!(alive(&cluster, "survivor").await, [back["jobId"].as_str().unwrap()]);
    counts_on(&progress).await;
    let lines = flink::assert_unbroken(&progress);
    assert_one_after_another(&lines);
    let again = lines.iter().rev().find(|line| line.mark == flink::Mark::First).unwrap();
    assert!(again.value > 0, "it went on from a checkpoint: {again:?}");
    watch.end("survivor");
}

#[tokio::test]
async fn a_job_that_is_cancelled_behind_libras_back_comes_back_with_its_state() {
    // contract: F2
    let cluster = FlinkCluster::shared().await;
    let libra = with_flink(cluster, &programs()).start().await;
    let api = libra.api();
    let watch = Watch::begin(cluster, "meddled");
    let progress = libra.scratch("progress");
    apply(&api, &counter("meddled", &progress)).await;
    let first = stable(&api, "meddled").await;
    cancel(cluster, first["jobId"].as_str().unwrap()).await;
    let back =
        until(&api, "meddled", "back", |view| view["stable"] == true && view["jobId"] != first["jobId"])
            .await;
    assert_eq!(back["trouble"], Value::Null, "{back:#}");
    assert!(told(&api, "meddled", "ended_from_outside").await);
    counts_on(&progress).await;
    assert_one_after_another(&flink::assert_unbroken(&progress));
    assert_eq!(starts(&api, "meddled").await, 2);
    assert_eq!(back["run"], first["run"], "what is brought back is the same job: {back:#}");
    let run = api.get(&format!("/api/v1/jobs/{}", back["run"].as_str().unwrap())).await.expect(200);
    let attempts = run["attempts"].as_array().unwrap();
    let ids: Vec<&Value> = attempts.iter().map(|attempt| &attempt["applicationId"]).collect();
    assert_eq!((&run["status"], ids), (&json!("RUNNING"), vec![&first["jobId"], &back["jobId"]]), "{run:#}");
    assert_eq!(attempts[0]["error"]["code"], "ended_from_outside", "{run:#}");
    watch.end("meddled");
    api.delete("/api/v1/deployments/meddled?savepoint=false").await.expect(202);
    wait::until_async("its place is free", async || alive(cluster, "meddled").await.is_empty()).await;
}

#[tokio::test]
async fn a_foreign_job_of_the_same_name_is_left_alone_and_waited_for() {
    // contract: F2
    let cluster = FlinkCluster::shared().await;
    let libra = with_flink(cluster, &programs()).start().await;
    let api = libra.api();
    let foreign = run_by_hand(cluster, "namesake").await;
    let progress = libra.scratch("progress");
    apply(&api, &counter("namesake", &progress)).await;
    let blocked = until(&api, "namesake", "blocked", |view| view["state"] == "blocked").await;
    assert_eq!(blocked["trouble"]["reason"], "foreign_job", "{blocked:#}");
    assert!(blocked["trouble"]["message"].as_str().unwrap().contains(&foreign), "{blocked:#}");
    assert!(blocked["trouble"]["hint"].as_str().unwrap().contains("cancel"), "{blocked:#}");
    assert_eq!(alive(cluster, "namesake").await, [foreign.as_str()]);
    cancel(cluster, &foreign).await;
    let now = stable(&api, "namesake").await;
    assert_eq!(view(&api, "namesake").await["trouble"], Value::Null, "{now:#}");
    assert_eq!(alive(cluster, "namesake").await, [now["jobId"].as_str().unwrap()]);
    api.delete("/api/v1/deployments/namesake?savepoint=false").await.expect(202);
    wait::until_async("its place is free", async || alive(cluster, "namesake").await.is_empty()).await;
}
