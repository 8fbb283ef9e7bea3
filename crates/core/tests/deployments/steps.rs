//! Single steps, one behaviour each.

use libra_core::deployment::reconcile::{
    Answer, Cluster, Desired, Disk, Effect, Event, Fate, FlinkId, Given, Job, JobState, Kept, Kind, Mode,
    Moment, Observed, Phase, Refusal, Reply, Row, Trigger, Trouble, Upgrade, reconcile,
};
use libra_core::time::Timestamp;

use super::cluster::NAME;
use super::history::{desired as nothing_desired, version};

/// A deployment on a cluster that says what the test says.
struct Desk {
    desired: Desired,
    row: Row,
    cluster: Cluster,
    now: i64,
    sent: Vec<Effect>,
}

impl Desk {
    fn new() -> Self {
        let mut desired = nothing_desired();
        desired.generation = 1;
        desired.versions = (1..=3).map(|generation| version(generation, Upgrade::Savepoint)).collect();
        let jars =
            desired.versions.iter().map(|v| (v.digest.clone(), format!("{}.jar", v.generation))).collect();
        let cluster = Cluster { life: Some("a".to_owned()), jars, ..Cluster::default() };
        Self { desired, row: Row::default(), cluster, now: 0, sent: Vec::new() }
    }

    fn look(&mut self, observed: &Observed) {
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
    fn pass(&mut self, seconds: i64) {
        for _ in 0..seconds {
            self.now += 1;
            let observed = Observed::Reachable(Box::new(self.cluster.clone()));
            self.look(&observed);
            self.cluster.reply = None;
        }
    }

    fn run_id(&self) -> FlinkId {
        self.row.run.as_ref().unwrap().id
    }

    fn answer(&mut self, answer: Answer) {
        self.cluster.reply = Some(Reply { key: self.run_id(), send: 1, answer });
    }

    /// The job that was sent is there.
    fn job(&mut self, state: JobState, all_tasks_run: bool, checkpoints: u64) {
        let id = self.run_id();
        self.cluster.jobs.retain(|job| job.id != id);
        self.cluster.jobs.push(job(id, state, all_tasks_run, checkpoints));
    }

    fn sends(&self, wanted: impl Fn(&Effect) -> bool) -> bool {
        self.sent.iter().any(wanted)
    }

    fn stable() -> Self {
        let mut desk = Self::new();
        desk.pass(1);
        desk.job(JobState::Running, true, 5);
        desk.pass(10);
        assert_eq!(desk.row.phase, Phase::Stable);
        desk
    }
}

fn job(id: FlinkId, state: JobState, all_tasks_run: bool, checkpoints: u64) -> Job {
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
    }
}

fn is_run(effect: &Effect) -> bool {
    matches!(effect, Effect::Run { .. })
}

fn is_cancel(effect: &Effect) -> bool {
    matches!(effect, Effect::Cancel { .. })
}

#[test]
fn a_cluster_that_does_not_answer_decides_nothing() {
    let mut desk = Desk::stable();
    desk.desired.generation = 2;
    let before = desk.row.clone();
    desk.look(&Observed::Unreachable("connection refused".to_owned()));
    assert!(desk.sends(|e| matches!(e, Effect::Emit(Event::Unreachable(_)))));
    let noted = desk.row.clone();
    assert_eq!((noted.run.clone(), noted.operation.clone()), (before.run, before.operation));
    desk.now += 3_600;
    desk.look(&Observed::Unreachable("connection refused".to_owned()));
    assert_eq!(desk.row, noted, "an outage is written once");
}

#[test]
fn a_look_at_what_is_well_writes_nothing_and_sends_nothing() {
    let mut desk = Desk::stable();
    let before = desk.row.clone();
    desk.pass(100);
    assert_eq!(desk.row, before);
    assert!(desk.sent.is_empty());
}

#[test]
fn running_without_running_tasks_is_not_stable() {
    let mut desk = Desk::new();
    desk.pass(1);
    desk.job(JobState::Running, false, 9);
    desk.pass(60);
    assert_eq!(desk.row.phase, Phase::Proving);
    assert_eq!(desk.row.trouble, Some(Trouble::NotStable));
    desk.job(JobState::Running, true, 9);
    desk.pass(10);
    assert_eq!((desk.row.phase, &desk.row.trouble), (Phase::Stable, &None));
}

#[test]
fn a_restart_begins_the_window_anew() {
    let mut desk = Desk::new();
    desk.pass(1);
    desk.job(JobState::Running, true, 9);
    for restarts in 0..6 {
        desk.cluster.jobs[0].restarts = restarts;
        desk.pass(5);
        assert_eq!(desk.row.phase, Phase::Proving);
    }
}

/// Generation 2 runs after 1 was stable, and is not yet stable itself.
fn second() -> Desk {
    let mut desk = Desk::stable();
    desk.desired.generation = 2;
    desk.pass(1);
    desk.cluster.trigger = Trigger::Completed("svpt/1".to_owned());
    desk.cluster.jobs[0].state = JobState::Finished;
    desk.pass(1);
    desk.cluster.trigger = Trigger::NotAsked;
    desk
}

#[test]
fn a_restart_is_forgiven_and_one_more_than_that_brings_the_stable_generation_back_at_once() {
    let mut desk = second();
    desk.job(JobState::Running, true, 1);
    desk.pass(3);
    desk.cluster.jobs.last_mut().unwrap().restarts = 1;
    desk.pass(5);
    assert_eq!(desk.row.phase, Phase::Proving, "the window began anew");
    assert_eq!(desk.row.trouble, None);
    let mut forgiven = desk.cluster.jobs.clone();
    desk.job(JobState::Restarting, false, 1);
    desk.cluster.jobs.last_mut().unwrap().restarts = 2;
    let before = desk.row.clone();
    desk.pass(1);
    assert!(desk.sends(is_cancel), "not at the end of its time");
    let why = Trouble::KeepsRestarting(2);
    assert!(desk.sends(|e| *e == Effect::Emit(Event::RolledBack { from: 2, to: 1, why: why.clone() })));
    desk.cluster.jobs.last_mut().unwrap().state = JobState::Canceled;
    desk.pass(1);
    assert!(
        desk.sends(|e| matches!(e, Effect::Run { generation: 1, from: Some(from), .. } if from == "svpt/1"))
    );
    // The same with no more restarts.
    forgiven.last_mut().unwrap().checkpoints = 2;
    (desk.row, desk.cluster.jobs) = (before, forgiven);
    desk.pass(7);
    assert_eq!(desk.row.stable.clone().unwrap().generation, 2);
}

#[test]
fn a_first_generation_that_keeps_restarting_is_let_be_and_said_once() {
    let mut desk = Desk::new();
    desk.pass(1);
    desk.job(JobState::Running, true, 5);
    desk.cluster.jobs[0].restarts = 2;
    let mut said = 0;
    for _ in 0..4 {
        desk.pass(1);
        said += usize::from(desk.sends(|e| *e == Effect::Emit(Event::NotStable(1))));
    }
    assert_eq!((said, desk.row.phase), (1, Phase::Proving));
    assert_eq!(desk.row.trouble, Some(Trouble::KeepsRestarting(2)));
    desk.pass(10);
    assert_eq!((desk.row.phase, &desk.row.trouble), (Phase::Stable, &None), "quiet at last");
}

#[test]
fn a_duplicate_means_that_it_ran() {
    let mut desk = Desk::new();
    desk.pass(1);
    desk.answer(Answer::Refused(Refusal::Duplicate));
    desk.pass(1);
    assert!(!desk.sends(is_run), "it is looked for, not sent again");
    desk.job(JobState::Running, true, 1);
    desk.pass(1);
    assert_eq!(desk.row.run.as_ref().unwrap().fate, Fate::Live);
}

#[test]
fn a_refusal_waits_for_what_an_earlier_request_may_still_do() {
    let mut desk = Desk::new();
    desk.pass(1);
    let id = desk.run_id();
    desk.pass(5);
    assert!(desk.sends(|e| matches!(e, Effect::Run { job, send: 2, .. } if *job == id)), "the same id again");
    let answer = Answer::Refused(Refusal::BadProgram("no such class".to_owned()));
    desk.cluster.reply = Some(Reply { key: id, send: 2, answer });
    desk.pass(2);
    assert!(
        matches!(desk.row.run.as_ref().unwrap().fate, Fate::Sent(_)),
        "the first one may still be in main()"
    );
    desk.pass(40);
    assert_eq!(desk.row.phase, Phase::Failed);
    assert!(matches!(desk.row.trouble, Some(Trouble::BadProgram(_))));
}

#[test]
fn a_ghost_of_a_refused_run_is_an_ended_run() {
    let mut desk = Desk::stable();
    let stable = desk.run_id();
    desk.desired.generation = 2;
    desk.pass(1);
    desk.cluster.trigger = Trigger::Completed("svpt/1".to_owned());
    desk.cluster.jobs[0].state = JobState::Finished;
    desk.pass(1);
    let second = desk.run_id();
    assert_ne!(second, stable);
    desk.cluster.trigger = Trigger::NotAsked;
    desk.job(JobState::Failed, false, 0);
    desk.pass(1);
    let back = desk.row.run.clone().unwrap();
    assert_eq!(
        (back.generation, back.from.unwrap().path),
        (1, "svpt/1".to_owned()),
        "rolled back with its state"
    );
}

#[test]
fn completed_with_a_failure_cause_leaves_the_job_running() {
    let mut desk = Desk::stable();
    desk.desired.generation = 2;
    for _ in 0..6 {
        desk.pass(1);
        desk.cluster.trigger = Trigger::Failed("java.io.IOException: not writable".to_owned());
    }
    desk.cluster.trigger = Trigger::NotAsked;
    desk.pass(3);
    assert_eq!(desk.row.phase, Phase::Stable);
    assert_eq!(desk.row.run.as_ref().unwrap().generation, 1);
    assert!(matches!(desk.row.trouble, Some(Trouble::SavepointFails(_))), "{:?}", desk.row.trouble);
}

#[test]
fn a_job_of_the_same_name_is_left_alone_and_waited_for() {
    let mut desk = Desk::new();
    let foreign = FlinkId(7);
    desk.cluster.jobs.push(job(foreign, JobState::Running, true, 1));
    desk.pass(30);
    assert_eq!(desk.row.phase, Phase::Blocked);
    assert_eq!(desk.row.trouble, Some(Trouble::ForeignJob { id: foreign }));
    assert!(desk.row.run.is_none());
    desk.cluster.jobs.clear();
    desk.pass(1);
    assert!(desk.sends(is_run));
}

#[test]
fn of_several_live_jobs_the_recorded_one_is_kept() {
    let mut desk = Desk::stable();
    let (own, former) = (desk.run_id(), FlinkId(8));
    desk.row.past.push(former);
    desk.cluster.jobs.push(job(former, JobState::Running, true, 1));
    desk.cluster.jobs.push(job(FlinkId(9), JobState::Running, true, 1));
    desk.pass(1);
    let cancelled = |id: FlinkId| desk.sends(|e| *e == Effect::Cancel { job: id });
    assert_eq!([cancelled(own), cancelled(former), cancelled(FlinkId(9))], [false, true, false]);
    assert_eq!(desk.row.strays, [former]);
}

#[test]
fn a_job_that_is_lost_with_its_cluster_comes_back_once_its_tasks_are_over() {
    let mut desk = Desk::stable();
    let lost = desk.run_id();
    desk.cluster.jobs.clear();
    desk.cluster.life = Some("b".to_owned());
    desk.pass(10);
    assert_eq!(desk.run_id(), lost, "its tasks may still run");
    desk.pass(2);
    let run = desk.row.run.clone().unwrap();
    assert_ne!(run.id, lost);
    assert_eq!(run.from.unwrap().path, format!("ckpt/{lost}/chk-5"));
    desk.job(JobState::Running, true, 1);
    desk.pass(30);
    assert_eq!(desk.run_id(), run.id, "once");
}

#[test]
fn a_stop_of_which_nobody_heard_is_known_by_its_savepoint() {
    let mut desk = Desk::stable();
    desk.desired.mode = Mode::Suspended;
    desk.pass(1);
    let directory = desk.row.operation.clone().unwrap().directory;
    desk.cluster.trigger = Trigger::Unknown;
    desk.cluster.jobs[0].state = JobState::Finished;
    let path = format!("file:/{directory}/savepoint-6");
    desk.cluster.jobs[0].savepoint = Some(Kept { path: path.clone(), number: 6 });
    desk.pass(1);
    assert_eq!((desk.row.phase, desk.row.state.clone().unwrap().path), (Phase::Suspended, path.clone()));
    desk.desired.mode = Mode::Running;
    desk.pass(1);
    assert!(desk.sends(|e| matches!(e, Effect::Run { from: Some(from), .. } if *from == path)));
}

#[test]
fn a_savepoint_that_nobody_can_find_is_not_passed_over() {
    let mut desk = Desk::stable();
    desk.desired.generation = 2;
    desk.pass(1);
    desk.cluster.trigger = Trigger::Unknown;
    desk.cluster.jobs[0].state = JobState::Finished;
    desk.pass(20);
    assert_eq!(desk.row.phase, Phase::Failed);
    assert!(matches!(desk.row.trouble, Some(Trouble::SavepointLost(_))));
    assert!(!desk.sends(is_run));
    // Its owner has found it.
    desk.desired.nonce += 1;
    desk.desired.given = Some(Given { nonce: 1, path: "svpt/found".to_owned() });
    desk.pass(1);
    assert!(desk.sends(|e| matches!(e, Effect::Run { from: Some(from), .. } if from == "svpt/found")));
}

#[test]
fn a_batch_job_ends_once_and_runs_again_when_asked() {
    let mut desk = Desk::new();
    desk.desired.versions[0].kind = Kind::Batch;
    desk.pass(1);
    desk.job(JobState::Finished, false, 0);
    desk.pass(5);
    assert_eq!(desk.row.phase, Phase::Completed);
    desk.desired.nonce += 1;
    desk.pass(1);
    assert!(desk.sends(is_run));
}

#[test]
fn a_batch_job_of_which_nobody_knows_the_end_is_not_run_twice() {
    let mut desk = Desk::new();
    desk.desired.versions[0].kind = Kind::Batch;
    desk.pass(1);
    desk.job(JobState::Running, true, 0);
    desk.pass(2);
    desk.cluster.jobs.clear();
    desk.pass(60);
    assert_eq!((desk.row.phase, &desk.row.trouble), (Phase::Failed, &Some(Trouble::OutcomeUnknown)));
    assert!(!desk.sends(is_run));
}

#[test]
fn a_stateless_generation_leaves_state_behind_and_keeps_its_own() {
    let mut desk = Desk::stable();
    desk.desired.versions[1].upgrade = Upgrade::Stateless;
    desk.desired.generation = 2;
    desk.pass(1);
    assert!(desk.sends(is_cancel));
    desk.cluster.jobs[0].state = JobState::Canceled;
    desk.pass(1);
    assert!(desk.sends(|e| matches!(e, Effect::Run { from: None, .. })));
    desk.job(JobState::Running, true, 6);
    desk.pass(20);
    desk.job(JobState::Failed, false, 7);
    desk.pass(10);
    assert!(desk.row.run.as_ref().unwrap().from.as_ref().unwrap().path.ends_with("chk-7"));
}

#[test]
fn a_rollback_on_demand_takes_the_newest_state_along() {
    let mut desk = Desk::stable();
    desk.desired.generation = 2;
    desk.pass(1);
    desk.cluster.trigger = Trigger::Completed("svpt/1".to_owned());
    desk.cluster.jobs[0].state = JobState::Finished;
    desk.pass(1);
    desk.cluster.trigger = Trigger::NotAsked;
    desk.job(JobState::Running, true, 6);
    desk.pass(20);
    desk.desired.rollback_to = Some(1);
    desk.pass(1);
    desk.cluster.trigger = Trigger::Completed("svpt/2".to_owned());
    desk.cluster.jobs.last_mut().unwrap().state = JobState::Finished;
    desk.pass(1);
    assert!(
        desk.sends(|e| matches!(e, Effect::Run { generation: 1, from: Some(from), .. } if from == "svpt/2"))
    );
}

#[test]
fn the_last_savepoint_stays_whatever_its_age() {
    let mut desk = Desk::stable();
    for n in 1..=5_u64 {
        desk.desired.savepoint_nonce = n;
        desk.pass(1);
        desk.cluster.trigger = Trigger::Completed(format!("svpt/{n}"));
        desk.pass(2);
        desk.cluster.trigger = Trigger::NotAsked;
        let removed = desk.row.savepoints.iter().filter_map(|savepoint| savepoint.removal);
        desk.cluster.disposals = removed.map(|(id, _)| (id, Trigger::Completed(String::new()))).collect();
        desk.pass(1);
    }
    assert_eq!(desk.row.savepoints.len(), 3, "by count");
    desk.pass(1_000);
    let removed = desk.row.savepoints.iter().filter_map(|savepoint| savepoint.removal);
    desk.cluster.disposals = removed.map(|(id, _)| (id, Trigger::Completed(String::new()))).collect();
    desk.pass(1);
    let left: Vec<&str> = desk.row.savepoints.iter().map(|savepoint| savepoint.path.as_str()).collect();
    assert_eq!(left, ["svpt/5"], "by age, but for the last one");
}

#[test]
fn a_batch_job_that_fails_too_often_is_given_up() {
    let mut desk = Desk::new();
    desk.desired.versions[0].kind = Kind::Batch;
    let mut runs = 0;
    for _ in 0..400 {
        desk.pass(1);
        if desk.sends(is_run) {
            runs += 1;
            desk.job(JobState::Failed, false, 0);
        }
    }
    assert_eq!((runs, desk.row.phase), (6, Phase::Failed));
    assert!(matches!(desk.row.trouble, Some(Trouble::TooManyTries { tries: 6, .. })));
    assert!(desk.row.run.as_ref().unwrap().from.is_none());
}

#[test]
fn of_a_job_whose_spec_is_gone_nothing_is_sent() {
    let mut desk = Desk::new();
    desk.pass(1);
    desk.desired.versions.clear();
    desk.pass(100);
    assert!(!desk.sends(is_run));
    assert_eq!(desk.row.trouble, Some(Trouble::GenerationGone(1)));
}

/// A savepoint on demand was complete, and the JobManager died before anybody heard of it.
#[test]
fn a_savepoint_of_which_nobody_heard_is_the_newest_state_unless_a_checkpoint_is() {
    for (checkpoint, from_savepoint) in [(5, true), (7, false)] {
        let mut desk = Desk::stable();
        let lost = desk.run_id();
        desk.desired.savepoint_nonce = 1;
        desk.pass(1);
        let path = format!("{}/savepoint-6", desk.row.operation.clone().unwrap().directory);
        desk.cluster.jobs.clear();
        desk.cluster.life = Some("b".to_owned());
        let checkpoint = Kept { path: format!("ckpt/{lost}/chk-{checkpoint}"), number: checkpoint };
        let newest = if from_savepoint { path.clone() } else { checkpoint.path.clone() };
        desk.cluster.disk = Some(Disk {
            checkpoint: Some(checkpoint),
            savepoint: Some(path.clone()),
            savepoint_number: Some(6),
        });
        desk.pass(12);
        assert_eq!(desk.row.run.clone().unwrap().from.unwrap().path, newest);
        assert!(desk.row.savepoints.iter().any(|savepoint| savepoint.path == path), "it is not forgotten");
        assert_eq!(desk.row.savepoint_nonce, 1, "the request is honoured");
    }
}

/// The job ended by itself after a savepoint on demand: nobody stopped it.
#[test]
fn a_job_that_ends_after_a_savepoint_on_demand_has_ended_by_itself() {
    let mut desk = Desk::stable();
    desk.desired.savepoint_nonce = 1;
    desk.pass(1);
    let path = format!("{}/savepoint-6", desk.row.operation.clone().unwrap().directory);
    desk.cluster.trigger = Trigger::Unknown;
    desk.cluster.jobs[0].state = JobState::Finished;
    desk.cluster.jobs[0].savepoint = Some(Kept { path: path.clone(), number: 6 });
    desk.pass(1);
    assert_eq!((desk.row.phase, desk.row.state.clone().unwrap().path), (Phase::Completed, path));
}

/// Stopping failed after its savepoint was made: the job went on, and died later.
#[test]
fn a_job_that_went_on_after_its_stop_is_restored_from_what_came_later() {
    let mut desk = Desk::stable();
    let lost = desk.run_id();
    desk.desired.generation = 2;
    desk.pass(1);
    let path = format!("{}/savepoint-6", desk.row.operation.clone().unwrap().directory);
    desk.cluster.jobs.clear();
    let checkpoint = Kept { path: format!("ckpt/{lost}/chk-9"), number: 9 };
    desk.cluster.disk =
        Some(Disk { checkpoint: Some(checkpoint.clone()), savepoint: Some(path), savepoint_number: Some(6) });
    desk.pass(12);
    assert_eq!(desk.row.run.clone().unwrap().from.unwrap().path, checkpoint.path);
}
