//! A cluster that is made up: dashboards and reports have something to show where there is no Slurm.

use libra_core::hpc::mock::MockCluster;
use libra_core::hpc::raw_state::Standing;
use libra_testkit::{Api, wait};
use serde_json::{Value, json};

use crate::hpc_figures::now;
use crate::surroundings::sleepy;

async fn jobs(api: &Api, of: &str) -> Vec<Value> {
    let page = api.get(&format!("/v1/jobs?limit=500&{of}")).await.expect(200);
    page["jobs"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_cluster_that_is_made_up_shows_all_that_a_real_one_would() {
    // contract: H4, H5, H7
    let clusters = "[{name: demo, source: mock, seed: 7, nodes: 40, interval: 1s}]";
    let libra = sleepy().config(format!("libra: {{slurm: {{clusters: {clusters}}}}}")).start().await;
    let api = libra.api();
    wait::until_async("jobs run and are measured", async || {
        let running = jobs(&api, "state=running").await;
        running.iter().filter(|job| job["sample_count"].as_u64() >= Some(3)).count() >= 20
    })
    .await;
    for state in ["pending", "running", "completed", "failed"] {
        assert!(!jobs(&api, &format!("state={state}")).await.is_empty(), "none is {state}");
    }
    let cluster = MockCluster::new(7, 40);
    for job in jobs(&api, "").await {
        let scheduler = &job["scheduler"];
        assert_eq!(
            (&scheduler["type"], &scheduler["cluster_name"]),
            (&json!("mock"), &json!("demo")),
            "{job:#}"
        );
        let number = scheduler["external_job_id"].as_str().unwrap();
        let told = cluster.record(number, now()).unwrap();
        assert_eq!(job["user"], told.user.as_deref().unwrap(), "{job:#}");
        if !job["end_time"].is_null() {
            let state = Standing::of(&told.raw_state).unwrap().hpc_state().as_str();
            assert_eq!((&job["state"], &scheduler["raw_state"]), (&json!(state), &json!(told.raw_state)));
        }
    }
    let running = jobs(&api, "state=running").await;
    let measured = running.iter().find(|job| job["sample_count"].as_u64() >= Some(3)).unwrap();
    let (id, memory) = (measured["id"].as_str().unwrap(), measured["max_memory_usage_mb"].as_i64().unwrap());
    assert!(memory <= measured["scheduler"]["allocated_memory_mb"].as_i64().unwrap(), "{measured:#}");
    let samples = api.get(&format!("/v1/jobs/{id}/metrics")).await.expect(200);
    let shares: Vec<f64> = samples["samples"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|sample| sample["cpu_usage"].as_f64())
        .collect();
    assert!(
        shares.len() >= 3 && shares.iter().any(|share| (share - shares[0]).abs() > 0.001),
        "it varies: {shares:?}"
    );
    let report = api.get("/v1/efficiency").await.expect(200);
    assert!(report["total"]["measured_jobs"].as_u64() >= Some(20), "{report:#}");
    wait::until_async("nodes and jobs have figures", async || {
        let page = api.get("/metrics").await.text;
        page.contains("hpc_node_total_cpus{node=\"mock-001\"} 64.0")
            && page.contains("hpc_job_cpu_usage_percent{")
    })
    .await;

    let refused = api.post("/api/v1/jobs", &json!({"kind": "script", "code": "#!/bin/sh\ntrue\n"})).await;
    assert_eq!((refused.status, refused.pointers()), (422, vec!["/cluster".to_owned()]), "{}", refused.text);
    assert!(refused.text.contains("`demo` is made up"), "{}", refused.text);
}
