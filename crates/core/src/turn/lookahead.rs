//! When will it start? The scheduler itself, played forward a bounded way.

use std::collections::{BTreeMap, BTreeSet};

use super::demand::RunTime;
use super::explain::minutes;
use super::ledger::NEVER;
use super::scheduler::{Scheduler, expected_end};
use super::snapshot::Snapshot;
use crate::id::JobId;
use crate::time::Timestamp;

/// Waiting jobs that are played forward.
const JOBS: usize = 500;
/// Ends of jobs that are played.
const EVENTS: usize = 1_000;

/// When a job will start, and how that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartEstimate {
    /// When; None when it can't be said.
    pub at: Option<Timestamp>,
    /// How it was estimated, or why it can't be said.
    pub basis: String,
}

impl StartEstimate {
    /// It can't start.
    pub(super) fn never(why: &str) -> Self {
        Self { at: None, basis: format!("it can't start: {why}") }
    }

    pub(super) fn unknown(why: &str) -> Self {
        Self { at: None, basis: why.to_owned() }
    }
}

/// What a job is expected to take: what was learned, else as long as it may.
fn expected(run_time: &RunTime) -> Option<i64> {
    run_time.expected.or(run_time.at_most)
}

/// What is needed to find out when a job will start: taken from a scheduler in a moment, played without it.
#[derive(Clone, Debug)]
pub struct Ahead {
    id: JobId,
    now: Timestamp,
    pool: String,
    snapshot: Snapshot,
    /// Expected ends of what runs.
    ends: BTreeSet<(Timestamp, JobId)>,
    /// Its place among those that are played; None beyond.
    place: Option<usize>,
    /// Jobs that wait in the pool.
    waiting: u64,
}

impl Scheduler {
    /// What is needed to play forward until `id` starts; None for a job that does not wait.
    pub(super) fn ahead(&self, id: JobId, turns: &[JobId]) -> Option<Ahead> {
        let target = self.waiting.get(&id)?;
        let place = turns.iter().position(|t| *t == id);
        let mut chosen: BTreeSet<JobId> = turns.iter().take(JOBS).copied().collect();
        if place.is_some_and(|n| n < JOBS) {
            chosen.insert(id);
        }
        let candidate = |id: &JobId| Some(self.candidate(*id, self.waiting.get(id)?));
        let end = |(id, job): (&JobId, &super::scheduler::Running)| {
            let end = expected_end(job.since, expected(&job.candidate.run_time), self.now);
            (end < NEVER).then_some((end, *id))
        };
        let pool = &self.pools[target.pool as usize];
        Some(Ahead {
            id,
            now: self.now,
            pool: pool.name.clone(),
            snapshot: Snapshot {
                waiting: chosen.iter().filter_map(candidate).collect(),
                keepers: self.all_keepers().into_iter().filter(|k| chosen.contains(&k.job)).collect(),
                ..self.without_waiting()
            },
            ends: self.running.iter().filter_map(end).collect(),
            place,
            waiting: pool.root.waiting,
        })
    }
}

impl Ahead {
    /// Plays forward until the job starts: the next jobs in order as far as 500, each as long as it is expected to take.
    /// Takes milliseconds when many wait.
    pub fn play(self) -> StartEstimate {
        let near = self.place.is_some_and(|n| n < JOBS);
        let mut played = Scheduler::rebuild(&self.snapshot, self.now);
        let mut ends = self.ends.clone();
        let lengths: BTreeMap<JobId, Option<i64>> =
            self.snapshot.waiting.iter().map(|c| (c.id, expected(&c.run_time))).collect();
        let (mut now, mut started, mut ended) = (self.now, 0usize, 0usize);
        loop {
            for decision in played.pass(now) {
                if decision.job == self.id {
                    return StartEstimate { at: Some(now), basis: self.basis(now, started, ended) };
                }
                started += usize::from(decision.pool == self.pool);
                if let Some(Some(length)) = lengths.get(&decision.job) {
                    ends.insert((now.plus_micros((*length).max(1)), decision.job));
                }
            }
            if ended == EVENTS {
                break;
            }
            let Some((end, gone)) = ends.pop_first() else { break };
            now = end.max(now);
            played.advance(now);
            played.ended(gone);
            ended += 1;
        }
        if near && ended < EVENTS {
            return StartEstimate::unknown("it waits for a job whose end is not known");
        }
        // Beyond what is played: as fast as so far.
        let span = now.0.saturating_sub(self.now.0);
        if started == 0 || span <= 0 {
            return StartEstimate::unknown("too many jobs are ahead of it");
        }
        let ahead = self.place.map_or(self.waiting, |n| n as u64);
        let micros = i128::from(span) * i128::from(ahead) / i128::try_from(started).unwrap_or(1);
        let at = self.now.plus_micros(i64::try_from(micros).unwrap_or(i64::MAX));
        let within = minutes(span);
        let basis = format!(
            "at most {ahead} jobs are ahead of it, and the next {started} are expected to start within {within}"
        );
        StartEstimate { at: Some(at), basis }
    }

    fn basis(&self, at: Timestamp, started: usize, ended: usize) -> String {
        let s = |n: usize| if n == 1 { "" } else { "s" };
        if at == self.now {
            return "there is room, and its turn has come".to_owned();
        }
        format!(
            "played forward with expected run times: {ended} job{} end{} and {started} start{} before it",
            s(ended),
            if ended == 1 { "s" } else { "" },
            if started == 1 { "s" } else { "" },
        )
    }
}
