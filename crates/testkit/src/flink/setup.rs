//! What a cluster is like.

use std::fmt::Write as _;
use std::fs;

use super::daemons::Daemons;
use super::home::Home;
use super::{FlinkCluster, JOB_MANAGER};
use crate::watchdog;

/// What the cluster's own file says; paths and ports come beside. Heartbeats tell in 6 s what is gone (by default 50 s),
/// `web.refresh-interval` is what `/jobs/{id}` may lag behind. A JVM on a busy machine gives up by default when it has not
/// opened its port after 10 s.
const CONFIG: &str = "
jobmanager.rpc.address: 127.0.0.1
jobmanager.bind-host: 127.0.0.1
rest.address: 127.0.0.1
rest.bind-address: 127.0.0.1
taskmanager.host: 127.0.0.1
taskmanager.bind-host: 127.0.0.1
parallelism.default: 1
web.submit.enable: true
web.cancel.enable: true
web.refresh-interval: 100
heartbeat.interval: 1000
heartbeat.timeout: 6000
cluster.registration.error-delay: 1000
pekko.startup-timeout: 120 s
execution.checkpointing.num-retained: 3
";

/// How to start a cluster.
#[derive(Clone, Debug)]
pub struct Setup {
    slots: usize,
    task_managers: usize,
    settings: Vec<(String, String)>,
}

impl Default for Setup {
    fn default() -> Self {
        Self::new()
    }
}

impl Setup {
    /// One TaskManager with 4 slots.
    pub fn new() -> Self {
        Self { slots: 4, task_managers: 1, settings: Vec::new() }
    }

    /// Slots of each TaskManager.
    #[must_use]
    pub fn slots(mut self, slots: usize) -> Self {
        self.slots = slots;
        self
    }

    /// How many TaskManagers there are; each is a JVM.
    #[must_use]
    pub fn task_managers(mut self, count: usize) -> Self {
        self.task_managers = count;
        self
    }

    /// One more line of the cluster's `config.yaml`.
    #[must_use]
    pub fn setting(mut self, key: &str, value: &str) -> Self {
        self.settings.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Starts it and waits until its slots are there. Panics, saying what to install, where there is no Flink.
    pub async fn start(&self) -> FlinkCluster {
        let home = Home::find();
        let dir = tempfile::Builder::new().prefix("libra-flink.").tempdir().unwrap();
        // Real paths: what works below is found by them.
        let dir = dir.keep().canonicalize().unwrap();
        watchdog::watch(&dir);
        let daemons = Daemons::new(home, dir);
        for name in ["conf", "checkpoints", "savepoints", "upload", "tmp"] {
            fs::create_dir(daemons.dir.join(name)).unwrap();
        }
        fs::write(daemons.dir.join("conf/config.yaml"), self.config(&daemons)).unwrap();
        let slots = self.slots;
        let mut cluster =
            FlinkCluster { daemons, slots, job_manager: None, task_managers: Vec::new(), launched: 0 };
        // All at once: a TaskManager knocks until somebody opens.
        cluster.job_manager = Some(cluster.daemons.job_manager(JOB_MANAGER));
        for _ in 0..self.task_managers {
            cluster.launch_task_manager();
        }
        cluster.ready().await;
        cluster
    }

    fn config(&self, daemons: &Daemons) -> String {
        let mut text = CONFIG.to_owned();
        let mut line = |key: &str, value: &str| writeln!(text, "{key}: {value}").unwrap();
        line("rest.port", &daemons.rest_port.to_string());
        line("jobmanager.rpc.port", &daemons.rpc_port.to_string());
        let dir = daemons.dir.display();
        line("web.upload.dir", &format!("{dir}/upload"));
        line("io.tmp.dirs", &format!("{dir}/tmp"));
        line("execution.checkpointing.dir", &format!("file://{dir}/checkpoints"));
        line("execution.checkpointing.savepoint-dir", &format!("file://{dir}/savepoints"));
        for (key, value) in &self.settings {
            line(key, value);
        }
        text
    }
}
