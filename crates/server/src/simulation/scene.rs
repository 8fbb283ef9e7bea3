//! Everything that a run is made of.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::dice::Dice;
use super::plan::Plan;
use super::record::Record;
use super::referee::Referee;
use super::replica::{Process, Replica};
use super::streams::Streams;
use super::twins::Twin;
use super::weather::Weather;
use super::world::World;

/// A run.
pub(super) struct Scene {
    pub(super) plan: Plan,
    pub(super) record: Record,
    pub(super) dice: Dice,
    pub(super) weather: Weather,
    pub(super) world: Arc<World>,
    pub(super) referee: Arc<Referee>,
    pub(super) streams: Streams,
    /// What is broken on purpose.
    pub(super) twin: Option<Twin>,
    pub(super) replicas: OnceLock<Vec<Replica>>,
    /// The boot of each machine, None while it is down.
    boots: Mutex<Vec<(u32, Option<String>)>>,
    /// Processes that run under another's name.
    namesakes: Mutex<Vec<Arc<Process>>>,
}

impl Scene {
    pub(super) fn new(
        plan: Plan,
        record: Record,
        dice: Dice,
        world: Arc<World>,
        referee: Arc<Referee>,
        twin: Option<Twin>,
    ) -> Arc<Self> {
        let boots = plan.hosts.iter().map(|h| (1, Some(world.boot(&h.machine, 1)))).collect();
        let scene = Arc::new(Self {
            plan,
            record,
            dice,
            weather: Weather::default(),
            world,
            referee,
            streams: Streams::default(),
            twin,
            replicas: OnceLock::new(),
            boots: Mutex::new(boots),
            namesakes: Mutex::default(),
        });
        let replicas = scene.plan.replicas.iter().map(|plan| Replica::new(&scene, plan.clone())).collect();
        // Set once, just made.
        let _ = scene.replicas.set(replicas);
        scene
    }

    pub(super) fn replicas(&self) -> &[Replica] {
        self.replicas.get().map_or(&[], Vec::as_slice)
    }

    /// Every process that is not dead.
    pub(super) fn processes(&self) -> Vec<Arc<Process>> {
        let namesakes = self.namesakes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let all = self.replicas().iter().filter_map(Replica::process).chain(namesakes);
        all.filter(|p| !p.life.is_dead()).collect()
    }

    pub(super) fn add_namesake(&self, process: Arc<Process>) {
        self.namesakes.lock().unwrap_or_else(PoisonError::into_inner).push(process);
    }

    /// Machine and boot of a host; None while the machine is down.
    pub(super) fn host_of(&self, host: usize) -> Option<String> {
        let boots = self.boots.lock().unwrap_or_else(PoisonError::into_inner);
        boots.get(host).and_then(|(_, host)| host.clone())
    }

    /// A machine is lost, with every process on it.
    pub(super) fn lose(&self, host: usize) {
        let Some(machine) = self.plan.hosts.get(host).map(|h| h.machine.clone()) else { return };
        self.record.say("world", format_args!("{machine} is lost"));
        if let Some(boot) = self.boots.lock().unwrap_or_else(PoisonError::into_inner).get_mut(host) {
            boot.1 = None;
        }
        for process in self.processes() {
            if super::world::machine_of(&process.service.standing.me.host) == machine {
                process.life.kill("its machine is lost");
            }
        }
        self.world.lose(&machine);
    }

    /// A lost machine comes back.
    pub(super) fn bring_back(&self, host: usize) {
        let Some(machine) = self.plan.hosts.get(host).map(|h| h.machine.clone()) else { return };
        let mut boots = self.boots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(boot) = boots.get_mut(host)
            && boot.1.is_none()
        {
            boot.0 += 1;
            boot.1 = Some(self.world.boot(&machine, boot.0));
            self.record.say("world", format_args!("{machine} is back"));
        }
    }
}
