//! The figures of observed jobs in `/metrics`, as Prometheus reads them.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use libra_core::time::Timestamp;
use libra_testkit::{Api, wait};
use serde_json::{Value, json};

use crate::surroundings::sleepy;

/// What `promtool check metrics` finds fault with: names that the references have given, and so many of ours that are
/// spelled after them.
const NAMES_OF_THE_REFERENCES: [&str; 2] = ["hpc_job_state_total", "hpc_node_job_count"];

/// This moment.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp(i64::try_from(since.as_micros()).unwrap())
}

/// So many seconds ago, as agents write it.
pub fn ago(seconds: i64) -> String {
    now().plus_seconds(-seconds).rfc3339()
}

async fn figures(api: &Api) -> String {
    let answer = api.get("/metrics").await;
    assert_eq!(answer.status, 200);
    answer.text
}

/// What promtool says of figures, line by line.
pub fn promtool(text: &str) -> Vec<String> {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is missing: run `make setup-test`");
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let said = promtool.wait_with_output().unwrap();
    let said = [said.stdout, said.stderr].concat();
    String::from_utf8(said).unwrap().lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn running_jobs_and_nodes_have_figures_and_what_is_unknown_has_none() {
    // contract: H5, O1
    let libra = sleepy().start().await;
    let api = libra.api();
    let begin = |number: &str, nodes: Value| {
        json!({"job_id": number, "user": "ann", "account": "physics", "partition": "batch", "node_list": nodes,
            "cpu_allocation": 8, "cluster": "east", "timestamp": ago(600)})
    };
    let first = api.post("/v1/events/job-started", &begin("1", json!(["n1", "n2"]))).await.expect(200);
    api.post("/v1/events/job-started", &begin("2", json!(["n1"]))).await.expect(200);
    api.post("/v1/events/job-started", &begin("3", json!(["n1"]))).await.expect(200);
    api.post("/v1/events/job-finished", &json!({"job_id": "3", "cluster": "east", "exit_code": 0}))
        .await
        .expect(200);
    let sample = |number: &str, cpu: f64, mb: f64| json!({"external_job_id": number, "timestamp": ago(5), "cpu_usage": cpu, "memory_usage_mb": mb});
    let totals = json!({"timestamp": ago(5), "cpu_usage": 75.0, "cpus": 16, "memory_used_mb": 1024.0});
    let batch = json!({"cluster": "east", "node": "n1", "node_totals": totals,
        "samples": [sample("1", 50.0, 100.0), sample("2", 10.0, 28.0)]});
    assert_eq!(api.post("/v1/metrics/batch", &batch).await.expect(200)["accepted"], 2);
    // Of what is older than that, nothing is taken.
    let older = json!({"cluster": "east", "node": "n1", "node_totals": {"timestamp": ago(60), "cpus": 1}});
    api.post("/v1/metrics/batch", &older).await.expect(200);

    let id = first["job_id"].as_str().unwrap();
    wait::until_async("the figures are read anew", async || {
        let text = figures(&api).await;
        text.contains("hpc_node_total_cpus{node=\"n1\",cluster=\"east\"} 16.0")
            && text.contains("hpc_node_job_count{node=\"n1\",cluster=\"east\"} 2.0")
    })
    .await;
    let text = figures(&api).await;
    let on = |node: &str| format!("{{job_id=\"{id}\",user=\"ann\",node=\"{node}\"}}");
    for line in [
        format!("hpc_job_cpu_usage_percent{} 50.0", on("n1")),
        format!("hpc_job_memory_usage_bytes{} 104857600.0", on("n1")),
        "hpc_job_state_total{state=\"running\"} 2.0".to_owned(),
        "hpc_job_total 3".to_owned(),
        "hpc_node_cpu_usage_percent{node=\"n1\",cluster=\"east\"} 30.0".to_owned(),
        "hpc_node_memory_usage_bytes{node=\"n1\",cluster=\"east\"} 134217728.0".to_owned(),
        "hpc_node_job_count{node=\"n2\",cluster=\"east\"} 1.0".to_owned(),
        "hpc_node_measured_jobs{node=\"n2\",cluster=\"east\"} 0.0".to_owned(),
        "hpc_node_total_cpu_usage_percent{node=\"n1\",cluster=\"east\"} 75.0".to_owned(),
        "hpc_user_running_jobs{user=\"ann\"} 2.0".to_owned(),
        "hpc_account_allocated_cpus{account=\"physics\"} 16.0".to_owned(),
        "hpc_partition_measured_jobs{partition=\"batch\"} 2.0".to_owned(),
        "hpc_left_out{kind=\"jobs\"} 0.0".to_owned(),
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    assert!(text.contains(&format!("hpc_job_runtime_seconds{} 6", on("n2"))), "{text}");
    for unknown in [
        format!("hpc_job_cpu_usage_percent{}", on("n2")),
        "hpc_job_gpu_usage_percent".to_owned(),
        "hpc_node_cpu_usage_percent{node=\"n2\",cluster=\"east\"}".to_owned(),
        "hpc_node_total_gpus".to_owned(),
    ] {
        assert!(!text.contains(&unknown), "{unknown} is in\n{text}");
    }

    let found = promtool(&text);
    let names: BTreeSet<&str> =
        found.iter().filter(|line| line.contains("hpc_")).filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(names, BTreeSet::from(NAMES_OF_THE_REFERENCES), "{found:#?}");
    assert!(!found.iter().any(|line| line.contains("error while linting")), "{found:#?}");
    assert!(!found.iter().any(|line| line.contains("storage_")), "{found:#?}");
    // contract: O1. What the store was asked, how long it took, and what was wrong with it.
    api.get("/v1/jobs/nobody").await.expect(404);
    let text = figures(&api).await;
    let value = |series: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{series} is not in\n{text}")).parse().unwrap()
    };
    let took = |name: &str, more: &str| {
        value(&format!(
            "storage_operation_duration_seconds_{name}{{{more}operation=\"record_metrics_batch\",success=\"true\"}}"
        ))
    };
    assert!(took("count", "") >= 2.0 && took("sum", "") > 0.0);
    assert!((took("bucket", "le=\"+Inf\",") - took("count", "")).abs() < 0.5);
    let wrong = |operation: &str, error: &str| {
        value(&format!("storage_operation_errors_total{{operation=\"{operation}\",error_type=\"{error}\"}}"))
    };
    assert!((wrong("get_job", "not_found") - 1.0).abs() < 0.5);
    for error in
        ["conflict", "job_terminal", "invalid_input", "context_canceled", "context_deadline", "unknown"]
    {
        assert!(wrong("get_job", error).abs() < 0.5, "{error}");
    }

    let open =
        api.send("GET", "/metrics", &[("accept", "application/openmetrics-text;version=1.0.0")], Vec::new());
    let open = open.await.text;
    assert!(open.ends_with("# EOF\n") && open.contains("# TYPE hpc_job counter\n"), "{open}");
}
