//! Attempts on a host without any replica: the leader waits until their drivers have ended themselves, then says
//! what is known (design §6, the host rule).

use std::sync::Arc;
use std::time::Duration;

use libra_core::failure::{ErrorClass, Failure};
use libra_core::lifecycle::Event;
use libra_core::time::Timestamp;
use libra_store::StoreError;
use libra_store::tables::attempts::Open;
use libra_store::tables::leases::Lease;
use libra_store::tables::replicas::{Replica, lease_of};
use libra_store::tables::{attempts, jobs, leases, replicas};
use tokio::time::sleep;

use super::Shutdown;
use crate::service::{ByWhom, FromEngine, Service, machine_of};

/// It looks this often.
const PERIOD: Duration = Duration::from_secs(5);
/// An attempt that nobody claims goes back to the queue after so many leases: nothing of it ever ran.
const UNCLAIMED_LEASES: u32 = 3;

pub(super) async fn run(service: Arc<Service>, mut shutdown: Shutdown) {
    loop {
        let epoch = tokio::select! {
            biased;
            () = shutdown.wait() => return,
            epoch = service.standing.leads() => epoch,
        };
        // With a database of its own there is nobody else: whatever is open is this replica's.
        if !service.alone
            && let Err(e) = look(&service, epoch).await
        {
            tracing::warn!(error = %e, "lost hosts could not be looked for; trying again");
        }
        tokio::select! {
            biased;
            () = shutdown.wait() => return,
            () = sleep(PERIOD) => {}
        }
    }
}

async fn look(service: &Arc<Service>, epoch: i64) -> Result<(), StoreError> {
    let (open, leases, known, now) = service
        .db
        .read(|tx| Ok((attempts::open(tx)?, leases::leases(tx)?, replicas::replicas(tx)?, tx.now()?)))
        .await?;
    let alive = |r: &&Replica| leases.get(&lease_of(&r.id)).is_some_and(|l| l.alive);
    let alive: Vec<&Replica> = known.iter().filter(alive).collect();
    for open in open {
        let reached = alive
            .iter()
            .any(|r| machine_of(&r.host) == machine_of(&open.host) && r.storage == open.storage);
        let lease = open.holder.as_ref().and_then(|h| leases.get(&lease_of(&h.replica)));
        if reached || lost_at(service, &open, lease).is_none_or(|at| at > now) {
            continue;
        }
        give_up(service, &open, epoch).await?;
    }
    Ok(())
}

/// From when on it is lost; None while its holder lives.
fn lost_at(service: &Service, open: &Open, lease: Option<&Lease>) -> Option<Timestamp> {
    let config = &service.config.replica;
    let after = |since: Timestamp, wait: Duration| {
        since.plus_micros(i64::try_from(wait.as_micros()).unwrap_or(i64::MAX))
    };
    match (&open.holder, lease) {
        (None, _) => Some(after(open.created_at, config.lease * UNCLAIMED_LEASES)),
        (Some(holder), Some(lease)) if lease.alive && lease.epoch == holder.epoch => None,
        (Some(_), Some(lease)) => Some(after(lease.renewed_at, config.host_lost_after)),
        (Some(_), None) => Some(after(open.created_at, config.host_lost_after)),
    }
}

async fn give_up(service: &Arc<Service>, open: &Open, epoch: i64) -> Result<(), StoreError> {
    if let Some(holder) = open.holder.clone() {
        // From here on its replica can't write about it any more, should it come back.
        let fenced = move |tx: &mut dyn libra_store::tx::Tx| {
            leases::fence_off(tx, &lease_of(&holder.replica), holder.epoch)
        };
        service.db.write(fenced).await?;
    }
    let id = open.job_id;
    let Some(job) = service.db.read(move |tx| jobs::get(tx, id)).await? else { return Ok(()) };
    if job.attempt != open.number || !job.state.holds_resources() {
        return Ok(());
    }
    let host = machine_of(&open.host);
    let event = match &open.holder {
        None if job.state.has_started() => return Ok(()),
        None => Event::LaunchLost(format!("no replica on the host {host} took it")),
        Some(holder) => {
            let message = format!(
                "the host {host} was lost: its replica {} was not heard of for {} s, and what ran there has ended itself",
                holder.replica,
                service.config.replica.host_lost_after.as_secs()
            );
            let failure = Failure::new(ErrorClass::Infrastructure, "host_lost", message).with_unknown_outcome();
            Event::Failed { failure, jitter: service.clock.jitter() }
        }
    };
    tracing::warn!(job_id = %job.id, attempt = open.number, host, "an attempt is given up with its host");
    service.step(&job, event, ByWhom::Leader(epoch), FromEngine::default()).await?;
    Ok(())
}
