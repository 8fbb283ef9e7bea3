//! The way of signals between processes: some are lost, some come twice, some late.

use std::sync::Arc;
use std::time::Duration;

use libra_store::signals::Outgoing;
use tokio::time::sleep;

use super::life::Life;
use super::scene::Scene;

/// Carries what a process tells the others.
pub(super) fn run(scene: &Arc<Scene>, life: &Arc<Life>, mut outgoing: Outgoing) {
    let (scene, life) = (Arc::clone(scene), Arc::clone(life));
    let dice = scene.dice.fork("signals");
    tokio::spawn(async move {
        while let Some(batch) = outgoing.next().await {
            sleep(Duration::from_millis(1)).await;
            life.pass().await;
            for signal in batch {
                for process in scene.processes().into_iter().filter(|p| p.life.name != life.name) {
                    let strikes = |rate| scene.weather.strikes(&dice, rate);
                    if strikes(scene.plan.rates.signal_lost) || life.is_cut_off() || process.life.is_cut_off()
                    {
                        continue;
                    }
                    let copies = if strikes(scene.plan.rates.signal_twice) { 2 } else { 1 };
                    let late = strikes(scene.plan.rates.signal_late).then(|| dice.millis(1..=5_000));
                    for _ in 0..copies {
                        let (signal, process) = (signal.clone(), Arc::clone(&process));
                        match late {
                            None => process.service.signals.heard(signal),
                            Some(late) => {
                                tokio::spawn(async move {
                                    sleep(late).await;
                                    process.service.signals.heard(signal);
                                });
                            }
                        }
                    }
                }
            }
        }
    });
}
