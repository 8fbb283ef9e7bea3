use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::deployment::flink_config::flink_configuration;
use crate::deployment::normal::Normal;
use crate::deployment::spec::{JobType, UpgradeMode};

/// The reference's example with the digest written out, as JSON: what the reader of YAML hands over.
const REFERENCE: &str = include_str!("reference.json");

fn spec(json: &str) -> DeploymentSpec {
    serde_json::from_str(json).unwrap_or_else(|bad| panic!("{bad}: {json}"))
}

/// A specification that is fine, with `rest` in it.
fn with(rest: &str) -> DeploymentSpec {
    let comma = if rest.is_empty() { "" } else { "," };
    spec(&format!(r#"{{"job_id": "etl", "job_type": "stream", "artifact_path": "etl.jar"{comma} {rest}}}"#))
}

fn lines(found: &[Violation]) -> String {
    found.iter().fold(String::new(), |mut text, v| {
        writeln!(text, "{} {}", v.pointer, v.reason).unwrap();
        text
    })
}

#[test]
fn the_references_example_is_fine_with_warnings() {
    // contract: F1
    let mut spec = spec(REFERENCE);
    assert_eq!(spec.validate(), []);
    insta::assert_snapshot!(lines(&spec.warnings()));
    spec.strict = true;
    assert_eq!(spec.validate(), spec.warnings());
    let back = serde_json::to_string(&spec).unwrap();
    assert_eq!(serde_json::from_str::<DeploymentSpec>(&back).unwrap(), spec, "it reads back");
}

#[test]
fn what_has_no_effect_on_a_batch_job_is_said() {
    let mut batch = with(
        r#""upgrade_mode": "savepoint", "allow_non_restored_state": true, "stability": {"checkpoints": 2},
        "deployment": {"checkpoint_interval": 5000, "savepoint_path": "/s"}, "stream_config": {},
        "batch_config": {"timezone": "Europe/Berlin", "overlap": "queue"}"#,
    );
    batch.job_type = JobType::Batch;
    assert_eq!(batch.validate(), []);
    insta::assert_snapshot!(lines(&batch.warnings()));
}

#[test]
fn every_wrong_field_is_named() {
    let mut found = String::new();
    for rest in [
        r#""deployment": {"parallelism": 0}"#,
        r#""deployment": {"parallelism": 40000, "checkpoint_interval": 5, "savepoint_path": " "}"#,
        r#""deployment": {"checkpoint_interval": "9999d"}"#,
        r#""deployment": {"restart_strategy": "failure-rate", "max_restart_attempts": 0}"#,
        r#""deployment": {"restart_strategy": "exponential-delay", "restart_delay": 0, "max_restart_attempts": 4000000000}"#,
        r#""stream_config": {"savepoint_trigger_interval": 10, "checkpoint_timeout": 1, "max_concurrent_checkpoints": 0}"#,
        r#""stream_config": {"savepoint_trigger_interval": "now and then"}"#,
        r#""batch_config": {"cron": "61 * * * *", "max_runs": 0, "ttl_seconds": 0}"#,
        r#""batch_config": {"cron": "0 2 * * *", "timezone": "Mars/Olympus"}"#,
        r#""batch_config": {"timezone": "nowhere"}"#,
        r#""artifact_signature": "sha256:abc123""#,
        r#""artifact_signature": "md5:abc""#,
        r#""security": {"artifact_verification": true}"#,
        r#""signature": """#,
        r#""sql": "SELECT 1", "artifact_type": "jar""#,
        r#""sql": " ; ""#,
        r#""entry_class": "org..Job""#,
        r#""resources": {"memory": "2 gigs", "cpu_cores": 0}, "advanced": {"taskmanager_heap_size": "1.5g"}"#,
        r#""stability": {"checkpoints": 3}, "deployment": {"checkpoint_interval": 0}"#,
        r#""stability": {"checkpoints": 3, "timeout_seconds": 100}"#,
        r#""stability": {"window_seconds": 20, "checkpoints": 0, "timeout_seconds": 10}"#,
        r#""env_vars": {"A=B": "c"}, "cluster": """#,
        r#""strict": true, "env_vars": {"A": "b"}"#,
    ] {
        let bad = with(rest).validate();
        assert!(!bad.is_empty(), "{rest}");
        writeln!(found, "# {rest}\n{}", lines(&bad)).unwrap();
    }
    insta::assert_snapshot!(found);
}

#[test]
fn every_kind_of_program_needs_its_own() {
    let mut found = String::new();
    for program in [
        r#""artifact_path": "a.jar""#,
        r#""artifact_path": "a.jar", "entry_class": "org.example.Job""#,
        r#""artifact_path": "a.py""#,
        r#""artifact_path": "a.zip", "entry_class": "jobs.main""#,
        r#""artifact_path": "a.sql""#,
        r#""sql": ["INSERT INTO a SELECT 1"]"#,
        r#""sql": "CREATE TABLE a (b INT); SELECT b FROM a""#,
        r#""sql": "INSERT INTO a SELECT 1", "args": ["--a"]"#,
        r#""artifact_path": "a.sql", "args": ["--a"]"#,
        r#""sql": "SELECT 1", "artifact_path": "runner.jar", "args": ["--a"]"#,
        r#""sql": "SELECT 1", "artifact_path": "runner.jar", "entry_class": "org.example.Runner""#,
        r#""args": []"#,
        r#""artifact_type": "sql""#,
        r#""artifact_type": "sql", "artifact_path": "a.jar""#,
        r#""artifact_type": "python""#,
        r#""sql": "SELECT 1", "artifact_path": "a.sql""#,
        r#""sql": "SELECT 1", "artifact_path": "a.py""#,
        r#""sql": "SELECT 1", "entry_class": "org.example.Runner""#,
    ] {
        let spec = spec(&format!(r#"{{"job_id": "a", "job_type": "stream", {program}}}"#));
        let said = lines(&spec.validate());
        let said = if said.is_empty() { "fine\n".to_owned() } else { said };
        writeln!(found, "# {program}: {}\n{said}", spec.program_type().as_str()).unwrap();
    }
    insta::assert_snapshot!(found);
}

#[test]
fn job_ids_are_names() {
    for id in ["etl-pipeline-001", "a", "A.b_c-1", "0"] {
        assert_eq!(check_job_id(id), Ok(()), "{id}");
    }
    for id in ["", "-a", ".a", "a b", "a/b", "ä", "a\n", &"a".repeat(129)] {
        assert!(check_job_id(id).is_err(), "{id}");
    }
}

#[test]
fn unknown_fields_and_values_are_refused() {
    for (json, says) in [
        (r#"{"job_id": "a", "job_type": "stream", "parallelism": 2}"#, "unknown field `parallelism`"),
        (
            r#"{"job_id": "a", "job_type": "stream", "deployment": {"paralelism": 2}}"#,
            "unknown field `paralelism`",
        ),
        (r#"{"job_id": "a", "job_type": "streaming"}"#, "expected `stream` or `batch`"),
        (r#"{"job_type": "stream"}"#, "missing field `job_id`"),
        (r#"{"job_id": "a", "job_type": "stream", "upgrade_mode": "last_state"}"#, "`last-state`"),
        (r#"{"job_id": "a", "job_type": "stream", "deployment": {"checkpoint_interval": -5}}"#, "like `30s`"),
        (r#"{"job_id": "a", "job_type": "stream", "args": [5]}"#, "expected a string"),
    ] {
        let bad = serde_json::from_str::<DeploymentSpec>(json).unwrap_err().to_string();
        assert!(bad.contains(says), "{json}: {bad}");
    }
    assert_eq!(with(r#""upgrade_mode": "last-state""#).upgrade_mode, Some(UpgradeMode::LastState));
}

fn numbers() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..5, 90u64..110, Just(60_000), Just(31_622_400_000), Just(u64::MAX), any::<u64>()]
}

proptest! {
    /// Any numbers: nothing overflows, and what is found to be fine has a normal form that Flink can read.
    #[test]
    fn no_number_is_too_much(
        ms in proptest::collection::vec(proptest::option::of(numbers()), 8), small in proptest::option::of(any::<u32>()),
        strategy in 0usize..4, batch in any::<bool>()
    ) {
        use crate::deployment::spec::{BatchConfig, Deployment, Stability, StreamConfig};
        let millis = |at: usize| ms[at].map(Millis);
        let strategies = [RestartStrategy::FixedDelay, RestartStrategy::ExponentialDelay, RestartStrategy::FailureRate];
        let mut spec = with("");
        spec.job_type = if batch { JobType::Batch } else { JobType::Stream };
        spec.deployment = Some(Deployment {
            parallelism: small,
            checkpoint_interval: millis(0),
            savepoint_path: None,
            restart_strategy: strategies.get(strategy).copied(),
            max_restart_attempts: small,
            restart_delay: millis(1),
        });
        spec.stream_config = Some(StreamConfig {
            savepoint_trigger_interval: millis(2).map(Every::Interval),
            checkpoint_timeout: millis(3),
            min_pause_between_checkpoints: millis(4),
            max_concurrent_checkpoints: small,
        });
        spec.stability =
            Some(Stability { checkpoints: small, window_seconds: ms[5], max_restarts: small, timeout_seconds: ms[6] });
        spec.batch_config = Some(BatchConfig { ttl_seconds: ms[7], max_runs: small, ..BatchConfig::default() });
        let fine = spec.validate().is_empty();
        let normal = Normal::of(&spec, None);
        let settings = flink_configuration(&normal, None);
        prop_assert_eq!(Normal::of(&spec, None).fingerprint(), normal.fingerprint());
        if fine {
            // Flink counts in signed 64 bits, and restarts in 32.
            for value in settings.values().filter_map(|v| v.strip_suffix(" ms")) {
                prop_assert!(value.parse::<i64>().is_ok());
            }
            let stability = normal.stability;
            prop_assert!(stability.timeout_seconds >= stability.window_seconds);
            prop_assert!(normal.deployment.parallelism >= 1);
        }
    }
}
