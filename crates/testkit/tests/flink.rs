//! The Flink for tests is a real one: it can be killed and comes back, and it is gone afterwards.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use libra_testkit::{FlinkCluster, flink, processes, wait};
use serde_json::json;

#[tokio::test]
async fn a_cluster_counts_through_the_loss_of_its_daemons() {
    let mut cluster = FlinkCluster::start().await;
    let progress = cluster.dir().join("progress");
    let api = cluster.api();
    // By the hand of a test, as the kit has no client: one part of a multipart body.
    let jar = std::fs::read(flink::jobs_jar()).unwrap();
    let head = "--x\r\nContent-Disposition: form-data; name=\"jarfile\"; filename=\"jobs.jar\"\r\nContent-Type: application/x-java-archive\r\n\r\n";
    let body = [head.as_bytes(), &jar, b"\r\n--x--\r\n"].concat();
    let kind = [("content-type", "multipart/form-data; boundary=x")];
    let uploaded = api.send("POST", "/jars/upload", &kind, body).await.expect(200);
    let id = uploaded["filename"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    let run = json!({
        "programArgsList": ["--progress", progress.to_str().unwrap(), "--every", "10", "--rate", "200"],
        "flinkConfiguration": {"execution.checkpointing.interval": "200 ms", "pipeline.name": "counts"},
    });
    let job =
        api.post(&format!("/jars/{id}/run"), &run).await.expect(200)["jobid"].as_str().unwrap().to_owned();
    wait::until_true("it counts", || flink::progress(&progress).len() > 5).await;
    assert_eq!(
        cluster.jobs().await,
        [flink::Job { id: job.clone(), name: "counts".into(), state: "RUNNING".into() }]
    );
    let page = format!("/jobs/{job}/checkpoints");
    let completed = async || api.get(&page).await.expect(200)["counts"]["completed"].as_u64().unwrap();
    // The one after the next was begun after the lines that were seen.
    let wanted = completed().await + 2;
    wait::until_async("it has checkpoints", async || completed().await >= wanted).await;

    cluster.kill_task_manager();
    cluster.start_task_manager().await;
    let starts = || -> Vec<u64> {
        let first = |line: &flink::Line| (line.mark == flink::Mark::First).then_some(line.value);
        flink::progress(&progress).iter().filter_map(first).collect()
    };
    wait::until_true("it begins again", || starts().len() == 2).await;
    flink::assert_unbroken(&progress);
    assert!(starts()[1] >= 10, "it began anew: {:?}", starts());

    let url = cluster.url();
    cluster.kill_job_manager();
    cluster.start_job_manager().await;
    assert_eq!(cluster.url(), url);
    assert_eq!(cluster.jobs().await, []);
    cluster.ready().await;

    let dir = cluster.dir().to_path_buf();
    assert_eq!(processes::working_below(&dir).len(), 2);
    drop(cluster);
    assert!(processes::working_below(&dir).is_empty());
    assert!(!dir.exists());
}

#[test]
fn versions_of_the_jobs_differ_in_their_digests() {
    let (first, second) = (flink::jobs_jar(), flink::jobs_jar_version("v2"));
    assert_ne!(flink::digest(&first), flink::digest(&second));
    assert_eq!(flink::jobs_jar(), first);
    assert!(std::fs::read_to_string(flink::text_jar()).is_ok(), "it is a text");
}
