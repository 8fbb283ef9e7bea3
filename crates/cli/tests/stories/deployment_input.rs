//! Specifications and wishes that can't be: each refusal says what is wrong, where, and what to do; what runs runs on.

use std::fs;
use std::os::unix::fs::symlink;

use libra_testkit::flink::{self, FlinkCluster};
use libra_testkit::{Answer, Api, Libra};
use serde_json::{Value, json};

use crate::authorisation::with_keys;
use crate::deployments::{alive, apply, away, counter, programs, stable, until, view, with_flink};
use crate::surroundings::submit_only;

const PATH: &str = "/api/v1/deployments";

async fn start() -> (&'static FlinkCluster, Libra) {
    let cluster = FlinkCluster::shared().await;
    let libra = with_flink(cluster, &programs()).start().await;
    (cluster, libra)
}

async fn yaml(api: &Api, text: &str) -> Answer {
    api.send("POST", PATH, &[("content-type", "application/yaml")], text.into()).await
}

/// A specification that is right but for its last lines.
fn with(lines: &str) -> String {
    let jar = flink::jobs_jar();
    format!("job_id: wrong\njob_type: stream\nartifact_path: {}\n{lines}", jar.display())
}

#[tokio::test]
async fn a_specification_that_is_wrong_is_refused_with_its_place_and_nothing_is_stored() {
    // contract: F1, A4
    let (_, libra) = start().await;
    let api = libra.api();
    let long = "x".repeat(300);
    for (text, status, words) in [
        (with("args: [a, b\ncluster: main\n"), 400, &["line", "column"][..]),
        ("job_id: a\n\tjob_type: stream\n".to_owned(), 400, &["line", "column", "tab"]),
        (with("paralelism: 3\n"), 400, &["paralelism", "line 4", "column"]),
        (with("deployment: {checkpoint_intervall: 3s}\n"), 400, &["checkpoint_intervall", "line 4"]),
        (with("job_id: again\n"), 400, &["job_id", "line 4"]),
        ("job_type: stream\nartifact_path: a.jar\n".to_owned(), 400, &["job_id"]),
        (with("upgrade_mode: sometimes\n"), 400, &["sometimes", "savepoint", "line 4"]),
        (with("deployment: {parallelism: many}\n"), 400, &["line 4", "column 27"]),
        (String::new(), 400, &["end of input", "line 1"]),
        ("[]".to_owned(), 400, &["line 1"]),
        ("job_id: &a [*a, *a]\n".to_owned(), 400, &["line 1"]),
    ] {
        let answer = yaml(&api, &text).await;
        assert_eq!(answer.status, status, "{text}: {}", answer.text);
        for word in words {
            assert!(answer.text.contains(word), "{word} is not named:\n{text}\n{}", answer.text);
        }
        assert!(!answer.text.contains("internal"), "{}", answer.text);
    }
    for (lines, pointer, words) in [
        ("cluster: elsewhere\n".to_owned(), "/cluster", "main"),
        ("deployment: {parallelism: 0}\n".to_owned(), "/deployment/parallelism", "from 1"),
        (format!("entry_class: {}\n", "1."), "/entry_class", "full name"),
        (format!("artifact_signature: sha256:{}\n", "0".repeat(64)), "/artifact_signature", "digest"),
        ("artifact_signature: md5:0\n".to_owned(), "/artifact_signature", "sha256"),
    ] {
        let answer = yaml(&api, &with(&lines)).await;
        assert_eq!((answer.status, answer.pointers()), (400, vec![pointer.to_owned()]), "{}", answer.text);
        assert!(answer.text.contains(words), "{words} is not named: {}", answer.text);
    }
    let named = |id: &str| with("").replace("job_id: wrong", &format!("job_id: {id}"));
    for id in ["\"\"", "a/b", "../a", "ä", long.as_str()] {
        let answer = yaml(&api, &named(id)).await;
        assert_eq!((answer.status, answer.pointers()), (400, vec!["/job_id".to_owned()]), "{}", answer.text);
    }
    let nothing = api.send("POST", PATH, &[], with("").into()).await;
    nothing.expect(415);
    assert_eq!(api.get(PATH).await.expect(200)["deployments"], json!([]), "nothing is stored");
}

#[tokio::test]
async fn a_program_that_is_none_or_lies_elsewhere_is_refused() {
    // contract: F1, F6
    let cluster = FlinkCluster::shared().await;
    let place = tempfile::tempdir().unwrap();
    let inside = place.path().join("inside");
    fs::create_dir(&inside).unwrap();
    fs::copy(flink::jobs_jar(), place.path().join("outside.jar")).unwrap();
    fs::copy(flink::jobs_jar(), inside.join("good.jar")).unwrap();
    fs::copy(flink::text_jar(), inside.join("text.jar")).unwrap();
    fs::write(inside.join("empty.jar"), "").unwrap();
    fs::create_dir(inside.join("directory.jar")).unwrap();
    symlink(place.path().join("outside.jar"), inside.join("link.jar")).unwrap();
    symlink(inside.join("loop.jar"), inside.join("loop.jar")).unwrap();
    let libra = with_flink(cluster, &inside).start().await;
    let api = libra.api();
    let outside = place.path().join("outside.jar").display().to_string();
    let dots = inside.join("../outside.jar").display().to_string();
    for (path, words) in [
        ("absent.jar", "no file"),
        ("../outside.jar", "must"),
        (outside.as_str(), "no file"),
        (dots.as_str(), "must"),
        ("link.jar", "no file"),
        ("loop.jar", "no file"),
        ("directory.jar", "no file"),
        ("text.jar", "no jar"),
        ("empty.jar", "no jar"),
        ("/etc/passwd.jar", "no file"),
    ] {
        let spec = json!({"job_id": "stray", "job_type": "stream", "artifact_path": path});
        let answer = api.post(PATH, &spec).await;
        assert_eq!(
            (answer.status, answer.pointers()),
            (400, vec!["/artifact_path".to_owned()]),
            "{path}: {}",
            answer.text
        );
        assert!(answer.text.contains(words), "{path}: {words} is not said: {}", answer.text);
    }
    let good = json!({"job_id": "stray", "job_type": "stream", "artifact_path": "good.jar"});
    api.post(&format!("{PATH}/plan"), &good).await.expect(200);
    assert_eq!(api.get(PATH).await.expect(200)["deployments"], json!([]), "nothing is stored");
}

#[tokio::test]
async fn a_version_that_flink_refuses_goes_back_and_the_old_one_goes_on() {
    // contract: F3
    let (cluster, libra) = start().await;
    let api = libra.api();
    let progress = libra.scratch("progress");
    let good = counter("refused", &progress);
    apply(&api, &good).await;
    stable(&api, "refused").await;
    for (generation, class, reason, words) in [
        (2, "libra.jobs.Nowhere", "bad_program", "libra.jobs.Nowhere"),
        (3, "libra.jobs.BadMain", "main_failed", "no topic is named"),
    ] {
        let mut bad = good.clone();
        bad["entry_class"] = json!(class);
        apply(&api, &bad).await;
        let back = until(&api, "refused", "back", |view| {
            view["generation"] == generation
                && view["takenUp"] == true
                && view["state"] == "stable"
                && view["runningGeneration"] == 1
                && !view["trouble"].is_null()
        })
        .await;
        assert_eq!(
            (&back["trouble"]["reason"], &back["stable"]),
            (&json!(reason), &json!(false)),
            "{back:#}"
        );
        assert!(back["trouble"]["message"].as_str().unwrap().contains(words), "{back:#}");
        assert!(back["trouble"]["hint"].as_str().unwrap().contains("apply again"), "{back:#}");
        assert_eq!(alive(cluster, "refused").await, [back["jobId"].as_str().unwrap()]);
    }
    flink::assert_nothing_twice(&progress);
    // Without an older one there is nothing to go back to.
    let mut first = good.clone();
    first["job_id"] = json!("refused-at-once");
    first["entry_class"] = json!("libra.jobs.Nowhere");
    apply(&api, &first).await;
    let failed = until(&api, "refused-at-once", "given up", |view| view["state"] == "failed").await;
    assert_eq!((&failed["stable"], &failed["jobId"]), (&json!(false), &Value::Null), "{failed:#}");
    first["entry_class"] = json!("libra.jobs.Counter");
    first["args"] = json!([]);
    apply(&api, &first).await;
    let now = stable(&api, "refused-at-once").await;
    assert_eq!(now["trouble"], Value::Null, "{now:#}");
    away(&api, cluster, "refused-at-once").await;
    away(&api, cluster, "refused").await;
}

#[tokio::test]
async fn a_savepoint_that_is_not_there_is_named_and_the_own_state_is_not_lost() {
    // contract: F2, F3
    let (cluster, libra) = start().await;
    let api = libra.api();
    let progress = libra.scratch("progress");
    let post = async |path: &str, body: Value| api.post(&format!("{PATH}/misled/{path}"), &body).await;
    apply(&api, &counter("misled", &progress)).await;
    stable(&api, "misled").await;
    post("suspend", json!({})).await.expect(202);
    let own = until(&api, "misled", "suspended", |view| view["state"] == "suspended").await;
    let absent = cluster.savepoints().join("misled/savepoint-absent").display().to_string();
    for from in ["", "  ", "a\nb"] {
        assert_eq!(post("resume", json!({"from": from})).await.pointers(), ["/from"]);
    }
    post("resume", json!({"from": absent})).await.expect(202);
    let failed = until(&api, "misled", "given up", |view| view["state"] == "failed").await;
    assert_eq!(failed["trouble"]["reason"], "state_gone", "{failed:#}");
    assert!(failed["trouble"]["message"].as_str().unwrap().contains(&absent), "{failed:#}");
    assert_eq!((&failed["stable"], alive(cluster, "misled").await), (&json!(false), vec![]), "{failed:#}");
    assert_eq!(failed["lastSavepoint"], own["lastSavepoint"], "{failed:#}");
    post("resume", json!({})).await.expect(202);
    stable(&api, "misled").await;
    flink::assert_nothing_twice(&progress);
    away(&api, cluster, "misled").await;
}

#[tokio::test]
async fn who_saw_an_older_version_changes_nothing() {
    // contract: F8
    let (cluster, libra) = start().await;
    let api = libra.api();
    let mut spec = counter("stale", &libra.scratch("progress"));
    let send = async |spec: &Value, name: &'static str, value: &str| {
        let headers = [("content-type", "application/json"), (name, value)];
        api.send("POST", PATH, &headers, spec.to_string().into()).await
    };
    assert_eq!(send(&spec, "if-match", "\"1\"").await.expect(409)["error"], "stale_version", "there is none");
    send(&spec, "if-none-match", "*").await.expect(201);
    let there = send(&spec, "if-none-match", "*").await;
    assert_eq!(there.expect(409)["error"], "stale_version");
    let tag = api.get(&format!("{PATH}/stale")).await.header("etag").to_owned();
    spec["args"][3] = json!("30");
    send(&spec, "if-match", &tag).await.expect(200);
    spec["args"][3] = json!("31");
    let stale = send(&spec, "if-match", &tag).await.expect(409);
    assert!(stale["message"].as_str().unwrap().contains("look at it again"), "{stale:#}");
    assert_eq!(view(&api, "stale").await["generation"], 2);
    for (name, value) in [("if-match", "*"), ("if-match", "W/\"1\""), ("if-none-match", "\"1\"")] {
        assert_eq!(send(&spec, name, value).await.expect(400)["error"], "invalid_header", "{name}: {value}");
    }
    assert_eq!(api.post(&format!("{PATH}/stale/rollback"), &json!({"generation": 9})).await.status, 400);
    assert_eq!(api.post(&format!("{PATH}/stale/resume"), &json!({"frm": "x"})).await.status, 400);
    api.post(&format!("{PATH}/absent/suspend"), &json!({})).await.expect(404);
    away(&api, cluster, "stale").await;
}

#[tokio::test]
async fn anothers_deployment_is_neither_seen_nor_changed() {
    // contract: X2
    let cluster = FlinkCluster::shared().await;
    let clusters = format!("[{{name: main, url: \"{}\"}}]", cluster.url());
    let directories = format!("[\"{}\"]", programs().display());
    let libra = with_keys()
        .env("LIBRA_FLINK_CLUSTERS", &clusters)
        .env("LIBRA_FLINK_ARTIFACTS_DIRECTORIES", &directories)
        .start()
        .await;
    let (ada, bob) = (libra.api_as("ada-develops"), libra.api_as("bob-develops"));
    let spec = counter("private", &libra.scratch("progress"));
    libra.api_as("ada-views").post(PATH, &spec).await.expect(403);
    ada.post(PATH, &spec).await.expect(201);
    bob.get(&format!("{PATH}/private")).await.expect(404);
    for path in ["suspend", "resume", "rollback", "savepoint"] {
        bob.post(&format!("{PATH}/private/{path}"), &json!({})).await.expect(404);
    }
    for path in ["events", "generations"] {
        bob.get(&format!("{PATH}/private/{path}")).await.expect(404);
    }
    bob.delete(&format!("{PATH}/private")).await.expect(404);
    for path in ["", "/plan"] {
        let refused = bob.post(&format!("{PATH}{path}"), &spec).await.expect(403);
        assert!(refused["message"].as_str().unwrap().contains("another job_id"), "{refused:#}");
    }
    assert_eq!(bob.get(PATH).await.expect(200)["deployments"], json!([]));
    assert_eq!(libra.api_as("root").get(&format!("{PATH}/private")).await.expect(200)["generation"], 1);
    away(&ada, cluster, "private").await;
}

#[tokio::test]
async fn a_job_without_slots_is_never_called_stable_and_the_old_version_comes_back() {
    // contract: F3
    let cluster = FlinkCluster::start().await;
    let libra = with_flink(&cluster, &programs()).start().await;
    let api = libra.api();
    let progress = libra.scratch("progress");
    let mut spec = counter("wide", &progress);
    spec["deployment"]["parallelism"] = json!(99);
    spec["stability"]["timeout_seconds"] = json!(5);
    apply(&api, &spec).await;
    let stuck = until(&api, "wide", "in trouble", |view| {
        assert_eq!(view["stable"], false, "{view:#}");
        assert_ne!(view["state"], "stable", "{view:#}");
        !view["trouble"].is_null()
    })
    .await;
    assert!(
        ["not_stable", "no_resources"].contains(&stuck["trouble"]["reason"].as_str().unwrap()),
        "{stuck:#}"
    );
    spec["deployment"]["parallelism"] = json!(1);
    apply(&api, &spec).await;
    stable(&api, "wide").await;
    spec["deployment"]["parallelism"] = json!(99);
    apply(&api, &spec).await;
    let back = until(&api, "wide", "as it was", |view| {
        view["generation"] == 3 && view["state"] == "stable" && view["runningGeneration"] == 2
    })
    .await;
    assert_eq!(back["stable"], false, "{back:#}");
    flink::assert_unbroken(&progress);
}

#[tokio::test]
async fn without_a_cluster_it_is_said_what_to_set() {
    // contract: F1
    let libra = submit_only().start().await;
    let api = libra.api();
    for path in ["", "/plan"] {
        let spec = counter("nowhere", &libra.scratch("progress"));
        let refused = api.post(&format!("{PATH}{path}"), &spec).await.expect(422);
        assert!(refused["message"].as_str().unwrap().contains("libra.flink.clusters"), "{refused:#}");
    }
    assert_eq!(api.get(PATH).await.expect(200)["deployments"], json!([]));
}
