//! What a run leaves behind: a line for each event, and the promises that were broken.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

/// A promise of Libra's (contract L2–L7, R4, A5, A10; design §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Promise {
    /// An acknowledged job is there.
    NoJobLost,
    /// One idempotency key, one job.
    NoJobTwice,
    /// At most one driver for each attempt, ever, and for each job, at any moment.
    OneDriver,
    /// No driver starts for an attempt that is over.
    NoLateDriver,
    /// A driver's success is its job's, and it is never run again.
    SuccessStays,
    /// Reservations stay within limits.
    WithinLimits,
    /// What `core::sanity` says of every job.
    Sane,
    /// Revisions follow one another, each with its rows of the log.
    EveryStepLogged,
    /// Whoever asked to be told has a message for every state.
    EveryStateTold,
    /// The feed has no gaps and keeps each job's order.
    FeedWhole,
    /// No write under an epoch of before takes effect.
    Fenced,
    /// An epoch belongs to one life of one process.
    EpochsUnique,
    /// Whose attempt is taken over can't write about it any more.
    FencedBeforeTakeover,
    /// What was seen of an attempt's progress and usage never falls.
    NothingFalls,
    /// Everything ends, or says what it waits for.
    Ends,
    /// Nothing is alive or reserved once all has ended.
    NothingLeft,
    /// No part of Libra panics or ends by itself.
    NoPanic,
}

/// A broken promise.
#[derive(Clone, Debug)]
pub(super) struct Violation {
    pub(super) promise: Promise,
    pub(super) what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.promise, self.what)
    }
}

/// The trace and the violations of a run. Clones write into the same.
#[derive(Clone)]
pub(super) struct Record(Arc<Inner>);

struct Inner {
    begun: Instant,
    lines: Mutex<String>,
    broken: Mutex<Vec<Violation>>,
    bell: Notify,
}

impl Record {
    /// Begins now; needs a runtime.
    pub(super) fn begin() -> Self {
        Self(Arc::new(Inner {
            begun: Instant::now(),
            lines: Mutex::default(),
            broken: Mutex::default(),
            bell: Notify::new(),
        }))
    }

    /// Since the run began, by the simulated clock.
    pub(super) fn elapsed(&self) -> std::time::Duration {
        self.0.begun.elapsed()
    }

    /// Writes a line.
    pub(super) fn say(&self, who: &str, what: fmt::Arguments<'_>) {
        use fmt::Write as _;
        let at = self.elapsed();
        let mut lines = self.0.lines.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing to a String can't fail.
        let _ = writeln!(lines, "{:>10.3} {who:<10} {what}", at.as_secs_f64());
    }

    /// Notes a broken promise; the run ends soon.
    pub(super) fn broken(&self, promise: Promise, what: impl Into<String>) {
        let violation = Violation { promise, what: what.into() };
        self.say("VIOLATION", format_args!("{violation}"));
        self.0.broken.lock().unwrap_or_else(PoisonError::into_inner).push(violation);
        self.0.bell.notify_one();
    }

    /// Returns once a promise was broken.
    pub(super) async fn until_broken(&self) {
        self.0.bell.notified().await;
    }

    pub(super) fn violations(&self) -> Vec<Violation> {
        self.0.broken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn lines(&self) -> String {
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
