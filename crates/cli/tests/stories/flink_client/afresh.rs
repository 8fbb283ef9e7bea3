//! A JobManager that is killed comes back empty, and other clusters than the default one.

use super::*;

/// The newest whole checkpoint of a job that is on disk.
fn newest_checkpoint(cluster: &FlinkCluster, job: FlinkId) -> String {
    let entries = cluster.checkpoints().join(job.to_string()).read_dir().unwrap();
    let whole = entries.map(|entry| entry.unwrap().path()).filter(|path| path.join("_metadata").is_file());
    let number = |path: &PathBuf| -> u64 {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.strip_prefix("chk-").unwrap().parse().unwrap()
    };
    format!("file://{}", whole.max_by_key(number).unwrap().display())
}

#[tokio::test]
async fn a_new_life_of_the_jobmanager_has_its_mark_and_no_jobs() {
    // Its own file makes checkpoints, so that a job without any has to say so.
    let mut cluster = flink::Setup::new().setting("execution.checkpointing.interval", "100 ms").start().await;
    let client = client(&cluster);
    let mut without = counter(&cluster, "without").0;
    let spec = r#"{"job_id": "without", "artifact_path": "a.jar", "job_type": "stream", "deployment": {"checkpoint_interval": 0}}"#;
    let normal = libra_core::deployment::normal::Normal::of(&serde_json::from_str(spec).unwrap(), None);
    without.flink_configuration = libra_core::deployment::flink_config::flink_configuration(&normal, None);
    let without = started(&client, &without).await;

    let (run, progress) = counter(&cluster, "survives");
    let job = started(&client, &run).await;
    let trigger = fresh();
    client.savepoint(job, trigger, &directory(&cluster, "survives")).await.unwrap();
    savepoint_of(until_settled(&client, job, trigger).await);
    until_counting(&progress).await;
    let counts = async |job| client.checkpoints(job).await.unwrap().counts.completed;
    let wanted = counts(job).await + 2;
    wait::until_async("it has newer checkpoints", async || counts(job).await >= wanted).await;
    assert_eq!(counts(without).await, 0);

    let before = client.settings().await.unwrap();
    assert_eq!((before.heartbeat_timeout_ms, before.high_availability), (Some(6_000), false));
    assert_eq!(before.checkpoints, Some(format!("file://{}", cluster.checkpoints().display())));
    cluster.kill_job_manager();
    assert!(matches!(client.jobs().await, Err(Error::Unreachable(_))));
    cluster.start_job_manager().await;
    let after = client.settings().await.unwrap();
    assert!(
        before.life.is_some() && after.life.is_some() && before.life != after.life,
        "{before:?} {after:?}"
    );
    assert_eq!(client.jobs().await.unwrap(), []);
    assert_eq!(client.poll(job, trigger).await.unwrap(), Trigger::Unknown);
    let now = seen(&client, "survives", job, None).await;
    assert_eq!((now.life, now.jobs, now.jars.len()), (after.life, vec![], 1), "its uploads are on disk");

    cluster.ready().await;
    let job = started(&client, &again(&run, &newest_checkpoint(&cluster, job))).await;
    let first = || flink::progress(&progress).into_iter().find(|line| line.job == job.to_string());
    let first = wait::until("it counts", first).await;
    assert!(first.mark == flink::Mark::First && first.value > 0, "{first:?}");
    flink::assert_unbroken(&progress);
    cancelled(&client, job).await;
}

#[tokio::test]
async fn only_the_adaptive_scheduler_rescales_in_place() {
    let features = client(FlinkCluster::shared().await).features().await.unwrap();
    assert!(features.web_submit && features.web_cancel && !features.web_rescale, "{features:?}");
    let adaptive =
        flink::Setup::new().task_managers(0).setting("jobmanager.scheduler", "adaptive").start().await;
    let features = client(&adaptive).features().await.unwrap();
    assert!(features.web_submit && features.web_rescale, "{features:?}");
    let overview = client(&adaptive).overview().await.unwrap();
    assert_eq!((overview.slots_total, overview.flink_version.as_str()), (0, "2.3.0"));
}
