//! Single steps, one behaviour each.

use libra_core::deployment::reconcile::{
    Answer, Ask, Effect, Event, Fate, FlinkId, Given, JobState, Kind, Mode, Observed, Open, Phase, Refusal,
    Reply, Trigger, Trouble, Upgrade,
};

use super::desk::{Desk, is_cancel, is_run, job, second};

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
fn a_program_that_has_to_begin_alone_waits_for_others_and_for_itself() {
    let mut desk = Desk::new();
    desk.desired.versions[0].alone = true;
    desk.desired.another_begins = true;
    desk.pass(20);
    assert!(desk.row.run.is_none() && !desk.sends(is_run), "another one begins");
    desk.desired.another_begins = false;
    desk.pass(1);
    assert!(desk.sends(is_run));
    let budget = desk.desired.timing.main_budget;
    let until = |desk: &Desk| desk.row.run.as_ref().and_then(|run| run.begins_alone_until(budget));
    let first = until(&desk).unwrap();
    // Its reply is lost: others are sent again after a while, this one when its main() is over.
    let before = desk.row.clone();
    let most = first.0 / 1_000_000;
    while desk.now < most - 1 {
        desk.pass(1);
        assert!(!desk.sends(is_run));
    }
    assert_eq!(until(&desk), Some(first));
    desk.pass(1);
    assert!(desk.sends(is_run));
    assert!(until(&desk) > Some(first));
    desk.row = before;
    desk.answer(Answer::Accepted);
    desk.pass(1);
    assert_eq!(until(&desk), None, "its main() is over");
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
    let cancelled = |id: FlinkId| desk.sends(|e| *e == Effect::Ask(Ask::Cancel { job: id }));
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

/// Generations 2 and 3 differ from 1 in what only Libra reads.
fn one_job(desk: &mut Desk) {
    for version in &mut desk.desired.versions {
        version.job = Some("one".to_owned());
        version.digest = "1".repeat(64);
    }
    desk.cluster.jars = vec![("1".repeat(64), "1.jar".to_owned())];
}

#[test]
fn a_change_that_flink_has_no_part_in_stops_nothing() {
    let mut desk = Desk::stable();
    one_job(&mut desk);
    let id = desk.run_id();
    for generation in [2, 3] {
        desk.desired.generation = generation;
        desk.pass(100);
        assert_eq!((desk.run_id(), desk.row.phase), (id, Phase::Stable));
        assert!(desk.sent.is_empty());
        assert_eq!(
            desk.row.stable.clone().unwrap().generation,
            generation,
            "what comes back has the new words"
        );
    }
    desk.desired.rollback_to = Some(1);
    desk.pass(10);
    assert_eq!((desk.run_id(), desk.row.phase), (id, Phase::Stable), "nor does going back");
    // Its spec is all that is known of it by now, and it keeps its state though that says `stateless`.
    desk.desired.rollback_to = None;
    desk.desired.versions.retain(|version| version.generation == 3);
    desk.desired.versions[0].upgrade = Upgrade::Stateless;
    desk.pass(1);
    assert_eq!(desk.run_id(), id, "a spec that is not there is not the same job");
}

#[test]
fn a_job_that_is_lost_after_such_a_change_comes_back_with_its_state() {
    let mut desk = Desk::stable();
    one_job(&mut desk);
    let id = desk.run_id();
    desk.desired.generation = 2;
    desk.desired.versions[1].upgrade = Upgrade::Stateless;
    desk.pass(1);
    desk.desired.versions.retain(|version| version.generation == 2);
    desk.cluster.jobs.clear();
    desk.cluster.life = Some("b".to_owned());
    desk.pass(12);
    let run = desk.row.run.clone().unwrap();
    assert_eq!((run.generation, run.from.unwrap().path), (2, format!("ckpt/{id}/chk-5")));
}

#[test]
fn state_that_is_gone_is_left_behind_when_the_new_spec_says_no_more_than_that() {
    let mut desk = Desk::stable();
    one_job(&mut desk);
    desk.job(JobState::Failed, false, 5);
    desk.pass(2);
    let sent = desk.row.run.as_ref().unwrap();
    assert!(sent.from.is_some());
    desk.answer(Answer::Refused(Refusal::StateNotFound("no such file".to_owned())));
    desk.pass(1);
    assert!(matches!(desk.row.trouble, Some(Trouble::StateGone(_))), "{:?}", desk.row.trouble);
    desk.desired.generation = 2;
    desk.pass(1);
    assert!(desk.sends(|e| matches!(e, Effect::Run { from: Some(_), .. })), "it may be back");
    desk.answer(Answer::Refused(Refusal::StateNotFound("no such file".to_owned())));
    desk.pass(1);
    desk.desired.generation = 3;
    desk.desired.versions[2].upgrade = Upgrade::Stateless;
    desk.pass(1);
    assert!(desk.sends(|e| matches!(e, Effect::Run { from: None, generation: 3, .. })));
}

#[test]
fn trouble_does_not_pass_because_something_else_is_said() {
    let mut desk = Desk::new();
    one_job(&mut desk);
    desk.pass(1);
    desk.job(JobState::Running, false, 0);
    desk.pass(60);
    assert_eq!(desk.row.trouble, Some(Trouble::NotStable));
    desk.desired.generation = 2;
    desk.pass(1);
    assert_eq!(desk.row.trouble, Some(Trouble::NotStable));
}

/// A batch job runs, and its owner says that it has had its time.
fn had_its_time() -> Desk {
    let mut desk = Desk::new();
    desk.desired.versions[0].kind = Kind::Batch;
    desk.desired.nonce = 1;
    desk.desired.end_run = Some(0);
    desk.pass(1);
    assert!(desk.sends(is_run));
    desk.job(JobState::Running, true, 0);
    desk.pass(20);
    desk.desired.end_run = Some(1);
    desk.pass(1);
    assert!(desk.sends(|e| matches!(e, Effect::Ask(Ask::Stop { .. }))), "gracefully");
    desk
}

#[test]
fn a_batch_job_that_cannot_be_stopped_is_cancelled() {
    for (trigger, at_once) in [
        (Trigger::Failed("it is not a streaming job".to_owned()), true),
        (Trigger::Unknown, false),
        (Trigger::InProgress, false),
    ] {
        let mut desk = had_its_time();
        desk.cluster.trigger = trigger;
        desk.pass(1);
        assert_eq!(desk.sends(is_cancel), at_once);
        if !at_once {
            desk.pass(11);
            assert!(desk.sends(is_cancel), "after its grace");
        }
        desk.job(JobState::Canceled, false, 0);
        desk.pass(30);
        assert_eq!((desk.row.phase, &desk.row.trouble), (Phase::Completed, &None));
        assert!(!desk.sends(is_run), "and is not run again");
        desk.desired.nonce = 2;
        desk.pass(1);
        assert!(desk.sends(is_run), "until it is asked for");
    }
}

#[test]
fn a_batch_job_that_ends_while_it_is_being_stopped_has_ended() {
    let mut desk = had_its_time();
    desk.cluster.trigger = Trigger::Unknown;
    desk.job(JobState::Finished, false, 0);
    desk.pass(30);
    assert_eq!((desk.row.phase, &desk.row.trouble), (Phase::Completed, &None));
}

#[test]
fn a_run_that_replaces_another_waits_for_its_end() {
    let mut desk = Desk::new();
    desk.desired.versions[0].kind = Kind::Batch;
    desk.pass(1);
    let first = desk.run_id();
    desk.job(JobState::Running, true, 0);
    desk.pass(1);
    (desk.desired.nonce, desk.desired.end_run) = (1, Some(0));
    desk.pass(3);
    assert_eq!(desk.run_id(), first);
    desk.cluster.trigger = Trigger::Failed("it is not a streaming job".to_owned());
    desk.pass(1);
    desk.job(JobState::Canceled, false, 0);
    desk.pass(1);
    assert!(desk.sends(is_run) && desk.run_id() != first);
}

#[test]
fn nothing_begins_before_it_is_due() {
    let mut desk = Desk::new();
    desk.desired.versions[0].kind = Kind::Batch;
    desk.desired.end_run = Some(0);
    desk.pass(100);
    assert_eq!((desk.row.phase, desk.row.run.is_none()), (Phase::New, true));
    // What is left of a batch job's wishes does not hold for a stream job.
    desk.desired.versions[0].kind = Kind::Streaming;
    desk.pass(1);
    assert!(desk.sends(is_run));
}

#[test]
fn a_job_that_lost_its_tasks_is_not_called_stable_until_they_run_again() {
    let mut desk = Desk::stable();
    desk.job(JobState::Running, false, 6);
    desk.pass(1);
    assert_eq!(desk.row.phase, Phase::Ailing, "RUNNING says nothing of its tasks");
    desk.job(JobState::Restarting, false, 6);
    desk.pass(1);
    assert_eq!(desk.row.phase, Phase::Ailing);
    desk.job(JobState::Running, true, 6);
    desk.pass(1);
    assert_eq!(desk.row.phase, Phase::Stable, "it has proven itself before");
    desk.cluster.jobs.clear();
    desk.pass(1);
    assert_eq!(desk.row.phase, Phase::Ailing, "nobody knows where it is");
}

#[test]
fn a_savepoint_that_is_not_there_leaves_a_ghost_and_the_own_state() {
    let mut desk = Desk::stable();
    desk.desired.mode = Mode::Suspended;
    desk.pass(1);
    desk.job(JobState::Finished, false, 6);
    desk.cluster.trigger = Trigger::Completed("svpt/own".to_owned());
    desk.pass(1);
    assert_eq!(desk.row.phase, Phase::Suspended);
    desk.cluster.trigger = Trigger::NotAsked;
    desk.desired.mode = Mode::Running;
    desk.desired.nonce = 1;
    desk.desired.given = Some(Given { nonce: 1, path: "svpt/absent".to_owned() });
    desk.pass(1);
    assert_eq!(desk.row.run.clone().unwrap().from.unwrap().path, "svpt/absent");
    // The first try finds no room: it is tried again with what was named.
    desk.answer(Answer::Refused(Refusal::NoResources("none".to_owned())));
    desk.pass(5);
    assert_eq!(desk.row.run.clone().unwrap().from.unwrap().path, "svpt/absent");
    desk.job(JobState::Failed, false, 0);
    desk.answer(Answer::Refused(Refusal::StateNotFound("no such file".to_owned())));
    desk.pass(30);
    assert_eq!(desk.row.phase, Phase::Failed);
    assert_eq!(desk.row.trouble, Some(Trouble::StateGone("svpt/absent".to_owned())), "at once");
    desk.desired.nonce = 2;
    desk.pass(1);
    assert_eq!(desk.row.run.clone().unwrap().from.unwrap().path, "svpt/own", "it is not lost");
}

#[test]
fn a_request_that_is_still_waited_for_is_not_made_again() {
    let mut desk = Desk::new();
    desk.pass(1);
    desk.cluster.open = Open { run: true, upload: false };
    desk.pass(200);
    let fate = |desk: &Desk| desk.row.run.clone().map(|run| run.fate);
    let sent_once = |desk: &Desk| matches!(fate(desk), Some(Fate::Sent(sent)) if sent.sends == 1);
    assert!(sent_once(&desk), "its main() is at work");
    desk.job(JobState::Failed, false, 0);
    desk.pass(1);
    assert!(sent_once(&desk), "the answer says why, and it is on its way");
    desk.cluster.open = Open::default();
    desk.answer(Answer::Refused(Refusal::StateNotFound("none".to_owned())));
    desk.pass(1);
    assert!(matches!(desk.row.trouble, Some(Trouble::StateGone(_))), "{:?}", desk.row.trouble);

    let mut desk = Desk::new();
    desk.pass(1);
    desk.cluster.open = Open { run: true, upload: false };
    desk.job(JobState::Running, true, 0);
    desk.pass(1);
    assert_eq!(fate(&desk), Some(Fate::Live), "main() goes on, and so does the job");

    let mut desk = Desk::new();
    desk.cluster.jars.clear();
    desk.pass(1);
    desk.cluster.open = Open { run: false, upload: true };
    desk.pass(200);
    assert_eq!(desk.row.upload.clone().unwrap().sends, 1, "a large one takes its time");
}
