//! The heartbeat: keeping this replica's lease, and the leader's while nobody else has it.

use std::sync::Arc;
use std::time::Duration;

use libra_store::StoreError;
use libra_store::tables::replicas::{self, Replica};
use libra_store::tables::{leases, replicas::lease_of};
use libra_store::tx::Tx;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::Shutdown;
use crate::service::standing::{LEADER, hosts_of};
use crate::service::{Service, machine_of};

/// Leases are renewed this many times within their length.
const RENEWALS: u32 = 4;
/// A replica that has been gone for this long, and holds nothing, is forgotten.
const FORGOTTEN_AFTER_SECONDS: i64 = 24 * 3_600;

/// Takes this replica's own lease for the first time; false while another process with the same id has it.
///
/// # Errors
/// When the store can't be written.
pub(crate) async fn begin(service: &Arc<Service>) -> Result<bool, StoreError> {
    let me = service.standing.me.clone();
    let instance = service.standing.instance.clone();
    let (micros, alone) = (micros(service.config.replica.lease), service.alone);
    let clock = Arc::clone(&service.clock);
    let asked = clock.now();
    let sent = Instant::now();
    let epoch = service
        .db
        .write(move |tx| {
            clock.agree(asked, tx.now()?);
            if alone {
                // Nobody else can use this database: leases of before are of processes that are gone.
                leases::expire_all(tx)?;
            }
            let epoch = leases::take(tx, &lease_of(&me.id), &instance, micros, true)?;
            if epoch.is_some() {
                replicas::introduce(tx, &me)?;
            }
            Ok(epoch)
        })
        .await?;
    if let Some(epoch) = epoch {
        service.standing.set_epoch(epoch);
        service.standing.prove_life(sent);
    }
    Ok(epoch.is_some())
}

/// A living replica that says it is on this machine, but in another boot of it: two machines have one name. What runs
/// on the other one would be taken for dead here.
///
/// # Errors
/// When the store can't be read.
pub(crate) async fn elsewhere(service: &Arc<Service>) -> Result<Option<String>, StoreError> {
    if service.alone {
        return Ok(None);
    }
    let me = service.standing.me.clone();
    let twin =
        |r: &Replica| r.id != me.id && r.host != me.host && machine_of(&r.host) == machine_of(&me.host);
    let (known, leases) = service.db.read(|tx| Ok((replicas::replicas(tx)?, leases::leases(tx)?))).await?;
    let alive = |r: &Replica| leases.get(&lease_of(&r.id)).is_some_and(|l| l.alive);
    Ok(known.into_iter().find(|r| twin(r) && alive(r)).map(|r| r.id))
}

pub(super) async fn run(service: Arc<Service>, mut shutdown: Shutdown, lost: watch::Sender<bool>) {
    let lease = service.config.replica.lease;
    let mut led = Instant::now();
    loop {
        let sent = Instant::now();
        match beat(&service).await {
            Ok(None) => {
                tracing::error!(
                    replica = %service.standing.me.id,
                    "another process has this replica's id: this one stops"
                );
                // Nobody listening means that it stops already.
                let _ = lost.send(true);
                return;
            }
            Ok(Some(epoch)) => {
                // One that was long on its way tells of a store that stood still for the others as well.
                service.standing.beat(sent.elapsed() < lease / 2);
                if service.standing.holder().epoch != epoch {
                    tracing::warn!(epoch, "this replica was taken for dead and begins a new life");
                    service.standing.set_epoch(epoch);
                }
                service.standing.prove_life(sent);
                // An answer that was long on its way tells of a life that may be over for the others by now.
                if sent.elapsed() < lease {
                    service.show_life();
                }
            }
            Err(e) => {
                tracing::warn!(error = %e, "the replica's lease could not be renewed; trying again");
                service.standing.beat(false);
            }
        }
        match look_around(&service).await {
            Ok((leader, alive)) => {
                led = Instant::now();
                if service.standing.leader_epoch() != leader {
                    tracing::info!(epoch = leader, leads = leader.is_some(), "the leader's lease");
                }
                service.standing.lead(leader);
                service.signals.others(alive.len() > 1);
                service.standing.saw_hosts(hosts_of(&alive));
            }
            Err(e) => {
                tracing::warn!(error = %e, "the leader's lease could not be looked at; trying again");
                if led.elapsed() >= lease {
                    // Its writes would be refused anyway; looking is saved.
                    service.standing.lead(None);
                }
            }
        }
        tokio::select! {
            biased;
            () = shutdown.wait() => break,
            () = sleep(lease / RENEWALS) => {}
        }
    }
    let (own, leader) = (service.standing.holder(), service.standing.leader_epoch());
    service.standing.lead(None);
    let released = service
        .db
        .write(move |tx| {
            if let Some(epoch) = leader {
                leases::release(tx, LEADER, epoch)?;
            }
            leases::release(tx, &lease_of(&own.replica), own.epoch)
        })
        .await;
    if let Err(e) = released {
        tracing::warn!(error = %e, "the leases could not be released; they run out by themselves");
    }
}

/// Renews the replica's own lease, in a transaction of its own: it must not wait for whoever holds the leader's. The
/// epoch; None when another process has its id.
async fn beat(service: &Arc<Service>) -> Result<Option<i64>, StoreError> {
    let me = service.standing.me.clone();
    let instance = service.standing.instance.clone();
    let own = service.standing.holder().epoch;
    let micros = micros(service.config.replica.lease);
    let clock = Arc::clone(&service.clock);
    let asked = clock.now();
    service
        .db
        .write(move |tx| {
            clock.agree(asked, tx.now()?);
            let name = lease_of(&me.id);
            if leases::renew(tx, &name, own, micros)? {
                return Ok(Some(own));
            }
            // It was fenced off. A new life; None when another process lives under this name.
            let epoch = leases::take(tx, &name, &instance, micros, true)?;
            if epoch.is_some() {
                replicas::introduce(tx, &me)?;
            }
            Ok(epoch)
        })
        .await
}

/// Renews or takes the leader's lease, and sees who else is there: the leader's epoch while this replica has that
/// lease, and the replicas that are alive.
async fn look_around(service: &Arc<Service>) -> Result<(Option<i64>, Vec<Replica>), StoreError> {
    let me = service.standing.me.id.clone();
    let leader = service.standing.leader_epoch();
    let micros = micros(service.config.replica.lease);
    service
        .db
        .write(move |tx| {
            let leader = match leader {
                Some(epoch) if leases::renew(tx, LEADER, epoch, micros)? => Some(epoch),
                // Each time anew: nothing decided under an earlier epoch counts.
                Some(_) | None => leases::take(tx, LEADER, &me, micros, true)?,
            };
            let alive = alive(tx, leader.is_some())?;
            Ok((leader, alive))
        })
        .await
}

/// The replicas whose lease is alive; the leader forgets those that are gone for good.
fn alive(tx: &mut dyn Tx, leads: bool) -> Result<Vec<Replica>, StoreError> {
    let (known, leases, now) = (replicas::replicas(tx)?, leases::leases(tx)?, tx.now()?);
    let mut alive = Vec::new();
    for replica in known {
        let lease = leases.get(&lease_of(&replica.id));
        if lease.is_some_and(|l| l.alive) {
            alive.push(replica);
        } else if leads
            && lease.is_none_or(|l| l.renewed_at.plus_seconds(FORGOTTEN_AFTER_SECONDS) < now)
            && !libra_store::tables::attempts::held_by(tx, &replica.id)?
        {
            replicas::forget(tx, &replica.id)?;
        }
    }
    Ok(alive)
}

fn micros(lease: Duration) -> i64 {
    i64::try_from(lease.as_micros()).unwrap_or(i64::MAX)
}
