//! The clock and the dice of one process: minutes off, and moved while it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use libra_core::id::Entropy;
use libra_core::time::Timestamp;

use super::database::true_time;
use super::dice::Dice;
use super::record::Record;
use crate::clock::Clock;

/// The clock of a replica's machine, whichever process asks. Clones are the same.
#[derive(Clone)]
pub(super) struct Skewed {
    record: Record,
    dice: Dice,
    /// Seconds that it is ahead.
    ahead: Arc<AtomicI64>,
}

impl Skewed {
    pub(super) fn new(record: Record, dice: Dice, ahead: i64) -> Self {
        Self { record, dice, ahead: Arc::new(AtomicI64::new(ahead)) }
    }

    /// Somebody sets it, or a time server does.
    pub(super) fn set(&self, ahead: i64) {
        self.ahead.store(ahead, Ordering::Relaxed);
    }
}

impl Clock for Skewed {
    fn now(&self) -> Timestamp {
        true_time(&self.record).plus_seconds(self.ahead.load(Ordering::Relaxed))
    }

    fn entropy(&self) -> Entropy {
        self.dice.entropy()
    }

    fn jitter(&self) -> u64 {
        self.dice.next()
    }
}
