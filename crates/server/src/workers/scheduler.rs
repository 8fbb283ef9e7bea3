//! Giving jobs their turn: queue waits and backoffs that are over, and room for those that wait.

use std::sync::Arc;
use std::time::Duration;

use libra_core::admission::{self, Usage};
use libra_core::id::JobId;
use libra_core::job::{Job, State};
use libra_core::lifecycle::Event;
use libra_engines::failpoint;
use libra_store::StoreError;
use libra_store::tables::jobs;
use tokio::time::timeout;

use super::{Shutdown, Supervisor};
use crate::clock;
use crate::service::{Applied, ByWhom, FromEngine, Service};

/// It looks this often even when nothing was heard and nothing is due.
const PERIOD: Duration = Duration::from_secs(1);
/// Waiting jobs that are looked at in one pass, for each mode.
const LOOKED_AT: u32 = 64;
/// Deadlines that are handled in one pass.
const DUE_AT_ONCE: u32 = 256;

pub(super) async fn run(service: Arc<Service>, supervisor: Arc<Supervisor>, mut shutdown: Shutdown) {
    loop {
        let sleep = match pass(&service, &supervisor).await {
            Ok(sleep) => sleep,
            Err(e) => {
                tracing::warn!(error = %e, "the scheduler could not look; trying again");
                PERIOD
            }
        };
        tokio::select! {
            () = shutdown.wait() => return,
            _ = timeout(sleep, service.wake_scheduler.notified()) => {}
        }
    }
}

/// One look at the world; says how long to sleep at most.
async fn pass(service: &Service, supervisor: &Arc<Supervisor>) -> Result<Duration, StoreError> {
    let now = clock::now();
    let modes = service.config.enabled.clone();
    let (due, waiting, holding, next) = service
        .db
        .read(move |tx| {
            let mut waiting = Vec::new();
            for mode in modes {
                waiting.extend(jobs::waiting(tx, mode, LOOKED_AT)?);
            }
            Ok((jobs::due(tx, now, DUE_AT_ONCE)?, waiting, jobs::holding(tx)?, jobs::next_due(tx)?))
        })
        .await?;
    for id in &due {
        deadline(service, *id).await?;
    }
    let usage = Usage::of(holding.iter().map(|(_, mode, needed)| (*mode, *needed)));
    let turns = admission::schedule(&waiting, &usage, &service.config.limits);
    for id in &turns {
        admit(service, supervisor, *id).await?;
    }
    if !turns.is_empty() || !due.is_empty() {
        return Ok(Duration::ZERO);
    }
    let until_due = next.map_or(PERIOD, |t| Duration::from_secs_f64(t.seconds_since(now)));
    Ok(until_due.min(PERIOD))
}

async fn read(service: &Service, id: JobId) -> Result<Option<Job>, StoreError> {
    service.db.read(move |tx| jobs::get(tx, id)).await
}

/// A queue wait or a backoff is over.
async fn deadline(service: &Service, id: JobId) -> Result<(), StoreError> {
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

async fn admit(service: &Service, supervisor: &Arc<Supervisor>, id: JobId) -> Result<(), StoreError> {
    let Some(job) = read(service, id).await? else { return Ok(()) };
    // A job that has moved on since is somebody else's decision: the next pass sees it.
    if let Applied::Done(job, Some(attempt)) =
        service.step(&job, Event::Admitted, ByWhom::Worker, FromEngine::default()).await?
    {
        failpoint::hit("after-scheduled");
        supervisor.take(*job, *attempt);
    }
    Ok(())
}
