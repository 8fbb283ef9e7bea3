//! What observed jobs waste, and who hears of it.

use libra_testkit::{Api, wait};
use serde_json::{Value, json};

use crate::authorisation::with_keys;
use crate::hpc_figures::ago;
use crate::surroundings::sleepy;
use crate::webhooks::{Answer, Target};

fn judged(webhook: &str) -> libra_testkit::Setup {
    sleepy().config(format!(
        "libra: {{slurm: {{efficiency: {{interval: 1s, webhook: '{webhook}'}}}}, webhooks: {{allow-private: true}}}}"
    ))
}

/// A job that has run for an hour with 64 processors, 64 GB and two GPUs, and that was measured for so many minutes of it.
async fn runs(api: &Api, number: &str, minutes: i64, gpu: Option<f64>) -> String {
    let begin = json!({"job_id": number, "user": "ann", "account": "physics", "node_list": ["n1"], "cpu_allocation": 64,
        "memory_allocation_mb": 64_000, "gpu_allocation": 2, "cluster": "east", "timestamp": ago(3_600)});
    let made = api.post("/v1/events/job-started", &begin).await.expect(200);
    let samples: Vec<Value> = (0..=minutes)
        .map(|minute| {
            let mut sample = json!({"external_job_id": number, "timestamp": ago(60 * (minutes - minute)),
                "cpu_usage": 1.6, "cpu_cores": 1.0, "memory_usage_mb": 800.0, "memory_peak_mb": 1_000.0});
            if let Some(gpu) = gpu {
                sample["gpu_usage"] = json!(gpu);
            }
            sample
        })
        .collect();
    let batch = json!({"cluster": "east", "node": "n1", "samples": samples});
    assert_eq!(api.post("/v1/metrics/batch", &batch).await.expect(200)["accepted"], minutes + 1);
    made["job_id"].as_str().unwrap().to_owned()
}

fn kinds(efficiency: &Value) -> Vec<String> {
    let told = efficiency["verdicts"].as_array().unwrap().iter();
    let mut kinds: Vec<String> = told.map(|one| one["kind"].as_str().unwrap().to_owned()).collect();
    kinds.sort();
    kinds
}

async fn efficiency(api: &Api, id: &str) -> Value {
    api.get(&format!("/v1/jobs/{id}/efficiency")).await.expect(200)
}

#[tokio::test]
async fn a_job_that_wastes_what_it_has_is_told_of_once_while_it_runs() {
    // contract: H7, A10, A12
    let target = Target::new(Answer::Status(200));
    let libra = judged(&target.url).start().await;
    let api = libra.api();
    let known = runs(&api, "1", 50, Some(0.0)).await;
    let unknown = runs(&api, "2", 10, Some(0.0)).await;
    let no_gpu_figures = runs(&api, "3", 50, None).await;
    wait::until_async("everything is told", async || {
        kinds(&efficiency(&api, &known).await).len() == 3
            && kinds(&efficiency(&api, &no_gpu_figures).await).len() == 2
    })
    .await;
    let found = efficiency(&api, &known).await;
    assert_eq!(kinds(&found), ["idle_cores", "idle_gpu", "oversized_memory"]);
    assert_eq!(
        (&found["memory_mb"]["used"], &found["memory_mb"]["allocated"]),
        (&json!(1000.0), &json!(64_000.0))
    );
    let share = found["cpu_core_seconds"]["percent"].as_f64().unwrap();
    assert!((share - 100.0 / 64.0).abs() < 0.1, "{found:#}");
    let coverage = found["cpu_core_seconds"]["coverage_percent"].as_f64().unwrap();
    assert!((80.0..85.0).contains(&coverage), "{found:#}");
    let blind = efficiency(&api, &no_gpu_figures).await;
    assert_eq!(kinds(&blind), ["idle_cores", "oversized_memory"], "nobody has measured its GPUs");
    assert_eq!(
        (&blind["gpu_seconds"]["used"], &blind["gpu_seconds"]["coverage_percent"]),
        (&Value::Null, &json!(0.0))
    );
    assert_eq!(kinds(&efficiency(&api, &unknown).await), [""; 0], "too little of it was measured");

    // In the feed, in the job's own history, and at the webhook: once each.
    let told = async || {
        let headers = [("accept", "application/json")];
        let page = api.send("GET", "/api/v1/events?limit=1000", &headers, Vec::new()).await.expect(200);
        let events = page["events"].as_array().unwrap().clone();
        let of: Vec<String> = events
            .iter()
            .filter(|event| event["jobId"] == json!(known))
            .map(|event| event["reason"].as_str().unwrap().to_owned())
            .collect();
        of
    };
    wait::until_async("the feed has them", async || told().await.len() >= 4).await;
    let mut reasons = told().await;
    reasons.sort();
    assert_eq!(reasons.iter().filter(|reason| reason.starts_with("idle_")).count(), 2, "{reasons:?}");
    let audit = api.get(&format!("/v1/jobs/{known}/audit")).await.expect(200);
    let sources =
        audit["changes"].as_array().unwrap().iter().filter(|change| change["source"] == "efficiency");
    assert_eq!(sources.count(), 3, "{audit:#}");
    let came = target.gets(5).await;
    let bodies: Vec<Value> = came.iter().map(|came| serde_json::from_str(&came.body).unwrap()).collect();
    let of_known = bodies.iter().filter(|body| body["jobId"] == json!(known));
    assert_eq!(of_known.count(), 3, "{bodies:#?}");
    let listed = api.get("/api/v1/webhooks").await.expect(200);
    assert_eq!(listed["webhooks"].as_array().unwrap().len(), 5, "{listed:#}");

    let all = api.get("/v1/efficiency?account=physics").await.expect(200);
    assert_eq!((&all["total"]["jobs"], &all["users"][0]["user"]), (&json!(3), &json!("ann")));
    assert_eq!(all["total"]["verdicts"], json!({"idle_cores": 2, "idle_gpu": 1, "oversized_memory": 2}));
    assert_eq!(api.get("/v1/efficiency?account=chemistry").await.expect(200)["total"]["jobs"], 0);
    let command = |words: &[&str]| {
        let done = sleepy().command().args(words).args(["--url", libra.url()]).output().unwrap();
        String::from_utf8(done.stdout).unwrap()
    };
    let printed = command(&["efficiency", "--since", "1d"]);
    assert!(printed.contains("idle_cores 2, idle_gpu 1"), "{printed}");
    let view: Value = serde_json::from_str(&command(&["efficiency", "1", "--json"])).unwrap();
    assert_eq!((&view["user"], kinds(&view).len()), (&json!("ann"), 3));
}

#[tokio::test]
async fn each_sees_the_own_efficiency() {
    // contract: H7, X2
    let libra = with_keys().start().await;
    let (ada, bob, root) = (libra.api_as("ada-develops"), libra.api_as("bob-develops"), libra.api_as("root"));
    for (api, user) in [(&ada, "ada"), (&bob, "bob")] {
        api.post("/v1/jobs", &json!({"id": format!("of-{user}"), "user": user, "nodes": ["n"]}))
            .await
            .expect(201);
    }
    for (api, own, others, all) in [(&ada, 200, 404, 1), (&root, 200, 200, 2)] {
        assert_eq!(api.get("/v1/jobs/of-ada/efficiency").await.status, own);
        assert_eq!(api.get("/v1/jobs/of-bob/efficiency").await.status, others);
        assert_eq!(api.get("/v1/efficiency").await.expect(200)["total"]["jobs"], all);
    }
    assert_eq!(ada.get("/v1/efficiency?user=bob").await.expect(200)["total"]["jobs"], 0);
    assert_eq!(root.get("/v1/efficiency?user=bob").await.expect(200)["total"]["jobs"], 1);
    assert_eq!(root.get("/v1/efficiency?since=yesterday").await.status, 400);
}
