//! Another number of subtasks for a job that runs.

use libra_core::deployment::agenda::Agenda;
use libra_core::deployment::reconcile::{
    Ask, Effect, Event, JobState, Mode, Part, Phase, Row, Trigger, may_rescale,
};
use libra_core::deployment::turns::{Ending, Move, Turn, settle};
use libra_core::id::JobId;
use libra_core::job::State;
use libra_core::time::Timestamp;

use super::desk::{Desk, is_run};
use super::history::version;

fn is_rescale(effect: &Effect) -> bool {
    matches!(effect, Effect::Ask(Ask::Rescale { .. }))
}

fn is_stop(effect: &Effect) -> bool {
    matches!(effect, Effect::Ask(Ask::Stop { .. }))
}

/// The parts of the job, and what they are asked to have and have.
fn parts(desk: &mut Desk, all: &[(&str, u32, u32)]) {
    let part = |(id, asked, has): &(&str, u32, u32)| ((*id).to_owned(), Part { asked: *asked, has: *has });
    desk.cluster.parts = Some(all.iter().map(part).collect());
}

/// Which parts are asked to have another number.
fn asked(desk: &Desk) -> Option<(Vec<String>, u32, u32)> {
    desk.sent.iter().find_map(|effect| match effect {
        Effect::Ask(Ask::Rescale { parts, from, to, .. }) => {
            Some((parts.iter().cloned().collect(), *from, *to))
        }
        Effect::Ask(_)
        | Effect::Upload { .. }
        | Effect::Run { .. }
        | Effect::Emit(_)
        | Effect::WaitUntil(_) => None,
    })
}

/// Generation 1 is stable, and `generation` is the same but for its number of subtasks.
fn wide(desk: &mut Desk, generation: u64, parallelism: u32) {
    let mut new = version(generation, libra_core::deployment::reconcile::Upgrade::Savepoint);
    new.shape.clone_from(&desk.desired.versions[0].shape);
    new.parallelism = parallelism;
    desk.desired.versions.retain(|of| of.generation != generation);
    desk.desired.versions.push(new);
    desk.desired.generation = generation;
}

/// Generation 1 is stable, and 2 has three subtasks and is the same beside.
fn wider(rescale: bool) -> Desk {
    let mut desk = Desk::stable();
    if rescale {
        parts(&mut desk, &[("a", 2, 2), ("alone", 1, 1)]);
    }
    wide(&mut desk, 2, 3);
    desk
}

/// The job of generation 1 has become that of 2, which is stable.
fn widened() -> Desk {
    let mut desk = wider(true);
    desk.pass(1);
    parts(&mut desk, &[("a", 3, 3), ("alone", 1, 1)]);
    desk.pass(1);
    desk.job(JobState::Running, true, 11);
    desk.pass(10);
    assert_eq!((desk.row.phase, desk.row.run.clone().unwrap().generation), (Phase::Stable, 2));
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
    assert!(may_rescale(&desk.desired, &desk.row));
    desk.pass(1);
    assert_eq!(asked(&desk), Some((vec!["a".to_owned()], 2, 3)));
    assert!(!desk.sends(is_stop));
    assert!(may_rescale(&desk.desired, &desk.row), "what came of it is to be seen");
    parts(&mut desk, &[("a", 3, 2), ("alone", 1, 1)]);
    desk.pass(1);
    assert!(desk.sent.iter().all(|effect| matches!(effect, Effect::WaitUntil(_))));
    parts(&mut desk, &[("a", 3, 3), ("alone", 1, 1)]);
    desk.job(JobState::Running, false, 9);
    desk.pass(1);
    assert_eq!(desk.row.run.clone().unwrap().generation, 1, "not all of its tasks run");
    desk.job(JobState::Running, true, 9);
    desk.pass(1);
    assert!(desk.sends(|e| *e == Effect::Emit(Event::Rescaled { generation: 2, from: 2, to: 3 })));
    let run = desk.row.run.clone().unwrap();
    assert_eq!((run.id, run.generation, desk.row.stable.clone().unwrap().generation), (job, 2, 1));
    assert!(!may_rescale(&desk.desired, &desk.row), "there is nothing more to ask");
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
    desk.cluster.jobs[0].exceptions = 7;
    desk.pass(1);
    parts(&mut desk, &[("a", 3, 3)]);
    desk.pass(1);
    assert_eq!(desk.row.run.clone().unwrap().generation, 2);
    desk.pass(3);
    assert_eq!(desk.row.trouble, None, "restarts of before are not counted");
    desk.job(JobState::Restarting, false, 6);
    desk.cluster.jobs.last_mut().unwrap().restarts = 9;
    desk.cluster.jobs.last_mut().unwrap().exceptions = 9;
    desk.pass(1);
    assert!(desk.sends(|e| matches!(e, Effect::Emit(Event::RolledBack { from: 2, to: 1, .. }))));
    assert!(desk.sends(|e| matches!(e, Effect::Ask(Ask::Cancel { .. }))));
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
    desk.desired.versions.last_mut().unwrap().shape = Some("another job".to_owned());
    desk.pass(1);
    assert!(desk.sends(is_stop), "more is different than the number");
    let mut desk = wider(true);
    desk.desired.versions[0].parallelism = 1;
    desk.pass(1);
    assert!(desk.sends(is_stop), "its one subtask may be the program's wish");
    let mut desk = wider(true);
    parts(&mut desk, &[("a", 5, 5), ("alone", 1, 1)]);
    desk.pass(1);
    assert!(desk.sends(is_stop), "somebody else has changed it, and nobody knows which parts follow the job");
}

#[test]
fn a_part_that_the_program_gives_the_new_number_stays_as_it_is_on_the_way_back() {
    let mut desk = Desk::stable();
    parts(&mut desk, &[("follows", 2, 2), ("says three", 3, 3)]);
    wide(&mut desk, 2, 3);
    desk.pass(1);
    assert_eq!(asked(&desk), Some((vec!["follows".to_owned()], 2, 3)));
    parts(&mut desk, &[("follows", 3, 3), ("says three", 3, 3)]);
    desk.pass(1);
    // Fewer, before it is even stable.
    wide(&mut desk, 3, 2);
    desk.pass(1);
    assert_eq!(asked(&desk), Some((vec!["follows".to_owned()], 3, 2)));
    parts(&mut desk, &[("follows", 2, 2), ("says three", 3, 3)]);
    desk.pass(1);
    assert!(desk.sends(|e| *e == Effect::Emit(Event::Rescaled { generation: 3, from: 3, to: 2 })));
    // Another job has parts of its own.
    desk.cluster.jobs.last_mut().unwrap().state = JobState::Failed;
    desk.pass(5);
    assert!(desk.row.run.clone().unwrap().scaled.is_empty());
}

#[test]
fn a_row_that_knows_nothing_of_rescaling_is_read() {
    let text = serde_json::to_string(&Desk::stable().row).unwrap();
    assert!(!text.contains("scaled"), "nothing is written of what never was");
    let row = widened().row;
    assert_eq!(serde_json::from_str::<Row>(&serde_json::to_string(&row).unwrap()).unwrap(), row);
    let mut bare = serde_json::to_value(&row).unwrap();
    bare["run"].as_object_mut().unwrap().remove("scaled");
    assert!(serde_json::from_value::<Row>(bare).unwrap().run.unwrap().scaled.is_empty());
}

#[test]
fn a_request_that_never_arrives_is_repeated_and_then_given_up() {
    let mut desk = wider(true);
    desk.pass(1);
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
    parts(&mut desk, &[("a", 3, 2), ("alone", 1, 1)]);
    assert!(during(&mut desk, 20).contains(&Effect::Emit(Event::RescaleWaits(3))));
    assert_eq!(desk.row.run.clone().unwrap().generation, 2);
    desk.job(JobState::Running, true, 11);
    let then = during(&mut desk, 40);
    assert!(!then.iter().any(|effect| is_stop(effect) || is_rescale(effect)));
    assert_eq!(desk.row.phase, Phase::Stable, "it does its work, with fewer");
}

fn id(n: u8) -> JobId {
    JobId::new(Timestamp(1_000_000), [n; 10])
}

/// Job 1 stands for the run, as generation 1.
fn with_a_turn(desk: &mut Desk) {
    let run = desk.row.run.clone().unwrap();
    desk.row.turn =
        Some(Turn { job: id(1), generation: run.generation, nonce: run.nonce, run: Some(run.id) });
}

#[test]
fn what_is_to_end_counts_the_slots_that_it_was_asked_to_take() {
    let mut desk = wider(true);
    with_a_turn(&mut desk);
    desk.pass(1);
    parts(&mut desk, &[("a", 3, 2), ("alone", 1, 1)]);
    desk.desired.mode = Mode::Suspended;
    desk.job(JobState::Restarting, false, 5);
    desk.pass(1);
    // It is on its way to three, and has three if it can't be ended.
    assert_eq!(desk.row.run.clone().unwrap().generation, 2);
    let settled = settle(&desk.desired, &Agenda::default(), &desk.row, Some(State::Running), id(2));
    let turn = Turn { job: id(2), generation: 2, nonce: 0, run: None };
    let replaced = Ending::Cancelled("replaced by generation 2".to_owned());
    let run = desk.run_id();
    assert_eq!(settled.moves, [Move::End(replaced), Move::Take(turn), Move::Name(run), Move::Begin]);
    desk.row.turn = settled.turn;
    desk.job(JobState::Running, true, 6);
    desk.pass(1);
    assert!(desk.sends(is_stop));
    // Its savepoint fails for good: it goes on, as what it is.
    desk.cluster.trigger = Trigger::Failed("disk full".to_owned());
    for _ in 0..3 {
        desk.row.run.as_mut().unwrap().proven = true;
        desk.pass(2);
    }
    assert_eq!(desk.row.refused.clone().unwrap().instead, Some(2));
    desk.cluster.trigger = Trigger::NotAsked;
    desk.pass(5);
    assert_eq!((desk.row.operation.clone(), desk.row.run.clone().unwrap().generation), (None, 2));
    let settled = settle(&desk.desired, &Agenda::default(), &desk.row, Some(State::Running), id(3));
    assert_eq!(settled.moves, []);
    // Back to generation 1: its number comes back with it.
    desk.desired.mode = Mode::Running;
    desk.desired.rollback_to = Some(1);
    desk.desired.nonce += 1;
    parts(&mut desk, &[("a", 3, 3), ("alone", 1, 1)]);
    desk.pass(1);
    assert_eq!(asked(&desk), Some((vec!["a".to_owned()], 3, 2)));
}

#[test]
fn what_is_to_end_before_flink_has_heard_of_it_is_ended_as_it_is() {
    let mut desk = wider(true);
    desk.pass(1);
    desk.desired.mode = Mode::Suspended;
    desk.pass(2);
    assert!(!desk.sends(is_stop), "the request may be on its way");
    assert!(!desk.sends(is_rescale), "it is not sent again");
    assert!(during(&mut desk, 5).iter().any(is_stop));
    assert_eq!((desk.row.phase, desk.row.run.clone().unwrap().generation), (Phase::Stopping, 1));
}

#[test]
fn who_goes_back_while_it_is_rescaled_gets_the_old_number() {
    let mut desk = wider(true);
    desk.pass(1);
    parts(&mut desk, &[("a", 3, 2), ("alone", 1, 1)]);
    desk.desired.rollback_to = Some(1);
    desk.job(JobState::Restarting, false, 5);
    desk.pass(1);
    assert_eq!(desk.row.run.clone().unwrap().generation, 1, "it is on its way");
    desk.job(JobState::Running, true, 5);
    let then = during(&mut desk, 2);
    assert!(then.contains(&Effect::Emit(Event::Rescaled { generation: 2, from: 2, to: 3 })), "{then:#?}");
    assert!(then.iter().any(is_rescale) && !then.iter().any(is_stop), "{then:#?}");
    parts(&mut desk, &[("a", 2, 2), ("alone", 1, 1)]);
    desk.pass(1);
    assert_eq!(desk.row.run.clone().unwrap().generation, 1);
}
