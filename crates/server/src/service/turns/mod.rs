//! Whose turn it is, on this replica. The leader gives turns; every replica can say why a job waits.
//!
//! Invariant: what the scheduler knows it has read from the store, except for turns that the leader has just given. Too
//! much may be held in its eyes, never too little: nobody but the leader gives turns, and it begins with a look at
//! everything after it has taken its lease.

mod books;
mod estimates;
mod keepers;
mod rules;

use std::sync::Arc;

use libra_core::admission::Host;
use libra_core::id::JobId;
use libra_core::time::Timestamp;
use libra_core::turn::{
    Candidate, Decision, Explanation, Keeper, LimitStanding, PoolStanding, StartEstimate, Why,
};
use libra_store::StoreError;
use libra_store::tables::{leases, replicas, replicas::Replica, replicas::lease_of};
use libra_store::tx::Tx;
use tokio::sync::{Mutex, MutexGuard};

use self::books::Books;
use self::estimates::Estimates;
pub(crate) use self::rules::{Rules, queue_of};
use super::Service;
use super::standing::{hosts_of, leader_fence};

/// Waiting jobs of every pool that are asked what they wait for, for the figures.
const ASKED: usize = 200;
/// What was read so lately is still true enough for an estimate, in microseconds.
const FRESH: i64 = 1_000_000;

/// The scheduler of this replica.
#[derive(Default)]
pub(crate) struct Turns {
    /// None until somebody asks, and after the store could not be read.
    books: Mutex<Option<Books>>,
    estimates: Estimates,
    /// What was written down last of the jobs that room is kept for, and under which epoch.
    kept: Mutex<Option<(i64, Vec<Keeper>)>>,
}

/// Who starts now, and what else was seen in the same look.
pub(crate) struct Given {
    /// In order.
    pub(crate) decisions: Vec<Decision>,
    /// Replicas that are alive.
    pub(crate) replicas: Vec<Replica>,
    /// Jobs wait for which there is no room.
    pub(crate) crowded: bool,
    /// Limits that more is held of than they allow: by key, in words.
    pub(crate) exceeded: Vec<(String, String)>,
}

/// How everything stands.
pub(crate) struct Standings {
    pub(crate) pools: Vec<PoolStanding>,
    pub(crate) limits: Vec<LimitStanding>,
    /// Whose job each reservation is for: tenant and user.
    pub(crate) owners: Vec<(JobId, String, String)>,
    /// Since when the job waits that has waited longest.
    pub(crate) oldest: Option<Timestamp>,
    /// What the jobs that are next wait for, by the limit's key.
    pub(crate) blocked: std::collections::BTreeMap<String, u64>,
    /// Limits that more is held of than they allow.
    pub(crate) exceeded: Vec<(String, String)>,
}

/// Why a job waits, with the owners of those who hold what it waits for.
pub(crate) struct Explained {
    pub(crate) explanation: Explanation,
    /// Tenant and user of each holder.
    pub(crate) owners: Vec<(JobId, String, String)>,
}

impl Service {
    /// Gives turns: the leader alone, under its epoch. Whoever could not take theirs is reported to
    /// [`Self::turn_not_taken`] before the next time.
    pub(crate) async fn give_turns(&self, epoch: i64) -> Result<Given, StoreError> {
        let now = self.clock.now();
        let rules = self.rules();
        let mut held = self.turns.books.lock().await;
        let books = held.take().filter(|books| books.epoch == Some(epoch));
        let (books, given) = self
            .db
            .read(move |tx| {
                let replicas = alive(tx)?;
                let hosts = hosts_of(&replicas);
                let mut books = up_to_date(tx, books, &rules, hosts, Some(epoch), now, true)?;
                let decisions = books.scheduler.pass(now);
                let crowded = books.scheduler.waiting_jobs() > 0;
                let exceeded = books.scheduler.exceeded();
                for decision in &decisions {
                    books.admitted(decision.job);
                }
                Ok((books, Given { decisions, replicas, crowded, exceeded }))
            })
            .await?;
        *held = Some(books);
        drop(held);
        for decision in &given.decisions {
            self.metrics.turn_given(match decision.why {
                Why::Turn => "turn",
                Why::Reserved => "reserved",
                Why::Backfill { .. } => "backfill",
            });
        }
        Ok(given)
    }

    /// A turn was given that was not taken, or nobody knows whether it was.
    pub(crate) async fn turn_not_taken(&self, job: JobId) {
        if let Some(books) = self.turns.books.lock().await.as_mut() {
            books.doubt(job);
        }
    }

    /// Writes down for whom room is kept, where that has changed.
    pub(crate) async fn write_keepers(&self, epoch: i64) -> Result<(), StoreError> {
        let keepers = match self.turns.books.lock().await.as_ref() {
            Some(books) => books.scheduler.keepers(),
            None => return Ok(()),
        };
        let mut kept = self.turns.kept.lock().await;
        let writing = Some((epoch, keepers));
        if *kept != writing {
            let write = writing.clone().unwrap_or_default().1;
            self.db.write(move |tx| keepers::write(tx, &leader_fence(epoch), &write)).await?;
            *kept = writing;
        }
        Ok(())
    }

    /// The books as of now.
    async fn books(&self) -> Result<MutexGuard<'_, Option<Books>>, StoreError> {
        let mut held = self.turns.books.lock().await;
        let (now, rules, books) = (self.clock.now(), self.rules(), held.take());
        let epoch = books.as_ref().and_then(|books| books.epoch);
        // Who leads no longer follows the one who does.
        let epoch = epoch.filter(|epoch| self.leader_epoch() == Some(*epoch));
        let books = books.filter(|books| books.epoch == epoch);
        let read = self.db.read(move |tx| {
            let hosts = hosts_of(&alive(tx)?);
            up_to_date(tx, books, &rules, hosts, epoch, now, epoch.is_none())
        });
        *held = Some(read.await?);
        Ok(held)
    }

    /// Why a job waits; None for one that does not.
    pub(crate) async fn why_it_waits(&self, id: JobId) -> Result<Option<Explained>, StoreError> {
        let held = self.books().await?;
        let Some(books) = held.as_ref() else { return Ok(None) };
        let Some(explanation) = books.scheduler.explain(id) else { return Ok(None) };
        let holders = explanation.blocked.as_ref().map(|b| b.holders.clone()).unwrap_or_default();
        Ok(Some(Explained { owners: owners(books, holders), explanation }))
    }

    /// How everything stands.
    pub(crate) async fn standings(&self) -> Result<Standings, StoreError> {
        let held = self.books().await?;
        let Some(books) = held.as_ref() else { return Err(StoreError::Closed) };
        let (pools, limits) = (books.scheduler.standing(), books.scheduler.limits());
        let reserved = pools.iter().filter_map(|pool| Some(pool.reservation.as_ref()?.job));
        let kept = limits.iter().filter_map(|limit| limit.kept_for);
        Ok(Standings {
            owners: owners(books, reserved.chain(kept).collect()),
            oldest: books.scheduler.oldest_waiting(),
            blocked: books.scheduler.blocked_by(ASKED),
            exceeded: books.scheduler.exceeded(),
            pools,
            limits,
        })
    }

    /// When a job will start that is submitted now; None when that would take too long to find out. An estimate is no reason
    /// to keep a submission waiting: what was read a moment ago is good enough.
    pub(crate) async fn estimated_start(&self, job: &Candidate) -> Option<StartEstimate> {
        let fresh = {
            let held = self.turns.books.lock().await;
            let now = self.clock.now();
            held.as_ref().is_some_and(|books| books.looked.plus_micros(FRESH) > now)
        };
        let mut held = if fresh { self.turns.books.lock().await } else { self.books().await.ok()? };
        let books = held.as_mut()?;
        self.turns.estimates.of(&mut books.scheduler, job, self.clock.now())
    }

    /// True when nobody waits beside the job, and there is room for it.
    pub(crate) async fn starts_at_once(&self, job: &Candidate) -> Result<bool, StoreError> {
        let mut held = self.books().await?;
        let now = self.clock.now();
        Ok(held.as_mut().is_some_and(|books| books.scheduler.starts_at_once(job, now)))
    }

    /// A new job as the scheduler sees it, with what was learned of its like.
    pub(crate) async fn candidate(&self, job: &libra_core::job::Job) -> Candidate {
        let held = self.turns.books.lock().await;
        let learned = held.as_ref().map(|books| &books.learned);
        rules::new_candidate(job, learned)
    }
}

fn owners(books: &Books, jobs: Vec<JobId>) -> Vec<(JobId, String, String)> {
    let owner = |id: JobId| {
        let (tenant, user) = books.scheduler.owner(id)?;
        Some((id, tenant.to_owned(), user.to_owned()))
    };
    jobs.into_iter().filter_map(owner).collect()
}

/// These books as of now, or new ones.
fn up_to_date(
    tx: &mut dyn Tx,
    books: Option<Books>,
    rules: &Arc<Rules>,
    hosts: Vec<Host>,
    epoch: Option<i64>,
    now: Timestamp,
    audit: bool,
) -> Result<Books, StoreError> {
    if let Some(books) = books
        && let Some(books) = books.follow(tx, rules, hosts.clone(), now, audit)?
    {
        return Ok(books);
    }
    Books::open(tx, rules, hosts, epoch, now)
}

/// The replicas whose lease is alive.
fn alive(tx: &mut dyn Tx) -> Result<Vec<Replica>, StoreError> {
    let leases = leases::leases(tx)?;
    let mut replicas = replicas::replicas(tx)?;
    replicas.retain(|r| leases.get(&lease_of(&r.id)).is_some_and(|l| l.alive));
    Ok(replicas)
}
