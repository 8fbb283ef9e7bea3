//! Attempts on a host without any replica: the leader waits until their drivers have ended themselves, then says
//! what is known (design §6, the host rule).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use libra_core::failure::{ErrorClass, Failure};
use libra_core::id::JobId;
use libra_core::lifecycle::Event;
use libra_core::time::Timestamp;
use libra_store::StoreError;
use libra_store::lane::{AttemptNote, Note, Outcome};
use libra_store::tables::attempts::Open;
use libra_store::tables::leases::Lease;
use libra_store::tables::replicas::{Replica, lease_of};
use libra_store::tables::{attempts, jobs, leases, replicas};
use tokio::time::sleep;

use super::Shutdown;
use super::supervisor::{fence_off, is_within_reach};
use crate::service::{ByWhom, FromEngine, Service, machine_of};

/// It looks this often.
const PERIOD: Duration = Duration::from_secs(5);
/// An attempt that nobody claims goes back to the queue after so many leases: nothing of it ever ran.
const UNCLAIMED_LEASES: u32 = 3;

/// When each attempt was first seen whose holder lives on under another epoch where it can't reach it.
type Seen = BTreeMap<(JobId, u32), Timestamp>;

pub(super) async fn run(service: Arc<Service>, mut shutdown: Shutdown) {
    let mut seen = Seen::new();
    loop {
        let epoch = tokio::select! {
            biased;
            () = shutdown.wait() => return,
            epoch = service.standing.leads() => epoch,
        };
        // With a database of its own there is nobody else: whatever is open is this replica's.
        if !service.alone
            && let Err(e) = look(&service, epoch, &mut seen).await
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

async fn look(service: &Arc<Service>, epoch: i64, seen: &mut Seen) -> Result<(), StoreError> {
    let (open, leases, known, now) = service
        .db
        .read(|tx| Ok((attempts::open(tx)?, leases::leases(tx)?, replicas::replicas(tx)?, tx.now()?)))
        .await?;
    let alive = |r: &&Replica| leases.get(&lease_of(&r.id)).is_some_and(|l| l.alive);
    let alive: Vec<&Replica> = known.iter().filter(alive).collect();
    seen.retain(|key, _| open.iter().any(|o| (o.job_id, o.number) == *key));
    for open in open {
        let reached = alive.iter().any(|replica| is_within_reach(&open, replica));
        let lease = open.holder.as_ref().and_then(|h| leases.get(&lease_of(&h.replica)));
        if reached {
            seen.remove(&(open.job_id, open.number));
            continue;
        }
        // What may have been submitted runs on, whatever became of the host: whoever has its files again looks after it.
        let runs_on = open.mode.outlives_host() && open.holder.is_some();
        if runs_on || lost_at(service, &open, lease, now, seen).is_none_or(|at| at > now) {
            continue;
        }
        give_up(service, &open, epoch).await?;
    }
    Ok(())
}

/// From when on it is lost; None while its holder lives.
fn lost_at(
    service: &Service,
    open: &Open,
    lease: Option<&Lease>,
    now: Timestamp,
    seen: &mut Seen,
) -> Option<Timestamp> {
    let config = &service.config.replica;
    let after = |since: Timestamp, wait: Duration| {
        since.plus_micros(i64::try_from(wait.as_micros()).unwrap_or(i64::MAX))
    };
    match (&open.holder, lease) {
        (None, _) => Some(after(open.created_at, config.lease * UNCLAIMED_LEASES)),
        (Some(holder), Some(lease)) if lease.alive && lease.epoch == holder.epoch => None,
        // Its replica has begun another life elsewhere, such as on another host: when the first one ended is not known.
        (Some(_), Some(lease)) if lease.alive => {
            let since = *seen.entry((open.job_id, open.number)).or_insert(now);
            Some(after(since, config.host_lost_after))
        }
        (Some(_), Some(lease)) => Some(after(lease.renewed_at, config.host_lost_after)),
        (Some(_), None) => Some(after(open.created_at, config.host_lost_after)),
    }
}

async fn give_up(service: &Arc<Service>, open: &Open, epoch: i64) -> Result<(), StoreError> {
    // From here on nobody can write about it any more, or launch it, should its replica come back.
    let settled = match &open.holder {
        Some(holder) => fence_off(service, holder).await?,
        None => claim(service, open).await?,
    };
    if !settled {
        return Ok(());
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
            let failure =
                Failure::new(ErrorClass::Infrastructure, "host_lost", message).with_unknown_outcome();
            Event::Failed { failure, jitter: service.clock.jitter() }
        }
    };
    tracing::warn!(job_id = %job.id, attempt = open.number, host, "an attempt is given up with its host");
    service.step(&job, event, ByWhom::Leader(epoch), FromEngine::default()).await?;
    Ok(())
}

/// Becomes the holder of an attempt that nobody has claimed, so that nobody claims and launches it while it goes back
/// to the queue. False when somebody was faster.
async fn claim(service: &Arc<Service>, open: &Open) -> Result<bool, StoreError> {
    let what = Note::Claim { at: service.clock.now(), host: open.host.clone() };
    let by = service.standing.holder();
    let note = AttemptNote { job_id: open.job_id, number: open.number, by, what };
    Ok(service.db.note(note).await? == Outcome::Updated)
}
