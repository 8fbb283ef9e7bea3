//! A Flink session cluster of plain JVMs on free ports of the loopback, and jobs for it.
//!
//! `setup.sh test` brings Flink's jars; a test without them fails and says so. The cluster keeps its state in a
//! directory of its own, so a JobManager that is killed and started again finds its uploads and checkpoints, but not its
//! jobs: there is no high availability.

mod daemons;
mod home;
mod jars;
mod progress;
mod setup;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::OnceCell;

use crate::{Api, processes, wait};
use daemons::Daemons;
pub use jars::{digest, jobs_jar, jobs_jar_version, text_jar};
pub use progress::{Line, Mark, assert_nothing_twice, assert_unbroken, progress};
pub use setup::Setup;

/// JVMs start; a busy machine takes its time.
const START_LIMIT: Duration = Duration::from_mins(3);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);
/// Its log has this name.
const JOB_MANAGER: &str = "job-manager";
/// Slots of the cluster that the tests of a process share.
const SHARED_SLOTS: usize = 16;

/// A running cluster. It ends when this is dropped, and at the latest a second after the test process.
#[derive(Debug)]
pub struct FlinkCluster {
    daemons: Daemons,
    slots: usize,
    job_manager: Option<Child>,
    task_managers: Vec<TaskManager>,
    /// TaskManagers so far, for their names.
    launched: usize,
}

#[derive(Debug)]
struct TaskManager {
    name: String,
    child: Child,
}

/// The Python beside Flink's jars, with all that Python jobs need. Panics, saying what to install, where there is none.
pub fn python() -> PathBuf {
    home::Home::find().python()
}

/// A line of `/jobs/overview`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its id, 32 hexadecimal digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// As `RUNNING`.
    pub state: String,
}

impl FlinkCluster {
    /// One JobManager and one TaskManager with 4 slots. Panics, saying what to install, where there is no Flink.
    pub async fn start() -> Self {
        Setup::new().start().await
    }

    /// The one cluster, of 16 slots, that the tests of a process share, started by the first of them; for tests that
    /// break nothing. Jobs are kept apart by their ids and names.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<FlinkCluster> = OnceCell::const_new();
        SHARED.get_or_init(async || Setup::new().slots(SHARED_SLOTS).start().await).await
    }

    /// The address of its REST API.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.daemons.rest_port)
    }

    /// Calls to its REST API, for what the functions here don't tell.
    pub fn api(&self) -> Api {
        Api::new(&self.url(), None)
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.daemons.dir
    }

    /// Where checkpoints are: `<job id>/chk-N`.
    pub fn checkpoints(&self) -> PathBuf {
        self.dir().join("checkpoints")
    }

    /// Where savepoints go that name no directory.
    pub fn savepoints(&self) -> PathBuf {
        self.dir().join("savepoints")
    }

    /// All jobs that it knows, ended ones included.
    pub async fn jobs(&self) -> Vec<Job> {
        let answer = self.api().get("/jobs/overview").await.expect(200);
        let lines = answer["jobs"].as_array().cloned().unwrap_or_default();
        let text = |line: &Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
        lines
            .iter()
            .map(|line| Job { id: text(line, "jid"), name: text(line, "name"), state: text(line, "state") })
            .collect()
    }

    /// `kill -9`. Its jobs are forgotten; the TaskManagers go on for `heartbeat.timeout` (6 s).
    pub fn kill_job_manager(&mut self) {
        end(self.job_manager.take());
    }

    /// Starts the JobManager again after [`Self::kill_job_manager`], on the same ports and directories, and waits until
    /// it answers. The TaskManagers come to it by themselves: [`Self::ready`].
    pub async fn start_job_manager(&mut self) {
        assert!(self.job_manager.is_none(), "it still runs");
        self.job_manager = Some(self.daemons.job_manager(JOB_MANAGER));
        self.until("it answers", "/overview", |_| true).await;
    }

    /// `kill -9` of the TaskManager that was started first.
    pub fn kill_task_manager(&mut self) {
        assert!(!self.task_managers.is_empty(), "none is left");
        end(Some(self.task_managers.remove(0).child));
    }

    /// Starts one more TaskManager, and waits until its slots are there.
    pub async fn start_task_manager(&mut self) {
        self.launch_task_manager();
        self.ready().await;
    }

    /// Waits until the JobManager knows the slots of all TaskManagers that run, and of no other: one that was killed
    /// is known until its heartbeats are missed.
    pub async fn ready(&mut self) {
        let mut wanted: Vec<String> = self.task_managers.iter().map(|one| one.name.clone()).collect();
        wanted.sort();
        let slots = self.slots;
        self.until("its slots are there", "/taskmanagers", |answer| {
            let known = answer["taskmanagers"].as_array().cloned().unwrap_or_default();
            let mut names: Vec<&str> = known.iter().filter_map(|one| one["id"].as_str()).collect();
            names.sort_unstable();
            names == wanted && known.iter().all(|one| one["slotsNumber"] == slots)
        })
        .await;
    }

    fn launch_task_manager(&mut self) {
        self.launched += 1;
        let name = format!("task-manager-{}", self.launched);
        let child = self.daemons.task_manager(&name, self.slots);
        self.task_managers.push(TaskManager { name, child });
    }

    /// Waits until the answer at `path` is as it should be.
    async fn until(&mut self, what: &str, path: &str, right: impl Fn(&Value) -> bool) {
        let begun = Instant::now();
        let url = format!("{}{path}", self.url());
        loop {
            if let Some((200, text)) = crate::page(&url).await
                && serde_json::from_str(&text).is_ok_and(|answer| right(&answer))
            {
                return;
            }
            let task_managers = self.task_managers.iter_mut().map(|one| &mut one.child);
            let mut all = self.job_manager.iter_mut().chain(task_managers);
            let ended = all.any(|daemon| daemon.try_wait().unwrap().is_some());
            assert!(
                !ended && begun.elapsed() < START_LIMIT,
                "waited in vain for Flink, that {what}:\n{}",
                self.log()
            );
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The ends of the logs of those that run.
    fn log(&self) -> String {
        let names = self.task_managers.iter().map(|one| one.name.as_str());
        let logs: Vec<String> = names.chain([JOB_MANAGER]).map(|name| self.daemons.log(name)).collect();
        logs.join("\n---\n")
    }
}

fn end(daemon: Option<Child>) {
    if let Some(mut daemon) = daemon {
        let _ = daemon.kill();
        let _ = daemon.wait();
    }
}

impl Drop for FlinkCluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- Flink:\n{}", self.log());
        }
        end(self.job_manager.take());
        for one in self.task_managers.drain(..) {
            end(Some(one.child));
        }
        // Python jobs have processes of their own.
        let left = || processes::working_below(self.dir());
        let _ = wait::block_until("what jobs started is killed", Duration::from_secs(10), || {
            left().into_iter().for_each(processes::kill);
            left().is_empty()
        });
        let _ = fs::remove_dir_all(self.dir());
    }
}
