//! Windows, waits and limits, and the backoff.

use serde::{Deserialize, Serialize};

use crate::time::MICROS_PER_SECOND;

/// How long a request stays without an answer before it is sent again with the same id, in microseconds.
pub const RESEND_AFTER: i64 = 15 * MICROS_PER_SECOND;
/// How long a `main()` may take, in microseconds: so long may a run begin whose reply was lost.
pub const MAIN_BUDGET: i64 = 180 * MICROS_PER_SECOND;
/// How long tasks may go on after their JobManager is gone, in microseconds: Flink's default `heartbeat.timeout`.
pub const ZOMBIE_WINDOW: i64 = 50 * MICROS_PER_SECOND;
/// How long a job that is to be stopped may take to get well enough for a savepoint, in microseconds.
pub const AILING_GRACE: i64 = 30 * MICROS_PER_SECOND;
/// How long a savepoint on demand is waited for, in microseconds.
pub const SAVEPOINT_WITHIN: i64 = 900 * MICROS_PER_SECOND;
/// How long a job may take to change its number of subtasks, in microseconds: Flink waits for half a minute between two
/// changes, and for slots.
pub const RESCALE_WITHIN: i64 = 120 * MICROS_PER_SECOND;
/// How long a batch job that has had its time may take to stop before it is cancelled, in microseconds.
pub const END_GRACE: i64 = crate::deployment::schedule::GRACE;
/// The time between two looks while something is in flight, in microseconds.
pub const POLL_EVERY: i64 = MICROS_PER_SECOND / 2;
/// The first wait after a failure, in microseconds.
pub const BACKOFF_FIRST: i64 = 2 * MICROS_PER_SECOND;
/// The longest wait after a failure, in microseconds.
pub const BACKOFF_MOST: i64 = 300 * MICROS_PER_SECOND;
/// How often the same thing is tried before it is given up.
pub const MAX_TRIES: u32 = 6;
/// How often a run is sent with the same id.
pub const MAX_SENDS: u32 = 4;
/// How often a savepoint may fail before what needs it is given up.
pub const MAX_SAVEPOINT_TRIES: u32 = 3;

/// Windows, waits and limits of a deployment; times in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// See [`RESEND_AFTER`].
    pub resend_after: i64,
    /// See [`MAIN_BUDGET`].
    pub main_budget: i64,
    /// See [`ZOMBIE_WINDOW`]; the cluster's own `heartbeat.timeout` where it is known.
    pub zombie_window: i64,
    /// See [`AILING_GRACE`].
    pub ailing_grace: i64,
    /// See [`SAVEPOINT_WITHIN`].
    pub savepoint_within: i64,
    /// See [`RESCALE_WITHIN`].
    pub rescale_within: i64,
    /// See [`END_GRACE`].
    pub end_grace: i64,
    /// See [`POLL_EVERY`].
    pub poll_every: i64,
    /// See [`BACKOFF_FIRST`].
    pub backoff_first: i64,
    /// See [`BACKOFF_MOST`].
    pub backoff_most: i64,
    /// See [`MAX_TRIES`].
    pub max_tries: u32,
    /// See [`MAX_SENDS`].
    pub max_sends: u32,
    /// See [`MAX_SAVEPOINT_TRIES`].
    pub max_savepoint_tries: u32,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            resend_after: RESEND_AFTER,
            main_budget: MAIN_BUDGET,
            zombie_window: ZOMBIE_WINDOW,
            ailing_grace: AILING_GRACE,
            savepoint_within: SAVEPOINT_WITHIN,
            rescale_within: RESCALE_WITHIN,
            end_grace: END_GRACE,
            poll_every: POLL_EVERY,
            backoff_first: BACKOFF_FIRST,
            backoff_most: BACKOFF_MOST,
            max_tries: MAX_TRIES,
            max_sends: MAX_SENDS,
            max_savepoint_tries: MAX_SAVEPOINT_TRIES,
        }
    }
}

impl Timing {
    /// The wait before try number `tries` + 1, in microseconds: it doubles, and its upper half is random, so that what
    /// failed together does not come back together. `jitter` is any random number.
    pub fn backoff(&self, tries: u32, jitter: u64) -> i64 {
        let doublings = tries.saturating_sub(1).min(32);
        let ceiling = self.backoff_first.max(0).saturating_mul(1 << doublings).min(self.backoff_most).max(0);
        let half = ceiling / 2;
        let span = u64::try_from(half).unwrap_or(0).saturating_add(1);
        half.saturating_add(i64::try_from(jitter % span).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn the_wait_grows_up_to_its_limit(tries: u32, jitter: u64, first: i64, most: i64) {
            let timing = Timing { backoff_first: first, backoff_most: most, ..Timing::default() };
            let wait = timing.backoff(tries, jitter);
            proptest::prop_assert!(wait >= 0 && wait <= most.max(0));
        }
    }

    #[test]
    fn waits_double() {
        let timing = Timing::default();
        let waits: Vec<i64> = (1..=9).map(|n| timing.backoff(n, 0) / MICROS_PER_SECOND).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 150]);
    }
}
