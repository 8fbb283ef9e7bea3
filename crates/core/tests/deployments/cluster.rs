//! A model of a Flink session cluster: what it takes, what it forgets, and what goes on behind its back.

use std::collections::{BTreeMap, BTreeSet};

use libra_core::deployment::reconcile::{
    Answer, Ask, Cluster as Seen, Disk, Effect, FlinkId, Job, JobState, Kept, Open, Operation, Part, Refusal,
    Row, Saving as SavingAsked, Trigger,
};
use libra_core::simulate::Dice;

/// The heartbeat timeout: so long do tasks go on without their JobManager, in seconds.
pub const HEARTBEAT: i64 = 8;
/// The name of the deployment's jobs.
pub const NAME: &str = "orders";

/// The part of a job that has the job's number of subtasks.
const PART: &str = "count";
/// The part that has its number from the program.
const PINNED: &str = "numbers";
/// That number: one that generations have as well, but for those with which a job begins.
const ALONE: u32 = 3;

/// Slots that are free for a job that runs, as long as there are faults.
const SLOTS: u32 = 4;

/// How a generation behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Character {
    Good,
    BadClass,
    FailsForGood,
    RestartsForEver,
    /// A batch job of so many seconds.
    Ends(i64),
    /// RUNNING, as Flink calls it, and no task ever runs.
    NoSlots,
}

/// One job in the cluster.
#[derive(Clone, Debug)]
pub struct Work {
    pub generation: u64,
    pub state: JobState,
    /// What it has counted: its state.
    pub counter: u64,
    began_with: u64,
    age: i64,
    has_slots: bool,
    /// Subtasks that it had when it began.
    began_wide: u32,
    /// Subtasks that it is asked to have.
    asked: u32,
    /// Subtasks that it has.
    pub subtasks: u32,
    restarts: u64,
    checkpoints: u64,
    number: u64,
    kept: Vec<Kept>,
    savepoint: Option<Kept>,
}

impl Work {
    fn all_tasks_run(&self) -> bool {
        self.has_slots && self.age > 3 && self.state == JobState::Running
    }
}

/// A savepoint in the making.
#[derive(Clone, Debug)]
struct Saving {
    job: FlinkId,
    directory: String,
    stops: bool,
    done_at: i64,
    answer: Trigger,
}

/// What is sent to the cluster, by the time at which it comes.
type Late = (i64, Effect);

#[expect(clippy::struct_excessive_bools, reason = "switches of a model")]
pub struct Cluster {
    pub now: i64,
    pub up: bool,
    pub faults: bool,
    pub readable: bool,
    /// Whether its list names the jobs as the deployment does.
    pub named: bool,
    ha: bool,
    /// Whether its scheduler changes the number of subtasks of a job that runs.
    pub rescales: bool,
    /// Subtasks of the generations, where they are not one.
    pub subtasks: BTreeMap<u64, u32>,
    down_until: i64,
    life: u64,
    dice: Dice,
    pub jobs: BTreeMap<FlinkId, Work>,
    /// Tasks without a JobManager, until when.
    zombies: Vec<(FlinkId, i64)>,
    triggers: BTreeMap<FlinkId, Saving>,
    disposed: BTreeSet<FlinkId>,
    jars: Vec<(String, String)>,
    /// Snapshots on the disk: path, and the counter in it.
    pub disk: BTreeMap<String, u64>,
    late: Vec<Late>,
    /// Every job that was started, oldest first: what it was, and the newest snapshot that it made.
    pub ran: Vec<(FlinkId, u64, u64)>,
    /// Runs whose state is not to be gone on from.
    pub discarded: BTreeSet<FlinkId>,
    pub characters: BTreeMap<u64, Character>,
    pub stateless: BTreeSet<u64>,
    /// What job a generation is.
    pub keys: BTreeMap<u64, String>,
    pub foreign: Option<FlinkId>,
    pub violations: Vec<String>,
}

impl Cluster {
    pub fn new(seed: u64, ha: bool) -> Self {
        Self {
            now: 0,
            up: true,
            faults: true,
            readable: true,
            named: true,
            ha,
            rescales: seed.is_multiple_of(2),
            subtasks: BTreeMap::new(),
            down_until: 0,
            life: 1,
            dice: Dice::new(seed),
            jobs: BTreeMap::new(),
            zombies: Vec::new(),
            triggers: BTreeMap::new(),
            disposed: BTreeSet::new(),
            jars: Vec::new(),
            disk: BTreeMap::new(),
            late: Vec::new(),
            ran: Vec::new(),
            discarded: BTreeSet::new(),
            characters: BTreeMap::new(),
            stateless: BTreeSet::new(),
            keys: BTreeMap::new(),
            foreign: None,
            violations: Vec::new(),
        }
    }

    pub fn alive(&self) -> Vec<FlinkId> {
        let jobs = self.jobs.iter().filter(|(_, work)| !work.state.is_terminal()).map(|(id, _)| *id);
        let zombies = self.zombies.iter().filter(|(_, until)| self.now < *until).map(|(id, _)| *id);
        jobs.chain(zombies).collect()
    }

    /// The job that runs is this generation's from now on.
    pub fn becomes(&mut self, generation: u64) {
        if let Some((_, last, _)) = self.ran.last_mut() {
            *last = generation;
        }
    }

    /// The run that was sent with this state may have come, and left nothing.
    pub fn may_have_run(&mut self, id: FlinkId, generation: u64, from: Option<&str>) {
        if self.ran.iter().all(|(ran, ..)| *ran != id) {
            let began = from.and_then(|path| self.disk.get(path)).copied().unwrap_or(0);
            self.ran.push((id, generation, began));
        }
    }

    /// A second passes.
    pub fn tick(&mut self) {
        self.now += 1;
        if !self.up && self.now >= self.down_until {
            self.up = true;
        }
        if self.up {
            let (due, later): (Vec<Late>, Vec<Late>) =
                std::mem::take(&mut self.late).into_iter().partition(|(at, _)| *at <= self.now);
            self.late = later;
            for (_, effect) in due {
                self.take(&effect);
            }
            let ids: Vec<FlinkId> = self.jobs.keys().copied().collect();
            for id in ids {
                self.advance(id);
            }
            self.save();
        }
        let alive = self.alive();
        if alive.len() > 1 {
            self.violations.push(format!("at {}: several live jobs: {alive:?}", self.now));
        }
    }

    /// The job goes over to another number of subtasks: from its last checkpoint.
    fn rescale(&mut self, id: FlinkId) {
        let work = self.jobs.get_mut(&id).unwrap();
        let too_few_slots = self.faults && work.asked > SLOTS;
        if work.asked == work.subtasks || too_few_slots || !self.dice.once_in(3) {
            return;
        }
        work.subtasks = work.asked;
        work.age = 2;
        let last = work.kept.last().and_then(|kept| self.disk.get(&kept.path));
        work.counter = last.copied().unwrap_or(work.began_with);
    }

    fn advance(&mut self, id: FlinkId) {
        let character = |work: &Work| self.characters.get(&work.generation).copied();
        let Some(work) = self.jobs.get(&id) else { return };
        let character = character(work).unwrap_or(Character::Good);
        let work = self.jobs.get_mut(&id).unwrap();
        if work.state.is_terminal() {
            return;
        }
        self.rescale(id);
        let work = self.jobs.get_mut(&id).unwrap();
        work.age += 1;
        match (character, work.age) {
            (_, ..=1) => work.state = JobState::Created,
            // As Flink does: RUNNING while no task runs.
            (_, 2..=3) | (Character::NoSlots, _) => work.state = JobState::Running,
            (Character::Ends(lasts), age) => {
                work.state = if age >= lasts { JobState::Finished } else { JobState::Running };
            }
            (Character::FailsForGood, 9..) => work.state = JobState::Failed,
            (Character::RestartsForEver, age) => {
                work.state = if age % 4 < 2 { JobState::Restarting } else { JobState::Running };
                work.restarts += u64::from(age % 4 == 0);
            }
            (Character::Good | Character::BadClass | Character::FailsForGood, _) => {
                work.state = JobState::Running;
                work.counter += 1;
                if work.age % 3 == 0 {
                    self.checkpoint(id);
                }
            }
        }
    }

    fn checkpoint(&mut self, id: FlinkId) {
        const RETAINED: usize = 3;
        let work = self.jobs.get_mut(&id).unwrap();
        work.number += 1;
        work.checkpoints += 1;
        let kept = Kept { path: format!("ckpt/{id}/chk-{}", work.number), number: work.number };
        self.disk.insert(kept.path.clone(), work.counter);
        work.kept.push(kept);
        if work.kept.len() > RETAINED {
            let old = work.kept.remove(0);
            self.disk.remove(&old.path);
        }
        let counter = work.counter;
        self.note_snapshot(id, counter);
    }

    fn note_snapshot(&mut self, id: FlinkId, counter: u64) {
        if let Some(ran) = self.ran.iter_mut().rev().find(|(ran, ..)| *ran == id) {
            ran.2 = counter;
        }
    }

    fn save(&mut self) {
        let due: Vec<FlinkId> = self
            .triggers
            .iter()
            .filter(|(_, saving)| saving.answer == Trigger::InProgress && saving.done_at <= self.now)
            .map(|(id, _)| *id)
            .collect();
        for trigger in due {
            let fails = self.faults && self.dice.once_in(5);
            let saving = self.triggers.get_mut(&trigger).unwrap();
            let generation = self.jobs.get(&saving.job).map_or(0, |work| work.generation);
            // Many a batch job has no checkpoints, and can't be stopped.
            let batch = matches!(self.characters.get(&generation), Some(Character::Ends(_)));
            let fails = fails || batch && self.dice.once_in(2);
            let work = self.jobs.get_mut(&saving.job).filter(|work| work.all_tasks_run());
            let Some(work) = work.filter(|_| !fails) else {
                saving.answer = Trigger::Failed("Checkpoint was declined".to_owned());
                continue;
            };
            work.number += 1;
            let path = format!("{}/savepoint-{}", saving.directory, work.number);
            let (job, counter) = (saving.job, work.counter);
            self.disk.insert(path.clone(), counter);
            work.savepoint = Some(Kept { path: path.clone(), number: work.number });
            if saving.stops {
                work.state = JobState::Finished;
                // Flink removes the checkpoints of what has finished.
                for kept in std::mem::take(&mut work.kept) {
                    self.disk.remove(&kept.path);
                }
            }
            saving.answer = Trigger::Completed(path);
            self.note_snapshot(job, counter);
        }
    }

    /// The JobManager dies and comes back after `seconds`.
    pub fn kill(&mut self, seconds: i64) {
        self.up = false;
        self.down_until = self.now + seconds;
        self.life += 1;
        self.triggers.clear();
        self.late.clear();
        if self.dice.once_in(2) {
            self.jars.clear();
        }
        if self.ha {
            for work in self.jobs.values_mut().filter(|work| !work.state.is_terminal()) {
                let newest = work.kept.last().and_then(|kept| self.disk.get(&kept.path));
                work.counter = newest.copied().unwrap_or(work.began_with);
                work.state = JobState::Restarting;
                work.age = 0;
            }
            return;
        }
        let until = self.now + HEARTBEAT;
        for (id, work) in std::mem::take(&mut self.jobs) {
            if !work.state.is_terminal() {
                self.zombies.push((id, until));
            }
        }
        self.foreign = None;
    }

    /// A request is on its way and comes after `seconds`.
    pub fn take_late(&mut self, effect: Effect, seconds: i64) {
        self.late.push((self.now + seconds, effect));
    }

    /// A request has come.
    pub fn take(&mut self, effect: &Effect) -> Answer {
        match effect {
            Effect::Upload { digest } => {
                self.jars.push((digest.clone(), format!("{}_{digest}.jar", self.now)));
                Answer::Accepted
            }
            Effect::Run { job, generation, jar, from, .. } => {
                self.run(*job, *generation, jar, from.as_deref())
            }
            Effect::Ask(ask) => self.asked(ask),
            Effect::Emit(_) | Effect::WaitUntil(_) => Answer::Accepted,
        }
    }

    fn asked(&mut self, ask: &Ask) -> Answer {
        match ask {
            Ask::Stop { job, saving, .. } => self.trigger(*job, saving, true),
            Ask::Savepoint { job, saving, .. } => self.trigger(*job, saving, false),
            Ask::Rescale { job, parts, from, to } => {
                if parts.contains(PINNED) {
                    self.violations.push(format!("at {}: what the program says is changed", self.now));
                }
                let work = self.jobs.get_mut(job).filter(|work| !work.state.is_terminal());
                if let Some(work) = work.filter(|work| work.asked == *from && parts.contains(PART)) {
                    work.asked = *to;
                }
                Answer::Accepted
            }
            Ask::Cancel { job } => {
                if Some(*job) == self.foreign {
                    self.violations.push("somebody else's job was cancelled".to_owned());
                }
                if let Some(work) = self.jobs.get_mut(job).filter(|work| !work.state.is_terminal()) {
                    work.state = JobState::Canceled;
                }
                Answer::Accepted
            }
            Ask::Dispose { path, trigger } => {
                let savepoints = self.disk.keys().filter(|path| path.starts_with("svpt/")).count();
                if savepoints == 1 && self.disk.contains_key(path) {
                    self.violations.push(format!("the last savepoint was removed: {path}"));
                }
                self.disk.remove(path);
                self.disposed.insert(*trigger);
                Answer::Accepted
            }
        }
    }

    fn run(&mut self, job: FlinkId, generation: u64, jar: &str, from: Option<&str>) -> Answer {
        if self.jobs.contains_key(&job) {
            return Answer::Refused(Refusal::Duplicate);
        }
        if !self.jars.iter().any(|(_, id)| id == jar) {
            return Answer::Refused(Refusal::MissingJar);
        }
        if self.characters.get(&generation) == Some(&Character::BadClass) {
            return Answer::Refused(Refusal::BadProgram("ClassNotFoundException".to_owned()));
        }
        let floor = self.floor(generation);
        let has_slots = self.characters.get(&generation) != Some(&Character::NoSlots);
        let subtasks = self.subtasks.get(&generation).copied().unwrap_or(2);
        let work = |state, counter| Work {
            asked: subtasks,
            began_wide: subtasks,
            subtasks,
            generation,
            state,
            counter,
            began_with: counter,
            age: 0,
            has_slots,
            restarts: 0,
            checkpoints: 0,
            number: 0,
            kept: Vec::new(),
            savepoint: None,
        };
        let began = match from.map(|path| (path, self.disk.get(path).copied())) {
            None => 0,
            Some((_, Some(counter))) => counter,
            Some((path, None)) => {
                // The ghost of a refused run.
                self.jobs.insert(job, work(JobState::Failed, 0));
                if self.readable {
                    self.violations.push(format!("at {}: {path} is not there", self.now));
                }
                return Answer::Refused(Refusal::StateNotFound("FileNotFoundException".to_owned()));
            }
        };
        if began < floor {
            self.violations
                .push(format!("at {}: state lost: {began} after {floor}, from {from:?}", self.now));
        }
        self.jobs.insert(job, work(JobState::Initializing, began));
        self.ran.push((job, generation, began));
        Answer::Accepted
    }

    /// The least that a run of this generation may begin with.
    fn floor(&self, generation: u64) -> u64 {
        let Some((_, last, snapshot)) = self.ran.iter().rev().find(|(id, ..)| !self.discarded.contains(id))
        else {
            return 0;
        };
        let other = self.keys.get(last) != self.keys.get(&generation);
        if self.stateless.contains(&generation) && other { 0 } else { *snapshot }
    }

    fn trigger(&mut self, job: FlinkId, saving: &SavingAsked, stops: bool) -> Answer {
        let trigger = saving.trigger;
        if self.triggers.contains_key(&trigger) {
            return Answer::Accepted;
        }
        if self.jobs.get(&job).is_none_or(|work| work.state.is_terminal()) {
            return Answer::Refused(Refusal::UnknownJob);
        }
        let takes =
            if self.faults && self.dice.once_in(4) { self.dice.below(40) } else { self.dice.below(3) };
        let done_at = self.now + i64::try_from(takes).unwrap();
        let directory = saving.directory.clone();
        self.triggers.insert(trigger, Saving { job, directory, stops, done_at, answer: Trigger::InProgress });
        Answer::Accepted
    }

    /// What a look tells.
    pub fn look(&self, row: &Row) -> Seen {
        let foreign = self.foreign.map(|id| (id, JobState::Running));
        let job = |id: FlinkId, state, work: Option<&Work>| Job {
            id,
            name: if self.named { NAME } else { "main" }.to_owned(),
            state,
            all_tasks_run: work.is_some_and(Work::all_tasks_run),
            restarts: work.map_or(0, |work| work.restarts),
            exceptions: work.map_or(0, |work| work.restarts),
            checkpoints: work.map_or(0, |work| work.checkpoints),
            checkpoint: work.and_then(|work| work.kept.last().cloned()),
            savepoint: work.and_then(|work| work.savepoint.clone()),
            failure: None,
            pressure: None,
        };
        let mut jobs: Vec<Job> =
            self.jobs.iter().map(|(id, work)| job(*id, work.state, Some(work))).collect();
        jobs.extend(foreign.map(|(id, state)| job(id, state, None)));
        let saves = row.operation.as_ref().and_then(Operation::saving);
        let trigger = saves.map_or(Trigger::NotAsked, |asked| {
            self.triggers.get(&asked.trigger).map_or(Trigger::Unknown, |saving| saving.answer.clone())
        });
        let disposals = self.disposed.iter().map(|id| (*id, Trigger::Completed(String::new()))).collect();
        let life = Some(self.life.to_string());
        Seen {
            life,
            parts: self.parts(row),
            jobs,
            jars: self.jars.clone(),
            trigger,
            reply: None,
            disk: self.files(row),
            disposals,
            open: Open::default(),
        }
    }

    /// The parts of the row's job: one that follows it, and one whose number the program says, where that can be told.
    fn parts(&self, row: &Row) -> Option<BTreeMap<String, Part>> {
        let run = row.run.as_ref().filter(|_| self.rescales)?;
        let work = self.jobs.get(&run.id).filter(|work| !work.state.is_terminal())?;
        let follows = (PART.to_owned(), Part { asked: work.asked, has: work.subtasks });
        let pinned =
            (work.began_wide != ALONE).then_some((PINNED.to_owned(), Part { asked: ALONE, has: ALONE }));
        Some([Some(follows), pinned].into_iter().flatten().collect())
    }

    fn files(&self, row: &Row) -> Option<Disk> {
        let run = self.readable.then_some(row.run.as_ref())?;
        let checkpoint = run.and_then(|run| {
            let prefix = format!("ckpt/{}/chk-", run.id);
            let number = |path: &String| path.strip_prefix(&prefix).and_then(|n| n.parse::<u64>().ok());
            let numbers = self.disk.keys().filter_map(number);
            numbers.max().map(|number| Kept { path: format!("{prefix}{number}"), number })
        });
        let savepoint = row.operation.as_ref().and_then(|operation| {
            let prefix = format!("{}/savepoint-", operation.saving()?.directory);
            let number = |path: &String| path.strip_prefix(&prefix).and_then(|n| n.parse::<u64>().ok());
            let found = self.disk.keys().filter_map(|path| Some((number(path)?, path.clone())));
            found.max()
        });
        let (savepoint_number, savepoint) = savepoint.unzip();
        Some(Disk { checkpoint, savepoint, savepoint_number })
    }
}
