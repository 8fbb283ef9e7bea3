//! Clusters with a name: what their master says that they have is what jobs may hold there.

use std::path::Path;

use libra_engines::spark_home::SparkHome;
use libra_testkit::{Api, Standalone, wait, write};
use serde_json::{Value, json};

use crate::surroundings::{quoted, setup, turn};

/// A program that counts until it is let go.
fn until_let_go(gate: &Path, settings: &[(&str, &str)]) -> Value {
    let code = format!(
        "import os, time\nfrom pyspark.sql import SparkSession\nspark = SparkSession.builder.getOrCreate()\n\
         while not os.path.exists({}):\n    spark.sparkContext.parallelize(range(4), 4).map(lambda n: time.sleep(0.5)).count()\n",
        quoted(gate)
    );
    let mut conf = json!({
        "spark.executor.memory": "512m", "spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1",
    });
    for (key, value) in settings {
        conf[*key] = json!(value);
    }
    json!({
        "code": code, "kind": "python", "cluster": "small", "sparkConfig": conf,
        "env": {"SPARK_LOCAL_IP": "127.0.0.1"}, "retryPolicy": {"maxRetries": 0},
    })
}

/// What a waiting job is told to wait for.
async fn blocked(api: &Api, id: &str) -> Value {
    let ask = async || api.get(&format!("/api/v1/jobs/{id}/explain")).await.expect(200);
    wait::until_async("it is said what the job waits for", async || !ask().await["blockedBy"].is_null())
        .await;
    let why = ask().await;
    assert_eq!(why["status"], "QUEUED", "{why:#}");
    why["blockedBy"].clone()
}

#[tokio::test]
async fn a_cluster_is_never_promised_twice_and_what_a_job_grows_to_counts() {
    // contract: R1, R2, R3
    let _turn = turn().await;
    let cluster = Standalone::start(&SparkHome::find(None).unwrap().home).await;
    let config = format!(
        "libra:\n  clusters:\n    - {{name: small, master: \"{}\", web-url: \"{}\", limits: {{memory: 4g}}}}\n",
        cluster.master(),
        cluster.web_url()
    );
    let libra = setup()
        .env("LIBRA_RESOURCES_LIMITS_CPU_CORES", "16")
        .env("LIBRA_RESOURCES_LIMITS_MEMORY_GB", "64")
        .config(config)
        .start()
        .await;
    let api = libra.api();
    let mut unknown = until_let_go(Path::new("/"), &[]);
    unknown["cluster"] = json!("large");
    let refused = api.post("/api/v1/jobs", &unknown).await.expect(400);
    assert_eq!(refused["violations"][0]["pointer"], "/cluster", "{refused:#}");
    assert!(refused["message"].as_str().unwrap().contains("small"), "{refused:#}");
    let too_large =
        until_let_go(Path::new("/"), &[("spark.executor.memory", "5g"), ("spark.executor.instances", "1")]);
    let refused = api.post("/api/v1/jobs", &too_large).await.expect(422);
    assert!(
        refused["message"].as_str().unwrap().contains("libra.clusters.small.limits.memory"),
        "{refused:#}"
    );

    // Two executors, and Spark gives it no more, although it was told of no number of cores.
    let first_gate = libra.scratch("first-gate");
    let first = api.submit(&until_let_go(&first_gate, &[("spark.executor.instances", "2")])).await;
    let view = api.reaches(&first, "RUNNING").await;
    assert_eq!(view["cluster"], "small", "{view:#}");
    wait::until_true("both executors work", || cluster.executors().len() == 2).await;

    let growing_gate = libra.scratch("growing-gate");
    let grows = [
        ("spark.dynamicAllocation.enabled", "true"),
        ("spark.dynamicAllocation.shuffleTracking.enabled", "true"),
        ("spark.dynamicAllocation.minExecutors", "1"),
        ("spark.dynamicAllocation.maxExecutors", "2"),
        ("spark.dynamicAllocation.schedulerBacklogTimeout", "1s"),
    ];
    let growing = api.submit(&until_let_go(&growing_gate, &grows)).await;
    let why = blocked(&api, &growing).await;
    assert_eq!(why["limit"], "libra.clusters.small.workers", "{why:#}");
    assert_eq!(
        (&why["used"], &why["requested"], &why["capacity"]),
        (&json!(2), &json!(1), &json!(2)),
        "the master says what is there: {why:#}"
    );
    assert_eq!(why["holders"], json!([first]), "{why:#}");
    write(&first_gate, "");
    assert_eq!(api.ended(&first).await["status"], "SUCCEEDED");

    // It was admitted for one executor, and its driver takes another one.
    api.reaches(&growing, "RUNNING").await;
    wait::until_async("the second executor is seen", async || {
        api.job(&growing).await["usage"]["executors"] == 2
    })
    .await;
    wait::until_async("it counts", async || {
        let queue = api.get("/api/v1/queue").await.expect(200);
        let limits = queue["limits"].as_array().unwrap().clone();
        limits.iter().any(|limit| limit["of"] == "on the cluster small" && limit["held"]["cpuCores"] == 2)
    })
    .await;
    let last = api.submit(&until_let_go(&growing_gate, &[("spark.executor.instances", "1")])).await;
    let why = blocked(&api, &last).await;
    assert_eq!((&why["used"], &why["holders"]), (&json!(2), &json!([growing])), "{why:#}");
    write(&growing_gate, "");
    for id in [&growing, &last] {
        let job = api.ended(id).await;
        assert_eq!(job["status"], "SUCCEEDED", "{job:#}");
    }
}
