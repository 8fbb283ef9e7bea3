//! A Libra of our own: started on a free port and a data directory, and ended.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::Outcome;
use crate::http1::{Connection, get, post};

/// How long a Libra may take to end, its Spark server included.
const END_PATIENCE: Duration = Duration::from_mins(1);
/// How often a Libra that ends is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// The kernel counts a process's time in these, hundredths of a second on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// A running Libra.
pub(crate) struct Service {
    child: Child,
    data_dir: PathBuf,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    // Open as long as the process lives, so that it can write to it.
    _stdout: BufReader<std::process::ChildStdout>,
}

impl Service {
    /// Starts `libra serve` within `dir`; returns when it listens.
    pub(crate) fn start(libra: &Path, dir: &Path, config: &str) -> Outcome<Self> {
        std::fs::create_dir_all(dir)?;
        let file = dir.join("config.yaml");
        std::fs::write(&file, config)?;
        let data_dir = dir.join("data");
        let mut child = Command::new(libra)
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(&data_dir)
            .arg("--config")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(dir.join("serve.log"))?)
            .spawn()
            .map_err(|e| {
                format!("{} can't be started: {e}; `cargo build --release -p libra`", libra.display())
            })?;
        let mut stdout = BufReader::new(child.stdout.take().ok_or("no standard output")?);
        let mut line = String::new();
        stdout.read_line(&mut line)?;
        let Some(address) = line.trim().rsplit('/').next().and_then(|a| a.parse().ok()) else {
            // It has ended, or is of no use.
            let _ = child.kill();
            child.wait()?;
            let log = std::fs::read_to_string(dir.join("serve.log")).unwrap_or_default();
            return Err(format!("Libra did not start: {log}").into());
        };
        Ok(Self { child, data_dir, address, _stdout: stdout })
    }

    /// Its data directory.
    pub(crate) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Its resident memory, in bytes.
    pub(crate) fn resident(&self) -> Outcome<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib * 1024)
    }

    /// The processor time that it has used, in seconds.
    pub(crate) fn cpu_seconds(&self) -> Outcome<f64> {
        cpu_seconds(self.child.id())
    }

    /// Ends it gracefully and waits.
    pub(crate) fn end(mut self) -> Outcome<()> {
        self.terminate()
    }

    fn terminate(&mut self) -> Outcome<()> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            kill_process(pid, Signal::TERM)?;
        }
        let told = Instant::now();
        while told.elapsed() < END_PATIENCE {
            if self.child.try_wait()?.is_some() {
                return Ok(());
            }
            std::thread::sleep(LOOK);
        }
        self.child.kill()?;
        self.child.wait()?;
        Err("Libra did not end when it was told to, and was killed".into())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Err(error) = self.terminate() {
            eprintln!("warning: {error}");
        }
    }
}

/// Submits a job and waits until it has succeeded.
pub(crate) async fn run_job(api: &mut Connection, body: &str) -> Outcome<()> {
    let (_, answer) = api.call(&post("/api/v1/spark/jobs/submit", body)).await?;
    let answer: Value = serde_json::from_slice(answer)?;
    let id = answer["jobId"].as_str().ok_or_else(|| format!("no job: {answer}"))?;
    let (_, answer) = api.call(&get(&format!("/api/v1/spark/jobs/{id}?wait=300s"))).await?;
    let answer: Value = serde_json::from_slice(answer)?;
    if answer["status"] != "SUCCEEDED" {
        return Err(format!("a job did not succeed: {answer}").into());
    }
    Ok(())
}

/// The processor time that a process has used, in seconds.
pub(crate) fn cpu_seconds(pid: u32) -> Outcome<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // User and system time are fields 14 and 15.
    Ok(ticks(&stat, 2) / TICKS_PER_SECOND)
}

/// The processor time of a process, its children and those of them that it has seen end, in seconds; without the
/// child `except` and its own children.
pub(crate) fn family_cpu_seconds(pid: u32, except: Option<u32>) -> Outcome<f64> {
    let mut sum = 0.0;
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(other) = name.to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
        // Processes end while one looks.
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{other}/stat")) else { continue };
        let parent = after_the_name(&stat).nth(1).and_then(|p| p.parse().ok());
        if (other == pid || parent == Some(pid)) && Some(other) != except {
            // The times of children that have ended follow a process's own.
            sum += ticks(&stat, 4);
        }
    }
    Ok(sum / TICKS_PER_SECOND)
}

/// The fields of `/proc/PID/stat` from the third on: before them is the name, which may hold anything.
fn after_the_name(stat: &str) -> impl Iterator<Item = &str> {
    stat.rsplit(')').next().unwrap_or_default().split_whitespace()
}

/// The sum of that many fields from the 14th on.
fn ticks(stat: &str, fields: usize) -> f64 {
    after_the_name(stat).skip(11).take(fields).map(|t| t.parse().unwrap_or(0.0)).sum()
}
