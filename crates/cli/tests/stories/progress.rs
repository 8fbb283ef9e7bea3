//! How far a driver of its own is, what it uses, and where people can look at it.

use std::time::Duration;

use libra_engines::spark_home::SparkHome;
use libra_testkit::{HistoryServer, page, wait, write};
use serde_json::{Value, json};

use crate::surroundings::{quoted, submit_only, turn};

/// What the program holds, in MiB, and how long it keeps a processor busy, in seconds.
const HELD: u64 = 200;
const BURNT: f64 = 2.0;

/// Two stages of eight and four tasks that wait in the middle, and a wait at the end, until somebody says so.
const PROGRAM: &str = "\
import os, time
held = bytearray(b'x') * (HELD << 20)
while time.process_time() < BURNT: pass
def wait(name):
    while not os.path.exists(os.path.join(GATES, name)): time.sleep(0.05)
def gate(name, at):
    def through(index, pairs):
        if index == at: wait(name)
        return pairs
    return through
numbers = spark.sparkContext.parallelize(range(8), 8).map(lambda n: (n % 4, n))
first = numbers.mapPartitionsWithIndex(gate('one', 4)).reduceByKey(lambda a, b: a + b, 4)
sums = first.mapPartitionsWithIndex(gate('two', 2)).collect()
wait('three')
print('done', sorted(sums), len(held))
";

fn percentage(job: &Value) -> u64 {
    job["progress"]["percentage"].as_u64().unwrap_or(0)
}

#[tokio::test]
async fn progress_grows_usage_is_measured_and_the_history_stays() {
    // contract: A2, L3, S2
    let _turn = turn().await;
    let events = tempfile::tempdir().unwrap();
    let mut history = HistoryServer::launch(&SparkHome::find(None).unwrap().home, events.path());
    let setup = submit_only()
        .env("LIBRA_EXECUTION_MODES_SPARK_SUBMIT_EVENT_LOG_DIR", events.path().to_str().unwrap())
        .env("LIBRA_EXECUTION_MODES_SPARK_SUBMIT_HISTORY_SERVER_URL", &history.url());
    let mut libra = setup.start().await;
    let gates = libra.scratch("gates");
    std::fs::create_dir(&gates).unwrap();
    let code = PROGRAM
        .replace("HELD", &HELD.to_string())
        .replace("BURNT", &BURNT.to_string())
        .replace("GATES", &quoted(&gates));
    let id =
        libra.api().submit(&json!({"code": code, "kind": "python", "executionMode": "spark-submit"})).await;

    let mut seen: Vec<u64> = Vec::new();
    let mut restarted = false;
    let (mut ui, mut used) = (None, None);
    loop {
        let job = libra.api().job(&id).await;
        seen.push(percentage(&job));
        if job["status"] == "SUCCEEDED" {
            break;
        }
        assert!(job["completedAt"].is_null(), "{job:#}");
        if job["usage"]["cpuCores"].is_number() {
            used = Some(job["usage"].clone());
        }
        if ui.is_none()
            && let Some(link) = job["links"]["sparkUi"].as_str()
        {
            let (status, text) = page(link).await.expect("the driver's UI answers");
            assert!(status == 200 && text.contains("Spark Jobs"), "{status}: {text}");
            ui = Some(link.to_owned());
        }
        let held = job["usage"]["peakMemoryBytes"].as_u64() >= Some(HELD << 20);
        match job["progress"]["tasksCompleted"].as_u64() {
            Some(4) if !restarted => {
                // The next Libra goes on from there.
                libra.kill();
                libra.start(&setup).await;
                restarted = true;
                write(&gates.join("one"), "");
            }
            Some(10) => drop(write(&gates.join("two"), "")),
            Some(12) if held && used.is_some() => drop(write(&gates.join("three"), "")),
            _ => {}
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(seen.is_sorted(), "it never falls: {seen:?}");
    seen.dedup();
    assert!(seen.contains(&33) && seen.contains(&83) && restarted, "it grows: {seen:?}");
    assert!(seen[1..seen.len() - 1].iter().all(|p| (1..=99).contains(p)), "{seen:?}");
    assert_eq!((seen.first(), seen.last()), (Some(&0), Some(&100)));

    let job = libra.api().job(&id).await;
    let usage = &job["usage"];
    assert!(usage["peakMemoryBytes"].as_u64() >= Some(HELD << 20), "{job:#}");
    assert!(usage["cpuSeconds"].as_f64() >= Some(BURNT), "{job:#}");
    assert_eq!((&usage["cpuCores"], &usage["memoryBytes"]), (&Value::Null, &Value::Null), "it has ended");
    assert_eq!(&job["attempts"][0]["usage"], usage, "{job:#}");
    assert!(used.is_some_and(|used| used["memoryBytes"].as_u64() >= Some(HELD << 20)), "while it ran");

    assert!(job["links"]["sparkUi"].is_null(), "{job:#}");
    assert!(page(&ui.unwrap()).await.is_none(), "the UI is gone with its driver");
    let application = job["applicationId"].as_str().unwrap();
    let link = job["links"]["history"].as_str().unwrap();
    assert_eq!(link, format!("{}/history/{application}/", history.url()));
    history.ready().await;
    wait::until_async("the history server shows the job", || async {
        page(link).await.is_some_and(|(status, text)| status == 200 && text.contains("Spark Jobs"))
    })
    .await;
}
