//! How a run is to be.

use std::path::PathBuf;
use std::time::Duration;

/// How often something is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultRate {
    /// All the time.
    Storm,
    /// Now and then a replica is restarted, and nothing else.
    Light,
    /// Never.
    None,
}

/// How a run is to be.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The `libra` binary.
    pub libra: PathBuf,
    /// How long jobs are submitted and things are broken.
    pub time: Duration,
    /// Processes of `libra serve`.
    pub replicas: usize,
    /// Decides which jobs come and what is broken when; how they meet is decided by the machine.
    pub seed: u64,
    /// Whether Redis hands attempts on; PostgreSQL does it otherwise.
    pub redis: bool,
    /// The replicas' lease.
    pub lease: Duration,
    /// Submissions each second, on average.
    pub jobs_per_second: f64,
    /// spark-submit jobs that run at once.
    pub concurrent_jobs: u32,
    /// The share of jobs that run on the real Spark by spark-submit.
    pub real_share: f64,
    /// The share of jobs that are SQL in the shared Spark server.
    pub sql_share: f64,
    /// What is broken.
    pub faults: FaultRate,
    /// Libra keeps this many ended jobs; None keeps all, as a comparison at the end needs.
    pub keep_jobs: Option<u32>,
    /// Whether a leader's successor that comes late breaks a promise. A figure on a machine that does other things.
    pub strict_times: bool,
    /// Where logs, marks and the report are kept.
    pub keep: PathBuf,
}

impl Settings {
    /// The defaults of `make chaos` for the binary at `libra`.
    pub fn new(libra: impl Into<PathBuf>, keep: impl Into<PathBuf>) -> Self {
        Self {
            libra: libra.into(),
            time: Duration::from_mins(10),
            replicas: 3,
            seed: rand::random(),
            redis: true,
            lease: Duration::from_secs(10),
            jobs_per_second: 5.0,
            concurrent_jobs: 24,
            real_share: 0.005,
            sql_share: 0.02,
            faults: FaultRate::Storm,
            keep_jobs: None,
            strict_times: true,
            keep: keep.into(),
        }
    }
}
