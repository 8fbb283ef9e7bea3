//! One run from its seed: the storm, the calm after it, and the verdict.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::capacity::Capacity;
use super::clients::{self, Told};
use super::database::Database;
use super::dice::Dice;
use super::plan::Plan;
use super::record::{Record, Violation};
use super::referee::Referee;
use super::replica::Replica;
use super::scene::Scene;
use super::twins::Twin;
use super::world::World;
use super::{config, trouble, verdict};

/// Replicas that stay dead after the storm, in 10,000.
const GONE_FOR_GOOD: u32 = 2_000;

/// What came of a run.
pub(super) struct Played {
    pub(super) trace: String,
    pub(super) violations: Vec<Violation>,
    /// Jobs that were stored.
    pub(super) jobs: usize,
}

/// Plays the run of a seed, with something broken on purpose or not.
pub(super) fn play(seed: u64, twin: Option<Twin>) -> Played {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(e) => panic!("no runtime: {e}"),
    };
    runtime.block_on(run(seed, twin))
}

async fn run(seed: u64, twin: Option<Twin>) -> Played {
    let plan = Plan::of(seed);
    let record = Record::begin();
    record.say("plan", format_args!("{plan:?}"));
    let dice = Dice::new(seed);
    let database = match Database::new(&record) {
        Ok(database) => database,
        Err(e) => panic!("no database: {e}"),
    };
    let world = Arc::new(World::new(record.clone(), dice.fork("world"), database.clone()));
    let limits = config::of(&plan, 0).limits;
    let capacity = Capacity::of(&plan, limits);
    let referee = Arc::new(Referee::new(database, capacity, record.clone()));
    let scene = Scene::new(plan, record.clone(), dice, world, referee, twin);
    let told = Arc::new(Told::default());
    tokio::select! {
        biased;
        () = record.until_broken() => {}
        () = story(&scene, &told) => {}
    }
    Played { trace: record.lines(), violations: record.violations(), jobs: scene.referee.known().len() }
}

async fn story(scene: &Arc<Scene>, told: &Arc<Told>) {
    let dice = scene.dice.fork("story");
    for replica in scene.replicas() {
        replica.start(scene);
        sleep(dice.millis(0..=2_000)).await;
    }
    clients::start(scene, told);
    let troubles = tokio::spawn(trouble::make(Arc::clone(scene)));
    let restarts = tokio::spawn(trouble::restart_the_dead(Arc::clone(scene)));
    sleep(scene.plan.stormy).await;
    troubles.abort();
    restarts.abort();
    calm(scene, &dice);
    verdict::settle(scene, told).await;
    verdict::check(scene, told).await;
}

/// Everything works again from here on; what was lost for good stays lost.
fn calm(scene: &Arc<Scene>, dice: &Dice) {
    scene.record.say("story", format_args!("the storm is over"));
    scene.weather.calm_down();
    scene.weather.take_store_down(false);
    scene.weather.take_redis_down(false);
    let mut staying: Vec<usize> =
        (0..scene.replicas().len()).filter(|_| !dice.chance(GONE_FOR_GOOD)).collect();
    if staying.is_empty() {
        staying.push(0);
    }
    for (n, replica) in scene.replicas().iter().enumerate() {
        replica.clock.set(0);
        if staying.contains(&n) {
            scene.bring_back(replica.host());
        }
    }
    let kept: Vec<&Replica> = staying.iter().filter_map(|n| scene.replicas().get(*n)).collect();
    for process in scene.processes() {
        let own = kept.iter().any(|r| r.process().is_some_and(|p| Arc::ptr_eq(&p, &process)));
        if own {
            process.life.cut_off(false);
            process.life.thaw();
        } else {
            process.life.kill("it is gone for good");
        }
    }
    let keeper = Arc::clone(scene);
    tokio::spawn(async move {
        loop {
            for replica in staying.iter().filter_map(|n| keeper.replicas().get(*n)) {
                replica.start(&keeper);
            }
            sleep(Duration::from_secs(1)).await;
        }
    });
}
