use std::collections::BTreeMap;
use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::artifact::Digest;
use crate::deployment::spec::DeploymentSpec;
use crate::time::Timestamp;

const STREAM: &str = r#"{"job_id": "etl", "job_type": "stream", "artifact_path": "etl.jar",
    "deployment": {"parallelism": 2, "savepoint_path": "/savepoints"}}"#;
const NIGHTLY: &str = r#"{"job_id": "nightly", "job_type": "batch", "artifact_path": "n.jar",
    "batch_config": {"cron": "0 2 * * *"}}"#;
const ONCE: &str = r#"{"job_id": "once", "job_type": "batch", "artifact_path": "n.jar"}"#;
const AT: Timestamp = Timestamp(1_764_671_400_000_000);

/// `base` with `change` merged into it.
fn normal(base: &str, change: &str) -> Normal {
    fn merge(into: &mut Value, from: Value) {
        match (into, from) {
            (Value::Object(into), Value::Object(from)) => {
                for (key, value) in from {
                    merge(into.entry(key).or_insert(Value::Null), value);
                }
            }
            (into, from) => *into = from,
        }
    }
    let mut json: Value = serde_json::from_str(base).unwrap();
    merge(&mut json, serde_json::from_str(change).unwrap());
    let spec: DeploymentSpec = serde_json::from_value(json).unwrap();
    assert_eq!(spec.validate(), []);
    Normal::of(&spec, None)
}

use serde_json::Value;

fn snapshot() -> Newest {
    Newest::Snapshot(Snapshot::in_directory("file:/ckpt/1a2b/chk-7", Some(AT)))
}

fn live(job: LiveJob, newest: Newest) -> Live {
    let cluster = ClusterView { name: "main".into(), rescale: false, free_slots: Some(4) };
    Live { wanted: Wanted::Run, cluster, job, newest, doubles: Vec::new(), foreign: Vec::new() }
}

fn alive(well: bool) -> LiveJob {
    LiveJob::Alive { id: "1a2b".into(), well, parallelism: Some(2) }
}

fn ended(how: Ending) -> LiveJob {
    LiveJob::Ended { id: "1a2b".into(), how }
}

fn missing() -> LiveJob {
    LiveJob::Missing { id: "1a2b".into() }
}

/// Every plan of a table, in words, as one text.
fn told(table: Vec<(&str, Option<Normal>, Normal, Live)>) -> String {
    table.into_iter().fold(String::new(), |mut text, (what, old, new, live)| {
        let plan = plan(old.as_ref(), &new, &live);
        writeln!(text, "# {what} [{}]\n{}\n", plan.kind.as_str(), plan.words().join("\n")).unwrap();
        text
    })
}

#[test]
fn a_stream_job_that_runs() {
    // contract: F2, F3
    let old = || Some(normal(STREAM, "{}"));
    let to = |change: &str| normal(STREAM, change);
    let well = || live(alive(true), snapshot());
    let mut rescale = well();
    rescale.cluster.rescale = true;
    let restarting = Live { cluster: rescale.cluster.clone(), ..live(alive(false), snapshot()) };
    let mut drifted = well();
    drifted.job = LiveJob::Alive { id: "1a2b".into(), well: true, parallelism: Some(3) };
    let stateless = r#"{"upgrade_mode": "stateless", "args": ["x"]}"#;
    let last_state = r#"{"upgrade_mode": "last-state", "args": ["x"]}"#;
    let no_checkpoints = || Some(normal(STREAM, r#"{"deployment": {"checkpoint_interval": 0}}"#));
    let text = told(vec![
        ("first", None, to("{}"), live(LiveJob::Never, Newest::Never)),
        (
            "first, many subtasks",
            None,
            to(r#"{"deployment": {"parallelism": 9}}"#),
            live(LiveJob::Never, Newest::Never),
        ),
        ("nothing", old(), to("{}"), well()),
        ("only alerts", old(), to(r#"{"monitoring": {"alert_on_backpressure": true}}"#), well()),
        (
            "parallelism, cluster can rescale",
            old(),
            to(r#"{"deployment": {"parallelism": 4}}"#),
            rescale.clone(),
        ),
        ("parallelism, cluster can't", old(), to(r#"{"deployment": {"parallelism": 4}}"#), well()),
        (
            "parallelism and program",
            old(),
            to(r#"{"deployment": {"parallelism": 4}, "artifact_path": "b.jar"}"#),
            rescale,
        ),
        ("program", old(), to(r#"{"artifact_path": "etl-2.jar", "allow_non_restored_state": true}"#), well()),
        ("rescale while it restarts", old(), to(r#"{"deployment": {"parallelism": 4}}"#), restarting),
        (
            "restarts again and again",
            old(),
            to(r#"{"artifact_path": "etl-2.jar"}"#),
            live(alive(false), snapshot()),
        ),
        (
            "never got a checkpoint",
            old(),
            to(r#"{"artifact_path": "etl-2.jar"}"#),
            live(alive(false), Newest::Never),
        ),
        ("stateless", old(), to(stateless), well()),
        ("stateless is only said", old(), to(r#"{"upgrade_mode": "stateless"}"#), well()),
        ("last state", old(), to(last_state), well()),
        ("last state without checkpoints", no_checkpoints(), to(last_state), well()),
        ("another cluster", old(), to(r#"{"cluster": "b"}"#), well()),
        ("no directory", old(), to(r#"{"deployment": {"savepoint_path": null}, "args": ["a"]}"#), well()),
        ("becomes batch", old(), to(r#"{"job_type": "batch"}"#), well()),
        ("drifted", old(), to("{}"), drifted),
        ("two of them", old(), to("{}"), Live { doubles: vec!["3c4d".into()], ..well() }),
        ("more than state can be spread over", old(), to(r#"{"deployment": {"parallelism": 200}}"#), well()),
    ]);
    insta::assert_snapshot!(text);
}

#[test]
fn a_stream_job_that_is_down() {
    let old = || Some(normal(STREAM, "{}"));
    let same = || normal(STREAM, "{}");
    let new = || normal(STREAM, r#"{"args": ["x"]}"#);
    let stateless = || normal(STREAM, r#"{"upgrade_mode": "stateless", "args": ["x"]}"#);
    let suspended = || {
        let savepoint = Snapshot::in_directory("file:/savepoints/savepoint-1a2b-0/", None);
        live(ended(Ending::Suspended), Newest::Snapshot(savepoint))
    };
    let stays = || Live { wanted: Wanted::Suspend, ..suspended() };
    let mut foreign = live(missing(), snapshot());
    foreign.foreign.push("ffff".into());
    let text = told(vec![
        ("the cluster came back empty", old(), same(), live(missing(), snapshot())),
        ("only a new version leaves state", Some(stateless()), stateless(), live(missing(), snapshot())),
        ("failed", old(), new(), live(ended(Ending::Failed), snapshot())),
        ("cancelled by somebody", old(), same(), live(ended(Ending::Cancelled), snapshot())),
        ("state unknown", old(), new(), live(ended(Ending::Failed), Newest::Unknown)),
        ("state unknown, stateless", old(), stateless(), live(ended(Ending::Failed), Newest::Unknown)),
        ("failed at once", old(), new(), live(ended(Ending::Failed), Newest::Never)),
        ("finished", old(), same(), live(ended(Ending::Finished), Newest::Unknown)),
        ("cluster silent", old(), new(), live(LiveJob::Unknown, snapshot())),
        ("cluster silent, nothing changed", old(), same(), live(LiveJob::Unknown, snapshot())),
        ("somebody else's job", old(), same(), foreign),
        ("resume", old(), same(), suspended()),
        ("resume a new version", old(), new(), suspended()),
        ("resume from a checkpoint", old(), same(), live(ended(Ending::Suspended), snapshot())),
        ("resume stateless", old(), stateless(), suspended()),
        ("stays suspended", old(), same(), stays()),
        ("changed while suspended", old(), new(), stays()),
    ]);
    insta::assert_snapshot!(text);
}

#[test]
fn batch_jobs() {
    let idle = || live(ended(Ending::Finished), Newest::Never);
    let busy = || live(alive(true), Newest::Never);
    let of = |base: &str, change: &str| normal(base, change);
    let text = told(vec![
        ("first", None, of(NIGHTLY, "{}"), live(LiveJob::Never, Newest::Never)),
        (
            "program, between runs",
            Some(of(NIGHTLY, "{}")),
            of(NIGHTLY, r#"{"artifact_path": "m.jar"}"#),
            idle(),
        ),
        ("clock", Some(of(NIGHTLY, "{}")), of(NIGHTLY, r#"{"batch_config": {"cron": "0 3 * * *"}}"#), busy()),
        (
            "parallelism, in a run",
            Some(of(NIGHTLY, "{}")),
            of(NIGHTLY, r#"{"deployment": {"parallelism": 2}}"#),
            busy(),
        ),
        ("once, ended, same", Some(of(ONCE, "{}")), of(ONCE, "{}"), idle()),
        ("once, ended, new", Some(of(ONCE, "{}")), of(ONCE, r#"{"args": ["x"]}"#), idle()),
        ("once, running, new", Some(of(ONCE, "{}")), of(ONCE, r#"{"args": ["x"]}"#), busy()),
        (
            "once, lost, new",
            Some(of(ONCE, "{}")),
            of(ONCE, r#"{"args": ["x"]}"#),
            live(missing(), Newest::Never),
        ),
        ("once, lost", Some(of(ONCE, "{}")), of(ONCE, "{}"), live(missing(), Newest::Never)),
        (
            "SQL",
            None,
            of(ONCE, r#"{"artifact_path": null, "sql": "INSERT INTO a SELECT 1; INSERT INTO b SELECT 2"}"#),
            live(LiveJob::Never, Newest::Never),
        ),
        ("becomes stream", Some(of(ONCE, "{}")), of(ONCE, r#"{"job_type": "stream"}"#), busy()),
    ]);
    insta::assert_snapshot!(text);
}

#[test]
fn every_field_of_a_normal_form_has_a_row() {
    let all = r#"{"cluster": "a", "artifact_type": "sql", "sql": ["SELECT 1"], "entry_class": "a.B", "args": ["a"],
        "artifact_signature": "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "artifact_watch": false, "signature": "s", "env_vars": {"a/b": "c"}, "resources": {"memory": "1g", "cpu_cores": 1, "network_memory": "1g"},
        "security": {"kerberos_principal": "a", "ssl_enabled": true, "artifact_verification": true},
        "monitoring": {"metrics_port": 1, "log_level": "INFO"}, "deployment": {"max_restart_attempts": 2},
        "advanced": {"classloader_resolve_order": "child-first", "classloader_cache_mode": "per-job",
        "network_buffer_timeout": 1, "taskmanager_heap_size": "1g"}}"#;
    let stream = normal(STREAM, all).canonical();
    let batch = normal(
        NIGHTLY,
        r#"{"batch_config": {"timezone": "UTC", "overlap": "skip", "max_runs": 1, "ttl_seconds": 1,
        "cleanup_on_completion": false}}"#,
    );
    let every = r#"{"stream_config": {"savepoint_trigger_interval": 5000}}"#;
    let mut fields = BTreeMap::new();
    for form in [stream, batch.canonical(), normal(STREAM, every).canonical()] {
        change::leaves(&form, String::new(), &mut fields);
    }
    let unknown: Vec<_> = fields.keys().filter(|pointer| change::needs(pointer).is_none()).collect();
    assert!(unknown.is_empty(), "say in FIELDS what these need: {unknown:?}");
}

#[test]
fn the_same_bytes_elsewhere_are_no_redeployment() {
    let digest = Digest::of_hex(&"a".repeat(64));
    let of = |path: &str, digest: Option<&Digest>| {
        let spec: DeploymentSpec = serde_json::from_str(&STREAM.replace("etl.jar", path)).unwrap();
        Normal::of(&spec, digest)
    };
    let live = live(alive(true), snapshot());
    let kind = |old: &Normal, new: &Normal| plan(Some(old), new, &live).kind;
    assert_eq!(kind(&of("a.jar", digest.as_ref()), &of("b.jar", digest.as_ref())), Kind::None);
    assert_eq!(kind(&of("a.jar", None), &of("b.jar", None)), Kind::SavepointRedeploy, "who knows");
    let other = Digest::of_hex(&"b".repeat(64));
    assert_eq!(kind(&of("a.jar", digest.as_ref()), &of("a.jar", other.as_ref())), Kind::SavepointRedeploy);
}

#[test]
fn secrets_and_long_texts_are_not_shown() {
    let old = normal(STREAM, r#"{"env_vars": {"PASSWORD": "one"}, "args": ["--password", "one"]}"#);
    let long = "x".repeat(200);
    let to = format!(
        r#"{{"env_vars": {{"PASSWORD": "two"}}, "args": ["--password", "two"], "entry_class": "{long}"}}"#
    );
    let plan = plan(Some(&old), &normal(STREAM, &to), &live(alive(true), snapshot()));
    let words = plan.words().join("\n");
    assert!(!words.contains("two") && !words.contains(&long), "{words}");
    assert!(words.contains("env_vars.PASSWORD: changed") && words.contains("args: changed"), "{words}");
}

fn jobs() -> impl Strategy<Value = LiveJob> {
    let endings = [Ending::Finished, Ending::Failed, Ending::Cancelled, Ending::Suspended];
    prop_oneof![
        Just(LiveJob::Never),
        (any::<bool>(), proptest::option::of(1u32..4)).prop_map(|(well, parallelism)| LiveJob::Alive {
            id: "1a2b".into(),
            well,
            parallelism
        }),
        proptest::sample::select(endings.to_vec()).prop_map(ended),
        Just(missing()),
        Just(LiveJob::Unknown),
    ]
}

fn changed() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(
        &[
            "{}",
            r#"{"args": ["x"]}"#,
            r#"{"deployment": {"parallelism": 3}}"#,
            r#"{"monitoring": {"alert_on_failure": false}}"#,
            r#"{"upgrade_mode": "last-state", "args": ["y"]}"#,
            r#"{"deployment": {"checkpoint_interval": 0}}"#,
            r#"{"upgrade_mode": "last-state", "deployment": {"parallelism": 1}}"#,
        ][..],
    )
}

proptest! {
    /// What no plan may do, whatever is known.
    #[test]
    fn state_is_never_left_behind_unasked(
        job in jobs(), from in changed(), to in changed(), rescale in any::<bool>(), suspend in any::<bool>(),
        newest in prop_oneof![Just(snapshot()), Just(Newest::Never), Just(Newest::Unknown)]
    ) {
        let (old, new) = (normal(STREAM, from), normal(STREAM, to));
        let never_ran = job == LiveJob::Never;
        let mut live = live(job, newest.clone());
        live.cluster.rescale = rescale;
        if suspend {
            live.wanted = Wanted::Suspend;
        }
        let plan = plan(Some(&old), &new, &live);
        prop_assert!(!plan.words().is_empty());
        prop_assert!(!plan.lost.contains(&Loss::State), "no version says stateless");
        if plan.state == StateUse::Fresh {
            prop_assert!(never_ran || newest == Newest::Never, "{plan:?}");
        }
        if suspend {
            prop_assert_eq!(plan.kind, Kind::None);
        }
        if plan.kind == Kind::InPlace {
            prop_assert!(rescale && plan.state == StateUse::Kept && plan.lost.is_empty());
        }
        if from == to && matches!(live.job, LiveJob::Alive { parallelism: None, .. }) {
            prop_assert_eq!(plan.kind, Kind::None);
            prop_assert!(plan.changes.is_empty());
        }
        prop_assert_eq!(old.fingerprint() == new.fingerprint(), plan.changes.is_empty());
    }
}

/// What a plan calls a small change, and what the key of the job says, is the same.
#[test]
fn a_key_of_a_job_changes_with_what_needs_another_one() {
    let changes = [
        r#"{"args": ["x"]}"#,
        r#"{"deployment": {"parallelism": 3}}"#,
        r#"{"deployment": {"restart_delay": 77}}"#,
        r#"{"entry_class": "a.B"}"#,
        r#"{"monitoring": {"alert_on_failure": false}}"#,
        r#"{"stability": {"window_seconds": 7}}"#,
        r#"{"allow_non_restored_state": true}"#,
        r#"{"upgrade_mode": "stateless"}"#,
        r#"{"env_vars": {"A": "b"}}"#,
        r#"{"batch_config": {"ttl_seconds": 60}}"#,
        r#"{"artifact_path": "other.jar"}"#,
    ];
    let mut same = 0;
    for base in [STREAM, NIGHTLY, ONCE] {
        let old = normal(base, "{}");
        for change in changes {
            let new = normal(base, change);
            let plan = plan(Some(&old), &new, &live(alive(true), snapshot()));
            assert_eq!(plan.is_same_job(), old.job_key() == new.job_key(), "{base} {change}");
            same += usize::from(plan.is_same_job());
        }
    }
    assert_eq!(same, 23, "of 33");
    let mut live = live(alive(true), snapshot());
    live.cluster.rescale = true;
    let wider = normal(STREAM, r#"{"deployment": {"parallelism": 3}}"#);
    assert!(plan(Some(&normal(STREAM, "{}")), &wider, &live).is_same_job(), "in place");
}
