//! What has been kept long enough goes, and is told apart from what never was.

use std::time::Duration;

use libra_testkit::{Api, wait};
use serde_json::json;

use crate::surroundings::sleepy;

/// An id as Libra makes them, of a job that is not there: made at this time, microseconds since 1970.
fn no_job(at: u64) -> String {
    let millis = format!("{:012x}", at / 1_000);
    format!("job-{}-{}-7000-8000-000000000000", &millis[..8], &millis[8..])
}

fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_micros()).unwrap()
}

async fn ended(api: &Api) -> String {
    let id = api.submit(&json!({"code": "pass", "kind": "python"})).await;
    api.reaches(&id, "RUNNING").await;
    while api.delete(&format!("/api/v1/jobs/{id}")).await.status == 202 {}
    id
}

/// Waits until the answer has this status.
async fn becomes(api: &Api, path: &str, status: u16) -> serde_json::Value {
    for _ in 0..600 {
        let answer = api.get(path).await;
        if answer.status == status {
            return answer.json();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{path} does not become {status}: {}", api.get(path).await.text);
}

#[tokio::test]
async fn logs_and_results_go_before_their_job() {
    // contract: Q3
    let libra = sleepy().env("LIBRA_RETENTION_FILES", "2s").start().await;
    let api = libra.api();
    let id = ended(&api).await;
    let dir = libra.attempt_dir(&id, 1);
    let gone = becomes(&api, &format!("/api/v1/jobs/{id}/logs"), 410).await;
    assert_eq!(gone["error"], "expired");
    assert!(gone["message"].as_str().unwrap().contains("libra.retention.files"), "{gone}");
    wait::until_true("the files are removed", || !dir.exists()).await;
    assert_eq!(api.job(&id).await["status"], "CANCELLED");
    assert_eq!(api.get(&format!("/api/v1/jobs/{id}/events")).await.status, 200);
}

#[tokio::test]
async fn ended_jobs_go_with_everything_of_theirs() {
    // contract: Q3, A5, A10
    let libra = sleepy().env("LIBRA_RETENTION_JOBS", "2s").env("LIBRA_RETENTION_FILES", "0").start().await;
    let api = libra.api();
    let body = json!({"code": "pass", "kind": "python"});
    let headers = [("content-type", "application/json"), ("idempotency-key", "once")];
    let submit = || api.send("POST", "/api/v1/jobs", &headers, body.to_string().into_bytes());
    let old = submit().await.expect(202)["jobId"].as_str().unwrap().to_owned();
    api.reaches(&old, "RUNNING").await;
    while api.delete(&format!("/api/v1/jobs/{old}")).await.status == 202 {}
    let running = api.submit(&body).await;
    api.reaches(&running, "RUNNING").await;

    let gone = becomes(&api, &format!("/api/v1/jobs/{old}"), 410).await;
    assert_eq!(gone["error"], "expired");
    for path in ["/logs", "/result", "/events", "/explain"] {
        assert_eq!(api.get(&format!("/api/v1/jobs/{old}{path}")).await.status, 410, "{path}");
    }
    assert_eq!(api.delete(&format!("/api/v1/jobs/{old}")).await.status, 410);
    let dir = libra.attempt_dir(&old, 1);
    wait::until_true("the files are removed", || !dir.exists()).await;
    assert!(libra.attempt_dir(&running, 1).exists());
    assert_eq!(api.total().await, 1);
    assert_eq!(api.job(&running).await["status"], "RUNNING");
    assert_ne!(submit().await.expect(202)["jobId"], *old, "the key went with its job");

    for (at, status) in [(1_000_000, 410), (now() + 60_000_000, 404)] {
        assert_eq!(api.get(&format!("/api/v1/jobs/{}", no_job(at))).await.status, status, "made at {at}");
    }

    // The feed begins later now, and says so to whoever would miss something.
    let json = [("accept", "application/json")];
    let feed = async |query: &str| api.send("GET", &format!("/api/v1/events{query}"), &json, vec![]).await;
    let refused = feed("?after=0").await;
    assert_eq!(refused.expect(410)["error"], "expired");
    assert_eq!(api.send("GET", "/api/v1/events", &[("last-event-id", "1")], vec![]).await.status, 410);
    let kept = feed("").await.expect(200);
    let events = kept["events"].as_array().unwrap();
    assert!(!events.is_empty() && events.iter().all(|e| e["jobId"] != *old), "{kept:#}");
    let first = events[0]["seq"].as_i64().unwrap();
    assert!(refused.text.contains(&format!("after={}", first - 1)), "{} {first}", refused.text);
}

#[tokio::test]
async fn the_oldest_go_when_there_are_too_many() {
    // contract: Q3
    let libra = sleepy()
        .env("LIBRA_RETENTION_JOBS", "0")
        .env("LIBRA_RETENTION_MAX_JOBS", "2")
        .env("LIBRA_RETENTION_FILES", "10s")
        .start()
        .await;
    let api = libra.api();
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(ended(&api).await);
    }
    becomes(&api, &format!("/api/v1/jobs/{}", ids[0]), 410).await;
    assert_eq!(api.total().await, 2);
    assert_eq!(api.get(&format!("/api/v1/jobs/{}", ids[1])).await.status, 200);
    assert_eq!(api.get(&format!("/api/v1/jobs/{}", no_job(now()))).await.status, 404);
}
