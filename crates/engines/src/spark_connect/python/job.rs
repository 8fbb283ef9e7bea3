//! What this process knows of a Python attempt besides its files: who waits, and what wakes them.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use libra_core::attempt::{Exit, Progress};
use tokio::sync::{Notify, OwnedSemaphorePermit, watch};

use super::super::record;
use super::super::server::Live;
use super::files::Plan;
use crate::attempt_dir::AttemptDir;
use crate::engine::Launch;
use crate::progress::{self, Tally};
use crate::shim::{Spawned, records};

/// One Python attempt in this process.
pub(super) struct Job {
    pub(super) launch: Launch,
    pub(super) dir: AttemptDir,
    /// True while it waits for the server, or is being handed over: nobody owns it and somebody will.
    starting: AtomicBool,
    pub(super) changed: Notify,
    cancelled: watch::Sender<bool>,
    /// Another process looks after it: nothing of it is written here any more.
    left: AtomicBool,
    /// Tries in a row to end its work on the server that brought nothing.
    pub(super) unsettled: AtomicU32,
    held: Mutex<Held>,
}

/// What goes along with the attempt while it runs.
#[derive(Default)]
struct Held {
    live: Option<Arc<Live>>,
    slot: Option<OwnedSemaphorePermit>,
    shim: Option<watch::Receiver<bool>>,
    progress: Option<Progress>,
}

impl Job {
    /// The job of an attempt; `starting` when this process is about to start it.
    pub(super) fn new(launch: &Launch, starting: bool) -> Self {
        Self {
            dir: AttemptDir::new(&launch.dir),
            launch: launch.clone(),
            starting: AtomicBool::new(starting),
            changed: Notify::new(),
            cancelled: watch::Sender::new(false),
            left: AtomicBool::new(false),
            unsettled: AtomicU32::new(0),
            held: Mutex::new(Held::default()),
        }
    }

    /// Where it is on the server; None before it is anywhere, and when the file was torn by the machine's death, with
    /// which the server died too.
    pub(super) fn plan(&self) -> io::Result<Option<Plan>> {
        self.unless_torn(Plan::read(&self.dir))
    }

    /// How far it is, by what its driver has counted; None before that.
    pub(super) fn progress(&self) -> Option<Progress> {
        // Nothing depends on it: a file that can't be read tells nothing.
        let tally: Option<Tally> = records::read(&self.dir.path().join("tally.json")).unwrap_or_default();
        self.held(|held| {
            let now = tally.and_then(|tally| progress::advance(held.progress.as_ref(), tally));
            if now.is_some() {
                held.progress = now;
            }
            held.progress.clone()
        })
    }

    /// How it ended, where nobody ran it.
    pub(super) fn end(&self) -> io::Result<Option<Exit>> {
        self.unless_torn(record::read_end(&self.dir))
    }

    fn unless_torn<T>(&self, read: io::Result<Option<T>>) -> io::Result<Option<T>> {
        match read {
            Err(_) if !self.launch.same_boot => Ok(None),
            read => read,
        }
    }

    fn held<T>(&self, with: impl FnOnce(&mut Held) -> T) -> T {
        // Nothing panics while it is held; even then the value would be whole.
        with(&mut self.held.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// True while this process is about to start it.
    pub(super) fn is_starting(&self) -> bool {
        self.starting.load(Ordering::Acquire)
    }

    /// What its files say is the truth from now on.
    pub(super) fn started(&self) {
        self.starting.store(false, Ordering::Release);
        self.changed.notify_one();
    }

    /// Asks for the end.
    pub(super) fn cancel(&self) {
        self.cancelled.send_replace(true);
    }

    /// Leaves it to another process; one that has not begun is not begun here any more.
    pub(super) fn leave(&self) {
        self.left.store(true, Ordering::Release);
        self.cancel();
        if let Some(live) = self.live().filter(|live| !live.is_dead()) {
            live.leave();
        }
    }

    /// True once it was left to another process.
    pub(super) fn is_left(&self) -> bool {
        self.left.load(Ordering::Acquire)
    }

    /// True once the end was asked for, or it was left.
    pub(super) fn is_cancelled(&self) -> bool {
        *self.cancelled.borrow()
    }

    /// Returns once the end was asked for, or it was left.
    pub(super) async fn cancelled(&self) {
        // The sender is part of this very value and can't be gone.
        let _ = self.cancelled.subscribe().wait_for(|cancelled| *cancelled).await;
    }

    /// The server that it is attached to, where that is known.
    pub(super) fn live(&self) -> Option<Arc<Live>> {
        self.held(|held| held.live.clone())
    }

    /// Says which server it is on. Once: two looks may find out at the same time.
    pub(super) fn attach(&self, live: Arc<Live>, slot: Option<OwnedSemaphorePermit>) {
        self.held(|held| {
            if held.live.is_none() {
                live.enter();
                held.live = Some(live);
                held.slot = slot;
            }
        });
    }

    /// Its shim is a child of this process.
    pub(super) fn watch(&self, shim: Spawned) {
        self.held(|held| held.shim = Some(shim.ended));
    }

    /// The end of its shim, where that is a child of this process.
    pub(super) fn shim(&self) -> Option<watch::Receiver<bool>> {
        self.held(|held| held.shim.clone())
    }
}
