//! Spark jobs on Slurm: a standalone Spark that is started in the job's own allocation and ends with it.
//!
//! The command, its files and what its end means are those of spark-submit; only the master is found where it runs.

mod script;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use libra_core::allocation::spark::{Layout, MASTER, Misfit};
use libra_core::attempt::{Exit, Links, Outcome};
use libra_core::failure::{ErrorClass, Failure};
use libra_core::spec::{JobSpec, Kind};

use crate::attempt_dir::AttemptDir;
use crate::engine::Launch;
use crate::shim::TOKEN_VARIABLE;
use crate::spark_home::SparkHome;
use crate::spark_submit::{Settings, by_others, validation};

/// The exit code of spark-submit and the number of the run, written by the script.
const DRIVER_EXIT: &str = "driver-exit";
/// Why master or workers did not start, written by the script.
const CLUSTER_ERROR: &str = "spark-cluster-error";
/// What of them was lost while the driver ran, written by the script.
const CLUSTER_LOST: &str = "spark-cluster-lost";
/// What master and workers share, written by the script.
const DAEMONS: &str = "spark-daemons.conf";
/// The first version whose spark-submit reads the site's settings beside the file with the job's.
const FIRST_MAJOR: u32 = 4;
/// Variables of this machine that say nothing of another one.
const OF_THIS_MACHINE: [&str; 2] = ["TMPDIR", "SPARK_LOCAL_DIRS"];
/// How settings begin that the allocation has to have of its own.
const OWN_SETTINGS: [(&str, &str); 2] = [
    ("spark.master", "has no effect in mode slurm: the job has a master of its own in its allocation"),
    ("spark.authenticate", "is Libra's own in mode slurm: each job has a secret of its own"),
];

/// Which kinds have a Spark of their own.
pub(super) fn is_spark(kind: Kind) -> bool {
    match kind {
        Kind::Sql | Kind::Python | Kind::Scala | Kind::Jar => true,
        Kind::Script => false,
    }
}

/// What is sent of an attempt.
#[derive(Debug)]
pub(super) struct Prepared {
    /// The batch script.
    pub(super) script: String,
    /// All of its environment.
    pub(super) environment: BTreeMap<String, String>,
    /// What is asked for.
    pub(super) layout: Layout,
}

/// Everything that only this engine knows to be wrong with a specification: JSON pointer and reason.
pub(super) fn violations(spec: &JobSpec, shares_files: bool) -> Vec<(String, String)> {
    let mut wrong = validation::violations(spec);
    for (own, reason) in OWN_SETTINGS {
        let of = |key: &&String| **key == own || key.starts_with(&format!("{own}."));
        wrong.extend(spec.spark_config.keys().filter(of).map(|key| {
            (format!("/sparkConfig/{}", key.replace('~', "~0").replace('/', "~1")), reason.to_owned())
        }));
    }
    if !shares_files {
        let reason = "its program and its result are in Libra's files, which the nodes of this cluster don't see \
                      (shares-files: false)";
        wrong.push(("/executionMode".to_owned(), reason.to_owned()));
    }
    wrong
}

/// The settings of a job: the configured ones, and its own over them.
fn settings_of(settings: &Settings, spec: &JobSpec) -> BTreeMap<String, String> {
    let mut all = settings.default_conf.clone();
    all.extend(spec.spark_config.clone());
    all
}

/// Writes what the job finds, and answers what is sent. `home` is where the cluster's nodes have Spark, where that is not
/// where this machine has it.
///
/// # Errors
/// What its owner is told.
pub(super) fn prepare(
    settings: &Settings,
    home: Option<&Path>,
    launch: &Launch,
    dir: &AttemptDir,
) -> Result<Prepared, Failure> {
    let config = settings_of(settings, &launch.spec);
    let asked = launch.spec.slurm.clone().unwrap_or_default();
    let layout = Layout::of(&config, &asked).map_err(|Misfit { pointer, reason }| {
        let message = format!("it does not fit into what it asks of Slurm: {pointer}: {reason}");
        Failure::new(ErrorClass::User, "slurm_refused", message)
    })?;
    let spark = spark_on_nodes(settings, home)?;
    let mut launch = launch.clone();
    let own = &mut launch.spec.spark_config;
    for (key, value) in layout.settings() {
        if !config.contains_key(key) {
            own.insert(key.to_owned(), value);
        }
    }
    own.insert("spark.master".to_owned(), MASTER.to_owned());
    let mut file = by_others::prepare(settings, &spark, &launch, dir).map_err(|e| {
        let message = "The attempt's files could not be written. Check the free space and the permissions of Libra's \
                       data directory.";
        Failure::new(ErrorClass::Infrastructure, "attempt_dir_unwritable", message)
            .with_detail(e.to_string())
    })?;
    for name in OF_THIS_MACHINE {
        if !launch.spec.env.contains_key(name) {
            file.env.remove(name);
        }
    }
    // By it drivers are found that Libra itself has started on this machine.
    file.env.remove(TOKEN_VARIABLE);
    Ok(Prepared { script: script::script(&file.argv, &layout), environment: file.env, layout })
}

/// The Spark of a cluster's nodes.
fn spark_on_nodes(settings: &Settings, home: Option<&Path>) -> Result<SparkHome, Failure> {
    let missing = |code: &str, message: String| Failure::new(ErrorClass::Infrastructure, code, message);
    let spark = match home {
        // It need not be there on this machine; whoever has another version says what it refuses.
        Some(home) => SparkHome::find(Some(home))
            .map_or_else(|_| elsewhere(home), |spark| SparkHome { java: None, ..spark }),
        None => SparkHome::find(settings.spark_home.as_deref()).map_err(|e| missing("spark_missing", e.0))?,
    };
    let major = spark.version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_some_and(|major| major >= FIRST_MAJOR) {
        return Ok(spark);
    }
    let message = format!(
        "Spark {} can't be started in an allocation of Slurm's; install Spark {FIRST_MAJOR} or newer, and name it in \
         spark-home of the cluster.",
        spark.version
    );
    Err(missing("spark_too_old", message))
}

fn elsewhere(home: &Path) -> SparkHome {
    SparkHome { home: PathBuf::from(home), python: None, java: None, version: format!("{FIRST_MAJOR}.0.0") }
}

/// The words that the script leaves of master and workers, the code of the failure, and what has happened.
const OF_THE_CLUSTER: [(&str, &str, &str); 2] = [
    (CLUSTER_ERROR, "spark_not_started", "Spark did not start in its allocation"),
    (CLUSTER_LOST, "cluster_lost", "Spark was lost in its allocation while the job ran"),
];

/// What the script has noted of the driver's end.
#[derive(Clone, Copy, Debug)]
struct Noted {
    /// The exit code of spark-submit.
    code: i32,
    /// How often Slurm had put the job back by then.
    restarts: u32,
}

impl Noted {
    fn read(dir: &AttemptDir) -> Option<Self> {
        let text = std::fs::read_to_string(dir.path().join(DRIVER_EXIT)).ok()?;
        // Without its end it was cut off.
        let (code, restarts) = text.strip_suffix('\n')?.split_once(' ')?;
        Some(Self { code: code.parse().ok()?, restarts: restarts.parse().ok()? })
    }

    /// True where it is of the run that has ended, of which Slurm says how often it was put back before.
    fn is_of(self, spec: &JobSpec, restarts: Option<u32>) -> bool {
        match restarts {
            Some(restarts) => self.restarts == restarts,
            None => !spec.slurm.as_ref().and_then(|asked| asked.requeue).unwrap_or(false),
        }
    }
}

/// The end of a job: `exit` is what Slurm says, and `restarts` how often it has put the job back.
///
/// A driver that has ended well has done the job, whatever happens in the clean-up, or has happened to an executor that
/// was replaced. Of one that has not, Slurm may know better why.
pub(super) fn ended(spec: &JobSpec, dir: &AttemptDir, exit: Exit, restarts: Option<u32>) -> Exit {
    /// Slurm knows no more of it than that.
    const BY_EXIT_CODE: &str = "exit_code";
    let succeeded = matches!(exit.outcome, Outcome::Succeeded);
    let by_script = match &exit.outcome {
        Outcome::Succeeded => true,
        Outcome::Failed { failure } => failure.code == BY_EXIT_CODE && exit.signal.is_none(),
        Outcome::Stopped => return exit,
    };
    let by_code = |code: i32| by_others::outcome(spec.kind, dir, code, exit.at);
    let noted = Noted::read(dir).filter(|noted| noted.is_of(spec, restarts));
    if let Some(Noted { code, .. }) = noted {
        let outcome = by_code(code);
        return if by_script {
            Exit { outcome, exit_code: Some(code), ..exit }
        } else if matches!(outcome, Outcome::Succeeded) {
            Exit { outcome, exit_code: Some(code), signal: None, ..exit }
        } else {
            exit
        };
    }
    if !by_script {
        return exit;
    }
    if !succeeded {
        for (file, code, what) in OF_THE_CLUSTER {
            let Ok(words) = std::fs::read_to_string(dir.path().join(file)) else { continue };
            let failure = Failure::new(ErrorClass::Infrastructure, code, format!("{what}: {}", words.trim()));
            return Exit { outcome: Outcome::Failed { failure }, ..exit };
        }
    }
    // The script exits as the driver does; a network's file system may show its files late.
    let code = if succeeded { Some(0) } else { exit.exit_code.filter(|code| *code != 0) };
    match code {
        Some(code) => Exit { outcome: by_code(code), exit_code: Some(code), ..exit },
        None => exit,
    }
}

/// Addresses of an attempt's driver. Whether it is over is for Slurm to say: who looks for the script's note while the job
/// runs is told by a network's file system for a minute after that there is none.
pub(super) fn links(settings: &Settings, spec: &JobSpec, dir: &AttemptDir, over: bool) -> Links {
    by_others::links(settings, spec, dir, over)
}

/// Removes what may hold secrets, after the end.
pub(super) fn forget(dir: &AttemptDir) {
    let daemons = dir.path().join(DAEMONS);
    let removed = by_others::forget(dir).and(match std::fs::remove_file(daemons) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    });
    if let Err(error) = removed {
        tracing::warn!(%error, path = %dir.path().display(), "a file could not be removed");
    }
}

#[cfg(test)]
mod tests;
