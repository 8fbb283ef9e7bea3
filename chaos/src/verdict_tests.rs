//! A judge that finds nothing proves nothing: each promise is broken here once.

use serde_json::{Value, json};

use super::*;
use crate::draft::Draft;

/// 2026-01-01T00:00:10Z, when these jobs end.
const ENDED: i64 = 1_767_225_610_000_000;
const SECOND: i64 = 1_000_000;

fn entry(plan: Plan) -> Entry {
    let draft = Draft { name: "chaos-4".into(), number: 4, plan, seconds: 1.0, cancel_after: None };
    Entry {
        draft,
        key: "key".into(),
        answer: Some(Answer::Taken("job-1".into())),
        cancel_sent_at: None,
        ended: None,
    }
}

fn job(status: &str, more: &Value) -> JobView {
    let mut job = json!({
        "jobId": "job-1", "status": status, "executionMode": "spark-submit", "engine": "spark", "kind": "python",
        "user": "u", "tenant": "t", "priority": 5, "submittedAt": "2026-01-01T00:00:00Z", "retryCount": 0,
        "maxRetries": 0, "limits": {"queueTimeoutSeconds": 0, "timeoutSeconds": 0}, "links": {},
        "resourceRequirement": {"cpuCores": 1, "memoryGB": 1.0, "executors": 0}, "correlationId": "c",
        "completedAt": "2026-01-01T00:00:10Z",
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        job[key] = value.clone();
    }
    serde_json::from_value(job).unwrap()
}

fn ran(token: &str, start: i64, end: Option<(i64, i32)>) -> Ran {
    Ran { token: token.into(), starts: vec![ENDED + start], end: end.map(|(at, code)| (ENDED + at, code)) }
}

fn kill(token: &str, victim: Victim) -> Kill {
    Kill { token: token.into(), victim }
}

fn broken(entry: &Entry, job: Option<&JobView>, ran: &[Ran], kills: &[Kill]) -> Vec<Broken> {
    Case { entry, job, ran, kills }.judge().into_iter().map(|(broken, _)| broken).collect()
}

fn failure(class: &str) -> Value {
    json!({"error": {"class": class, "code": "c", "message": "m"}})
}

#[test]
fn success_needs_the_mark_of_the_end() {
    let (entry, job) = (entry(Plan::Once), job("SUCCEEDED", &json!({})));
    let whole = [ran("a", -3 * SECOND, Some((-SECOND, 0)))];
    assert_eq!(broken(&entry, Some(&job), &whole, &[]), []);
    assert_eq!(broken(&entry, Some(&job), &[], &[]), [Broken::Untrue]);
    assert_eq!(broken(&entry, Some(&job), &[ran("a", -SECOND, None)], &[]), [Broken::Untrue]);
    assert_eq!(broken(&entry, Some(&job), &[ran("a", -2, Some((-1, 7)))], &[]), [Broken::Untrue]);
    let late = [ran("a", -SECOND, Some((SECOND, 0)))];
    assert_eq!(broken(&entry, Some(&job), &late, &[]), [Broken::Untrue], "alive after its end");
}

#[test]
fn what_was_acknowledged_is_there_and_ends() {
    let mut entry = entry(Plan::Once);
    assert_eq!(broken(&entry, None, &[], &[]), [Broken::Lost]);
    assert_eq!(broken(&entry, Some(&job("RUNNING", &json!({}))), &[], &[]), [Broken::Lost]);
    let another = job("SUCCEEDED", &json!({"jobId": "job-2"}));
    assert_eq!(broken(&entry, Some(&another), &[], &[]), [Broken::Twice]);
    entry.answer = Some(Answer::Refused("full".into()));
    assert_eq!(broken(&entry, None, &[], &[]), []);
    assert_eq!(broken(&entry, Some(&another), &[], &[]), [Broken::Untrue]);
}

#[test]
fn nothing_runs_twice_unasked() {
    let (once, many) = (entry(Plan::Once), entry(Plan::Repeatable));
    let job = job("SUCCEEDED", &json!({}));
    let cut = [ran("a", -9 * SECOND, None), ran("b", -3 * SECOND, Some((-SECOND, 0)))];
    assert_eq!(broken(&once, Some(&job), &cut, &[]), [Broken::Twice]);
    assert_eq!(broken(&many, Some(&job), &cut, &[]), [Broken::Twice], "nothing had ended it");
    assert_eq!(broken(&once, Some(&job), &cut, &[kill("a", Victim::Driver)]), []);
    assert_eq!(broken(&once, Some(&job), &cut, &[kill("a", Victim::Shim)]), [Broken::Twice]);
    let both = [kill("a", Victim::Shim), kill("a", Victim::Driver)];
    assert_eq!(broken(&once, Some(&job), &cut, &both), [Broken::Twice]);
    assert_eq!(broken(&many, Some(&job), &cut, &[kill("a", Victim::Shim)]), []);
    let failed = [ran("a", -9 * SECOND, Some((-8 * SECOND, 9))), cut[1].clone()];
    assert_eq!(broken(&entry(Plan::FirstFails), Some(&job), &failed, &[]), []);
    let done = [ran("a", -9 * SECOND, Some((-8 * SECOND, 0))), cut[1].clone()];
    assert_eq!(broken(&many, Some(&job), &done, &[]), [Broken::Twice]);
    let both = [ran("a", -9 * SECOND, Some((-2 * SECOND, 9))), cut[1].clone()];
    assert_eq!(broken(&many, Some(&job), &both, &[]), [Broken::Twice], "at the same time");
    let mut again = ran("a", -9 * SECOND, Some((-SECOND, 0)));
    again.starts.push(ENDED - 8 * SECOND);
    assert_eq!(broken(&once, Some(&job), &[again], &[]), [Broken::Twice], "two drivers of one attempt");
}

#[test]
fn a_failure_has_a_reason() {
    let seven = entry(Plan::ExitSeven);
    let by_itself = job("FAILED", &json!({"exitCode": 7, "error": failure("user")["error"]}));
    assert_eq!(broken(&seven, Some(&by_itself), &[ran("a", -9, Some((-5, 7)))], &[]), []);
    assert_eq!(broken(&seven, Some(&by_itself), &[ran("a", -9, Some((-5, 0)))], &[]), [Broken::Untrue]);
    let lost = job("FAILED", &failure("infrastructure"));
    let cut = [ran("a", -9, None)];
    assert_eq!(broken(&seven, Some(&lost), &cut, &[]), [Broken::Untrue]);
    assert_eq!(broken(&seven, Some(&lost), &cut, &[kill("a", Victim::Driver)]), []);
    let shim = [kill("a", Victim::Shim)];
    assert_eq!(broken(&seven, Some(&lost), &cut, &shim), [Broken::Untrue], "nobody can know that");
    let mut unknown = failure("infrastructure");
    unknown["error"]["outcome"] = json!("unknown");
    assert_eq!(broken(&seven, Some(&job("FAILED", &unknown)), &cut, &shim), []);
    let given_up = json!({"error": {"class": "infrastructure", "code": "launch_lost", "message": "m"}});
    assert_eq!(broken(&seven, Some(&job("FAILED", &given_up)), &[], &[]), []);
    assert_eq!(broken(&seven, Some(&job("FAILED", &given_up)), &cut, &[]), [Broken::Untrue], "it ran");
    assert_eq!(broken(&seven, Some(&job("TIMEOUT", &json!({}))), &cut, &[]), [Broken::Untrue]);
}

#[test]
fn a_cancellation_was_asked_for_in_time() {
    let mut entry = entry(Plan::CancelRunning);
    let job = job("CANCELLED", &json!({"cancelRequestedAt": "2026-01-01T00:00:05Z"}));
    let cut = [ran("a", -9 * SECOND, None)];
    assert_eq!(broken(&entry, Some(&job), &cut, &[]), [Broken::Untrue], "nobody asked");
    entry.cancel_sent_at = Some(ENDED - 5 * SECOND);
    assert_eq!(broken(&entry, Some(&job), &cut, &[]), []);
    let done = [ran("a", -9 * SECOND, Some((-8 * SECOND, 0)))];
    assert_eq!(broken(&entry, Some(&job), &done, &[]), [Broken::Untrue], "it was done before");
}

#[test]
fn sql_answers_its_row() {
    let entry = entry(Plan::Sql);
    let with =
        |rows: Value| job("SUCCEEDED", &json!({"result": {"schema": {}, "rows": rows, "truncated": false}}));
    assert_eq!(broken(&entry, Some(&with(json!([{"answer": 8}]))), &[], &[]), []);
    assert_eq!(broken(&entry, Some(&with(json!([{"answer": 9}]))), &[], &[]), [Broken::Untrue]);
}
