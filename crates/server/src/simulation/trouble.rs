//! What befalls replicas, hosts, the store and Redis while a run is stormy.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::dice::Dice;
use super::plan::{Trouble, signed};
use super::scene::Scene;

/// Makes trouble until told to stop; each has an end that it sees to by itself.
pub(super) async fn make(scene: Arc<Scene>) {
    let dice = scene.dice.fork("trouble");
    loop {
        sleep(dice.millis(200..=scene.plan.pause_ms)).await;
        if let Some(trouble) = dice.pick(&scene.plan.troubles).copied() {
            scene.record.say("trouble", format_args!("{trouble:?}"));
            befall(&scene, &dice, trouble);
        }
    }
}

/// Keeps replicas alive that died of themselves, as whoever runs them would; some stay away.
pub(super) async fn restart_the_dead(scene: Arc<Scene>) {
    let dice = scene.dice.fork("restart");
    loop {
        sleep(dice.millis(500..=10_000)).await;
        for replica in scene.replicas() {
            if replica.process().is_none() && dice.chance(4_000) {
                replica.start(&scene);
            }
        }
    }
}

fn later(time: Duration, what: impl FnOnce() + Send + 'static) {
    tokio::spawn(async move {
        sleep(time).await;
        what();
    });
}

fn befall(scene: &Arc<Scene>, dice: &Dice, trouble: Trouble) {
    let process = dice.pick(&scene.processes()).cloned();
    match (trouble, process) {
        (Trouble::Crash, Some(p)) => p.life.kill("kill -9"),
        (Trouble::Leave, Some(p)) => p.leave.notify_one(),
        (Trouble::Freeze, Some(p)) => {
            p.life.freeze();
            later(dice.millis(500..=60_000), move || p.life.thaw());
        }
        (Trouble::CutOff, Some(p)) => {
            p.life.cut_off(true);
            later(dice.millis(500..=60_000), move || p.life.cut_off(false));
        }
        (Trouble::Outage, _) => {
            scene.weather.take_store_down(true);
            let scene = Arc::clone(scene);
            later(dice.millis(200..=25_000), move || {
                scene.record.say("trouble", format_args!("the store is back"));
                scene.weather.take_store_down(false);
            });
        }
        (Trouble::ClockJump, _) => {
            if let Some(replica) = dice.pick(scene.replicas()) {
                replica.clock.set(signed(dice.between(0..=360), 180));
            }
        }
        (Trouble::HostLost, _) => {
            let hosts: Vec<usize> = (0..scene.plan.hosts.len()).collect();
            let Some(host) = dice.pick(&hosts).copied() else { return };
            scene.lose(host);
            let scene = Arc::clone(scene);
            later(dice.millis(5_000..=250_000), move || scene.bring_back(host));
        }
        (Trouble::RedisFlush, _) => scene.streams.flush(),
        (Trouble::RedisDown, _) => {
            scene.weather.take_redis_down(true);
            let scene = Arc::clone(scene);
            later(dice.millis(500..=30_000), move || scene.weather.take_redis_down(false));
        }
        (Trouble::Namesake, _) => {
            if let Some(replica) = dice.pick(scene.replicas())
                && let Some(process) = replica.start_namesake(scene)
            {
                scene.add_namesake(process);
            }
        }
        (Trouble::Move, _) => {
            let hosts: Vec<usize> = (0..scene.plan.hosts.len()).collect();
            if let (Some(replica), Some(host)) = (dice.pick(scene.replicas()), dice.pick(&hosts)) {
                if let Some(process) = replica.process() {
                    process.life.kill("it moves");
                }
                replica.move_to(scene, *host);
            }
        }
        (Trouble::Crash | Trouble::Leave | Trouble::Freeze | Trouble::CutOff, None) => {}
    }
}
