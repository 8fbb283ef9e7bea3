//! One row for every endpoint: who gets what.

use std::collections::BTreeSet;

use libra_testkit::Setup;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::openapi::METHODS;
use crate::surroundings::sleepy;

/// Who calls, in the order of the columns. The job belongs to ada.
const CALLERS: [(&str, Option<&str>); 6] = [
    ("nobody", None),
    ("a wrong key", Some("guess")),
    ("viewer ada", Some("ada-views")),
    ("developer ada", Some("ada-develops")),
    ("developer bob", Some("bob-develops")),
    ("an admin", Some("root")),
];

const KEYS: [(&str, &str, &str); 4] = [
    ("ada-views", "viewer", "ada"),
    ("ada-develops", "developer", "ada"),
    ("bob-develops", "developer", "bob"),
    ("root", "admin", "root"),
];

const PUBLIC: [u16; 6] = [200; 6];
const FIGURES: [u16; 6] = [401, 401, 200, 200, 200, 200];
const LIST: [u16; 6] = [401, 401, 200, 200, 200, 200];
const SUBMIT: [u16; 6] = [401, 401, 403, 202, 202, 202];
/// Who may not see a job is told that there is none.
const SEE: [u16; 6] = [401, 401, 200, 200, 404, 200];
/// The job still waits: whoever may see it is told that it has no result yet.
const RESULT: [u16; 6] = [401, 401, 409, 409, 404, 409];
/// No message has the id of a job; whoever may replay is told so.
const REPLAY: [u16; 6] = [401, 401, 403, 404, 404, 404];
/// The body is no file of the announced digest: whoever may upload is told so.
const UPLOAD: [u16; 6] = [401, 401, 403, 400, 400, 400];
/// Nothing has the id of a job as its digest or name; whoever may upload is told so.
const UPLOADED: [u16; 6] = [401, 401, 403, 404, 404, 404];
/// Nothing has the id of a job as its name; the body is no specification.
const DEPLOYMENT: [u16; 6] = [401, 401, 404, 404, 404, 404];
const DEPLOY: [u16; 6] = [401, 401, 403, 400, 400, 400];
/// Nothing but a body that is declared as JSON changes an observed job.
const CHANGE: [u16; 6] = [401, 401, 403, 415, 415, 415];
const CANCEL: [u16; 6] = [401, 401, 403, 200, 404, 200];

const ROWS: &[(&str, &str, [u16; 6])] = &[
    ("GET", "/actuator/health", PUBLIC),
    ("GET", "/actuator/health/liveness", PUBLIC),
    ("GET", "/actuator/health/readiness", PUBLIC),
    ("GET", "/actuator/prometheus", FIGURES),
    ("POST", "/api/v1/artifacts", UPLOAD),
    ("GET", "/api/v1/artifacts/{digest}", UPLOADED),
    ("GET", "/api/v1/artifacts/{name}/versions", UPLOADED),
    ("GET", "/api/v1/deployments", LIST),
    ("POST", "/api/v1/deployments", DEPLOY),
    ("POST", "/api/v1/deployments/plan", DEPLOY),
    ("GET", "/api/v1/deployments/{id}", DEPLOYMENT),
    ("DELETE", "/api/v1/deployments/{id}", REPLAY),
    ("GET", "/api/v1/deployments/{id}/events", DEPLOYMENT),
    ("GET", "/api/v1/deployments/{id}/generations", DEPLOYMENT),
    ("POST", "/api/v1/deployments/{id}/resume", DEPLOY),
    ("POST", "/api/v1/deployments/{id}/rollback", DEPLOY),
    ("POST", "/api/v1/deployments/{id}/savepoint", REPLAY),
    ("POST", "/api/v1/deployments/{id}/suspend", REPLAY),
    ("GET", "/api/v1/events", LIST),
    ("GET", "/api/v1/jobs", LIST),
    ("POST", "/api/v1/jobs", SUBMIT),
    ("POST", "/api/v1/jobs/submit", SUBMIT),
    ("GET", "/api/v1/jobs/{id}", SEE),
    ("DELETE", "/api/v1/jobs/{id}", CANCEL),
    ("GET", "/api/v1/jobs/{id}/events", SEE),
    ("GET", "/api/v1/jobs/{id}/explain", SEE),
    ("GET", "/api/v1/jobs/{id}/logs", SEE),
    ("GET", "/api/v1/jobs/{id}/result", RESULT),
    ("GET", "/api/v1/queue", LIST),
    ("GET", "/api/v1/replicas", FIGURES),
    ("GET", "/api/v1/spark/jobs", LIST),
    ("POST", "/api/v1/spark/jobs", SUBMIT),
    ("POST", "/api/v1/spark/jobs/submit", SUBMIT),
    ("GET", "/api/v1/spark/jobs/{id}", SEE),
    ("DELETE", "/api/v1/spark/jobs/{id}", CANCEL),
    ("GET", "/api/v1/spark/jobs/{id}/events", SEE),
    ("GET", "/api/v1/spark/jobs/{id}/explain", SEE),
    ("GET", "/api/v1/spark/jobs/{id}/logs", SEE),
    ("GET", "/api/v1/spark/jobs/{id}/result", RESULT),
    ("GET", "/api/v1/webhooks", LIST),
    ("POST", "/api/v1/webhooks/replay", SUBMIT),
    ("POST", "/api/v1/webhooks/{id}/replay", REPLAY),
    ("GET", "/api/v1/schemas/deployment", PUBLIC),
    ("GET", "/docs", PUBLIC),
    ("GET", "/docs/page.css", PUBLIC),
    ("GET", "/docs/page.js", PUBLIC),
    ("GET", "/health", PUBLIC),
    ("GET", "/health/live", PUBLIC),
    ("GET", "/health/ready", PUBLIC),
    ("GET", "/health/startup", PUBLIC),
    ("GET", "/metrics", FIGURES),
    ("GET", "/openapi.json", PUBLIC),
    ("GET", "/v1/efficiency", LIST),
    ("POST", "/v1/events/job-finished", DEPLOY),
    ("POST", "/v1/events/job-started", DEPLOY),
    ("GET", "/v1/health", PUBLIC),
    ("GET", "/v1/jobs", LIST),
    ("POST", "/v1/jobs", DEPLOY),
    ("GET", "/v1/jobs/{id}", DEPLOYMENT),
    ("PATCH", "/v1/jobs/{id}", CHANGE),
    ("DELETE", "/v1/jobs/{id}", REPLAY),
    ("GET", "/v1/jobs/{id}/audit", DEPLOYMENT),
    ("GET", "/v1/jobs/{id}/efficiency", SEE),
    ("GET", "/v1/jobs/{id}/metrics", SEE),
    ("POST", "/v1/jobs/{id}/metrics", DEPLOY),
    ("POST", "/v1/metrics/batch", DEPLOY),
];

pub fn with_keys() -> Setup {
    use std::fmt::Write as _;
    let mut yaml = "libra:\n  auth:\n    keys:\n".to_owned();
    for (secret, role, user) in KEYS {
        let sha256 =
            Sha256::digest(secret).iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        writeln!(yaml, "      - {{name: {secret}, sha256: \"{sha256}\", role: {role}, user: {user}}}")
            .unwrap();
    }
    sleepy().config(yaml)
}

#[tokio::test]
async fn every_endpoint_keeps_the_matrix_of_roles() {
    // contract: X1, X2, A8
    let libra = with_keys().start().await;
    let document = libra.api().get("/openapi.json").await.expect(200);
    let mut described: BTreeSet<(String, String)> = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let methods = item.as_object().unwrap().keys().filter(|m| METHODS.contains(&m.as_str()));
        described.extend(methods.map(|m| (m.to_uppercase(), path.clone())));
    }
    let for_people = ["/docs", "/docs/page.css", "/docs/page.js", "/openapi.json"];
    described.extend(for_people.map(|path| ("GET".to_owned(), path.to_owned())));
    let rows: BTreeSet<(String, String)> =
        ROWS.iter().map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned())).collect();
    assert_eq!(rows, described, "every endpoint has one row, and every row its endpoint");

    let ada = libra.api_as("ada-develops");
    let job = json!({"code": "pass", "kind": "python"});
    // The first one runs and keeps the others waiting.
    let first = ada.submit(&job).await;
    ada.reaches(&first, "RUNNING").await;
    for (method, path, expected) in ROWS {
        for ((who, key), expected) in CALLERS.iter().zip(expected) {
            let id = ada.submit(&job).await;
            let api = key.map_or_else(|| libra.api(), |key| libra.api_as(key));
            let path = path.replace("{id}", &id).replace("{digest}", &id);
            let answer = match *method {
                "POST" => api.post(&path, &job).await,
                // The feed would go on for ever otherwise.
                _ => api.send(method, &path, &[("accept", "application/json")], vec![]).await,
            };
            assert_eq!(answer.status, *expected, "{method} {path} by {who}: {}", answer.text);
            if *expected == 401 {
                assert_eq!(answer.header("www-authenticate"), "Bearer");
            }
            let cancelled = *method == "DELETE" && *expected == 200;
            let state = ada.job(&id).await["status"].clone();
            assert_eq!(state == "CANCELLED", cancelled, "{method} {path} by {who}");
        }
    }
}

#[tokio::test]
async fn lists_show_own_jobs_only_except_to_an_admin() {
    // contract: X2
    let libra = with_keys().start().await;
    let job = json!({"code": "pass", "kind": "python"});
    libra.api_as("ada-develops").submit(&job).await;
    libra.api_as("bob-develops").submit(&job).await;
    libra.api_as("bob-develops").submit(&job).await;
    for (key, query, count) in [
        ("ada-views", "", 1),
        ("ada-develops", "", 1),
        ("bob-develops", "", 2),
        ("bob-develops", "?user=ada", 0),
        ("root", "", 3),
        ("root", "?user=ada", 1),
    ] {
        let list = libra.api_as(key).get(&format!("/api/v1/jobs{query}")).await.expect(200);
        assert_eq!(list["total"], count, "{key} {query}");
        assert_eq!(list["jobs"].as_array().unwrap().len(), count, "{key} {query}");
    }
}

#[tokio::test]
async fn without_keys_a_foreign_host_name_is_refused() {
    // contract: X1
    let libra = sleepy().start().await;
    let answer = libra.api().send("GET", "/api/v1/jobs", &[("host", "evil.example")], vec![]).await;
    assert_eq!(answer.expect(403)["error"], "forbidden");
}
