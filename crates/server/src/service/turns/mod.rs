//! Whose turn it is, on this replica. The leader gives turns; every replica can say why a job waits.
//!
//! Invariant: what the scheduler knows it has read from the store, except for turns that the leader has just given. Too
//! much may be held in its eyes, never too little: nobody but the leader gives turns, and it begins with a look at
//! everything after it has taken its lease.

mod books;
mod estimates;
mod keepers;
mod rules;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use libra_core::id::JobId;
use libra_core::job::Job;
use libra_core::time::Timestamp;
use libra_core::turn::{
    Candidate, Decision, Exceeded, Explanation, Keeper, LimitStanding, PoolStanding, StartEstimate,
};
use libra_store::StoreError;
use libra_store::tables::{leases, replicas, replicas::Replica, replicas::lease_of};
use libra_store::tx::Tx;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::{Instant, timeout};

use self::books::{Books, SharedLearned, Surroundings};
use self::estimates::{Estimates, Start};
pub(crate) use self::rules::{ANY_SLOTS, Rules, flink_pool, queue_of};
use super::Service;
use super::standing::{hosts_of, leader_fence};

/// Waiting jobs of every pool that are asked what they wait for, for the figures.
const ASKED: usize = 200;
/// What was read so lately is still true enough for an estimate, in microseconds.
const FRESH: i64 = 5_000_000;
/// Whoever submits waits no longer for an estimate.
const ESTIMATE_PATIENCE: Duration = Duration::from_millis(200);

/// The scheduler of this replica.
#[derive(Default)]
pub(crate) struct Turns {
    /// None until somebody asks, and after the store could not be read.
    books: Arc<Mutex<Option<Books>>>,
    /// One question at a time: the leader, who gives turns, waits for one answer at most.
    asking: Mutex<()>,
    learned: SharedLearned,
    estimates: Arc<Estimates>,
    /// What was written down last of the jobs that room is kept for, and under which epoch.
    kept: Mutex<Option<(i64, Vec<Keeper>)>>,
}

/// The books, while nobody else has them.
type Held = OwnedMutexGuard<Option<Books>>;

/// Who starts now, and what else was seen in the same look.
pub(crate) struct Given {
    /// In order.
    pub(crate) decisions: Vec<Decision>,
    /// Replicas that are alive.
    pub(crate) replicas: Vec<Replica>,
    /// Jobs wait for which there is no room.
    pub(crate) crowded: bool,
    /// Limits that more is held of than they allow.
    pub(crate) exceeded: Vec<Exceeded>,
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
    pub(crate) blocked: BTreeMap<String, u64>,
    /// Limits that more is held of than they allow.
    pub(crate) exceeded: Vec<Exceeded>,
}

/// Why a job waits, with the owners of those who hold what it waits for.
pub(crate) struct Explained {
    pub(crate) explanation: Explanation,
    /// Tenant and user of each holder.
    pub(crate) owners: Vec<(JobId, String, String)>,
}

/// For whom the books are brought up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum For {
    /// The leader, who gives turns under this epoch.
    Leader(i64),
    /// Somebody who asks.
    Asking,
}

impl Service {
    /// Gives turns: the leader alone, under its epoch. Whoever could not take theirs is reported to
    /// [`Self::turns_not_taken`] before the next time.
    pub(crate) async fn give_turns(&self, epoch: i64) -> Result<Given, StoreError> {
        let (mut held, replicas) = self.books(For::Leader(epoch)).await?;
        let now = self.clock.now();
        let Some(books) = held.as_mut() else { return Err(StoreError::Closed) };
        let decisions = books.scheduler.pass(now);
        for decision in &decisions {
            books.admitted(decision.job);
        }
        let crowded = books.scheduler.waiting_jobs() > 0;
        Ok(Given { decisions, replicas, crowded, exceeded: books.scheduler.exceeded() })
    }

    /// Turns were given that were not taken, or nobody knows whether they were.
    pub(crate) async fn turns_not_taken(&self, jobs: &[JobId]) {
        if let Some(books) = self.turns.books.lock().await.as_mut() {
            books.doubt(jobs);
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

    /// The books as of now, and the replicas that are alive.
    async fn books(&self, whose: For) -> Result<(Held, Vec<Replica>), StoreError> {
        let mut held = Arc::clone(&self.turns.books).lock_owned().await;
        // After the wait: time goes on for those who had them before.
        let (now, rules) = (self.clock.now(), self.rules());
        let (db, learned) = (self.db.clone(), Arc::clone(&self.turns.learned));
        let leads = self.leader_epoch();
        // A task of its own: whoever asked may go away in the middle, and the books must come back.
        let read = tokio::spawn(async move {
            // Who leads no longer follows the one who does.
            let books = held.take().filter(|books| match whose {
                For::Leader(epoch) => books.epoch == Some(epoch),
                For::Asking => books.epoch.is_none() || books.epoch == leads,
            });
            let read = db.read(move |tx| {
                let replicas = alive(tx)?;
                let around = || Surroundings { rules: Arc::clone(&rules), hosts: hosts_of(&replicas), now };
                // What the leader has just given, the store does not know yet.
                let audit = whose != For::Asking || books.as_ref().is_some_and(|b| b.epoch.is_none());
                let followed = match books {
                    Some(books) => books.follow(tx, around(), audit)?,
                    None => None,
                };
                let epoch = match whose {
                    For::Leader(epoch) => Some(epoch),
                    For::Asking => None,
                };
                let books = match followed {
                    Some(books) => books,
                    None => Books::open(tx, around(), &learned, epoch)?,
                };
                Ok((books, replicas))
            });
            let (books, replicas) = read.await?;
            *held = Some(books);
            Ok::<_, StoreError>((held, replicas))
        });
        read.await.map_err(|_| StoreError::Closed)?
    }

    /// Follows the one who leads, so that a question finds the books nearly up to date.
    pub(crate) async fn follow_turns(&self) -> Result<(), StoreError> {
        self.books(For::Asking).await.map(drop)
    }

    /// Why a job waits; None for one that does not.
    pub(crate) async fn why_it_waits(&self, id: JobId) -> Result<Option<Explained>, StoreError> {
        let _one = self.turns.asking.lock().await;
        let (held, _) = self.books(For::Asking).await?;
        let Some(books) = held.as_ref() else { return Ok(None) };
        let Some((mut explanation, ahead)) = books.scheduler.explain_but_start(id) else { return Ok(None) };
        let holders = explanation.blocked.as_ref().map(|b| b.holders.clone()).unwrap_or_default();
        let owners = owners(books, holders);
        drop(held);
        if let Some(ahead) = ahead {
            explanation.start = aside(move || ahead.play()).await.ok_or(StoreError::Closed)?;
        }
        Ok(Some(Explained { explanation, owners }))
    }

    /// How everything stands.
    pub(crate) async fn standings(&self) -> Result<Standings, StoreError> {
        let _one = self.turns.asking.lock().await;
        let (held, _) = self.books(For::Asking).await?;
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

    /// When a job will start that is submitted now; None when that would take too long to find out. An estimate is no
    /// reason to keep a submission waiting: what was read a moment ago is good enough, and nothing is read for it.
    pub(crate) async fn estimated_start(&self, job: &Candidate) -> Option<StartEstimate> {
        let start = {
            let mut held = timeout(ESTIMATE_PATIENCE, self.turns.books.lock()).await.ok()?;
            let now = self.clock.now();
            let books = held.as_mut().filter(|books| books.looked.plus_micros(FRESH) > now)?;
            self.turns.estimates.of(&mut books.scheduler, job, now)
        };
        let ahead = match start {
            Start::Known(estimate) => return estimate,
            Start::Ahead(ahead) => ahead,
        };
        // A task of its own: whoever asked may not wait so long, and the next one has use for it.
        let (estimates, job, clock) =
            (Arc::clone(&self.turns.estimates), job.clone(), Arc::clone(&self.clock));
        let played = aside(move || {
            let began = Instant::now();
            let estimate = ahead.play();
            let took = i64::try_from(began.elapsed().as_micros()).unwrap_or(i64::MAX);
            estimates.keep(&job, &estimate, clock.now(), took);
            estimate
        });
        timeout(ESTIMATE_PATIENCE, played).await.ok()?
    }

    /// True when nobody waits beside the job, and there is room for it.
    pub(crate) async fn starts_at_once(&self, job: &Candidate) -> Result<bool, StoreError> {
        let (mut held, _) = self.books(For::Asking).await?;
        let now = self.clock.now();
        Ok(held.as_mut().is_some_and(|books| books.scheduler.starts_at_once(job, now)))
    }

    /// A new job as the scheduler sees it, with what was learned of its like.
    pub(crate) fn candidate(&self, job: &Job) -> Candidate {
        rules::new_candidate(job, &self.turns.learned.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Does what takes a while where it holds up nobody; at once where there is one thread for everything, as in a simulation.
/// It goes on when nobody waits for it any more. None when it panicked.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
        return Some(work());
    }
    tokio::task::spawn_blocking(work).await.ok()
}

fn owners(books: &Books, jobs: Vec<JobId>) -> Vec<(JobId, String, String)> {
    let owner = |id: JobId| {
        let (tenant, user) = books.scheduler.owner(id)?;
        Some((id, tenant.to_owned(), user.to_owned()))
    };
    jobs.into_iter().filter_map(owner).collect()
}

/// The replicas whose lease is alive.
fn alive(tx: &mut dyn Tx) -> Result<Vec<Replica>, StoreError> {
    let leases = leases::leases(tx)?;
    let mut replicas = replicas::replicas(tx)?;
    replicas.retain(|r| leases.get(&lease_of(&r.id)).is_some_and(|l| l.alive));
    Ok(replicas)
}
