//! What is asked when a job is submitted: may it wait at all?

use super::policy::{Policy, Scope, UnknownQueue};
use crate::time::{MICROS_PER_SECOND, Timestamp};

/// The window of the limit on submissions, in seconds.
pub const MINUTE: i64 = 60;

/// Why a job may not join those that wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It names a queue that does not exist: the face answers 400 with those that do.
    Queue(UnknownQueue),
    /// Too many wait already, or came within a minute: the face answers 429.
    TooMany {
        /// The limit's key.
        limit: String,
        /// In words, with figures.
        message: String,
        /// When it is worth another try, in seconds; at least 1.
        retry_after: i64,
    },
}

/// A limited party, and what it has waiting and submitted.
#[derive(Clone, Copy, Debug)]
pub struct Submitted<'a> {
    /// Who: a queue, a tenant or a user.
    pub scope: &'a Scope,
    /// Jobs of it that wait.
    pub queued: u64,
    /// Its submissions within the past minute, the oldest first; others are not counted.
    pub recent: &'a [Timestamp],
}

/// Answers whether one more job may be submitted at `now` to `queue` by these parties.
///
/// # Errors
/// The first rule that speaks against it.
pub fn may_submit(
    policy: &Policy,
    queue: &str,
    parties: &[Submitted<'_>],
    now: Timestamp,
) -> Result<(), Refused> {
    policy.queue(queue).map_err(Refused::Queue)?;
    for party in parties {
        let limits = policy.limits(party.scope);
        if let Some(most) = limits.queued
            && party.queued >= most
        {
            return Err(Refused::TooMany {
                limit: policy.limits_key(party.scope, "queued-jobs"),
                message: format!("{} of {most} jobs {} wait already", party.queued, party.scope.words()),
                retry_after: MINUTE,
            });
        }
        if let Some(most) = limits.per_minute {
            let since = now.plus_seconds(-MINUTE);
            // A time in the future is a clock that went back: it counts, and not for longer than a minute.
            let counted: Vec<Timestamp> = party.recent.iter().copied().filter(|at| *at > since).collect();
            let count = counted.len() as u64;
            if count >= most {
                // The one whose passing makes room.
                let over = usize::try_from(count - most).unwrap_or(usize::MAX);
                let frees = counted.get(over).map_or(now, |at| at.plus_seconds(MINUTE));
                let wait =
                    frees.0.saturating_sub(now.0).saturating_add(MICROS_PER_SECOND - 1) / MICROS_PER_SECOND;
                return Err(Refused::TooMany {
                    limit: policy.limits_key(party.scope, "submissions-per-minute"),
                    message: format!("{count} of {most} submissions {} within a minute", party.scope.words()),
                    retry_after: wait.clamp(1, MINUTE),
                });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::policy::Limits;
    use super::*;

    fn policy(limits: Limits) -> Policy {
        Policy { user_default: limits, ..Policy::default() }
    }

    fn asked(policy: &Policy, queue: &str, queued: u64, recent: &[i64], now: i64) -> Result<(), Refused> {
        let recent: Vec<Timestamp> = recent.iter().map(|s| Timestamp(0).plus_seconds(*s)).collect();
        let scope = Scope::User("t".into(), "ann".into());
        let now = Timestamp(0).plus_seconds(now);
        may_submit(policy, queue, &[Submitted { scope: &scope, queued, recent: &recent }], now)
    }

    #[test]
    fn an_unknown_queue_is_told_with_those_that_exist() {
        let Err(Refused::Queue(unknown)) = asked(&Policy::default(), "fast", 0, &[], 0) else { panic!() };
        assert_eq!(unknown.known, ["default"]);
    }

    #[test]
    fn too_many_are_told_when_to_come_again() {
        let policy = policy(Limits { queued: Some(3), per_minute: Some(2), ..Limits::default() });
        assert_eq!(asked(&policy, "default", 2, &[0, 5], 61), Ok(()), "the first is a minute ago");
        let Err(Refused::TooMany { limit, message, retry_after }) =
            asked(&policy, "default", 2, &[10, 30], 61)
        else {
            panic!()
        };
        assert_eq!(limit, "libra.quotas.users.default.submissions-per-minute");
        assert_eq!(
            (message.as_str(), retry_after),
            ("2 of 2 submissions of the user ann within a minute", 9)
        );
        let Err(Refused::TooMany { message, .. }) = asked(&policy, "default", 3, &[], 0) else { panic!() };
        assert_eq!(message, "3 of 3 jobs of the user ann wait already");
    }

    #[test]
    fn a_limit_of_nothing_lets_nobody_in() {
        let policy = policy(Limits { per_minute: Some(0), ..Limits::default() });
        let Err(Refused::TooMany { retry_after, .. }) = asked(&policy, "default", 0, &[], 0) else {
            panic!()
        };
        assert_eq!(retry_after, 1);
    }
}
