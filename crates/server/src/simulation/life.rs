//! One process of Libra: it lives, stands still, or is dead. Everything that it does outside of its own memory
//! passes here first, so that a crash or a SIGSTOP can come between any two steps.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use super::record::Record;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pulse {
    Alive,
    Frozen,
    Dead,
}

/// A process.
pub(super) struct Life {
    /// Replica and number of the process: `r1.3`.
    pub(super) name: String,
    pulse: Mutex<Pulse>,
    bell: Notify,
    /// True while the network between it and the store is cut.
    cut_off: AtomicBool,
    record: Record,
}

impl Life {
    pub(super) fn begin(name: String, record: Record) -> Self {
        record.say(&name, format_args!("starts"));
        Self {
            name,
            pulse: Mutex::new(Pulse::Alive),
            bell: Notify::new(),
            cut_off: AtomicBool::new(false),
            record,
        }
    }

    /// Waits while the process stands still; never returns once it is dead.
    pub(super) async fn pass(&self) {
        self.until(Pulse::Alive).await;
    }

    /// Returns once it is dead.
    pub(super) async fn death(&self) {
        self.until(Pulse::Dead).await;
    }

    async fn until(&self, wanted: Pulse) {
        loop {
            let rung = self.bell.notified();
            if self.pulse() == wanted {
                return;
            }
            rung.await;
        }
    }

    fn pulse(&self) -> Pulse {
        *self.pulse.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True when it was in one of `from`.
    fn turn(&self, from: &[Pulse], to: Pulse) -> bool {
        let mut pulse = self.pulse.lock().unwrap_or_else(PoisonError::into_inner);
        let turns = from.contains(&pulse);
        if turns {
            *pulse = to;
            self.bell.notify_waiters();
        }
        turns
    }

    pub(super) fn kill(&self, why: &str) {
        if self.turn(&[Pulse::Alive, Pulse::Frozen], Pulse::Dead) {
            self.record.say(&self.name, format_args!("dies: {why}"));
        }
    }

    pub(super) fn freeze(&self) {
        if self.turn(&[Pulse::Alive], Pulse::Frozen) {
            self.record.say(&self.name, format_args!("stands still"));
        }
    }

    pub(super) fn thaw(&self) {
        if self.turn(&[Pulse::Frozen], Pulse::Alive) {
            self.record.say(&self.name, format_args!("goes on"));
        }
    }

    pub(super) fn is_dead(&self) -> bool {
        self.pulse() == Pulse::Dead
    }

    pub(super) fn is_alive(&self) -> bool {
        self.pulse() == Pulse::Alive
    }

    pub(super) fn cut_off(&self, cut: bool) {
        self.cut_off.store(cut, Ordering::Relaxed);
        self.record.say(&self.name, format_args!("is cut off from the store: {cut}"));
    }

    pub(super) fn is_cut_off(&self) -> bool {
        self.cut_off.load(Ordering::Relaxed)
    }
}
