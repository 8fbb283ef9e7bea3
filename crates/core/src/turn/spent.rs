//! Where a job's time went.

use std::collections::BTreeMap;

use super::demand::Micros;
use crate::job::State;
use crate::time::Timestamp;

/// One moment of a job's life: a transition, or a note of what it waits for from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// When.
    pub at: Timestamp,
    /// Its state from then on.
    pub state: State,
    /// The limit that keeps it waiting from then on, by key; None = it waits for its turn.
    pub blocked_by: Option<String>,
}

/// Where a job's time went, in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Waiting for its turn.
    pub turn: Micros,
    /// Waiting for room under these limits, by key.
    pub limits: BTreeMap<String, Micros>,
    /// From its admission until it ran, over all attempts.
    pub launching: Micros,
    /// Running, over all attempts.
    pub running: Micros,
    /// Waiting to be tried again.
    pub backoff: Micros,
}

impl Spent {
    /// All its waiting in queues.
    pub fn queued(&self) -> Micros {
        self.limits.values().fold(self.turn, |sum, more| sum.saturating_add(*more))
    }
}

/// Adds up the time between the moments, the last of which lasts until `now`. A clock that went back adds nothing.
pub fn spent(moments: &[Moment], now: Timestamp) -> Spent {
    let mut spent = Spent::default();
    let ends = moments.iter().skip(1).map(|m| m.at).chain([now]);
    for (moment, end) in moments.iter().zip(ends) {
        let micros = end.0.saturating_sub(moment.at.0).max(0);
        let part = match moment.state {
            State::Queued => match &moment.blocked_by {
                Some(limit) => spent.limits.entry(limit.clone()).or_default(),
                None => &mut spent.turn,
            },
            State::Scheduled => &mut spent.launching,
            State::Running => &mut spent.running,
            State::Retrying => &mut spent.backoff,
            State::Submitted
            | State::Validating
            | State::Succeeded
            | State::Failed
            | State::Cancelled
            | State::Timeout => continue,
        };
        *part = part.saturating_add(micros);
    }
    spent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_second_is_somewhere() {
        let moment = |at: i64, state, blocked: Option<&str>| Moment {
            at: Timestamp(at),
            state,
            blocked_by: blocked.map(Into::into),
        };
        let moments = [
            moment(0, State::Queued, None),
            moment(10, State::Queued, Some("cores")),
            moment(40, State::Scheduled, None),
            moment(45, State::Running, None),
            moment(100, State::Succeeded, None),
        ];
        let spent = spent(&moments, Timestamp(1_000));
        assert_eq!((spent.turn, spent.limits["cores"], spent.queued()), (10, 30, 40));
        assert_eq!((spent.launching, spent.running, spent.backoff), (5, 55, 0));
    }
}
