//! Spark jobs in allocations of a real Slurm, with a real Spark that is started there for each of them.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use libra_testkit::{Api, Setup, SlurmCluster, processes, slurm, wait, write};
use serde_json::{Value, json};

use crate::hpc_submission::{through_commands, through_rest};
use crate::surroundings::{sleepy, submit_only, turn};

fn on(setup: Setup, door: &str) -> Setup {
    setup.config(format!(
        "libra: {{slurm: {{clusters: [{{name: lab, {door}, interval: 1s, requests-per-minute: 1200}}]}}}}"
    ))
}

/// A job as small as Spark can be, in a temporary directory of its own.
fn job(cluster: &SlurmCluster, name: &str, more: &Value) -> (Value, PathBuf) {
    let room = cluster.work().join(name);
    std::fs::create_dir_all(&room).unwrap();
    let mut job = json!({
        "executionMode": "slurm", "env": {"TMPDIR": room.display().to_string()},
        "sparkConfig": {
            "spark.driver.memory": "512m", "spark.executor.memory": "512m", "spark.executor.instances": "1",
            // Tasks wait until all executors are there.
            "spark.scheduler.minRegisteredResourcesRatio": "1.0",
            "spark.scheduler.maxRegisteredResourcesWaitingTime": "300s",
        },
    });
    merge(&mut job, more);
    (job, room)
}

fn merge(one: &mut Value, more: &Value) {
    match (one, more) {
        (Value::Object(one), Value::Object(more)) => {
            for (key, value) in more {
                merge(one.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (one, more) => *one = more.clone(),
    }
}

fn files_in(dir: &Path) -> Vec<String> {
    std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path().display().to_string()).collect()
}

fn processes_of(id: &str) -> Vec<i32> {
    processes::with_variable("LIBRA_JOB_ID", id)
}

#[tokio::test]
async fn a_program_runs_on_two_nodes_with_what_it_was_given() {
    // contract: H6
    const PROGRAM: &str = r#"
import json, os, sys, time
from pyspark.sql import SparkSession

def where(_):
    time.sleep(0.2)
    return os.environ["SLURMD_NODENAME"]

spark = SparkSession.builder.getOrCreate()
nodes = spark.sparkContext.range(0, 8, 1, 8).map(where).distinct().collect()
print(json.dumps({
    "args": sys.argv[1:], "setting": spark.conf.get("spark.some.words"), "variable": os.environ["WORDS"],
    "nodes": sorted(nodes), "secret": spark.sparkContext.getConf().contains("spark.authenticate.secret"),
}))
"#;
    let _turn = turn().await;
    let cluster = SlurmCluster::start();
    let libra = on(submit_only(), &through_commands(&cluster)).start().await;
    let api = libra.api();
    let odd = "it's \"two\nlines\" of $HOME `id` \\n!*;é";
    let file = write(&libra.scratch("where.py"), PROGRAM);
    let asked = json!({
        "file": file, "args": [odd, "", "--flag=$x"], "env": {"WORDS": odd}, "slurm": {"nodes": 2, "timeLimitMinutes": 9},
        "sparkConfig": {"spark.executor.instances": "2", "spark.some.words": odd}, "name": "two nodes",
    });
    let (body, room) = job(&cluster, "two", &asked);
    let job = api.run(&body).await;
    let id = job["jobId"].as_str().unwrap();
    let (out, err) = (api.log(id, "stdout").await, api.log(id, "stderr").await);
    assert_eq!(job["status"], "SUCCEEDED", "{job:#}\n{out}\n{err}");
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(told["nodes"], json!([cluster.node(1), cluster.node(2)]), "executors ran on both");
    assert_eq!(told["args"], json!([odd, "", "--flag=$x"]));
    assert_eq!((&told["setting"], &told["variable"]), (&odd.into(), &odd.into()));
    assert_eq!(told["secret"], true, "its executors show that they are its own");

    // Asked of Slurm: a processor for each executor, and one more on the driver's node.
    let seen = api.get(&format!("/v1/jobs/{}", job["applicationId"].as_str().unwrap())).await.expect(200);
    assert_eq!(seen["scheduler"]["requested_cpus"], 4, "{seen:#}");
    assert_eq!(seen["scheduler"]["time_limit_minutes"], 9);
    assert_eq!(files_in(&room), [""; 0], "nothing of it is left on the nodes");
    let attempt = libra.attempt_dir(id, 1);
    wait::until_true("no secret is left", || {
        ["spark.properties", "spark-daemons.conf"].iter().all(|file| !attempt.join(file).exists())
    })
    .await;
}

#[tokio::test]
async fn a_query_that_fails_says_why_and_one_that_does_not_has_a_result() {
    // contract: H6, L4
    let _turn = turn().await;
    let cluster = SlurmCluster::start();
    let libra = on(submit_only(), &through_rest(&cluster, &cluster.url())).start().await;
    let api = libra.api();
    // Beside each other on one node: each with a master of its own.
    let bad = job(&cluster, "bad", &json!({"kind": "sql", "code": "SELECT * FROM nowhere.at_all"})).0;
    let (good, room) =
        job(&cluster, "good", &json!({"kind": "sql", "code": "SELECT sum(id) AS s FROM range(5)"}));
    let (bad, good) = (api.submit(&bad).await, api.submit(&good).await);
    let job = api.ended(&bad).await;
    assert_eq!((&job["status"], &job["error"]["code"]), (&"FAILED".into(), &"sql_error".into()), "{job:#}");
    assert_eq!(job["error"]["class"], "user");
    assert_eq!(job["attempts"][0]["exitCode"], 1);
    let message = job["error"]["message"].as_str().unwrap();
    assert!(message.contains("TABLE_OR_VIEW_NOT_FOUND"), "{message}");
    let job = api.ended(&good).await;
    assert_eq!(job["status"], "SUCCEEDED", "{job:#}\n{}", api.log(&good, "stderr").await);
    let result = api.get(&format!("/api/v1/jobs/{good}/result")).await.expect(200);
    assert_eq!(result["result"]["rows"], json!([{"s": 10}]), "{result:#}");
    assert_eq!(files_in(&room), [""; 0]);
}

#[tokio::test]
async fn a_cancelled_job_leaves_no_process_of_spark_on_any_node() {
    // contract: H6, L6
    const PROGRAM: &str = "import time\nspark.sparkContext.range(0, 2, 1, 2).count()\nprint('here', flush=True)\n\
                           spark.sparkContext.range(0, 2, 1, 2).foreach(lambda _: time.sleep(600))\n";
    let _turn = turn().await;
    // Time to clean up, as Slurm gives it where nobody says otherwise.
    let cluster = slurm::Setup::new().line("KillWait=30").start();
    let libra = on(submit_only(), &through_rest(&cluster, &cluster.url())).start().await;
    let api = libra.api();
    let asked = json!({
        "kind": "python", "code": PROGRAM, "slurm": {"nodes": 2}, "sparkConfig": {"spark.executor.instances": "2"},
    });
    let (body, room) = job(&cluster, "cancelled", &asked);
    let id = api.submit(&body).await;
    wait::until_async("its executors are at work", async || {
        api.job(&id).await["status"] == "RUNNING" && api.log(&id, "stdout").await == "here\n"
    })
    .await;
    wait::until_async("its driver's UI is linked", async || {
        let job = api.job(&id).await;
        job["links"]["sparkUi"].as_str().is_some_and(|link| link.starts_with("http://"))
    })
    .await;
    let lines: Vec<String> = processes_of(&id).into_iter().map(processes::command_line).collect();
    let of = |part: &str| lines.iter().filter(|line| line.contains("/java ") && line.contains(part)).count();
    let daemons = (of("deploy.master.Master "), of("deploy.worker.Worker "));
    assert_eq!((daemons, of("CoarseGrainedExecutorBackend")), ((1, 2), 2), "{lines:#?}");

    // Nobody else sees the secret of the three.
    let daemons = libra.attempt_dir(&id, 1).join("spark-daemons.conf");
    assert_eq!(std::fs::metadata(&daemons).unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&daemons).unwrap();
    let secret = text.lines().find_map(|line| line.strip_prefix("spark.authenticate.secret=")).unwrap();
    assert_eq!(secret.len(), 64);
    assert!(!lines.iter().any(|line| line.contains(secret)), "{lines:#?}");

    api.delete(&format!("/api/v1/jobs/{id}")).await;
    let job = api.ended(&id).await;
    assert_eq!(job["status"], "CANCELLED", "{job:#}");
    let left: Vec<String> = processes_of(&id).into_iter().map(processes::command_line).collect();
    assert_eq!(left, [""; 0]);
    assert_eq!(files_in(&room), [""; 0]);
    wait::until_true("what they shared is gone", || !daemons.exists()).await;
}

#[tokio::test]
async fn a_driver_without_workers_does_not_wait_for_its_time_limit() {
    // contract: H6, L4
    const PROGRAM: &str = "import time\nprint('here', flush=True)\ntime.sleep(600)\n";
    let _turn = turn().await;
    let cluster = SlurmCluster::start();
    let libra = on(submit_only(), &through_commands(&cluster)).start().await;
    let api = libra.api();
    let asked = json!({"kind": "python", "code": PROGRAM, "retryPolicy": {"maxRetries": 0}});
    let (body, room) = job(&cluster, "alone", &asked);
    let id = api.submit(&body).await;
    wait::until_async("its driver is at work", async || api.log(&id, "stdout").await == "here\n").await;
    let is_worker = |pid: &i32| {
        let line = processes::command_line(*pid);
        line.contains("/java ") && line.contains("deploy.worker.Worker ")
    };
    let workers: Vec<i32> = processes_of(&id).into_iter().filter(is_worker).collect();
    assert_eq!(workers.len(), 1);
    assert!(Command::new("kill").args(["-9", &workers[0].to_string()]).status().unwrap().success());
    let job = api.ended(&id).await;
    assert_eq!(
        (&job["error"]["code"], &job["error"]["class"]),
        (&"cluster_lost".into(), &"infrastructure".into()),
        "{job:#}\n{}",
        api.log(&id, "stderr").await
    );
    assert_eq!(files_in(&room), [""; 0]);
}

#[tokio::test]
async fn a_spark_that_is_not_on_the_nodes_is_no_fault_of_the_job() {
    // contract: H6, L4
    let cluster = SlurmCluster::start();
    let libra = on(sleepy(), &format!("{}, spark-home: /no/spark", through_commands(&cluster))).start().await;
    let more = json!({"kind": "sql", "code": "SELECT 1", "retryPolicy": {"maxRetries": 0}});
    let job = libra.api().run(&job(&cluster, "none", &more).0).await;
    assert_eq!(
        (&job["error"]["code"], &job["error"]["class"]),
        (&"spark_not_started".into(), &"infrastructure".into()),
        "{job:#}"
    );
    let message = job["error"]["message"].as_str().unwrap();
    assert!(message.contains("/no/spark") && message.contains("spark-home"), "{message}");
}

#[tokio::test]
async fn what_slurm_does_not_take_leaves_no_settings_behind() {
    // contract: H6
    let cluster = SlurmCluster::start();
    let libra = on(sleepy(), &format!("{}, spark-home: /no/spark", through_commands(&cluster))).start().await;
    let more = json!({
        "kind": "sql", "code": "SELECT 1", "slurm": {"partition": "nowhere"},
        "sparkConfig": {"spark.hadoop.some.key": "s3cret"},
    });
    let job = libra.api().run(&job(&cluster, "refused", &more).0).await;
    assert_eq!(job["error"]["code"], "slurm_refused", "{job:#}");
    let attempt = libra.attempt_dir(job["jobId"].as_str().unwrap(), 1);
    assert!(attempt.join("owner").exists(), "it was sent");
    assert!(!attempt.join("spark.properties").exists());
}

#[tokio::test]
async fn what_does_not_fit_into_its_allocation_is_refused_at_the_door() {
    // contract: A9
    let cluster = SlurmCluster::start();
    let libra = on(sleepy(), &through_commands(&cluster)).start().await;
    let api = libra.api();
    let sql = |more: Value| {
        let mut body = json!({"kind": "sql", "code": "SELECT 1", "executionMode": "slurm"});
        merge(&mut body, &more);
        body
    };
    let spark = |key: &str, value: &str| sql(json!({"sparkConfig": {key: value}}));
    for (body, pointer) in [
        (sql(json!({"slurm": {"memoryMb": 1000}})), "/slurm/memoryMb"),
        (sql(json!({"slurm": {"array": "0-3"}})), "/slurm/array"),
        (
            sql(json!({"slurm": {"cpusPerTask": 2}, "sparkConfig": {"spark.executor.cores": "2"}})),
            "/slurm/cpusPerTask",
        ),
        (
            sql(json!({"slurm": {"nodes": 4}, "sparkConfig": {"spark.executor.instances": "1"}})),
            "/slurm/nodes",
        ),
        (spark("spark.master", "local[2]"), "/sparkConfig/spark.master"),
        (spark("spark.authenticate.secret", "x"), "/sparkConfig/spark.authenticate.secret"),
        (spark("spark.executor.memory", "lots"), "/sparkConfig/spark.executor.memory"),
        (sql(json!({"cluster": "elsewhere"})), "/cluster"),
        (sql(json!({"env": {"SLURM_CONF": "x"}})), "/env/SLURM_CONF"),
        (sql(json!({"kind": "jar"})), "/code"),
    ] {
        let answer = api.post("/api/v1/jobs", &body).await;
        assert!([400, 422].contains(&answer.status), "{body}: {}", answer.json());
        assert_eq!(answer.pointers(), [pointer], "{body}: {}", answer.json());
    }
    assert_eq!(api.total().await, 0, "nothing was stored");
}

#[tokio::test]
async fn nodes_that_do_not_see_its_files_run_no_spark() {
    // contract: A9
    let cluster = SlurmCluster::start();
    let libra = on(sleepy(), &format!("{}, shares-files: false", through_commands(&cluster))).start().await;
    let body = json!({"kind": "sql", "code": "SELECT 1", "executionMode": "slurm"});
    let answer = libra.api().post("/api/v1/jobs", &body).await;
    assert_eq!((answer.status, answer.pointers()), (422, vec!["/executionMode".to_owned()]));
    is_there_for_scripts(&libra.api()).await;
}

async fn is_there_for_scripts(api: &Api) {
    let job = api.run(&json!({"kind": "script", "code": "#!/bin/sh\ntrue\n"})).await;
    assert_eq!(job["status"], "SUCCEEDED", "{job:#}");
}
