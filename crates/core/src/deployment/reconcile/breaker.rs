//! A circuit breaker for one cluster: who does not answer is asked less, by one at a time.

use super::timing::Timing;
use crate::time::{MICROS_PER_SECOND, Timestamp};

/// Failures in a row after which a cluster is left alone.
pub const FAILURES_TO_OPEN: u32 = 3;
/// How long a probe is waited for before another one may go, in microseconds.
pub const PROBE_PATIENCE: i64 = 30 * MICROS_PER_SECOND;
/// The longest pause between two probes, in microseconds: so long may a cluster be back unnoticed.
pub const PAUSE_MOST: i64 = 30 * MICROS_PER_SECOND;

/// Whether calls go to the cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Circuit {
    /// They do.
    #[default]
    Closed,
    /// None does before this time.
    Open {
        /// When one may try.
        until: Timestamp,
    },
    /// One does, to find out. When it is lost, another one may go at this time.
    Probing {
        /// When.
        until: Timestamp,
    },
}

/// The breaker of one cluster. Kept in memory: a restart asks once more, which is right.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Breaker {
    circuit: Circuit,
    failures: u32,
}

impl Breaker {
    /// How it stands.
    pub fn circuit(&self) -> Circuit {
        self.circuit
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// True when the caller may ask now; then it has to say how that went.
    pub fn may_ask(&mut self, now: Timestamp) -> bool {
        match self.circuit {
            Circuit::Closed => true,
            Circuit::Open { until } | Circuit::Probing { until } if now < until => false,
            Circuit::Open { until: _ } | Circuit::Probing { until: _ } => {
                self.circuit = Circuit::Probing { until: now.plus_micros(PROBE_PATIENCE) };
                true
            }
        }
    }

    /// The cluster answered, whatever it said.
    pub fn answered(&mut self) {
        *self = Self::default();
    }

    /// The cluster did not answer. `jitter` is any random number.
    pub fn failed(&mut self, now: Timestamp, jitter: u64) {
        self.failures = self.failures.saturating_add(1);
        let over = self.failures.saturating_sub(FAILURES_TO_OPEN);
        if self.failures >= FAILURES_TO_OPEN {
            let timing = Timing { backoff_most: PAUSE_MOST, ..Timing::default() };
            let until = now.plus_micros(timing.backoff(over.saturating_add(1), jitter));
            // Of several who failed together, the last one must not shorten the pause.
            let until = match self.circuit {
                Circuit::Open { until: set } => until.max(set),
                Circuit::Closed | Circuit::Probing { .. } => until,
            };
            self.circuit = Circuit::Open { until };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: i64) -> Timestamp {
        Timestamp(seconds * MICROS_PER_SECOND)
    }

    #[test]
    fn three_failures_open_it_and_an_answer_closes_it() {
        let mut breaker = Breaker::default();
        for _ in 0..2 {
            breaker.failed(at(0), 0);
            assert!(breaker.may_ask(at(0)));
        }
        breaker.failed(at(0), 0);
        assert!(!breaker.may_ask(at(0)));
        assert!(breaker.may_ask(at(2)), "one may find out");
        assert!(!breaker.may_ask(at(2)), "and only one");
        breaker.answered();
        assert!(breaker.may_ask(at(2)));
        assert_eq!(breaker, Breaker::default());
    }

    #[test]
    fn a_lost_probe_keeps_nobody_waiting_for_ever() {
        let mut breaker = Breaker { circuit: Circuit::Open { until: at(5) }, failures: 3 };
        assert!(breaker.may_ask(at(5)));
        assert!(!breaker.may_ask(at(34)));
        assert!(breaker.may_ask(at(35)));
    }

    proptest::proptest! {
        #[test]
        fn it_is_never_closed_to_all_for_longer_than_its_pause(failures in 0u32..200, jitter: u64, now in 0i64..1_000_000) {
            let mut breaker = Breaker::default();
            for _ in 0..failures {
                breaker.failed(at(now), jitter);
            }
            let longest = PAUSE_MOST.max(PROBE_PATIENCE);
            proptest::prop_assert!(breaker.may_ask(at(now).plus_micros(longest)));
        }
    }
}
