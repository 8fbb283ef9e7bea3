//! A scheduler that knows what the store knows: made from it once, and told of every change since.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use libra_core::admission::Host;
use libra_core::id::JobId;
use libra_core::job::State;
use libra_core::time::Timestamp;
use libra_core::turn::{Keeper, Learned, Past, Remembered, Scheduler, Snapshot};
use libra_store::StoreError;
use libra_store::tables::turns::{self as table, Brief, Position};
use libra_store::tx::Tx;

use super::keepers;
use super::rules::{Rules, candidate, held, holding, pool_of, queue_of};

/// Ended jobs that are read to begin with, for what was held lately and for how long jobs take.
const ENDED_READ: u32 = 50_000;
/// How far back they are read, in seconds.
const ENDED_SECONDS: i64 = 7 * 24 * 3_600;
/// How often executors are counted, in seconds.
const COUNT_SECONDS: i64 = 2;
/// How often it is checked against the whole store, in seconds.
const AUDIT_SECONDS: i64 = 60;
/// How soon again when it did not agree: a row may only have come late, in seconds.
const AUDIT_AGAIN_SECONDS: i64 = 5;
/// Who has not looked for so long may have missed that rows were removed, in seconds.
const STALE_SECONDS: i64 = 300;

/// What is known of a job that waits or holds resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    revision: i64,
    attempt: u32,
}

/// The scheduler, and how far it was told.
pub(super) struct Books {
    pub(super) scheduler: Scheduler,
    learned: SharedLearned,
    /// The epoch under which this replica leads and gives turns from these books; None while it follows another.
    pub(super) epoch: Option<i64>,
    /// When the store was looked at last.
    pub(super) looked: Timestamp,
    rules: Arc<Rules>,
    hosts: Vec<Host>,
    position: Position,
    known: BTreeMap<JobId, Known>,
    /// Jobs that are read again, whatever their revision: a turn that was given to them was not taken.
    doubted: BTreeSet<JobId>,
    keepers: Vec<Keeper>,
    /// When the executors of those that may have more of them were counted last.
    counted: Timestamp,
    audited: Timestamp,
    /// The last audit found something that was written, and could not be read yet, or that was missed.
    suspect: bool,
}

/// How long jobs take: read by those who submit, without waiting for the books.
pub(super) type SharedLearned = Arc<RwLock<Learned>>;

/// What is true besides the jobs.
pub(super) struct Surroundings {
    pub(super) rules: Arc<Rules>,
    pub(super) hosts: Vec<Host>,
    pub(super) now: Timestamp,
}

impl Books {
    /// Reads everything.
    pub(super) fn open(
        tx: &mut dyn Tx,
        around: Surroundings,
        learned: &SharedLearned,
        epoch: Option<i64>,
    ) -> Result<Self, StoreError> {
        let Surroundings { rules, hosts, now } = around;
        // First: what is written meanwhile is read again.
        let position = Position::end(tx)?;
        let since = now.plus_seconds(-ENDED_SECONDS);
        let mut ended = table::ended(tx, since, ENDED_READ)?;
        // The newest came first.
        ended.reverse();
        let (holds, waits) = (table::holding(tx)?, table::waiting(tx)?);
        let keepers = keepers::read(tx)?;
        let mut fresh = Learned::default();
        for job in &ended {
            learn(&mut fresh, job);
        }
        let from = now.plus_micros(-rules.policy.memory);
        let recent = ended.iter().filter(|job| job.completed_at.is_some_and(|end| end > from));
        let spans = recent.chain(&holds).filter_map(remembered);
        let snapshot = Snapshot {
            policy: rules.policy.clone(),
            pools: rules.pools(&hosts),
            waiting: waits.iter().map(|job| candidate(job, &fresh)).collect(),
            running: holds.iter().map(|job| holding(job, &fresh)).collect(),
            memory: spans.collect(),
            keepers: keepers.clone(),
        };
        let known = waits.iter().chain(&holds);
        let scheduler = Scheduler::rebuild(&snapshot, now);
        *learned.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        let mut books = Self {
            scheduler,
            learned: Arc::clone(learned),
            epoch,
            looked: now,
            rules,
            hosts,
            position,
            known: known
                .map(|job| (job.id, Known { revision: job.revision, attempt: job.attempt }))
                .collect(),
            doubted: BTreeSet::new(),
            keepers,
            counted: Timestamp(0),
            audited: now,
            suspect: false,
        };
        // Before a turn is given: nobody else remembers what has grown.
        books.count_executors(tx, now)?;
        books.scheduler.refresh_reservations();
        Ok(books)
    }

    /// Reads what has changed. None when that can't be told any more, or with `audit` does not add up: everything has to be
    /// read anew. No audit while turns are being written down, which the store does not know yet.
    pub(super) fn follow(
        mut self,
        tx: &mut dyn Tx,
        around: Surroundings,
        audit: bool,
    ) -> Result<Option<Self>, StoreError> {
        let Surroundings { rules, hosts, now } = around;
        if now > self.looked.plus_seconds(STALE_SECONDS) {
            return Ok(None);
        }
        self.looked = now;
        self.scheduler.advance(now);
        loop {
            let Some(changes) = self.position.changes(tx)? else { return Ok(None) };
            self.position = changes.next;
            let newer = |(id, revision): &(JobId, i64)| {
                self.known.get(id).is_none_or(|known| known.revision < *revision)
            };
            let mut ids: BTreeSet<JobId> = changes.jobs.iter().filter(|c| newer(c)).map(|c| c.0).collect();
            ids.append(&mut self.doubted);
            self.read_again(tx, &ids)?;
            if !changes.more {
                break;
            }
        }
        self.bound_by(&rules, hosts, now);
        self.count_executors(tx, now)?;
        if self.epoch.is_none() {
            let keepers = keepers::read(tx)?;
            if keepers == self.keepers {
                self.scheduler.refresh_reservations();
            } else {
                self.scheduler.follow_keepers(&keepers);
                self.keepers = keepers;
            }
        }
        let every = if self.suspect { AUDIT_AGAIN_SECONDS } else { AUDIT_SECONDS };
        if audit && (now > self.audited.plus_seconds(every) || now < self.audited) {
            self.audited = now;
            let agrees = self.agrees(&table::tally(tx)?);
            if !agrees && self.suspect {
                tracing::warn!("what the scheduler knows is not what the store says: it is read anew");
                return Ok(None);
            }
            self.suspect = !agrees;
        }
        Ok(Some(self))
    }

    fn read_again(&mut self, tx: &mut dyn Tx, ids: &BTreeSet<JobId>) -> Result<(), StoreError> {
        if ids.is_empty() {
            return Ok(());
        }
        let asked: Vec<JobId> = ids.iter().copied().collect();
        let found = table::briefs(tx, &asked)?;
        let there: BTreeSet<JobId> = found.iter().map(|job| job.id).collect();
        for gone in ids.difference(&there) {
            self.forget(*gone);
        }
        for job in &found {
            self.learn_of(job);
        }
        Ok(())
    }

    /// Executors come and go without a row in the log.
    fn count_executors(&mut self, tx: &mut dyn Tx, now: Timestamp) -> Result<(), StoreError> {
        if now < self.counted.plus_seconds(COUNT_SECONDS) && now >= self.counted {
            return Ok(());
        }
        self.counted = now;
        for (id, executors) in table::executors(tx, &self.scheduler.may_grow())? {
            self.scheduler.grown(id, executors);
        }
        if self.epoch.is_some() {
            // Those who follow do so once they know for whom room is kept.
            self.scheduler.refresh_reservations();
        }
        Ok(())
    }

    /// Other rules or other hosts from now on.
    fn bound_by(&mut self, rules: &Arc<Rules>, hosts: Vec<Host>, now: Timestamp) {
        let other_rules = *self.rules != **rules;
        if other_rules {
            self.rules = Arc::clone(rules);
            self.scheduler.set_policy(rules.policy.clone(), now);
        }
        if other_rules || hosts != self.hosts {
            self.scheduler.set_pools(rules.pools(&hosts), now);
            self.hosts = hosts;
        }
    }

    /// A job as it is now.
    fn learn_of(&mut self, job: &Brief) {
        let known = Known { revision: job.revision, attempt: job.attempt };
        match job.state {
            State::Submitted | State::Validating => {}
            State::Queued => {
                let waiting = candidate(job, &self.learned());
                self.scheduler.queued(&waiting);
                self.known.insert(job.id, known);
            }
            State::Scheduled | State::Running => {
                let before = self.known.insert(job.id, known);
                let same = before.is_some_and(|before| before.attempt == job.attempt);
                if !same || !self.scheduler.is_running(job.id) {
                    let found = holding(job, &self.learned());
                    self.scheduler.found_running(&found);
                } else if let Some(started) = job.started_at {
                    self.scheduler.began(job.id, started);
                }
            }
            State::Retrying | State::Succeeded | State::Failed | State::Cancelled | State::Timeout => {
                self.forget(job.id);
                learn(&mut self.learned.write().unwrap_or_else(PoisonError::into_inner), job);
            }
        }
    }

    fn learned(&self) -> RwLockReadGuard<'_, Learned> {
        self.learned.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget(&mut self, id: JobId) {
        self.scheduler.left(id);
        self.scheduler.ended(id);
        self.known.remove(&id);
    }

    /// The job's next attempt is under way: what comes of it is of that attempt.
    pub(super) fn admitted(&mut self, id: JobId) {
        if let Some(known) = self.known.get_mut(&id) {
            known.attempt += 1;
        }
    }

    /// Turns were given that were not taken, or nobody knows: the store says what is true.
    pub(super) fn doubt(&mut self, jobs: &[JobId]) {
        self.doubted.extend(jobs);
    }

    fn agrees(&self, (waiting, holding): &(u64, BTreeSet<JobId>)) -> bool {
        let waits = self.scheduler.waiting_jobs() as u64;
        let holds = self.scheduler.running_jobs();
        waits == *waiting && holds == holding.len() && holding.iter().all(|id| self.scheduler.is_running(*id))
    }
}

/// How long a job took that ended well.
fn learn(learned: &mut Learned, job: &Brief) {
    if let (State::Succeeded, Some(name), Some(start), Some(end)) =
        (job.state, &job.name, job.started_at, job.completed_at)
    {
        learned.ran(&job.tenant, &job.user, name, end.0.saturating_sub(start.0));
    }
}

/// What a job held from its last admission on.
fn remembered(job: &Brief) -> Option<Remembered> {
    let from = job.scheduled_at?;
    Some(Remembered {
        pool: pool_of(job.mode, job.cluster.as_deref()),
        queue: queue_of(job.queue.as_deref()).to_owned(),
        tenant: job.tenant.clone(),
        user: job.user.clone(),
        past: Past::Span { held: held(job), from, to: job.completed_at },
    })
}
