//! Libra dies or is told to end; its jobs go on, and the next Libra takes them up.

use std::fs;

use libra_testkit::{Libra, processes, wait, write};
use serde_json::{Value, json};

use crate::surroundings::{quoted, submit_only, turn};

/// A program that says that it has begun, waits for a file, and says that it ends.
fn patient(libra: &Libra) -> Value {
    let (marker, go) = (quoted(&libra.scratch("marker")), quoted(&libra.scratch("go")));
    let code = format!(
        "import os, time\n\
         open({marker}, 'a').write('begin\\n')\nprint('first line', flush=True)\n\
         while not os.path.exists({go}): time.sleep(0.1)\n\
         print('last line', flush=True)\nopen({marker}, 'a').write('end\\n')\n"
    );
    json!({"code": code, "kind": "python", "executionMode": "spark-submit"})
}

async fn begun(libra: &Libra) {
    let marker = libra.scratch("marker");
    wait::until_true("the program has begun", || {
        fs::read_to_string(&marker).is_ok_and(|t| t.contains("begin\n"))
    })
    .await;
}

/// Once the next Libra is up: the same processes, one attempt, one run, the whole log.
async fn goes_on(libra: &Libra, id: &str, token: &str, before: &[i32]) {
    let api = libra.api();
    api.reaches(id, "RUNNING").await;
    assert_eq!(processes::of_attempt(token), before, "the same processes as before");
    write(&libra.scratch("go"), "");
    let job = api.ended(id).await;
    assert_eq!((&job["status"], &job["exitCode"]), (&json!("SUCCEEDED"), &json!(0)), "{job:#}");
    assert_eq!(job["attempts"].as_array().unwrap().len(), 1, "{job:#}");
    assert_eq!(job["retryCount"], 0);
    let log = api.log(id, "stdout").await;
    assert!(log.contains("first line") && log.contains("last line"), "{log}");
    assert_eq!(fs::read_to_string(libra.scratch("marker")).unwrap(), "begin\nend\n", "exactly one run");
    assert_eq!(processes::of_attempt(token), Vec::<i32>::new());
}

async fn token(libra: &Libra, id: &str) -> String {
    let job = libra.api().reaches(id, "RUNNING").await;
    job["attempts"][0]["token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn after_kill_9_the_same_driver_is_adopted() {
    // contract: S2, L3, L7
    let _turn = turn().await;
    let mut libra = submit_only().start().await;
    let id = libra.api().submit(&patient(&libra)).await;
    begun(&libra).await;
    let token = token(&libra, &id).await;
    let before = processes::of_attempt(&token);
    assert!(!before.is_empty());
    libra.kill();
    assert_eq!(processes::of_attempt(&token), before, "the driver outlives Libra");
    libra.start(&submit_only()).await;
    goes_on(&libra, &id, &token, &before).await;
}

#[tokio::test]
async fn a_graceful_end_leaves_a_running_driver_running() {
    // contract: S2
    let _turn = turn().await;
    let mut libra = submit_only().start().await;
    let id = libra.api().submit(&patient(&libra)).await;
    begun(&libra).await;
    let token = token(&libra, &id).await;
    let before = processes::of_attempt(&token);
    let status = libra.stop();
    assert!(status.success(), "{status}: {}", libra.log());
    assert_eq!(processes::of_attempt(&token), before, "the driver outlives Libra");
    libra.start(&submit_only()).await;
    goes_on(&libra, &id, &token, &before).await;
}

#[tokio::test]
async fn a_driver_that_ends_while_libra_is_away_is_told_truthfully() {
    // contract: L7, S2
    let _turn = turn().await;
    let mut libra = submit_only().start().await;
    let id = libra.api().submit(&patient(&libra)).await;
    begun(&libra).await;
    let token = token(&libra, &id).await;
    libra.kill();
    write(&libra.scratch("go"), "");
    wait::until_true("the driver has ended", || processes::of_attempt(&token).is_empty()).await;
    libra.start(&submit_only()).await;
    let job = libra.api().ended(&id).await;
    assert_eq!((&job["status"], &job["exitCode"]), (&json!("SUCCEEDED"), &json!(0)), "{job:#}");
    assert_eq!(job["attempts"].as_array().unwrap().len(), 1, "{job:#}");
    assert!(libra.api().log(&id, "stdout").await.contains("last line"));
}
