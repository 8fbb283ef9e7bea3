//! What follows from a try: done, once more and when, or given up.

use std::time::Duration;

use libra_core::time::Timestamp;
use libra_store::tables::outbox::Verdict;

use super::sender::Sent;

/// The wait after the first try that failed; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait between two tries, also where the target asks for a longer one.
const LONGEST_WAIT: Duration = Duration::from_mins(10);
/// However old a message is, it is tried this often before it is given up: it may have waited behind others, for
/// Libra's own restart, or have been replayed.
const LEAST_TRIES: u32 = 5;

/// How much patience there is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// A message of this age is given up when a try fails.
    pub(crate) give_up_after: Duration,
}

/// What follows from try number `tries` of a message that was written at `created_at`.
pub(crate) fn verdict(
    sent: Sent,
    tries: u32,
    created_at: Timestamp,
    now: Timestamp,
    jitter: u64,
    settings: Settings,
) -> Verdict {
    match sent {
        Sent::Taken => Verdict::Delivered,
        Sent::Never { error } => Verdict::Dead { error },
        Sent::NotNow { error, .. }
            if tries >= LEAST_TRIES
                && now.seconds_since(created_at) >= settings.give_up_after.as_secs_f64() =>
        {
            Verdict::Dead { error }
        }
        Sent::NotNow { error, retry_after } => {
            let wait = wait(tries, jitter).max(retry_after.unwrap_or_default().min(LONGEST_WAIT));
            Verdict::Again { error, micros: i64::try_from(wait.as_micros()).unwrap_or(i64::MAX) }
        }
    }
}

/// The wait after `tries` tries: doubled each time, then between three and five quarters of that, so that what
/// failed together does not come back together.
fn wait(tries: u32, jitter: u64) -> Duration {
    let doubled = FIRST_WAIT.saturating_mul(1_u32.checked_shl(tries.saturating_sub(1)).unwrap_or(u32::MAX));
    let quarter = doubled.min(LONGEST_WAIT) / 4;
    let spread = u64::try_from((2 * quarter).as_micros()).unwrap_or(u64::MAX).max(1);
    3 * quarter + Duration::from_micros(jitter % spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Settings = Settings { give_up_after: Duration::from_hours(24) };

    fn failed() -> Sent {
        Sent::NotNow { error: "500".into(), retry_after: None }
    }

    #[test]
    fn waits_double_up_to_a_bound_and_differ() {
        // contract: A12
        let bounds: Vec<(f64, f64)> = [1, 2, 5, 10, 11, 40, u32::MAX]
            .map(|tries| (wait(tries, 0).as_secs_f64(), wait(tries, u64::MAX / 3).as_secs_f64()))
            .into();
        let least: Vec<f64> = bounds.iter().map(|(least, _)| *least).collect();
        assert_eq!(least, [0.75, 1.5, 12.0, 384.0, 450.0, 450.0, 450.0]);
        for (tries, jitter) in [(1, 7), (1, u64::MAX), (3, 1 << 40), (60, u64::MAX - 1)] {
            let base = wait(tries, 0);
            assert!(base <= wait(tries, jitter) && wait(tries, jitter) < base * 5 / 3, "{tries}");
        }
    }

    #[test]
    fn old_messages_are_given_up_but_not_before_they_had_their_tries() {
        // contract: A12
        let at = |hours: i64| Timestamp(0).plus_seconds(hours * 3_600);
        let of = |tries, now| verdict(failed(), tries, at(0), now, 0, DAY);
        assert!(matches!(of(100, at(23)), Verdict::Again { .. }));
        assert_eq!(of(100, at(24)), Verdict::Dead { error: "500".into() });
        assert_eq!(of(4, at(48)), Verdict::Again { error: "500".into(), micros: 6_000_000 });
        assert_eq!(of(5, at(48)), Verdict::Dead { error: "500".into() });
        assert_eq!(verdict(Sent::Taken, 9, at(0), at(99), 0, DAY), Verdict::Delivered);
        let never = Sent::Never { error: "410".into() };
        assert_eq!(verdict(never, 1, at(0), at(0), 0, DAY), Verdict::Dead { error: "410".into() });
    }

    #[test]
    fn a_target_may_ask_for_a_longer_wait_within_bounds() {
        let asked = |seconds| {
            let sent = Sent::NotNow { error: String::new(), retry_after: Some(Duration::from_secs(seconds)) };
            match verdict(sent, 1, Timestamp(0), Timestamp(0), 0, DAY) {
                Verdict::Again { micros, .. } => micros,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!([asked(0), asked(60), asked(99_999)], [750_000, 60_000_000, 600_000_000]);
    }
}
