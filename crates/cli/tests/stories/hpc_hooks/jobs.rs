//! Real jobs that end in every way, and what Slurm's own record says of them.

use std::collections::BTreeMap;

use libra_testkit::{SlurmCluster, wait};

/// The node that is lost; nothing runs on it but what is to be lost with it.
const LOST: usize = 3;
/// Runs until it is cancelled or lost; when it was put back it ends at once.
const ONCE_AGAIN: &str = "test \"$SLURM_RESTART_COUNT\" = 1 || sleep 600";
/// Takes more memory than it was given.
const HOG: &str = "head -c 400m /dev/zero | tail -c 300m | wc -c";

/// Jobs on their way to their ends.
pub struct Batch {
    /// Those that end by themselves.
    alone: Vec<String>,
    /// To be cancelled while they run.
    running: Vec<String>,
    /// To be put back while it runs.
    put_back: String,
    /// To be lost with their node.
    lost: Vec<String>,
}

impl Batch {
    /// `times` 17 jobs of all sorts, and 3 that need care. One array is three of them, one heterogeneous job is two.
    pub fn submit(cluster: &SlurmCluster, times: usize) -> Self {
        let lost = cluster.node(LOST);
        let (elsewhere, there) = (format!("--exclude={lost}"), format!("--nodelist={lost}"));
        let with = |options: &[&str], script: &str| {
            cluster.sbatch(&[&[elsewhere.as_str(), "--mem=60"], options].concat(), script)
        };
        let mut alone = Vec::new();
        let mut running = Vec::new();
        for _ in 0..times {
            alone.extend([
                with(&[], "true"),
                with(&["--job-name=its \"name\" is \\ü"], "sleep 1"),
                with(&[], "false || true"),
                with(&[], "exit 3"),
                with(&[], "exit 255"),
                with(&[], "kill -9 $$"),
                with(&[], "kill -SEGV $$"),
                with(&[], "no-such-command-anywhere"),
                with(&["--nodes=2"], "srun -n2 sleep 1"),
                with(&["--array=0-2"], "test $SLURM_ARRAY_TASK_ID != 1"),
                with(&[], HOG),
                with(&["--ntasks=1", ":", &elsewhere, "--mem=60", "--ntasks=1"], "sleep 1"),
            ]);
            running.push(with(&[], "sleep 600"));
            let held = with(&["--hold"], "true");
            cluster.command(&["scancel", &held]);
        }
        let put_back = with(&["--requeue"], ONCE_AGAIN);
        let lost = vec![
            cluster.sbatch(&[&there, "--mem=60", "--no-requeue"], "sleep 600"),
            cluster.sbatch(&[&there, "--mem=60", "--requeue"], ONCE_AGAIN),
        ];
        Self { alone, running, put_back, lost }
    }

    /// Cancels, puts back and loses those that are to end so, once they run; and waits until all have ended but those that
    /// wait for their second run.
    pub async fn happen(&self, cluster: &mut SlurmCluster) {
        let all_run = |cluster: &SlurmCluster| {
            let states = states(cluster);
            let begun = |job: &String| states.get(job).is_some_and(|state| state == "RUNNING");
            self.running.iter().chain([&self.put_back]).chain(&self.lost).all(begun)
        };
        wait::until_true("they run", || all_run(cluster)).await;
        let running: Vec<&str> = self.running.iter().map(String::as_str).collect();
        cluster.command(&[&["scancel"], &running[..]].concat());
        cluster.command(&["scontrol", "requeue", &self.put_back]);
        cluster.kill_node(LOST);
        cluster.declare_lost(LOST);
        cluster.start_node(LOST);
        wait::until_true("the others have ended", || {
            let states = states(cluster);
            self.alone
                .iter()
                .chain(&self.running)
                .all(|job| states.get(job).is_some_and(|state| has_ended(state)))
        })
        .await;
    }
}

/// Jobs whose time is over after a minute.
pub fn submit_late_ones(cluster: &SlurmCluster, count: usize) {
    for _ in 0..count {
        let elsewhere = format!("--exclude={}", cluster.node(LOST));
        cluster.sbatch(&["--time=1", "--mem=60", &elsewhere], "sleep 600");
    }
}

/// All numbers that slurmctld knows, with their states.
pub fn states(cluster: &SlurmCluster) -> BTreeMap<String, String> {
    let text = cluster.command(&["squeue", "-h", "-a", "-t", "all", "-o", "%A|%T"]);
    let lines = text.lines().filter_map(|line| line.split_once('|'));
    lines.map(|(number, state)| (number.to_owned(), state.to_owned())).collect()
}

/// True for a state in Slurm's words that is an end.
pub fn has_ended(state: &str) -> bool {
    five(state).is_some()
}

/// What the reference's table makes of Slurm's word for an end.
pub fn five(raw: &str) -> Option<&'static str> {
    match raw {
        "COMPLETED" => Some("completed"),
        "CANCELLED" => Some("cancelled"),
        "FAILED" | "TIMEOUT" | "NODE_FAIL" | "OUT_OF_MEMORY" => Some("failed"),
        _ => None,
    }
}
