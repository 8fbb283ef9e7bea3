//! What is told of a job that runs, on a real Flink: it was restarted, it does not keep up, and does again.

use std::fs;

use libra_testkit::{Api, FlinkCluster, flink, wait};
use serde_json::{Value, json};

use crate::deployments::{alive, apply, away, counter, events, programs, stable, with_flink};
use crate::webhooks::{Answer, Target};

/// The bodies of the messages about a deployment.
fn bodies(target: &Target, id: &str) -> Vec<Value> {
    let all = target.came().into_iter().map(|came| serde_json::from_str::<Value>(&came.body).unwrap());
    all.filter(|body| body["deployment"] == id).collect()
}

async fn hears(target: &Target, id: &str, kind: &str) -> Value {
    let found = || bodies(target, id).into_iter().find(|body| body["kind"] == kind);
    wait::until(&format!("{id}: {kind}"), found).await
}

async fn gone(api: &Api, cluster: &FlinkCluster, id: &str) {
    api.delete(&format!("/api/v1/deployments/{id}?savepoint=false")).await.expect(202);
    wait::until_async("it is gone", async || alive(cluster, id).await.is_empty()).await;
}

#[tokio::test]
async fn a_job_that_is_restarted_or_does_not_keep_up_is_told_to_whoever_wants_to_know() {
    // contract: F5, A12
    let cluster = FlinkCluster::shared().await;
    let target = Target::new(Answer::Status(200));
    let libra = with_flink(cluster, &programs()).env("LIBRA_WEBHOOKS_ALLOW_PRIVATE", "true").start().await;
    let api = libra.api();

    let mut slow = counter("slowing", &libra.scratch("slowing"));
    for wrong in ["gopher://a.example/", "no address"] {
        slow["monitoring"] = json!({"webhook": wrong});
        let answer = api.post("/api/v1/deployments", &slow).await;
        assert_eq!((answer.status, answer.pointers()), (400, vec!["/monitoring/webhook".to_owned()]));
    }
    let brake = libra.scratch("brake");
    slow["args"] = json!(["--rate", "1000", "--slow-while", brake]);
    slow["monitoring"] = json!({"webhook": target.url, "alert_on_backpressure": true});
    apply(&api, &slow).await;
    let job = stable(&api, "slowing").await["jobId"].clone();
    fs::write(&brake, "").unwrap();

    let mut flaky = counter("flaky", &libra.scratch("flaky"));
    flaky["args"] = json!(["--rate", "200", "--fail-after", "400"]);
    flaky["monitoring"] = json!({"webhook": target.url});
    apply(&api, &flaky).await;
    let restarted = hears(&target, "flaky", "restarted").await;
    assert_eq!((&restarted["alert"], &restarted["generation"]), (&json!("failure"), &json!(1)));
    let message = restarted["message"].as_str().unwrap();
    assert!(message.contains("it fails after 400 records, on purpose"), "{message}");
    assert!(restarted["jobId"].as_str().unwrap().starts_with("job-"), "{restarted}");
    gone(&api, cluster, "flaky").await;

    let doomed = json!({
        "job_id": "doomed",
        "job_type": "batch",
        "artifact_path": flink::jobs_jar(),
        "entry_class": "libra.jobs.BadMain",
        "monitoring": {"webhook": target.url},
    });
    apply(&api, &doomed).await;
    for kind in ["given_up", "run_failed"] {
        let message = hears(&target, "doomed", kind).await["message"].to_string();
        assert!(message.contains("main()"), "{message}");
    }
    gone(&api, cluster, "doomed").await;

    // A minute later.
    let held_back = hears(&target, "slowing", "held_back").await;
    assert_eq!(held_back["alert"], "backpressure");
    assert!(held_back["message"].as_str().unwrap().contains("numbers"), "{held_back}");
    fs::remove_file(&brake).unwrap();
    hears(&target, "slowing", "keeps_up").await;
    assert_eq!(stable(&api, "slowing").await["jobId"], job, "nothing was done to it");
    let told = events(&api, "slowing").await;
    for words in ["the job does not keep up", "the job keeps up again"] {
        assert_eq!(told.iter().filter(|line| line.contains(words)).count(), 1, "{told:#?}");
    }
    away(&api, cluster, "slowing").await;
}
