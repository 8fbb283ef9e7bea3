//! Spark's history server, on a free port of the loopback.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{page, ports, wait, watchdog};

/// A JVM starts; a busy machine takes its time.
const START_LIMIT: Duration = Duration::from_mins(3);

/// A running history server. It ends when this is dropped, and at the latest a second after the test process.
#[derive(Debug)]
pub struct HistoryServer {
    dir: PathBuf,
    port: u16,
    server: Child,
}

impl HistoryServer {
    /// Starts one over the event logs in `events` from the Spark in `spark_home`, without waiting until it is ready.
    pub fn launch(spark_home: &Path, events: &Path) -> Self {
        let dir = tempfile::Builder::new().prefix("libra-history.").tempdir().unwrap();
        // Real paths: what works below is found by them.
        let dir = dir.keep().canonicalize().unwrap();
        watchdog::watch(&dir);
        let port = ports::free();
        let log = File::create(dir.join("log")).unwrap();
        let options = format!(
            "-Dspark.history.fs.logDirectory=file:{} -Dspark.history.ui.port={port} \
             -Dspark.history.fs.update.interval=1s -Dspark.history.store.maxDiskUsage=100m",
            events.display()
        );
        let mut command = Command::new(spark_home.join("bin/spark-class"));
        command.arg("org.apache.spark.deploy.history.HistoryServer").current_dir(&dir);
        command.env("SPARK_HOME", spark_home).env("SPARK_LOCAL_IP", "127.0.0.1");
        command.env("SPARK_HISTORY_OPTS", options).env("SPARK_DAEMON_MEMORY", "256m");
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let server = command.spawn().unwrap();
        Self { dir, port, server }
    }

    /// Where it answers, once it does.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Waits until it answers.
    pub async fn ready(&mut self) {
        let begun = Instant::now();
        while page(&self.url()).await.is_none() {
            let ended = self.server.try_wait().unwrap().is_some();
            let log = || wait::last_lines(&fs::read_to_string(self.dir.join("log")).unwrap_or_default(), 20);
            assert!(!ended && begun.elapsed() < START_LIMIT, "the history server does not start:\n{}", log());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

impl Drop for HistoryServer {
    fn drop(&mut self) {
        // The script has become the server.
        let _ = self.server.kill();
        let _ = self.server.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}
