//! Slurm's programs, and as whom they are run.

use std::env;
use std::path::PathBuf;
use std::process::Command;

/// Where Debian has the daemons, which are on the search path of root alone.
const DAEMONS: [&str; 3] = ["/usr/sbin", "/sbin", "/usr/local/sbin"];

/// A search path with the daemons in it.
pub(super) fn path() -> String {
    let path = env::var("PATH").unwrap_or_default();
    format!("{path}:{}", DAEMONS.join(":"))
}

/// A program. Panics, saying what to install, where there is none.
pub(super) fn find(name: &str) -> PathBuf {
    let path = path();
    let found = env::split_paths(&path).map(|dir| dir.join(name)).find(|program| program.is_file());
    found.unwrap_or_else(|| {
        panic!("this test needs Slurm, and there is no {name} on PATH; {}", crate::INSTALL)
    })
}

pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Who runs the tests.
pub(super) fn user() -> String {
    let out = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

/// A program that refuses root.
pub(super) fn as_nobody(name: &str) -> Command {
    let program = find(name);
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]).arg(program);
    command
}

/// Runs a program to its end. Panics, with what it complained of, when it fails.
pub(super) fn run(command: &mut Command) -> String {
    let out =
        command.output().unwrap_or_else(|e| panic!("{command:?} can't be run: {e}; {}", crate::INSTALL));
    let (said, complained) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{command:?} failed with {}:\n{said}{complained}", out.status);
    said.trim().to_owned()
}
