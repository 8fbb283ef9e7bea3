//! A history from a seed: wishes come and change, everything fails that can; then there is peace.

use std::fmt::Write as _;

use libra_core::deployment::reconcile::{
    Desired, FlinkId, Kind, Mode, Phase, Retention, Run, Stability, Timing, Upgrade, Version,
};
use libra_core::job::State;
use libra_core::simulate::Dice;

use super::cluster::{Character, Cluster, HEARTBEAT, NAME};
use super::controller::{Controller, Order};

const SECOND: i64 = 1_000_000;
/// Seconds with faults.
const TROUBLED: i64 = 600;
/// Seconds of peace, after which everything must be as it is wanted.
const PEACE: i64 = 900;

pub struct History {
    pub desired: Desired,
    pub cluster: Cluster,
    pub controller: Controller,
    dice: Dice,
    checks_intent: bool,
}

pub fn timing() -> Timing {
    Timing {
        resend_after: 5 * SECOND,
        main_budget: 30 * SECOND,
        zombie_window: (HEARTBEAT + 2) * SECOND,
        ailing_grace: 6 * SECOND,
        end_grace: 12 * SECOND,
        savepoint_within: 60 * SECOND,
        rescale_within: 12 * SECOND,
        poll_every: SECOND,
        backoff_first: SECOND,
        backoff_most: 20 * SECOND,
        max_tries: 6,
        max_sends: 3,
        max_savepoint_tries: 3,
    }
}

pub fn desired() -> Desired {
    Desired {
        name: NAME.to_owned(),
        mode: Mode::Running,
        generation: 0,
        rollback_to: None,
        nonce: 0,
        end_run: None,
        waits: false,
        another_begins: false,
        watches_pressure: false,
        savepoint_nonce: 0,
        given: None,
        savepoint_directory: "svpt/orders/".to_owned(),
        versions: Vec::new(),
        stability: Stability { checkpoints: 2, window: 6 * SECOND, max_restarts: 1, within: 40 * SECOND },
        retention: Retention { count: 3, age: 400 * SECOND },
        timing: timing(),
    }
}

pub fn version(generation: u64, upgrade: Upgrade) -> Version {
    Version {
        generation,
        digest: format!("{generation:064x}"),
        kind: Kind::Streaming,
        upgrade,
        alone: false,
        allow_non_restored_state: false,
        job: Some(format!("job {generation}")),
        parallelism: 2,
        shape: Some(format!("shape {generation}")),
    }
}

impl History {
    pub fn new(seed: u64, order: Order) -> Self {
        let mut dice = Dice::new(seed);
        let ha = dice.once_in(3);
        let cluster = Cluster::new(dice.roll(), ha);
        let controller = Controller::new(dice.roll(), order);
        Self { desired: desired(), cluster, controller, dice, checks_intent: true }
    }

    /// Only what comes of it counts.
    pub fn without_intent_checks(mut self) -> Self {
        self.checks_intent = false;
        self
    }

    /// Applies a new spec.
    pub fn apply(&mut self, character: Character, upgrade: Upgrade) {
        self.desired.generation += 1;
        let generation = self.desired.generation;
        self.desired.rollback_to = None;
        self.cluster.characters.insert(generation, character);
        if upgrade == Upgrade::Stateless {
            self.cluster.stateless.insert(generation);
        }
        let version = version(generation, upgrade);
        self.cluster.keys.extend(version.job.clone().map(|job| (generation, job)));
        self.desired.versions.push(version);
    }

    /// Applies a spec that is the one of generation `like`, but for what Flink has no part in.
    pub fn retouch(&mut self, like: u64, upgrade: Upgrade) {
        let character = self.cluster.characters.get(&like).copied().unwrap();
        self.apply(character, upgrade);
        let old = self.desired.version(like).cloned().unwrap();
        let new = self.desired.versions.last_mut().unwrap();
        new.digest.clone_from(&old.digest);
        new.job.clone_from(&old.job);
        (new.parallelism, new.shape) = (old.parallelism, old.shape);
        self.cluster.keys.extend(old.job.map(|job| (self.desired.generation, job)));
        self.cluster.subtasks.insert(self.desired.generation, old.parallelism);
    }

    /// Applies the spec of generation `like` with another number of subtasks.
    pub fn widen(&mut self, like: u64, parallelism: u32) {
        self.retouch(like, Upgrade::Savepoint);
        let generation = self.desired.generation;
        let new = self.desired.versions.last_mut().unwrap();
        if new.parallelism != parallelism {
            new.parallelism = parallelism;
            new.job = new.shape.as_ref().map(|shape| format!("{shape} on {parallelism}"));
        }
        self.cluster.keys.extend(new.job.clone().map(|job| (generation, job)));
        self.cluster.subtasks.insert(generation, parallelism);
    }

    fn wish(&mut self) {
        match self.dice.below(14) {
            12 | 13 => {
                let subtasks = 1 + u32::try_from(self.dice.below(5)).unwrap();
                self.widen(self.desired.generation, subtasks);
            }
            10 | 11 => {
                let newest = self.desired.generation;
                let like = if self.dice.once_in(3) { 1 + self.dice.below(newest) } else { newest };
                let stateless = self.dice.once_in(4);
                self.retouch(like, if stateless { Upgrade::Stateless } else { Upgrade::Savepoint });
            }
            0..=3 => {
                let character = match self.dice.below(9) {
                    0 => Character::BadClass,
                    1 => Character::FailsForGood,
                    2 => Character::RestartsForEver,
                    3 => Character::NoSlots,
                    _ => Character::Good,
                };
                let upgrade = match self.dice.below(8) {
                    0 => Upgrade::Stateless,
                    1 => Upgrade::LastCheckpoint,
                    _ => Upgrade::Savepoint,
                };
                self.apply(character, upgrade);
            }
            4 => self.desired.mode = Mode::Suspended,
            5 | 6 => self.desired.mode = Mode::Running,
            7 => self.desired.savepoint_nonce += 1,
            8 => self.desired.rollback_to = Some(1 + self.dice.below(self.desired.generation)),
            _ => self.desired.nonce += 1,
        }
    }

    fn fault(&mut self) {
        match self.dice.below(90) {
            0 => {
                let seconds = 1 + i64::try_from(self.dice.below(30)).unwrap();
                let at = self.cluster.now;
                let _ = writeln!(self.controller.story, "{at} JOBMANAGER DIES for {seconds}");
                self.cluster.kill(seconds);
            }
            1 if self.cluster.up => {
                let id = FlinkId(u128::from(self.dice.roll()));
                self.cluster.foreign = if self.cluster.foreign.is_some() { None } else { Some(id) };
            }
            _ => {}
        }
    }

    pub fn second(&mut self) {
        self.cluster.tick();
        self.controller.turn(&self.desired, &mut self.cluster);
    }

    /// Plays it to its end, and tells what was broken.
    pub fn play(&mut self) -> Vec<String> {
        self.controller.checks_intent = self.checks_intent;
        self.apply(Character::Good, Upgrade::Savepoint);
        for _ in 0..TROUBLED {
            if self.dice.once_in(50) {
                self.wish();
            }
            self.fault();
            self.second();
            if !self.cluster.violations.is_empty() {
                return self.cluster.violations.clone();
            }
        }
        // Peace, and the owner asks once more for what was given up.
        self.cluster.faults = false;
        self.controller.faults = false;
        self.cluster.foreign = None;
        self.desired.nonce += 1;
        if self.dice.once_in(6) {
            self.desired.mode = Mode::Deleted { savepoint: self.dice.once_in(2) };
        }
        for _ in 0..PEACE {
            self.second();
        }
        let mut broken = self.cluster.violations.clone();
        let last = self.controller.jobs.as_ref().and_then(|jobs| jobs.all.last()).map(|(job, _)| job.state);
        let runs = self.controller.stored.run.as_ref().is_some_and(Run::may_live);
        if runs != (last == Some(State::Running)) || last.is_none_or(|last| last == State::Queued) {
            broken.push(format!("in the end the last job is {last:?}"));
        }
        if let Some(odd) = self.odd_end() {
            broken.push(odd);
        }
        broken
    }

    /// What is not as it is wanted.
    fn odd_end(&self) -> Option<String> {
        let row = &self.controller.stored;
        let alive = self.cluster.alive();
        let target = self.desired.target();
        let good = self.cluster.characters.get(&target) == Some(&Character::Good);
        let runs = row.run.as_ref().map(|run| run.generation);
        let fine = match self.desired.mode {
            Mode::Suspended => row.phase == Phase::Suspended && alive.is_empty(),
            Mode::Deleted { .. } => row.phase == Phase::Deleted && alive.is_empty(),
            Mode::Running if good => {
                let subtasks = |id| self.cluster.jobs.get(id).map(|work| work.subtasks);
                let wanted = self.desired.version(target).map(|version| version.parallelism);
                row.phase == Phase::Stable
                    && runs == Some(target)
                    && alive.len() == 1
                    && subtasks(&alive[0]) == wanted
            }
            Mode::Running => match &row.stable {
                Some(stable) => {
                    row.phase == Phase::Stable && runs == Some(stable.generation) && alive.len() == 1
                }
                None => [Phase::Failed, Phase::Proving].contains(&row.phase),
            },
        };
        (!fine).then(|| {
            format!(
                "wanted {:?} {target} ({:?}), but it is {:?} with {runs:?}, {} alive; {:?}",
                self.desired.mode,
                self.cluster.characters.get(&target),
                row.phase,
                alive.len(),
                row.trouble
            )
        })
    }
}
