//! Giving jobs their turn: queue waits and backoffs that are over, and room for those that wait. The leader alone
//! does it, and what it writes counts only while it leads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use libra_core::id::JobId;
use libra_core::job::{Job, State};
use libra_core::lifecycle::Event;
use libra_core::mode::Mode;
use libra_core::turn::{Decision, Exceeded, Why};
use libra_engines::failpoint;
use libra_store::StoreError;
use libra_store::tables::jobs;
use tokio::time::{Instant, sleep};

use super::supervisor::Found;
use super::{Shutdown, Supervisor};
use crate::service::{Applied, ByWhom, FromEngine, Given, Place, Service, machine_of};

/// It looks this often even when nothing was heard and nothing is due.
const PERIOD: Duration = Duration::from_secs(1);
/// While others wait for room already, newcomers are gathered for this long: a look for each would be in vain.
const GATHER: Duration = Duration::from_millis(5);
/// Jobs that take their turn together.
const STARTED_AT_ONCE: usize = 256;
/// Before turns are given again that could not be taken.
const TRY_AGAIN: Duration = Duration::from_millis(100);
/// Deadlines that are handled in one pass.
const DUE_AT_ONCE: u32 = 256;

pub(super) async fn run(service: Arc<Service>, supervisor: Arc<Supervisor>, mut shutdown: Shutdown) {
    let mut memory = Memory::default();
    loop {
        let epoch = tokio::select! {
            biased;
            () = shutdown.wait() => return,
            epoch = service.standing.leads() => epoch,
        };
        let next = match pass(&service, &supervisor, epoch, &mut memory).await {
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

/// What the leader remembers between two looks.
#[derive(Default)]
struct Memory {
    /// Limits that more is held of than they allow, as told last.
    exceeded: Vec<Exceeded>,
    /// When it was written down last for whom room is kept.
    kept_at: Option<Instant>,
}

/// One look at the world, and what follows from it.
async fn pass(
    service: &Arc<Service>,
    supervisor: &Arc<Supervisor>,
    epoch: i64,
    memory: &mut Memory,
) -> Result<Next, StoreError> {
    let now = service.clock.now();
    let (due, next_due) =
        service.db.read(move |tx| Ok((jobs::due(tx, now, DUE_AT_ONCE)?, jobs::next_due(tx)?))).await?;
    for done in join_all(due.iter().map(|id| deadline(service, *id, epoch))).await {
        done?;
    }
    let mut given = service.give_turns(epoch).await?;
    tell_excess(&mut memory.exceeded, std::mem::take(&mut given.exceeded));
    let taken = start(service, supervisor, &given, epoch).await?;
    if memory.kept_at.is_none_or(|at| at.elapsed() >= PERIOD) {
        memory.kept_at = Some(Instant::now());
        service.write_keepers(epoch).await?;
    }
    if taken > 0 || !due.is_empty() {
        return Ok(Next { sleep: Duration::ZERO, crowded: false });
    }
    let until_due = next_due.map_or(PERIOD, |t| Duration::from_secs_f64(t.seconds_since(now)));
    // Turns that were not taken are given again, but not at once: something has to change first.
    let rest = if given.decisions.is_empty() { PERIOD } else { TRY_AGAIN };
    Ok(Next { sleep: until_due.min(rest), crowded: given.crowded })
}

/// Jobs take their turns; says how many did. All others are doubted, those after an error included.
async fn start(
    service: &Arc<Service>,
    supervisor: &Arc<Supervisor>,
    given: &Given,
    epoch: i64,
) -> Result<usize, StoreError> {
    let mut not_taken: BTreeSet<JobId> = given.decisions.iter().map(|decision| decision.job).collect();
    let ended = take(service, supervisor, given, epoch, &mut not_taken).await;
    if !not_taken.is_empty() {
        service.turns_not_taken(&not_taken.iter().copied().collect::<Vec<_>>()).await;
    }
    ended.map(|()| given.decisions.len() - not_taken.len())
}

async fn take(
    service: &Arc<Service>,
    supervisor: &Arc<Supervisor>,
    given: &Given,
    epoch: i64,
    not_taken: &mut BTreeSet<JobId>,
) -> Result<(), StoreError> {
    for some in given.decisions.chunks(STARTED_AT_ONCE) {
        let ids: Vec<JobId> = some.iter().map(|decision| decision.job).collect();
        let read = service.db.read(move |tx| jobs::get_many(tx, &ids)).await?;
        let jobs: BTreeMap<JobId, Job> = read.into_iter().map(|job| (job.id, job)).collect();
        // All at once: they share a commit.
        let admitted = some.iter().map(|decision| {
            let place = supervisor.place(&given.replicas, &decision.node);
            let job = jobs.get(&decision.job);
            async move {
                match job {
                    Some(job) => admit(service, supervisor, job, decision, place, epoch).await,
                    None => Ok(false),
                }
            }
        });
        let mut failed = None;
        for (decision, done) in some.iter().zip(join_all(admitted).await) {
            match done {
                Ok(true) => {
                    not_taken.remove(&decision.job);
                    service.metrics.turn_given(match decision.why {
                        Why::Turn => "turn",
                        Why::Reserved => "reserved",
                        Why::Backfill { .. } => "backfill",
                    });
                }
                Ok(false) => {}
                Err(e) => failed = Some(e),
            }
        }
        if let Some(e) = failed {
            return Err(e);
        }
    }
    Ok(())
}

/// Warns when less is allowed than is held: nothing is ended for it, and nothing joins it.
fn tell_excess(told: &mut Vec<Exceeded>, exceeded: Vec<Exceeded>) {
    let keys = |list: &[Exceeded]| list.iter().map(|e| e.key.clone()).collect::<Vec<_>>();
    if keys(told) != keys(&exceeded) {
        for Exceeded { key, text, .. } in &exceeded {
            tracing::warn!(limit = %key, "more is held than is allowed: {text}; it goes on, and nothing joins it");
        }
        if exceeded.is_empty() {
            tracing::info!("no more is held than is allowed");
        }
    }
    *told = exceeded;
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

/// The job takes its turn; false when it could not.
async fn admit(
    service: &Arc<Service>,
    supervisor: &Arc<Supervisor>,
    job: &Job,
    decision: &Decision,
    place: Option<Place>,
    epoch: i64,
) -> Result<bool, StoreError> {
    if job.mode == Mode::Flink {
        return admit_run(service, job, decision, epoch).await;
    }
    let machine = &decision.node;
    // A replica that has just gone: the next look sees the hosts as they are then.
    let Some(place) = place else { return Ok(false) };
    let Some(taken) = supervisor.reserve(job.id, job.attempt + 1) else { return Ok(false) };
    let own = place.holder.is_some();
    let until = service.launch_until();
    debug_assert_eq!(machine_of(&place.host), machine, "a place on the machine that was chosen");
    let engine = FromEngine { place: Some(place), why: Some(decision.why), ..FromEngine::default() };
    // A job that has moved on since is somebody else's decision: the next pass sees it.
    let taken_step =
        service.step(job, Event::Admitted(machine.to_owned()), ByWhom::Leader(epoch), engine).await;
    if let Err(StoreError::Interrupted(_)) = &taken_step {
        // It may be admitted yet, when its room is another's: under the next epoch no longer.
        service.standing.give_up(epoch);
    }
    let Applied::Done(job, Some(attempt)) = taken_step? else { return Ok(false) };
    failpoint::hit("after-scheduled");
    if own {
        supervisor.look_after(taken, *job, *attempt, Found::JustOpened { until });
    } else {
        drop(taken);
        service.hand_off(&attempt).await;
    }
    Ok(true)
}

/// The same for a run of a deployment: no replica launches it, its deployment does.
async fn admit_run(
    service: &Arc<Service>,
    job: &Job,
    decision: &Decision,
    epoch: i64,
) -> Result<bool, StoreError> {
    let place = Place { host: decision.node.clone(), storage: String::new(), holder: None };
    let engine = FromEngine { place: Some(place), why: Some(decision.why), ..FromEngine::default() };
    let event = Event::Admitted(decision.node.clone());
    let taken = service.step(job, event, ByWhom::Leader(epoch), engine).await;
    if let Err(StoreError::Interrupted(_)) = &taken {
        service.standing.give_up(epoch);
    }
    let Applied::Done(job, _) = taken? else { return Ok(false) };
    failpoint::hit("flink-turn-given");
    service.tell_deployment_of(&job);
    Ok(true)
}
