//! One Libra process in a data directory of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use crate::{Api, processes, wait, watchdog};

/// A Libra that does not listen after this long does not start at all.
const START_LIMIT: Duration = Duration::from_mins(1);
/// Spark's server ends along with it, which takes a while on a busy machine.
const STOP_LIMIT: Duration = Duration::from_mins(1);

/// How to start a Libra.
#[derive(Clone, Debug)]
pub struct Setup {
    program: PathBuf,
    config: String,
    env: Vec<(String, String)>,
}

impl Setup {
    /// The defaults, with the binary at `program`. Spark's shared server ends when Libra is told to end.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        let setup = Self { program: program.into(), config: String::new(), env: Vec::new() };
        setup
            .env("LIBRA_EXECUTION_MODES_IN_CLUSTER_STOP_SERVER_ON_SHUTDOWN", "true")
            .env("LIBRA_EXECUTION_MODES_IN_CLUSTER_KEEPALIVE", "60s")
    }

    /// The configuration file's text, YAML. Without one there is no file.
    #[must_use]
    pub fn config(mut self, yaml: impl Into<String>) -> Self {
        self.config = yaml.into();
        self
    }

    /// One more environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.retain(|(n, _)| n != name);
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The binary with a clean environment; `LIBRA_…` of whoever runs the tests is not for them.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("LIBRA_") {
                command.env_remove(name);
            }
        }
        command.envs(self.env.iter().map(|(n, v)| (n, v))).stdin(Stdio::null());
        command
    }

    /// Runs the binary with these arguments to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command().args(arguments).output().unwrap()
    }

    /// Starts it in a new data directory and waits until it is ready.
    pub async fn start(&self) -> Libra {
        let dir = tempfile::Builder::new().prefix("libra-test.").tempdir().unwrap();
        // Real paths: what works below is found by them.
        let dir = dir.keep().canonicalize().unwrap();
        watchdog::watch(&dir);
        let mut libra = Libra { dir, child: None, url: String::new() };
        libra.start(self).await;
        libra
    }
}

/// A Libra and its data directory. Dropping it ends everything that works below that directory.
#[derive(Debug)]
pub struct Libra {
    dir: PathBuf,
    child: Option<Child>,
    url: String,
}

impl Libra {
    /// The data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// A place for files of the test, removed along with the data directory.
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        let child = self.child.as_ref().expect("it runs");
        i32::try_from(child.id()).expect("a process id")
    }

    /// Where it answers.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Calls without a key.
    pub fn api(&self) -> Api {
        Api::new(&self.url, None)
    }

    /// Calls with a key.
    pub fn api_as(&self, key: &str) -> Api {
        Api::new(&self.url, Some(key))
    }

    /// The arguments of `libra serve` on this data directory, on any free port.
    pub fn serve_arguments(&self) -> Vec<String> {
        let mut arguments: Vec<String> =
            ["serve", "--listen", "127.0.0.1:0", "--data-dir"].map(str::to_owned).into();
        arguments.push(self.data_dir().display().to_string());
        arguments
    }

    /// Starts it (again) on this data directory and waits until it is ready.
    pub async fn start(&mut self, setup: &Setup) {
        self.launch(setup);
        let address = self.data_dir().join("address");
        let url = wait::until("Libra listens", || {
            if let Some(status) = self.exited() {
                panic!("Libra ended at once with {status}:\n{}", self.log());
            }
            fs::read_to_string(&address).ok().filter(|text| text.ends_with('\n'))
        });
        let url = tokio::time::timeout(START_LIMIT, url).await.unwrap_or_else(|_| {
            panic!("Libra does not listen after {START_LIMIT:?}:\n{}", self.log());
        });
        url.trim().clone_into(&mut self.url);
    }

    /// Starts it without waiting: one that is to die soon may not live to say that it is ready.
    pub fn launch(&mut self, setup: &Setup) {
        assert!(self.child.is_none(), "it still runs");
        let _ = fs::remove_file(self.data_dir().join("address"));
        let log = File::options().create(true).append(true).open(self.dir.join("libra.log")).unwrap();
        let mut command = setup.command();
        command.args(self.serve_arguments());
        // Without a word about its configuration it starts as most people start it: without a file.
        if !setup.config.is_empty() {
            let config = self.dir.join("libra.yaml");
            fs::write(&config, &setup.config).unwrap();
            command.arg("--config").arg(config);
        }
        command.current_dir(&self.dir).stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(command.spawn().unwrap());
    }

    /// What it wrote, in all its lives.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("libra.log")).unwrap_or_default()
    }

    /// Its exit status, once it has ended by itself.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().unwrap();
        if status.is_some() {
            self.child = None;
        }
        status
    }

    /// Waits until it has ended by itself, as at a failpoint.
    pub async fn end(&mut self) -> ExitStatus {
        wait::until("Libra ends by itself", || self.exited()).await
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// SIGTERM, and waits for its end.
    pub fn stop(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it runs");
        processes::terminate(i32::try_from(child.id()).unwrap());
        let mut status = None;
        let ended = wait::block_until("Libra ends after SIGTERM", STOP_LIMIT, || {
            status = child.try_wait().unwrap();
            status.is_some()
        });
        if let Err(e) = ended {
            let _ = child.kill();
            panic!("{e}\n{}", self.log());
        }
        status.expect("it has ended")
    }

    /// The directory of one attempt.
    pub fn attempt_dir(&self, job: &str, attempt: u32) -> PathBuf {
        self.data_dir().join("jobs").join(job).join(attempt.to_string())
    }

    fn end_everything(&mut self) {
        if let Some(mut child) = self.child.take() {
            processes::terminate(i32::try_from(child.id()).unwrap_or_default());
            let _ = wait::block_until("Libra ends", STOP_LIMIT, || !matches!(child.try_wait(), Ok(None)));
            let _ = child.kill();
            let _ = child.wait();
        }
        let left = || processes::working_below(&self.dir);
        left().into_iter().for_each(processes::terminate);
        let _ = wait::block_until("everything ends", Duration::from_secs(10), || left().is_empty());
        let _ = wait::block_until("everything is killed", Duration::from_secs(10), || {
            left().into_iter().for_each(processes::kill);
            left().is_empty()
        });
    }
}

impl Drop for Libra {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- Libra's log ({}):\n{}", self.dir.display(), wait::last_lines(&self.log(), 40));
        }
        self.end_everything();
        if !std::thread::panicking() || std::env::var_os("LIBRA_TEST_KEEP").is_none() {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// Writes a file that a job is to use; answers its path as text.
pub fn write(path: &Path, text: &str) -> String {
    fs::write(path, text).unwrap();
    path.display().to_string()
}
