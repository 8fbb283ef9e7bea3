//! What `/v1` answers where two things are said of one: twice, late, of nobody, or by the same name.

use libra_testkit::{Answer, Api, wait};
use serde_json::{Value, json};

use crate::authorisation::with_keys;
use crate::hpc_figures::{ago, now};
use crate::surroundings::{setup, sleepy};

/// Posts with a client's key.
async fn keyed(api: &Api, path: &str, key: &str, body: &Value) -> Answer {
    let headers = [("content-type", "application/json"), ("idempotency-key", key)];
    api.send("POST", path, &headers, body.to_string().into_bytes()).await
}

#[tokio::test]
async fn what_is_made_under_a_key_is_made_once_and_answered_alike() {
    // contract: A5
    let libra = with_keys().start().await;
    let (ada, bob) = (libra.api_as("ada-develops"), libra.api_as("bob-develops"));
    let new = json!({"id": "one", "user": "ada", "nodes": ["n"]});
    let first = keyed(&ada, "/v1/jobs", "k", &new).await;
    assert_eq!((first.status, first.header("idempotency-replayed")), (201, ""), "{}", first.text);
    let again = keyed(&ada, "/v1/jobs", "k", &new).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (201, "true"), "{}", again.text);
    assert_eq!(again.json(), first.json());
    let other = json!({"id": "two", "user": "ada", "nodes": ["n"]});
    let reused = keyed(&ada, "/v1/jobs", "k", &other).await;
    assert_eq!(reused.expect(422)["error"], "idempotency_key_reused");
    assert_eq!(ada.get("/v1/jobs/two").await.status, 404);
    assert_eq!(keyed(&ada, "/v1/jobs", "k2", &new).await.expect(409)["error"], "job_exists");
    // What was refused is not kept; and a key is its owner's own.
    assert_eq!(keyed(&ada, "/v1/jobs", "k2", &other).await.status, 201);
    let bobs = json!({"id": "three", "user": "bob", "nodes": ["n"]});
    assert_eq!(keyed(&bob, "/v1/jobs", "k", &bobs).await.status, 201);

    let sample = json!({"cpu_usage": 5, "memory_usage_mb": 7});
    let first = keyed(&ada, "/v1/jobs/one/metrics", "k", &sample).await;
    let again = keyed(&ada, "/v1/jobs/one/metrics", "k", &sample).await;
    assert_eq!((first.status, again.status, again.json()), (201, 201, first.json()), "{}", again.text);
    assert_eq!(again.header("idempotency-replayed"), "true");
    let batch = json!({"cluster": "default", "node": "n2", "samples":
        [{"external_job_id": "one", "timestamp": ago(0), "cpu_usage": 9}]});
    let first = keyed(&ada, "/v1/metrics/batch", "k", &batch).await.expect(200);
    assert_eq!((&first["accepted"], &first["duplicates"]), (&json!(1), &json!(0)), "{first}");
    let again = keyed(&ada, "/v1/metrics/batch", "k", &batch).await;
    assert_eq!((again.header("idempotency-replayed"), again.json()), ("true", first));
    assert_eq!(ada.get("/v1/jobs/one").await.expect(200)["sample_count"], 2);
    // The first answer is given again whatever has become of the job, and as long as there is one.
    let headers = [("content-type", "application/json")];
    let ended = json!({"state": "completed"}).to_string().into_bytes();
    assert_eq!(ada.send("PATCH", "/v1/jobs/one", &headers, ended).await.status, 200);
    assert_eq!(keyed(&ada, "/v1/jobs/one/metrics", "k", &sample).await.status, 201);
    assert_eq!(ada.delete("/v1/jobs/one").await.status, 204);
    let anew = keyed(&ada, "/v1/jobs", "k", &new).await;
    assert_eq!((anew.status, anew.header("idempotency-replayed")), (201, ""));
}

#[tokio::test]
async fn of_one_moment_there_is_one_sample_and_it_is_the_answer() {
    // contract: H2
    let libra = sleepy().start().await;
    let api = libra.api();
    let at = now().rfc3339();
    api.post("/v1/jobs", &json!({"id": "a", "user": "ann", "nodes": ["n"], "start_time": ago(60)}))
        .await
        .expect(201);
    let said = |cpu: i64| json!({"cpu_usage": cpu, "memory_usage_mb": cpu, "timestamp": at});
    let first = api.post("/v1/jobs/a/metrics", &said(5)).await.expect(201);
    let second = api.post("/v1/jobs/a/metrics", &said(6)).await.expect(200);
    assert_eq!((&second, &second["cpu_usage"]), (&first, &json!(5.0)));
    let kept = api.get("/v1/jobs/a/metrics").await.expect(200);
    assert_eq!((&kept["total"], &kept["samples"][0]), (&json!(1), &first));
    let batch = json!({"cluster": "default", "node": "n", "samples": [
        {"external_job_id": "a", "timestamp": at, "cpu_usage": 8}, {"external_job_id": "a", "timestamp": ago(1), "cpu_usage": 9}]});
    let answer = api.post("/v1/metrics/batch", &batch).await.expect(200);
    assert_eq!((&answer["accepted"], &answer["duplicates"]), (&json!(2), &json!(1)));
    assert_eq!(api.get("/v1/jobs/a").await.expect(200)["max_cpu_usage"], 9.0);
}

#[tokio::test]
async fn a_beginning_told_behind_its_end_says_when_where_and_whose_it_was() {
    // contract: H1
    let libra = sleepy().start().await;
    let api = libra.api();
    let end = json!({"job_id": "7", "cluster": "east", "exit_code": 3, "timestamp": ago(60)});
    api.post("/v1/events/job-finished", &end).await.expect(200);
    let bare = api.get("/v1/jobs/7").await.expect(200);
    assert_eq!(
        (&bare["start_time"], &bare["user"], &bare["state"]),
        (&Value::Null, &json!(""), &json!("failed"))
    );
    let begin = |node: &str, seconds| json!({"job_id": "7", "cluster": "east", "user": "ann", "node_list": [node], "timestamp": ago(seconds)});
    let told = api.post("/v1/events/job-started", &begin("n1", 360)).await.expect(200);
    assert_eq!(told["status"], "processed");
    api.post("/v1/events/job-started", &begin("n2", 359)).await.expect(200);
    let job = api.get("/v1/jobs/7").await.expect(200);
    assert_eq!((&job["nodes"], &job["user"]), (&json!(["n1", "n2"]), &json!("ann")), "{job:#}");
    assert_eq!(
        (&job["state"], &job["end_time"], &job["id"]),
        (&bare["state"], &bare["end_time"], &bare["id"])
    );
    let ran = job["runtime_seconds"].as_f64().unwrap();
    assert!((ran - 300.0).abs() < 2.0, "{job:#}");
    assert_eq!(api.get("/v1/jobs?node=n2").await.expect(200)["total"], 1);
    // What a hook has seen it has seen, whatever its clock says: now, at the latest.
    let ahead = json!({"job_id": "8", "cluster": "east", "user": "ann", "node_list": ["n1"], "timestamp": "2199-01-01T00:00:00Z"});
    api.post("/v1/events/job-started", &ahead).await.expect(200);
    let start = api.get("/v1/jobs/8").await.expect(200)["start_time"].as_str().unwrap().to_owned();
    assert!(start < ago(-60), "{start}");
    // People who say so are mistaken.
    let ahead = json!({"id": "b", "user": "ann", "nodes": ["n1"], "start_time": "2199-01-01T00:00:00Z"});
    let refused = api.post("/v1/jobs", &ahead).await;
    assert_eq!((refused.status, refused.pointers()), (400, vec!["/start_time".to_owned()]));
}

#[tokio::test]
async fn a_sample_is_no_proof_of_a_job_and_what_nobody_knows_in_it_is_named() {
    // contract: H2, H3, L7
    let clusters = "[{name: demo, source: mock, seed: 7, nodes: 4, interval: 1s}]";
    let libra = sleepy().config(format!("libra: {{slurm: {{clusters: {clusters}}}}}")).start().await;
    let api = libra.api();
    let batch = json!({"cluster": "demo", "node": "mock-001", "extra": 1, "samples": [
        {"external_job_id": "999999999", "timestamp": ago(1), "cpu_usage": 5},
        {"job_id": "1", "timestamp": ago(1), "cpu_usage": 5},
        {"external_job_id": "1", "timestamp": ago(1), "processes": 3}]});
    let answer = api.post("/v1/metrics/batch", &batch).await.expect(200);
    assert_eq!(
        (&answer["accepted"], answer["rejected"].as_array().unwrap().len()),
        (&json!(0), 3),
        "{answer:#}"
    );
    let (unknown, nobodys, empty) = (&answer["rejected"][0], &answer["rejected"][1], &answer["rejected"][2]);
    assert_eq!(unknown["later"], true, "{answer:#}");
    assert!(unknown["reason"].as_str().unwrap().contains("999999999"), "{answer:#}");
    assert!(nobodys["reason"].as_str().unwrap().starts_with("external_job_id is missing"), "{answer:#}");
    assert!(empty["reason"].as_str().unwrap().contains("all other figures"), "{answer:#}");
    let named: Vec<&str> = answer["ignored"]
        .as_array()
        .unwrap()
        .iter()
        .map(|named| named["pointer"].as_str().unwrap())
        .collect();
    assert_eq!(named, ["/extra", "/samples/1/job_id"]);
    assert_eq!(api.get("/v1/jobs/999999999").await.status, 404, "nothing was made up of it");
}

#[tokio::test]
async fn what_a_scheduler_still_tells_of_is_not_removed_and_what_is_removed_keeps_its_audit() {
    // contract: H2
    let clusters = "[{name: demo, source: mock, seed: 7, nodes: 4, interval: 1s}]";
    let libra = sleepy().config(format!("libra: {{slurm: {{clusters: {clusters}}}}}")).start().await;
    let api = libra.api();
    let running =
        async || api.get("/v1/jobs?state=running&cluster=demo").await.expect(200)["jobs"][0].clone();
    wait::until_async("one runs", async || running().await.is_object()).await;
    let id = running().await["id"].as_str().unwrap().to_owned();
    let refused = api.delete(&format!("/v1/jobs/{id}")).await;
    // It may have ended by now.
    assert!(refused.status == 204 || refused.json()["error"] == "not_finished", "{}", refused.text);
    // One that hooks tell of, where nobody is asked.
    let begin = json!({"job_id": "5", "cluster": "east", "user": "ann", "node_list": ["n"]});
    api.post("/v1/events/job-started", &begin).await.expect(200);
    let refused = api.delete("/v1/jobs/5").await.expect(409);
    assert_eq!(refused["error"], "not_finished");
    assert!(refused["message"].as_str().unwrap().contains("PATCH"), "{refused}");
    let headers = [("content-type", "application/json")];
    let ended = json!({"state": "failed"}).to_string().into_bytes();
    assert_eq!(api.send("PATCH", "/v1/jobs/5", &headers, ended).await.status, 200);
    assert_eq!(api.delete("/v1/jobs/5").await.status, 204);
    drop(libra);

    let libra = with_keys().start().await;
    let (ada, bob, root) = (libra.api_as("ada-develops"), libra.api_as("bob-develops"), libra.api_as("root"));
    let made = ada.post("/v1/jobs", &json!({"id": "mine", "user": "ada", "nodes": ["n"]})).await.expect(201);
    assert_eq!(made["id"], "mine");
    assert_eq!(ada.delete("/v1/jobs/mine").await.status, 204);
    assert_eq!(ada.get("/v1/jobs/mine").await.status, 404);
    for (api, status) in [(&ada, 200), (&root, 200), (&bob, 404)] {
        let audit = api.get("/v1/jobs/mine/audit").await;
        assert_eq!(audit.status, status, "{}", audit.text);
        if status == 200 {
            let changes = audit.json()["changes"].as_array().unwrap().clone();
            let kinds: Vec<&str> = changes.iter().map(|row| row["change_type"].as_str().unwrap()).collect();
            assert_eq!(kinds, ["upsert", "delete"]);
        }
    }
}

#[tokio::test]
async fn a_job_is_of_the_scheduler_that_was_named_and_nobody_guesses_which_of_two_is_meant() {
    // contract: H0, L9
    let libra = sleepy().start().await;
    let api = libra.api();
    let scheduler = json!({"type": "slurm", "external_job_id": "500"});
    let new = json!({"id": "a", "user": "ann", "nodes": ["n"], "scheduler": scheduler});
    assert_eq!(api.post("/v1/jobs", &new).await.expect(201)["scheduler"]["type"], "slurm");
    let bare = json!({"id": "82", "user": "ann", "nodes": ["n"]});
    assert_eq!(api.post("/v1/jobs", &bare).await.expect(201)["scheduler"]["type"], "mock");
    assert_eq!(api.get("/v1/jobs/82").await.expect(200)["scheduler"]["cluster_name"], "default");
    let begin = json!({"job_id": "82", "cluster": "east", "user": "ann", "node_list": ["n"]});
    let slurms = api.post("/v1/events/job-started", &begin).await.expect(200)["job_id"].clone();
    let both = api.get("/v1/jobs/82").await.expect(409);
    assert_eq!(both["error"], "ambiguous");
    let named = both["message"].as_str().unwrap();
    assert!(named.contains(slurms.as_str().unwrap()) && named.contains("on default"), "{named}");
    assert_eq!(api.get("/v1/jobs/slurm-82").await.expect(200)["id"], slurms);
    let sample = json!({"cpu_usage": 1, "memory_usage_mb": 1});
    assert_eq!(api.post("/v1/jobs/82/metrics", &sample).await.status, 409, "neither is measured by chance");
    let report = api.get("/v1/efficiency").await.expect(200);
    assert!(!report.to_string().contains("-0.0"), "{report}");
}

#[tokio::test]
async fn the_command_line_lists_and_shows_what_libra_sees() {
    // contract: D3
    let libra = sleepy().start().await;
    let api = libra.api();
    for (number, user) in [("1", "ann"), ("2", "bob")] {
        let begin =
            json!({"job_id": number, "cluster": "east", "user": user, "node_list": ["n1"], "name": "train"});
        api.post("/v1/events/job-started", &begin).await.expect(200);
    }
    let run = |args: &[&str]| {
        let done = setup().command().arg("hpc").args(args).args(["--url", libra.url()]).output().unwrap();
        assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    };
    let all = run(&["jobs", "--cluster", "east", "--limit", "1", "--all"]);
    assert_eq!(all.lines().count(), 3, "{all}");
    let anns = run(&["jobs", "--user", "ann", "-o", "json"]);
    let anns: Value = serde_json::from_str(&anns).unwrap();
    assert_eq!((&anns["total"], &anns["jobs"][0]["user"]), (&json!(1), &json!("ann")));
    let shown = run(&["job", "slurm-2"]);
    assert!(shown.contains("2 on east (slurm)") && shown.contains("train"), "{shown}");
}
