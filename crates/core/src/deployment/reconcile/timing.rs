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
/// The longest time between two looks while something is in flight, in microseconds.
pub const POLL_EVERY: i64 = MICROS_PER_SECOND / 2;
/// The shortest, in microseconds.
pub const POLL_FIRST: i64 = MICROS_PER_SECOND / 20;
/// What has been in flight for a time is looked at again after this part of it: its end is seen with a delay of so much
/// at most.
const POLL_PART: i64 = 10;
/// A deployment of which nothing else is known is looked at this often, in microseconds.
pub const USUAL: i64 = 5 * MICROS_PER_SECOND;
/// The pages of a job that rests are read again after this long at the latest, in microseconds.
pub const PAGES_MOST: i64 = 60 * MICROS_PER_SECOND;
/// Jobs that rest and whose pages are read in a second, on one cluster.
pub(super) const PAGES_A_SECOND: i64 = 50;
/// The same where checkpoints come often: no more than this, or looking at jobs is all that Libra and the JobManager do.
pub(super) const PAGES_A_SECOND_MOST: i64 = 200;
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
    /// The wait before the next look at what has been in flight for `going_on`; all in microseconds. What is quick is
    /// seen at once, and what takes long is not asked about more than need be.
    pub fn poll_after(&self, going_on: i64) -> i64 {
        let most = self.poll_every.max(1);
        (going_on / POLL_PART).clamp(POLL_FIRST.min(most), most)
    }

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
    fn what_is_quick_is_seen_at_once_and_what_takes_long_is_asked_about_less() {
        let timing = Timing::default();
        let waits =
            [-1, 0, 400_000, 1_000_000, 3_000_000, 60_000_000].map(|of| timing.poll_after(of) / 1_000);
        assert_eq!(waits, [50, 50, 50, 100, 300, 500], "milliseconds");
        assert_eq!(Timing { poll_every: 10, ..timing }.poll_after(0), 10);
    }

    #[test]
    fn waits_double() {
        let timing = Timing::default();
        let waits: Vec<i64> = (1..=9).map(|n| timing.backoff(n, 0) / MICROS_PER_SECOND).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 150]);
    }
}
