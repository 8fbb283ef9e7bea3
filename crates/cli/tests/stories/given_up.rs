//! What others have given up does not run on: by then it may run a second time somewhere else.

use std::fs;

use libra_testkit::{Postgres, processes, wait};
use serde_json::json;

use crate::replicas::{Together, begun, patient};
use crate::surroundings::{submit_only, turn};

/// What the leader writes about an attempt on a host that was not heard of for too long.
fn give_up(database: &str, job: &str) {
    let now = "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)";
    let sql = format!(
        "UPDATE attempts SET ended_at = {now} WHERE job_id = '{job}'; \
         UPDATE jobs SET state = 'FAILED', revision = revision + 1, completed_at = {now} WHERE id = '{job}'"
    );
    Postgres::shared().query(database, &sql);
}

async fn nothing_runs(token: &str) {
    wait::until_true("nothing of it runs", || processes::of_attempt(token).is_empty()).await;
}

#[tokio::test]
async fn a_driver_whose_attempt_was_given_up_is_ended() {
    // contract: L3; design §6, the host rule: late drivers are killed
    let _turn = turn().await;
    let database = Postgres::shared().create_database();
    let together = Together::on(submit_only(), &database);
    let mut a = together.named("a").start().await;
    let (marker, go) = (together.scratch("marker"), together.scratch("go"));
    let id = a.api().submit(&patient(&marker, &go)).await;
    begun(&marker).await;
    let job = a.api().reaches(&id, "RUNNING").await;
    let token = job["attempts"][0]["token"].as_str().unwrap().to_owned();
    give_up(&database, &id);
    nothing_runs(&token).await;
    assert_eq!(a.api().job(&id).await["status"], "FAILED");

    // The same where neither Libra nor the process that watches over the driver has lived to see it.
    let marker = together.scratch("second");
    let id = a.api().submit(&patient(&marker, &go)).await;
    begun(&marker).await;
    let job = a.api().reaches(&id, "RUNNING").await;
    let token = job["attempts"][0]["token"].as_str().unwrap().to_owned();
    a.kill();
    for pid in processes::working_below(together.shared()) {
        if processes::command_line(pid).contains(" shim ") {
            processes::kill(pid);
        }
    }
    give_up(&database, &id);
    assert!(!processes::of_attempt(&token).is_empty(), "the driver has nobody");
    a.start(&together.named("a")).await;
    nothing_runs(&token).await;
    assert_eq!(fs::read_to_string(&marker).unwrap(), "begin\n");
}

#[tokio::test]
async fn a_failure_with_unprintable_words_ends_its_job_like_any_other() {
    // PostgreSQL takes no NUL in a text
    let _turn = turn().await;
    let together = Together::new(submit_only());
    let a = together.named("a").start().await;
    let code = "raise ValueError('a\\0b' + 'x' * 100000)";
    let job = a.api().run(&json!({"code": code, "kind": "python", "executionMode": "spark-submit"})).await;
    assert_eq!(job["status"], "FAILED", "{job:#}");
    let said = job["error"]["message"].as_str().unwrap();
    assert!(said.contains("a\u{fffd}bxxx") && said.len() < 5_000, "{said}");
}
