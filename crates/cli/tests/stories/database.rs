//! The database that Libra is told to use: what it says of it, and what it refuses.

use std::process::Output;

use libra_testkit::{Postgres, postgres};
use serde_json::Value;

use crate::surroundings::submit_only;

/// Runs the binary against a database; its standard output and its standard error.
fn run(url: &str, arguments: &[&str]) -> (Output, String, String) {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data").display().to_string();
    let all: Vec<&str> = arguments.iter().copied().chain(["--data-dir", &data]).collect();
    let output = submit_only().env("LIBRA_STORE_URL", url).run(&all);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    (output, out, err)
}

/// The same, which is to be refused with these words and a hint, and never with the password.
fn refused(url: &str, arguments: &[&str], words: &str) {
    let (output, _, said) = run(url, arguments);
    assert!(!output.status.success(), "{arguments:?} on {url} went well: {said}");
    assert!(said.contains(words), "{arguments:?}: `{words}` is not in: {said}");
    assert!(said.contains("hint:"), "{said}");
    assert!(!said.contains("hunter2") && !said.contains("panicked"), "{said}");
}

const SERVE: [&str; 3] = ["serve", "--listen", "127.0.0.1:0"];

#[test]
fn a_database_that_can_not_be_used_is_refused_with_a_hint() {
    // issue: wrong DSN, wrong password, no such database, nobody there
    let server = postgres::Setup::new().password("right").start();
    let port = server.port();
    let with = |user: &str, db: &str| format!("postgres://{user}:hunter2@127.0.0.1:{port}/{db}");
    for arguments in [&SERVE[..], &["migrate"], &["store", "check"]] {
        refused("mysql://root:hunter2@127.0.0.1/x", arguments, "libra.store.url");
        refused("postgres://", arguments, "libra.store.url");
        refused(&with("postgres", "postgres"), arguments, "password");
    }
    let absent = server.url_of("no_such_database");
    refused(&absent, &["store", "check"], "no_such_database");
}

#[test]
fn a_database_is_migrated_checked_and_never_downgraded() {
    // issue: old schema version, newer schema than the binary
    let server = Postgres::shared();
    let url = server.create_database();
    let check = || {
        let (output, out, said) = run(&url, &["store", "check", "-o", "json"]);
        assert!(output.status.success(), "{said}");
        serde_json::from_str::<Value>(&out).unwrap()
    };
    assert_eq!(check()["schemaFound"], 0);
    let (output, _, said) = run(&url, &["migrate"]);
    assert!(output.status.success() && said.contains("migrated from version 0"), "{said}");
    let (_, _, again) = run(&url, &["migrate"]);
    assert!(again.contains("nothing to do"), "{again}");
    let found = check();
    assert_eq!((&found["kind"], &found["writable"]), (&Value::from("postgres"), &Value::from(true)));
    assert_eq!(found["schemaFound"], found["schemaKnown"]);
    server.query(&url, "UPDATE libra_schema SET version = version + 1 WHERE version = (SELECT max(version) FROM libra_schema)");
    refused(&url, &SERVE, "newer");
    refused(&url, &["migrate"], "newer");
    assert_eq!(check()["schemaFound"].as_i64(), found["schemaKnown"].as_i64().map(|n| n + 1));
}

#[test]
fn a_database_that_can_only_be_read_is_refused() {
    let server = Postgres::shared();
    let url = server.create_database();
    let name = url.rsplit('/').next().unwrap();
    server.query(&url, &format!("ALTER DATABASE \"{name}\" SET default_transaction_read_only = on"));
    refused(&url, &SERVE, "read-only");
    let (output, out, _) = run(&url, &["store", "check", "-o", "json"]);
    assert!(!output.status.success());
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["writable"], false);
}

#[test]
fn tls_is_used_as_the_url_says() {
    let server = postgres::Setup::new().tls().start();
    let authority = server.authority().display().to_string();
    let url = server.url();
    let (output, out, said) =
        run(&format!("{url}?sslmode=verify-full&sslrootcert={authority}"), &["store", "check"]);
    assert!(output.status.success() && out.contains("writable     yes"), "{out}{said}");
    refused(&format!("{url}?sslmode=verify-full"), &["store", "check"], "certificate");
    let (output, _, said) = run(&format!("{url}?sslmode=disable"), &["store", "check"]);
    assert!(!output.status.success(), "{said}");
}
