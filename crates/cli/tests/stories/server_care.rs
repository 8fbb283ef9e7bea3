//! The shared Spark server is replaced, hangs and dies under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use libra_testkit::{Api, Libra, Setup, processes, wait};
use serde_json::{Value, json};

use crate::surroundings::{setup, turn};

/// Submitters that each have one job after another.
const SUBMITTERS: u32 = 3;
/// How often the server is killed in every run of the tests.
const KILLS: u32 = 3;
/// How often in the drill.
const KILLS_IN_THE_DRILL: u32 = 20;

fn sql(code: &str) -> Value {
    json!({"code": code, "kind": "sql", "executionMode": "in-cluster"})
}

/// True when the job with this mark inserts it.
fn writes(mark: &str) -> bool {
    mark.trim_start_matches("mark-").parse::<u32>().unwrap().is_multiple_of(2)
}

/// The Java processes of the servers.
fn servers(libra: &Libra) -> Vec<i32> {
    let below = processes::working_below(&libra.data_dir().join("connect"));
    below.into_iter().filter(|pid| processes::command_line(*pid).contains("SparkConnectServer")).collect()
}

/// Jobs one after another from several submitters until told to stop: reads, and inserts of a mark each. None may be
/// retried, so that every end is the first one. Each submitter has a table of its own: Spark's inserts into one
/// directory at the same time remove each other's drafts.
struct Load {
    stop: Arc<AtomicBool>,
    submitters: Vec<tokio::task::JoinHandle<Vec<(String, Value)>>>,
}

impl Load {
    fn start(api: &Api) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let count = Arc::new(AtomicU32::new(0));
        let submitters = (0..SUBMITTERS)
            .map(|submitter| {
                let (api, stop, count) = (api.clone(), Arc::clone(&stop), Arc::clone(&count));
                tokio::spawn(async move {
                    let mut ended = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        let n = count.fetch_add(1, Ordering::Relaxed);
                        let mark = format!("mark-{n}");
                        let code = if writes(&mark) {
                            format!("INSERT INTO marks_{submitter} VALUES ('{mark}')")
                        } else {
                            "SELECT max((hash(id) & 0) + 1) AS n FROM range(0, 20000000, 1, 2)".to_owned()
                        };
                        let mut job = sql(&code);
                        job["retryPolicy"] = json!({"maxRetries": 0});
                        ended.push((mark, api.run(&job).await));
                    }
                    ended
                })
            })
            .collect();
        Self { stop, submitters }
    }

    /// All jobs of it, with their marks.
    async fn end(self) -> Vec<(String, Value)> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for submitter in self.submitters {
            all.extend(submitter.await.unwrap());
        }
        all
    }
}

async fn with_marks(setup: &Setup) -> Libra {
    let libra = setup.start().await;
    for submitter in 0..SUBMITTERS {
        let code = format!("CREATE TABLE marks_{submitter} (mark STRING) USING parquet");
        let made = libra.api().run(&sql(&code)).await;
        assert_eq!(made["status"], "SUCCEEDED", "{made:#}");
    }
    libra
}

/// The marks that are there, in order.
async fn marks(api: &Api) -> Vec<String> {
    let tables: Vec<_> = (0..SUBMITTERS).map(|n| format!("SELECT mark FROM marks_{n}")).collect();
    let code = format!(
        "SELECT concat_ws(' ', sort_array(collect_list(mark))) AS m FROM ({})",
        tables.join(" UNION ALL ")
    );
    let rows = api.rows(&sql(&code)).await;
    rows[0]["m"].as_str().unwrap().split_ascii_whitespace().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_server_that_has_grown_too_large_is_replaced_and_no_job_fails() {
    // contract: S1
    let _turn = turn().await;
    // Every server is larger than this: it is replaced as soon as it may be.
    let setup = setup().env("LIBRA_EXECUTION_MODES_IN_CLUSTER_RECYCLE_AT", "100m");
    let mut libra = with_marks(&setup).await;
    // More than one where the machine is so slow that the next one starts already.
    let first = servers(&libra);
    assert!(!first.is_empty(), "a server is there");
    let load = Load::start(&libra.api());
    wait::until_true("the server is replaced", || {
        let now = servers(&libra);
        !now.is_empty() && now.iter().all(|pid| !first.contains(pid))
    })
    .await;
    let ended = load.end().await;
    for (mark, job) in &ended {
        assert_eq!(job["status"], "SUCCEEDED", "{mark}: {job:#}");
        assert_eq!(job["attempts"].as_array().unwrap().len(), 1, "{mark}: {job:#}");
    }
    let mut inserted: Vec<_> =
        ended.iter().map(|(mark, _)| mark.clone()).filter(|mark| writes(mark)).collect();
    inserted.sort();
    assert!(!inserted.is_empty() && inserted.len() < ended.len(), "there was a load");
    assert_eq!(marks(&libra.api()).await, inserted, "each insert is there once");

    // Libra dies while the next one is put in its place: one server is left in the end, and it works.
    let second = servers(&libra);
    wait::until_true("the next server starts", || servers(&libra).len() == 2 || servers(&libra) != second)
        .await;
    libra.kill();
    libra.start(&setup.env("LIBRA_EXECUTION_MODES_IN_CLUSTER_RECYCLE_AT", "64g")).await;
    assert_eq!(marks(&libra.api()).await, inserted, "the tables are the same");
    wait::until_true("one server is left", || servers(&libra).len() == 1).await;
}

/// Kills the server again and again under load; the second time it only hangs.
async fn ends_are_true_whatever_becomes_of_the_server(kills: u32) {
    let setup = setup().env("LIBRA_EXECUTION_MODES_IN_CLUSTER_PROBE_EVERY", "1s");
    let libra = with_marks(&setup).await;
    let api = libra.api();
    let load = Load::start(&api);
    for kill in 0..kills {
        let before = servers(&libra);
        assert!(!before.is_empty(), "a server is there");
        // At some moment of its work.
        tokio::time::sleep(Duration::from_millis(1_500 + u64::from(kill) * 137)).await;
        before.iter().copied().for_each(if kill == 1 { processes::stop } else { processes::kill });
        wait::until_true("the next server is there", || {
            let now = servers(&libra);
            now.len() == 1 && now[0] != before[0]
        })
        .await;
        // It has to have answered something before it dies as well.
        let answered = api.run(&sql("SELECT 1 AS n")).await;
        assert_eq!(answered["status"], "SUCCEEDED", "after kill {kill}: {answered:#}");
    }
    let ended = load.end().await;
    let there = marks(&api).await;
    let mut failed = 0;
    for (mark, job) in &ended {
        let rows = there.iter().filter(|other| *other == mark).count();
        let unknown = job["error"]["outcome"] == "unknown";
        match job["status"].as_str().unwrap() {
            "SUCCEEDED" => assert_eq!(rows, usize::from(writes(mark)), "{mark}: {job:#}"),
            "FAILED" => {
                failed += 1;
                assert_eq!(job["error"]["class"], "infrastructure", "{mark}: {job:#}");
                let lost = job["error"]["code"] == "engine_lost";
                assert_eq!(unknown, writes(mark) && lost, "{mark}: {job:#}");
                assert!(rows <= usize::from(unknown), "{mark} is there {rows} times: {job:#}");
            }
            other => panic!("{mark} is {other}: {job:#}"),
        }
    }
    println!("{} jobs ended, {failed} of them with their server, which died {kills} times", ended.len());
    assert!(failed > 0, "some job ran when the server died");
}

#[tokio::test]
async fn the_server_hangs_and_dies_under_load_and_every_end_is_true() {
    // contract: S1, L4, L7
    let _turn = turn().await;
    ends_are_true_whatever_becomes_of_the_server(KILLS).await;
}

#[tokio::test]
#[ignore = "a drill: make drills"]
async fn drill_the_server_dies_20_times_under_load() {
    let _turn = turn().await;
    ends_are_true_whatever_becomes_of_the_server(KILLS_IN_THE_DRILL).await;
}

/// The built-in catalog is the story above.
#[tokio::test]
#[ignore = "a drill: make drills"]
async fn drill_where_two_servers_may_use_the_catalog_new_jobs_wait_for_nobody() {
    // contract: S1
    let _turn = turn().await;
    let setup = setup()
        .config("libra.execution.modes.in-cluster.conf.spark.sql.catalogImplementation: in-memory\n")
        .env("LIBRA_EXECUTION_MODES_IN_CLUSTER_RECYCLE_AT", "100m");
    let libra = setup.start().await;
    let api = libra.api();
    let long = api.submit(&sql("SELECT java_method('java.lang.Thread', 'sleep', 150000L)")).await;
    api.reaches(&long, "RUNNING").await;
    let first = servers(&libra);
    assert_eq!(first.len(), 1, "{first:?}");
    let application = |job: &Value| job["applicationId"].as_str().unwrap().to_owned();
    let before = application(&api.run(&sql("SELECT 1 AS n")).await);
    wait::until_async("new jobs go to another server", || async {
        let job = api.run(&sql("SELECT 1 AS n")).await;
        assert_eq!(job["status"], "SUCCEEDED", "{job:#}");
        application(&job) != before
    })
    .await;
    let now = api.get(&format!("/api/v1/spark/jobs/{long}")).await.json();
    assert_eq!(now["status"], "RUNNING", "its server works on: {now:#}");
    let job = api.ended(&long).await;
    assert_eq!(
        (&job["status"], application(&job), job["attempts"].as_array().unwrap().len()),
        (&json!("SUCCEEDED"), before, 1),
        "{job:#}"
    );
    wait::until_true("the old server ends when it is idle", || !processes::is_alive(first[0])).await;
}

#[tokio::test]
async fn jobs_of_a_queue_run_in_the_scheduler_pool_of_that_name() {
    // contract: R1
    let _turn = turn().await;
    let libra = crate::surroundings::shared().await;
    let api = libra.api();
    let mut job = sql("SELECT count(*) AS n FROM range(0, 1234, 1, 3)");
    job["queue"] = json!("nightly");
    let ended = api.run(&job).await;
    assert_eq!(ended["status"], "SUCCEEDED", "{ended:#}");
    let plain = api.run(&sql("SELECT count(*) AS n FROM range(0, 1235, 1, 3)")).await;
    assert_eq!(plain["status"], "SUCCEEDED", "{plain:#}");
    let ui = ended["links"]["sparkUi"].as_str().unwrap_or_else(|| panic!("{ended:#}"));
    let app = ended["applicationId"].as_str().unwrap_or_else(|| panic!("{ended:#}"));
    let stages = libra_testkit::get_json(&format!("{ui}/api/v1/applications/{app}/stages")).await;
    let stages = stages.as_array().unwrap();
    let in_pool = |pool: &str| {
        stages.iter().filter(|s| s["schedulingPool"] == pool && s["status"] == "COMPLETE").count()
    };
    assert!(in_pool("nightly") > 0, "{stages:#?}");
    assert!(in_pool("default") > 0, "others are where they were: {stages:#?}");
}
