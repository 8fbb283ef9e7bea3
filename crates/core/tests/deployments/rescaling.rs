//! Another number of subtasks for a job that runs.

use libra_core::deployment::reconcile::{Effect, Event, JobState, Mode, Phase, Trigger};

use super::desk::{Desk, is_run};

fn is_rescale(effect: &Effect) -> bool {
    matches!(effect, Effect::Rescale { from: 2, to: 3, .. })
}

fn is_stop(effect: &Effect) -> bool {
    matches!(effect, Effect::Stop { .. })
}

/// Generation 1 is stable, and 2 has three subtasks and is the same beside.
fn wider(rescale: bool) -> Desk {
    let mut desk = Desk::stable();
    desk.cluster.rescale = rescale;
    let shape = desk.desired.versions[0].shape.clone();
    (desk.desired.versions[1].shape, desk.desired.versions[1].parallelism) = (shape, 3);
    desk.desired.generation = 2;
    desk
}

/// What is sent and told while `seconds` pass.
fn during(desk: &mut Desk, seconds: i64) -> Vec<Effect> {
    (0..seconds)
        .flat_map(|_| {
            desk.pass(1);
            desk.sent.clone()
        })
        .collect()
}

#[test]
fn a_job_is_rescaled_and_not_stopped_where_that_is_all() {
    let mut desk = wider(true);
    let job = desk.row.run.clone().unwrap().id;
    desk.pass(1);
    assert!(desk.sends(is_rescale) && !desk.sends(is_stop));
    desk.cluster.trigger = Trigger::InProgress;
    desk.pass(1);
    assert!(desk.sent.iter().all(|effect| matches!(effect, Effect::Poll { .. } | Effect::WaitUntil(_))));
    desk.cluster.trigger = Trigger::Completed(String::new());
    desk.job(JobState::Running, false, 9);
    desk.pass(1);
    assert_eq!(desk.row.run.clone().unwrap().generation, 1, "not all of its tasks run");
    desk.job(JobState::Running, true, 9);
    desk.pass(1);
    assert!(desk.sends(|e| *e == Effect::Emit(Event::Rescaled { generation: 2, from: 2, to: 3 })));
    let run = desk.row.run.clone().unwrap();
    assert_eq!((run.id, run.generation, desk.row.stable.clone().unwrap().generation), (job, 2, 1));
    desk.cluster.trigger = Trigger::NotAsked;
    desk.pass(10);
    assert_eq!(desk.row.phase, Phase::Proving, "it has completed no checkpoint since");
    desk.job(JobState::Running, true, 11);
    desk.pass(10);
    assert_eq!((desk.row.phase, desk.row.operation.clone()), (Phase::Stable, None));
    assert_eq!(desk.row.stable.clone().unwrap().generation, 2);
}

#[test]
fn one_that_is_not_well_afterwards_goes_back_with_its_state() {
    let mut desk = wider(true);
    desk.cluster.jobs[0].restarts = 7;
    desk.pass(1);
    desk.cluster.trigger = Trigger::Completed(String::new());
    desk.pass(1);
    assert_eq!(desk.row.run.clone().unwrap().generation, 2);
    desk.cluster.trigger = Trigger::NotAsked;
    desk.pass(3);
    assert_eq!(desk.row.trouble, None, "restarts of before are not counted");
    desk.job(JobState::Restarting, false, 6);
    desk.cluster.jobs.last_mut().unwrap().restarts = 9;
    desk.pass(1);
    assert!(desk.sends(|e| matches!(e, Effect::Emit(Event::RolledBack { from: 2, to: 1, .. }))));
    assert!(desk.sends(|e| matches!(e, Effect::Cancel { .. })));
    desk.cluster.jobs.last_mut().unwrap().state = JobState::Canceled;
    let then = during(&mut desk, 3);
    let newest = |from: &Option<String>| from.as_ref().is_some_and(|from| from.ends_with("chk-6"));
    assert!(
        then.iter().any(|e| matches!(e, Effect::Run { generation: 1, from, .. } if newest(from))),
        "{then:#?}"
    );
}

#[test]
fn where_the_cluster_can_not_it_is_started_anew() {
    let mut desk = wider(false);
    desk.pass(1);
    assert!(desk.sends(is_stop));
    let mut desk = wider(true);
    desk.desired.versions[1].shape = Some("another job".to_owned());
    desk.pass(1);
    assert!(desk.sends(is_stop), "more is different than the number");
    let mut desk = wider(true);
    desk.desired.versions[0].parallelism = 1;
    desk.pass(1);
    assert!(desk.sends(is_stop), "its one subtask may be the program's wish");
}

#[test]
fn a_request_that_never_arrives_is_repeated_and_then_given_up() {
    let mut desk = wider(true);
    desk.pass(1);
    desk.cluster.trigger = Trigger::Unknown;
    assert!(during(&mut desk, 10).iter().any(is_rescale), "once more");
    let then = during(&mut desk, 10);
    assert!(then.contains(&Effect::Emit(Event::RescaleFailed)));
    assert!(then.iter().any(is_stop), "it is started anew");
    assert!(!during(&mut desk, 30).iter().any(|effect| is_rescale(effect) || is_run(effect)));
}

#[test]
fn too_few_slots_are_said_and_are_no_reason_to_stop_it() {
    let mut desk = wider(true);
    desk.pass(1);
    desk.cluster.trigger = Trigger::InProgress;
    assert!(during(&mut desk, 20).contains(&Effect::Emit(Event::RescaleWaits(3))));
    assert_eq!(desk.row.run.clone().unwrap().generation, 2);
    assert!(!during(&mut desk, 20).iter().any(|effect| is_stop(effect) || is_rescale(effect)));
}

#[test]
fn what_is_to_end_is_not_rescaled_any_more() {
    let mut desk = wider(true);
    desk.pass(1);
    desk.cluster.trigger = Trigger::InProgress;
    desk.desired.mode = Mode::Suspended;
    desk.pass(1);
    desk.pass(1);
    assert!(desk.sends(is_stop) || desk.row.operation.is_some());
    assert_eq!(desk.row.phase, Phase::Stopping);
}
