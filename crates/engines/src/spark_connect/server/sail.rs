//! How a Sail server is started: one process without Java.
//!
//! Sail asks its clients for no secret: whoever has an account on this machine can use it. It keeps its tables in
//! the memory of a session, reports no progress, and has loops that no interrupt ends.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use libra_core::failure::{ErrorClass, Failure};

use super::super::settings::Settings;
use super::command::{INHERITED, keepalive};
use crate::attempt_dir::AttemptDir;
use crate::shim::LaunchFile;

/// How long the server may take to end after SIGTERM, in milliseconds: a loop that never looks up hears none.
const GRACE_MS: u64 = 1_000;
/// Where the set-up installs Sail, below the data directory of the user.
const OWN_COPY: &str = "libra/sail/bin/sail";

/// The `sail` program: the `configured` one, else the one on `PATH`, else the copy that the set-up installs.
///
/// # Errors
/// When there is none, in words that say what to do.
pub fn find(configured: Option<&Path>) -> Result<PathBuf, Failure> {
    find_with(configured, &|name| std::env::var_os(name).filter(|value| !value.is_empty()))
        .map_err(|text| Failure::new(ErrorClass::Infrastructure, "sail_missing", text))
}

fn find_with(
    configured: Option<&Path>,
    variable: &dyn Fn(&str) -> Option<OsString>,
) -> Result<PathBuf, String> {
    if let Some(program) = configured {
        return if program.is_file() {
            Ok(program.to_owned())
        } else {
            Err(format!(
                "Sail was not found: libra.execution.modes.in-cluster.sail-program is `{}`, and there is no such file.",
                program.display()
            ))
        };
    }
    let path = variable("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|dir| dir.join("sail")).find(|program| program.is_file());
    let home = || Some(PathBuf::from(variable("HOME")?).join(".local/share"));
    let own = || variable("XDG_DATA_HOME").map(PathBuf::from).or_else(home).map(|dir| dir.join(OWN_COPY));
    on_path.or_else(|| own().filter(|program| program.is_file())).ok_or_else(|| {
        "Sail was not found on this machine. Run `scripts/setup.sh sail`, which installs it, or name the program in \
         libra.execution.modes.in-cluster.sail-program."
            .to_owned()
    })
}

/// What the shim has to start.
pub(super) fn launch_file(settings: &Settings, program: &Path, dir: &AttemptDir, server: &str) -> LaunchFile {
    let words = ["spark", "server", "--ip", "127.0.0.1", "--port", "0"].map(str::to_owned);
    let inherited = INHERITED.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
    let mut env: BTreeMap<String, String> = inherited.collect();
    // The line that tells the port is at this level.
    env.insert("RUST_LOG".to_owned(), "warn,sail_cli=info".to_owned());
    LaunchFile {
        argv: std::iter::once(program.display().to_string()).chain(words).collect(),
        env,
        cwd: dir.work_dir(),
        token: server.to_owned(),
        grace_ms: GRACE_MS,
        keepalive: Some(keepalive(settings, dir)),
        logs: settings.logs,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_must_be_there() {
        let nothing = |_: &str| None;
        assert!(find_with(Some(Path::new("/no/sail")), &nothing).unwrap_err().contains("sail-program"));
        assert!(find_with(None, &nothing).unwrap_err().contains("setup.sh sail"));
        let here = std::env::current_exe().unwrap();
        assert_eq!(find_with(Some(&here), &nothing).unwrap(), here);
    }
}
