//! Another number of subtasks for a job that runs, on a real Flink with the adaptive scheduler.

use libra_testkit::flink::{self, FlinkCluster, Setup};
use libra_testkit::{Api, wait};
use serde_json::{Value, json};

use crate::deployment_turns::jobs;
use crate::deployments::{apply, away, counter, events, programs, stable, told, until, with_flink};

/// Four slots, and a scheduler that can change the number of subtasks of a job that runs.
fn adaptive() -> Setup {
    Setup::new()
        .setting("jobmanager.scheduler", "adaptive")
        // By default it rests for half a minute between two changes.
        .setting("jobmanager.adaptive-scheduler.executing.cooldown-after-rescaling", "1 s")
        .setting("jobmanager.adaptive-scheduler.executing.resource-stabilization-timeout", "1 s")
}

/// Such a cluster.
pub async fn rescaling() -> FlinkCluster {
    adaptive().start().await
}

/// The subtasks of the parts of a deployment's job, in the order of the program.
async fn numbers(cluster: &FlinkCluster, view: &Value) -> Vec<u64> {
    let job = view["jobId"].as_str().unwrap();
    let vertices = cluster.api().get(&format!("/jobs/{job}")).await.expect(200)["vertices"].clone();
    vertices.as_array().unwrap().iter().filter_map(|vertex| vertex["parallelism"].as_u64()).collect()
}

/// The slots that the jobs of a deployment's runs count, or have counted, the newest first.
async fn slots(api: &Api, id: &str) -> Vec<u64> {
    jobs(api, id).await.iter().filter_map(|job| job["resourceRequirement"]["slots"].as_u64()).collect()
}

/// How often it was told that a job was rescaled.
async fn rescaled(api: &Api, id: &str) -> usize {
    events(api, id).await.iter().filter(|line| line.split(' ').nth(1) == Some("rescaled")).count()
}

#[tokio::test]
async fn a_job_gets_more_subtasks_and_fewer_and_is_not_stopped() {
    // contract: F2
    let cluster = rescaling().await;
    let libra = with_flink(&cluster, &programs()).start().await;
    let api = libra.api();
    let progress = libra.scratch("progress");
    let mut spec = counter("wider", &progress);
    spec["deployment"]["parallelism"] = json!(2);
    // The program says that its sink has three, and its source one.
    spec["args"].as_array_mut().unwrap().extend([json!("--sinks"), json!("3")]);
    apply(&api, &spec).await;
    let first = stable(&api, "wider").await;
    assert_eq!(numbers(&cluster, &first).await, [1, 2, 3]);

    for (generation, parallelism, parts) in [(2, 3, [1, 3, 3]), (3, 2, [1, 2, 3])] {
        spec["deployment"]["parallelism"] = json!(parallelism);
        let plan = api.post("/api/v1/deployments/plan", &spec).await.expect(200);
        assert_eq!(plan["kind"], "in-place", "{plan:#}");
        assert_eq!(apply(&api, &spec).await, "in-place");
        let now = stable(&api, "wider").await;
        assert_eq!(
            (&now["jobId"], &now["generation"]),
            (&first["jobId"], &json!(generation)),
            "the same job: {now:#}"
        );
        assert_eq!(rescaled(&api, "wider").await + 1, generation, "{:#?}", events(&api, "wider").await);
        assert_eq!(now["lastSavepoint"], Value::Null, "it was not stopped");
        assert_eq!(numbers(&cluster, &now).await, parts, "what the program says stays");
        flink::assert_unbroken(&progress);
    }
    assert_eq!(slots(&api, "wider").await, [2, 3, 2], "it counts as many as it is to have");

    // More is different: with its state, as ever.
    spec["deployment"]["parallelism"] = json!(1);
    spec["args"][3] = json!("51");
    assert_eq!(apply(&api, &spec).await, "savepoint-redeploy");
    let then = until(&api, "wider", "redeployed", |view| {
        view["runningGeneration"] == 4 && view["state"] == "stable"
    })
    .await;
    assert_ne!(then["jobId"], first["jobId"]);
    flink::assert_unbroken(&progress);
    // Flink counts none of that as a restart.
    assert!(!told(&api, "wider", "restarted").await);
    away(&api, &cluster, "wider").await;
}

#[tokio::test]
async fn slots_that_come_are_no_failure_of_the_job_that_takes_them() {
    // contract: F3, F5
    let setup = adaptive().setting("jobmanager.adaptive-scheduler.submission.resource-wait-timeout", "3 s");
    let mut cluster = setup.start().await;
    let libra = with_flink(&cluster, &programs()).start().await;
    let api = libra.api();
    let progress = libra.scratch("progress");
    let mut spec = counter("takes-all", &progress);
    spec["deployment"]["parallelism"] = json!(6);
    // Not one restart is forgiven, and it has to be quiet for long enough that the slots come in between.
    spec["stability"] = json!({"checkpoints": 3, "window_seconds": 30, "max_restarts": 0});
    spec["monitoring"] = json!({"alert_on_failure": true});
    apply(&api, &spec).await;
    let first = until(&api, "takes-all", "it runs", |view| view["state"] == "proving").await;
    wait::until_async("it has what there is", async || numbers(&cluster, &first).await == [1, 4]).await;
    cluster.start_task_manager().await;
    wait::until_async("it has what it wants", async || numbers(&cluster, &first).await == [1, 6]).await;
    let page = format!("/jobs/{}/metrics?get=numRestarts", first["jobId"].as_str().unwrap());
    wait::until_async("Flink calls that a restart", async || {
        cluster.api().get(&page).await.expect(200)[0]["value"].as_str().is_some_and(|count| count != "0")
    })
    .await;
    let now = stable(&api, "takes-all").await;
    assert_eq!((&now["jobId"], &now["generation"]), (&first["jobId"], &json!(1)), "the same job: {now:#}");
    assert!(!told(&api, "takes-all", "restarted").await, "{:#?}", events(&api, "takes-all").await);
    flink::assert_unbroken(&progress);
    away(&api, &cluster, "takes-all").await;
}

/// Libra dies when it has asked for more than the cluster has, and something else is wanted when it is back.
#[tokio::test]
async fn what_a_job_is_about_to_become_is_known_to_the_next_libra() {
    // contract: F2
    let cluster = rescaling().await;
    let setup = with_flink(&cluster, &programs());
    let mut libra = setup.start().await;
    let progress = libra.scratch("progress");
    let mut spec = counter("too-wide", &progress);
    spec["deployment"]["parallelism"] = json!(2);
    apply(&libra.api(), &spec).await;
    let first = stable(&libra.api(), "too-wide").await;

    libra.kill();
    libra.start(&setup.clone().env("LIBRA_FAILPOINT", "flink-rescale-done")).await;
    spec["deployment"]["parallelism"] = json!(6);
    let _ = libra.api().try_post("/api/v1/deployments", &spec).await;
    assert!(!libra.end().await.success());
    libra.start(&setup).await;
    let api = libra.api();
    spec["deployment"]["parallelism"] = json!(3);
    apply(&api, &spec).await;
    let now = stable(&api, "too-wide").await;
    assert_eq!((&now["jobId"], &now["generation"]), (&first["jobId"], &json!(3)), "the same job: {now:#}");
    assert_eq!(numbers(&cluster, &now).await, [1, 3]);
    assert_eq!(slots(&api, "too-wide").await, [3, 6, 2], "what it was in between was known");
    flink::assert_unbroken(&progress);
    away(&api, &cluster, "too-wide").await;
}

#[tokio::test]
#[ignore = "a drill: make drills"]
async fn drill_a_job_that_gets_fewer_slots_than_it_asks_for_runs_on_and_that_is_said() {
    // contract: F2
    let cluster = rescaling().await;
    let libra = with_flink(&cluster, &programs()).start().await;
    let api = libra.api();
    let progress = libra.scratch("progress");
    let mut spec = counter("short", &progress);
    spec["deployment"]["parallelism"] = json!(2);
    apply(&api, &spec).await;
    let first = stable(&api, "short").await;
    spec["deployment"]["parallelism"] = json!(6);
    assert_eq!(apply(&api, &spec).await, "in-place");
    // Flink has its time for it first.
    wait::until_async("that is said", async || told(&api, "short", "rescale_waits").await).await;
    let now = stable(&api, "short").await;
    assert_eq!((&now["jobId"], &now["generation"]), (&first["jobId"], &json!(2)), "the same job: {now:#}");
    assert_eq!(numbers(&cluster, &now).await, [1, 4], "all that there are");
    assert_eq!(slots(&api, "short").await, [6, 2], "what it is asked to have counts");

    spec["deployment"]["parallelism"] = json!(3);
    assert_eq!(apply(&api, &spec).await, "in-place");
    let now = stable(&api, "short").await;
    assert_eq!((&now["jobId"], &now["generation"]), (&first["jobId"], &json!(3)), "the same job: {now:#}");
    assert_eq!(numbers(&cluster, &now).await, [1, 3]);
    flink::assert_unbroken(&progress);
    away(&api, &cluster, "short").await;
}
