//! Drivers of their own, by spark-submit.

use libra_testkit::{processes, write};
use serde_json::{Value, json};

use crate::surroundings::{quoted, shared, turn};

fn python(code: &str) -> Value {
    json!({"code": code, "kind": "python", "executionMode": "spark-submit"})
}

/// A job that fails: its class and what its message must contain.
async fn fails(body: &Value, class: &str, word: &str) -> Value {
    let api = shared().await.api();
    let job = api.run(body).await;
    assert_eq!(job["status"], "FAILED", "{job:#}");
    assert_eq!(job["error"]["class"], class, "{job:#}");
    assert!(job["error"]["message"].as_str().unwrap().contains(word), "{word}: {job:#}");
    assert_eq!(job["attempts"].as_array().unwrap().len(), 1, "{job:#}");
    job
}

#[tokio::test]
async fn a_python_job_leaves_its_log_and_its_rows() {
    // contract: A1, A2, S2
    let _turn = turn().await;
    let libra = shared().await;
    let api = libra.api();
    let marker = libra.scratch("python-job");
    let code = format!(
        "open({}, 'a').write('ran\\n')\nprint('to the log: ü')\n\
         import sys; print('to the other log', file=sys.stderr)\n\
         libra.result(spark.range(3).selectExpr('id', 'id * id AS square'))",
        quoted(&marker)
    );
    let mut body = python(&code);
    body["env"] = json!({"COLOUR": "red"});
    let job = api.run(&body).await;
    assert_eq!((&job["status"], &job["exitCode"]), (&json!("SUCCEEDED"), &json!(0)), "{job:#}");
    assert_eq!(job["executionMode"], "spark-submit");
    assert!(job["applicationId"].is_string(), "{job:#}");
    let rows = json!([{"id": 0, "square": 0}, {"id": 1, "square": 1}, {"id": 2, "square": 4}]);
    assert_eq!(job["result"]["rows"], rows, "{job:#}");
    let id = job["jobId"].as_str().unwrap();
    // Spark's PythonRunner puts both of Python's streams on standard output; standard error is the JVM's.
    let log = api.log(id, "stdout").await;
    assert!(log.contains("to the log: ü") && log.contains("to the other log"), "{log}");
    assert!(api.log(id, "stderr").await.contains("SparkContext"));
    assert_eq!(std::fs::read_to_string(marker).unwrap(), "ran\n");
    let token = job["attempts"][0]["token"].as_str().unwrap();
    assert_eq!(processes::of_attempt(token), Vec::<i32>::new(), "nothing of it is alive");
}

#[tokio::test]
async fn a_program_file_gets_its_arguments_and_its_environment() {
    // contract: A1
    let _turn = turn().await;
    let libra = shared().await;
    let file =
        write(&libra.scratch("report.py"), "import os, sys\nprint(sys.argv[1:], os.environ['COLOUR'])\n");
    let api = libra.api();
    let job =
        api.run(&json!({"file": file, "args": ["--day", "2026-01-31"], "env": {"COLOUR": "red"}})).await;
    assert_eq!(job["status"], "SUCCEEDED", "{job:#}");
    let log = api.log(job["jobId"].as_str().unwrap(), "stdout").await;
    assert!(log.contains("['--day', '2026-01-31'] red"), "{log}");
}

#[tokio::test]
async fn sql_runs_by_spark_submit_as_well() {
    // contract: S2
    let _turn = turn().await;
    let api = shared().await.api();
    let rows = api
        .rows(&json!({"code": "SELECT 6 * 7 AS answer", "kind": "sql", "executionMode": "spark-submit"}))
        .await;
    assert_eq!(rows, [json!({"answer": 42})]);
}

#[tokio::test]
async fn an_exit_code_is_told_as_it_is() {
    // contract: L4, L7
    let _turn = turn().await;
    let job = fails(&python("import sys; sys.exit(7)"), "user", "exit code 7").await;
    assert_eq!((&job["exitCode"], &job["error"]["code"]), (&json!(7), &json!("exit_code")), "{job:#}");
}

#[tokio::test]
async fn an_exception_is_told_in_its_own_words() {
    // contract: L4, L7
    let _turn = turn().await;
    let job =
        fails(&python("raise ValueError('the till is empty')"), "user", "ValueError: the till is empty")
            .await;
    assert_eq!(job["exitCode"], 1, "{job:#}");
    let id = job["jobId"].as_str().unwrap();
    let log = shared().await.api().log(id, "stdout").await;
    assert!(log.contains("ValueError: the till is empty"), "{log}");
}

#[tokio::test]
async fn a_missing_file_is_named() {
    // contract: L4, L7
    let _turn = turn().await;
    let job = fails(&json!({"file": "/nowhere/job.py"}), "user", "/nowhere/job.py").await;
    assert_eq!(job["error"]["code"], "file_missing", "{job:#}");
}

#[tokio::test]
async fn a_lack_of_memory_is_of_class_resources() {
    // contract: L4
    let _turn = turn().await;
    let job = fails(&python("x = bytearray(10**15)"), "resources", "spark.driver.memory").await;
    assert_eq!(job["error"]["code"], "out_of_memory", "{job:#}");
}

#[tokio::test]
async fn a_driver_that_is_killed_is_nobodys_success() {
    // contract: L4, L7
    let _turn = turn().await;
    let api = shared().await.api();
    let mut body =
        python("import os, signal; os.kill(os.getppid(), signal.SIGKILL); import time; time.sleep(1000)");
    body["retryPolicy"] = json!({"maxRetries": 0});
    let job = api.run(&body).await;
    assert_eq!(job["status"], "FAILED", "{job:#}");
    assert!(job["error"]["message"].as_str().unwrap().contains("SIGKILL"), "{job:#}");
    let token = job["attempts"][0]["token"].as_str().unwrap();
    assert_eq!(processes::of_attempt(token), Vec::<i32>::new(), "the orphaned python is gone too");
}

#[tokio::test]
async fn a_job_that_runs_too_long_ends_in_timeout_with_nothing_alive() {
    // contract: L5
    let api = shared().await.api();
    let mut body = python("import time; time.sleep(1000)");
    body["timeoutMinutes"] = json!(1);
    let id = {
        let _turn = turn().await;
        let id = api.submit(&body).await;
        api.reaches(&id, "RUNNING").await;
        id
    };
    // Others may go on meanwhile: it sleeps.
    let job = api.ended(&id).await;
    assert_eq!(job["status"], "TIMEOUT", "{job:#}");
    let token = job["attempts"][0]["token"].as_str().unwrap();
    assert_eq!(processes::of_attempt(token), Vec::<i32>::new());
    assert_eq!(job["error"]["class"], "policy", "{job:#}");
    assert!(job["error"]["message"].as_str().unwrap().contains("1 min"), "{job:#}");
}
