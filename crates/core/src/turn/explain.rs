//! Why a job waits, and when it will start.

use std::collections::BTreeMap;

use super::demand::Candidate;
use super::ledger::Hindrance;
use super::lookahead::{Ahead, StartEstimate};
use super::policy::Short;
use super::pool::PoolState;
use super::resources::{Dimension, Resources};
use super::scheduler::{Scheduler, Waiting};
use super::tree::ScopeIx;
use crate::id::JobId;
use crate::time::Timestamp;

/// Holders that are named.
pub const HOLDERS_NAMED: usize = 20;
/// How far a place in the order is counted.
pub const PLACES_COUNTED: usize = 1_000;
/// What stands in the way when room is kept for another job.
pub const RESERVATION: &str = "libra.scheduler.reservation";

/// What stands in a job's way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// The configuration key of the limit; [`RESERVATION`] when room is kept for another job.
    pub limit: String,
    /// In words, with figures.
    pub message: String,
    /// What the figures count; None = jobs.
    pub of: Option<Dimension>,
    /// What is held already, in the limit's unit: jobs, cores, bytes of memory, GPUs or slots.
    pub used: u64,
    /// What the job asks for.
    pub requested: u64,
    /// What there is.
    pub capacity: u64,
    /// Who holds it, those first that end first: at most [`HOLDERS_NAMED`].
    pub holders: Vec<JobId>,
    /// How many hold it.
    pub holders_count: usize,
    /// True when the job alone is more than the limit: it can't start before that changes.
    pub never: bool,
}

/// A job's place among those that wait in its pool; 1 = next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// This one.
    Exactly(usize),
    /// This one or later: places are counted so far only.
    AtLeast(usize),
}

/// Why a job waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Its place; None for a job that has no turn because it is larger than everything.
    pub position: Option<Position>,
    /// The first limit in its way; None when it would start at the next pass.
    pub blocked: Option<Blocked>,
    /// When it will start.
    pub start: StartEstimate,
}

impl Scheduler {
    /// Why a waiting job waits; None for one that does not. Bounded work whatever the queue: a place is counted to
    /// [`PLACES_COUNTED`], and the look ahead is as bounded.
    pub fn explain(&self, id: JobId) -> Option<Explanation> {
        let (mut explanation, ahead) = self.explain_but_start(id)?;
        if let Some(ahead) = ahead {
            explanation.start = ahead.play();
        }
        Some(explanation)
    }

    /// The same without the look ahead, which the caller plays where it holds up nobody ([`Ahead::play`]); None when
    /// there is nothing to be played.
    pub fn explain_but_start(&self, id: JobId) -> Option<(Explanation, Option<Ahead>)> {
        let job = self.waiting.get(&id)?;
        let pool = &self.pools[job.pool as usize];
        let possible = pool.shapes[job.shape as usize].possible;
        let turns = self.turns(&pool.name, PLACES_COUNTED);
        let position = match turns.iter().position(|t| *t == id) {
            Some(n) => Some(Position::Exactly(n + 1)),
            None => possible.then_some(Position::AtLeast(turns.len() + 1)),
        };
        let blocked = self.blocked(id);
        let (start, ahead) = match &blocked {
            Some(Blocked { never: true, message, .. }) => (StartEstimate::never(message), None),
            _ => (StartEstimate::unknown("it was not looked ahead"), self.ahead(id, &turns)),
        };
        Some((Explanation { position, blocked, start }, ahead))
    }

    /// The same for a job that would be submitted now.
    pub fn explain_candidate(&mut self, job: &Candidate, now: Timestamp) -> Option<Explanation> {
        let (mut explanation, ahead) = self.explain_candidate_but_start(job, now)?;
        if let Some(ahead) = ahead {
            explanation.start = ahead.play();
        }
        Some(explanation)
    }

    /// The same without the look ahead, as [`Self::explain_but_start`].
    pub fn explain_candidate_but_start(
        &mut self,
        job: &Candidate,
        now: Timestamp,
    ) -> Option<(Explanation, Option<Ahead>)> {
        self.advance(now);
        if self.is_running(job.id) || self.is_waiting(job.id) {
            return self.explain_but_start(job.id);
        }
        self.queued(job);
        let explanation = self.explain_but_start(job.id);
        self.left(job.id);
        explanation
    }

    /// True when a job that came now would start now, and nobody waits in its pool. Cheap, whatever runs; when others
    /// wait it takes a look ahead ([`Self::explain_candidate`]).
    pub fn starts_at_once(&mut self, job: &Candidate, now: Timestamp) -> bool {
        self.advance(now);
        if self.is_running(job.id) || self.is_waiting(job.id) {
            return false;
        }
        self.queued(job);
        let pool = self.pool(&job.pool);
        let alone = self.pools[pool as usize].root.waiting == 1;
        let free = alone && self.blocked(job.id).is_none();
        self.left(job.id);
        free
    }

    /// Whose job it is that waits or holds resources: tenant and user.
    pub fn owner(&self, id: JobId) -> Option<(&str, &str)> {
        if let Some(job) = self.running.get(&id) {
            return Some((&job.candidate.tenant, &job.candidate.user));
        }
        let applicant = &self.applicants[self.waiting.get(&id)?.applicant as usize];
        Some((&applicant.tenant, &applicant.user))
    }

    /// Since when the job waits that has waited longest.
    pub fn oldest_waiting(&self) -> Option<Timestamp> {
        self.waiting.values().map(|job| job.since).min()
    }

    /// The first `most` jobs of every pool that a limit keeps waiting, by the limit's key.
    pub fn blocked_by(&self, most: usize) -> BTreeMap<String, u64> {
        let mut counted = BTreeMap::new();
        for pool in &self.pools {
            for id in self.turns(&pool.name, most) {
                if let Some(blocked) = self.blocked(id) {
                    *counted.entry(blocked.limit).or_default() += 1;
                }
            }
        }
        counted
    }

    /// What stands in a waiting job's way at present, first of all a limit that it can never meet.
    pub fn blocked(&self, id: JobId) -> Option<Blocked> {
        let job = self.waiting.get(&id)?;
        let pool = &self.pools[job.pool as usize];
        let shape = &pool.shapes[job.shape as usize];
        if !shape.possible {
            return Some(Self::too_large(pool, job));
        }
        match self.hindrance(id, job) {
            Some(Hindrance::Never(scope, short)) => return Some(self.limit(job, scope, short, true)),
            Some(Hindrance::Limit(scope, short)) => return Some(self.limit(job, scope, short, false)),
            Some(Hindrance::Kept(scope)) => {
                let state = self.ledger.at(scope);
                let at = state.kept.map(|k| k.at);
                return state.keeper.map(|keeper| self.kept(job, keeper, at, &state.scope.words()));
            }
            None => {}
        }
        let free = pool.free();
        if pool.place_in(&free, &shape.key.demand).is_none() {
            return Some(self.full(pool, job, &free));
        }
        let keeper = pool.keeper.filter(|k| *k != id)?;
        let fits = |room: &[Resources]| pool.place_in(room, &shape.key.demand).is_some();
        let at = pool.rooms().kept_until(shape.end(self.now), fits)?;
        Some(self.kept(job, keeper, Some(at), &format!("in the pool {}", pool.name)))
    }

    /// Those among running jobs that hold something, by their expected end.
    fn holders(
        &self,
        ends: &std::collections::BTreeSet<(Timestamp, JobId)>,
        d: Option<Dimension>,
    ) -> (Vec<JobId>, usize) {
        let holds = |id: &JobId| {
            let held = self.running.get(id).map(|r| r.counted.all).unwrap_or_default();
            d.is_none_or(|d| held.get(d) > 0)
        };
        let holders = || ends.iter().map(|(_, id)| *id).filter(holds);
        (holders().take(HOLDERS_NAMED).collect(), holders().count())
    }

    fn limit(&self, job: &Waiting, scope: ScopeIx, short: Short, never: bool) -> Blocked {
        let state = self.ledger.at(scope);
        let counted = self.pools[job.pool as usize].shapes[job.shape as usize].counted;
        let (need, most) = (state.need(&counted), state.quota.most());
        let whose = state.scope.words();
        let (used, requested, capacity, message, d) = match short {
            Short::Jobs if never => {
                let message = format!("the jobs {whose} are limited to none at once");
                (state.held.jobs, 1, most.jobs, message, None)
            }
            Short::Jobs => {
                let message = format!("{} of {} jobs {whose} are running", state.held.jobs, most.jobs);
                (state.held.jobs, 1, most.jobs, message, None)
            }
            Short::Of(d) => {
                let (used, requested, capacity) =
                    (state.held.resources.get(d), need.resources.get(d), most.resources.get(d));
                let needs = d.words(requested);
                let message = if never {
                    format!("needs {needs}; the jobs {whose} may hold {}", d.figure(capacity))
                } else {
                    format!(
                        "needs {needs}; the jobs {whose} hold {} of {}",
                        d.figure(used),
                        d.figure(capacity)
                    )
                };
                (used, requested, capacity, message, Some(d))
            }
        };
        let (holders, holders_count) = self.holders(&state.ends, d);
        let limit = self.policy.key(&state.scope, short);
        Blocked { limit, message, of: d, used, requested, capacity, holders, holders_count, never }
    }

    /// The empty pool has no room for it.
    fn too_large(pool: &PoolState, job: &Waiting) -> Blocked {
        let demand = &pool.shapes[job.shape as usize].key.demand;
        let largest = |d: Dimension| pool.nodes.iter().map(|n| n.capacity.get(d)).max().unwrap_or(0);
        let (limit, message, of, requested, capacity) = if pool.nodes.is_empty() {
            let message = format!("no replica is alive on any host of the pool {}", pool.name);
            ("libra.replica.lease".to_owned(), message, None, 1, 0)
        } else if let Some(d) = Dimension::ALL.into_iter().find(|d| demand.driver.get(*d) > largest(*d)) {
            let (need, most) = (demand.driver.get(d), largest(d));
            let message = format!("needs {} on one host; jobs may use {}", d.words(need), d.figure(most));
            (pool.keys.of(d).to_owned(), message, Some(d), need, most)
        } else {
            let reserve = demand.reserve();
            let short = reserve.shortage(&pool.capacity);
            let d = short.unwrap_or(Dimension::Cores);
            let (need, most) = (reserve.get(d), pool.capacity.get(d));
            let message = if short.is_some() {
                format!(
                    "needs {} with its executors; the pool {} has {}",
                    d.words(need),
                    pool.name,
                    d.figure(most)
                )
            } else {
                format!("needs {} with its executors, and no host has enough of everything", d.words(need))
            };
            (pool.keys.of(d).to_owned(), message, Some(d), need, most)
        };
        let holders = Vec::new();
        Blocked { limit, message, of, used: 0, requested, capacity, holders, holders_count: 0, never: true }
    }

    /// Others hold what it needs: told of the node with the most room for it, or of the pool for a job with executors.
    fn full(&self, pool: &PoolState, job: &Waiting, free: &[Resources]) -> Blocked {
        let demand = &pool.shapes[job.shape as usize].key.demand;
        let alone = demand.executors.reserved() == 0;
        let able = |n: &usize| demand.driver.fits(&pool.nodes[*n].capacity);
        let roomiest = (0..free.len()).filter(able).max_by_key(|n| free[*n]);
        let (need, held, capacity, room, place) = if let Some(n) = roomiest.filter(|_| alone) {
            let node = &pool.nodes[n];
            (demand.driver, node.held, node.capacity, free[n], format!(" on {}", node.name))
        } else {
            let room = free.iter().fold(Resources::default(), |sum, r| sum.plus(*r));
            (demand.reserve(), pool.held, pool.capacity, room, format!(" in the pool {}", pool.name))
        };
        let place = if pool.nodes.len() == 1 { String::new() } else { place };
        let short = need.shortage(&room);
        let d = short.unwrap_or(Dimension::Cores);
        let (used, requested, capacity) = (held.get(d), need.get(d), capacity.get(d));
        let message = if short.is_some() {
            format!(
                "needs {}; {} of {} are in use{place}",
                d.words(requested),
                d.figure(used),
                d.figure(capacity)
            )
        } else {
            format!("needs {} with its executors; what is free lies on too many hosts", d.words(requested))
        };
        let (holders, holders_count) = self.holders(&pool.ends, Some(d));
        let limit = pool.keys.of(d).to_owned();
        Blocked {
            limit,
            message,
            of: Some(d),
            used,
            requested,
            capacity,
            holders,
            holders_count,
            never: false,
        }
    }

    /// There is room, and it is kept.
    fn kept(&self, job: &Waiting, keeper: JobId, at: Option<Timestamp>, place: &str) -> Blocked {
        let shape = &self.pools[job.pool as usize].shapes[job.shape as usize];
        let length = match job.run_time.at_most {
            Some(micros) => format!("may run for {}", minutes(micros)),
            None => "has no time limit".to_owned(),
        };
        let until = match at {
            Some(at) if at > self.now => format!("starts by {}", at.rfc3339()),
            _ => "starts next".to_owned(),
        };
        let d = Dimension::ALL.into_iter().find(|d| shape.reserve.get(*d) > 0).unwrap_or(Dimension::Cores);
        let pool = &self.pools[job.pool as usize];
        Blocked {
            limit: RESERVATION.into(),
            message: format!("room {place} is kept for another job, which {until}; this job {length}"),
            of: Some(d),
            used: pool.held.get(d),
            requested: shape.reserve.get(d),
            capacity: pool.capacity.get(d),
            holders: vec![keeper],
            holders_count: 1,
            never: false,
        }
    }
}

/// A length for people: `45 s`, `20 min`, `3.5 h`.
pub(super) fn minutes(micros: i64) -> String {
    let seconds = micros.max(0) / 1_000_000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        _ => format!("{}.{} h", seconds / 3_600, seconds % 3_600 / 360),
    }
}
