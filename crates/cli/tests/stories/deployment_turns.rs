//! Each run of a deployment is a job like any other: it waits for its turn, runs, ends with its reason.

use libra_testkit::{Api, FlinkCluster, Setup, flink, wait};
use serde_json::{Value, json};

use crate::deployments::{alive, apply, away, counter, programs, stable, until, view, with_flink};

/// The jobs of a deployment, the newest first.
pub async fn jobs(api: &Api, id: &str) -> Vec<Value> {
    let page = api.get(&format!("/api/v1/jobs?mode=flink&name={id}&limit=100")).await.expect(200);
    page["jobs"].as_array().unwrap().clone()
}

async fn job(api: &Api, id: &str) -> Value {
    api.get(&format!("/api/v1/jobs/{id}")).await.expect(200)
}

/// What a job was, and why, in order.
async fn history(api: &Api, id: &str) -> Vec<(String, String)> {
    let page = api.get(&format!("/api/v1/jobs/{id}/events")).await.expect(200);
    let text = |event: &Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
    let events = page["events"].as_array().unwrap_or_else(|| page.as_array().unwrap());
    events.iter().map(|event| (text(event, "to"), text(event, "reason"))).collect()
}

fn states(history: &[(String, String)]) -> Vec<&str> {
    history.iter().map(|(to, _)| to.as_str()).collect()
}

/// A cluster on which runs may hold so many slots.
fn with_slots(cluster: &FlinkCluster, slots: u32) -> Setup {
    let programs = programs();
    with_flink(cluster, &programs).config(format!(
        "libra:\n  flink:\n    clusters: [{{name: main, url: \"{}\", max-slots: {slots}}}]\n    artifacts: {{directories: [\"{}\"]}}\n",
        cluster.url(),
        programs.display()
    ))
}

async fn status(api: &Api, id: &str, wanted: &str) {
    wait::until_async(&format!("{id} is {wanted}"), async || job(api, id).await["status"] == wanted).await;
}

#[tokio::test]
async fn a_run_is_a_job_and_the_next_generation_takes_its_place() {
    // contract: F2, L2
    let cluster = FlinkCluster::shared().await;
    let mut libra = with_flink(cluster, &programs()).start().await;
    let api = libra.api();
    let mut spec = counter("ledger", &libra.scratch("progress"));
    apply(&api, &spec).await;
    let deployment = stable(&api, "ledger").await;
    let first = deployment["run"].as_str().unwrap().to_owned();
    let run = job(&api, &first).await;
    assert_eq!(
        (&run["status"], &run["executionMode"], &run["engine"], &run["name"], &run["cluster"]),
        (&json!("RUNNING"), &json!("flink"), &json!("flink"), &json!("ledger"), &json!("main")),
        "{run:#}"
    );
    assert_eq!(
        (&run["applicationId"], &run["resourceUsage"]["slots"]),
        (&deployment["jobId"], &json!(1)),
        "{run:#}"
    );
    assert_eq!(run["labels"], json!({"deployment": "ledger", "generation": "1"}), "{run:#}");
    let told = history(&api, &first).await;
    assert_eq!(states(&told), ["SUBMITTED", "VALIDATING", "QUEUED", "SCHEDULED", "RUNNING"], "{told:?}");
    let queue = api.get("/api/v1/queue").await.expect(200);
    let pool = queue["pools"].as_array().unwrap().iter().find(|pool| pool["name"] == "flink:main").unwrap();
    assert_eq!((&pool["held"]["slots"], &pool["running"]), (&json!(1), &json!(1)), "{queue:#}");

    spec["args"][3] = json!("51");
    apply(&api, &spec).await;
    let second = stable(&api, "ledger").await["run"].as_str().unwrap().to_owned();
    assert_eq!(jobs(&api, "ledger").await.len(), 2);
    let told = history(&api, &first).await;
    assert_eq!(told.last().unwrap(), &("CANCELLED".to_owned(), "replaced by generation 2".to_owned()));
    let told = history(&api, &second).await;
    assert_eq!(states(&told), ["SUBMITTED", "VALIDATING", "QUEUED", "SCHEDULED", "RUNNING"], "{told:?}");
    assert_eq!(told[3].1, "it takes the place of the run before it", "it has waited for nobody");

    // Another Libra goes on with the same job.
    libra.kill();
    libra.start(&with_flink(cluster, &programs())).await;
    let api = libra.api();
    assert_eq!(stable(&api, "ledger").await["run"], second.as_str());
    assert_eq!(job(&api, &second).await["status"], "RUNNING");

    // Who cancels the job wants that it does not run; its state is kept.
    let cancelled = api.delete(&format!("/api/v1/jobs/{second}")).await;
    assert!([200, 202].contains(&cancelled.status), "{}", cancelled.text);
    status(&api, &second, "CANCELLED").await;
    let suspended = until(&api, "ledger", "suspended", |view| view["state"] == "suspended").await;
    assert!(suspended["lastSavepoint"].is_string(), "{suspended:#}");
    assert_eq!(alive(cluster, "ledger").await, [""; 0]);
    api.post("/api/v1/deployments/ledger/resume", &json!({})).await.expect(202);
    let third = stable(&api, "ledger").await["run"].as_str().unwrap().to_owned();
    assert_eq!(jobs(&api, "ledger").await.len(), 3);
    api.post("/api/v1/deployments/ledger/suspend", &json!({})).await.expect(202);
    status(&api, &third, "CANCELLED").await;
    assert_eq!(history(&api, &third).await.last().unwrap().1, "suspended");
    away(&api, cluster, "ledger").await;
}

/// It was cancelled and resumed before it was stopped, so its job is the same that was cancelled once.
#[tokio::test]
async fn a_job_that_was_cancelled_and_resumed_can_be_cancelled_again() {
    // contract: F2, L6
    let cluster = FlinkCluster::shared().await;
    let libra = with_flink(cluster, &programs()).start().await;
    let api = libra.api();
    let mut spec = counter("twice", &libra.scratch("progress"));
    // So long it is not well enough for a savepoint, and is not stopped.
    spec["args"].as_array_mut().unwrap().extend([json!("--slow-open"), json!("25000")]);
    apply(&api, &spec).await;
    let run = until(&api, "twice", "a job", |view| view["run"].is_string()).await["run"].clone();
    let run = run.as_str().unwrap();
    status(&api, run, "RUNNING").await;

    let mode = async || view(&api, "twice").await["desired"].clone();
    for time in ["first", "second"] {
        // Nobody waits for its end: that comes later.
        let (api_of_it, path) = (libra.api(), format!("/api/v1/jobs/{run}"));
        let asked = tokio::spawn(async move { api_of_it.delete(&path).await.status });
        wait::until_async(&format!("it is suspended the {time} time"), async || mode().await == "suspended")
            .await;
        if time == "first" {
            api.post("/api/v1/deployments/twice/resume", &json!({})).await.expect(202);
            assert_eq!(mode().await, "running");
            let job = job(&api, run).await;
            assert_eq!(job["status"], "RUNNING", "it goes on: {job:#}");
        }
        assert!([200, 202].contains(&asked.await.unwrap()));
    }
    status(&api, run, "CANCELLED").await;
    until(&api, "twice", "suspended", |view| view["state"] == "suspended").await;
    assert_eq!(jobs(&api, "twice").await.len(), 1, "there was never another one");
    away(&api, cluster, "twice").await;
}

#[tokio::test]
async fn on_a_full_cluster_a_deployment_waits_for_its_turn() {
    // contract: F2, R3, A9
    let cluster = FlinkCluster::shared().await;
    let libra = with_slots(cluster, 1).start().await;
    let api = libra.api();
    apply(&api, &counter("early", &libra.scratch("early"))).await;
    let early = stable(&api, "early").await["run"].as_str().unwrap().to_owned();
    let late = counter("late", &libra.scratch("late"));
    apply(&api, &late).await;
    let waits =
        until(&api, "late", "waiting", |view| view["state"] == "waiting" && view["waitsFor"].is_string())
            .await;
    let reason = waits["waitsFor"].as_str().unwrap();
    assert!(reason.contains("slot"), "{waits:#}");
    let run = waits["run"].as_str().unwrap().to_owned();
    assert_eq!(job(&api, &run).await["status"], "QUEUED");
    let explained = api.get(&format!("/api/v1/jobs/{run}/explain")).await.expect(200);
    assert_eq!(explained["reason"], reason, "{explained:#}");
    let blocked = &explained["blockedBy"];
    assert_eq!(
        (&blocked["limit"], &blocked["holders"]),
        (&json!("libra.flink.clusters.main.max-slots"), &json!([early])),
        "{explained:#}"
    );
    assert_eq!(alive(cluster, "late").await, [""; 0]);

    let mut wide = late.clone();
    wide["deployment"]["parallelism"] = json!(2);
    let never = api.post("/api/v1/deployments", &wide).await.expect(422);
    assert!(never["message"].as_str().unwrap().contains("libra.flink.clusters.main.max-slots"), "{never:#}");
    let direct = json!({"code": "SELECT 1", "kind": "sql", "executionMode": "flink"});
    let refused = api.post("/api/v1/jobs", &direct).await.expect(422);
    assert!(refused.to_string().contains("/api/v1/deployments"), "{refused:#}");

    api.post("/api/v1/deployments/early/suspend", &json!({})).await.expect(202);
    stable(&api, "late").await;
    assert_eq!(job(&api, &run).await["status"], "RUNNING", "the same job");
    assert_eq!(view(&api, "early").await["state"], "suspended");
    away(&api, cluster, "late").await;
    away(&api, cluster, "early").await;
}

#[tokio::test]
async fn each_run_of_a_batch_job_is_a_job_with_its_own_end() {
    // contract: F4, L7
    let cluster = FlinkCluster::shared().await;
    let libra = with_flink(cluster, &programs()).start().await;
    let api = libra.api();
    let out = libra.scratch("sums");
    let batch = |pause: &str, config: Value| {
        json!({
            "job_id": "monthly", "job_type": "batch", "artifact_path": flink::jobs_jar(),
            "entry_class": "libra.jobs.Batch", "args": ["--out", out, "--records", "10", "--pause-ms", pause],
            "batch_config": config,
        })
    };
    apply(&api, &batch("0", json!({}))).await;
    until(&api, "monthly", "completed", |view| view["state"] == "completed").await;
    let ended = |status: &'static str| {
        let api = api.clone();
        async move { jobs(&api, "monthly").await.first().is_some_and(|job| job["status"] == status) }
    };
    wait::until_async("it has succeeded", async || ended("SUCCEEDED").await).await;
    api.post("/api/v1/deployments/monthly/resume", &json!({})).await.expect(202);
    wait::until_async("it has run once more", async || {
        jobs(&api, "monthly").await.len() == 2 && ended("SUCCEEDED").await
    })
    .await;

    apply(&api, &batch("60000", json!({"ttl_seconds": 3}))).await;
    wait::until_async("its time is over", async || ended("TIMEOUT").await).await;
    let timed_out = jobs(&api, "monthly").await[0].clone();
    assert_eq!(timed_out["error"]["code"], "run_timeout", "{timed_out:#}");

    apply(&api, &batch("60001", json!({}))).await;
    wait::until_async("it runs", async || jobs(&api, "monthly").await.len() == 4 && ended("RUNNING").await)
        .await;
    let run = view(&api, "monthly").await["run"].as_str().unwrap().to_owned();
    let cancelled = api.delete(&format!("/api/v1/jobs/{run}")).await;
    assert!([200, 202].contains(&cancelled.status), "{}", cancelled.text);
    wait::until_async("it is cancelled", async || ended("CANCELLED").await).await;
    assert_eq!(view(&api, "monthly").await["desired"], "running", "only the run has ended");
    assert_eq!(alive(cluster, "monthly").await, [""; 0]);
    away(&api, cluster, "monthly").await;
}
