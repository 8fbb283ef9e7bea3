//! What the engine has to know about its surroundings.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::logs::LogLimits;
use crate::shim::Keepalive;

/// The settings of the in-cluster engine.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The `libra` binary: it is started as `libra shim --dir …`.
    pub shim_exe: PathBuf,
    /// Where Spark is installed; looked for when None ([`crate::spark_home::SparkHome::find`]).
    pub spark_home: Option<PathBuf>,
    /// The engine's own directory: the servers' directories, the metastore, the name of the present server.
    pub data_dir: PathBuf,
    /// Spark's master, `local[*]` by default.
    pub master: String,
    /// The server's heap, in Spark's spelling (`1g`).
    pub driver_memory: String,
    /// Spark settings that are added to, or replace, Libra's own.
    pub conf: BTreeMap<String, String>,
    /// Where tables are kept; `warehouse` in the data directory when None.
    pub warehouse_dir: Option<PathBuf>,
    /// Queries that run at once; a safety net, the scheduler holds the real limit.
    pub max_concurrent_jobs: usize,
    /// Python processes that wait for jobs, with everything imported; 0: each job starts its own.
    pub python_pool: usize,
    /// How long the server may take to start.
    pub start_timeout: Duration,
    /// The shim ends the server when Libra was away for so long.
    pub keepalive_deadline: Duration,
    /// Where the database is shared: the server ends itself when no replica of this host has touched this file for
    /// so long, before another host gives its queries up (design §6).
    pub host_lease: Option<Keepalive>,
    /// How the logs of Python jobs, and the server's own, are kept.
    pub logs: LogLimits,
}

impl Settings {
    /// The defaults (contract S1): a local master, 1 GiB of heap, ten jobs at once, ten minutes without Libra.
    pub fn new(
        shim_exe: impl Into<PathBuf>,
        spark_home: Option<PathBuf>,
        data_dir: impl Into<PathBuf>,
    ) -> Self {
        Self {
            shim_exe: shim_exe.into(),
            spark_home,
            data_dir: data_dir.into(),
            master: "local[*]".to_owned(),
            driver_memory: "1g".to_owned(),
            conf: BTreeMap::new(),
            warehouse_dir: None,
            max_concurrent_jobs: 10,
            python_pool: 2,
            start_timeout: Duration::from_mins(2),
            keepalive_deadline: Duration::from_mins(10),
            host_lease: None,
            logs: LogLimits::default(),
        }
    }
}
