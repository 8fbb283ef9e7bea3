//! The examples of the two Libra documents, as they are written there but for host and token.

use libra_testkit::Api;
use serde_json::{Value, json};

use crate::surroundings::{shared, turn};

const SUBMIT: &str = "/api/v1/spark/jobs/submit";

const DESIGN_EXAMPLE: &str = r#"{
  "code": "spark.sql('SELECT COUNT(*) FROM users').show()",
  "kind": "sql",
  "executionMode": "in-cluster",
  "sparkConfig": {
    "spark.executor.instances": "5",
    "spark.executor.memory": "4g",
    "spark.executor.cores": "2"
  },
  "priority": 5,
  "retryPolicy": {
    "maxRetries": 3,
    "backoffMultiplier": 2
  },
  "notifications": {
    "webhook": "https://customer.com/webhooks/spark",
    "events": ["SUCCEEDED", "FAILED"]
  }
}"#;

const SUMMARY_EXAMPLE: &str = r#"{
    "code": "spark.sql(\"SELECT COUNT(*) FROM users\").show()",
    "kind": "sql",
    "executionMode": "auto",
    "priority": 5,
    "retryPolicy": {
      "maxRetries": 3,
      "backoffMultiplier": 2
    },
    "notifications": {
      "webhook": "https://my-app.com/spark-webhook",
      "events": ["SUCCEEDED", "FAILED"]
    }
  }"#;

const PYTHON_EXAMPLE: &str = r#"{
    "code": "print(\"Hello from async Spark!\")",
    "kind": "python"
  }"#;

/// The names of both documents' lists.
const FIGURES: [&str; 22] = [
    "libra_job_submissions_total{",
    "libra_job_duration_seconds",
    "libra_queue_size{queue=\"pending\"}",
    "libra_queue_size{queue=\"scheduled\"}",
    "libra_queue_wait_time_seconds",
    "libra_resource_usage{type=\"cpu\"}",
    "libra_resource_limit{type=\"memory\"}",
    "libra_executor_count{",
    "libra_http_requests_total{",
    "libra_http_request_duration_seconds",
    "libra_admission_admitted_total",
    "libra_admission_rejected_total",
    "libra_jobs_succeeded_total",
    "libra_jobs_failed_total",
    "libra_jobs_execution_time_seconds",
    "libra_resources_cpu_limit",
    "libra_resources_cpu_used",
    "libra_resources_memory_limit",
    "libra_resources_memory_used",
    "libra_resources_jobs_active",
    "libra_resources_cpu_utilization",
    "libra_resources_memory_utilization",
];

async fn submit(api: &Api, body: &str) -> Value {
    let answer = api.send("POST", SUBMIT, &[("content-type", "application/json")], body.into()).await;
    let view = answer.expect(202);
    let id = view["jobId"].as_str().unwrap();
    assert!(id.starts_with("job-"), "{id}");
    assert_eq!(answer.header("location"), format!("/api/v1/spark/jobs/{id}"));
    assert_eq!(view["status"], "QUEUED");
    assert!(view["submittedAt"].is_string() && view.get("estimatedStartTime").is_some(), "{view}");
    view
}

async fn users_table(api: &Api) {
    let table = "CREATE TABLE users AS SELECT id, concat('user ', id) AS name FROM range(1000)";
    let job = api.run(&json!({"code": table, "kind": "sql"})).await;
    assert_eq!(job["status"], "SUCCEEDED", "{job:#}");
}

#[tokio::test]
async fn the_curl_examples_of_the_references_work_as_written() {
    // contract: A1, A2, A3, L6, S1
    let _turn = turn().await;
    let api = shared().await.api();
    users_table(&api).await;
    for (body, mode) in [(DESIGN_EXAMPLE, "in-cluster"), (SUMMARY_EXAMPLE, "in-cluster")] {
        let id = submit(&api, body).await["jobId"].as_str().unwrap().to_owned();
        let job = api.ended(&id).await;
        assert_eq!((&job["status"], &job["executionMode"]), (&json!("SUCCEEDED"), &json!(mode)), "{job:#}");
        assert_eq!(job["retryCount"], 0);
        for field in ["submittedAt", "queuedAt", "startedAt", "completedAt"] {
            assert!(job[field].as_str().is_some_and(|t| t.ends_with('Z')), "{field}: {job:#}");
        }
        let result = api.get(&format!("/api/v1/spark/jobs/{id}/result")).await.expect(200);
        assert_eq!(result["status"], "SUCCEEDED");
        assert_eq!(result["result"]["rows"], json!([{"count(1)": 1000}]), "{result}");
        assert_eq!(result["result"]["schema"]["fields"][0]["name"], "count(1)");
        assert_eq!(result["result"]["schema"]["fields"][0]["type"], "long");
        assert!(result["executionTime"].as_str().unwrap().ends_with('s'));
        assert!(result["completedAt"].is_string());
    }

    let hello = submit(&api, PYTHON_EXAMPLE).await["jobId"].as_str().unwrap().to_owned();
    let job = api.ended(&hello).await;
    assert_eq!(job["status"], "SUCCEEDED", "{job:#}");
    assert!(api.log(&hello, "stdout").await.contains("Hello from async Spark!"));

    let list = api.get("/api/v1/spark/jobs?status=SUCCEEDED&limit=2&offset=0").await.expect(200);
    assert_eq!((&list["limit"], &list["offset"]), (&json!(2), &json!(0)));
    assert_eq!(list["jobs"].as_array().unwrap().len(), 2);
    assert!(list["total"].as_u64().unwrap() >= 4, "{list}");
    for job in list["jobs"].as_array().unwrap() {
        assert_eq!(job["status"], "SUCCEEDED");
        assert!(
            job["jobId"].is_string() && job["submittedAt"].is_string() && job["executionMode"].is_string()
        );
    }
}

#[tokio::test]
async fn the_probes_and_figures_of_the_references_are_there() {
    // contract: A11, R7
    let _turn = turn().await;
    let api = shared().await.api();
    let job = api.run(&json!({"code": "SELECT 1", "kind": "sql"})).await;
    assert_eq!(job["status"], "SUCCEEDED", "{job:#}");
    let health = api.get("/actuator/health").await.expect(200);
    assert_eq!(health["status"], "UP");
    for path in ["/actuator/prometheus", "/metrics"] {
        let text = api.get(path).await.text;
        for name in FIGURES {
            assert!(text.lines().any(|line| line.starts_with(name)), "{name} is not in {path}:\n{text}");
        }
        // This one has a line of its own once a job had to wait.
        assert!(text.contains("libra_admission_queued"), "{path}:\n{text}");
        assert!(text.contains("endpoint=\"/api/v1/spark/jobs/submit\",status=\"2xx\""), "{path}:\n{text}");
        assert!(text.contains("execution_mode=\"in-cluster\""), "{path}:\n{text}");
    }
}
