//! The client commands, with their exit codes.

use std::process::Output;

use serde_json::Value;

use crate::surroundings::{setup, shared, turn};

async fn libra(arguments: &[&str]) -> Output {
    setup().env("LIBRA_URL", shared().await.url()).run(arguments)
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn submit_and_wait_prints_rows_alone_on_standard_output() {
    // contract: D1
    let _turn = turn().await;
    let done = libra(&["submit", "--sql", "SELECT 6 * 7 AS answer", "--wait", "-o", "json"]).await;
    assert_eq!(done.status.code(), Some(0), "{}", err(&done));
    let printed: Value = serde_json::from_str(&out(&done)).unwrap_or_else(|e| panic!("{e}: {}", out(&done)));
    assert_eq!(printed["result"]["rows"][0]["answer"], 42, "{printed}");

    let table = libra(&["submit", "--sql", "SELECT 6 * 7 AS answer", "--wait"]).await;
    assert!(out(&table).contains("answer") && out(&table).contains("42"), "{}", out(&table));
}

#[tokio::test]
async fn the_exit_code_says_how_a_job_ended() {
    // contract: D1
    let _turn = turn().await;
    let failed = libra(&["submit", "--sql", "SELECT * FROM no_such_table", "--wait"]).await;
    assert_eq!(failed.status.code(), Some(1));
    assert!(err(&failed).contains("no_such_table"), "{}", err(&failed));
    let id = out(&libra(&["submit", "--sql", "SELECT 1 AS one"]).await).trim().to_owned();
    assert!(id.starts_with("job-"), "{id}");
    assert_eq!(libra(&["wait", &id]).await.status.code(), Some(0));
    let rows = libra(&["result", &id]).await;
    assert!(out(&rows).contains("one"), "{}", out(&rows));
    for command in ["job", "events", "explain", "logs"] {
        let shown = libra(&[command, &id]).await;
        assert_eq!(shown.status.code(), Some(0), "{command}: {}", err(&shown));
    }
    let list = libra(&["jobs", "--limit", "1000"]).await;
    assert!(out(&list).contains(&id), "{}", out(&list));
    assert_eq!(libra(&["cancel", &id]).await.status.code(), Some(1), "it has already ended");
    assert_eq!(libra(&["job", "job-none"]).await.status.code(), Some(6));
    assert_eq!(libra(&["submit", "--sql", "SELECT 1", "--priority", "11"]).await.status.code(), Some(2));
}

#[tokio::test]
async fn an_absent_libra_is_told_from_a_refusal() {
    // contract: D1
    let gone = setup().run(&["jobs", "--url", "http://127.0.0.1:1"]);
    assert_eq!(gone.status.code(), Some(5), "{}", err(&gone));
    assert!(err(&gone).contains("hint: "), "{}", err(&gone));
}
