//! Single steps: savepoints, what is known of them, and which of them stay.

use libra_core::deployment::reconcile::{
    Ask, Disk, Effect, Event, Given, JobState, Kept, Mode, Phase, Trigger, Trouble,
};

use super::desk::{Desk, is_run, second};

/// Where the operation's savepoint goes.
fn directory(desk: &Desk) -> String {
    desk.row.operation.as_ref().unwrap().saving().unwrap().directory.clone()
}

#[test]
fn a_stop_of_which_nobody_heard_is_known_by_its_savepoint() {
    let mut desk = Desk::stable();
    desk.desired.mode = Mode::Suspended;
    desk.pass(1);
    let directory = directory(&desk);
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

/// A savepoint on demand was complete, and the JobManager died before anybody heard of it.
#[test]
fn a_savepoint_of_which_nobody_heard_is_the_newest_state_unless_a_checkpoint_is() {
    for (checkpoint, from_savepoint) in [(5, true), (7, false)] {
        let mut desk = Desk::stable();
        let lost = desk.run_id();
        desk.desired.savepoint_nonce = 1;
        desk.pass(1);
        let path = format!("{}/savepoint-6", directory(&desk));
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
    let path = format!("{}/savepoint-6", directory(&desk));
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
    let path = format!("{}/savepoint-6", directory(&desk));
    desk.cluster.jobs.clear();
    let checkpoint = Kept { path: format!("ckpt/{lost}/chk-9"), number: 9 };
    desk.cluster.disk =
        Some(Disk { checkpoint: Some(checkpoint.clone()), savepoint: Some(path), savepoint_number: Some(6) });
    desk.pass(12);
    assert_eq!(desk.row.run.clone().unwrap().from.unwrap().path, checkpoint.path);
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
fn what_a_rollback_needs_stays_however_many_are_newer() {
    let mut desk = second();
    desk.job(JobState::Running, true, 0);
    // The savepoint with which the stable generation ended, and three that its successor made before it was stable.
    let began = desk.row.stable.clone().unwrap().state.unwrap().path;
    desk.desired.stability.checkpoints = 99;
    desk.desired.stability.within = 1_000_000_000;
    for n in 2..=6_u64 {
        desk.desired.savepoint_nonce = n;
        desk.pass(1);
        desk.cluster.trigger = Trigger::Completed(format!("svpt/{n}"));
        desk.pass(1);
        desk.cluster.trigger = Trigger::NotAsked;
        desk.pass(1);
    }
    let stays = |path: &str| desk.row.savepoints.iter().any(|s| s.path == path && s.removal.is_none());
    let named: Vec<String> = (2..=6).map(|n| format!("svpt/{n}")).filter(|path| stays(path)).collect();
    assert!(stays(&began), "{:?}", desk.row.savepoints);
    assert_eq!(named, ["svpt/4", "svpt/5", "svpt/6"]);
    for _ in 0..3 {
        desk.pass(500);
        let removed = desk.row.savepoints.iter().filter_map(|savepoint| savepoint.removal);
        desk.cluster.disposals = removed.map(|(id, _)| (id, Trigger::Completed(String::new()))).collect();
    }
    desk.pass(1);
    let left: Vec<&str> = desk.row.savepoints.iter().map(|s| s.path.as_str()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(left.contains(&began.as_str()) && left.contains(&"svpt/6"));
}

#[test]
fn a_clock_that_is_put_back_makes_no_savepoint_older() {
    let mut desk = Desk::stable();
    desk.desired.retention.count = 1;
    desk.now = 5_000;
    for (n, now) in [(1_u64, 5_000), (2, 100)] {
        desk.now = now;
        desk.desired.savepoint_nonce = n;
        desk.pass(1);
        desk.cluster.trigger = Trigger::Completed(format!("svpt/{n}"));
        desk.pass(1);
        desk.cluster.trigger = Trigger::NotAsked;
    }
    let going = |n: usize| desk.row.savepoints[n].removal.is_some();
    assert_eq!([going(0), going(1)], [true, false]);
}

/// Nobody has said where savepoints go, and the cluster does not know either.
#[test]
fn without_a_place_for_savepoints_none_is_asked_for() {
    let nowhere = |e: &Effect| matches!(e, Effect::Emit(Event::SavepointFailed(why)) if why.contains("nobody has said where savepoints go"));
    let asks = |e: &Effect| matches!(e, Effect::Ask(_));
    let mut desk = Desk::stable();
    desk.desired.savepoint_directory = None;
    desk.desired.savepoint_nonce = 1;
    desk.pass(1);
    assert!(desk.sends(nowhere) && !desk.sends(asks));
    assert_eq!(
        (desk.row.savepoint_nonce, desk.row.phase),
        (1, Phase::Stable),
        "asking on would change nothing"
    );
    desk.desired.mode = Mode::Suspended;
    desk.pass(1);
    assert!(desk.sends(nowhere) && !desk.sends(asks));
    assert!(matches!(desk.row.trouble, Some(Trouble::SavepointFails(_))));
    desk.pass(20);
    assert_eq!((desk.row.phase, desk.sends(asks)), (Phase::Stable, false), "it goes on");
    // Who says where gets it.
    desk.desired.savepoint_directory = Some("svpt".to_owned());
    desk.desired.mode = Mode::Running;
    desk.pass(1);
    desk.desired.mode = Mode::Suspended;
    desk.pass(1);
    assert!(desk.sends(|e| matches!(e, Effect::Ask(Ask::Stop { .. }))));
}
