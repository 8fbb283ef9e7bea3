//! Jobs of batch schedulers, as hooks and people tell of them, over `/v1`.

use std::time::{SystemTime, UNIX_EPOCH};

use libra_core::time::Timestamp;
use libra_testkit::{Api, Libra};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::authorisation::with_keys;
use crate::surroundings::sleepy;

async fn patch(api: &Api, path: &str, body: &Value) -> libra_testkit::Answer {
    let headers = [("content-type", "application/json")];
    api.send("PATCH", path, &headers, body.to_string().into_bytes()).await
}

async fn libra() -> Libra {
    sleepy().start().await
}

fn started(number: &str) -> Value {
    json!({"job_id": number, "user": "alice", "node_list": ["node-01", "node-02"], "cpu_allocation": 16,
        "timestamp": "2026-01-22T10:00:00Z"})
}

#[tokio::test]
async fn the_examples_of_the_reference_are_answered_as_it_says() {
    // contract: H0, H2, L9
    let libra = libra().await;
    let api = libra.api();
    let new = json!({"id": "job-001", "user": "alice", "nodes": ["node-01", "node-02"]});
    let made = api.post("/v1/jobs", &new).await.expect(201);
    assert_eq!(
        (&made["id"], &made["state"], &made["status"]),
        (&json!("job-001"), &json!("running"), &json!("RUNNING"))
    );
    assert_eq!((&made["cpu_usage"], &made["sample_count"]), (&Value::Null, &json!(0)), "unknown is not zero");
    assert_eq!(api.post("/v1/jobs", &new).await.expect(409)["error"], "job_exists");

    let sample = json!({"cpu_usage": 75.5, "memory_usage_mb": 4096, "gpu_usage": 50.0});
    api.post("/v1/jobs/job-001/metrics", &sample).await.expect(201);
    let less = json!({"cpu_usage": 24.5, "memory_usage_mb": 1024});
    api.post("/v1/jobs/job-001/metrics", &less).await.expect(201);
    let job = api.get("/v1/jobs/job-001").await.expect(200);
    let figures = [
        "cpu_usage",
        "avg_cpu_usage",
        "max_cpu_usage",
        "memory_usage_mb",
        "max_memory_usage_mb",
        "gpu_usage",
    ];
    let figures = figures.map(|name| job[name].as_f64());
    assert_eq!(figures, [24.5, 50.0, 75.5, 1024.0, 4096.0, 50.0].map(Some));
    let samples = api.get("/v1/jobs/job-001/metrics").await.expect(200);
    assert_eq!((&samples["total"], &samples["resolution"]), (&json!(2), &json!("raw")));
    assert_eq!(samples["samples"][1]["gpu_usage"], Value::Null);

    let ended = patch(&api, "/v1/jobs/job-001", &json!({"state": "completed"})).await.expect(200);
    assert_eq!(
        (&ended["state"], &ended["status"], &ended["cpu_usage"]),
        (&json!("completed"), &json!("SUCCEEDED"), &Value::Null)
    );
    assert!(ended["end_time"].is_string() && ended["runtime_seconds"].is_number());
    let frozen = patch(&api, "/v1/jobs/job-001", &json!({"state": "running"})).await;
    assert_eq!(frozen.expect(409)["error"], "job_terminal");
    assert_eq!(api.post("/v1/jobs/job-001/metrics", &sample).await.expect(409)["error"], "job_terminal");

    let audit = api.get("/v1/jobs/job-001/audit").await.expect(200)["changes"].clone();
    let kinds: Vec<&str> =
        audit.as_array().unwrap().iter().filter_map(|row| row["change_type"].as_str()).collect();
    assert_eq!(kinds, ["upsert", "update"]);
    assert_eq!(
        (&audit[1]["source"], &audit[1]["job_snapshot"]["state"]),
        (&json!("api"), &json!("completed"))
    );
    assert_eq!(api.delete("/v1/jobs/job-001").await.status, 204);
    assert_eq!(api.get("/v1/jobs/job-001").await.expect(404)["error"], "job_not_found");
    assert_eq!(api.delete("/v1/jobs/job-001").await.status, 404);
}

#[tokio::test]
async fn hooks_tell_of_a_job_twice_late_and_out_of_order() {
    // contract: H1
    let libra = libra().await;
    let api = libra.api();
    let first = api.post("/v1/events/job-started", &started("12345")).await.expect(200);
    assert_eq!(first["status"], "processed");
    let id = first["job_id"].as_str().unwrap().to_owned();
    assert_eq!(
        api.post("/v1/events/job-started", &started("12345")).await.expect(200)["status"],
        "unchanged"
    );
    for name in [id.as_str(), "12345", "slurm-12345"] {
        let job = api.get(&format!("/v1/jobs/{name}")).await.expect(200);
        assert_eq!(
            (&job["id"], &job["scheduler"]["external_job_id"]),
            (&json!(id), &json!("12345")),
            "{name}"
        );
        assert_eq!((&job["state"], &job["nodes"]), (&json!("running"), &json!(["node-01", "node-02"])));
    }
    let headers =
        [("content-type", "application/json"), ("x-changed-by", "slurm-epilog"), ("x-source", "slurm")];
    let end = json!({"job_id": "12345", "exit_code": 3, "signal": 0, "timestamp": "2026-01-22T10:30:00Z"});
    let send =
        async || api.send("POST", "/v1/events/job-finished", &headers, end.to_string().into_bytes()).await;
    assert_eq!(send().await.expect(200)["status"], "processed");
    assert_eq!(send().await.expect(200)["status"], "unchanged");
    api.post("/v1/events/job-started", &started("12345")).await.expect(200);
    let job = api.get(&format!("/v1/jobs/{id}")).await.expect(200);
    assert_eq!((&job["state"], &job["scheduler"]["exit_code"]), (&json!("failed"), &json!(3)));
    assert_eq!((&job["runtime_seconds"], &job["failure"]["code"]), (&json!(1800.0), &json!("exit_code")));
    let audit = api.get(&format!("/v1/jobs/{id}/audit")).await.expect(200);
    assert_eq!(audit["changes"][1]["changed_by"], "slurm-epilog");

    // The end first; and the same number on another cluster is another job.
    let end = json!({"job_id": "7", "cluster": "east", "final_state": "completed", "exit_code": 0});
    api.post("/v1/events/job-finished", &end).await.expect(200);
    let mut begin = started("7");
    begin["cluster"] = json!("east");
    assert_eq!(api.post("/v1/events/job-started", &begin).await.expect(200)["status"], "processed");
    assert_eq!(api.post("/v1/events/job-started", &begin).await.expect(200)["status"], "unchanged");
    let ended = api.get("/v1/jobs/7").await.expect(200);
    assert_eq!(
        (&ended["state"], &ended["nodes"]),
        (&json!("completed"), &begin["node_list"]),
        "it is filled in"
    );
    begin["cluster"] = json!("west");
    api.post("/v1/events/job-started", &begin).await.expect(200);
    let both = api.get("/v1/jobs/7").await.expect(409);
    assert_eq!(both["error"], "ambiguous");
    let list = api.get("/v1/jobs?cluster=west&state=running").await.expect(200);
    assert_eq!((&list["total"], &list["jobs"][0]["scheduler"]["cluster_name"]), (&json!(1), &json!("west")));
}

#[tokio::test]
async fn many_hooks_at_once_make_one_job_each() {
    // contract: H1
    let libra = libra().await;
    let api = libra.api();
    let mut hooks = JoinSet::new();
    for number in 0..40 {
        for (path, body) in [
            ("/v1/events/job-started", started(&number.to_string())),
            ("/v1/events/job-started", started(&number.to_string())),
            ("/v1/events/job-finished", json!({"job_id": number.to_string(), "exit_code": number % 2})),
        ] {
            let api = libra.api();
            hooks.spawn(async move { api.post(path, &body).await.expect(200) });
        }
    }
    hooks.join_all().await;
    let list = api.get("/v1/jobs?limit=1000").await.expect(200);
    assert_eq!(list["total"], 40);
    for job in list["jobs"].as_array().unwrap() {
        let odd = job["scheduler"]["exit_code"] == 1;
        assert_eq!(job["state"], if odd { "failed" } else { "completed" }, "{job:#}");
    }
    // Page by page, each once.
    let mut seen = Vec::new();
    let mut path = "/v1/jobs?limit=7".to_owned();
    loop {
        let page = api.get(&path).await.expect(200);
        seen.extend(
            page["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned()),
        );
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/jobs?limit=7&cursor={cursor}");
    }
    assert_eq!(seen.len(), 40);
    assert!(seen.is_sorted_by(|a, b| a > b), "newest first, none twice");
}

#[tokio::test]
async fn what_is_wrong_is_named_and_nothing_of_it_is_kept() {
    // contract: H2, A6
    let libra = libra().await;
    let api = libra.api();
    api.post("/v1/jobs", &json!({"id": "a", "user": "alice", "nodes": ["n"]})).await.expect(201);
    let cases = [
        ("/v1/jobs/a/metrics", json!({"cpu_usage": -3, "memory_usage_mb": 1}), vec!["/cpu_usage"]),
        (
            "/v1/jobs/a/metrics",
            json!({"cpu_usage": "NaN", "memory_usage_mb": 1.5}),
            vec!["/cpu_usage", "/memory_usage_mb"],
        ),
        (
            "/v1/jobs/a/metrics",
            json!({"cpu_usage": 1, "memory_usage_mb": 1, "timestamp": "2199-01-01T00:00:00Z"}),
            vec!["/timestamp"],
        ),
        (
            "/v1/jobs/a/metrics",
            json!({"cpu_usage": 1, "memory_usage_mb": 1, "timestamp": "1999-01-01T00:00:00Z"}),
            vec!["/timestamp"],
        ),
        ("/v1/jobs", json!({"id": "", "user": "b", "nodes": []}), vec!["/id", "/nodes"]),
        (
            "/v1/events/job-started",
            json!({"job_id": "1", "user": "b", "node_list": ["n"], "nodelist": []}),
            vec!["/nodelist"],
        ),
        ("/v1/events/job-finished", json!({"job_id": "1", "signal": 999}), vec!["/signal"]),
    ];
    for (path, body, pointers) in cases {
        let answer = api.post(path, &body).await;
        assert_eq!(
            (answer.status, answer.pointers()),
            (400, pointers.iter().map(|p| (*p).to_owned()).collect()),
            "{path} {body}"
        );
    }
    let wrong = patch(&api, "/v1/jobs/a", &json!({"state": "done"})).await;
    assert_eq!((wrong.status, wrong.pointers()), (400, vec!["/state".to_owned()]));
    assert_eq!(
        api.post("/v1/jobs/nobody/metrics", &json!({"cpu_usage": 1, "memory_usage_mb": 1})).await.status,
        404
    );
    for query in ["state=done", "limit=0", "cursor=x", "colour=red"] {
        assert_eq!(
            api.get(&format!("/v1/jobs?{query}")).await.expect(400)["error"],
            "invalid_query",
            "{query}"
        );
    }
    let headers = [("content-type", "application/json"), ("x-changed-by", " ")];
    let body = json!({"id": "b", "user": "b", "nodes": ["n"]}).to_string().into_bytes();
    let unsigned = api.send("POST", "/v1/jobs", &headers, body).await;
    assert_eq!(unsigned.expect(400)["error"], "missing_audit_info");
    let list = api.get("/v1/jobs").await.expect(200);
    assert_eq!((&list["total"], &list["jobs"][0]["sample_count"]), (&json!(1), &json!(0)));
}

#[tokio::test]
async fn an_agents_batch_is_taken_once_and_what_is_wrong_in_it_holds_up_nothing() {
    // contract: H2, H3
    let libra = libra().await;
    let api = libra.api();
    let mut begin = started("12");
    begin["cluster"] = json!("east");
    api.post("/v1/events/job-started", &begin).await.expect(200);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = Timestamp(i64::try_from(since.as_micros()).unwrap());
    let at = |seconds: i64| now.plus_seconds(-seconds).rfc3339();
    let sample = |number: &str, seconds: i64, cpu: f64| json!({"external_job_id": number, "timestamp": at(seconds), "cpu_usage": cpu, "cpu_cores": 2.5, "memory_usage_mb": 512.4});
    let mut odd = sample("12", 50, 10.0);
    odd["memory_usage_mb"] = json!(-1);
    let samples = [sample("12", 60, 40.0), odd, sample("12", 30, 60.0), sample("99", 30, 1.0)];
    let batch = |node: &str| json!({"cluster": "east", "node": node, "samples": samples});
    for node in ["node-01", "node-01", "node-02"] {
        let answer = api.post("/v1/metrics/batch", &batch(node)).await.expect(200);
        assert_eq!(answer["accepted"], 2);
        let refused: Vec<&Value> =
            answer["rejected"].as_array().unwrap().iter().map(|one| &one["index"]).collect();
        assert_eq!(refused, [1, 3]);
    }
    let job = api.get("/v1/jobs/12").await.expect(200);
    assert_eq!(
        (&job["sample_count"], &job["cpu_usage"], &job["avg_cpu_usage"]),
        (&json!(4), &json!(60.0), &json!(50.0))
    );
    assert_eq!(
        (&job["memory_usage_mb"], &job["max_memory_usage_mb"]),
        (&json!(1024), &json!(1024)),
        "both nodes together"
    );
    let minutes = api.get("/v1/jobs/12/metrics?resolution=1h").await.expect(200);
    assert_eq!(
        minutes["samples"].as_array().unwrap().iter().filter_map(|one| one["samples"].as_i64()).sum::<i64>(),
        4
    );
    assert_eq!(api.post("/v1/metrics/batch", &json!({"cluster": "east", "samples": []})).await.status, 400);
}

#[tokio::test]
async fn each_sees_the_own_jobs_and_an_admin_all() {
    // contract: X2
    let libra = with_keys().start().await;
    let (ada, bob, root) = (libra.api_as("ada-develops"), libra.api_as("bob-develops"), libra.api_as("root"));
    let of = |user: &str, id: &str| json!({"id": id, "user": user, "nodes": ["n"]});
    ada.post("/v1/jobs", &of("ada", "one")).await.expect(201);
    assert_eq!(ada.post("/v1/jobs", &of("bob", "two")).await.status, 403, "not in another's name");
    root.post("/v1/jobs", &of("bob", "two")).await.expect(201);
    let sample = json!({"cpu_usage": 1, "memory_usage_mb": 1});
    for (api, one, two, all) in [(&ada, 200, 404, 1), (&bob, 404, 200, 1), (&root, 200, 200, 2)] {
        assert_eq!((api.get("/v1/jobs/one").await.status, api.get("/v1/jobs/two").await.status), (one, two));
        assert_eq!(api.get("/v1/jobs/one/metrics").await.status, one);
        assert_eq!(api.get("/v1/jobs/one/audit").await.status, one);
        assert_eq!(api.get("/v1/jobs").await.expect(200)["total"], all);
    }
    assert_eq!(bob.post("/v1/jobs/one/metrics", &sample).await.status, 404);
    assert_eq!(bob.delete("/v1/jobs/one").await.status, 404);
    assert_eq!(patch(&bob, "/v1/jobs/one", &json!({"state": "failed"})).await.status, 404);
    assert_eq!(bob.get("/v1/jobs?user=ada").await.expect(200)["total"], 0);
    assert_eq!(libra.api_as("ada-views").delete("/v1/jobs/one").await.status, 403);
}
