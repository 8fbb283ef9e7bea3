//! Flink does what it is asked, and Libra does not hear of it: nothing is done twice, and everything gets done.

use std::path::Path;
use std::time::Duration;

use libra_testkit::flink::{self, FlinkCluster};
use libra_testkit::{Libra, wait};
use serde_json::json;

use crate::deployment_faults::Watch;
use crate::deployments::{alive, apply, counter, programs, stable, until, view};
use crate::proxy::{Fault, Proxy};
use crate::surroundings::submit_only;

/// Longer than Libra waits for an answer.
const TOO_LATE: Duration = Duration::from_secs(12);

async fn behind(proxy: &Proxy, programs: &Path) -> Libra {
    let config = format!(
        "libra:\n  flink:\n    clusters: [{{name: main, url: \"{}\"}}]\n    artifacts: {{directories: [\"{}\"]}}\n",
        proxy.url(),
        programs.display()
    );
    submit_only().config(config).start().await
}

/// A deployment from its beginning to its end, where the first answers on everything that changes something are broken.
async fn goes_on_without(fault: Fault, name: &str) {
    let cluster = FlinkCluster::shared().await;
    let proxy = Proxy::before(&cluster.url()).await;
    let libra = behind(&proxy, &programs()).await;
    let (api, id) = (libra.api(), name);
    let watch = Watch::begin(cluster, id);
    let progress = libra.scratch("progress");
    let mut spec = counter(id, &progress);
    spec["artifact_path"] = json!(flink::jobs_jar_version(name));
    proxy.breaks("POST", "/jars/upload", fault, 1);
    proxy.breaks("POST", "/run", fault, 1);
    apply(&api, &spec).await;
    stable(&api, id).await;

    proxy.breaks("POST", "/savepoints", fault, 1);
    api.post(&format!("/api/v1/deployments/{id}/savepoint"), &json!({})).await.expect(202);
    let saved = until(&api, id, "saved", |view| !view["lastSavepoint"].is_null()).await;

    proxy.breaks("POST", "/stop", fault, 1);
    proxy.breaks("POST", "/run", fault, 1);
    spec["args"][3] = json!("60");
    assert_eq!(apply(&api, &spec).await, "savepoint-redeploy");
    let second = stable(&api, id).await;
    assert_ne!(second["lastSavepoint"], saved["lastSavepoint"], "{second:#}");
    assert_eq!(alive(cluster, id).await, [second["jobId"].as_str().unwrap()]);
    flink::assert_nothing_twice(&progress);

    proxy.breaks("PATCH", second["jobId"].as_str().unwrap(), fault, 1);
    api.delete(&format!("/api/v1/deployments/{id}?savepoint=false")).await.expect(202);
    wait::until_async("it is gone", async || {
        api.get(&format!("/api/v1/deployments/{id}")).await.status == 404
    })
    .await;
    assert_eq!(alive(cluster, id).await, [""; 0]);
    proxy.assert_all_broken();
    watch.end(name);
}

#[tokio::test]
async fn lost_answers_cost_time_and_nothing_else() {
    // contract: F2, F7
    goes_on_without(Fault::Lost, "lost").await;
}

#[tokio::test]
#[ignore = "a drill: make drills"]
async fn drill_whatever_comes_in_place_of_an_answer_nothing_is_done_twice() {
    // contract: F2, F7
    goes_on_without(Fault::Status(500), "error500").await;
    goes_on_without(Fault::Status(502), "error502").await;
    goes_on_without(Fault::Status(404), "error404").await;
    goes_on_without(Fault::Garbage, "garbage").await;
    goes_on_without(Fault::Late(TOO_LATE), "late").await;
}

#[tokio::test]
async fn a_page_in_place_of_an_answer_starts_nothing_twice() {
    // contract: F2, F7
    let cluster = FlinkCluster::shared().await;
    let proxy = Proxy::before(&cluster.url()).await;
    let libra = behind(&proxy, &programs()).await;
    let api = libra.api();
    let watch = Watch::begin(cluster, "pages");
    let progress = libra.scratch("progress");
    let mut spec = counter("pages", &progress);
    // The program is still at work while somebody else has answered for it.
    spec["entry_class"] = json!("libra.jobs.SlowMain");
    spec["args"].as_array_mut().unwrap().extend([json!("--ms"), json!("3000")]);
    proxy.breaks("POST", "/run", Fault::Early(404), 1);
    proxy.breaks("GET", "/jobs/overview", Fault::Lost, 1);
    proxy.breaks("GET", "/jobs/overview", Fault::Garbage, 1);
    proxy.breaks("GET", "/jars", Fault::Status(503), 1);
    proxy.breaks("POST", "/stop", Fault::Garbage, 1);
    apply(&api, &spec).await;
    stable(&api, "pages").await;
    api.post("/api/v1/deployments/pages/suspend", &json!({})).await.expect(202);
    until(&api, "pages", "suspended", |view| view["state"] == "suspended").await;
    assert_eq!(alive(cluster, "pages").await, [""; 0]);
    api.post("/api/v1/deployments/pages/resume", &json!({})).await.expect(202);
    let back = stable(&api, "pages").await;
    assert_eq!(view(&api, "pages").await["unreachableSince"], json!(null), "{back:#}");
    flink::assert_nothing_twice(&progress);
    proxy.assert_all_broken();
    watch.end("pages");
    api.delete("/api/v1/deployments/pages?savepoint=false").await.expect(202);
    wait::until_async("its place is free", async || alive(cluster, "pages").await.is_empty()).await;
}
