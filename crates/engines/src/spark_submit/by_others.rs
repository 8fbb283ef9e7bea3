//! For an engine that runs the same spark-submit where it likes, without a shim: what to run, and what came of it.

use std::io;

use libra_core::attempt::{Links, Outcome};
use libra_core::spec::{JobSpec, Kind};
use libra_core::time::Timestamp;

use super::application::Application;
use super::{Settings, command, ending, history, properties};
use crate::attempt_dir::AttemptDir;
use crate::engine::Launch;
use crate::shim::{ExitRecord, LaunchFile};
use crate::spark_home::SparkHome;

/// Writes the files of an attempt, and answers the command and the environment of its driver.
///
/// # Errors
/// When the file system refuses.
pub(crate) fn prepare(
    settings: &Settings,
    spark: &SparkHome,
    launch: &Launch,
    dir: &AttemptDir,
) -> io::Result<LaunchFile> {
    command::prepare(settings, spark, launch, dir)
}

/// What a spark-submit has come to that ended by itself with this exit code.
pub(crate) fn outcome(kind: Kind, dir: &AttemptDir, code: i32, at: Timestamp) -> Outcome {
    let record = ExitRecord {
        code: Some(code),
        signal: None,
        spawn_error: None,
        at,
        stopped: false,
        abandoned: false,
    };
    ending::exit(kind, dir, &record).outcome
}

/// Addresses of an attempt, while it runs or after its end.
pub(crate) fn links(settings: &Settings, spec: &JobSpec, dir: &AttemptDir, over: bool) -> Links {
    let application = Application::read(dir);
    if over { history::links(settings, spec, application.id.as_deref()) } else { application.links() }
}

/// Removes what may hold secrets; nobody needs it after the end.
///
/// # Errors
/// When the file system refuses. A file that is gone is none.
pub(crate) fn forget(dir: &AttemptDir) -> io::Result<()> {
    match std::fs::remove_file(properties::file(dir)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
