//! Wake-ups between replicas. They carry no state: every one may be lost, come twice or come late, and nothing
//! but time is lost by it.

pub mod postgres;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use libra_core::id::JobId;
use tokio::sync::mpsc;

pub use wire::{Message, decode, encode};

/// Signals that wait to be sent; beyond, all of them become one [`Signal::Everything`].
const WAITING: usize = 4_096;

/// What somebody may want to look at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Signal {
    /// There may be room for a job.
    Room,
    /// A job waits.
    Queue,
    /// The log has rows that have no number yet.
    Logged,
    /// Rows of the log were numbered.
    Fed,
    /// An attempt waits to be claimed on this machine.
    Claim(String),
    /// A job changed.
    Changed(JobId),
    /// Signals were lost: look at everything.
    Everything,
}

/// Takes signals for the other replicas; never waits.
#[derive(Clone, Debug)]
pub struct Sink {
    signals: mpsc::Sender<Signal>,
    overflown: Arc<AtomicBool>,
    /// False while there is nobody else: signals are dropped at once.
    others: Arc<AtomicBool>,
}

/// The other end of a [`Sink`], for the task that sends them.
#[derive(Debug)]
pub struct Outgoing {
    signals: mpsc::Receiver<Signal>,
    overflown: Arc<AtomicBool>,
}

/// A sink and its other end.
pub fn channel() -> (Sink, Outgoing) {
    let (sender, receiver) = mpsc::channel(WAITING);
    let overflown = Arc::new(AtomicBool::new(false));
    let sink =
        Sink { signals: sender, overflown: Arc::clone(&overflown), others: Arc::new(AtomicBool::new(true)) };
    (sink, Outgoing { signals: receiver, overflown })
}

impl Sink {
    /// Hands a signal over; when too many wait, the others are told to look at everything.
    pub fn send(&self, signal: Signal) {
        if self.others.load(Ordering::Relaxed) && self.signals.try_send(signal).is_err() {
            self.overflown.store(true, Ordering::Relaxed);
        }
    }

    /// Whether there is anybody else to be told.
    pub fn others(&self, there: bool) {
        self.others.store(there, Ordering::Relaxed);
    }
}

impl Outgoing {
    /// Waits for signals; answers those that wait, each once. None when every sink is gone.
    pub async fn next(&mut self) -> Option<Vec<Signal>> {
        let mut batch = Vec::new();
        if self.signals.recv_many(&mut batch, WAITING).await == 0 {
            return None;
        }
        if self.overflown.swap(false, Ordering::Relaxed) {
            return Some(vec![Signal::Everything]);
        }
        batch.sort_unstable();
        batch.dedup();
        Some(batch)
    }

    /// What has come since without waiting is added to `batch`.
    pub fn drain(&mut self, batch: &mut Vec<Signal>) {
        while let Ok(signal) = self.signals.try_recv() {
            batch.push(signal);
        }
        batch.sort_unstable();
        batch.dedup();
    }
}
