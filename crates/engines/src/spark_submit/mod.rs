//! Jobs in a `spark-submit` process of their own, under a shim (contract S2, design §6).
//!
//! Invariant: everything that is said about an attempt is read from its directory and from `/proc`; what is kept
//! in memory only wakes sleepers earlier. So a restarted Libra knows as much as the one before it.

mod application;
#[cfg(feature = "slurm")]
pub(crate) mod by_others;
pub(crate) mod command;
mod ending;
mod engine;
mod follow;
mod history;
mod properties;
mod rest;
mod standalone;
pub(crate) mod validation;
mod waking;
pub(crate) mod words;

pub use history::History;
pub use standalone::capacity;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use libra_core::failure::{ErrorClass, Failure};

use crate::logs::LogLimits;
use crate::shim::Keepalive;
use crate::spark_home::{SparkHome, SparkMissing};

/// What the engine has to be told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The `libra` binary, which is also the shim.
    pub shim_exe: PathBuf,
    /// Where Spark is, when that is configured.
    pub spark_home: Option<PathBuf>,
    /// The master of a job that names none.
    pub default_master: String,
    /// Spark settings of every job; a job's own settings win.
    pub default_conf: BTreeMap<String, String>,
    /// How long a driver may take to end after SIGTERM before it is killed.
    pub stop_grace: Duration,
    /// Where the database is shared: drivers end themselves when no replica of this host has touched this file for
    /// so long, before another host gives them up (design §6). None: a driver may outlive Libra for any time.
    pub host_lease: Option<Keepalive>,
    /// How a driver's log is kept.
    pub logs: LogLimits,
    /// What is left of a driver's UI.
    pub history: History,
}

/// The default of [`Settings::stop_grace`]: less than the 5 s that a cancellation waits for (contract L6).
pub const DEFAULT_STOP_GRACE: Duration = Duration::from_secs(3);

/// The spark-submit engine.
#[derive(Debug)]
pub struct SparkSubmit {
    settings: Settings,
    spark: Mutex<Option<SparkHome>>,
    waking: waking::Waking,
    following: follow::Following,
}

impl SparkSubmit {
    /// An engine with these settings. Nothing is looked up yet: Spark may be installed later.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            spark: Mutex::new(None),
            waking: waking::Waking::default(),
            following: follow::Following::default(),
        }
    }

    /// The Spark that jobs run on, looked up again until it is found and whenever it has gone.
    ///
    /// # Errors
    /// When there is none, in words that say what to do.
    pub fn spark(&self) -> Result<SparkHome, SparkMissing> {
        let mut known = self.spark.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(spark) =
            known.as_ref().filter(|s| s.java.is_some() && s.home.join("bin/spark-submit").exists())
        {
            return Ok(spark.clone());
        }
        let found = SparkHome::find(self.settings.spark_home.as_deref())?;
        *known = Some(found.clone());
        Ok(found)
    }

    /// [`SparkSubmit::spark`] for a launch: Java has to be there too.
    fn usable_spark(&self) -> Result<SparkHome, Failure> {
        let missing = |code, message: String| Failure::new(ErrorClass::Infrastructure, code, message);
        let spark = self.spark().map_err(|e| missing("spark_missing", e.0))?;
        if spark.java.is_none() {
            let hint = "Java was not found on this machine. Install a Java 17 runtime, or set JAVA_HOME.";
            return Err(missing("java_missing", hint.to_owned()));
        }
        Ok(spark)
    }
}
