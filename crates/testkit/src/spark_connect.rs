//! A Spark Connect server that no Libra started.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::{ports, wait, watchdog};

/// What the server says once it can be asked.
const READY: &str = "Spark Connect server started at";

/// Apache Spark's own server, on a port that stays the same. Ended when it is dropped.
#[derive(Debug)]
pub struct ConnectServer {
    home: PathBuf,
    dir: PathBuf,
    token: String,
    port: u16,
    child: Option<Child>,
}

impl ConnectServer {
    /// Starts one of the Spark in `home`, which asks its clients for `token`.
    pub async fn start(home: &Path, token: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("libra-test.").tempdir().unwrap();
        let dir = dir.keep().canonicalize().unwrap();
        watchdog::watch(&dir);
        let mut server =
            Self { home: home.to_owned(), dir, token: token.to_owned(), port: ports::free(), child: None };
        server.start_again().await;
        server
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Starts it again, on the same port, with nothing of what it knew before.
    pub async fn start_again(&mut self) {
        assert!(self.child.is_none(), "it still runs");
        let log = self.dir.join("server.log");
        let file = File::create(&log).unwrap();
        let mut command = Command::new(self.home.join("bin/spark-submit"));
        command
            .args(["--class", "org.apache.spark.sql.connect.service.SparkConnectServer"])
            .args(["--master", "local[1]", "--driver-memory", "600m"])
            .args(["--conf", "spark.connect.grpc.binding.address=127.0.0.1"])
            .args(["--conf", &format!("spark.connect.grpc.binding.port={}", self.port)])
            .args(["--conf", "spark.sql.catalogImplementation=in-memory"])
            .args(["--conf", "spark.driver.bindAddress=127.0.0.1", "--conf", "spark.ui.enabled=false"])
            .arg("spark-internal")
            .env("SPARK_CONNECT_AUTHENTICATE_TOKEN", &self.token)
            .env("SPARK_LOCAL_IP", "127.0.0.1")
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file);
        self.child = Some(command.spawn().unwrap());
        wait::until_true("the Spark Connect server starts", || {
            let text = fs::read_to_string(&log).unwrap_or_default();
            let ended = self.child.as_mut().is_some_and(|child| !matches!(child.try_wait(), Ok(None)));
            assert!(!ended, "it ended at once:\n{text}");
            text.contains(READY)
        })
        .await;
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

impl Drop for ConnectServer {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.dir);
    }
}
