//! Whose turn it is: quotas, shares, explanations, on the real binary.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use libra_testkit::{Api, Libra, Setup, wait};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::surroundings::{setup, sleepy, turn};

const SUBMIT: &str = "/api/v1/jobs";

/// Keys of an administrator and of three developers, in three tenants and one.
fn keys() -> String {
    let mut yaml = "libra:\n  auth:\n    keys:\n".to_owned();
    for (user, role, tenant) in [
        ("root", "admin", "default"),
        ("ann", "developer", "default"),
        ("bob", "developer", "default"),
        ("cyd", "developer", "default"),
        ("dan", "developer", "blue"),
    ] {
        let sha256 = Sha256::digest(user).iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        writeln!(
            yaml,
            "      - {{name: {user}, sha256: \"{sha256}\", role: {role}, user: {user}, tenant: {tenant}}}"
        )
        .unwrap();
    }
    yaml
}

fn sleeps() -> Value {
    json!({"code": "pass", "kind": "python", "executionMode": "spark-submit"})
}

async fn explain(api: &Api, id: &str) -> Value {
    api.get(&format!("/api/v1/jobs/{id}/explain")).await.expect(200)
}

fn setup_of(rules: &str) -> Setup {
    sleepy()
        .env("LIBRA_QUEUES", "")
        .env("LIBRA_RESOURCES_QUOTAS_SPARK_SUBMIT_MAX_CONCURRENT_JOBS", "8")
        .env("LIBRA_RESOURCES_LIMITS_CPU_CORES", "16")
        .env("LIBRA_RESOURCES_LIMITS_MEMORY_GB", "64")
        .config(format!("{}{rules}", keys()))
}

#[tokio::test]
async fn quotas_of_users_tenants_and_queues_hold_and_change_while_libra_runs() {
    // contract: R2, R3
    let rules = |ann: u32| {
        format!(
            "  queues:\n    - {{name: nightly, share: 3, limits: {{running-jobs: 1}}, max-wait-time: 2h, timeout-minutes: 0}}\n  quotas:\n    users:\n      \
             ann: {{running-jobs: {ann}, queued-jobs: 2}}\n      default: {{cores: 2}}\n    tenants:\n      \
             blue: {{submissions-per-minute: 2}}\n"
        )
    };
    let setup = setup_of(&rules(1));
    let libra = setup.start().await;
    let (ann, bob, dan) = (libra.api_as("ann"), libra.api_as("bob"), libra.api_as("dan"));

    let unknown = bob.post(SUBMIT, &json!({"code": "pass", "kind": "python", "queue": "nihgtly"})).await;
    assert_eq!(unknown.pointers(), ["/queue"], "{}", unknown.text);
    assert!(unknown.text.contains("nightly"), "it says which there are: {}", unknown.text);

    let runs = ann.submit(&sleeps()).await;
    ann.reaches(&runs, "RUNNING").await;
    let waits = ann.submit(&sleeps()).await;
    let second = ann.submit(&sleeps()).await;
    let why = explain(&ann, &waits).await;
    let blocked = &why["blockedBy"];
    assert_eq!(blocked["limit"], "libra.quotas.users.ann.running-jobs", "{why:#}");
    assert_eq!(
        (&blocked["used"], &blocked["requested"], &blocked["capacity"], &blocked["unit"]),
        (&json!(1), &json!(1), &json!(1), &json!("jobs"))
    );
    assert_eq!((&blocked["holders"], &blocked["holdersTotal"]), (&json!([runs]), &json!(1)));
    let refused = ann.post(SUBMIT, &sleeps()).await;
    assert_eq!(refused.expect(429)["error"], "quota_exceeded");
    assert!(refused.text.contains("libra.quotas.users.ann.queued-jobs"), "{}", refused.text);
    assert!(refused.header("retry-after").parse::<u32>().unwrap() > 0);

    // A job that alone is more than its user may hold never starts: that is said at once.
    let mut large = sleeps();
    large["sparkConfig"] = json!({"spark.master": "local[3]"});
    let never = bob.post(SUBMIT, &large).await;
    assert_eq!(never.expect(422)["error"], "never_fits");
    assert!(never.text.contains("libra.quotas.users.default.cores"), "{}", never.text);

    // One job of the queue at a time, whoever it is from; and nobody sees whose it is.
    let mut nightly = sleeps();
    nightly["queue"] = json!("nightly");
    let answer = bob.post(SUBMIT, &nightly).await.expect(202);
    assert_eq!(answer["limits"], json!({"queueTimeoutSeconds": 7_200, "timeoutSeconds": 0}), "{answer:#}");
    assert_eq!(answer["resources"]["cpuCores"], 1, "{answer:#}");
    assert!(answer["estimatedStartTime"].is_string(), "there is room: {answer:#}");
    let first = answer["jobId"].as_str().unwrap().to_owned();
    bob.reaches(&first, "RUNNING").await;
    let other = dan.submit(&nightly).await;
    let why = explain(&dan, &other).await;
    assert_eq!(why["blockedBy"]["limit"], "libra.queues.nightly.limits.running-jobs", "{why:#}");
    assert_eq!((&why["blockedBy"]["holders"], &why["blockedBy"]["holdersTotal"]), (&json!([]), &json!(1)));
    let seen = explain(&libra.api_as("root"), &other).await;
    assert_eq!(seen["blockedBy"]["holders"], json!([first]), "{seen:#}");

    dan.submit(&sleeps()).await;
    let often = dan.post(SUBMIT, &sleeps()).await;
    assert_eq!(often.expect(429)["error"], "quota_exceeded");
    assert!(often.text.contains("libra.quotas.tenants.blue.submissions-per-minute"), "{}", often.text);
    let again: u32 = often.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&again), "{again}");

    // Higher, in a Libra that runs.
    std::fs::write(libra.scratch("libra.yaml"), format!("{}{}", keys(), rules(2))).unwrap();
    ann.reaches(&waits, "RUNNING").await;
    // Nonsense changes nothing; a quota below what runs ends nothing and lets nothing in.
    std::fs::write(libra.scratch("libra.yaml"), "libra: {queues: 7}").unwrap();
    wait::until_true("nonsense is told", || libra.log().contains("the one of before stays")).await;
    std::fs::write(libra.scratch("libra.yaml"), format!("{}{}", keys(), rules(1))).unwrap();
    let root = libra.api_as("root");
    wait::until_async("more is held than is allowed", || async {
        root.get("/api/v1/queue").await.expect(200)["exceeded"][0]["limit"]
            == "libra.quotas.users.ann.running-jobs"
    })
    .await;
    for id in [&runs, &waits] {
        assert_eq!(ann.job(id).await["status"], "RUNNING", "nothing is killed");
    }
    assert_eq!(ann.job(&second).await["status"], "QUEUED", "and nothing joins");
    let figures = root.get("/metrics").await.text;
    assert!(figures.contains("libra_limits_exceeded 1"), "{figures}");
    assert!(
        figures.contains("libra_queue_blocked{limit=\"libra.quotas.users.ann.running-jobs\"} 1"),
        "{figures}"
    );
}

#[tokio::test]
async fn nobody_runs_under_a_quota_of_nothing_and_one_who_floods_delays_nobody() {
    // contract: R5
    let libra = setup_of("  quotas: {users: {cyd: {running-jobs: 0}}}\n")
        .env("LIBRA_RESOURCES_QUOTAS_SPARK_SUBMIT_MAX_CONCURRENT_JOBS", "4")
        .start()
        .await;
    let (ann, bob) = (libra.api_as("ann"), libra.api_as("bob"));
    let none = libra.api_as("cyd").post(SUBMIT, &sleeps()).await;
    assert_eq!(none.expect(422)["error"], "never_fits");
    assert!(none.text.contains("libra.quotas.users.cyd.running-jobs"), "{}", none.text);

    // A thousand jobs alike, as many as the queue takes beside those that run.
    let mut flood = Vec::new();
    for n in 0..1_004 {
        flood.push(ann.submit(&sleeps()).await);
        if n == 3 {
            for id in &flood {
                ann.reaches(id, "RUNNING").await;
            }
        }
    }
    assert_eq!(ann.post(SUBMIT, &sleeps()).await.expect(429)["error"], "queue_full");
    let last = explain(&ann, flood.last().unwrap()).await;
    assert_eq!(last["position"], 1_000, "{last:#}");
    ann.delete(&format!("{SUBMIT}/{}", flood[1_003])).await.expect(200);
    let little = bob.submit(&sleeps()).await;
    assert_eq!(explain(&bob, &little).await["position"], 1, "its turn is next: bob has nothing yet");
    let view = bob.get("/api/v1/queue").await.expect(200);
    let hosts = view["pools"].as_array().unwrap().iter().find(|p| p["name"] == "hosts").unwrap().clone();
    assert_eq!((&hosts["running"], &hosts["waiting"]), (&json!(4), &json!(1_000)), "{hosts:#}");
    let users = &hosts["queues"][0]["parts"][0]["parts"];
    assert_eq!(users.as_array().unwrap().len(), 1, "bob sees himself alone: {users:#}");
    ann.delete(&format!("{SUBMIT}/{}", flood[0])).await;
    bob.reaches(&little, "RUNNING").await;
    assert_eq!(ann.job(&flood[4]).await["status"], "QUEUED");
}

#[tokio::test]
async fn the_queue_is_shown_to_people() {
    let libra = sleepy().start().await;
    let api = libra.api();
    let runs = api.submit(&sleeps()).await;
    api.reaches(&runs, "RUNNING").await;
    let waits = api.submit(&sleeps()).await;
    let run = |arguments: &[&str]| {
        let output = setup().env("LIBRA_URL", libra.url()).run(arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let shown = run(&["queue"]);
    assert!(shown.starts_with("1 running, 1 waiting"), "{shown}");
    assert!(shown.contains("libra.resources.quotas.spark-submit.max-concurrent-jobs"), "{shown}");
    let why = run(&["explain", &waits]);
    assert!(why.contains("1 of 1 jobs of the mode spark-submit are running"), "{why}");
    assert!(why.contains(&runs), "it says who holds it: {why}");
    let top = run(&["top", "--count", "2", "--interval", "1"]);
    assert_eq!(top.matches("1 running, 1 waiting").count(), 2, "{top}");
    assert!(top.contains(&waits), "{top}");
}

/// How a running job and those that wait look in one moment, by an administrator's list.
async fn moment(root: &Api) -> BTreeMap<String, (String, String)> {
    let list = root.get("/api/v1/jobs?limit=500").await.expect(200);
    let field = |job: &Value, name: &str| job[name].as_str().unwrap_or_default().to_owned();
    let jobs = list["jobs"].as_array().unwrap().iter();
    jobs.map(|job| (field(job, "jobId"), (field(job, "status"), field(job, "executionMode")))).collect()
}

/// Compares what is said of every waiting job with the store, in a moment in which nothing changes. Answers how many were
/// compared.
async fn check(root: &Api) -> usize {
    let before = moment(root).await;
    let waiting: Vec<&String> = before.iter().filter(|(_, (s, _))| s == "QUEUED").map(|(id, _)| id).collect();
    let mut said = Vec::new();
    for id in &waiting {
        said.push((*id, explain(root, id).await));
    }
    if moment(root).await != before {
        return 0;
    }
    let mut positions: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for (id, why) in &said {
        let mode = before[*id].1.as_str();
        let holds = |(s, m): &(String, String)| m == mode && matches!(s.as_str(), "SCHEDULED" | "RUNNING");
        let running: Vec<&String> = before.iter().filter(|(_, job)| holds(job)).map(|(id, _)| id).collect();
        positions.entry(mode).or_default().push(why["position"].as_u64().unwrap());
        let blocked = &why["blockedBy"];
        assert_eq!(
            blocked["limit"],
            format!("libra.resources.quotas.{mode}.max-concurrent-jobs"),
            "{why:#} in {before:#?}"
        );
        assert_eq!(blocked["used"], running.len(), "{why:#} in {before:#?}");
        let mut holders: Vec<&str> =
            blocked["holders"].as_array().unwrap().iter().map(|h| h.as_str().unwrap()).collect();
        holders.sort_unstable();
        assert_eq!(holders, running, "{why:#}");
    }
    for places in positions.values_mut() {
        places.sort_unstable();
        let wanted: Vec<u64> = (1..=places.len() as u64).collect();
        assert_eq!(*places, wanted, "every place is somebody's: {before:#?}");
    }
    said.len()
}

fn micros(view: &Value, field: &str) -> i64 {
    let text = view[field].as_str().unwrap_or_else(|| panic!("{field} of {view:#}"));
    libra_core::time::Timestamp::parse_rfc3339(text).unwrap().0
}

#[tokio::test]
async fn three_users_share_two_modes_of_a_real_spark_and_are_told_the_truth() {
    // contract: A9, R5
    let _turn = turn().await;
    let libra: Libra = setup()
        .env("LIBRA_RESOURCES_QUOTAS_SPARK_SUBMIT_MAX_CONCURRENT_JOBS", "1")
        .env("LIBRA_RESOURCES_QUOTAS_IN_CLUSTER_MAX_CONCURRENT_JOBS", "1")
        .config(keys())
        .start()
        .await;
    let root = libra.api_as("root");
    let job = |mode: &str, seconds: u32| {
        json!({"code": format!("import time; time.sleep({seconds})"), "kind": "python", "executionMode": mode,
               "name": format!("{mode}-{seconds}")})
    };
    // What is known of these jobs: three runs of each user, in-cluster.
    for user in ["ann", "bob", "cyd"] {
        let api = libra.api_as(user);
        let mut runs = Vec::new();
        for _ in 0..3 {
            runs.push(api.submit(&job("in-cluster", 2)).await);
        }
        for id in runs {
            let ended = api.ended(&id).await;
            assert_eq!(ended["status"], "SUCCEEDED", "{ended:#}");
        }
    }
    // Ann floods both modes; then come the others.
    let mut all = Vec::new();
    let mut estimates = Vec::new();
    for (user, count) in [("ann", 4), ("bob", 2), ("cyd", 1)] {
        let api = libra.api_as(user);
        for _ in 0..count {
            for mode in ["in-cluster", "spark-submit"] {
                let answer = api.post(SUBMIT, &job(mode, 2)).await.expect(202);
                all.push((user, mode, answer["jobId"].as_str().unwrap().to_owned()));
            }
        }
    }
    for (user, mode, id) in &all {
        if *mode == "in-cluster" {
            let why = explain(&libra.api_as(user), id).await;
            if why["status"] == "QUEUED" {
                estimates.push((id.clone(), micros(&why, "estimatedStartTime"), why));
            }
        }
    }
    assert!(estimates.len() >= 5, "{estimates:#?}");
    let mut compared = 0;
    loop {
        compared += check(&root).await;
        let jobs = moment(&root).await;
        if jobs.values().all(|(status, _)| status == "SUCCEEDED") {
            break;
        }
        assert!(!jobs.values().any(|(status, _)| status == "FAILED"), "{jobs:#?}");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert!(compared >= 10, "{compared} explanations were compared with the store");
    for mode in ["in-cluster", "spark-submit"] {
        let mut starts = Vec::new();
        for (user, _, id) in all.iter().filter(|(_, m, _)| *m == mode) {
            starts.push((micros(&root.job(id).await, "startedAt"), *user));
        }
        starts.sort_unstable();
        // Ann had one job or two before the others came; from then on everybody has the same share.
        let users: Vec<&str> = starts.iter().map(|(_, user)| *user).collect();
        let last_of_others = users.iter().rposition(|user| *user != "ann").unwrap();
        let of_ann = users[..last_of_others].iter().filter(|user| **user == "ann").count();
        assert!(of_ann <= 3, "ann's flood was ahead of the others in {mode}: {users:?}");
    }
    // docs/scheduling.md: half of the wait, and three seconds for the launches.
    for (id, estimated, why) in estimates {
        let view = root.job(&id).await;
        let (started, asked) = (micros(&view, "startedAt"), micros(&view, "submittedAt"));
        let (wait, off) = (started - asked, (started - estimated).abs());
        assert!(off <= wait / 2 + 3_000_000, "{off} µs off after {wait} µs: {why:#}\n{view:#}");
    }
}
