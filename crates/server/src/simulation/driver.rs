//! A driver under its shim, from its start to its end: by itself, because it was told, with its machine, or
//! because nobody on its host reaches the store any more (design §6, the host rule).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use libra_core::attempt::{Exit, Outcome};
use libra_core::failure::{ErrorClass, Failure};
use libra_engines::engine::Launch;
use tokio::time::{Instant, sleep, sleep_until};

use super::dice::Dice;
use super::world::{Driver, End, Script, World};

/// Where the drivers of a host look whether it still reaches the store, and how long they go on without.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    pub(super) file: PathBuf,
    pub(super) deadline: Duration,
}

/// What a shim is started with.
#[derive(Clone)]
pub(super) struct Start {
    pub(super) launch: Launch,
    /// Machine and boot.
    pub(super) host: String,
    pub(super) watch: Option<Watch>,
    pub(super) script: Script,
    /// Until the shim looks at the `owner` file.
    pub(super) delay: Duration,
    /// True for a broken shim, which does not look.
    pub(super) forced: bool,
}

/// Why a driver stops waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Because {
    TimeIsOver,
    ToldToStop,
    MachineLost,
    CutOff,
}

/// How long a driver runs, and how it ends, by chance.
pub(super) fn script(dice: &Dice, hangs: bool) -> Script {
    let end = match dice.between(0..=99) {
        0..=64 => End::Success,
        65..=79 => End::UserFailure,
        80..=94 => End::InfrastructureFailure,
        _ => End::ShimKilled,
    };
    let runs_for = match dice.between(0..=9) {
        _ if hangs => Duration::from_hours(24),
        0..=4 => dice.millis(0..=2_000),
        5..=8 => dice.millis(1_000..=20_000),
        _ => dice.millis(20_000..=90_000),
    };
    let slow = dice.chance(1_000);
    Script {
        starts_after: if slow { dice.millis(1_000..=15_000) } else { dice.millis(0..=800) },
        runs_for,
        ends_after_stop: if slow { dice.millis(1_000..=10_000) } else { dice.millis(0..=2_000) },
        end,
    }
}

/// Starts a shim; it goes its own way from here on.
pub(super) fn spawn(world: &Arc<World>, start: Start) {
    let world = Arc::clone(world);
    tokio::spawn(async move {
        sleep(start.delay).await;
        if !world.is_up(&start.host) {
            return;
        }
        if let Some(driver) = world.take(&start.launch, &start.host, start.forced) {
            run(&world, &start, &driver).await;
        }
    });
}

async fn run(world: &World, start: &Start, driver: &Driver) {
    let Script { starts_after, runs_for, ends_after_stop, end } = start.script;
    let mut since = Instant::now();
    let mut because = wait(world, start, driver, since + starts_after, &mut since).await;
    if because == Because::TimeIsOver {
        world.started(driver, &start.launch.dir);
        let until = Instant::now() + runs_for;
        because = wait(world, start, driver, until, &mut since).await;
    }
    let failed =
        |class, code: &str| Outcome::Failed { failure: Failure::new(class, code, "it was so decided") };
    let outcome = match because {
        Because::MachineLost => return,
        Because::TimeIsOver => match end {
            End::Success => Outcome::Succeeded,
            End::UserFailure => failed(ErrorClass::User, "exit_code"),
            End::InfrastructureFailure => failed(ErrorClass::Infrastructure, "cluster_lost"),
            End::ShimKilled => {
                world.ended(driver, &start.launch.dir, None);
                return;
            }
        },
        Because::ToldToStop => {
            sleep(ends_after_stop).await;
            Outcome::Stopped
        }
        Because::CutOff => {
            sleep(ends_after_stop).await;
            let why = "no replica on its host reached the store";
            let failure = Failure::new(ErrorClass::Infrastructure, "host_cut_off", why);
            Outcome::Failed { failure: failure.with_unknown_outcome() }
        }
    };
    let exit = Exit { outcome, exit_code: None, signal: None, began: None, at: world.now() };
    world.ended(driver, &start.launch.dir, Some(exit));
}

/// Waits until then, or until something else ends the driver. `since`: when the host last showed that it lives.
async fn wait(world: &World, start: &Start, driver: &Driver, until: Instant, since: &mut Instant) -> Because {
    loop {
        if !world.lives(driver) {
            return Because::MachineLost;
        }
        if world.is_to_stop(&start.launch.dir) {
            return Because::ToldToStop;
        }
        let deadline = start.watch.as_ref().map(|watch| {
            let shown = world.shown(&watch.file);
            *since = (*since).max(shown.unwrap_or(*since));
            *since + watch.deadline
        });
        let now = Instant::now();
        if deadline.is_some_and(|deadline| deadline <= now) {
            return Because::CutOff;
        }
        if until <= now {
            return Because::TimeIsOver;
        }
        let next = deadline.map_or(until, |deadline| deadline.min(until));
        tokio::select! {
            biased;
            () = world.told(driver) => {}
            () = sleep_until(next) => {}
        }
    }
}
