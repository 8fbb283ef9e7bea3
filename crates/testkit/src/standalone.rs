//! A Spark standalone master with one worker, on free ports of the loopback.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{ports, processes, wait, watchdog};

/// Two JVMs start; a busy machine takes its time.
const START_LIMIT: Duration = Duration::from_mins(3);
/// Heap of the master and of the worker each.
const DAEMON_MEMORY: &str = "256m";
/// What the worker offers to executors.
const OFFERED: (&str, &str) = ("2", "2g");

/// A running master and worker. They end when this is dropped, and at the latest a second after the test process.
#[derive(Debug)]
pub struct Standalone {
    dir: PathBuf,
    port: u16,
    master_ui: u16,
    daemons: Vec<Child>,
}

impl Standalone {
    /// Starts both from the Spark in `spark_home` and waits until the worker is known to the master.
    pub async fn start(spark_home: &Path) -> Self {
        let dir = tempfile::Builder::new().prefix("libra-standalone.").tempdir().unwrap();
        // Real paths: what works below is found by them.
        let dir = dir.keep().canonicalize().unwrap();
        watchdog::watch(&dir);
        let (port, master_ui, worker_ui) = (ports::free(), ports::free(), ports::free());
        let mut standalone = Self { dir, port, master_ui, daemons: Vec::new() };
        let here = ["--host", "127.0.0.1", "--webui-port"].map(str::to_owned);
        let master = [&here[..], &[master_ui.to_string(), "--port".into(), port.to_string()]].concat();
        standalone.launch(spark_home, "org.apache.spark.deploy.master.Master", &master);
        let offered = ["--cores", OFFERED.0, "--memory", OFFERED.1, "--work-dir"].map(str::to_owned);
        let work = standalone.dir.join("work").display().to_string();
        let worker =
            [&here[..], &[worker_ui.to_string()], &offered[..], &[work, standalone.master()]].concat();
        standalone.launch(spark_home, "org.apache.spark.deploy.worker.Worker", &worker);
        standalone.until_ready().await;
        standalone
    }

    /// `spark://…`, for `spark.master`.
    pub fn master(&self) -> String {
        format!("spark://127.0.0.1:{}", self.port)
    }

    /// `http://…`, where the master tells of its cluster.
    pub fn web_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.master_ui)
    }

    /// Executors that work at present: `CoarseGrainedExecutorBackend` processes.
    pub fn executors(&self) -> Vec<i32> {
        let works = |pid: &i32| processes::command_line(*pid).contains("CoarseGrainedExecutorBackend");
        processes::working_below(&self.dir).into_iter().filter(works).collect()
    }

    fn launch(&mut self, spark_home: &Path, class: &str, arguments: &[String]) {
        let name = class.rsplit('.').next().unwrap_or(class);
        let log = File::create(self.dir.join(name)).unwrap();
        let mut command = Command::new(spark_home.join("bin/spark-class"));
        command.arg(class).args(arguments).current_dir(&self.dir);
        command.env("SPARK_HOME", spark_home).env("SPARK_LOCAL_IP", "127.0.0.1");
        // Without it the worker can't start executors: it looks for a build of Spark's own sources.
        command.env("SPARK_SCALA_VERSION", "2.13").env("SPARK_DAEMON_MEMORY", DAEMON_MEMORY);
        command.env("SPARK_LOCAL_DIRS", &self.dir);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.daemons.push(command.spawn().unwrap());
    }

    async fn until_ready(&mut self) {
        // A second caller finds the provider in place, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().pool_max_idle_per_host(0).no_proxy().build().unwrap();
        let begun = Instant::now();
        loop {
            if let Ok(answer) = client.get(format!("{}/json/", self.web_url())).send().await
                && let Ok(state) = answer.json::<serde_json::Value>().await
                && state["aliveworkers"] == 1
            {
                return;
            }
            let ended = self.daemons.iter_mut().any(|d| d.try_wait().unwrap().is_some());
            assert!(
                !ended && begun.elapsed() < START_LIMIT,
                "Spark standalone does not start:\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    fn log(&self) -> String {
        let read = |name| fs::read_to_string(self.dir.join(name)).unwrap_or_default();
        ["Master", "Worker"].map(|name| wait::last_lines(&read(name), 20)).join("\n---\n")
    }
}

impl Drop for Standalone {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- Spark standalone:\n{}", self.log());
        }
        for daemon in &mut self.daemons {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        let left = || processes::working_below(&self.dir);
        let _ = wait::block_until("executors are killed", Duration::from_secs(10), || {
            left().into_iter().for_each(processes::kill);
            left().is_empty()
        });
        let _ = fs::remove_dir_all(&self.dir);
    }
}
