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

    /// The store's clock said this, at some moment since `asked` by this clock. A clock that several replicas are to
    /// agree on goes by it.
    fn agree(&self, _asked: Timestamp, _store: Timestamp) {}
}

/// Differences below this are left alone, in microseconds.
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

    fn agree(&self, asked: Timestamp, store: Timestamp) {
        // Between question and answer the store may have looked at its clock at any moment: on a busy machine that is
        // a while, and no difference. The answer is never earlier than the question, nor later than now.
        let apart = store.0.saturating_sub(store.0.clamp(asked.0, self.now().0.max(asked.0)));
        if apart.abs() > TOLERATED {
            tracing::warn!(
                milliseconds = apart / 1_000,
                "this machine's clock is not the store's: Libra goes by the store's"
            );
            self.ahead.fetch_add(apart, Ordering::Relaxed);
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
        clock.agree(own, own.plus_seconds(300));
        let ahead = clock.now().seconds_since(System.now());
        assert!((299.0..301.0).contains(&ahead), "{ahead}");
        clock.agree(clock.now(), System.now());
        let ahead = clock.now().seconds_since(System.now());
        assert!((-1.0..1.0).contains(&ahead), "and back: {ahead}");
    }

    #[test]
    fn an_answer_that_takes_its_time_is_no_difference() {
        let clock = Agreed::new(System);
        let asked = clock.now().plus_seconds(-20);
        clock.agree(asked, asked.plus_seconds(1));
        clock.agree(clock.now(), clock.now().plus_micros(50_000));
        assert_eq!(clock.ahead.load(Ordering::Relaxed), 0);
    }
}
