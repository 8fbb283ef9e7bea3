//! What `flink_configuration` writes of a deployment, as Flink takes it.

use libra_core::deployment::flink_config::flink_configuration;
use libra_core::deployment::normal::Normal;
use serde_json::{Value, json};

use super::*;

/// The settings of a deployment with these fields.
fn settings(name: &str, mut fields: Value) -> RunRequest {
    fields["job_id"] = json!(name);
    fields["artifact_path"] = json!("jobs.jar");
    let normal = Normal::of(&serde_json::from_value(fields).unwrap(), None);
    let flink_configuration = flink_configuration(&normal, None);
    RunRequest { job_id: Some(fresh()), flink_configuration, ..RunRequest::default() }
}

async fn page(cluster: &FlinkCluster, job: FlinkId, page: &str) -> Value {
    cluster.api().get(&format!("/jobs/{job}/{page}")).await.expect(200)
}

#[tokio::test]
async fn a_batch_job_has_its_name_and_runs_as_one() {
    let cluster = FlinkCluster::shared().await;
    let client = client(cluster);
    let jar = uploaded(&client, &flink::jobs_jar()).await;
    let out = cluster.dir().join("sums");
    let mut run = settings("sums", json!({"job_type": "batch"}));
    run.entry_class = Some("libra.jobs.Batch".to_owned());
    run.program_args_list = ["--records", "100", "--out", out.to_str().unwrap()].map(str::to_owned).into();
    let job = client.run(&jar, &run).await.unwrap();
    until_state(&client, job, JobState::Finished).await;
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "SUM 5050\n", "a line each, were it streaming");
    assert_eq!(line(&client, job).await.unwrap().name, "sums");
    // There is no page about checkpoints, and that is no trouble.
    assert_eq!(of(&seen(&client, "sums", job, None).await, job).checkpoints, 0);

    let refused = client.run(&jar, &settings("endless", json!({"job_type": "batch"}))).await.unwrap_err();
    assert!(matches!(&refused, Error::MainFailed(words) if words.contains("UNBOUNDED")), "{refused:?}");
}

#[tokio::test]
async fn checkpoints_are_made_as_the_deployment_says() {
    let cluster = FlinkCluster::shared().await;
    let client = client(cluster);
    let stream = json!({"checkpoint_timeout": 60_000, "min_pause_between_checkpoints": 100,
        "max_concurrent_checkpoints": 2});
    let fields =
        json!({"job_type": "stream", "deployment": {"checkpoint_interval": 200}, "stream_config": stream});
    let job = started(&client, &settings("checkpointed", fields)).await;
    let told = page(cluster, job, "checkpoints/config").await;
    let numbers =
        ["interval", "timeout", "min_pause", "max_concurrent"].map(|key| told[key].as_u64().unwrap());
    assert_eq!(numbers, [200, 60_000, 100, 2]);
    let counted = async || client.checkpoints(job).await.unwrap().counts.completed;
    wait::until_async("it has checkpoints", async || counted().await > 2).await;
    cancelled(&client, job).await;
    let kept = of(&seen(&client, "checkpointed", job, None).await, job).checkpoint.clone().unwrap();
    assert!(local(&kept.path).join("_metadata").is_file(), "the last one is left: {kept:?}");
}

#[tokio::test]
async fn a_job_without_checkpoints_still_makes_savepoints() {
    let cluster = FlinkCluster::shared().await;
    let client = client(cluster);
    let fields = json!({"job_type": "stream", "deployment": {"checkpoint_interval": 0}});
    let job = started(&client, &settings("unkept", fields)).await;
    let told = page(cluster, job, "checkpoints/config").await;
    assert_eq!(told["interval"], i64::MAX, "Flink's way to say none");
    let trigger = fresh();
    client.stop(job, trigger, &directory(cluster, "unkept"), false).await.unwrap();
    savepoint_of(until_settled(&client, job, trigger).await);
}

#[tokio::test]
async fn every_restart_strategy_is_taken() {
    let cluster = FlinkCluster::shared().await;
    let client = client(cluster);
    for (deployment, words) in [
        (
            json!({}),
            "Restart with exponential delay: starting at PT1S, increasing by 1.500000, with maximum PT1M.",
        ),
        (json!({"restart_delay": 0}), "Restart with exponential delay: starting at PT0.001S"),
        (
            json!({"restart_strategy": "exponential-delay", "max_restart_attempts": 7, "restart_delay": "5m"}),
            "Restart with exponential delay: starting at PT5M, increasing by 1.500000, with maximum PT5M.",
        ),
        (
            json!({"restart_strategy": "failure-rate", "max_restart_attempts": 4, "restart_delay": "1m"}),
            "Failure rate restart with maximum of 4 failures within interval PT8M and fixed delay PT1M.",
        ),
        (
            json!({"restart_strategy": "failure-rate", "restart_delay": 0}),
            "Failure rate restart with maximum of 3 failures within interval PT1M and fixed delay PT0S.",
        ),
        (
            json!({"restart_strategy": "fixed-delay", "max_restart_attempts": 5, "restart_delay": 1000}),
            "Restart with fixed delay (PT1S). #5 restart attempts.",
        ),
        (
            json!({"restart_strategy": "fixed-delay"}),
            "Restart with fixed delay (PT10S). #3 restart attempts.",
        ),
        (json!({"restart_strategy": "fixed-delay", "max_restart_attempts": 0}), "Restart deactivated."),
    ] {
        let advanced = json!({"classloader_resolve_order": "parent-first", "network_buffer_timeout": 0});
        let fields = json!({"job_type": "stream", "deployment": deployment, "advanced": advanced});
        let job = started(&client, &settings("restarts", fields)).await;
        let told = page(cluster, job, "config").await["execution-config"]["restart-strategy"].clone();
        assert!(told.as_str().unwrap().starts_with(words), "{deployment}: {told}");
        cancelled(&client, job).await;
    }
}

#[tokio::test]
async fn a_job_that_always_fails_never_runs_and_is_never_at_an_end() {
    let cluster = FlinkCluster::shared().await;
    let client = client(cluster);
    let jar = uploaded(&client, &flink::jobs_jar()).await;
    let deployment =
        json!({"restart_strategy": "fixed-delay", "max_restart_attempts": 1000, "restart_delay": 10});
    let mut run = settings("fails", json!({"job_type": "stream", "deployment": deployment}));
    run.program_args_list = vec!["--fail-always".to_owned()];
    let job = client.run(&jar, &run).await.unwrap();
    let look = async || of(&seen(&client, "fails", job, None).await, job).clone();
    wait::until_async("it has failed often", async || {
        let now = look().await;
        assert!(
            !now.all_tasks_run && [JobState::Running, JobState::Restarting].contains(&now.state),
            "{now:?}"
        );
        now.exceptions > 3
    })
    .await;
    assert!(look().await.failure.unwrap().contains("it fails always, on purpose"));
    cancelled(&client, job).await;
}
