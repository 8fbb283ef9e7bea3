//! Configuration: a YAML file, an overlay for the environment, environment variables, flags (contract P5).
//!
//! Every key is a row of [`keys::KEYS`]; an unknown key stops the start and names the nearest known one.

mod backend;
mod build;
mod fields;
mod flink;
mod hpc;
pub mod keys;
mod origins;
mod replicas;
mod slurm;
mod source;
mod turns;
mod units;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use libra_core::admission::Limits;
use libra_core::hpc::figures::Bounds;
use libra_core::mode::Mode;
use libra_core::turn::Policy;
use libra_engines::logs::LogLimits;
use libra_engines::spark_connect::{Backend, Care};
use libra_engines::spark_submit::History;
use libra_store::{PoolSettings, StoreUrl};

pub use flink::{Flink, FlinkCluster};
pub use hpc::EfficiencyRules;
pub use keys::{KEYS, Key};
pub use slurm::{SlurmCluster, SlurmWay};
pub use source::Source;
pub use turns::{Cluster, QueueTimes};

use crate::auth::ApiKey;

/// What Libra is told to be.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where health and metrics are served without keys, if anywhere.
    pub management_listen: Option<SocketAddr>,
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// Where files are kept that several replicas use; None = in the data directory.
    pub shared_dir: Option<PathBuf>,
    /// Which database.
    pub store: Store,
    /// This replica among others.
    pub replica: Replica,
    /// The address of a Redis that hands scheduled jobs on, with its password: never printed.
    pub redis: Option<SecretText>,
    /// What is told to the world.
    pub webhooks: Webhooks,
    /// How long things are kept.
    pub retention: Retention,
    /// The largest upload, bytes.
    pub max_artifact_bytes: u64,
    /// How logs are kept and followed.
    pub logs: Logs,
    /// Spark's directory, when given.
    pub spark_home: Option<PathBuf>,
    /// Who may call; empty = the local administrator, on loopback only.
    pub keys: Vec<ApiKey>,
    /// What bounds admission.
    pub limits: Limits,
    /// Queues, shares, and what users and tenants may have. What modes may have is in `limits`.
    pub policy: Policy,
    /// Where drivers may have their executors, by name.
    pub clusters: BTreeMap<String, Cluster>,
    /// Time limits of the jobs of a queue that name none.
    pub queue_times: BTreeMap<String, QueueTimes>,
    /// Modes that take jobs.
    pub enabled: Vec<Mode>,
    /// The longest queue wait of a job that names none; None = no limit.
    pub queue_wait: Option<Duration>,
    /// How long a launch may take.
    pub launch_timeout: Option<Duration>,
    /// The longest run of a job that names none, by mode.
    pub run_timeout: BTreeMap<Mode, Option<Duration>>,
    /// The in-cluster mode.
    pub in_cluster: InCluster,
    /// The spark-submit mode.
    pub spark_submit: SparkSubmit,
    /// Flink's clusters.
    pub flink: Flink,
    /// Slurm's clusters.
    pub slurm: Vec<SlurmCluster>,
    /// How much of observed jobs is shown in the figures.
    pub figures: Bounds,
    /// When observed jobs waste what they were given.
    pub efficiency: EfficiencyRules,
    /// When to warn about full resources.
    pub monitor: Monitor,
    /// What is logged: `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `libra_server=debug`.
    pub log_level: String,
    /// True for JSON lines, false for text.
    pub log_json: bool,
    /// Things to tell the operator at start.
    pub warnings: Vec<String>,
    /// Where it was read from.
    pub source: Source,
    /// What was written there.
    written: Written,
}

/// What was written in a configuration, by key. It is not printed: some of it is secret.
#[derive(Clone, Default, PartialEq)]
struct Written {
    values: BTreeMap<String, String>,
    trees: BTreeMap<&'static str, serde_json::Value>,
}

impl std::fmt::Debug for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

/// A text that is not printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(pub String);

impl std::fmt::Debug for SecretText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// The database.
#[derive(Clone, Debug)]
pub struct Store {
    /// Which.
    pub url: StoreUrl,
    /// Connections to PostgreSQL.
    pub pool: PoolSettings,
}

/// This replica among others.
#[derive(Clone, Debug)]
pub struct Replica {
    /// Its name; None = made once and kept in the data directory.
    pub id: Option<String>,
    /// It is taken for dead after so long without a sign of life.
    pub lease: Duration,
    /// What its machine is called; None = its machine-id.
    pub machine: Option<String>,
    /// Where others reach it; None = where it listens.
    pub address: Option<String>,
    /// A host without any replica is given up after so long.
    pub host_lost_after: Duration,
}

/// What is told to the world (contract A12).
#[derive(Clone, Debug)]
pub struct Webhooks {
    /// Signs them; None = a file of Libra's own.
    pub secret: Option<SecretText>,
    /// True: private addresses are allowed.
    pub allow_private: bool,
    /// A message that is not taken for so long becomes a dead letter.
    pub give_up_after: Duration,
}

/// How long things are kept (contract Q3).
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Ended jobs; None = for ever.
    pub jobs: Option<Duration>,
    /// Ended jobs, at most; None = any number.
    pub max_jobs: Option<u64>,
    /// Logs and results after the end; None = as long as their job.
    pub files: Option<Duration>,
    /// Samples of observed jobs; None = as long as their job.
    pub samples: Option<Duration>,
    /// Uploads that no job holds, after they were last asked for.
    pub artifacts: Duration,
}

/// How logs are kept and followed.
#[derive(Clone, Copy, Debug)]
pub struct Logs {
    /// Their sizes.
    pub limits: LogLimits,
    /// Readers that follow a log through this replica at the same time.
    pub max_followers: usize,
}

/// The shared Spark Connect server.
#[derive(Clone, Debug)]
pub struct InCluster {
    /// Its master.
    pub master: String,
    /// Its heap, as Spark spells it.
    pub driver_memory: String,
    /// More Spark settings.
    pub conf: BTreeMap<String, String>,
    /// Where its tables are; None = within the data directory.
    pub warehouse_dir: Option<PathBuf>,
    /// Python processes that wait for its jobs.
    pub python_pool: usize,
    /// How long it may take to start.
    pub start_timeout: Duration,
    /// It ends by itself after this long without a Libra.
    pub keepalive: Duration,
    /// True: it ends with Libra.
    pub stop_on_shutdown: bool,
    /// Which server it is. Printing it shows no token.
    pub backend: Backend,
    /// How it is looked after.
    pub care: Care,
}

/// Jobs in a process of their own.
#[derive(Clone, Debug)]
pub struct SparkSubmit {
    /// The master of a job that names none.
    pub master: String,
    /// Spark settings of every job; a job's own win.
    pub conf: BTreeMap<String, String>,
    /// What is left of a driver's UI.
    pub history: History,
}

/// When to warn about full resources (contract R7).
#[derive(Clone, Copy, Debug)]
pub struct Monitor {
    /// Whether to look at all.
    pub enabled: bool,
    /// How often.
    pub interval: Duration,
    /// Warn above this share of the cores.
    pub cpu_percent: u8,
    /// Warn above this share of the memory.
    pub memory_percent: u8,
}

/// Why a configuration can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ConfigError {
    message: String,
    hint: Option<String>,
}

impl ConfigError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    pub(crate) fn hinting(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What mends it.
    pub fn hint(&self) -> Option<String> {
        self.hint.clone()
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod named_tests;

impl Config {
    /// Reads the configuration.
    ///
    /// # Errors
    /// An unreadable file, an unknown key, a value that does not parse, two spellings of one key that differ, or
    /// a listener that everybody could reach without a key.
    pub fn load(source: Source) -> Result<Self, ConfigError> {
        let env = std::env::vars_os()
            .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
            .collect();
        Self::from(source, &env)
    }

    /// Reads the configuration with the given environment.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn from(source: Source, env: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        let gathered = source::gather(source.clone(), env)?;
        let written = Written { values: gathered.values.clone(), trees: gathered.trees.clone() };
        Ok(Self { source, written, ..build::build(gathered)? })
    }

    /// The keys by which `new` differs from this configuration and that a running Libra does not read again.
    pub(crate) fn differs_for_good(&self, new: &Self) -> Vec<String> {
        let (before, after) = (&self.written.values, &new.written.values);
        let names = before.keys().chain(after.keys()).filter(|name| before.get(*name) != after.get(*name));
        let trees =
            keys::TREES.iter().filter(|key| self.written.trees.get(**key) != new.written.trees.get(**key));
        let all: std::collections::BTreeSet<String> =
            names.cloned().chain(trees.map(|key| (*key).to_owned())).collect();
        all.into_iter().filter(|name| !keys::is_read_again(name)).collect()
    }
}
