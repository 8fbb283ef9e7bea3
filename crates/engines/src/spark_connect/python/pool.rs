//! The processes that wait, warm, for Python jobs.
//!
//! There is none before the first job, unless an earlier Libra had some and Spark's server is still there, and none after
//! a long time without any. They end with this Libra: a process of
//! which nobody is told an attempt sees the end of its standard input.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::super::server::start;
use super::super::settings::Settings;
use super::cradle::Cradle;
use crate::attempt_dir::AttemptDir;
use crate::shim::{self, Status};

/// A job that finds the pool empty while a process is getting warm waits for that, at most this long; a process of its
/// own would be no faster.
const WAIT_FOR_WARM: Duration = Duration::from_secs(10);
/// While another is ready, the job that has just begun comes first.
const REFILL_PAUSE: Duration = Duration::from_millis(250);
/// The pool is emptied after so long without a job.
const IDLE: Duration = Duration::from_mins(30);
/// The next try after a process did not get warm.
const TRY_AGAIN: Duration = Duration::from_mins(1);
/// The processes of a dead Libra get this long to be gone.
const CLEAR_PATIENCE: Duration = Duration::from_secs(5);
/// A directory without an owner is left alone for this long: its cradle is about to begin.
const YOUNG: Duration = Duration::from_mins(5);

pub(super) struct Pool {
    settings: Settings,
    ready: Mutex<VecDeque<Cradle>>,
    /// A job has taken one, or asks for one.
    wanted: Notify,
    /// One has become warm.
    warmed: Notify,
    /// One is getting warm.
    warming: AtomicBool,
    /// A job waits for it.
    awaited: AtomicBool,
    begun: AtomicBool,
}

impl Pool {
    /// An empty pool.
    pub(super) fn new(settings: Settings) -> Arc<Self> {
        Arc::new(Self {
            settings,
            ready: Mutex::new(VecDeque::new()),
            wanted: Notify::new(),
            warmed: Notify::new(),
            warming: AtomicBool::new(false),
            awaited: AtomicBool::new(false),
            begun: AtomicBool::new(false),
        })
    }

    /// A warm process, if there is one now or in a moment.
    pub(super) async fn take(self: &Arc<Self>) -> Option<Cradle> {
        if self.settings.python_pool == 0 {
            return None;
        }
        self.begin();
        let taken = match self.pop() {
            Some(cradle) => Some(cradle),
            None if self.warming.load(Ordering::Relaxed) && !self.awaited.swap(true, Ordering::Relaxed) => {
                let cradle = timeout(WAIT_FOR_WARM, self.next()).await;
                self.awaited.store(false, Ordering::Relaxed);
                cradle.ok().flatten()
            }
            None => None,
        };
        self.wanted.notify_one();
        taken
    }

    /// Begins where there was a pool before.
    pub(super) fn get_ready(self: &Arc<Self>) {
        if self.settings.python_pool > 0 && self.places().exists() {
            self.begin();
        }
    }

    fn begin(self: &Arc<Self>) {
        if !self.begun.swap(true, Ordering::Relaxed) {
            tokio::spawn(keep_full(Arc::clone(self)));
        }
    }

    async fn next(&self) -> Option<Cradle> {
        loop {
            let warmed = self.warmed.notified();
            if let Some(cradle) = self.pop() {
                return Some(cradle);
            }
            if !self.warming.load(Ordering::Relaxed) {
                return None;
            }
            warmed.await;
        }
    }

    fn ready(&self) -> MutexGuard<'_, VecDeque<Cradle>> {
        // Nothing panics while it is held; even then the value would be whole.
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pop(&self) -> Option<Cradle> {
        let mut ready = self.ready();
        loop {
            let cradle = ready.pop_front()?;
            if cradle.is_alive() {
                return Some(cradle);
            }
        }
    }

    /// True when no process waits.
    pub(super) fn is_empty(&self) -> bool {
        self.ready().is_empty()
    }

    fn places(&self) -> PathBuf {
        self.settings.data_dir.join("python")
    }

    fn lacks_some(&self) -> bool {
        let mut ready = self.ready();
        ready.retain(Cradle::is_alive);
        ready.len() < self.settings.python_pool
    }

    /// Adds one; false when it did not get warm.
    async fn warm_one(&self) -> bool {
        let Ok(spark) = start::find_spark(&self.settings) else { return false };
        self.warming.store(true, Ordering::Relaxed);
        let started = Cradle::start(&self.settings.shim_exe, &self.places(), &spark).await;
        let warm = match started {
            Ok(cradle) => {
                self.ready().push_back(cradle);
                true
            }
            Err(error) => {
                tracing::warn!(%error, "a Python process for in-cluster jobs did not get warm; jobs start their own");
                false
            }
        };
        self.warming.store(false, Ordering::Relaxed);
        self.warmed.notify_waiters();
        warm
    }

    /// Ends what a dead Libra has left, and removes the directories.
    async fn clear(&self) {
        let entries = std::fs::read_dir(self.places()).into_iter().flatten().flatten();
        for entry in entries {
            let dir = AttemptDir::new(entry.path());
            let Some(token) = entry.file_name().to_str().map(str::to_owned) else { continue };
            let old = || {
                let modified = entry.metadata().and_then(|m| m.modified());
                modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > YOUNG))
            };
            let dead = match shim::status(&dir) {
                Ok(Status::ShimLost { .. } | Status::Revoked | Status::Exited { .. }) => true,
                Ok(Status::Absent) | Err(_) => old(),
                Ok(Status::Owned { .. }) => false,
            };
            if dead && matches!(shim::kill_everything(&token, CLEAR_PATIENCE).await, Ok(true)) {
                let _ = std::fs::remove_dir_all(dir.path());
            }
        }
    }
}

/// Starts processes one at a time, so that running jobs keep the cores.
async fn keep_full(pool: Arc<Pool>) {
    pool.clear().await;
    loop {
        while pool.lacks_some() {
            if !pool.ready().is_empty() {
                sleep(REFILL_PAUSE).await;
            }
            if !pool.warm_one().await {
                sleep(TRY_AGAIN).await;
            }
        }
        if timeout(IDLE, pool.wanted.notified()).await.is_err() {
            pool.ready().clear();
            pool.wanted.notified().await;
        }
    }
}
