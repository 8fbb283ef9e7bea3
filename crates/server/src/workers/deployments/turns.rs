//! The jobs that stand for runs of deployments (contract F2): what core says of them, as rows that are stored together with
//! the reconciler's step.

use std::sync::Arc;

use libra_core::attempt::{Exit, Outcome};
use libra_core::deployment::declared::Generation;
use libra_core::deployment::normal::Normal;
use libra_core::deployment::reconcile::{self as reconciler, Desired};
use libra_core::deployment::spec::ArtifactType;
use libra_core::deployment::turns::{self, Ending, Move, Settled, Turn};
use libra_core::failure::Failure;
use libra_core::id::JobId;
use libra_core::job::{Draft, Job, State, TimeLimits};
use libra_core::lifecycle::{self, Event, Rejected, Step};
use libra_core::mode::{Mode, ModeChoice};
use libra_core::requirement::Requirement;
use libra_core::retry;
use libra_core::spec::{JobSpec, Kind, RetryPolicy, Source};
use libra_core::time::Timestamp;
use libra_store::StoreError;
use libra_store::lane::Origin;
use libra_store::tables::deployment_turns::{self, JobWrite, Standing};
use libra_store::tables::deployments::{Deployment, Stepped, Written};
use libra_store::tables::jobs;
use serde_json::json;

use super::alerts;
use crate::service::standing::leader_fence;
use crate::service::{ByWhom, Decided, FromEngine, Place, Service, flink_pool};

/// The label with the deployment's name.
const DEPLOYMENT: &str = "deployment";
/// The label with the generation that a run began with.
const GENERATION: &str = "generation";

/// What happens to jobs with a step of the reconciler.
#[derive(Default)]
pub(super) struct Jobs {
    writes: Vec<JobWrite>,
    /// What is told once it is stored.
    steps: Vec<Step>,
}

/// Whose runs they are.
pub(super) struct Of<'a> {
    pub(super) service: &'a Arc<Service>,
    pub(super) deployment: &'a Deployment,
    pub(super) generations: &'a [Generation],
    pub(super) epoch: i64,
}

/// Works out what a step means for the job that stands for the run, which was in `state` when it was read, and notes in the
/// step which one that is. None when the job has moved on since: it is to be looked at anew.
pub(super) async fn settle(
    of: &Of<'_>,
    told: &Desired,
    state: Option<State>,
    step: &mut reconciler::Step,
) -> Result<Option<Jobs>, StoreError> {
    let now = of.service.clock.now();
    let fresh = JobId::new(now, of.service.clock.entropy());
    let before = step.row.turn;
    let Settled { moves, turn } = turns::settle(told, &of.deployment.agenda, &step.row, state, fresh);
    if moves.is_empty() && turn == before {
        return Ok(Some(Jobs { writes: alerts(of, step, turn, &[], now), steps: Vec::new() }));
    }
    let job = match step.row.turn.filter(|_| !moves.is_empty()) {
        Some(turn) => of.service.db.read(move |tx| jobs::get(tx, turn.job)).await?,
        None => None,
    };
    if !moves.is_empty() && job.as_ref().map(|job| job.state) != state {
        return Ok(None);
    }
    let named = step.row.turn.and_then(|turn| turn.run).is_some();
    let mut making = Making { of, now, job, named, jobs: Jobs::default() };
    for what in moves {
        if let Err(rejected) = making.make(what) {
            // Neither is stored without the other: the next look begins with what is there.
            return Err(StoreError::Constraint(format!(
                "the job of a run can't be brought up to it: {rejected}"
            )));
        }
    }
    let alerts = alerts(of, step, turn.or(before), &making.jobs.steps, now);
    making.jobs.writes.extend(alerts);
    step.row.turn = turn;
    if step.row.revision == of.deployment.log.revision {
        step.row.revision += 1;
    }
    Ok(Some(making.jobs))
}

/// Messages about what a step has found, and about jobs that have ended with it, to whoever asked for them.
fn alerts(
    of: &Of<'_>,
    step: &reconciler::Step,
    turn: Option<Turn>,
    ended: &[Step],
    now: Timestamp,
) -> Vec<JobWrite> {
    let target = of.deployment.wish.target();
    let Some(found) = of.generations.iter().find(|of| of.number == target) else { return Vec::new() };
    let normal = &found.normal;
    let told = turn.map(|turn| {
        let outbox = alerts::of_a_step(normal, &step.effects, (target, turn.job), now);
        JobWrite::Tell { job: turn.job, outbox, at: now }
    });
    let ends = ended.iter().filter_map(|step| {
        let outbox = vec![alerts::of_an_end(normal, target, &step.job, now)?];
        Some(JobWrite::Tell { job: step.job.id, outbox, at: now })
    });
    let all = told.into_iter().chain(ends);
    all.filter(|write| !matches!(write, JobWrite::Tell { outbox, .. } if outbox.is_empty())).collect()
}

/// Stores a step with what happens to jobs, and tells of it.
pub(super) async fn store(of: &Of<'_>, stepped: Stepped, jobs: Jobs) -> Result<Written, StoreError> {
    let Jobs { writes, steps } = jobs;
    let (service, fence) = (Arc::clone(of.service), leader_fence(of.epoch));
    // A task of its own: what is stored must be told.
    let stored = tokio::spawn(async move {
        let written =
            service.db.write(move |tx| deployment_turns::step(tx, &fence, &stepped, &writes)).await?;
        if written == Written::Done {
            for step in &steps {
                if step.log.first().is_some_and(|row| row.from.is_none()) {
                    service.metrics.stored();
                }
                service.announce(step);
            }
        }
        Ok(written)
    });
    stored.await.map_err(|_| StoreError::Closed)?
}

struct Making<'a> {
    of: &'a Of<'a>,
    now: Timestamp,
    job: Option<Job>,
    /// Its present attempt is a run in Flink.
    named: bool,
    jobs: Jobs,
}

impl Making<'_> {
    fn make(&mut self, what: Move) -> Result<(), Rejected> {
        match what {
            Move::Queue(turn) => self.create(&turn),
            Move::Take(turn) => {
                self.create(&turn);
                self.take_over()?;
            }
            Move::TakeOver => self.take_over()?,
            Move::Name(run) => {
                if let Some(job) = &self.job {
                    let (job, attempt) = (job.id, job.attempt);
                    self.jobs.writes.push(JobWrite::Name { job, attempt, application_id: run.to_string() });
                }
                self.named = true;
            }
            Move::Begin => self.step(Event::Started, None)?,
            Move::Again(failure) => {
                let exit = self.failed(&failure);
                self.step(Event::LaunchedAgain(failure), exit)?;
                self.named = false;
            }
            Move::End(ending) => self.end(ending)?,
        }
        Ok(())
    }

    fn end(&mut self, ending: Ending) -> Result<(), Rejected> {
        match ending {
            Ending::Succeeded => {
                let exit = self.exit(Outcome::Succeeded);
                self.step(Event::Succeeded, exit)
            }
            Ending::Failed(failure) => {
                let exit = self.failed(&failure);
                self.step(Event::Failed { failure, jitter: 0 }, exit)
            }
            Ending::Cancelled(why) => {
                let exit = self.exit(Outcome::Stopped);
                self.step(Event::Withdrawn(why), exit)
            }
            Ending::TimedOut => {
                let runs =
                    self.job.as_ref().is_some_and(|job| job.state == State::Running && job.stop.is_none());
                if runs {
                    self.step(Event::RunTimedOut, None)?;
                }
                let exit = self.exit(Outcome::Stopped);
                self.step(Event::Withdrawn("its time is over".to_owned()), exit)
            }
        }
    }

    fn exit(&self, outcome: Outcome) -> Option<Exit> {
        self.named.then_some(Exit { outcome, exit_code: None, signal: None, began: None, at: self.now })
    }

    fn failed(&self, failure: &Failure) -> Option<Exit> {
        self.exit(Outcome::Failed { failure: failure.clone() })
    }

    fn node(&self) -> String {
        flink_pool(&self.of.deployment.cluster)
    }

    fn take_over(&mut self) -> Result<(), Rejected> {
        self.named = false;
        self.step(Event::TakesOver(self.node()), None)
    }

    fn step(&mut self, event: Event, exit: Option<Exit>) -> Result<(), Rejected> {
        let Some(job) = &self.job else { return Ok(()) };
        let place = Place { host: self.node(), storage: String::new(), holder: None };
        let engine = FromEngine { exit, place: Some(place), ..FromEngine::default() };
        let Decided { change, step, .. } =
            self.of.service.decide(job, event, ByWhom::Leader(self.of.epoch), engine)?;
        self.job = Some(step.job.clone());
        self.jobs.writes.push(JobWrite::Step(Box::new(change)));
        self.jobs.steps.push(step);
        Ok(())
    }

    fn create(&mut self, turn: &Turn) {
        let deployment = self.of.deployment;
        let normal = self.of.generations.iter().find(|of| of.number == turn.generation).map(|of| &of.normal);
        let spec = spec(deployment, normal, turn.generation);
        let draft = Draft {
            id: turn.job,
            submitted_at: self.now,
            user: deployment.user.clone(),
            tenant: deployment.name.tenant.clone(),
            mode: Mode::Flink,
            requirement: Requirement::of_slots(normal.map_or(1, |normal| normal.deployment.parallelism)),
            // A deployment waits as long as it is wanted, and runs as long as it runs.
            limits: TimeLimits {
                queue_seconds: None,
                run_seconds: normal
                    .and_then(|normal| normal.batch_config.as_ref()?.ttl_seconds)
                    .and_then(|seconds| i64::try_from(seconds).ok()),
                launch_seconds: None,
            },
            spec,
            correlation_id: turn.job.to_string(),
        };
        // The reconciler says what is tried again, and when.
        let retry = RetryPolicy { max_retries: u32::MAX, retry_on: Vec::new(), ..retry::default_policy() };
        let job = Job { retry, ..Job::received(draft) };
        let step = lifecycle::submit(job, self.now);
        let metadata = json!({"leader": self.of.service.standing.me.id, "epoch": self.of.epoch});
        self.jobs.writes.push(JobWrite::New {
            job: Box::new(step.job.clone()),
            log: step.log.clone(),
            origin: Origin { at: self.now, actor: "libra".to_owned(), metadata: Some(metadata.to_string()) },
            outbox: Vec::new(),
        });
        self.job = Some(step.job.clone());
        self.named = false;
        self.jobs.steps.push(step);
    }
}

/// What a run of a deployment is, as a job.
fn spec(deployment: &Deployment, normal: Option<&Normal>, generation: u64) -> JobSpec {
    let program = || normal.and_then(|normal| normal.artifact_path.clone()).unwrap_or_default();
    let (kind, source) = match normal.map(|normal| (normal.artifact_type, &normal.sql)) {
        Some((ArtifactType::Sql, sql)) => (Kind::Sql, Source::Code(sql.join(";\n"))),
        Some((ArtifactType::Python, _)) => (Kind::Python, Source::File(program())),
        Some((ArtifactType::Jar, _)) | None => (Kind::Jar, Source::File(program())),
    };
    let labels = [(DEPLOYMENT, deployment.name.id.clone()), (GENERATION, generation.to_string())];
    JobSpec {
        name: Some(deployment.name.id.clone()),
        class_name: normal.and_then(|normal| normal.entry_class.clone()),
        args: normal.map(|normal| normal.args.clone()).unwrap_or_default(),
        mode: ModeChoice::Explicit(Mode::Flink),
        cluster: Some(deployment.cluster.clone()),
        labels: labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        ..JobSpec::new(kind, source)
    }
}

/// The wish for a run of a batch job that somebody has ended by cancelling its job.
pub(super) fn ended_by_hand(deployment: &Deployment, told: &Desired, job: Option<Standing>) -> Option<u64> {
    let asked = job.is_some_and(|job| job.cancel_requested);
    deployment.log.turn.filter(|_| asked).and_then(|turn| turns::ended_by_hand(told, &turn))
}
