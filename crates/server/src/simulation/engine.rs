//! The engine of a run: it acts on the world as the real ones do, by the same rules, over a line that loses
//! replies, delays them and asks twice.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use libra_core::attempt::{Exit, Handle, Outcome, Progress, Usage};
use libra_core::failure::{ErrorClass, Failure};
use libra_core::id::Token;
use libra_core::spec::JobSpec;
use libra_engines::engine::{
    CancelOutcome, Engine, EngineError, Launch, LaunchError, Launched, Observation, Running,
};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::dice::Dice;
use super::driver::{self, Start, Watch};
use super::life::Life;
use super::plan::Rates;
use super::twins::Twin;
use super::weather::Weather;
use super::world::{Status, World};
use crate::files::Files;

/// How long a launch waits for the shim.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(50);

/// The engine as one process uses it.
pub(super) struct FakeEngine {
    pub(super) life: Arc<Life>,
    pub(super) world: Arc<World>,
    pub(super) dice: Dice,
    pub(super) rates: Rates,
    pub(super) weather: Weather,
    /// Machine and boot.
    pub(super) host: String,
    pub(super) watch: Option<Watch>,
    /// What is broken about it, on purpose.
    pub(super) twin: Option<Twin>,
}

impl FakeEngine {
    fn strikes(&self, rate: u32) -> bool {
        self.weather.strikes(&self.dice, rate)
    }

    /// Before and after everything that it does: the moments in which a process can die or stand still.
    async fn pass(&self, what: &str) {
        self.life.pass().await;
        if self.strikes(self.rates.crash_in_engine_call) {
            self.life.kill(what);
        } else if self.strikes(self.rates.freeze_in_call) {
            self.life.freeze();
            let (life, time) = (Arc::clone(&self.life), self.dice.millis(500..=200_000));
            tokio::spawn(async move {
                sleep(time).await;
                life.thaw();
            });
        }
        self.life.pass().await;
    }

    fn launched(&self, status: &Status) -> Option<Launched> {
        let (Status::Owned { started } | Status::ShimLost { started } | Status::Exited { started, .. }) =
            status
        else {
            return None;
        };
        Some(Launched { handle: Handle(json!({"host": self.host})), running_since: *started })
    }

    fn spawn(&self, launch: &Launch) {
        let hangs = launch.spec.labels.contains_key("hangs");
        let mut script = driver::script(&self.world.dice, hangs);
        if self.strikes(self.rates.shim_killed) {
            script.end = super::world::End::ShimKilled;
        }
        let slow = self.strikes(self.rates.launch_slow);
        let delay = if slow { self.dice.millis(100..=15_000) } else { self.dice.millis(0..=20) };
        let start = Start {
            launch: launch.clone(),
            host: self.host.clone(),
            watch: self.watch.clone().filter(|_| self.twin != Some(Twin::DriversOutliveTheirHost)),
            script,
            delay,
            forced: self.twin == Some(Twin::LaunchesTwice),
        };
        driver::spawn(&self.world, start);
    }

    async fn start(&self, launch: &Launch) -> Result<Launched, LaunchError> {
        let say = |what: &str| {
            let Launch { job_id, attempt, .. } = launch;
            self.world.record.say(&self.life.name, format_args!("launch {attempt} of {job_id}: {what}"));
        };
        let unknown = |why: &str| Err(LaunchError::Unknown(why.to_owned()));
        self.pass("before a launch").await;
        let before = self.world.status(&launch.dir);
        if let Some(launched) = self.launched(&before) {
            return Ok(launched);
        }
        if matches!(before, Status::Revoked) {
            return unknown("revoked");
        }
        if self.strikes(self.rates.launch_refused) {
            say("refused");
            let class = if self.dice.chance(5_000) { ErrorClass::User } else { ErrorClass::Infrastructure };
            return Err(LaunchError::Refused(Failure::new(class, "refused", "no")));
        }
        if self.strikes(self.rates.launch_never_arrives) {
            say("never arrives");
            return unknown("no answer");
        }
        if launch.is_late() {
            say("too late");
            return unknown("too late");
        }
        say("spawned");
        self.spawn(launch);
        if self.strikes(self.rates.launch_twice) {
            self.spawn(launch);
        }
        self.pass("after the spawn").await;
        if self.strikes(self.rates.launch_reply_lost) {
            say("the reply is lost");
            sleep(self.dice.millis(0..=3_000)).await;
            self.life.pass().await;
            return unknown("the reply was lost");
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.life.pass().await;
            let status = self.world.status(&launch.dir);
            if let Some(launched) = self.launched(&status) {
                return Ok(launched);
            }
            if Instant::now() >= deadline || matches!(status, Status::Revoked) {
                return unknown("the shim did not come up");
            }
            sleep(LOOK).await;
        }
    }

    async fn look_for(&self, launch: &Launch) -> Result<Option<Launched>, EngineError> {
        self.pass("before a search").await;
        if self.strikes(self.rates.engine_blind) {
            return Err(EngineError("it can't tell".into()));
        }
        if self.twin == Some(Twin::FindsNothing) {
            return Ok(None);
        }
        if matches!(self.world.status(&launch.dir), Status::Absent) {
            if self.twin == Some(Twin::FindsWithoutRevoking) {
                return Ok(None);
            }
            if self.world.revoke(&launch.dir) {
                self.pass("after a revocation").await;
                return Ok(None);
            }
        }
        Ok(self.launched(&self.world.status(&launch.dir)))
    }

    async fn look_at(&self, launch: &Launch) -> Observation {
        self.pass("before a look").await;
        if self.strikes(self.rates.engine_blind) {
            return Observation::Unknown("it can't tell".into());
        }
        match self.world.status(&launch.dir) {
            Status::Revoked => Observation::NeverRan("it was revoked".into()),
            Status::Owned { started: None } => Observation::Starting,
            Status::Owned { started: Some(since) } => {
                Observation::Running(Running { since: Some(since), ..self.seen() })
            }
            Status::Exited { exit, .. } => {
                if self.twin == Some(Twin::ForgetsSuccess) && exit.outcome == Outcome::Succeeded {
                    return Observation::Ended(self.lost(false));
                }
                Observation::Ended(exit)
            }
            Status::Absent | Status::ShimLost { .. } => Observation::Ended(self.lost(true)),
        }
    }

    /// What else is seen of a program, if anything.
    fn seen(&self) -> Running {
        let tasks_completed = self.dice.between(0..=9);
        let percentage = u8::try_from(tasks_completed * 10).unwrap_or(0);
        let progress = Progress { percentage, tasks_completed, tasks_total: 10, ..Progress::default() };
        Running {
            progress: self.dice.chance(3_000).then_some(progress),
            usage: self.dice.chance(3_000).then(|| Usage {
                cpu_millis: self.dice.between(0..=9),
                peak_memory_bytes: self.dice.between(0..=9),
                ..Usage::default()
            }),
            ..Running::default()
        }
    }

    fn lost(&self, unknown: bool) -> Exit {
        let failure = Failure::new(ErrorClass::Infrastructure, "driver_lost", "nobody knows how it ended");
        let failure = if unknown { failure.with_unknown_outcome() } else { failure };
        Exit {
            outcome: Outcome::Failed { failure },
            exit_code: None,
            signal: None,
            began: None,
            at: self.world.now(),
        }
    }

    fn stopped(&self) -> Exit {
        Exit { outcome: Outcome::Stopped, exit_code: None, signal: None, began: None, at: self.world.now() }
    }

    async fn end(&self, launch: &Launch) -> Result<CancelOutcome, EngineError> {
        self.pass("before a cancellation").await;
        if self.strikes(self.rates.engine_blind) {
            return Err(EngineError("it does not answer".into()));
        }
        if self.twin == Some(Twin::SaysGoneTooEarly) {
            return Ok(CancelOutcome::Gone(self.stopped()));
        }
        if matches!(self.world.status(&launch.dir), Status::Absent) && self.world.revoke(&launch.dir) {
            return Ok(CancelOutcome::Gone(self.stopped()));
        }
        self.world.stop(&launch.dir);
        sleep(self.dice.millis(0..=3_000)).await;
        self.pass("after a cancellation").await;
        Ok(match self.world.status(&launch.dir) {
            Status::Owned { .. } | Status::Absent => CancelOutcome::Stopping,
            Status::Exited { exit, .. } => CancelOutcome::Gone(exit),
            Status::ShimLost { .. } => CancelOutcome::Gone(self.lost(true)),
            Status::Revoked => CancelOutcome::Gone(self.stopped()),
        })
    }
}

impl Engine for FakeEngine {
    fn validate(&self, _: &JobSpec) -> Vec<(String, String)> {
        Vec::new()
    }

    fn launch<'a>(&'a self, launch: &'a Launch) -> BoxFuture<'a, Result<Launched, LaunchError>> {
        self.start(launch).boxed()
    }

    fn find<'a>(&'a self, launch: &'a Launch) -> BoxFuture<'a, Result<Option<Launched>, EngineError>> {
        self.look_for(launch).boxed()
    }

    fn observe<'a>(&'a self, attempts: &'a [(Launch, Handle)]) -> BoxFuture<'a, Vec<Observation>> {
        futures::future::join_all(attempts.iter().map(|(launch, _)| self.look_at(launch))).boxed()
    }

    fn traces(&self, _: &Launch) -> Running {
        self.seen()
    }

    fn cancel<'a>(
        &'a self,
        launch: &'a Launch,
        _: &'a Handle,
    ) -> BoxFuture<'a, Result<CancelOutcome, EngineError>> {
        self.end(launch).boxed()
    }

    fn release<'a>(&'a self, _: &'a Launch, _: &'a Handle) -> BoxFuture<'a, ()> {
        self.pass("before a release").boxed()
    }

    fn leave(&self, _: Token) {}

    fn changed(&self, token: Token) -> BoxFuture<'_, ()> {
        let bell = self.world.bell(token);
        async move { bell.notified().await }.boxed()
    }
}

/// The files of a process: directories are always there, and a sign of life is for the drivers of the world.
pub(super) struct FakeFiles {
    pub(super) life: Arc<Life>,
    pub(super) world: Arc<World>,
}

impl Files for FakeFiles {
    fn make_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn touch(&self, file: &Path) -> io::Result<()> {
        if self.life.is_alive() {
            self.world.show(file);
        }
        Ok(())
    }
}
