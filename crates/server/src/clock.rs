//! The clock and the dice: the only places where the present moment and randomness are read. A trait, so that a
//! simulation can bring its own.

use std::sync::atomic::{AtomicI64, Ordering};

use libra_core::id::Entropy;
use libra_core::time::Timestamp;

/// Tells the time and throws dice.
pub(crate) trait Clock: Send + Sync {
    /// The present moment.
    fn now(&self) -> Timestamp;

    /// Random bytes for an identifier.
    fn entropy(&self) -> Entropy;

    /// A random number for a backoff.
    fn jitter(&self) -> u64;

    /// The store's clock says this just now. A clock that several replicas are to agree on goes by it.
    fn agree(&self, _store: Timestamp) {}
}

/// Differences below this are left alone, in microseconds: they are the time that asking takes.
const TOLERATED: i64 = 200_000;

/// A clock that goes by the store's: replicas whose own clocks are minutes apart agree about deadlines.
pub(crate) struct Agreed<C> {
    own: C,
    /// What is added to the own clock, in microseconds.
    ahead: AtomicI64,
}

impl<C> Agreed<C> {
    pub(crate) fn new(own: C) -> Self {
        Self { own, ahead: AtomicI64::new(0) }
    }
}

impl<C: Clock> Clock for Agreed<C> {
    fn now(&self) -> Timestamp {
        self.own.now().plus_micros(self.ahead.load(Ordering::Relaxed))
    }

    fn entropy(&self) -> Entropy {
        self.own.entropy()
    }

    fn jitter(&self) -> u64 {
        self.own.jitter()
    }

    fn agree(&self, store: Timestamp) {
        let apart = store.0.saturating_sub(self.now().0);
        if apart.abs() > TOLERATED {
            tracing::warn!(
                milliseconds = apart / 1_000,
                "this machine's clock is not the store's: Libra goes by the store's"
            );
            self.ahead.store(store.0.saturating_sub(self.own.now().0), Ordering::Relaxed);
        }
    }
}

/// The machine's clock and the operating system's randomness.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct System;

impl Clock for System {
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    fn entropy(&self) -> Entropy {
        rand::random()
    }

    fn jitter(&self) -> u64 {
        rand::random()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_go_by_the_stores_clock() {
        let clock = Agreed::new(System);
        let own = System.now();
        clock.agree(own.plus_seconds(300));
        assert!(clock.now() >= own.plus_seconds(300) && clock.now() < own.plus_seconds(360));
        clock.agree(System.now());
        assert!(clock.now() < own.plus_seconds(60), "and back");
        let before = clock.ahead.load(Ordering::Relaxed);
        clock.agree(clock.now().plus_micros(50_000));
        assert_eq!(clock.ahead.load(Ordering::Relaxed), before, "what asking takes is no difference");
    }
}
