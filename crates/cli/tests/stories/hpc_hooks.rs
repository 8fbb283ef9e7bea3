//! Slurm's hooks on a real Slurm: whether they work, fail half of the time, or find no Libra, every job ends in Libra in the
//! state that Slurm's own record gives; also where nobody asks Slurm, and the hooks alone tell.

mod door;
mod jobs;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use libra_testkit::{Api, Setup, SlurmCluster, slurm, wait};
use serde_json::Value;

use crate::surroundings::sleepy;
use door::Door;
use jobs::{Batch, five, has_ended, states, submit_late_ones};

/// The cluster's name, for Slurm and for Libra.
const CLUSTER: &str = "lab";
/// A drill of hundreds of jobs takes longer than other tests; one that takes this long hangs.
const LIMIT: Duration = Duration::from_mins(12);

fn hooked() -> SlurmCluster {
    // Slurm's own record of all of them is to be there in the end.
    slurm::Setup::new().nodes(3).libra_hooks().line("MinJobAge=3600").start()
}

/// A Libra that asks the cluster every second.
fn asking(cluster: &SlurmCluster) -> Setup {
    sleepy().config(format!(
        "libra: {{slurm: {{clusters: [{{name: {CLUSTER}, rest-url: '{}', user: {}, jwt-key-file: '{}', interval: 1s, \
         requests-per-minute: 600}}]}}}}",
        cluster.url(),
        cluster.user(),
        cluster.key().display()
    ))
}

/// The newest job of each number.
async fn shown(api: &Api) -> BTreeMap<String, Value> {
    let mut shown = BTreeMap::new();
    let mut path = "/v1/jobs?limit=1000".to_owned();
    loop {
        let page = api.get(&path).await.expect(200);
        for job in page["jobs"].as_array().unwrap() {
            let number = job["scheduler"]["external_job_id"].as_str().unwrap().to_owned();
            shown.entry(number).or_insert_with(|| job.clone());
        }
        let Some(cursor) = page["next_cursor"].as_str() else { return shown };
        path = format!("/v1/jobs?limit=1000&cursor={cursor}");
    }
}

/// What is not shown as Slurm has it.
async fn differences(api: &Api, cluster: &SlurmCluster) -> Vec<String> {
    let shown = shown(api).await;
    let mut wrong = Vec::new();
    for (number, state) in states(cluster) {
        let job = shown.get(&number);
        let told = job.map(|job| (job["state"].as_str(), job["scheduler"]["raw_state"].as_str()));
        if !has_ended(&state) || told != Some((five(&state), Some(&state))) {
            wrong.push(format!("{number} is {state}, and is shown as {told:?}"));
        }
    }
    wrong
}

/// The three ways: 20 jobs each, and `times` as many of those that end by themselves.
async fn in_three_ways(setup: &Setup, cluster: &mut SlurmCluster, times: usize) {
    let mut libra = setup.start().await;
    let hooks = cluster.hooks();
    // All hooks work.
    hooks.tell(libra.url(), CLUSTER, None);
    submit_late_ones(cluster, 2);
    Batch::submit(cluster, times).happen(cluster).await;
    // Half of them fail.
    let door = Door::to(libra.url());
    hooks.tell(door.url(), CLUSTER, None);
    Batch::submit(cluster, times).happen(cluster).await;
    // After each failure they leave Libra alone for some seconds: how many calls there are is up to the machine.
    assert!(door.calls() > 3, "the hooks went through the door {} times", door.calls());
    // Libra is away for half of the time.
    hooks.tell(libra.url(), CLUSTER, None);
    let begins = Batch::submit(cluster, times);
    wait::until_async("it has heard of one", async || shown(&libra.api()).await.len() > 40 * times).await;
    libra.kill();
    begins.happen(cluster).await;
    assert!(!hooks.waiting().is_empty(), "nothing was kept while Libra was away");
    libra.start(setup).await;
    hooks.tell(libra.url(), CLUSTER, None);

    let begun = Instant::now();
    loop {
        // As the timer does.
        let drained = hooks.drain();
        let wrong = differences(&libra.api(), cluster).await;
        if drained && wrong.is_empty() {
            break;
        }
        assert!(begun.elapsed() < LIMIT, "{wrong:#?}, waiting: {:?}", hooks.waiting());
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(hooks.refused(), [] as [std::path::PathBuf; 0]);
    let drained = cluster.command(&["sinfo", "-h", "-t", "drain", "-o", "%N %E"]);
    assert_eq!(drained, "", "a hook has drained a node");
    let mut by_hooks = false;
    for job in shown(&libra.api()).await.values().take(60) {
        let audit = libra.api().get(&format!("/v1/jobs/{}/audit", job["id"].as_str().unwrap())).await;
        let changes = audit.expect(200)["changes"].as_array().unwrap().clone();
        by_hooks |= changes.iter().any(|change| change["changed_by"].as_str().unwrap().starts_with("slurm-"));
    }
    assert!(by_hooks, "no hook was ever the first to tell of something");
    let ended = states(cluster);
    println!(
        "{} jobs: {:?}",
        ended.len(),
        ended.values().fold(BTreeMap::new(), |mut counts, state| {
            *counts.entry(state).or_insert(0) += 1;
            counts
        })
    );
    for state in ["COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL"] {
        assert!(ended.values().any(|ended| ended == state), "there was none of {state}: {ended:?}");
    }
    assert!(!cluster.has_cgroups() || ended.values().any(|state| state == "OUT_OF_MEMORY"), "{ended:?}");
}

#[tokio::test]
async fn every_job_ends_as_slurm_has_it_whatever_becomes_of_its_hooks() {
    // contract: H1, L8
    let mut cluster = hooked();
    in_three_ways(&asking(&cluster), &mut cluster, 1).await;
}

#[tokio::test]
async fn hooks_alone_tell_how_every_job_ends() {
    // contract: H1, L7
    let mut cluster = hooked();
    in_three_ways(&sleepy(), &mut cluster, 1).await;
}

#[tokio::test]
#[ignore = "a drill: make drills"]
async fn drill_hundreds_of_jobs_end_as_slurm_has_them() {
    let mut cluster = hooked();
    in_three_ways(&asking(&cluster), &mut cluster, 10).await;
}

#[tokio::test]
#[ignore = "a drill: make drills"]
async fn drill_hooks_alone_tell_of_hundreds_of_jobs() {
    let mut cluster = hooked();
    in_three_ways(&sleepy(), &mut cluster, 10).await;
}
