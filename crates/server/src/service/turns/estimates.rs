//! Estimates for those who submit: many may come at once, and a look ahead takes milliseconds.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use libra_core::time::Timestamp;
use libra_core::turn::{Candidate, Demand, RunTime, Scheduler, StartEstimate};
use tokio::time::Instant;

/// An estimate holds for jobs of the same kind that come so soon after, in microseconds.
const HOLDS: i64 = 1_000_000;
/// After a look ahead, so many times as long as it took goes by before the next one.
const PAUSE: i64 = 9;
/// Kinds of jobs that are remembered.
const KINDS: usize = 1_000;

/// Who submits, and what it needs. Jobs that agree in this start at about the same time.
type Kind = (String, String, String, u8, Demand, Option<i64>);

#[derive(Default)]
struct Known {
    estimates: BTreeMap<Kind, (Timestamp, StartEstimate)>,
    /// No look ahead before.
    rested: Option<Timestamp>,
}

/// Estimates that were made a moment ago.
#[derive(Default)]
pub(super) struct Estimates {
    known: Mutex<Known>,
}

fn kind(job: &Candidate) -> Kind {
    let Candidate { queue, tenant, user, priority, demand, run_time: RunTime { at_most, .. }, .. } = job;
    (queue.clone(), tenant.clone(), user.clone(), *priority, demand.clone(), *at_most)
}

impl Estimates {
    /// When `job` would start that comes now; None when it is too early for another look ahead.
    pub(super) fn of(
        &self,
        scheduler: &mut Scheduler,
        job: &Candidate,
        now: Timestamp,
    ) -> Option<StartEstimate> {
        if scheduler.starts_at_once(job, now) {
            return Some(StartEstimate {
                at: Some(now),
                basis: "there is room, and its turn has come".to_owned(),
            });
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let kind = kind(job);
        if let Some((made, estimate)) = known.estimates.get(&kind)
            && made.plus_micros(HOLDS) > now
        {
            return Some(estimate.clone());
        }
        // A clock that went back by much does not count.
        if known.rested.is_some_and(|rested| now < rested && rested <= now.plus_micros(HOLDS)) {
            return None;
        }
        let began = Instant::now();
        let estimate = scheduler.explain_candidate(job, now)?.start;
        let took = i64::try_from(began.elapsed().as_micros()).unwrap_or(HOLDS);
        known.rested = Some(now.plus_micros(took.saturating_mul(PAUSE).min(HOLDS)));
        if known.estimates.len() >= KINDS {
            known.estimates.clear();
        }
        known.estimates.insert(kind, (now, estimate.clone()));
        Some(estimate)
    }
}
