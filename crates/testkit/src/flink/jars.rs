//! Jars for the cluster: the jobs in `crates/testkit/jobs`, compiled once for each state of their sources.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};

use super::home::Home;

/// The package of the jobs, as a path.
const PACKAGE: &str = "libra/jobs";
/// The class that runs when none is named.
const MAIN: &str = "libra.jobs.Counter";
/// What all files in a jar are dated, so that the same sources give the same jar.
const DATE: &str = "2026-01-01T00:00:00Z";

/// The jar of the jobs: `libra.jobs.Counter`, `Batch`, `BadMain` and `SlowMain`. Panics, saying what to install, where
/// there is no JDK or no Flink.
pub fn jobs_jar() -> PathBuf {
    static BUILDING: Mutex<()> = Mutex::new(());
    let _one = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    let sources = sources();
    let jar = place().join(key(&sources)).join("libra-jobs.jar");
    if !jar.is_file() {
        let work = work();
        let classes = work.path().join("classes");
        let mut javac = Command::new("javac");
        javac.args(["--release", "17", "-nowarn", "-d"]).arg(&classes);
        run(javac.arg("-cp").arg(Home::find().dist()).args(&sources));
        let made = work.path().join("made.jar");
        let mut pack = Command::new("jar");
        pack.args(["--create", "--date", DATE, "--main-class", MAIN, "--file"]).arg(&made);
        run(pack.arg("-C").arg(&classes).arg("."));
        put(&made, &jar);
    }
    jar
}

/// The same classes in another jar: a new version of the program, whose digest is another.
pub fn jobs_jar_version(version: &str) -> PathBuf {
    assert!(version.chars().all(|c| c.is_ascii_alphanumeric()), "it is part of a file's name");
    let first = jobs_jar();
    let jar = first.with_file_name(format!("libra-jobs-{version}.jar"));
    if !jar.is_file() {
        let work = work();
        let made = work.path().join("made.jar");
        fs::copy(&first, &made).unwrap();
        fs::write(work.path().join("VERSION"), version).unwrap();
        let mut pack = Command::new("jar");
        pack.args(["--update", "--date", DATE, "--file"]).arg(&made);
        run(pack.arg("-C").arg(work.path()).arg("VERSION"));
        put(&made, &jar);
    }
    jar
}

/// A text file that is called `.jar`. Flink takes it, until it is run.
pub fn text_jar() -> PathBuf {
    let jar = place().join("text.jar");
    let work = work();
    let made = work.path().join("made.jar");
    fs::write(&made, "This is no jar.\n").unwrap();
    put(&made, &jar);
    jar
}

/// The sha256 of a file, in hexadecimal digits.
pub fn digest(file: &Path) -> String {
    hex(&Sha256::digest(fs::read(file).unwrap()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// Beside the test program: `target/<profile>/flink-jobs`.
fn place() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    let beside = program.parent().unwrap();
    let profile = if beside.ends_with("deps") { beside.parent().unwrap() } else { beside };
    let place = profile.join("flink-jobs");
    fs::create_dir_all(&place).unwrap();
    place
}

fn sources() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("jobs").join(PACKAGE);
    let mut sources: Vec<_> = dir.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    sources.retain(|path| path.extension().is_some_and(|extension| extension == "java"));
    sources.sort();
    sources
}

/// What tells one state of the sources from another.
fn key(sources: &[PathBuf]) -> String {
    let mut sum = Sha256::new();
    for source in sources {
        sum.update(source.file_name().unwrap().as_encoded_bytes());
        sum.update(Sha256::digest(fs::read(source).unwrap()));
    }
    hex(&sum.finalize())[..16].to_owned()
}

/// In the same place, so that what is made there can be renamed.
fn work() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("work.").tempdir_in(place()).unwrap()
}

/// Whole or not at all: other test processes look for it too.
fn put(made: &Path, jar: &Path) {
    fs::create_dir_all(jar.parent().unwrap()).unwrap();
    fs::rename(made, jar).unwrap();
}

fn run(command: &mut Command) {
    let program = command.get_program().to_owned();
    let program = Path::new(&program).display();
    let out = command.stdin(Stdio::null()).output();
    let out = out.unwrap_or_else(|e| panic!("{program} can't be run: {e}; {}", crate::INSTALL));
    let complained = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{program} failed with {}:\n{complained}", out.status);
}
