//! One look at one deployment, and what follows from it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use libra_core::deployment::declared::Generation;
use libra_core::deployment::reconcile::{
    Effect, Event, Fate, JobState, Mode, Moment, Observed, Phase, Reply, Row, Run, Step, USUAL, fared,
    needs_pages, pages_do_for, reconcile,
};
use libra_core::deployment::spec::{JobType, Millis};
use libra_core::deployment::turns::waits;
use libra_core::id::JobId;
use libra_core::job::State;
use libra_core::time::Timestamp;
use libra_engines::failpoint;
use libra_engines::flink::{Known, Look, Pages};
use libra_store::StoreError;
use libra_store::tables::deployment_history::Happening;
use libra_store::tables::deployment_turns::{self, Standing as Job};
use libra_store::tables::deployments::{self, Deployment, Head, Name, Stepped, Written};

use super::disk;
use super::effects::{self, Removals};
use super::requests::{self, Asked, Place, Places, Request};
use super::stored::Stored;
use super::times::{self, Taken};
use super::turns;
use crate::flink::FlinkCluster;
use crate::service::Service;
use crate::service::standing::leader_fence;
use crate::signatures::Policy;
use crate::telemetry::flink::Outcome;

/// How jobs are that stand for runs; None for one that is gone.
pub(super) type Standings = HashMap<JobId, Option<Job>>;

/// What is to be looked at.
pub(super) struct Task {
    pub(super) name: Name,
    /// The numbers that its row had when it was last seen.
    pub(super) head: Head,
    /// The deployment as it was last read.
    pub(super) stored: Option<Box<Stored>>,
    /// What the cluster says to all, or why it says nothing.
    pub(super) look: Result<Arc<Look>, String>,
    /// How jobs are that stand for runs, as they were read with that look; those that are missing were not asked for.
    pub(super) jobs: Arc<Standings>,
    /// What the pages of its job said, and until when that will do.
    pub(super) pages: Option<(Pages, Timestamp)>,
    /// How many deployments there are on the cluster.
    pub(super) beside: usize,
    pub(super) reply: Option<Reply>,
    /// Requests that are still waited for.
    pub(super) asked: Vec<Asked>,
    pub(super) removals: Removals,
    pub(super) epoch: i64,
    /// When its present job was sent, where this process has seen it.
    pub(super) started: Option<Timestamp>,
    /// Places for what takes long.
    pub(super) places: Places,
}

/// How that went.
#[derive(Default)]
pub(super) struct Attended {
    /// When to look again; None = something went wrong.
    pub(super) due: Option<Timestamp>,
    /// The numbers of its row now, where they are known.
    pub(super) head: Option<Head>,
    /// The deployment as it is stored now.
    pub(super) stored: Option<Box<Stored>>,
    pub(super) pages: Option<(Pages, Timestamp)>,
    /// What came back on requests; None = what was known before still counts.
    pub(super) heard: Option<(Option<Reply>, Removals)>,
    /// What is to be sent: it takes long.
    pub(super) request: Option<(Request, Timestamp, Place)>,
    /// Nothing was done, because what takes long has no place now.
    pub(super) waits_for_place: bool,
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
pub(super) async fn attend(service: Arc<Service>, cluster: Arc<FlinkCluster>, task: Task) -> Attended {
    let id = task.name.id.clone();
    let began = Instant::now();
    let went = go(&service, &cluster, task).await;
    service.metrics.flink.reconciled(began.elapsed().as_secs_f64(), went.is_ok());
    went.unwrap_or_else(|error| {
        tracing::warn!(deployment = id, %error, "a deployment could not be looked at; trying again");
        Attended::default()
    })
}

async fn go(service: &Arc<Service>, cluster: &FlinkCluster, mut task: Task) -> Result<Attended, StoreError> {
    let at_once = || Attended { due: Some(service.clock.now()), ..Attended::default() };
    let Some((mut stored, job)) = read(service, cluster, &mut task).await? else {
        return Ok(Attended::default());
    };
    let ended = turns::ended_by_hand(&stored.deployment, &stored.told, job);
    let Stored { deployment, generations, told, .. } = &mut stored;
    let taken = times::take(service, deployment, generations, told, ended, task.epoch).await?;
    let (look_at, clean_up) = match taken {
        Taken::Stored { look_at, clean_up } => (look_at, clean_up),
        Taken::Overtaken => return Ok(at_once()),
    };
    let (observed, pages) = observe(service, cluster, &stored, &mut task).await;
    let moment = Moment { now: service.clock.now(), fresh: fresh(service), jitter: service.clock.jitter() };
    let mut step = reconcile(&stored.told, &stored.deployment.log, &observed, moment);
    // Before anything of it is stored: what stands in the row is sent at once.
    let Ok(place) = place_for(&task.places, &step) else {
        return Ok(Attended { waits_for_place: true, pages, stored: Some(Box::new(stored)), ..at_once() });
    };
    if record(service, &stored, job.map(|job| job.state), &mut step, task.epoch).await? == Written::Stale {
        return Ok(at_once());
    }
    if step.row.phase == Phase::Waiting {
        failpoint::hit("flink-turn-recorded");
    }
    let starts = step.effects.iter().any(|effect| matches!(effect, Effect::Emit(Event::Starts { .. })));
    count(service, &stored.deployment, &stored.generations, &step, task.started);
    if forgotten(service, &stored.deployment, &step, task.epoch).await? {
        return Ok(Attended::default());
    }
    let no_code = service.config.flink.signatures == Policy::Required;
    let (heard, request) = act(cluster, &stored, &step, task.removals, no_code).await;
    if let (true, Ok(look)) = (clean_up, &task.look) {
        let (deployment, generations) = (&stored.deployment, &stored.generations);
        times::clean_up(service, cluster, look, deployment, generations, task.epoch).await?;
    }
    let standing = standing(&stored.deployment, &stored.generations, &step.row);
    let numbers = Head { revision: i64::try_from(step.row.revision).unwrap_or(i64::MAX), ..stored.head() };
    let (wait, now) = (wait_until(&step), service.clock.now());
    Ok(Attended {
        due: [wait, look_at, Some(next_round(now))].into_iter().flatten().min(),
        head: Some(numbers),
        // What was removed is noted beside the numbers.
        stored: stored.stepped(step.row).filter(|_| !clean_up).map(Box::new),
        pages,
        heard: Some(heard),
        request: request.zip(place).map(|(request, place)| (request, moment.now, place)),
        waits_for_place: false,
        started: starts.then_some(moment.now),
        standing,
    })
}

/// The deployment as it is stored, and what changes without its row: the scheduler admits its job, somebody may cancel that,
/// and other programs begin on the cluster. None where it is gone, or can't be looked after.
async fn read(
    service: &Service,
    cluster: &FlinkCluster,
    task: &mut Task,
) -> Result<Option<(Stored, Option<Job>)>, StoreError> {
    let facts = cluster.facts().unwrap_or_default();
    let stored = match task.stored.take().filter(|stored| stored.head() == task.head) {
        Some(stored) => Some(stored.with(facts)),
        None => Stored::read(service, &task.name, facts).await?,
    };
    let Some(mut stored) = stored else { return Ok(None) };
    let Stored { deployment, told, .. } = &mut stored;
    let (turn, alone) = (deployment.log.turn, told.versions.iter().any(|version| version.alone));
    let read = turn.map_or(Some(None), |turn| task.jobs.get(&turn.job).copied());
    let (job, another_begins) = if let Some(job) = read.filter(|_| !alone) {
        (job, false)
    } else {
        let (name, now) = (task.name.clone(), service.clock.now());
        service
            .db
            .read(move |tx| {
                let job = turn.map(|turn| deployment_turns::standing(tx, turn.job)).transpose()?;
                let another = alone && deployments::another_begins(tx, &name, now)?;
                Ok((job.flatten(), another))
            })
            .await?
    };
    told.waits = waits(job.map(|job| job.state));
    told.another_begins = another_begins;
    Ok(Some((stored, job)))
}

/// All places are taken.
struct NoPlace;

/// A place for what takes long, where a step asks for that.
fn place_for(places: &Places, step: &Step) -> Result<Option<Place>, NoPlace> {
    if !step.effects.iter().any(Effect::takes_long) {
        return Ok(None);
    }
    let begins = step.effects.iter().any(|effect| matches!(effect, Effect::Run { .. }));
    let alone = begins && step.row.run.as_ref().is_some_and(|run| run.alone);
    places.take(&step.effects, alone).map(Some).ok_or(NoPlace)
}

/// Stores a step with what it means for the job that stands for the run, which was in `state`.
async fn record(
    service: &Arc<Service>,
    stored: &Stored,
    state: Option<State>,
    step: &mut Step,
    epoch: i64,
) -> Result<Written, StoreError> {
    let Stored { deployment, generations, told, .. } = stored;
    let of = turns::Of { service, deployment, generations, epoch };
    match turns::settle(&of, told, state, step).await? {
        Some(jobs) if step.row != deployment.log => {
            let begins_alone_until =
                step.row.run.as_ref().and_then(|run| run.begins_alone_until(told.timing.main_budget));
            store(&of, step, begins_alone_until, jobs).await
        }
        Some(_) => Ok(Written::Done),
        None => Ok(Written::Stale),
    }
}

/// What the cluster says of it; and what the pages of its job say, with the time until which that will do.
async fn observe(
    service: &Service,
    cluster: &FlinkCluster,
    stored: &Stored,
    task: &mut Task,
) -> (Observed, Option<(Pages, Timestamp)>) {
    let row = &stored.deployment.log;
    let earlier = task.pages.take();
    let look = match &task.look {
        Err(why) => return (Observed::Unreachable(why.clone()), earlier),
        Ok(look) => look,
    };
    let now = service.clock.now();
    let rests = !needs_pages(&stored.told, row);
    let usable = earlier.filter(|(_, until)| now < *until && rests);
    let (pages, until) = usable.unzip();
    let known = Known {
        reply: task.reply.clone(),
        disk: disk_of(cluster, look, row).await,
        disposals: task.removals.answers(&cluster.flink).await,
        open: requests::open(&task.asked, row),
        pages,
    };
    let told = look.of(&cluster.flink, &stored.told, row, known).await;
    let after = pages_do_for(task.beside, checkpoint_interval(stored));
    let until = until
        .filter(|_| !told.fresh)
        .unwrap_or_else(|| now.plus_micros(spread(after, service.clock.jitter())));
    // What was read while something went on may lack what that has left, such as a savepoint.
    (told.observed, told.pages.filter(|_| rests).map(|pages| (pages, until)))
}

/// That of the generation that runs.
fn checkpoint_interval(stored: &Stored) -> Millis {
    let run = stored.deployment.log.run.as_ref().map(|run| run.generation);
    let found = stored.generations.iter().find(|of| Some(of.number) == run);
    found.map_or(Millis(0), |of| of.normal.deployment.checkpoint_interval)
}

/// Between half of a time and all of it, so that what was read together is not read together again.
fn spread(micros: i64, jitter: u64) -> i64 {
    let half = (micros / 2).max(1);
    half.saturating_add(i64::try_from(jitter % half.unsigned_abs()).unwrap_or(0))
}

/// Those of which nothing is awaited are looked at together: one question to the cluster does for all.
fn next_round(now: Timestamp) -> Timestamp {
    Timestamp(now.0.saturating_sub(now.0.rem_euclid(USUAL)).saturating_add(USUAL))
}

fn wait_until(step: &Step) -> Option<Timestamp> {
    step.effects.iter().find_map(|effect| if let Effect::WaitUntil(at) = effect { Some(*at) } else { None })
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

async fn store(
    of: &turns::Of<'_>,
    step: &Step,
    begins_alone_until: Option<Timestamp>,
    jobs: turns::Jobs,
) -> Result<Written, StoreError> {
    let (service, deployment) = (of.service, of.deployment);
    let what: Vec<Happening> = step.effects.iter().filter_map(effects::happening).collect();
    for happening in &what {
        tracing::info!(deployment = deployment.name.id, kind = happening.kind, "{}", happening.message);
    }
    let stepped = Stepped {
        name: deployment.name.clone(),
        version: deployment.version,
        from: deployment.log.revision,
        log: step.row.clone(),
        begins_alone_until,
        generation: deployment.wish.target(),
        fared: fared(&deployment.log, step),
        what,
        at: service.clock.now(),
    };
    turns::store(of, stepped, jobs).await
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

/// Does what was decided and is done at once, in order; answers what came back, and what takes long: a step has one
/// such effect at most.
async fn act(
    cluster: &FlinkCluster,
    stored: &Stored,
    step: &Step,
    mut removals: Removals,
    no_code: bool,
) -> ((Option<Reply>, Removals), Option<Request>) {
    let (mut reply, mut long) = (None, None);
    for effect in &step.effects {
        match effects::request(cluster, stored, effect, no_code) {
            Some(Ok(request)) => long = Some(request),
            Some(Err(refused)) => reply = Some(refused),
            None => {}
        }
        let Effect::Ask(ask) = effect else { continue };
        let point = effects::point(ask);
        failpoint::hit(&format!("flink-{point}-recorded"));
        if let Some(heard) = effects::perform(&cluster.flink, ask, &mut removals).await {
            reply = Some(heard);
        }
        failpoint::hit(&format!("flink-{point}-done"));
    }
    removals.retain(&step.row.savepoints);
    ((reply, removals), long)
}

/// What the directories hold, where they may tell more than the cluster: while something is asked of the job, and when it
/// is not in the list, or at its end.
async fn disk_of(
    cluster: &FlinkCluster,
    look: &Look,
    row: &Row,
) -> Option<libra_core::deployment::reconcile::Disk> {
    let run = row.run.as_ref()?;
    if matches!(run.fate, Fate::Ended(_)) {
        return None;
    }
    let listed = look.state(run.id);
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
