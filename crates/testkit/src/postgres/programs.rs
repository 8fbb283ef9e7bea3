//! PostgreSQL's programs, and the account under which its server runs.

use std::env;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The oldest version that Libra supports.
const LEAST_VERSION: u32 = 14;
/// Where Debian puts each version.
const DEBIAN: &str = "/usr/lib/postgresql";

/// Where the programs are, and as whom the server has to run.
#[derive(Debug)]
pub(super) struct Programs {
    bin: PathBuf,
    /// PostgreSQL refuses to run as root; the user and group ids it gets instead. None when we are not root.
    account: Option<(u32, u32)>,
}

impl Programs {
    /// The newest PostgreSQL of this machine.
    pub(super) fn find() -> Self {
        let debian = fs::read_dir(DEBIAN).into_iter().flatten().flatten().map(|e| e.path().join("bin"));
        let path = env::var_os("PATH").unwrap_or_default();
        let newest = debian
            .chain(env::split_paths(&path))
            .filter_map(|bin| Some((version(&bin)?, bin)))
            .max_by_key(|(version, _)| *version);
        let Some((version, bin)) = newest else {
            panic!("this test needs PostgreSQL, and there is none in {DEBIAN} or on PATH; {}", crate::INSTALL)
        };
        assert!(
            version >= LEAST_VERSION,
            "this test needs PostgreSQL {LEAST_VERSION} or newer, but {} is version {version}",
            bin.display()
        );
        Self { bin, account: rustix::process::geteuid().is_root().then(account) }
    }

    /// A program that is run as whoever runs the tests.
    pub(super) fn client(&self, name: &str) -> Command {
        let mut command = Command::new(self.bin.join(name));
        without_defaults(&mut command);
        command
    }

    /// A program that refuses root.
    pub(super) fn server(&self, name: &str) -> Command {
        let program = self.bin.join(name);
        let mut command = match self.account {
            None => Command::new(program),
            Some((user, group)) => {
                let mut command = Command::new("setpriv");
                command.args([format!("--reuid={user}"), format!("--regid={group}")]);
                command.arg("--clear-groups").arg(program);
                command
            }
        };
        without_defaults(&mut command);
        // Ctrl-C in the terminal is for the tests; they (or the watchdog) end the server. The test's own
        // directory may be closed to the account.
        command.process_group(0).current_dir("/");
        command
    }

    /// Hands a file or directory to the account.
    pub(super) fn give(&self, path: &Path) {
        if let Some((user, group)) = self.account {
            std::os::unix::fs::chown(path, Some(user), Some(group)).unwrap();
        }
    }
}

/// Settings of whoever runs the tests are not for them.
fn without_defaults(command: &mut Command) {
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(name);
        }
    }
    // Nor are ~/.pgpass and ~/.postgresql.
    command.env("LC_ALL", "C").env("HOME", "/nonexistent");
}

/// The major version of a directory that holds a whole PostgreSQL.
fn version(bin: &Path) -> Option<u32> {
    let whole = ["initdb", "postgres", "psql"].iter().all(|name| bin.join(name).is_file());
    let out = whole.then(|| Command::new(bin.join("postgres")).arg("--version").output().ok())??;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let digits = text.strip_prefix("postgres (PostgreSQL) ")?;
    digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// `postgres` comes with Debian's package; `nobody` does as well, being nobody's.
fn account() -> (u32, u32) {
    let id = |which: &str, name: &str| -> Option<u32> {
        let out = Command::new("id").args([which, name]).output().ok()?;
        String::from_utf8_lossy(&out.stdout).trim().parse().ok()
    };
    ["postgres", "nobody"]
        .iter()
        .find_map(|name| Some((id("-u", name)?, id("-g", name)?)))
        .expect("root needs the user postgres or nobody to run PostgreSQL as")
}

/// Runs a program to its end; answers what it wrote. Panics, with what it complained of, when it fails.
pub(super) fn run(command: &mut Command) -> String {
    let program = command.get_program().to_owned();
    let program = Path::new(&program).display();
    let out = command.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("{program} can't be run: {e}"));
    let (said, complained) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{program} failed with {}:\n{said}{complained}", out.status);
    said.into_owned()
}
