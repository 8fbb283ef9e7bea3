//! A replica over its lives: the real service and the real workers, put together as `libra serve` does it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use libra_core::mode::Mode;
use libra_engines::engine::Engine;
use libra_store::tables::replicas;
use libra_store::{Db, signals};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};

use super::clock::Skewed;
use super::driver::Watch;
use super::engine::{FakeEngine, FakeFiles};
use super::exchange;
use super::life::Life;
use super::network::Network;
use super::plan::{ReplicaPlan, storage};
use super::record::Promise;
use super::scene::Scene;
use super::streams::Line;
use super::{config, twins};
use crate::clock::{Agreed, Clock as _};
use crate::service::{HandOff, Parts, Service, Signals, Standing, host_lease_file};
use crate::workers::{self, Shutdown};

/// How often a start asks for its replica's lease.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// How long an orderly end may take.
const DRAIN: Duration = Duration::from_secs(10);
/// Drivers of a host that reaches the store no longer end themselves this long before the host is given up.
const END_BEFORE_GIVEN_UP: Duration = Duration::from_mins(1);

/// One process of a replica.
pub(super) struct Process {
    pub(super) life: Arc<Life>,
    pub(super) service: Arc<Service>,
    /// SIGTERM.
    pub(super) leave: Arc<Notify>,
}

/// A replica.
pub(super) struct Replica {
    pub(super) plan: ReplicaPlan,
    pub(super) clock: Skewed,
    place: Mutex<Place>,
    lives: Mutex<Lives>,
}

/// Where it runs at present.
#[derive(Clone, Debug)]
struct Place {
    host: usize,
    storage: String,
}

#[derive(Default)]
struct Lives {
    count: u32,
    present: Option<Arc<Process>>,
}

impl Replica {
    pub(super) fn new(scene: &Scene, plan: ReplicaPlan) -> Self {
        let clock = Skewed::new(scene.record.clone(), scene.dice.fork(&plan.id), plan.skew);
        let place = Place { host: plan.host, storage: plan.storage.clone() };
        Self { plan, clock, place: Mutex::new(place), lives: Mutex::default() }
    }

    fn lives(&self) -> std::sync::MutexGuard<'_, Lives> {
        self.lives.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The process that lives now, if one does; it may stand still.
    pub(super) fn process(&self) -> Option<Arc<Process>> {
        self.lives().present.clone().filter(|p| !p.life.is_dead())
    }

    fn place(&self) -> Place {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The number of the machine on which it runs.
    pub(super) fn host(&self) -> usize {
        self.place().host
    }

    /// From its next life on it runs on another machine, with the files there.
    pub(super) fn move_to(&self, scene: &Scene, host: usize) {
        let storage = storage(scene.plan.shared, host + 1, &format!("{}-moved", self.plan.id));
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = Place { host, storage };
    }

    /// Starts a process, unless one lives or its machine is down.
    pub(super) fn start(&self, scene: &Arc<Scene>) {
        if self.process().is_none() {
            let instance = self.plan.id.clone();
            if let Some(process) = self.begin(scene, &instance) {
                self.lives().present = Some(process);
            }
        }
    }

    /// Starts a second process under the same name, with a data directory of its own.
    pub(super) fn start_namesake(&self, scene: &Arc<Scene>) -> Option<Arc<Process>> {
        let instance = format!("{}-namesake", self.plan.id);
        self.begin(scene, &instance)
    }

    fn begin(&self, scene: &Arc<Scene>, instance: &str) -> Option<Arc<Process>> {
        let host = scene.host_of(self.host())?;
        let count = {
            let mut lives = self.lives();
            lives.count += 1;
            lives.count
        };
        let life = Arc::new(Life::begin(format!("{}.{count}", self.plan.id), scene.record.clone()));
        let (service, outgoing) = self.put_together(scene, &life, &host, instance);
        let leave = Arc::new(Notify::new());
        exchange::run(scene, &life, outgoing);
        tokio::spawn(serve(Arc::clone(scene), Arc::clone(&life), Arc::clone(&service), Arc::clone(&leave)));
        Some(Arc::new(Process { life, service, leave }))
    }

    fn put_together(
        &self,
        scene: &Scene,
        life: &Arc<Life>,
        host: &str,
        instance: &str,
    ) -> (Arc<Service>, signals::Outgoing) {
        let (plan, name, place) = (&scene.plan, &life.name, self.place());
        let host_plan = plan.hosts.get(place.host).cloned();
        let machine = host_plan.as_ref().map(|h| h.machine.clone()).unwrap_or_default();
        let files_dir = PathBuf::from("/").join(&place.storage);
        let network = Network {
            life: Arc::clone(life),
            store: twins::store(scene.twin, scene.referee.seat(name), scene.dice.fork("twin")),
            dice: scene.dice.fork(name),
            rates: plan.rates.clone(),
            weather: scene.weather.clone(),
            record: scene.record.clone(),
            embedded: plan.alone,
        };
        let deadline = plan.host_lost_after.saturating_sub(END_BEFORE_GIVEN_UP);
        let watch = Watch { file: host_lease_file(&files_dir, &machine), deadline };
        let engine: Arc<dyn Engine> = Arc::new(FakeEngine {
            life: Arc::clone(life),
            world: Arc::clone(&scene.world),
            dice: scene.dice.fork("engine"),
            rates: plan.rates.clone(),
            weather: scene.weather.clone(),
            host: host.to_owned(),
            watch: (!plan.alone).then_some(watch),
            twin: scene.twin,
        });
        let engines: BTreeMap<Mode, Arc<dyn Engine>> =
            [(Mode::InCluster, Arc::clone(&engine)), (Mode::SparkSubmit, engine)].into();
        let streams = || -> Arc<dyn HandOff> {
            Arc::new(Line {
                life: Arc::clone(life),
                streams: scene.streams.clone(),
                dice: scene.dice.fork("redis"),
                rates: plan.rates.clone(),
                weather: scene.weather.clone(),
            })
        };
        let config = config::of(plan, place.host);
        let me = replicas::Replica {
            id: self.plan.id.clone(),
            host: host.to_owned(),
            storage: place.storage,
            address: format!("http://{}", self.plan.id),
            version: "1".into(),
            cores: config.limits.cores_for_jobs(),
            memory: config.limits.memory_for_jobs(),
            started_at: self.clock.now(),
        };
        let (sink, outgoing) = signals::channel();
        let service = Service::new(Parts {
            config,
            db: Db::over(Arc::new(network)),
            engines,
            clock: Arc::new(Agreed::new(self.clock.clone())),
            standing: Standing::new(me, instance.to_owned()),
            signals: Signals::new(&machine, Some(sink)),
            files: Arc::new(FakeFiles { life: Arc::clone(life), world: Arc::clone(&scene.world) }),
            files_dir,
            alone: plan.alone,
            redis: plan.redis.then(streams),
            flink: crate::flink::FlinkClusters::default(),
            slurm: crate::slurm::SlurmClusters::default(),
        });
        (Arc::new(service), outgoing)
    }
}

/// What `libra serve` does, from the first lease to the end.
async fn serve(scene: Arc<Scene>, life: Arc<Life>, service: Arc<Service>, leave: Arc<Notify>) {
    let deadline = Instant::now() + service.config.replica.lease + ASK_AGAIN;
    loop {
        match workers::begin(&service).await {
            Ok(true) => break,
            Ok(false) if Instant::now() > deadline => return life.kill("its name is taken"),
            Ok(false) => sleep(ASK_AGAIN).await,
            Err(_) => return life.kill("it could not begin"),
        }
    }
    // A watch channel wakes those who wait in an order of its own choosing; of these only the heartbeat then does
    // something that others notice.
    let (stop, stopped) = watch::channel(false);
    let (lost, mut lost_lease) = watch::channel(false);
    let mut running = workers::start_lifecycle(&service, &Shutdown::new(stopped), lost);
    let died = tokio::select! {
        biased;
        () = life.death() => true,
        () = leave.notified() => false,
        _ = lost_lease.wait_for(|lost| *lost) => false,
        ended = running.join_next() => {
            scene.record.broken(Promise::NoPanic, format!("a worker of {} ended: {ended:?}", life.name));
            false
        }
    };
    if !died {
        scene.record.say(&life.name, format_args!("stops in good order"));
        stop.send_replace(true);
        let drained = async { while running.join_next().await.is_some() {} };
        let _ = timeout(DRAIN, drained).await;
        life.kill("it has stopped");
    }
}
