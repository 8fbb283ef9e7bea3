//! Jobs of a real Slurm, as Libra sees them: every one ends in the state that Slurm's own record gives.

use std::collections::BTreeMap;
use std::process::Stdio;

use libra_testkit::{Api, Setup, SlurmCluster, slurm, wait};
use serde_json::Value;

use crate::agent::Ended;
use crate::surroundings::sleepy;

/// A Libra that asks this cluster every second.
fn asking(cluster: &SlurmCluster) -> Setup {
    sleepy().config(format!(
        "libra: {{slurm: {{clusters: [{{name: lab, rest-url: '{}', user: {}, jwt-key-file: '{}', interval: 1s, \
         requests-per-minute: 600}}]}}}}",
        cluster.url(),
        cluster.user(),
        cluster.key().display()
    ))
}

async fn jobs(api: &Api) -> BTreeMap<String, Value> {
    let list = api.get("/v1/jobs?limit=1000").await.expect(200);
    let jobs = list["jobs"].as_array().unwrap().iter();
    jobs.map(|job| (job["scheduler"]["external_job_id"].as_str().unwrap().to_owned(), job.clone())).collect()
}

/// What the reference's table makes of Slurm's word.
fn five(raw: &str) -> &'static str {
    match raw.split(' ').next().unwrap() {
        "COMPLETED" => "completed",
        "CANCELLED" => "cancelled",
        "FAILED" | "TIMEOUT" | "NODE_FAIL" | "OUT_OF_MEMORY" => "failed",
        other => panic!("a job of this test is {other}"),
    }
}

/// Submits one job of every sort; answers their numbers.
fn a_bit_of_everything(cluster: &SlurmCluster) -> Vec<String> {
    let mut numbers = vec![
        cluster.sbatch(&[], "true"),
        cluster.sbatch(&[], "exit 3"),
        cluster.sbatch(&[], "kill -9 $$"),
        cluster.sbatch(&["--nodes=2"], "sleep 1"),
        cluster.sbatch(&["--mem=60"], "sleep 2; exit 1"),
    ];
    let running = cluster.sbatch(&[], "sleep 600");
    let held = cluster.sbatch(&["--hold"], "true");
    cluster.command(&["scancel", &held]);
    let array = cluster.sbatch(&["--array=0-3"], "test $SLURM_ARRAY_TASK_ID != 2");
    numbers.extend([running, held, array]);
    numbers
}

/// All numbers that accounting has, with their states.
fn accounted(cluster: &SlurmCluster) -> BTreeMap<String, String> {
    let words =
        ["sacct", "--allusers", "--allocations", "--noheader", "--parsable2", "--format=JobIDRaw,State"];
    let text = cluster.command(&words);
    let lines = text.lines().filter_map(|line| line.split_once('|'));
    lines.map(|(number, state)| (number.to_owned(), state.to_owned())).collect()
}

/// What of the jobs is not as Slurm has it.
async fn differences(api: &Api, cluster: &SlurmCluster) -> Vec<String> {
    let seen = jobs(api).await;
    let mut wrong = Vec::new();
    for (number, state) in accounted(cluster) {
        let ended = !["PENDING", "RUNNING", "REQUEUED"].contains(&state.as_str());
        let shown = seen.get(&number).map(|job| job["state"].clone());
        if !ended || shown.as_ref().and_then(Value::as_str) != Some(five(&state)) {
            wrong.push(format!("{number} is {state}, and is shown as {shown:?}"));
        }
    }
    wrong
}

async fn until_as_in_slurm(api: &Api, cluster: &SlurmCluster, at_least: usize) {
    let alike = async || accounted(cluster).len() >= at_least && differences(api, cluster).await.is_empty();
    let begun = std::time::Instant::now();
    while !alike().await {
        let late = begun.elapsed() > wait::LIMIT;
        assert!(!late, "{:#?}\n{:#?}", differences(api, cluster).await, accounted(cluster));
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
}

#[tokio::test]
async fn every_job_ends_as_slurm_has_it_also_those_that_nobody_watched() {
    // contract: H1, H4, L8
    let cluster = slurm::Setup::new().accounting().start();
    let setup = asking(&cluster);
    let mut libra = setup.start().await;
    let first = a_bit_of_everything(&cluster);
    let runs = &first[5];
    wait::until_async("it is seen to run", async || {
        jobs(&libra.api()).await.get(runs).is_some_and(|job| job["state"] == "running")
    })
    .await;
    let seen = jobs(&libra.api()).await;
    let job = &seen[runs];
    assert_eq!((&job["scheduler"]["cluster_name"], &job["user"]), (&"lab".into(), &cluster.user().into()));
    assert!(job["nodes"].as_array().unwrap().len() == 1 && job["start_time"].is_string(), "{job:#}");
    assert_eq!(job["scheduler"]["allocated_cpus"], 1);

    // Some begin and end while Libra is away, and one is put back.
    libra.kill();
    let again = cluster.sbatch(&["--requeue"], "sleep 3");
    wait::until_true("it runs", || cluster.state(&again) == "RUNNING").await;
    cluster.command(&["scontrol", "requeue", &again]);
    let away = a_bit_of_everything(&cluster);
    cluster.command(&["scancel", runs]);
    wait::until_true("what nobody watched has ended", || {
        let state = accounted(&cluster).get(&away[1]).cloned();
        state.is_some_and(|state| !["PENDING", "RUNNING"].contains(&state.as_str()))
    })
    .await;
    libra.start(&setup).await;
    cluster.command(&["scancel", &away[5]]);
    // Two were cancelled before accounting had heard of them.
    until_as_in_slurm(&libra.api(), &cluster, 21).await;

    let seen = jobs(&libra.api()).await;
    let exit = &seen[&first[1]]["scheduler"];
    assert_eq!((&exit["exit_code"], &exit["raw_state"]), (&3.into(), &"FAILED".into()));
    assert_eq!(seen[&first[2]]["scheduler"]["signal"], 9);
    assert_eq!(seen[&again]["scheduler"]["restarts"], 1);
    for held in [&first[6], &away[6]] {
        let job = &seen[held];
        assert_eq!((&job["state"], &job["start_time"]), (&"cancelled".into(), &Value::Null), "{job:#}");
    }
    let audit = libra.api().get(&format!("/v1/jobs/{runs}/audit")).await.expect(200);
    let sources =
        audit["changes"].as_array().unwrap().iter().all(|change| change["changed_by"] == "collector");
    assert!(sources, "{audit:#}");
}

#[tokio::test]
async fn what_a_job_uses_on_its_node_is_shown_with_it() {
    // contract: H2, H3
    let cluster = SlurmCluster::start();
    let libra = asking(&cluster).start().await;
    let api = libra.api();
    let number = cluster.sbatch(&["--mem=200"], "while :; do :; done");
    let page = format!("/v1/jobs/{number}");
    wait::until_async("it is seen to run", async || api.get(&page).await.status == 200).await;
    wait::until_async("its node is known", async || {
        api.get(&page).await.expect(200)["nodes"][0].as_str().is_some()
    })
    .await;
    let node = api.get(&page).await.expect(200)["nodes"][0].as_str().unwrap().to_owned();
    let mut agent = sleepy().command();
    agent.args(["agent", "--url", libra.url(), "--cluster", "lab", "--node", &node, "--interval", "1s"]);
    let _agent = Ended::of(agent.stdout(Stdio::null()).stderr(Stdio::null()));
    wait::until_async("it is measured", async || {
        let job = api.get(&page).await.expect(200);
        job["avg_cpu_usage"].as_f64().is_some_and(|share| share > 0.0)
            && job["sample_count"].as_i64() > Some(2)
    })
    .await;
    let job = api.get(&page).await.expect(200);
    assert_eq!((&job["gpu_usage"], &job["avg_gpu_usage"]), (&Value::Null, &Value::Null), "it has none");
    assert!(job["memory_usage_mb"].is_number() && job["max_cpu_usage"].as_f64() <= Some(100.0), "{job:#}");
    cluster.command(&["scancel", &number]);
    wait::until_async("it has ended", async || api.get(&page).await.expect(200)["state"] == "cancelled")
        .await;
    let ended = api.get(&page).await.expect(200);
    assert_eq!(ended["cpu_usage"], Value::Null, "it uses nothing any more");
    assert!(ended["avg_cpu_usage"].is_number());
}
