//! Giving jobs their turn: queue waits and backoffs that are over, and room for those that wait.

use std::sync::Arc;
use std::time::Duration;

use libra_core::admission::{self, Usage};
use libra_core::id::JobId;
use libra_core::job::{Job, State};
use libra_core::lifecycle::Event;
use libra_core::time::Timestamp;
use libra_engines::failpoint;
use libra_store::StoreError;
use libra_store::tables::jobs;
use libra_store::tx::Tx;
use tokio::time::sleep;

use super::supervisor::Found;
use super::{Shutdown, Supervisor};
use crate::clock;
use crate::service::{Applied, ByWhom, FromEngine, Service};

/// It looks this often even when nothing was heard and nothing is due.
const PERIOD: Duration = Duration::from_secs(1);
/// While others wait for room already, newcomers are gathered for this long: a look for each would be in vain.
const GATHER: Duration = Duration::from_millis(5);
/// Waiting jobs that are looked at in one pass, for each mode.
const LOOKED_AT: u32 = 64;
/// Deadlines that are handled in one pass.
const DUE_AT_ONCE: u32 = 256;

pub(super) async fn run(service: Arc<Service>, supervisor: Arc<Supervisor>, mut shutdown: Shutdown) {
    loop {
        let next = match pass(&service, &supervisor).await {
            Ok(next) => next,
            Err(e) => {
                tracing::warn!(error = %e, "the scheduler could not look; trying again");
                Next { sleep: PERIOD, crowded: false }
            }
        };
        let newcomer = async {
            service.wake_for_queue.notified().await;
            if next.crowded {
                sleep(GATHER).await;
            }
        };
        tokio::select! {
            () = shutdown.wait() => return,
            () = service.wake_for_room.notified() => {}
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
    /// Jobs whose turn it is, in order.
    turns: Vec<Job>,
    /// Jobs wait for which there is no room.
    crowded: bool,
}

/// One look at the world, and what follows from it.
async fn pass(service: &Arc<Service>, supervisor: &Arc<Supervisor>) -> Result<Next, StoreError> {
    let now = clock::now();
    let looking = Arc::clone(service);
    let seen = service.db.read(move |tx| look(tx, &looking, now)).await?;
    for id in &seen.due {
        deadline(service, *id).await?;
    }
    let idle = seen.turns.is_empty() && seen.due.is_empty();
    for job in seen.turns {
        admit(service, supervisor, &job).await?;
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
    if !waiting.is_empty() {
        let usage = Usage::of(jobs::holding(tx)?.iter().map(|(_, mode, needed)| (*mode, *needed)));
        for id in admission::schedule(&waiting, &usage, &service.config.limits) {
            turns.extend(jobs::get(tx, id)?);
        }
    }
    let crowded = turns.len() < waiting.len();
    Ok(Seen { crowded, due: jobs::due(tx, now, DUE_AT_ONCE)?, next_due: jobs::next_due(tx)?, turns })
}

async fn read(service: &Service, id: JobId) -> Result<Option<Job>, StoreError> {
    service.db.read(move |tx| jobs::get(tx, id)).await
}

/// A queue wait or a backoff is over.
async fn deadline(service: &Arc<Service>, id: JobId) -> Result<(), StoreError> {
    let Some(job) = read(service, id).await? else { return Ok(()) };
    if job.due_at().is_none_or(|due| due > clock::now()) {
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
    service.step(&job, event, ByWhom::Worker, FromEngine::default()).await?;
    Ok(())
}

async fn admit(service: &Arc<Service>, supervisor: &Arc<Supervisor>, job: &Job) -> Result<(), StoreError> {
    let Some(taken) = supervisor.reserve(job.id, job.attempt + 1) else { return Ok(()) };
    // A job that has moved on since is somebody else's decision: the next pass sees it.
    if let Applied::Done(job, Some(attempt)) =
        service.step(job, Event::Admitted, ByWhom::Worker, FromEngine::default()).await?
    {
        failpoint::hit("after-scheduled");
        supervisor.look_after(taken, *job, *attempt, Found::JustOpened);
    }
    Ok(())
}
