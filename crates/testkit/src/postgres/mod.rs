//! A private PostgreSQL in a temporary directory, on a free port of the loopback.

mod programs;
mod setup;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use programs::{Programs, run};
pub use setup::Setup;

use crate::{processes, wait};

/// One that does not accept connections after this long does not start at all. Recovery included.
const START_LIMIT: Duration = Duration::from_mins(1);
/// PostgreSQL itself kills after 5 s what does not end at once.
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// The superuser, and the database that every server has.
const USER: &str = "postgres";

/// A running (or stopped) PostgreSQL with durable commits. Ends when it is dropped, and at the latest a second
/// after the test process.
#[derive(Debug)]
pub struct Postgres {
    programs: Programs,
    dir: PathBuf,
    port: u16,
    password: Option<String>,
    tls: bool,
    child: Option<Child>,
    databases: AtomicU32,
}

impl Postgres {
    /// A server of its own with the defaults. Panics, saying what to install, where there is no PostgreSQL.
    pub fn start() -> Self {
        Setup::new().start()
    }

    /// The one server that the tests of a process share, started by the first of them. A database for each test
    /// keeps them apart: [`Self::create_database`].
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// The URL of the database `postgres`.
    pub fn url(&self) -> String {
        self.url_of(USER)
    }

    /// The URL of a database. Says nothing of TLS: add `?sslmode=…`.
    pub fn url_of(&self, database: &str) -> String {
        let password = self.password.as_ref().map(|p| format!(":{p}")).unwrap_or_default();
        format!("postgres://{USER}{password}@127.0.0.1:{}/{database}", self.port)
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A new, empty database; answers its URL.
    pub fn create_database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        // template1 can't be copied while somebody is connected to it; nobody can be to template0.
        self.query(&self.url(), &format!("CREATE DATABASE {name} TEMPLATE template0"));
        self.url_of(&name)
    }

    /// Runs SQL with `psql` in the database at `url`. Answers the rows, one a line, with `|` between columns.
    pub fn query(&self, url: &str, sql: &str) -> String {
        let mut psql = self.programs.client("psql");
        psql.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", sql]);
        run(&mut psql).trim_end().to_owned()
    }

    /// The certificate of the authority that signed the server's, PEM; for a server with TLS.
    pub fn authority(&self) -> PathBuf {
        assert!(self.tls, "this PostgreSQL was started without TLS");
        self.dir.join("authority.crt")
    }

    /// The process that listens; None while stopped.
    pub fn pid(&self) -> Option<i32> {
        self.child.as_ref().map(|child| i32::try_from(child.id()).expect("a pid is small"))
    }

    /// What it wrote, in all its lives.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// Ends it like a power cut: no connection is heard out, and the next start recovers.
    pub fn stop(&mut self) {
        let Some(pid) = self.pid() else { return };
        let mut child = self.child.take().expect("it has a pid");
        processes::quit(pid);
        let ended =
            wait::block_until("PostgreSQL ends", STOP_LIMIT, || !matches!(child.try_wait(), Ok(None)));
        if ended.is_err() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it again after [`Self::stop`], on the same port and data.
    pub fn start_again(&mut self) {
        assert!(self.child.is_none(), "it still runs");
        if let Err(why) = self.launch() {
            panic!("{why}");
        }
    }

    /// [`Self::stop`], then [`Self::start_again`].
    pub fn restart(&mut self) {
        self.stop();
        self.start_again();
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Starts the server and waits until it accepts connections.
    fn launch(&mut self) -> Result<(), String> {
        let log = File::options().create(true).append(true).open(self.dir.join("log")).unwrap();
        let port = format!("port={}", self.port);
        let mut command = self.programs.server("postgres");
        command.arg("-D").arg(self.data()).args(["-c", &port]);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let mut child = command.spawn().expect("PostgreSQL can be run");
        let mut ended = None;
        let waited = wait::block_until("PostgreSQL accepts connections", START_LIMIT, || {
            ended = child.try_wait().unwrap();
            ended.is_some() || accepts(&self.data(), child.id())
        });
        let why = match (ended, waited) {
            (None, Ok(())) => {
                self.child = Some(child);
                return Ok(());
            }
            (Some(status), _) => format!("PostgreSQL ended at once with {status}"),
            (None, Err(why)) => why,
        };
        let _ = child.kill();
        let _ = child.wait();
        Err(format!("{why}:\n{}", self.log()))
    }
}

/// As `pg_ctl -w` tells it: the eighth line of `postmaster.pid`. The first must be ours, not one that a killed
/// server left.
fn accepts(data: &Path, pid: u32) -> bool {
    let text = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    let mut lines = text.lines().map(str::trim);
    lines.next() == Some(&pid.to_string()) && lines.nth(6) == Some("ready")
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- PostgreSQL's log:\n{}", wait::last_lines(&self.log(), 20));
        }
        self.stop();
        let _ = fs::remove_dir_all(&self.dir);
    }
}
