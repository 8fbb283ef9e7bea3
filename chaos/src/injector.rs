//! Breaks things, and mends them again.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use libra_api::client::Client;
use libra_testkit::{Postgres, processes};
use rand::Rng;
use rand::rngs::StdRng;
use tokio::sync::{Mutex, OwnedMutexGuard, watch};
use tokio::task::{JoinSet, block_in_place};
use tokio::time::sleep;

use crate::callers::{Callers, random};
use crate::clock::now;
use crate::cluster::Cluster;
use crate::faults::{Fault, Made, POSTGRES};
use crate::leaders::Leaders;
use crate::ledger::{Kill, Victim};
use crate::proxy::Network;
use crate::replica::Replica;
use crate::settings::{FaultRate, Settings};

/// Between the end of a fault and the next one, at least; then jobs go on and the leader has settled.
const CALM: Duration = Duration::from_secs(2);
/// At most this long.
const LONGEST_CALM: Duration = Duration::from_secs(6);
/// How often a fault begins while another one lasts.
const OVERLAP: f64 = 0.25;
/// Between two restarts of a replica, where little is broken.
const LIGHT: Duration = Duration::from_mins(5);

/// Who breaks things.
pub(crate) struct Injector {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) callers: Callers,
    pub(crate) leaders: Arc<Leaders>,
    pub(crate) settings: Settings,
    pub(crate) made: Mutex<Vec<Made>>,
}

type Guard = OwnedMutexGuard<Replica>;

impl Injector {
    /// Breaks one thing after the other until `stop`, and mends all of it.
    pub(crate) async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut dice = random(self.settings.seed, 2);
        let mut under_way = JoinSet::new();
        while !*stop.borrow() {
            let (fault, pause) = match self.settings.faults {
                FaultRate::None => break,
                FaultRate::Light => (Fault::RestartReplica, LIGHT),
                FaultRate::Storm => {
                    let pause = dice.random_range(CALM..LONGEST_CALM);
                    (Fault::draw(&mut dice, self.cluster.redis.is_some()), pause)
                }
            };
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                () = sleep(pause) => {}
            }
            let (injector, seed) = (Arc::clone(&self), dice.random());
            under_way.spawn(async move { injector.make(fault, random(seed, 3)).await });
            if under_way.len() > 1 || !dice.random_bool(OVERLAP) {
                while let Some(ended) = under_way.join_next().await {
                    ended.unwrap();
                }
            }
        }
        while let Some(ended) = under_way.join_next().await {
            ended.unwrap();
        }
    }

    async fn make(&self, fault: Fault, mut dice: StdRng) {
        let at = now();
        let epoch = self.leaders.epoch();
        let Some((whom, at)) = self.break_and_mend(fault, &mut dice).await.map(|(w, t)| (w, t.unwrap_or(at)))
        else {
            return;
        };
        eprintln!("{:>9.1} s  {}: {whom}", crate::clock::seconds(self.leaders.begun, at), fault.as_str());
        let made = Made { fault, whom, at, mended_at: now(), epoch };
        self.made.lock().await.push(made);
    }

    /// A while: from `from` to `to` leases.
    fn leases(&self, dice: &mut StdRng, from: f64, to: f64) -> Duration {
        self.settings.lease.mul_f64(dice.random_range(from..to))
    }

    /// Breaks and mends; answers whom it struck, and when where that was later. None when there was nobody to strike.
    async fn break_and_mend(&self, fault: Fault, dice: &mut StdRng) -> Option<(String, Option<i64>)> {
        match fault {
            Fault::KillReplica => {
                let (mut replica, at) = (self.any(dice)?, now());
                replica.kill();
                sleep(self.leases(dice, 0.0, 2.5)).await;
                replica.launch();
                Some((replica.id.clone(), Some(at)))
            }
            Fault::KillLeader => {
                let leader = self.leaders.now(&self.callers).await?;
                let number = self.cluster.ids.iter().position(|id| *id == leader)?;
                let mut replica = Arc::clone(&self.cluster.replicas[number]).try_lock_owned().ok()?;
                let at = now();
                replica.kill();
                sleep(self.leases(dice, 2.0, 2.5)).await;
                replica.launch();
                Some((leader, Some(at)))
            }
            Fault::FreezeReplica => {
                let (replica, at) = (self.any(dice)?, now());
                replica.freeze();
                sleep(self.leases(dice, 1.2, 3.0)).await;
                replica.thaw();
                Some((replica.id.clone(), Some(at)))
            }
            Fault::RestartReplica => {
                let (mut replica, at) = (self.any(dice)?, now());
                let ended = replica.terminate().await;
                replica.launch();
                if let Err(why) = ended {
                    // With its database out of reach it may need longer than anybody waits: told, and not held
                    // against it.
                    eprintln!("note: {why}");
                }
                Some((replica.id.clone(), Some(at)))
            }
            Fault::PostgresRestart => {
                let mut postgres = self.postgres()?;
                block_in_place(|| postgres.restart());
                Some((POSTGRES.to_owned(), None))
            }
            Fault::PostgresStop => {
                let mut postgres = self.postgres()?;
                block_in_place(|| postgres.stop());
                sleep(self.leases(dice, 0.3, 2.0)).await;
                block_in_place(|| postgres.start_again());
                Some((POSTGRES.to_owned(), None))
            }
            Fault::NetworkReset => {
                let replica = self.any(dice)?;
                replica.proxy.reset();
                Some((replica.id.clone(), None))
            }
            Fault::NetworkDown => self.network(dice, Network::Down, false).await,
            Fault::NetworkStall => self.network(dice, Network::Stalled, false).await,
            Fault::NetworkLoss => self.network(dice, Network::Stalled, true).await,
            Fault::RedisKill | Fault::RedisFlush | Fault::RedisPause => self.redis(fault, dice).await,
            Fault::KillDriver => self.kill_process(Victim::Driver, dice).await,
            Fault::KillShim => self.kill_process(Victim::Shim, dice).await,
        }
    }

    /// Any replica that runs and that nobody is breaking already.
    fn any(&self, dice: &mut StdRng) -> Option<Guard> {
        let replicas = &self.cluster.replicas;
        let first = dice.random_range(0..replicas.len());
        (0..replicas.len())
            .filter_map(|n| Arc::clone(&replicas[(first + n) % replicas.len()]).try_lock_owned().ok())
            .find(|replica| replica.listens())
    }

    fn postgres(&self) -> Option<OwnedMutexGuard<Postgres>> {
        Arc::clone(&self.cluster.postgres).try_lock_owned().ok()
    }

    async fn network(
        &self,
        dice: &mut StdRng,
        network: Network,
        lose: bool,
    ) -> Option<(String, Option<i64>)> {
        let (replica, at) = (self.any(dice)?, now());
        replica.proxy.set(network);
        sleep(self.leases(dice, 0.3, 2.5)).await;
        if lose {
            replica.proxy.reset();
        }
        replica.proxy.set(Network::Up);
        Some((replica.id.clone(), Some(at)))
    }

    async fn redis(&self, fault: Fault, dice: &mut StdRng) -> Option<(String, Option<i64>)> {
        let mut redis = Arc::clone(self.cluster.redis.as_ref()?).try_lock_owned().ok()?;
        match fault {
            Fault::RedisFlush => block_in_place(|| redis.flush()),
            Fault::RedisPause => {
                redis.pause();
                sleep(self.leases(dice, 0.3, 2.0)).await;
                redis.resume();
            }
            _ => {
                redis.kill();
                sleep(self.leases(dice, 0.0, 2.0)).await;
                block_in_place(|| redis.start_again());
            }
        }
        Some(("Redis".to_owned(), None))
    }

    /// Kills a process of any job that runs.
    async fn kill_process(&self, victim: Victim, dice: &mut StdRng) -> Option<(String, Option<i64>)> {
        let query = [
            ("status", "RUNNING".to_owned()),
            ("mode", "spark-submit".to_owned()),
            ("limit", "100".to_owned()),
        ];
        let list = async move |client: Client| client.jobs(&query).await;
        let jobs = self.callers.once(dice, list).await?.ok()?.jobs;
        for _ in 0..jobs.len() {
            let id = &jobs[dice.random_range(0..jobs.len())].job_id;
            let read = async move |client: Client| client.job(id, Duration::ZERO).await;
            let Some(Ok(job)) = self.callers.once(dice, read).await else { continue };
            let Some(attempt) = job.attempts.last() else { continue };
            let dir = self.cluster.attempt_dir(id, attempt.number);
            // Most jobs are short: it may have ended since.
            let Some(pid) = process(&dir, victim) else { continue };
            // Told first: what it leads to must not surprise anybody.
            self.callers.ledger.killing(Kill { token: attempt.token.clone(), victim });
            let at = now();
            processes::kill(pid);
            return Some((format!("{} ({id})", job.name.unwrap_or_default()), Some(at)));
        }
        None
    }
}

/// The process of the attempt whose files are in `dir`, while it has not ended.
fn process(dir: &Path, victim: Victim) -> Option<i32> {
    let file = match victim {
        Victim::Driver => "started",
        Victim::Shim => "owner",
    };
    let record: serde_json::Value = serde_json::from_slice(&fs::read(dir.join(file)).ok()?).ok()?;
    let pid = i32::try_from(record["pid"].as_i64()?).ok()?;
    // Its number may be another process's by now.
    let work = fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
    let of_it = work.starts_with(dir) || processes::command_line(pid).contains(&dir.display().to_string());
    (of_it && !dir.join("exit").exists()).then_some(pid)
}
