use proptest::prelude::*;

use super::*;
use crate::deployment::spec::{self, Statements};

fn spec(json: &str) -> DeploymentSpec {
    serde_json::from_str(json).unwrap()
}

fn fingerprint(json: &str) -> Fingerprint {
    Normal::of(&spec(json), None).fingerprint()
}

const SHORT: &str = r#"{"job_id": "etl", "job_type": "stream", "artifact_path": "etl.jar"}"#;

#[test]
fn everything_is_filled_in() {
    let stream = Normal::of(&spec(SHORT), Digest::of_hex(&"a".repeat(64)).as_ref());
    insta::assert_snapshot!(serde_json::to_string_pretty(&stream.canonical()).unwrap());
    let batch = spec(
        r#"{"job_id": "nightly", "job_type": "batch", "sql": "SELECT 1; SELECT 2",
        "batch_config": {"cron": "0  2 * * MON"}}"#,
    );
    insta::assert_snapshot!(serde_json::to_string_pretty(&Normal::of(&batch, None).canonical()).unwrap());
}

#[test]
fn what_says_the_same_has_one_fingerprint() {
    for same in [
        r#"{"artifact_path": "etl.jar", "job_type": "stream", "job_id": "etl"}"#,
        r#"{"job_id": "etl", "job_type": "stream", "artifact_path": "etl.jar", "artifact_type": "jar",
            "deployment": {}, "monitoring": {"alert_on_failure": true}, "args": [], "strict": false}"#,
        r#"{"job_id": "etl", "job_type": "stream", "artifact_path": "etl.jar", "upgrade_mode": "savepoint",
            "deployment": {"checkpoint_interval": "1m", "parallelism": 1}, "stability": {"timeout_seconds": 600},
            "stream_config": {"savepoint_trigger_interval": 0, "checkpoint_timeout": 600000}}"#,
    ] {
        assert_eq!(fingerprint(same), fingerprint(SHORT), "{same}");
    }
    for other in [
        r#"{"job_id": "etl", "job_type": "stream", "artifact_path": "etl2.jar"}"#,
        r#"{"job_id": "etl", "job_type": "stream", "artifact_path": "etl.jar", "args": ["x"]}"#,
        r#"{"job_id": "etl", "job_type": "stream", "artifact_path": "etl.jar", "monitoring": {"alert_on_failure": false}}"#,
    ] {
        assert_ne!(fingerprint(other), fingerprint(SHORT), "{other}");
    }
}

#[test]
fn another_file_in_the_same_place_is_a_change_unless_it_is_pinned() {
    let (a, b) = (Digest::of_hex(&"a".repeat(64)).unwrap(), Digest::of_hex(&"b".repeat(64)).unwrap());
    let of = |spec: &DeploymentSpec, digest| Normal::of(spec, Some(digest)).fingerprint();
    let mut short = spec(SHORT);
    assert_ne!(of(&short, &a), of(&short, &b));
    short.artifact_signature = Some(format!("sha256:{}", "A".repeat(64)));
    assert_eq!(of(&short, &a), of(&short, &b), "the wrong bytes are refused elsewhere");
    assert_ne!(
        of(&short, &a),
        of(&spec(SHORT), &a),
        "what is pinned stays when the file changes: that is kept"
    );
    let job = |spec: &DeploymentSpec| Normal::of(spec, Some(&a)).job_key();
    assert_eq!(job(&short), job(&spec(SHORT)), "pinned or found: the same bytes, so the job is the same");
}

/// Printed, so that a fingerprint that changes between two versions of Libra is noticed: each deployment is then
/// compared field by field once.
#[test]
fn a_fingerprint_stays_for_ever() {
    insta::assert_snapshot!(fingerprint(SHORT).to_string());
}

#[test]
fn restarts_follow_from_what_is_said() {
    let normal = |deployment: &str| {
        let text = format!(
            r#"{{"job_id": "a", "job_type": "stream", "artifact_path": "a.jar", "deployment": {deployment}}}"#
        );
        let d = Normal::of(&spec(&text), None).deployment;
        (d.restart_strategy.as_str(), d.max_restart_attempts, d.restart_delay.0)
    };
    assert_eq!(normal("{}"), ("exponential-delay", None, 1_000));
    assert_eq!(normal(r#"{"max_restart_attempts": 5}"#), ("fixed-delay", Some(5), 10_000));
    assert_eq!(normal(r#"{"restart_strategy": "failure-rate"}"#), ("failure-rate", Some(3), 10_000));
    assert_eq!(normal(r#"{"restart_delay": "2s"}"#), ("exponential-delay", None, 2_000));
}

proptest! {
    #[test]
    fn the_order_of_maps_and_the_splitting_of_sql_change_nothing(
        names in proptest::collection::btree_map("[A-Z]{1,4}", "[a-z]{0,4}", 0..6),
        statements in proptest::collection::vec("[A-Z]{1,8}( '[a-z;]*')?", 1..5)
    ) {
        let mut one = DeploymentSpec::new("a", JobType::Stream, None);
        one.sql = Some(Statements::List(statements.clone()));
        one.env_vars = names.clone();
        let mut two = one.clone();
        two.sql = Some(Statements::Text(statements.join(" ;\n")));
        two.env_vars = names.into_iter().rev().collect();
        two.monitoring = Some(spec::Monitoring::default());
        prop_assert_eq!(Normal::of(&one, None).fingerprint(), Normal::of(&two, None).fingerprint());
    }
}
