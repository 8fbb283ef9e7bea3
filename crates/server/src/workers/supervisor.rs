//! Every attempt that is open has somebody who looks after it: this replica claims what waits on its host, and
//! takes over what a dead one left where it can reach it (design §6, the host rule).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use libra_core::attempt::{Attempt, Holder};
use libra_core::id::JobId;
use libra_core::job::Job;
use libra_store::StoreError;
use libra_store::lane::{AttemptNote, Note, Outcome};
use libra_store::tables::attempts::{self, Open};
use libra_store::tables::jobs;
use libra_store::tables::leases::{self, Lease};
use libra_store::tables::replicas::{Replica, lease_of};
use tokio::time::{Instant, sleep};

use super::{Shutdown, attempt};
use crate::service::{Place, Service, handed_to, machine_of};

/// Open attempts without anybody are looked for this often (contract Q2: unclaimed ones older than 2 s are swept).
const PERIOD: Duration = Duration::from_secs(2);
/// Where a hand-off tells of attempts one by one, those that are younger are left to it.
const UNCLAIMED_AFTER_SECONDS: i64 = 2;

/// How an attempt came to be looked after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// This process has just stored that it launches it: nothing was launched yet, and nothing may be after `until`.
    JustOpened {
        /// Reckoned before it was stored: while it was, this process may have stood still.
        until: Option<Instant>,
    },
    /// It was there: whether it was launched has to be looked up.
    InTheStore,
}

/// Knows which attempts are looked after.
pub(crate) struct Supervisor {
    service: Arc<Service>,
    shutdown: Shutdown,
    taken: Mutex<BTreeSet<(JobId, u32)>>,
    /// Whose turn it is among the replicas of a host.
    turn: AtomicUsize,
}

/// Marks an attempt as looked after, until it is dropped.
pub(super) struct Taken {
    supervisor: Arc<Supervisor>,
    key: (JobId, u32),
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.supervisor.taken.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

/// What is to be done about an open attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Duty {
    /// Nobody has it: claim it.
    Claim,
    /// It is this replica's, and nobody here looks after it.
    Own,
    /// Its holder is dead: take it over.
    TakeOver(Holder),
    /// Somebody else's.
    None,
}

impl Supervisor {
    pub(super) fn new(service: Arc<Service>, shutdown: Shutdown) -> Arc<Self> {
        Arc::new(Self { service, shutdown, taken: Mutex::default(), turn: AtomicUsize::new(0) })
    }

    /// Whose attempts are handed to this replica, and its name among them.
    pub(super) fn address(&self) -> (String, String) {
        let me = &self.service.standing.me;
        (handed_to(machine_of(&me.host), &me.storage), me.id.clone())
    }

    /// Marks an attempt as looked after, unless it is already. Done before the attempt is stored, so that the
    /// sweep never finds one that its own process is about to launch.
    pub(super) fn reserve(self: &Arc<Self>, job: JobId, attempt: u32) -> Option<Taken> {
        let key = (job, attempt);
        let new = self.taken.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
        new.then(|| Taken { supervisor: Arc::clone(self), key })
    }

    /// The place of a new attempt on `machine`: the replicas there take turns.
    pub(super) fn place(&self, alive: &[Replica], machine: &str) -> Option<Place> {
        let there: Vec<&Replica> = alive.iter().filter(|r| machine_of(&r.host) == machine).collect();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let chosen = there.get(turn % there.len().max(1))?;
        let me = &self.service.standing.me;
        // Another process may have come under this one's name.
        if chosen.id == me.id && chosen.host == me.host {
            return Some(self.service.here());
        }
        Some(Place { host: chosen.host.clone(), storage: chosen.storage.clone(), holder: None })
    }

    /// Looks after an attempt from now on.
    pub(super) fn look_after(&self, taken: Taken, job: Job, attempt: Attempt, found: Found) {
        let (service, shutdown) = (Arc::clone(&self.service), self.shutdown.clone());
        tokio::spawn(async move {
            attempt::drive(service, job, attempt, found, shutdown).await;
            drop(taken);
        });
    }

    /// Sweeps at once and then periodically; claims whenever it is told that something waits.
    pub(super) async fn run(self: Arc<Self>, mut shutdown: Shutdown) {
        if let Err(e) = self.sweep().await {
            tracing::warn!(error = %e, "open attempts could not be looked for; trying again");
        }
        let mut swept = Instant::now();
        loop {
            tokio::select! {
                biased;
                () = shutdown.wait() => return,
                () = self.service.signals.claims.notified() => {
                    // To its end: a claim that is stored and then forgotten would count as a lost launch.
                    if let Err(e) = self.claim_what_waits().await {
                        tracing::warn!(error = %e, "waiting attempts could not be claimed; trying again");
                    }
                    // Told again and again, it looks at the others all the same.
                    if swept.elapsed() < PERIOD {
                        continue;
                    }
                }
                () = sleep(PERIOD.saturating_sub(swept.elapsed())) => {}
            }
            if let Err(e) = self.sweep().await {
                tracing::warn!(error = %e, "open attempts could not be looked for; trying again");
            }
            swept = Instant::now();
        }
    }

    /// Claims what it was told of.
    async fn claim_what_waits(self: &Arc<Self>) -> Result<(), StoreError> {
        let unclaimed = self.service.db.read(attempts::unclaimed).await?;
        for open in unclaimed.into_iter().filter(|open| self.reaches(open)) {
            self.claim(open.job_id, open.number).await?;
        }
        Ok(())
    }

    /// True when drivers and files of that place can be reached from here. With a database of its own there is
    /// nobody else who could.
    fn reaches(&self, open: &Open) -> bool {
        self.service.alone || is_within_reach(open, &self.service.standing.me)
    }

    /// Becomes the holder of an attempt that nobody holds, and launches it. False when somebody else was faster.
    pub(super) async fn claim(self: &Arc<Self>, job: JobId, number: u32) -> Result<bool, StoreError> {
        let Some(taken) = self.reserve(job, number) else { return Ok(false) };
        let service = &self.service;
        let until = service.launch_until();
        let (by, at) = (service.standing.holder(), service.clock.now());
        let host = service.standing.me.host.clone();
        let what = Note::Claim { at, host };
        let note = AttemptNote { job_id: job, number, by: by.clone(), what };
        if service.db.note(note).await? != Outcome::Updated {
            return Ok(false);
        }
        let Some((job, attempt)) = self.read(job, number).await? else { return Ok(false) };
        if attempt.holder == Some(by) && attempt.ended_at.is_none() {
            self.look_after(taken, job, attempt, Found::JustOpened { until });
        }
        Ok(true)
    }

    async fn read(&self, id: JobId, number: u32) -> Result<Option<(Job, Attempt)>, StoreError> {
        self.service.db.read(move |tx| Ok(jobs::get(tx, id)?.zip(attempts::get(tx, id, number)?))).await
    }

    async fn sweep(self: &Arc<Self>) -> Result<(), StoreError> {
        let (open, leases, now) =
            self.service.db.read(|tx| Ok((attempts::open(tx)?, leases::leases(tx)?, tx.now()?))).await?;
        for open in open {
            // One from the future comes of a clock that was set: nobody waits for that.
            let young = self.service.hands_off_singly()
                && open.created_at <= now
                && open.created_at.plus_seconds(UNCLAIMED_AFTER_SECONDS) > now;
            match self.duty(&open, &leases) {
                Duty::Claim if young => {}
                Duty::Claim => {
                    self.claim(open.job_id, open.number).await?;
                }
                Duty::Own => {
                    // It may have ended since it was looked for, with whoever looked after it until then.
                    if let Some(taken) = self.reserve(open.job_id, open.number)
                        && let Some((job, attempt)) = self.read(open.job_id, open.number).await?
                        && attempt.ended_at.is_none()
                    {
                        self.look_after(taken, job, attempt, Found::InTheStore);
                    }
                }
                Duty::TakeOver(from) => self.take_over(&open, from).await?,
                Duty::None => {}
            }
        }
        Ok(())
    }

    fn duty(&self, open: &Open, leases: &BTreeMap<String, Lease>) -> Duty {
        let me = self.service.standing.holder();
        match &open.holder {
            Some(holder) if *holder == me => Duty::Own,
            _ if !self.reaches(open) => Duty::None,
            None => Duty::Claim,
            Some(holder) => {
                let lease = leases.get(&lease_of(&holder.replica));
                let lives = lease.is_some_and(|l| l.alive && l.epoch == holder.epoch);
                // What it held in a former life nobody else can be holding. After an outage of the store every lease
                // has run out: the others get the time to renew theirs.
                let own = self.service.alone || holder.replica == me.replica;
                let sure = own || self.service.standing.is_steady_for(self.service.config.replica.lease / 2);
                if lives || !sure { Duty::None } else { Duty::TakeOver(holder.clone()) }
            }
        }
    }

    /// Fences the dead holder off, then becomes the holder in its place.
    async fn take_over(self: &Arc<Self>, open: &Open, from: Holder) -> Result<(), StoreError> {
        let Some(taken) = self.reserve(open.job_id, open.number) else { return Ok(()) };
        if !fence_off(&self.service, &from).await? {
            return Ok(());
        }
        let by = self.service.standing.holder();
        let what = Note::TakeOver { from: from.clone() };
        let note = AttemptNote { job_id: open.job_id, number: open.number, by, what };
        if self.service.db.note(note).await? != Outcome::Updated {
            return Ok(());
        }
        tracing::info!(
            job_id = %open.job_id, attempt = open.number, from = %from.replica, epoch = from.epoch,
            "an attempt is taken over"
        );
        if let Some((job, attempt)) = self.read(open.job_id, open.number).await? {
            self.look_after(taken, job, attempt, Found::InTheStore);
        }
        Ok(())
    }
}

/// Sees to it that nothing counts any more that `holder` writes. False when it lives: it has come back since it was
/// looked at, and keeps what it has.
pub(super) async fn fence_off(service: &Service, holder: &Holder) -> Result<bool, StoreError> {
    let (lease, epoch) = (lease_of(&holder.replica), holder.epoch);
    service
        .db
        .write(move |tx| {
            Ok(leases::fence_off(tx, &lease, epoch)?
                // Or it was before: the lease is of a later epoch, or forgotten.
                || leases::leases(tx)?.get(&lease).is_none_or(|present| present.epoch != epoch))
        })
        .await
}

/// True when a replica can look after an attempt: it has its files, and is on its host, where what runs is a process there.
/// What runs elsewhere and can be found again needs neither.
pub(super) fn is_within_reach(open: &Open, replica: &Replica) -> bool {
    let same_host = machine_of(&open.host) == machine_of(&replica.host);
    let elsewhere = open.mode.outlives_host();
    (open.storage == replica.storage || (elsewhere && open.has_handle)) && (same_host || elsewhere)
}
