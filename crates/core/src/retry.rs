//! Which failures are tried again, and after how long (contract L4).

use crate::failure::ErrorClass;
use crate::spec::RetryPolicy;

/// Attempts after the first one when nothing is said.
pub const DEFAULT_MAX_RETRIES: u32 = 3;
/// The most retries that can be asked for.
pub const MAX_RETRIES: u32 = 100;
/// The first wait, in milliseconds.
pub const DEFAULT_INITIAL_DELAY_MS: u64 = 1_000;
/// The longest wait, in milliseconds.
pub const DEFAULT_MAX_DELAY_MS: u64 = 60_000;
/// The wait doubles (thousandths).
pub const DEFAULT_MULTIPLIER_MILLI: u32 = 2_000;
/// A launch that is lost before anything ran spends no retry, but at most this many times (contract L3).
pub const MAX_LOST_LAUNCHES: u32 = 5;

/// The policy of a job that names none: only infrastructure is retried.
pub fn default_policy() -> RetryPolicy {
    RetryPolicy {
        max_retries: DEFAULT_MAX_RETRIES,
        backoff_multiplier_milli: DEFAULT_MULTIPLIER_MILLI,
        initial_delay_ms: DEFAULT_INITIAL_DELAY_MS,
        max_delay_ms: DEFAULT_MAX_DELAY_MS,
        retry_on: vec![ErrorClass::Infrastructure],
    }
}

/// What a policy retries that does not say `retryOn`: everything but `policy`.
pub fn default_retry_on() -> Vec<ErrorClass> {
    vec![ErrorClass::User, ErrorClass::Infrastructure, ErrorClass::Resources]
}

/// True when a failure of `class` is tried again after `retries` retries.
pub fn retries(policy: &RetryPolicy, class: ErrorClass, retries: u32) -> bool {
    match class {
        ErrorClass::Policy => false,
        ErrorClass::User | ErrorClass::Infrastructure | ErrorClass::Resources => {
            retries < policy.max_retries && policy.retry_on.contains(&class)
        }
    }
}

/// The longest wait before retry number `retry` (1 for the first), in milliseconds.
pub fn ceiling_ms(policy: &RetryPolicy, retry: u32) -> u64 {
    let mut wait = u128::from(policy.initial_delay_ms);
    let most = u128::from(policy.max_delay_ms);
    for _ in 1..retry {
        wait = wait * u128::from(policy.backoff_multiplier_milli) / 1000;
        if wait >= most {
            break;
        }
    }
    u64::try_from(wait.min(most)).unwrap_or(u64::MAX)
}

/// The wait before retry number `retry`, in milliseconds: anywhere from 0 to the ceiling ("full jitter"), so
/// that jobs which failed together do not come back together. `jitter` is any random number.
pub fn delay_ms(policy: &RetryPolicy, retry: u32, jitter: u64) -> u64 {
    match ceiling_ms(policy, retry).checked_add(1) {
        Some(span) => jitter % span,
        None => jitter,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_doubles_up_to_a_minute() {
        let policy = default_policy();
        let ceilings: Vec<u64> = (1..=8).map(|n| ceiling_ms(&policy, n)).collect();
        assert_eq!(ceilings, [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
    }

    #[test]
    fn policy_failures_are_never_retried() {
        // contract: L4
        let all = RetryPolicy { retry_on: ErrorClass::ALL.to_vec(), ..default_policy() };
        assert!(!retries(&all, ErrorClass::Policy, 0));
        assert!(retries(&all, ErrorClass::User, 2));
        assert!(!retries(&all, ErrorClass::User, 3));
        assert!(!retries(&default_policy(), ErrorClass::User, 0));
        assert!(retries(&default_policy(), ErrorClass::Infrastructure, 0));
    }

    proptest::proptest! {
        #[test]
        fn the_wait_stays_under_the_ceiling(retry in 1u32..200, jitter: u64, initial in 0u64..100_000, multiplier in 1_000u32..100_000) {
            let policy = RetryPolicy { initial_delay_ms: initial, backoff_multiplier_milli: multiplier, ..default_policy() };
            let wait = delay_ms(&policy, retry, jitter);
            proptest::prop_assert!(wait <= ceiling_ms(&policy, retry) && wait <= policy.max_delay_ms);
        }
    }
}
