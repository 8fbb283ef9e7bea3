//! When the next server may be started after several failed.

use std::time::{Duration, Instant};

use libra_core::failure::Failure;

/// The wait after the second failure in a row; doubled after each further one.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_mins(1);
/// Further doublings change nothing.
const MOST_DOUBLINGS: u32 = 6;

/// Failures in a row: starts that failed, servers that died before they had answered a single query, calls that
/// found no server.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
    since: Option<Instant>,
    refused: Option<(Instant, Failure)>,
}

impl Backoff {
    /// Forgets all failures: one try went well.
    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// Takes a failure in; answers it with what is known about the ones before.
    pub(super) fn failed(&mut self, failure: &Failure) -> Failure {
        let now = Instant::now();
        self.failures = self.failures.saturating_add(1);
        let since = *self.since.get_or_insert(now);
        let mut failure = failure.clone();
        if self.failures < 2 {
            self.refused = Some((now, failure.clone()));
            return failure;
        }
        let wait = FIRST_WAIT.saturating_mul(1 << (self.failures - 2).min(MOST_DOUBLINGS)).min(LONGEST_WAIT);
        failure.message = format!(
            "{} It failed {} times in a row, for {} seconds now; the next try comes in {} seconds at the earliest.",
            failure.message,
            self.failures,
            since.elapsed().as_secs(),
            wait.as_secs()
        );
        self.refused = Some((now + wait, failure.clone()));
        failure
    }

    /// How long the next try has to wait, and why; None when it may come now.
    pub(super) fn pending(&self) -> Option<(Duration, Failure)> {
        let (until, failure) = self.refused.as_ref()?;
        let left = until.saturating_duration_since(Instant::now());
        (!left.is_zero()).then(|| (left, failure.clone()))
    }

    /// The last failure; None after a success.
    pub(super) fn trouble(&self) -> Option<&Failure> {
        self.refused.as_ref().map(|(_, failure)| failure)
    }

    /// How long nothing has gone well.
    pub(super) fn lasted(&self) -> Duration {
        self.since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use libra_core::failure::ErrorClass;

    use super::*;

    #[test]
    fn waits_double_up_to_a_minute_and_a_success_ends_them() {
        let mut backoff = Backoff::default();
        let failure = Failure::new(ErrorClass::Infrastructure, "x", "It failed.");
        let mut waits = Vec::new();
        for _ in 0..10 {
            backoff.failed(&failure);
            waits.push(backoff.pending().map_or(0, |(left, _)| left.as_millis().div_ceil(1_000)));
        }
        assert_eq!(waits, [0, 1, 2, 4, 8, 16, 32, 60, 60, 60]);
        let said = backoff.trouble().unwrap();
        assert!(said.message.contains("10 times in a row"), "{said:?}");
        backoff.succeeded();
        assert!(backoff.pending().is_none() && backoff.trouble().is_none());
    }
}
