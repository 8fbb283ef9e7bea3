//! Deployments on a real Flink: declared, planned, changed with their state, rolled back, suspended, deleted.

use std::path::{Path, PathBuf};

use libra_testkit::flink::{self, FlinkCluster};
use libra_testkit::{Api, Libra, Setup, wait};
use serde_json::{Value, json};

use crate::surroundings::setup;

/// One after another, with their state.
const REDEPLOYS: u64 = 20;

/// A Libra that knows a cluster and a directory with programs.
pub fn with_flink(cluster: &FlinkCluster, programs: &Path) -> Setup {
    setup().env("LIBRA_EXECUTION_MODES_IN_CLUSTER_ENABLED", "false").config(format!(
        "libra:\n  flink:\n    clusters: [{{name: main, url: \"{}\"}}]\n    artifacts: {{directories: [\"{}\"]}}\n",
        cluster.url(),
        programs.display()
    ))
}

/// Where the test's programs are.
pub fn programs() -> PathBuf {
    flink::jobs_jar().parent().unwrap().to_owned()
}

/// A counter that checkpoints often and counts as well after a moment.
pub fn counter(id: &str, progress: &Path) -> Value {
    json!({
        "job_id": id,
        "job_type": "stream",
        "artifact_path": flink::jobs_jar(),
        "entry_class": "libra.jobs.Counter",
        "args": ["--progress", progress, "--every", "50", "--rate", "200"],
        "deployment": {"checkpoint_interval": 300, "restart_strategy": "fixed-delay", "max_restart_attempts": 100,
            "restart_delay": 200},
        "stability": {"checkpoints": 2, "window_seconds": 1},
    })
}

/// The view of a deployment.
pub async fn view(api: &Api, id: &str) -> Value {
    api.get(&format!("/api/v1/deployments/{id}")).await.expect(200)
}

/// Applies a specification, and gives the plan's kind.
pub async fn apply(api: &Api, spec: &Value) -> String {
    let answer = api.post("/api/v1/deployments", spec).await;
    assert!([200, 201].contains(&answer.status), "{}", answer.text);
    answer.json()["plan"]["kind"].as_str().unwrap().to_owned()
}

/// Waits until a deployment is as it should be; what happened to it is told when it never is.
pub async fn until(api: &Api, id: &str, what: &str, right: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    for _ in 0..1_200 {
        last = view(api, id).await;
        if right(&last) {
            return last;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("{id} never came to be {what}: {last:#}\n{}", events(api, id).await.join("\n"));
}

/// Waits until the newest generation is stable.
pub async fn stable(api: &Api, id: &str) -> Value {
    until(api, id, "stable", |view| view["stable"] == true && view["runningGeneration"] == view["generation"])
        .await
}

/// What has happened, in words.
pub async fn events(api: &Api, id: &str) -> Vec<String> {
    let page = api.get(&format!("/api/v1/deployments/{id}/events?limit=1000")).await.expect(200);
    let line = |event: &Value| {
        let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
        format!("{} {} {}", text("at"), text("kind"), text("message"))
    };
    page["events"].as_array().unwrap().iter().map(line).collect()
}

/// True once an event of this kind was told.
pub async fn told(api: &Api, id: &str, kind: &str) -> bool {
    events(api, id).await.iter().any(|line| line.split(' ').nth(1) == Some(kind))
}

/// Jobs of a name that are not at an end.
pub async fn alive(cluster: &FlinkCluster, name: &str) -> Vec<String> {
    let ended = ["FINISHED", "CANCELED", "FAILED"];
    let jobs = cluster.jobs().await;
    jobs.into_iter()
        .filter(|job| job.name == name && !ended.contains(&job.state.as_str()))
        .map(|job| job.id)
        .collect()
}

/// Forgets a deployment, so that its slots are free.
pub async fn away(api: &Api, cluster: &FlinkCluster, id: &str) {
    api.delete(&format!("/api/v1/deployments/{id}?savepoint=false")).await.expect(202);
    wait::until_async("its place is free", async || alive(cluster, id).await.is_empty()).await;
}

async fn start() -> (&'static FlinkCluster, Libra) {
    let cluster = FlinkCluster::shared().await;
    let libra = with_flink(cluster, &programs()).start().await;
    (cluster, libra)
}

#[tokio::test]
async fn a_change_takes_the_state_along_and_nothing_is_counted_twice() {
    // contract: F1, F2, F3
    let (cluster, libra) = start().await;
    let api = libra.api();
    let progress = libra.scratch("progress");
    let mut spec = counter("orders", &progress);
    let planned = api.post("/api/v1/deployments/plan", &spec).await.expect(200);
    assert_eq!(
        (&planned["kind"], &planned["version"]),
        (&json!("first-deploy"), &Value::Null),
        "{planned:#}"
    );
    api.get("/api/v1/deployments/orders").await.expect(404);

    assert_eq!(apply(&api, &spec).await, "first-deploy");
    let first = stable(&api, "orders").await;
    assert_eq!((&first["generation"], &first["state"]), (&json!(1), &json!("stable")), "{first:#}");
    assert_eq!(alive(cluster, "orders").await, [first["jobId"].as_str().unwrap()]);
    assert_eq!(apply(&api, &spec).await, "none", "nothing has changed");
    assert_eq!(view(&api, "orders").await["generation"], 1);

    for generation in 2..=1 + REDEPLOYS {
        spec["args"][3] = json!(format!("{}", 40 + generation));
        assert_eq!(apply(&api, &spec).await, "savepoint-redeploy");
        let now = stable(&api, "orders").await;
        assert_eq!(now["generation"], generation, "{now:#}");
        assert!(now["lastSavepoint"].as_str().unwrap().contains("orders"), "{now:#}");
        assert_eq!(alive(cluster, "orders").await, [now["jobId"].as_str().unwrap()], "one and no other");
    }
    flink::assert_nothing_twice(&progress);

    api.post("/api/v1/deployments/orders/suspend", &json!({})).await.expect(202);
    let suspended = until(&api, "orders", "suspended", |view| view["state"] == "suspended").await;
    assert_eq!(
        (&suspended["jobId"], &suspended["desired"]),
        (&Value::Null, &json!("suspended")),
        "{suspended:#}"
    );
    assert_eq!(alive(cluster, "orders").await, [""; 0]);
    api.post("/api/v1/deployments/orders/resume", &json!({})).await.expect(202);
    stable(&api, "orders").await;
    api.post("/api/v1/deployments/orders/savepoint", &json!({})).await.expect(202);
    let before = suspended["lastSavepoint"].clone();
    until(&api, "orders", "saved once more", |view| view["lastSavepoint"] != before).await;
    flink::assert_nothing_twice(&progress);

    api.delete("/api/v1/deployments/orders").await.expect(202);
    wait::until_async("it is forgotten", async || api.get("/api/v1/deployments/orders").await.status == 404)
        .await;
    assert_eq!(alive(cluster, "orders").await, [""; 0]);
}

#[tokio::test]
async fn a_bad_version_is_rolled_back_with_its_state() {
    // contract: F3
    let (cluster, libra) = start().await;
    let api = libra.api();
    let progress = libra.scratch("progress");
    let good = counter("bills", &progress);
    apply(&api, &good).await;
    stable(&api, "bills").await;
    let mut bad = good.clone();
    bad["args"].as_array_mut().unwrap().push(json!("--fail-always"));
    bad["args"].as_array_mut().unwrap().push(json!("1"));
    // It restarts again and again, which is enough: nothing is waited for until a time is over.
    apply(&api, &bad).await;
    wait::until_async("it is rolled back", async || told(&api, "bills", "rolled_back").await).await;
    let back = until(&api, "bills", "as it was", |view| {
        view["runningGeneration"] == 1 && view["generation"] == 2 && view["state"] == "stable"
    })
    .await;
    assert_eq!(back["stableGeneration"], 1, "{back:#}");
    assert_eq!(back["stable"], false, "the wanted generation is not the stable one: {back:#}");
    assert!(!back["trouble"].is_null(), "{back:#}");
    assert_eq!(alive(cluster, "bills").await, [back["jobId"].as_str().unwrap()]);
    flink::assert_unbroken(&progress);
    away(&api, cluster, "bills").await;
}

#[tokio::test]
async fn going_back_without_a_number_passes_over_what_was_never_stable() {
    // contract: F3
    let (cluster, libra) = start().await;
    let api = libra.api();
    let mut spec = counter("backwards", &libra.scratch("progress"));
    apply(&api, &spec).await;
    stable(&api, "backwards").await;
    let none = api.post("/api/v1/deployments/backwards/rollback", &json!({})).await.expect(409);
    assert_eq!(none["error"], "not_applicable", "{none:#}");

    let mut bad = spec.clone();
    bad["entry_class"] = json!("libra.jobs.Absent");
    apply(&api, &bad).await;
    wait::until_async("it is rolled back", async || told(&api, "backwards", "rolled_back").await).await;
    spec["args"][3] = json!("60");
    apply(&api, &spec).await;
    stable(&api, "backwards").await;

    let back = api.post("/api/v1/deployments/backwards/rollback", &json!({})).await.expect(202);
    assert_eq!(back["generation"], 3, "{back:#}");
    until(&api, "backwards", "the first again", |view| {
        view["stable"] == true && view["runningGeneration"] == 1
    })
    .await;
    let page = api.get("/api/v1/deployments/backwards/generations").await.expect(200);
    let marks: Vec<(bool, bool)> = page["generations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["stableAt"].is_string(), one["givenUpAt"].is_string()))
        .collect();
    assert_eq!(marks, [(true, false), (false, true), (true, false)], "{page:#}");
    api.post("/api/v1/deployments/backwards/rollback", &json!({})).await.expect(409);
    away(&api, cluster, "backwards").await;
}
