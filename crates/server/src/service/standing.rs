//! This replica among the others: its name, its leases, and whether it leads.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use libra_core::admission::Host;
use libra_core::attempt::Holder;
use libra_store::lane::Fence;
use libra_store::tables::replicas::{self, Replica};
use tokio::sync::Notify;
use tokio::time::Instant;

/// The lease of the one that schedules, numbers the feed, and tidies up.
pub(crate) const LEADER: &str = "leader";

/// Who this replica is, and under which leases it writes.
pub(crate) struct Standing {
    /// What it tells the others about itself.
    pub(crate) me: Replica,
    /// Tells two processes apart that were given the same id.
    pub(crate) instance: String,
    /// The epoch of its own lease; 0 before the first.
    epoch: AtomicI64,
    /// When the last beat that reached the store was sent: until then nobody takes this replica for dead.
    proven: RwLock<Instant>,
    /// The epoch of the leader's lease while this replica has it; 0 otherwise.
    leading: AtomicI64,
    /// Rings when it begins to lead. No watch channel: that one wakes in an order of its own choosing, which a
    /// simulation could not repeat.
    leads: Notify,
    /// The last epoch under which it has stopped to lead of its own accord.
    given_up: AtomicI64,
    /// Since when every heartbeat reached the store; None while they do not.
    steady_since: Mutex<Option<Instant>>,
    /// The hosts with a living replica, as last seen.
    hosts: RwLock<Arc<Vec<Host>>>,
}

impl Standing {
    pub(crate) fn new(me: Replica, instance: String) -> Self {
        // Until the others are known it judges by itself.
        let hosts = vec![host_of(&me)];
        Self {
            me,
            instance,
            epoch: AtomicI64::new(0),
            proven: RwLock::new(Instant::now()),
            leading: AtomicI64::new(0),
            leads: Notify::new(),
            given_up: AtomicI64::new(0),
            steady_since: Mutex::new(None),
            hosts: RwLock::new(Arc::new(hosts)),
        }
    }

    /// This replica in its present life.
    pub(crate) fn holder(&self) -> Holder {
        Holder { replica: self.me.id.clone(), epoch: self.epoch.load(Ordering::Acquire) }
    }

    /// It has a (new) lease of its own.
    pub(crate) fn set_epoch(&self, epoch: i64) {
        self.epoch.store(epoch, Ordering::Release);
    }

    /// A beat that was sent at this moment has reached the store.
    pub(crate) fn prove_life(&self, sent: Instant) {
        *self.proven.write().unwrap_or_else(PoisonError::into_inner) = sent;
    }

    /// When the last beat that reached the store was sent.
    pub(crate) fn proven_at(&self) -> Instant {
        *self.proven.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The epoch under which it leads, if it does.
    pub(crate) fn leader_epoch(&self) -> Option<i64> {
        Some(self.leading.load(Ordering::Acquire)).filter(|epoch| *epoch != 0)
    }

    /// It leads from now on under this epoch, or no longer.
    pub(crate) fn lead(&self, epoch: Option<i64>) {
        let given_up = self.given_up.load(Ordering::Acquire);
        let epoch = epoch.filter(|epoch| *epoch > given_up).unwrap_or(0);
        if self.leading.swap(epoch, Ordering::AcqRel) != epoch && epoch != 0 {
            self.leads.notify_waiters();
        }
    }

    /// Leads no longer under this epoch; the next beat takes the lease under another one. For a leader that does not
    /// know whether something that it wrote takes effect later: under the next epoch it can't any more.
    pub(crate) fn give_up(&self, epoch: i64) {
        self.given_up.fetch_max(epoch, Ordering::AcqRel);
        self.lead(self.leader_epoch());
    }

    /// Returns once it leads, with the epoch.
    pub(crate) async fn leads(&self) -> i64 {
        loop {
            // Before the look: what comes in between is not missed.
            let leads = self.leads.notified();
            if let Some(epoch) = self.leader_epoch() {
                return epoch;
            }
            leads.await;
        }
    }

    /// A heartbeat reached the store, or did not.
    pub(crate) fn beat(&self, reached: bool) {
        let mut since = self.steady_since.lock().unwrap_or_else(PoisonError::into_inner);
        *since = if reached { since.or_else(|| Some(Instant::now())) } else { None };
    }

    /// True when every heartbeat reached the store for so long: after an outage the others have had that time, too,
    /// to show that they are alive.
    pub(crate) fn is_steady_for(&self, time: Duration) -> bool {
        let since = *self.steady_since.lock().unwrap_or_else(PoisonError::into_inner);
        since.is_some_and(|since| since.elapsed() >= time)
    }

    /// The hosts on which jobs may run at present.
    pub(crate) fn hosts(&self) -> Arc<Vec<Host>> {
        Arc::clone(&self.hosts.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The hosts as they were just seen; its own is always among them.
    pub(crate) fn saw_hosts(&self, mut hosts: Vec<Host>) {
        if !hosts.iter().any(|h| h.machine == machine_of(&self.me.host)) {
            hosts.push(host_of(&self.me));
        }
        *self.hosts.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(hosts);
    }
}

/// The machine's part of a host: `machine-id/boot-id`.
pub(crate) fn machine_of(host: &str) -> &str {
    host.split_once('/').map_or(host, |(machine, _)| machine)
}

fn host_of(r: &Replica) -> Host {
    Host { machine: machine_of(&r.host).to_owned(), cores: r.cores, memory: r.memory }
}

/// The hosts of these replicas; replicas of one host say the same of it, else the larger figure counts.
pub(crate) fn hosts_of(replicas: &[Replica]) -> Vec<Host> {
    let mut hosts: Vec<Host> = Vec::new();
    for replica in replicas {
        let new = host_of(replica);
        match hosts.iter_mut().find(|h| h.machine == new.machine) {
            Some(known) => {
                known.cores = known.cores.max(new.cores);
                known.memory = known.memory.max(new.memory);
            }
            None => hosts.push(new),
        }
    }
    hosts
}

/// Writes in the name of a replica's present life.
pub(crate) fn fence_of(holder: &Holder) -> Fence {
    Fence { lease: replicas::lease_of(&holder.replica), epoch: holder.epoch }
}

/// Writes in the name of the leader.
pub(crate) fn leader_fence(epoch: i64) -> Fence {
    Fence { lease: LEADER.to_owned(), epoch }
}
