//! SQL from a specification, on a real Flink: a job that runs on, one that ends, and statements that can't be.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use libra_testkit::{FlinkCluster, Libra};
use serde_json::{Value, json};

use crate::deployments::{alive, apply, away, programs, stable, until, view, with_flink};
use crate::surroundings::setup;

const PATH: &str = "/api/v1/deployments";

/// Numbers in order, into files that are complete after a moment.
fn numbers(id: &str, out: &Path, rate: u32, insert: &str) -> Value {
    json!({
        "job_id": id,
        "job_type": "stream",
        "sql": [
            format!(
                "CREATE TABLE ticks (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '{rate}',
                 'fields.n.kind' = 'sequence', 'fields.n.start' = '0', 'fields.n.end' = '100000')"
            ),
            format!(
                "CREATE TABLE seen (n BIGINT) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'csv',
                 'sink.rolling-policy.rollover-interval' = '1 s', 'sink.rolling-policy.check-interval' = '500 ms')",
                out.display()
            ),
            insert,
        ],
        "deployment": {"checkpoint_interval": 300},
        "stability": {"checkpoints": 2, "window_seconds": 1},
    })
}

const INSERT: &str = "INSERT INTO seen SELECT n FROM ticks";

/// The numbers in the complete files of a directory.
fn rows(out: &Path) -> Vec<u64> {
    let files = fs::read_dir(out).into_iter().flatten().flatten().map(|entry| entry.path());
    let whole =
        files.filter(|path| path.file_name().is_some_and(|name| !name.to_string_lossy().starts_with('.')));
    let text: String = whole.map(|path| fs::read_to_string(path).unwrap_or_default()).collect();
    text.lines().map(|line| line.trim().parse().unwrap()).collect()
}

/// As [`libra_testkit::flink::assert_nothing_twice`].
fn assert_all_once(out: &Path) {
    let rows = rows(out);
    let different: BTreeSet<u64> = rows.iter().copied().collect();
    assert_eq!(different.len(), rows.len(), "some are there twice");
    let most = different.last().copied().unwrap_or(0);
    assert_eq!(different.len() as u64, most + 1, "some are missing: {different:?}");
}

async fn more_rows(out: &Path) {
    let before = rows(out).len();
    libra_testkit::wait::until_true("more rows are there", || rows(out).len() > before).await;
}

/// Applies a specification as a person does.
fn libra_apply(server: &Libra, spec: &Value) -> String {
    let file = server.scratch("spec.yaml");
    fs::write(&file, spec.to_string()).unwrap();
    let arguments = ["apply", "-f", file.to_str().unwrap(), "--yes", "--wait"];
    let output = setup().env("LIBRA_URL", server.url()).run(&arguments);
    let told =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{told}");
    told
}

#[tokio::test]
async fn statements_run_on_with_their_state_through_changes_and_go_back_when_they_are_wrong() {
    // contract: F1, F3
    let cluster = FlinkCluster::shared().await;
    let libra = with_flink(cluster, &programs()).start().await;
    let api = libra.api();
    let out = libra.scratch("seen");
    let spec = numbers("ticking", &out, 40, INSERT);
    let told = libra_apply(&libra, &spec);
    assert!(told.contains("3 SQL statements"), "{told}");
    let first = view(&api, "ticking").await;
    assert_eq!(
        alive(cluster, "ticking").await,
        [first["jobId"].as_str().unwrap()],
        "one job, with Libra's id"
    );
    more_rows(&out).await;
    assert_eq!(apply(&api, &spec).await, "none", "nothing has changed");

    let faster = numbers("ticking", &out, 60, INSERT);
    let planned = api.post(&format!("{PATH}/plan"), &faster).await.expect(200);
    assert_eq!(planned["kind"], "savepoint-redeploy", "{planned:#}");
    assert!(planned.to_string().contains("may not be able to use the state"), "{planned:#}");
    apply(&api, &faster).await;
    stable(&api, "ticking").await;
    more_rows(&out).await;
    api.post(&format!("{PATH}/ticking/suspend"), &json!({})).await.expect(202);
    let suspended = until(&api, "ticking", "suspended", |view| view["state"] == "suspended").await;
    assert!(suspended["lastSavepoint"].as_str().unwrap().contains("ticking"), "{suspended:#}");
    api.post(&format!("{PATH}/ticking/resume"), &json!({})).await.expect(202);
    stable(&api, "ticking").await;
    more_rows(&out).await;
    assert_all_once(&out);

    for (generation, insert, words) in [
        (3, "INSERT INTO seen SELECT missing FROM ticks", ["statement 3", "Column 'missing' not found"]),
        (4, "INSERT seen", ["statement 3", "SQL parse failed"]),
    ] {
        apply(&api, &numbers("ticking", &out, 60, insert)).await;
        let back = until(&api, "ticking", "as it was", |view| {
            let said = view["trouble"]["message"].as_str().unwrap_or_default();
            let back = view["runningGeneration"] == 2 && view["state"] == "stable";
            view["generation"] == generation && back && words.iter().all(|word| said.contains(word))
        })
        .await;
        assert_eq!(back["trouble"]["reason"], "main_failed", "{back:#}");
        assert!(back["trouble"]["hint"].as_str().unwrap().contains("apply again"), "{back:#}");
    }
    more_rows(&out).await;
    assert_all_once(&out);
    away(&api, cluster, "ticking").await;
}

#[tokio::test]
async fn a_file_of_statements_is_one_job_that_ends() {
    // contract: F1, F4
    let cluster = FlinkCluster::shared().await;
    let place = tempfile::tempdir().unwrap();
    let libra = with_flink(cluster, place.path()).start().await;
    let api = libra.api();
    let (all, even) = (libra.scratch("all"), libra.scratch("even"));
    let csv = |name: &str, out: &Path| {
        let path = out.display();
        format!(
            "CREATE TABLE {name} (n BIGINT) WITH ('connector' = 'filesystem', 'path' = '{path}', 'format' = 'csv')"
        )
    };
    let statements = format!(
        "-- Libra's own; see the documentation\nSET 'table.exec.resource.default-parallelism' = '1';\n\
         CREATE TEMPORARY VIEW ten AS SELECT * FROM (VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9)) AS t (n);\n\
         {};\n{};\nEXECUTE STATEMENT SET BEGIN\nINSERT INTO everything SELECT n FROM ten; -- all; of them\n\
         INSERT INTO halves SELECT n / 2 FROM ten WHERE MOD(n, 2) = 0;\nEND;\n",
        csv("everything", &all),
        csv("halves", &even)
    );
    fs::write(place.path().join("ten.sql"), statements).unwrap();
    let spec = json!({"job_id": "tens", "job_type": "batch", "artifact_path": "ten.sql"});
    assert_eq!(apply(&api, &spec).await, "first-deploy");
    let done = until(&api, "tens", "completed", |view| view["state"] == "completed").await;
    assert_eq!(done["trouble"], Value::Null, "{done:#}");
    let sorted = |out: &Path| rows(out).into_iter().collect::<BTreeSet<_>>();
    assert_eq!(sorted(&all), (0..10).collect());
    assert_eq!(sorted(&even), (0..5).collect());
    let jobs = cluster.jobs().await;
    assert_eq!(jobs.iter().filter(|job| job.name == "tens").count(), 1, "the set is one job");
    assert_eq!(apply(&api, &spec).await, "none");
    // What a file says is read by Flink, when it runs.
    fs::write(place.path().join("ten.sql"), "CREATE TABLE t (n INT) WITH ('connector' = 'blackhole')")
        .unwrap();
    apply(&api, &spec).await;
    let failed = until(&api, "tens", "in trouble", |view| !view["trouble"].is_null()).await;
    assert!(failed["trouble"]["message"].as_str().unwrap().contains("there is no INSERT"), "{failed:#}");
    away(&api, cluster, "tens").await;
}

#[tokio::test]
async fn statements_that_can_be_no_job_are_refused_with_their_field() {
    // contract: F1, A4
    let cluster = FlinkCluster::shared().await;
    let place = tempfile::tempdir().unwrap();
    let libra = with_flink(cluster, place.path()).start().await;
    let api = libra.api();
    fs::write(place.path().join("empty.sql"), "-- nothing\n").unwrap();
    fs::write(place.path().join("query.sql"), "SELECT 1").unwrap();
    fs::write(place.path().join("binary.sql"), [0xff, 0xfe, 0]).unwrap();
    fs::write(place.path().join("empty.py"), "\n").unwrap();
    fs::write(place.path().join("binary.py"), [0x7f, b'E', b'L', b'F', 0]).unwrap();
    fs::write(place.path().join("text.zip"), "no archive").unwrap();
    for (program, pointer, words) in [
        (json!({"sql": ""}), "/sql", "at least one"),
        (json!({"sql": [" ; ", "-- x"]}), "/sql", "at least one"),
        (json!({"sql": "CREATE TABLE a (b INT); SELECT * FROM a"}), "/sql", "statement 2"),
        (json!({"sql": "INSERT INTO a SELECT 1", "args": ["x"]}), "/args", "take none"),
        (json!({"sql": "INSERT INTO a SELECT 1", "artifact_path": "a.py"}), "/artifact_path", "jar"),
        (
            json!({"artifact_type": "jar", "sql": "INSERT INTO a SELECT 1", "artifact_path": "a.jar"}),
            "/sql",
            "only for",
        ),
        (json!({"artifact_path": "empty.sql"}), "/artifact_path", "at least one"),
        (json!({"artifact_path": "query.sql"}), "/artifact_path", "statement 1"),
        (json!({"artifact_path": "binary.sql"}), "/artifact_path", "UTF-8"),
        (json!({"artifact_path": "absent.sql"}), "/artifact_path", "no file"),
        (json!({"artifact_path": "empty.py"}), "/artifact_path", "empty"),
        (json!({"artifact_path": "binary.py"}), "/artifact_path", "no Python program"),
        (json!({"artifact_path": "text.zip", "entry_class": "a"}), "/entry_class", "leave it out"),
        (
            json!({"artifact_type": "python", "sql": "SELECT 1", "artifact_path": "empty.py"}),
            "/sql",
            "only for",
        ),
    ] {
        let mut spec = program.clone();
        spec["job_id"] = json!("unrunnable");
        spec["job_type"] = json!("stream");
        let answer = api.post(PATH, &spec).await;
        let wanted = (400, vec![pointer.to_owned()]);
        assert_eq!((answer.status, answer.pointers()), wanted, "{program}: {}", answer.text);
        assert!(answer.text.contains(words), "{program}: {words} is not said: {}", answer.text);
    }
    assert_eq!(api.get(PATH).await.expect(200)["deployments"], json!([]), "nothing is stored");
}
