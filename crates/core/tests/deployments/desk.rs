//! A deployment whose cluster says what a test says.

use libra_core::deployment::reconcile::{
    Answer, Cluster, Desired, Effect, FlinkId, Job, JobState, Kept, Moment, Observed, Phase, Reply, Row,
    Trigger, Upgrade, reconcile,
};
use libra_core::time::Timestamp;

use super::cluster::NAME;
use super::history::{desired as nothing_desired, version};

/// A deployment on a cluster that says what the test says.
pub struct Desk {
    pub desired: Desired,
    pub row: Row,
    pub cluster: Cluster,
    pub now: i64,
    pub sent: Vec<Effect>,
}

impl Desk {
    pub fn new() -> Self {
        let mut desired = nothing_desired();
        desired.generation = 1;
        desired.versions = (1..=3).map(|generation| version(generation, Upgrade::Savepoint)).collect();
        let jars =
            desired.versions.iter().map(|v| (v.digest.clone(), format!("{}.jar", v.generation))).collect();
        let cluster = Cluster { life: Some("a".to_owned()), jars, ..Cluster::default() };
        Self { desired, row: Row::default(), cluster, now: 0, sent: Vec::new() }
    }

    pub fn look(&mut self, observed: &Observed) {
        let now = self.now;
        let moment = Moment {
            now: Timestamp(now * 1_000_000),
            fresh: 1_000 + 16 * u128::from(now.unsigned_abs()),
            jitter: 0,
        };
        let step = reconcile(&self.desired, &self.row, observed, moment);
        let again = reconcile(&self.desired, &self.row, observed, moment);
        assert_eq!(step, again, "the same look, the same step");
        self.row = step.row;
        self.sent = step.effects;
    }

    /// `seconds` pass, with a look after each.
    pub fn pass(&mut self, seconds: i64) {
        for _ in 0..seconds {
            self.now += 1;
            let observed = Observed::Reachable(Box::new(self.cluster.clone()));
            self.look(&observed);
            self.cluster.reply = None;
        }
    }

    pub fn run_id(&self) -> FlinkId {
        self.row.run.as_ref().unwrap().id
    }

    pub fn answer(&mut self, answer: Answer) {
        self.cluster.reply = Some(Reply { key: self.run_id(), send: 1, answer });
    }

    /// The job that was sent is there.
    pub fn job(&mut self, state: JobState, all_tasks_run: bool, checkpoints: u64) {
        let id = self.run_id();
        self.cluster.jobs.retain(|job| job.id != id);
        self.cluster.jobs.push(job(id, state, all_tasks_run, checkpoints));
    }

    pub fn sends(&self, wanted: impl Fn(&Effect) -> bool) -> bool {
        self.sent.iter().any(wanted)
    }

    pub fn stable() -> Self {
        let mut desk = Self::new();
        desk.pass(1);
        desk.job(JobState::Running, true, 5);
        desk.pass(10);
        assert_eq!(desk.row.phase, Phase::Stable);
        desk
    }
}

pub fn job(id: FlinkId, state: JobState, all_tasks_run: bool, checkpoints: u64) -> Job {
    let kept = Kept { path: format!("ckpt/{id}/chk-{checkpoints}"), number: checkpoints };
    Job {
        id,
        name: NAME.to_owned(),
        state,
        all_tasks_run,
        restarts: 0,
        exceptions: 0,
        checkpoints,
        checkpoint: (checkpoints > 0).then_some(kept),
        savepoint: None,
        failure: None,
        pressure: None,
    }
}

pub fn is_run(effect: &Effect) -> bool {
    matches!(effect, Effect::Run { .. })
}

pub fn is_cancel(effect: &Effect) -> bool {
    matches!(effect, Effect::Cancel { .. })
}

/// Generation 2 runs after 1 was stable, and is not yet stable itself.
pub fn second() -> Desk {
    let mut desk = Desk::stable();
    desk.desired.generation = 2;
    desk.pass(1);
    desk.cluster.trigger = Trigger::Completed("svpt/1".to_owned());
    desk.cluster.jobs[0].state = JobState::Finished;
    desk.pass(1);
    desk.cluster.trigger = Trigger::NotAsked;
    desk
}
