//! One `libra serve` process, its network to PostgreSQL, and everything that can be done to it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use libra_testkit::{Setup, processes};
use tokio::time::sleep;

use crate::proxy::Proxy;

/// A replica that has not ended by then does not end at SIGTERM: requests under way get 10 s, workers some more.
const STOP_LIMIT: Duration = Duration::from_secs(45);
/// A replica that does not listen after this long does not start at all, while its database can be reached.
const START_LIMIT: Duration = Duration::from_mins(1);
const LOOK: Duration = Duration::from_millis(50);

/// One replica.
#[derive(Debug)]
pub(crate) struct Replica {
    /// `libra.replica.id`.
    pub(crate) id: String,
    /// Where it answers, the same after every start.
    pub(crate) url: String,
    pub(crate) proxy: Proxy,
    setup: Setup,
    listen: String,
    dir: PathBuf,
    log: PathBuf,
    child: Option<Child>,
    /// It was told to run: when it has ended all the same, it has ended by itself.
    wanted: bool,
}

impl Replica {
    /// A replica that works in `dir` and writes its log to `log`; not started yet.
    pub(crate) fn new(id: &str, setup: Setup, proxy: Proxy, dir: &Path, log: PathBuf) -> io::Result<Self> {
        let dir = dir.join(id);
        fs::create_dir_all(&dir)?;
        let listen = format!("127.0.0.1:{}", libra_testkit::ports::free());
        let url = format!("http://{listen}");
        Ok(Self { id: id.to_owned(), url, proxy, setup, listen, dir, log, child: None, wanted: false })
    }

    /// Starts it, without waiting for it to listen.
    pub(crate) fn launch(&mut self) {
        assert!(self.child.is_none(), "it still runs");
        let _ = fs::remove_file(self.address());
        let log = File::options().create(true).append(true).open(&self.log).unwrap();
        let mut command = self.setup.command();
        command.args(["serve", "--listen", &self.listen, "--data-dir"]).arg(self.dir.join("data"));
        command.current_dir(&self.dir).stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(command.spawn().unwrap());
        self.wanted = true;
    }

    fn address(&self) -> PathBuf {
        self.dir.join("data/address")
    }

    /// It has started and listens.
    pub(crate) fn listens(&self) -> bool {
        self.child.is_some() && self.address().exists()
    }

    /// Waits until it listens.
    pub(crate) async fn listening(&mut self) -> Result<(), String> {
        let begun = Instant::now();
        while !self.listens() {
            if let Some(status) = self.ended_by_itself() {
                return Err(format!("{} ended at its start with {status}", self.id));
            }
            if begun.elapsed() > START_LIMIT {
                return Err(format!("{} does not listen after {START_LIMIT:?}", self.id));
            }
            sleep(LOOK).await;
        }
        Ok(())
    }

    /// Its process.
    pub(crate) fn pid(&self) -> Option<i32> {
        self.child.as_ref().map(|child| i32::try_from(child.id()).unwrap())
    }

    /// Its exit status, when it has ended although nobody ended it. Told once.
    pub(crate) fn ended_by_itself(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().unwrap()?;
        self.child = None;
        self.wanted.then_some(status)
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.wanted = false;
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// SIGTERM, and waits for its end; kills it when it does not come.
    pub(crate) async fn terminate(&mut self) -> Result<(), String> {
        self.wanted = false;
        let Some(mut child) = self.child.take() else { return Ok(()) };
        processes::terminate(i32::try_from(child.id()).unwrap());
        let begun = Instant::now();
        loop {
            match child.try_wait().unwrap() {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(format!("{} ended at SIGTERM with {status}", self.id)),
                None if begun.elapsed() > STOP_LIMIT => {
                    child.kill().unwrap();
                    child.wait().unwrap();
                    return Err(format!("{} does not end {STOP_LIMIT:?} after SIGTERM", self.id));
                }
                None => sleep(LOOK).await,
            }
        }
    }

    /// SIGSTOP: it stays, and does nothing.
    pub(crate) fn freeze(&self) {
        self.pid().into_iter().for_each(processes::stop);
    }

    /// SIGCONT.
    pub(crate) fn thaw(&self) {
        self.pid().into_iter().for_each(processes::go_on);
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.kill();
    }
}
