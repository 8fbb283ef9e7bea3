//! What the process of an attempt finds in the attempt's directory, and what it is started with.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use libra_core::id::Token;
use libra_core::spec::{SessionMode, Source};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::super::client::Operation;
use super::super::query::{session_of, session_settings};
use super::super::server::Live;
use super::super::settings::Settings;
use crate::attempt_dir::{AttemptDir, MAX_RESULT_BYTES};
use crate::engine::Launch;
use crate::logs::LogLimits;
use crate::shim::{LaunchFile, TOKEN_VARIABLE, records};
use crate::spark_home::SparkHome;
use crate::spark_submit::command::{DEFAULT_PATH, INHERITED, SCRIPTS};

/// The script of the process.
const DRIVER: &str = "libra_connect.py";
/// How long the process may take to end after SIGTERM, in milliseconds: less than the 5 s that a cancellation waits for.
const GRACE_MS: u64 = 3_000;
/// Variables that count only when a process starts: a warm one has started already.
const READ_AT_START: [&str; 11] =
    ["ARROW_", "DYLD_", "GLIBC_", "GRPC_", "LC_", "LD_", "MALLOC_", "MKL_", "OMP_", "OPENBLAS_", "PYTHON"];

/// Where gRPC finds the authorities that it trusts.
const ROOTS: &str = "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH";

/// Where and what the attempt is on the server (`python.json`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Plan {
    /// The server that it is attached to.
    pub(super) server: Token,
    /// Whose session.
    pub(super) user: String,
    /// Its session.
    pub(super) session: Uuid,
    /// True when the session is this attempt's alone.
    pub(super) isolated: bool,
    /// What every operation of it is tagged with.
    pub(super) tag: Uuid,
    /// `sys.argv`, but for the first.
    pub(super) args: Vec<String>,
    /// Spark settings of the session.
    pub(super) settings: BTreeMap<String, String>,
    /// The most bytes of rows that are kept.
    pub(super) result_limit: u64,
}

impl Plan {
    /// The plan of an attempt on the server `live`.
    pub(super) fn new(launch: &Launch, live: &Live) -> Self {
        Self {
            server: live.id,
            user: launch.user.clone(),
            session: session_of(launch),
            isolated: launch.spec.session_mode == SessionMode::Isolated,
            tag: launch.token.uuid(),
            args: launch.spec.args.clone(),
            settings: session_settings(&launch.spec.spark_config, launch.spec.queue.as_deref()),
            result_limit: MAX_RESULT_BYTES,
        }
    }

    /// The plan in an attempt's directory; None before there is one.
    ///
    /// # Errors
    /// When the file is there but can't be read.
    pub(super) fn read(dir: &AttemptDir) -> io::Result<Option<Self>> {
        records::read(&file(dir))
    }

    /// Everything of the attempt's in its session.
    pub(super) fn operations(&self) -> Operation {
        Operation {
            user: self.user.clone(),
            session: self.session,
            id: self.tag,
            tag: self.tag,
            server_session: Arc::default(),
        }
    }
}

fn file(dir: &AttemptDir) -> PathBuf {
    dir.path().join("python.json")
}

/// Writes what the attempt's process reads; answers what a cold one is started with.
pub(super) fn prepare(
    spark: &SparkHome,
    launch: &Launch,
    live: &Live,
    settings: &Settings,
) -> io::Result<LaunchFile> {
    let dir = AttemptDir::new(&launch.dir);
    if let Source::Code(code) = &launch.spec.source {
        records::write_private(&dir.path().join("main.py"), code.as_bytes())?;
    }
    let plan = Plan::new(launch, live);
    records::write_private(&file(&dir), &serde_json::to_vec(&plan)?)?;
    let launch_file = LaunchFile {
        argv: command(spark, dir.path(), Some(dir.path())),
        env: job_environment(spark, launch, live, &plan),
        cwd: dir.work_dir(),
        token: launch.token.to_string(),
        grace_ms: GRACE_MS,
        keepalive: settings.host_lease.clone(),
        logs: settings.logs,
    };
    records::write_private(&dir.launch_file(), &serde_json::to_vec(&launch_file)?)?;
    Ok(launch_file)
}

/// Writes the scripts beside which they look for each other.
pub(super) fn write_scripts(dir: &Path) -> io::Result<()> {
    let own: [(&str, &[u8]); 2] =
        [(DRIVER, include_bytes!("driver.py")), ("libra_rows.py", include_bytes!("rows.py"))];
    for (name, script) in own.into_iter().chain(SCRIPTS) {
        records::write_private(&dir.join(name), script)?;
    }
    Ok(())
}

/// What a cradle in `dir` is started with.
pub(super) fn cradle(spark: &SparkHome, dir: &AttemptDir, token: &str) -> LaunchFile {
    LaunchFile {
        argv: command(spark, dir.path(), None),
        env: environment(spark),
        cwd: dir.path().to_owned(),
        token: token.to_owned(),
        grace_ms: GRACE_MS,
        keepalive: None,
        logs: LogLimits::default(),
    }
}

/// True when a warm process could not honour the environment.
pub(super) fn needs_a_new_process(env: &BTreeMap<String, String>) -> bool {
    env.keys().any(|name| READ_AT_START.iter().any(|start| name.starts_with(start)))
}

fn command(spark: &SparkHome, scripts: &Path, attempt: Option<&Path>) -> Vec<String> {
    let python = spark.python.as_ref().map(|python| python.to_string_lossy().into_owned());
    let named = || std::env::var("PYSPARK_PYTHON").ok().filter(|name| !name.is_empty());
    let python = python.or_else(named).unwrap_or_else(|| "python3".to_owned());
    let paths = std::iter::once(scripts.join(DRIVER)).chain(attempt.map(Path::to_owned));
    std::iter::once(python).chain(paths.map(|path| path.to_string_lossy().into_owned())).collect()
}

/// The environment that every Python job has.
fn environment(spark: &SparkHome) -> BTreeMap<String, String> {
    let mut env: BTreeMap<String, String> = INHERITED
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok().filter(|v| !v.is_empty())?)))
        .collect();
    env.entry("PATH".to_owned()).or_insert_with(|| DEFAULT_PATH.to_owned());
    env.insert("SPARK_HOME".to_owned(), spark.home.to_string_lossy().into_owned());
    // No bytecode beside scripts that are there for one process.
    env.insert("PYTHONDONTWRITEBYTECODE".to_owned(), "1".to_owned());
    if let Some(python) = &spark.python {
        env.insert("PYSPARK_PYTHON".to_owned(), python.to_string_lossy().into_owned());
    } else {
        // A Spark that was unpacked brings its Python modules along, uninstalled.
        let modules = spark.home.join("python");
        let archives = std::fs::read_dir(modules.join("lib")).into_iter().flatten().flatten();
        let py4j = archives.map(|e| e.path()).filter(|p| p.to_string_lossy().contains("/py4j-"));
        let paths = std::iter::once(modules).chain(py4j);
        let paths: Vec<_> = paths.map(|path| path.to_string_lossy().into_owned()).collect();
        env.insert("PYTHONPATH".to_owned(), paths.join(":"));
    }
    env
}

fn job_environment(spark: &SparkHome, launch: &Launch, live: &Live, plan: &Plan) -> BTreeMap<String, String> {
    let mut env = environment(spark);
    env.extend(launch.spec.env.clone());
    let door = &live.door;
    let user = percent_encoded(door.user.as_ref().unwrap_or(&plan.user));
    env.extend(
        [
            (TOKEN_VARIABLE, launch.token.to_string()),
            ("LIBRA_JOB_ID", launch.job_id.to_string()),
            ("LIBRA_ATTEMPT", launch.attempt.to_string()),
            ("LIBRA_ATTEMPT_DIR", launch.dir.to_string_lossy().into_owned()),
            // By these a program that builds its own session gets the one that it has.
            ("SPARK_REMOTE", format!("{};user_id={user};session_id={}", door.remote, plan.session)),
            ("SPARK_CONNECT_MODE_ENABLED", "1".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    if door.is_here {
        // A proxy leads elsewhere.
        env.entry("no_grpc_proxy".to_owned()).or_insert_with(|| "localhost,127.0.0.1".to_owned());
    }
    let shown = door.secret.as_ref().map(|secret| ("SPARK_CONNECT_AUTHENTICATE_TOKEN", secret.clone()));
    let roots = door.ca_file.as_ref().map(|file| (ROOTS, file.to_string_lossy().into_owned()));
    env.extend(shown.into_iter().chain(roots).map(|(name, value)| (name.to_owned(), value)));
    env
}

/// A value within the address of a server.
fn percent_encoded(text: &str) -> String {
    use std::fmt::Write;
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String can't fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_can_add_nothing_to_the_address() {
        assert_eq!(percent_encoded("ann;session_id=x"), "ann%3Bsession_id%3Dx");
        assert_eq!(percent_encoded("jürgen@a.b"), "j%C3%BCrgen%40a.b");
    }

    #[test]
    fn what_counts_at_the_start_needs_a_new_process() {
        let env = |name: &str| BTreeMap::from([(name.to_owned(), String::new())]);
        assert!(needs_a_new_process(&env("LD_PRELOAD")) && needs_a_new_process(&env("PYTHONHASHSEED")));
        assert!(!needs_a_new_process(&env("AWS_REGION")) && !needs_a_new_process(&env("TZ")));
    }
}
