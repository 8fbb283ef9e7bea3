//! What keeps Libra from starting, and what does not.

use std::process::Output;

use serde_json::json;

use crate::surroundings::{setup, sleepy, submit_only};

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test]
async fn a_second_libra_on_one_data_directory_refuses_to_start() {
    // contract: P5
    let libra = sleepy().start().await;
    let arguments = libra.serve_arguments();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let second = sleepy().run(&arguments);
    assert!(!second.status.success());
    let said = said(&second);
    assert!(said.contains("another Libra is using"), "{said}");
    assert!(said.contains("hint: stop the other one"), "{said}");
    assert_eq!(libra.api().get("/health/ready").await.status, 200, "the first one goes on");
}

#[tokio::test]
async fn nobody_outside_is_let_in_without_keys() {
    // contract: X1
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().to_str().unwrap();
    let refused = setup().run(&["serve", "--listen", "0.0.0.0:0", "--data-dir", dir]);
    assert!(!refused.status.success());
    let said = said(&refused);
    assert!(
        said.contains("without a key") && said.contains("hint: ") && said.contains("libra.auth.keys"),
        "{said}"
    );
}

#[tokio::test]
async fn without_spark_libra_serves_and_says_what_is_missing() {
    // contract: L4, S1
    let setup = setup().env("LIBRA_SPARK_HOME", "/nonexistent");
    let libra = setup.start().await;
    let api = libra.api();
    assert_eq!(api.get("/health/ready").await.status, 200, "readiness does not wait for Spark");
    for body in [
        json!({"code": "pass", "kind": "python", "retryPolicy": {"maxRetries": 0}}),
        json!({"code": "SELECT 1", "kind": "sql", "retryPolicy": {"maxRetries": 0}}),
    ] {
        let job = api.run(&body).await;
        assert_eq!(job["status"], "FAILED", "{job:#}");
        assert_eq!(job["error"]["class"], "infrastructure", "{job:#}");
        assert_eq!(job["error"]["code"], "spark_missing", "{job:#}");
        assert!(job["error"]["message"].as_str().unwrap().contains("make setup"), "{job:#}");
    }
    let doctor = setup.run(&["doctor"]);
    assert_eq!(doctor.status.code(), Some(1));
    assert!(said(&doctor).contains("make setup"), "{}", said(&doctor));
}

#[tokio::test]
async fn a_wrong_key_in_the_configuration_is_named() {
    // contract: D3
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("libra.yaml");
    std::fs::write(&config, "libra:\n  queue:\n    max-sise: 7\n").unwrap();
    let refused = submit_only().run(&["serve", "--config", config.to_str().unwrap()]);
    assert!(!refused.status.success());
    let said = said(&refused);
    assert!(
        said.contains("libra.queue.max-sise") && said.contains("did you mean libra.queue.max-size"),
        "{said}"
    );
}
