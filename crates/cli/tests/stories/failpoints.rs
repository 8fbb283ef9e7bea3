//! Libra or the shim dies between any two steps; the job still ends truthfully, with one run at a time.

use std::fs;

use libra_testkit::{Libra, wait};
use serde_json::{Value, json};

use crate::surroundings::{quoted, submit_only, turn};

const VARIABLE: &str = "LIBRA_FAILPOINT";

/// Appends to a marker when it begins and when it ends. Two at once would write `overlap`.
fn marking(libra: &Libra) -> Value {
    let (marker, lock) = (quoted(&libra.scratch("marker")), quoted(&libra.scratch("lock")));
    let code = format!(
        "import fcntl, time\n\
         mark = lambda what: open({marker}, 'a').write(what + '\\n')\n\
         lock = open({lock}, 'w')\n\
         try:\n    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)\n\
         except OSError:\n    mark('overlap')\n\
         mark('begin')\ntime.sleep(1)\nprint('done', flush=True)\nmark('end')\n"
    );
    json!({"code": code, "kind": "python", "executionMode": "spark-submit"})
}

fn marks(libra: &Libra) -> Vec<String> {
    let text = fs::read_to_string(libra.scratch("marker")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn attempts(job: &Value) -> Vec<Value> {
    job["attempts"].as_array().cloned().unwrap_or_default()
}

/// As [`libra_dies`], where one attempt or two may be right.
async fn libra_dies_early(point: &str) {
    libra_dies_within(point, 1..=2).await;
}

/// Libra dies at `point` and is started again: the job SUCCEEDED and ran exactly once.
async fn libra_dies(point: &str, attempts_in_all: usize) {
    libra_dies_within(point, attempts_in_all..=attempts_in_all).await;
}

async fn libra_dies_within(point: &str, attempts_in_all: std::ops::RangeInclusive<usize>) {
    let _turn = turn().await;
    let mut libra = submit_only().env(VARIABLE, point).start().await;
    // Libra may die before it has answered; what it has stored counts.
    let _ = libra.api().try_post("/api/v1/jobs", &marking(&libra)).await;
    let status = libra.end().await;
    assert!(!status.success(), "{point}: {status}");
    libra.start(&submit_only()).await;
    let api = libra.api();
    let list = api.get("/api/v1/jobs").await.expect(200);
    assert_eq!(list["total"], 1, "{point}: the job is not lost, and is there once");
    let id = list["jobs"][0]["jobId"].as_str().unwrap().to_owned();
    let job = api.ended(&id).await;
    assert_eq!(job["status"], "SUCCEEDED", "{point}: {job:#}");
    assert_eq!(marks(&libra), ["begin", "end"], "{point}: exactly one run: {job:#}");
    assert!(attempts_in_all.contains(&attempts(&job).len()), "{point}: {job:#}");
    assert_eq!(job["retryCount"], 0, "{point}: a lost launch spends no retry: {job:#}");
    assert!(api.log(&id, "stdout").await.contains("done"), "{point}");
}

/// The shim dies at `point`; afterwards Libra is started again without the failpoint. The job's own policy says that
/// it may be repeated.
async fn shim_dies(point: &str) {
    let _turn = turn().await;
    let mut libra = submit_only().env(VARIABLE, point).start().await;
    let mut body = marking(&libra);
    body["retryPolicy"] = json!({"maxRetries": 3});
    let id = libra.api().submit(&body).await;
    let log = libra.attempt_dir(&id, 1).join("shim.log");
    wait::until_true("the first shim was started", || log.exists()).await;
    // The next attempt's shim would die as well: wait until Libra has seen the first one's death.
    loop {
        let job = libra.api().job(&id).await;
        if attempts(&job).first().is_some_and(|a| a["endedAt"].is_string()) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    libra.kill();
    libra.start(&submit_only()).await;
    let job = libra.api().ended(&id).await;
    let marks = marks(&libra);
    let begun = marks.iter().filter(|m| *m == "begin").count();
    assert_eq!(job["status"], "SUCCEEDED", "{point}: {job:#}");
    assert!(!marks.contains(&"overlap".to_owned()), "{point}: two runs at once: {marks:?}");
    assert!(attempts(&job).len() >= 2, "{point}: {job:#}");
    assert!((1..=attempts(&job).len()).contains(&begun), "{point}: {marks:?}: {job:#}");
    assert_eq!(marks.last().map(String::as_str), Some("end"), "{point}: {marks:?}");
    let first = &attempts(&job)[0];
    assert_ne!(first["outcome"], "SUCCEEDED", "{point}: nobody knows how it ended: {job:#}");
}

#[tokio::test]
async fn libra_dies_after_a_job_got_its_turn() {
    // contract: L2, L3: the intent is stored along with the turn, so this is a lost launch as well
    libra_dies("after-scheduled", 2).await;
}

#[tokio::test]
async fn libra_dies_after_it_stored_the_intent() {
    // contract: L3: the launch was lost before anything ran, so there is a second attempt
    libra_dies("after-intent", 2).await;
}

#[tokio::test]
async fn libra_dies_after_it_spawned_the_shim() {
    // contract: L3: the shim or the next Libra creates the owner file first, and that decides about the attempts
    libra_dies_early("after-spawn").await;
}

#[tokio::test]
async fn libra_dies_after_the_shim_owns_the_attempt() {
    // contract: L3, S2
    libra_dies("after-owner", 1).await;
}

#[tokio::test]
async fn libra_dies_after_the_launch() {
    // contract: L3, S2
    libra_dies("after-launch", 1).await;
}

#[tokio::test]
async fn libra_dies_after_it_stored_the_handle() {
    // contract: L3, S2
    libra_dies("after-handle", 1).await;
}

#[tokio::test]
async fn libra_dies_before_it_stored_the_result() {
    // contract: L7, S2
    libra_dies("before-result", 1).await;
}

#[tokio::test]
async fn libra_dies_after_it_stored_the_result() {
    // contract: L7, S2
    libra_dies("after-result", 1).await;
}

#[tokio::test]
async fn the_shim_dies_before_it_owns_the_attempt() {
    // contract: L3, L7
    shim_dies("shim-before-owner").await;
}

#[tokio::test]
async fn the_shim_dies_before_it_starts_the_driver() {
    // contract: L3, L7
    shim_dies("shim-after-owner").await;
}

#[tokio::test]
async fn the_shim_dies_after_it_started_the_driver() {
    // contract: L3, L7
    shim_dies("shim-after-spawn").await;
}

#[tokio::test]
async fn the_shim_dies_before_it_wrote_how_the_driver_ended() {
    // contract: L3, L7
    shim_dies("shim-before-exit-file").await;
}

#[tokio::test]
async fn what_may_have_happened_is_not_repeated_unasked() {
    // contract: L4, L7; docs/decisions/0004
    let _turn = turn().await;
    let libra = submit_only().env(VARIABLE, "shim-after-spawn").start().await;
    let id = libra.api().submit(&marking(&libra)).await;
    let job = libra.api().ended(&id).await;
    assert_eq!(job["status"], "FAILED", "{job:#}");
    assert_eq!(job["error"]["class"], "infrastructure", "{job:#}");
    assert_eq!(job["error"]["outcome"], "unknown", "{job:#}");
    assert_eq!(attempts(&job).len(), 1, "{job:#}");
    assert!(marks(&libra).iter().filter(|m| *m == "begin").count() <= 1);
}
