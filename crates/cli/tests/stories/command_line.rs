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

#[tokio::test]
async fn a_context_says_which_libra_is_meant_and_with_which_key() {
    // contract: D3
    let home = tempfile::tempdir().unwrap();
    let key = home.path().join("key");
    std::fs::write(&key, "some-key\n").unwrap();
    let at_home = |arguments: &[&str]| {
        let home = home.path().to_str().unwrap();
        setup().env("XDG_CONFIG_HOME", home).env("LIBRA_URL", "").env("LIBRA_TOKEN", "").run(arguments)
    };
    let url = shared().await.url();
    let key = key.to_str().unwrap();
    assert_eq!(at_home(&["context", "set", "gone", "--url", "http://127.0.0.1:1"]).status.code(), Some(0));
    assert_eq!(
        at_home(&["context", "set", "here", "--url", url, "--token-file", key]).status.code(),
        Some(0)
    );
    let list = at_home(&["context", "list"]);
    assert!(out(&list).contains("* gone") && out(&list).contains("  here"), "{}", out(&list));
    assert!(!out(&list).contains("some-key"), "{}", out(&list));

    assert_eq!(at_home(&["jobs"]).status.code(), Some(5), "the first context is in use, and gone");
    let there = at_home(&["jobs", "--context", "here"]);
    assert_eq!(there.status.code(), Some(0), "{}", err(&there));
    assert_eq!(at_home(&["context", "use", "here"]).status.code(), Some(0));
    assert_eq!(at_home(&["jobs"]).status.code(), Some(0));
    assert_eq!(at_home(&["jobs", "--url", "http://127.0.0.1:1"]).status.code(), Some(5));
    assert_eq!(at_home(&["jobs", "--url", url, "--context", "here"]).status.code(), Some(2));

    let unknown = at_home(&["jobs", "--context", "nowhere"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(err(&unknown).contains("hint: there are gone, here"), "{}", err(&unknown));
    assert_eq!(at_home(&["context", "remove", "here"]).status.code(), Some(0));
    assert_eq!(at_home(&["context", "use", "here"]).status.code(), Some(2));
}

#[tokio::test]
async fn a_shell_completes_commands_and_options() {
    // contract: D3
    let script = setup().run(&["completions", "bash"]);
    assert_eq!(script.status.code(), Some(0), "{}", err(&script));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("libra");
    std::fs::write(&file, &script.stdout).unwrap();
    let complete = |line: &str| {
        let words: Vec<String> = line.split(' ').map(|word| format!("'{word}'")).collect();
        let asked = format!(
            "source {}; COMP_WORDS=({}); COMP_CWORD={}; _libra libra \"${{COMP_WORDS[COMP_CWORD]}}\" \
             \"${{COMP_WORDS[COMP_CWORD-1]}}\"; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            file.display(),
            words.join(" "),
            words.len() - 1
        );
        let answer = std::process::Command::new("bash").args(["-c", &asked]).output().unwrap();
        String::from_utf8_lossy(&answer.stdout).into_owned()
    };
    assert_eq!(complete("libra sub"), "submit\n");
    assert!(complete("libra submit --fol").contains("--follow"));
    assert_eq!(complete("libra shi"), "\n", "what people do not call is not offered");
}
