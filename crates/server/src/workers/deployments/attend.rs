//! One look at one deployment, and what follows from it.

use std::sync::Arc;
use std::time::Instant;

use libra_core::deployment::declared::{ClusterFacts, Generation, desired};
use libra_core::deployment::reconcile::{
    Effect, Event, JobState, Mode, Moment, Observed, Phase, RESEND_AFTER, Reply, Row, Run, Step, reconcile,
};
use libra_core::deployment::spec::JobType;
use libra_core::time::{MICROS_PER_SECOND, Timestamp};
use libra_engines::failpoint;
use libra_engines::flink::{Known, Look};
use libra_store::StoreError;
use libra_store::tables::deployment_history::Happening;
use libra_store::tables::deployments::{self, Deployment, Name, Stepped, Written};
use tokio::sync::Semaphore;

use super::disk;
use super::effects::{self, Removals};
use super::keeper::USUAL;
use super::times::{self, Taken};
use crate::flink::FlinkCluster;
use crate::service::standing::leader_fence;
use crate::service::{Service, generations_of};
use crate::telemetry::flink::Outcome;

/// A look that is older than this when its turn comes is not used, in microseconds.
const FRESH: i64 = 10 * MICROS_PER_SECOND;

/// What is to be looked at.
pub(super) struct Task {
    pub(super) name: Name,
    /// What the cluster says to all, or why it says nothing.
    pub(super) look: Result<Arc<Look>, String>,
    pub(super) looked_at: Timestamp,
    pub(super) reply: Option<Reply>,
    pub(super) removals: Removals,
    pub(super) epoch: i64,
    /// When its present job was sent, where this process has seen it.
    pub(super) started: Option<Timestamp>,
}

/// How that went.
pub(super) struct Attended {
    pub(super) name: Name,
    /// When to look again; None = something went wrong.
    pub(super) due: Option<Timestamp>,
    /// The revision that is stored now.
    pub(super) revision: Option<i64>,
    /// What came back on requests; None = what was known before still counts.
    pub(super) heard: Option<(Option<Reply>, Removals)>,
    /// When its present job was sent, where that was now.
    pub(super) started: Option<Timestamp>,
    /// How it stands; None = nobody has looked.
    pub(super) standing: Option<Standing>,
}

/// How a deployment stands, for the figures.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    pub(super) job_type: JobType,
    pub(super) lives: bool,
    /// When its newest savepoint was made.
    pub(super) saved_at: Option<Timestamp>,
}

/// Looks, decides, stores, acts.
pub(super) async fn attend(
    service: Arc<Service>,
    cluster: Arc<FlinkCluster>,
    places: Arc<Semaphore>,
    task: Task,
) -> Attended {
    let name = task.name.clone();
    let nothing = |due| Attended {
        name: name.clone(),
        due,
        revision: None,
        heard: None,
        started: None,
        standing: None,
    };
    // The places are never closed.
    let Ok(_place) = places.acquire_owned().await else { return nothing(None) };
    if service.clock.now().0.saturating_sub(task.looked_at.0) > FRESH {
        return nothing(Some(service.clock.now()));
    }
    let began = Instant::now();
    let went = go(&service, &cluster, task).await;
    service.metrics.flink.reconciled(began.elapsed().as_secs_f64(), went.is_ok());
    match went {
        Ok(attended) => attended,
        Err(error) => {
            tracing::warn!(deployment = name.id, %error, "a deployment could not be looked at; trying again");
            nothing(None)
        }
    }
}

async fn go(service: &Service, cluster: &FlinkCluster, task: Task) -> Result<Attended, StoreError> {
    let nothing =
        |name: Name, due| Attended { name, due, revision: None, heard: None, started: None, standing: None };
    let name = task.name.clone();
    let found = service
        .db
        .read(move |tx| {
            let Some(found) = deployments::get(tx, &name)? else { return Ok(None) };
            let generations = generations_of(tx, &found)?;
            Ok(Some((found, generations)))
        })
        .await?;
    let Some((mut deployment, generations)) = found else { return Ok(nothing(task.name, None)) };
    let facts = cluster.facts().unwrap_or_default();
    let end_run = deployment.agenda.end_run;
    let Some(mut told) = desired(&deployment.wish, end_run, &generations, &facts) else {
        tracing::error!(deployment = deployment.name.id, "its wanted generation is not stored");
        return Ok(nothing(task.name, None));
    };
    let taken = times::take(service, &mut deployment, &generations, &mut told, task.epoch).await?;
    let (look_at, clean_up) = match taken {
        Taken::Stored { look_at, clean_up } => (look_at, clean_up),
        Taken::Overtaken => return Ok(nothing(task.name, Some(service.clock.now()))),
    };
    let row = &deployment.log;
    let observed = match &task.look {
        Err(why) => Observed::Unreachable(why.clone()),
        Ok(look) => {
            let known = Known {
                reply: task.reply.clone(),
                disk: disk_of(cluster, look, row).await,
                disposals: task.removals.answers(&cluster.flink).await,
            };
            look.of(&cluster.flink, &told, row, known).await
        }
    };
    let moment = Moment { now: service.clock.now(), fresh: fresh(service), jitter: service.clock.jitter() };
    let step = reconcile(&told, row, &observed, moment);
    if step.row != *row && store(service, &deployment, &step, task.epoch).await? == Written::Stale {
        return Ok(nothing(task.name, Some(service.clock.now())));
    }
    let starts = step.effects.iter().any(|effect| matches!(effect, Effect::Emit(Event::Starts { .. })));
    count(service, &deployment, &generations, &step, task.started);
    if forgotten(service, &deployment, &step, task.epoch).await? {
        return Ok(nothing(task.name, None));
    }
    let told = Told { deployment: &deployment, generations: &generations, facts: &facts, epoch: task.epoch };
    let heard = act(service, cluster, &told, &step, task.removals, moment.now).await;
    if let (true, Ok(look)) = (clean_up, &task.look) {
        times::clean_up(service, cluster, look, &deployment, &generations, task.epoch).await?;
    }
    let usual = service.clock.now().plus_micros(USUAL);
    let due = step.effects.iter().find_map(|effect| match effect {
        Effect::WaitUntil(at) => Some(*at),
        Effect::Upload { .. }
        | Effect::Run { .. }
        | Effect::Stop { .. }
        | Effect::Savepoint { .. }
        | Effect::Cancel { .. }
        | Effect::Dispose { .. }
        | Effect::Poll { .. }
        | Effect::Emit(_) => None,
    });
    Ok(Attended {
        name: task.name,
        due: [due, look_at, Some(usual)].into_iter().flatten().min(),
        revision: i64::try_from(step.row.revision).ok(),
        heard: Some(heard),
        started: starts.then_some(moment.now),
        standing: standing(&deployment, &generations, &step.row),
    })
}

fn job_type(generations: &[Generation], generation: u64) -> Option<JobType> {
    generations.iter().find(|of| of.number == generation).map(|of| of.normal.job_type)
}

fn standing(deployment: &Deployment, generations: &[Generation], row: &Row) -> Option<Standing> {
    Some(Standing {
        job_type: job_type(generations, deployment.wish.target())?,
        lives: row.run.as_ref().is_some_and(Run::may_live),
        saved_at: row.savepoints.last().map(|savepoint| savepoint.at),
    })
}

/// Counts versions that were found stable, have ended well, or were given up.
fn count(
    service: &Service,
    deployment: &Deployment,
    generations: &[Generation],
    step: &Step,
    started: Option<Timestamp>,
) {
    for effect in &step.effects {
        let Effect::Emit(event) = effect else { continue };
        let outcome = if matches!(event, Event::Phase(Phase::Stable | Phase::Completed)) {
            Outcome::Succeeded
        } else if matches!(event, Event::RolledBack { .. } | Event::GivenUp(_)) {
            Outcome::Failed
        } else {
            continue;
        };
        // What was given up is what was wanted, whatever runs instead.
        let run = step.row.run.as_ref().filter(|_| outcome == Outcome::Succeeded);
        let generation = run.map_or(deployment.wish.target(), |run| run.generation);
        let Some(job_type) = job_type(generations, generation) else { continue };
        let seconds = started.filter(|_| run.is_some()).map(|at| service.clock.now().seconds_since(at));
        service.metrics.flink.deployed(outcome, job_type, seconds);
    }
}

/// What an effect is carried out with.
pub(super) struct Told<'a> {
    pub(super) deployment: &'a Deployment,
    pub(super) generations: &'a [Generation],
    pub(super) facts: &'a ClusterFacts,
    /// Of the leader.
    pub(super) epoch: i64,
}

async fn store(
    service: &Service,
    deployment: &Deployment,
    step: &Step,
    epoch: i64,
) -> Result<Written, StoreError> {
    let what: Vec<Happening> = step.effects.iter().filter_map(effects::happening).collect();
    for happening in &what {
        tracing::info!(deployment = deployment.name.id, kind = happening.kind, "{}", happening.message);
    }
    let stepped = Stepped {
        name: deployment.name.clone(),
        from: deployment.log.revision,
        log: step.row.clone(),
        generation: deployment.wish.target(),
        what,
        at: service.clock.now(),
    };
    let fence = leader_fence(epoch);
    service.db.write(move |tx| deployments::step(tx, &fence, &stepped)).await
}

/// Forgets a deployment that is deleted and gone.
async fn forgotten(
    service: &Service,
    deployment: &Deployment,
    step: &Step,
    epoch: i64,
) -> Result<bool, StoreError> {
    let leaving = matches!(deployment.wish.mode, Mode::Deleted { savepoint: _ });
    if !leaving || step.row.phase != Phase::Deleted {
        return Ok(false);
    }
    let (fence, name, from) = (leader_fence(epoch), deployment.name.clone(), step.row.revision);
    let written = service.db.write(move |tx| deployments::forget(tx, &fence, &name, from)).await?;
    Ok(written == Written::Done)
}

/// Does what was decided, in order; answers what came back.
async fn act(
    service: &Service,
    cluster: &FlinkCluster,
    told: &Told<'_>,
    step: &Step,
    mut removals: Removals,
    since: Timestamp,
) -> (Option<Reply>, Removals) {
    let mut reply = None;
    for effect in &step.effects {
        let Some(point) = effects::point(effect) else { continue };
        // After a long sleep its successor may have given this request up: what is sent now would be a second job.
        let late = service.clock.now().0.saturating_sub(since.0) > RESEND_AFTER;
        if matches!(effect, Effect::Run { .. }) && (late || service.leader_epoch() != Some(told.epoch)) {
            continue;
        }
        failpoint::hit(&format!("flink-{point}-recorded"));
        if let Some(heard) = effects::perform(service, cluster, told, effect, &mut removals).await {
            reply = Some(heard);
        }
        failpoint::hit(&format!("flink-{point}-done"));
    }
    removals.retain(&step.row.savepoints);
    (reply, removals)
}

/// What the directories hold, where they may tell more than the cluster: while something is asked of the job, and when it
/// is not in the list, or at its end.
async fn disk_of(
    cluster: &FlinkCluster,
    look: &Look,
    row: &Row,
) -> Option<libra_core::deployment::reconcile::Disk> {
    let listed = row.run.as_ref().and_then(|run| look.state(run.id));
    let lives = listed.is_some_and(|state: JobState| !state.is_terminal());
    if lives && row.operation.is_none() {
        return None;
    }
    disk::read(cluster.checkpoints(), row).await
}

/// 128 random bits.
fn fresh(service: &Service) -> u128 {
    let (high, low) = (service.clock.entropy(), service.clock.entropy());
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&high[..8]);
    bytes[8..].copy_from_slice(&low[..8]);
    u128::from_be_bytes(bytes)
}
