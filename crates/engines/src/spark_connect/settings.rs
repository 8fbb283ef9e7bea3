//! What the engine has to know about its surroundings.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use libra_core::memory::{self, MIB};
use libra_core::requirement::DEFAULT_HEAP;

use super::address::Address;
use crate::logs::LogLimits;
use crate::shim::Keepalive;

/// What a server needs beside its heap before it counts as bloated, in bytes: the Java machine itself, Arrow's
/// buffers, and Python workers.
const BESIDE_THE_HEAP: u64 = 1536 * MIB;

/// The settings of the in-cluster engine.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which server runs the queries.
    pub backend: Backend,
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
    /// How the server is looked after.
    pub care: Care,
    /// How the logs of Python jobs, and the server's own, are kept.
    pub logs: LogLimits,
}

/// Which server runs the queries.
#[derive(Clone, Debug)]
pub enum Backend {
    /// Apache Spark's, started by Libra.
    Spark,
    /// Sail's, started by Libra: no Java, another implementation of Spark SQL.
    Sail {
        /// The `sail` program; looked for when None.
        program: Option<PathBuf>,
        /// A query that does not obey an interrupt for so long is ended together with the server.
        kill_after: Duration,
    },
    /// One that is there already: Libra neither starts nor ends it.
    External {
        /// Where it is and how to be let in.
        address: Box<Address>,
        /// Certificates (PEM) that are trusted besides the system's.
        ca_file: Option<PathBuf>,
        /// Queries are taken for lost when it was not heard of for so long.
        lost_after: Duration,
    },
}

impl Backend {
    /// False where a Python program would have to be shown a secret that is not Libra's own.
    pub fn takes_programs(&self) -> bool {
        match self {
            Self::Spark | Self::Sail { .. } => true,
            Self::External { address, .. } => address.is_open(),
        }
    }
}

/// How a server is looked after.
#[derive(Clone, Copy, Debug)]
pub struct Care {
    /// How often it is asked whether it lives, and how long it may take to answer.
    pub probe_every: Duration,
    /// So many probes in a row without an answer condemn it.
    pub probe_misses: u32,
    /// A server of so much resident memory, its child processes included, is replaced; bytes. None: what
    /// [`Settings::recycle_at`] derives from the heap.
    pub recycle_at: Option<u64>,
    /// A server is replaced after so many queries; None = never for that.
    pub recycle_after_jobs: Option<u64>,
    /// How long new queries may have to wait for the running ones when a server is replaced; afterwards the old
    /// server goes on.
    pub recycle_wait: Duration,
}

impl Default for Care {
    fn default() -> Self {
        Self {
            probe_every: Duration::from_secs(10),
            probe_misses: 3,
            recycle_at: None,
            recycle_after_jobs: None,
            recycle_wait: Duration::from_secs(30),
        }
    }
}

impl Settings {
    /// The defaults (contract S1): a local master, 1 GiB of heap, ten jobs at once, ten minutes without Libra.
    pub fn new(
        shim_exe: impl Into<PathBuf>,
        spark_home: Option<PathBuf>,
        data_dir: impl Into<PathBuf>,
    ) -> Self {
        Self {
            backend: Backend::Spark,
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
            care: Care::default(),
            logs: LogLimits::default(),
        }
    }

    /// The resident memory at which a server is replaced, in bytes.
    pub(super) fn recycle_at(&self) -> u64 {
        self.care.recycle_at.unwrap_or_else(|| {
            memory::parse(&self.driver_memory, MIB).unwrap_or(DEFAULT_HEAP).saturating_add(BESIDE_THE_HEAP)
        })
    }
}
