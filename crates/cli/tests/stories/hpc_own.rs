//! What attempts of Libra's own use, as the agent on their node tells it.

use std::process::{Command, Stdio};

use libra_testkit::{Api, SlurmCluster, wait};
use serde_json::{Value, json};

use crate::agent::Ended;
use crate::authorisation::with_keys;
use crate::hpc_figures::ago;
use crate::replicas::begun;
use crate::surroundings::{quoted, setup, sleepy, submit_only, turn};

/// What the program holds, in MiB.
const HELD_MB: f64 = 300.0;

/// Samples of a job, and a figure of each, where it is known.
async fn figures(api: &Api, id: &str, name: &str) -> Vec<f64> {
    let all = api.get(&format!("/v1/jobs/{id}/metrics")).await.expect(200);
    let samples = all["samples"].as_array().unwrap().iter();
    samples.filter_map(|sample| sample[name].as_f64()).collect()
}

async fn token(api: &Api, id: &str) -> String {
    api.job(id).await["attempts"][0]["token"].as_str().unwrap().to_owned()
}

fn batch(token: &str, at: &str, more: &Value) -> Value {
    let mut sample = json!({"attempt": token, "timestamp": at});
    sample.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"cluster": "lab", "node": "own-node", "samples": [sample]})
}

/// Why a batch's one sample was not taken; None where it was.
async fn refused(api: &Api, batch: &Value) -> Option<String> {
    let answer = api.post("/v1/metrics/batch", batch).await.expect(200);
    assert_eq!(answer["accepted"], usize::from(answer["rejected"] == json!([])), "{answer}");
    answer["rejected"][0]["reason"].as_str().map(str::to_owned)
}

#[tokio::test]
async fn what_an_agent_sees_of_a_spark_of_libras_own_is_kept_with_its_job() {
    // contract: H3, H7
    let _turn = turn().await;
    let libra = submit_only().start().await;
    let api = libra.api();
    let (marker, go) = (libra.scratch("marker"), libra.scratch("go"));
    let code = format!(
        "import os\nheld = bytearray(b'x') * ({HELD_MB:.0} << 20)\nopen({}, 'a').write('begin\\n')\n\
         while not os.path.exists({}): sum(range(1000))\n",
        quoted(&marker),
        quoted(&go)
    );
    let conf = json!({"spark.driver.memory": "700m"});
    let body = json!({"code": code, "kind": "python", "executionMode": "spark-submit", "sparkConfig": conf});
    let id = api.submit(&body).await;
    begun(&marker).await;
    let mut agent = setup().command();
    agent.args(["agent", "--url", libra.url(), "--cluster", "own-lab", "--interval", "1s"]);
    let agent = Ended::of(agent.stdout(Stdio::null()).stderr(Stdio::null()));
    wait::until_async("some samples are there", async || figures(&api, &id, "cpu_usage").await.len() >= 4)
        .await;
    libra_testkit::write(&go, "");
    let job = api.reaches(&id, "SUCCEEDED").await;
    drop(agent);

    // Libra's own look at the same processes, by another way.
    let (seconds, peak) = (&job["usage"]["cpuSeconds"], &job["usage"]["peakMemoryBytes"]);
    let (seconds, peak) = (seconds.as_f64().unwrap(), peak.as_f64().unwrap() / 1_048_576.0);
    let most = figures(&api, &id, "memory_usage_mb").await.into_iter().fold(0.0, f64::max);
    assert!(most > HELD_MB && most < 2.0 * peak && most > peak / 2.0, "{most} MiB of {peak}");
    let found = api.get(&format!("/v1/jobs/{id}/efficiency")).await.expect(200);
    assert_eq!((&found["job_id"], &found["state"]), (&json!(id), &json!("completed")));
    let used = found["cpu_core_seconds"]["used"].as_f64().unwrap();
    assert!(used > seconds / 4.0 && used < 4.0 * seconds, "{used} of {seconds}: {found:#}");
    // One driver with one core, 700 MiB of heap and 384 beside it.
    let runtime = found["runtime_seconds"].as_f64().unwrap();
    assert_eq!(found["cpu_core_seconds"]["requested"].as_f64(), Some(runtime), "{found:#}");
    assert_eq!(found["memory_mb"]["requested"], 1_084.0, "{found:#}");
    assert!(found["memory_mb"]["used"].as_f64().unwrap() >= most.floor(), "{found:#}");
    assert_eq!((&found["gpu_seconds"]["used"], &found["verdicts"]), (&Value::Null, &json!([])));
    let coverage = found["cpu_core_seconds"]["coverage_percent"].as_f64().unwrap();
    assert!(coverage > 0.0 && coverage <= 100.0, "{found:#}");

    let mut command: Command = setup().command();
    let printed = command.args(["efficiency", &id, "--url", libra.url()]).output().unwrap();
    let printed = String::from_utf8(printed.stdout).unwrap();
    assert!(printed.contains("completed") && printed.contains("1084.0"), "{printed}");
}

#[tokio::test]
async fn samples_of_attempts_are_taken_by_the_rules_of_all_samples() {
    // contract: H2, H3, X2
    let libra = with_keys().start().await;
    let (ada, bob) = (libra.api_as("ada-develops"), libra.api_as("bob-develops"));
    let id = ada.submit(&json!({"code": "pass", "kind": "python"})).await;
    ada.reaches(&id, "RUNNING").await;
    let token = token(&ada, &id).await;
    let usage = json!({"cpu_cores": 0.5, "cpu_usage": 25.0, "memory_usage_mb": 64.0, "memory_peak_mb": 80.0});

    // An agent has a key of its own: whose job it is does not matter, as with those of schedulers.
    let sample = batch(&token, &ago(1), &usage);
    for _ in 0..2 {
        assert_eq!(refused(&bob, &sample).await, None);
    }
    assert_eq!(figures(&ada, &id, "memory_usage_mb").await, [64.0], "the same twice is one");
    let nobody = batch("0197a000-0000-7000-8000-000000000001", &ago(1), &usage);
    for (wrong, why) in [
        (&nobody, "no attempt 0197a000"),
        (&batch("a-token", &ago(1), &usage), "no attempt a-token"),
        (&batch(&token, &ago(3_600), &usage), "before the job began"),
        (&batch(&token, &ago(1), &json!({"memory_usage_mb": -1.0})), "must not be negative"),
    ] {
        let said = refused(&ada, wrong).await.unwrap();
        assert!(said.contains(why), "{why:?} is not in {said:?}");
    }
    // Two agents that look at the same machine.
    let mut other = batch(&token, &ago(1), &usage);
    other["node"] = json!("another-name");
    assert_eq!(refused(&bob, &other).await, None);
    let found = ada.get(&format!("/v1/jobs/{id}/efficiency")).await.expect(200);
    let (ran, used) = (&found["runtime_seconds"], &found["cpu_core_seconds"]["used"]);
    let cores = used.as_f64().unwrap() / ran.as_f64().unwrap();
    assert!((cores - 0.5).abs() < 0.001, "{found:#}");
    assert_eq!((&found["memory_mb"]["used"], &found["user"]), (&json!(80.0), &json!("ada")));
    assert_eq!((&found["state"], &found["sample_count"]), (&json!("running"), &json!(2)));
    for path in ["metrics", "efficiency"] {
        assert_eq!(bob.get(&format!("/v1/jobs/{id}/{path}")).await.status, 404, "{path}");
        assert_eq!(libra.api_as("root").get(&format!("/v1/jobs/{id}/{path}")).await.status, 200, "{path}");
    }
    while ada.delete(&format!("/api/v1/jobs/{id}")).await.status == 202 {}
    ada.reaches(&id, "CANCELLED").await;
    let said = refused(&ada, &batch(&token, &ago(-120), &usage)).await.unwrap();
    assert!(said.contains("after the job's end"), "{said}");
}

#[tokio::test]
async fn of_a_script_for_slurm_the_figures_are_those_of_its_job_there() {
    // contract: H6, H7
    let cluster = SlurmCluster::start();
    let clusters = format!(
        "[{{name: lab, slurm-conf: '{}', sbatch: always, interval: 1s, requests-per-minute: 1200}}]",
        cluster.conf().display()
    );
    let libra = sleepy().config(format!("libra: {{slurm: {{clusters: {clusters}}}}}")).start().await;
    let api = libra.api();
    let script = |array: &str| {
        let text = "#!/bin/sh\nsleep 2\n";
        json!({"kind": "script", "code": text, "slurm": {"memoryMb": 64, "timeLimitMinutes": 3, "array": array}})
    };
    let alone = |mut body: Value| {
        body["slurm"].as_object_mut().unwrap().remove("array");
        body
    };
    let id = api.submit(&alone(script(""))).await;
    let job = api.reaches(&id, "SUCCEEDED").await;
    let found = api.get(&format!("/v1/jobs/{id}/efficiency")).await.expect(200);
    let number = job["applicationId"].as_str().unwrap();
    let seen = api.get(&format!("/v1/jobs/slurm-{number}")).await.expect(200);
    assert_eq!((&found["job_id"], &found["user"]), (&seen["id"], &job["user"]), "{found:#}");
    assert_eq!(found["time_seconds"]["requested"], 180.0, "{found:#}");
    assert_eq!(api.get(&format!("/v1/jobs/{id}/metrics")).await.expect(200)["job_id"], seen["id"]);

    let id = api.submit(&script("0-1")).await;
    api.reaches(&id, "SUCCEEDED").await;
    let several = api.get(&format!("/v1/jobs/{id}/efficiency")).await.expect(409);
    let all = api.get("/v1/jobs").await.expect(200);
    assert!(several["message"].as_str().unwrap().contains("is 2 jobs of Slurm"), "{several} {all:#}");
    let users: Vec<&Value> = all["jobs"].as_array().unwrap().iter().map(|job| &job["user"]).collect();
    assert_eq!(users, [&job["user"]; 3], "its tasks are of who has submitted them: {all:#}");
}

#[tokio::test]
async fn what_a_job_used_is_forgotten_with_it() {
    // contract: Q3, H2
    let libra = sleepy().env("LIBRA_RETENTION_JOBS", "2s").env("LIBRA_RETENTION_FILES", "0").start().await;
    let api = libra.api();
    let id = api.submit(&json!({"code": "pass", "kind": "python"})).await;
    api.reaches(&id, "RUNNING").await;
    let token = token(&api, &id).await;
    let sample = batch(&token, &ago(1), &json!({"memory_usage_mb": 64.0}));
    assert_eq!(refused(&api, &sample).await, None);
    while api.delete(&format!("/api/v1/jobs/{id}")).await.status == 202 {}
    wait::until_async("it is forgotten", async || {
        api.get(&format!("/v1/jobs/{id}/metrics")).await.status == 410
    })
    .await;
    assert_eq!(api.get(&format!("/v1/jobs/{id}/efficiency")).await.status, 410);
    assert!(refused(&api, &sample).await.unwrap().contains("no attempt"));
}
