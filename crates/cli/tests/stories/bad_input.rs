//! Bad input: the right refusal, a pointer to what is wrong, and nothing stored.

use libra_testkit::{Answer, Api};
use serde_json::{Value, json};

use crate::surroundings::sleepy;

const SUBMIT: &str = "/api/v1/spark/jobs/submit";
const JSON: (&str, &str) = ("content-type", "application/json");

/// One request, and the refusal it must meet.
struct Case {
    name: &'static str,
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, &'static str)>,
    body: Vec<u8>,
    status: u16,
    error: &'static str,
    pointers: Vec<&'static str>,
}

fn raw(name: &'static str, body: impl Into<Vec<u8>>, status: u16, error: &'static str) -> Case {
    Case {
        name,
        method: "POST",
        path: SUBMIT.to_owned(),
        headers: vec![JSON],
        body: body.into(),
        status,
        error,
        pointers: vec![],
    }
}

/// A submission that is right but for `wrong`, which points at one field.
fn field(name: &'static str, wrong: &Value, pointer: &'static str) -> Case {
    let mut body = json!({"code": "SELECT 1", "kind": "sql"});
    for (key, value) in wrong.as_object().unwrap() {
        body[key] = value.clone();
    }
    Case { pointers: vec![pointer], ..raw(name, body.to_string(), 400, "invalid_request") }
}

fn call(
    name: &'static str,
    method: &'static str,
    path: impl Into<String>,
    status: u16,
    error: &'static str,
) -> Case {
    Case { method, path: path.into(), headers: vec![], ..raw(name, "", status, error) }
}

fn query(name: &'static str, path: &str, pointer: &'static str) -> Case {
    Case { pointers: vec![pointer], ..call(name, "GET", path, 400, "invalid_query") }
}

fn bodies() -> Vec<Case> {
    let deep = format!("{{\"code\": {}1{}}}", "[".repeat(5_000), "]".repeat(5_000));
    let long = "x".repeat(3 * 1024 * 1024);
    let mut not_utf8 = br#"{"kind": "sql", "code": "SELECT '"#.to_vec();
    not_utf8.extend([0xff, 0xfe]);
    not_utf8.extend(br#"'"}"#);
    let conf = |value: &str| json!({"sparkConfig": {"spark.executor.memory": value}});
    vec![
        raw("malformed JSON", r#"{"code": "SELECT 1", "kind""#, 400, "invalid_json"),
        raw("no body", "", 400, "invalid_json"),
        raw("invalid UTF-8", not_utf8, 400, "invalid_json"),
        raw("a raw NUL byte", b"{\"kind\": \"sql\", \"code\": \"a\0b\"}".to_vec(), 400, "invalid_json"),
        raw("nesting 5,000 deep", deep, 400, "invalid_json"),
        Case { pointers: vec![""], ..raw("a list", "[]", 400, "invalid_request") },
        Case { pointers: vec!["/code", "/kind"], ..raw("everything missing", "{}", 400, "invalid_request") },
        Case { pointers: vec!["/kind"], ..raw("no kind", r#"{"code": "SELECT 1"}"#, 400, "invalid_request") },
        Case { pointers: vec!["/code"], ..raw("no code", r#"{"kind": "sql"}"#, 400, "invalid_request") },
        Case {
            pointers: vec!["/code"],
            ..raw("3 MiB of code", json!({"kind": "sql", "code": long}).to_string(), 413, "too_large")
        },
        field("an escaped NUL character", &json!({"code": "SELECT '\u{0}'"}), "/code"),
        field("an unknown field", &json!({"colour": "red"}), "/colour"),
        field("both code and file", &json!({"file": "job.py"}), "/file"),
        field("a number for code", &json!({"code": 7}), "/code"),
        field("a word for a number", &json!({"priority": "high"}), "/priority"),
        field("a list for a map", &json!({"labels": ["a"]}), "/labels"),
        field("an unknown kind", &json!({"kind": "cobol"}), "/kind"),
        field("an unknown mode", &json!({"executionMode": "abacus"}), "/executionMode"),
        field("a malformed memory size", &conf("2x"), "/sparkConfig/spark.executor.memory"),
        field("priority 0", &json!({"priority": 0}), "/priority"),
        field("priority 11", &json!({"priority": 11}), "/priority"),
        field("a negative timeout", &json!({"timeoutMinutes": -1}), "/timeoutMinutes"),
        field("a timeout beyond a month", &json!({"timeoutMinutes": 43_201}), "/timeoutMinutes"),
        field("negative retries", &json!({"retryPolicy": {"maxRetries": -1}}), "/retryPolicy/maxRetries"),
        field(
            "a webhook that is no address",
            &json!({"notifications": {"webhook": "me"}}),
            "/notifications/webhook",
        ),
    ]
}

fn routes(known: &str) -> Vec<Case> {
    let unknown = "/api/v1/spark/jobs/job-0198f0c4-6b1e-7c3a-9a55-3f1f0f6c2a10";
    let mut cases: Vec<Case> = ["", "/result", "/logs", "/events", "/explain"]
        .iter()
        .map(|tail| call("an unknown job", "GET", format!("{unknown}{tail}"), 404, "job_not_found"))
        .collect();
    let jobs = "/api/v1/jobs";
    cases.extend([
        call("cancel an unknown job", "DELETE", unknown, 404, "job_not_found"),
        call("an id that is none", "GET", format!("{jobs}/../../etc"), 404, "not_found"),
        call("an id that is no id", "GET", format!("{jobs}/7"), 404, "job_not_found"),
        call("an unknown path", "GET", "/api/v2/jobs", 404, "not_found"),
        call(
            "a method that the job does not take",
            "PUT",
            format!("{jobs}/{known}"),
            405,
            "method_not_allowed",
        ),
        call("a method that nobody takes", "PATCH", SUBMIT, 405, "method_not_allowed"),
        call("no content type", "POST", SUBMIT, 415, "unsupported_media_type"),
        Case {
            headers: vec![("content-type", "application/x-www-form-urlencoded")],
            ..raw("a form", "kind=sql", 415, "unsupported_media_type")
        },
        Case {
            headers: vec![("content-type", "application/xml")],
            ..raw("XML", "<job/>", 415, "unsupported_media_type")
        },
        query("an unknown cursor", &format!("{jobs}?cursor=abc"), "/cursor"),
        query("an unknown state", &format!("{jobs}?status=SLEEPING"), "/status"),
        query("limit 0", &format!("{jobs}?limit=0"), "/limit"),
        query("limit 1001", &format!("{jobs}?limit=1001"), "/limit"),
        query("a negative offset", &format!("{jobs}?offset=-1"), "/offset"),
        query("a label without a value", &format!("{jobs}?label=team"), "/label"),
        query("a time that is none", &format!("{jobs}?since=yesterday"), "/since"),
        query("a misspelt parameter", &format!("{jobs}?stauts=RUNNING"), "/stauts"),
        query("an unreadable wait", &format!("{jobs}/{known}?wait=5m"), "/wait"),
        query("an unknown stream", &format!("{jobs}/{known}/logs?stream=both"), "/stream"),
        query("an attempt that there was not", &format!("{jobs}/{known}/logs?attempt=99"), "/attempt"),
        query("no rows at all", &format!("{jobs}/{known}/result?limit=0"), "/limit"),
    ]);
    cases
}

fn check_problem(case: &str, answer: &Answer, status: u16, error: &str, correlation: &str) {
    assert_eq!(answer.status, status, "{case}: {}", answer.text);
    assert_eq!(answer.header("content-type"), "application/problem+json", "{case}");
    assert_eq!(answer.header("x-correlation-id"), correlation, "{case}");
    let problem = answer.json();
    assert_eq!(problem["error"], error, "{case}: {problem}");
    assert_eq!(problem["status"], status, "{case}: {problem}");
    assert_eq!(problem["correlationId"], correlation, "{case}: {problem}");
    assert!(!problem["message"].as_str().unwrap().is_empty(), "{case}: {problem}");
}

async fn check(api: &Api, case: Case) {
    let correlation = format!("story {}", case.name);
    let mut headers = case.headers.clone();
    headers.push(("x-correlation-id", &correlation));
    let answer = api.send(case.method, &case.path, &headers, case.body).await;
    check_problem(case.name, &answer, case.status, case.error, &correlation);
    assert_eq!(answer.pointers(), case.pointers, "{}: {}", case.name, answer.text);
    if case.status == 405 {
        assert!(!answer.header("allow").is_empty(), "{}: no Allow header", case.name);
    }
}

#[tokio::test]
async fn bad_input_is_refused_with_a_pointer_and_nothing_is_stored() {
    // contract: A1, A3, A6, A7
    let libra = sleepy().start().await;
    let api = libra.api();
    let known = api.submit(&json!({"code": "pass", "kind": "python"})).await;
    for case in bodies().into_iter().chain(routes(&known)) {
        check(&api, case).await;
    }
    assert_eq!(api.total().await, 1, "a refused request was stored");
    let allow = api.send("PUT", &format!("/api/v1/jobs/{known}"), &[], vec![]).await;
    assert_eq!(allow.header("allow"), "GET, HEAD, DELETE");
}

#[tokio::test]
async fn a_correlation_id_is_made_where_none_comes_and_a_wrong_one_is_refused() {
    // contract: A7
    let libra = sleepy().start().await;
    let api = libra.api();
    let answer = api.get("/api/v1/jobs/7").await;
    assert_eq!(answer.header("x-correlation-id"), answer.json()["correlationId"]);
    let long = "x".repeat(300);
    let answer = api.send("GET", "/api/v1/jobs", &[("x-correlation-id", &long)], vec![]).await;
    assert_eq!(answer.expect(400)["error"], "invalid_header");
    assert_eq!(answer.pointers(), ["/x-correlation-id"]);
    let headers = [JSON, ("x-correlation-id", "order 7")];
    let body = json!({"code": "pass", "kind": "python"}).to_string();
    let id = api.send("POST", SUBMIT, &headers, body.into()).await.expect(202)["jobId"].clone();
    assert_eq!(api.job(id.as_str().unwrap()).await["correlationId"], "order 7");
}

#[tokio::test]
async fn an_idempotency_key_stands_for_one_body() {
    // contract: A5
    let libra = sleepy().start().await;
    let api = libra.api();
    let headers = [JSON, ("idempotency-key", "night run 7")];
    let body = json!({"code": "pass", "kind": "python"}).to_string();
    let first = api.send("POST", SUBMIT, &headers, body.clone().into()).await;
    let again = api.send("POST", SUBMIT, &headers, body.into()).await;
    assert_eq!(again.expect(202), first.expect(202));
    assert_eq!(first.header("idempotency-replayed"), "");
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(again.header("location"), first.header("location"));
    let other = json!({"code": "print(1)", "kind": "python"}).to_string();
    let refused = api.send("POST", SUBMIT, &headers, other.into()).await;
    assert_eq!(refused.expect(422)["error"], "idempotency_key_reused");
    assert_eq!(api.total().await, 1);
}

#[tokio::test]
async fn a_job_that_can_never_fit_is_refused_and_the_limit_is_named() {
    // contract: R3, A4
    let libra = sleepy().start().await;
    let api = libra.api();
    let with = |conf: Value| json!({"code": "pass", "kind": "python", "executionMode": "spark-submit", "sparkConfig": conf});
    for (conf, limit) in [
        (
            json!({"spark.executor.instances": "1", "spark.executor.memory": "17g"}),
            "libra.resources.quotas.spark-submit.max-memory-per-executor",
        ),
        (
            json!({"spark.executor.instances": "21"}),
            "libra.resources.quotas.spark-submit.max-executors-per-job",
        ),
        (json!({"spark.driver.memory": "4000g"}), "libra.resources.limits.memory-gb"),
        (json!({"spark.master": "local[4000]"}), "libra.resources.limits.cpu-cores"),
    ] {
        let refused = api.post(SUBMIT, &with(conf)).await.expect(422);
        assert_eq!(refused["error"], "never_fits", "{refused}");
        assert!(refused["message"].as_str().unwrap().contains(limit), "{refused}");
    }
    let scala = json!({"code": "1", "kind": "scala", "executionMode": "in-cluster"});
    assert_eq!(api.post(SUBMIT, &scala).await.expect(422)["error"], "unsupported");
    assert_eq!(api.total().await, 0);
}

#[tokio::test]
async fn a_full_queue_says_when_to_come_again_and_a_waiting_job_is_cancelled_at_once() {
    // contract: R3, L6
    let libra = sleepy()
        .env("LIBRA_EXECUTION_MODES_IN_CLUSTER_ENABLED", "true")
        .env("LIBRA_QUEUE_MAX_SIZE", "1")
        .start()
        .await;
    let api = libra.api();
    let job = json!({"code": "pass", "kind": "python", "executionMode": "spark-submit"});
    let runs = api.submit(&job).await;
    api.reaches(&runs, "RUNNING").await;
    let waits = api.submit(&job).await;
    let refused = api.post(SUBMIT, &job).await;
    assert_eq!(refused.expect(429)["error"], "queue_full");
    assert!(refused.header("retry-after").parse::<u32>().unwrap() > 0);
    assert_eq!(api.total().await, 2, "the refused job was stored");
    // Where nobody waits and there is room, a full queue is no reason: it would be admitted at once.
    let elsewhere = json!({"code": "SELECT 1", "kind": "sql", "executionMode": "in-cluster"});
    api.post(SUBMIT, &elsewhere).await.expect(202);

    let why = api.get(&format!("/api/v1/jobs/{waits}/explain")).await.expect(200);
    assert_eq!(why["position"], 1, "{why}");
    assert!(why["blockedBy"]["limit"].as_str().unwrap().ends_with("max-concurrent-jobs"), "{why}");

    let cancelled = api.delete(&format!("/api/v1/jobs/{waits}")).await.expect(200);
    assert_eq!(cancelled["status"], "CANCELLED");
    let again = api.delete(&format!("/api/v1/jobs/{waits}")).await.expect(200);
    assert_eq!(again, cancelled, "the same answer again");
    let view = api.job(&waits).await;
    assert!(view["attempts"].is_null() && view["startedAt"].is_null(), "it never ran: {view}");
    // There is room again.
    api.submit(&job).await;
}
