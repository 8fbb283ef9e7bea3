//! Giving jobs their turn: queue waits and backoffs that are over, and room for those that wait. The leader alone
//! does it, and what it writes counts only while it leads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use libra_core::admission;
use libra_core::id::JobId;
use libra_core::job::{Job, State};
use libra_core::lifecycle::Event;
use libra_core::time::Timestamp;
use libra_engines::failpoint;
use libra_store::StoreError;
use libra_store::tables::jobs;
use libra_store::tables::leases;
use libra_store::tables::replicas::{self, Replica, lease_of};
use libra_store::tx::Tx;
use tokio::time::sleep;

use super::supervisor::Found;
use super::{Shutdown, Supervisor};
use crate::service::standing::hosts_of;
use crate::service::{Applied, ByWhom, FromEngine, Place, Service, machine_of, usage_of};

/// It looks this often even when nothing was heard and nothing is due.
const PERIOD: Duration = Duration::from_secs(1);
/// While others wait for room already, newcomers are gathered for this long: a look for each would be in vain.
const GATHER: Duration = Duration::from_millis(5);
/// Waiting jobs that are looked at in one pass, for each mode.
const LOOKED_AT: u32 = 256;
/// Deadlines that are handled in one pass.
const DUE_AT_ONCE: u32 = 256;

pub(super) async fn run(service: Arc<Service>, supervisor: Arc<Supervisor>, mut shutdown: Shutdown) {
    loop {
        let epoch = tokio::select! {
            biased;
            () = shutdown.wait() => return,
            epoch = service.standing.leads() => epoch,
        };
        let next = match pass(&service, &supervisor, epoch).await {
            Ok(next) => next,
            Err(e) => {
                tracing::warn!(error = %e, "the scheduler could not look; trying again");
                Next { sleep: PERIOD, crowded: false }
            }
        };
        let newcomer = async {
            service.signals.queue.notified().await;
            if next.crowded {
                sleep(GATHER).await;
            }
        };
        tokio::select! {
            biased;
            () = shutdown.wait() => return,
            () = service.signals.room.notified() => {}
            () = newcomer => {}
            () = sleep(next.sleep) => {}
        }
    }
}

/// When to look again.
struct Next {
    /// Latest after this time.
    sleep: Duration,
    /// Jobs wait for which there is no room.
    crowded: bool,
}

/// What one look at the world brought.
struct Seen {
    due: Vec<JobId>,
    next_due: Option<Timestamp>,
    /// Jobs whose turn it is, in order, each with its machine.
    turns: Vec<(Job, String)>,
    /// Replicas that are alive.
    replicas: Vec<Replica>,
    /// Jobs wait for which there is no room.
    crowded: bool,
}

/// One look at the world, and what follows from it.
async fn pass(service: &Arc<Service>, supervisor: &Arc<Supervisor>, epoch: i64) -> Result<Next, StoreError> {
    let now = service.clock.now();
    let looking = Arc::clone(service);
    let seen = service.db.read(move |tx| look(tx, &looking, now)).await?;
    for done in join_all(seen.due.iter().map(|id| deadline(service, *id, epoch))).await {
        done?;
    }
    let idle = seen.turns.is_empty() && seen.due.is_empty();
    // All at once: they share a commit.
    let admitted = seen.turns.iter().map(|(job, machine)| {
        let place = supervisor.place(&seen.replicas, machine);
        admit(service, supervisor, job, machine, place, epoch)
    });
    for done in join_all(admitted).await {
        done?;
    }
    if !idle {
        return Ok(Next { sleep: Duration::ZERO, crowded: false });
    }
    let until_due = seen.next_due.map_or(PERIOD, |t| Duration::from_secs_f64(t.seconds_since(now)));
    Ok(Next { sleep: until_due.min(PERIOD), crowded: seen.crowded })
}

/// Reads what is needed and decides, in one snapshot; the revision guards what is written of it.
fn look(tx: &mut dyn Tx, service: &Service, now: Timestamp) -> Result<Seen, StoreError> {
    let mut waiting = Vec::new();
    for mode in &service.config.enabled {
        waiting.extend(jobs::waiting(tx, *mode, LOOKED_AT)?);
    }
    let mut turns = Vec::new();
    let mut replicas = Vec::new();
    if !waiting.is_empty() {
        replicas = alive(tx)?;
        let usage = usage_of(&jobs::holding(tx)?);
        let admitted = admission::schedule(&waiting, &usage, &service.config.limits, &hosts_of(&replicas));
        let ids: Vec<JobId> = admitted.iter().map(|(id, _)| *id).collect();
        let mut read: BTreeMap<JobId, Job> =
            jobs::get_many(tx, &ids)?.into_iter().map(|job| (job.id, job)).collect();
        turns.extend(admitted.into_iter().filter_map(|(id, machine)| Some((read.remove(&id)?, machine))));
    }
    let crowded = turns.len() < waiting.len();
    let (due, next_due) = (jobs::due(tx, now, DUE_AT_ONCE)?, jobs::next_due(tx)?);
    Ok(Seen { due, next_due, turns, replicas, crowded })
}

fn alive(tx: &mut dyn Tx) -> Result<Vec<Replica>, StoreError> {
    let leases = leases::leases(tx)?;
    let mut replicas = replicas::replicas(tx)?;
    replicas.retain(|r| leases.get(&lease_of(&r.id)).is_some_and(|l| l.alive));
    Ok(replicas)
}

async fn read(service: &Service, id: JobId) -> Result<Option<Job>, StoreError> {
    service.db.read(move |tx| jobs::get(tx, id)).await
}

/// A queue wait or a backoff is over.
async fn deadline(service: &Arc<Service>, id: JobId, epoch: i64) -> Result<(), StoreError> {
    let Some(job) = read(service, id).await? else { return Ok(()) };
    if job.due_at().is_none_or(|due| due > service.clock.now()) {
        return Ok(());
    }
    let event = match job.state {
        State::Queued => Event::QueueTimedOut,
        State::Retrying => Event::BackoffElapsed,
        State::Submitted
        | State::Validating
        | State::Scheduled
        | State::Running
        | State::Succeeded
        | State::Failed
        | State::Cancelled
        | State::Timeout => return Ok(()),
    };
    service.step(&job, event, ByWhom::Leader(epoch), FromEngine::default()).await?;
    Ok(())
}

async fn admit(
    service: &Arc<Service>,
    supervisor: &Arc<Supervisor>,
    job: &Job,
    machine: &str,
    place: Option<Place>,
    epoch: i64,
) -> Result<(), StoreError> {
    // A replica that has just gone: the next look sees the hosts as they are then.
    let Some(place) = place else { return Ok(()) };
    let Some(taken) = supervisor.reserve(job.id, job.attempt + 1) else { return Ok(()) };
    let own = place.holder.is_some();
    let until = service.launch_until();
    debug_assert_eq!(machine_of(&place.host), machine, "a place on the machine that was chosen");
    let engine = FromEngine { place: Some(place), ..FromEngine::default() };
    // A job that has moved on since is somebody else's decision: the next pass sees it.
    let taken_step =
        service.step(job, Event::Admitted(machine.to_owned()), ByWhom::Leader(epoch), engine).await;
    if let Err(StoreError::Interrupted(_)) = &taken_step {
        // It may be admitted yet, when its room is another's: under the next epoch no longer.
        service.standing.give_up(epoch);
    }
    if let Applied::Done(job, Some(attempt)) = taken_step? {
        failpoint::hit("after-scheduled");
        if own {
            supervisor.look_after(taken, *job, *attempt, Found::JustOpened { until });
        } else {
            drop(taken);
            service.hand_off(&attempt).await;
        }
    }
    Ok(())
}
