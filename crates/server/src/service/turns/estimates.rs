//! Estimates for those who submit: many may come at once, and a look ahead takes milliseconds.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use libra_core::time::Timestamp;
use libra_core::turn::{Ahead, Candidate, Demand, RunTime, Scheduler, StartEstimate};

/// An estimate holds for jobs of the same kind that come so soon after, in microseconds.
const HOLDS: i64 = 2_000_000;
/// After a look ahead, so many times as long as it took goes by before the next one.
const PAUSE: i64 = 9;
/// No look ahead is paid for with a longer pause than this, in microseconds.
const LONGEST_PAUSE: i64 = 60_000_000;
/// Kinds of jobs that are remembered.
const KINDS: usize = 1_000;

/// Who submits, and what it needs. Jobs that agree in this start at about the same time.
type Kind = (String, String, String, u8, Demand, Option<i64>);

#[derive(Default)]
struct Known {
    estimates: BTreeMap<Kind, (Timestamp, StartEstimate)>,
    /// No look ahead before; the greatest moment while one is under way.
    rested: Option<Timestamp>,
}

impl Known {
    fn remember(&mut self, job: &Candidate, estimate: &StartEstimate, now: Timestamp) {
        if self.estimates.len() >= KINDS {
            self.estimates.clear();
        }
        self.estimates.insert(kind(job), (now, estimate.clone()));
    }
}

/// Estimates that were made a moment ago.
#[derive(Default)]
pub(super) struct Estimates {
    known: Mutex<Known>,
}

/// What is known of a job's start.
pub(super) enum Start {
    /// This, or nothing: it is too early for another look ahead.
    Known(Option<StartEstimate>),
    /// It has to be played, away from those who must not wait, and then [`Estimates::keep`]t.
    Ahead(Box<Ahead>),
}

fn kind(job: &Candidate) -> Kind {
    let Candidate { queue, tenant, user, priority, demand, run_time: RunTime { at_most, .. }, .. } = job;
    (queue.clone(), tenant.clone(), user.clone(), *priority, demand.clone(), *at_most)
}

impl Estimates {
    fn locked(&self) -> MutexGuard<'_, Known> {
        // Nothing panics while it is held.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When `job` would start that comes now.
    pub(super) fn of(&self, scheduler: &mut Scheduler, job: &Candidate, now: Timestamp) -> Start {
        if scheduler.starts_at_once(job, now) {
            let basis = "there is room, and its turn has come".to_owned();
            return Start::Known(Some(StartEstimate { at: Some(now), basis }));
        }
        let mut known = self.locked();
        if let Some((made, estimate)) = known.estimates.get(&kind(job))
            && made.plus_micros(HOLDS) > now
        {
            return Start::Known(Some(estimate.clone()));
        }
        if known.rested.is_some_and(|rested| now < rested) {
            return Start::Known(None);
        }
        match scheduler.explain_candidate_but_start(job, now) {
            None => Start::Known(None),
            // Nothing is played, but its place was counted, which is not cheap where many wait.
            Some((explanation, None)) => {
                known.remember(job, &explanation.start, now);
                Start::Known(Some(explanation.start))
            }
            Some((_, Some(ahead))) => {
                known.rested = Some(now.plus_micros(LONGEST_PAUSE));
                Start::Ahead(Box::new(ahead))
            }
        }
    }

    /// A look ahead for `job` was made, which took so many microseconds.
    pub(super) fn keep(&self, job: &Candidate, estimate: &StartEstimate, now: Timestamp, took: i64) {
        let mut known = self.locked();
        known.rested = Some(now.plus_micros(took.saturating_mul(PAUSE).min(LONGEST_PAUSE)));
        known.remember(job, estimate, now);
    }
}
