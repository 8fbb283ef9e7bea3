use super::*;
use crate::deployment::declared::{ClusterFacts, Declared, Generation, desired};
use crate::deployment::normal::Normal;
use crate::deployment::reconcile::{Mode, Refused, Trouble};
use crate::time::Timestamp;

const RUN: FlinkId = FlinkId(7);

fn id(n: u8) -> JobId {
    JobId::new(Timestamp(1_000_000), [n; 10])
}

fn told(kind: &str) -> Desired {
    let generation = |number: u64| {
        let text = format!(
            r#"{{"job_id": "etl", "job_type": "{kind}", "artifact_path": "a.jar", "args": ["{number}"]}}"#
        );
        let normal = Normal::of(&serde_json::from_str(&text).unwrap(), None);
        Generation { number, normal, digest: format!("{number:064x}") }
    };
    let mut wish = Declared::first();
    wish.apply().unwrap();
    desired(&wish, None, &[generation(1), generation(2)], &ClusterFacts::default()).unwrap()
}

fn run(fate: Fate) -> Run {
    Run { proven: true, ..Run::new(RUN, 1, 0, fate) }
}

/// The row of a deployment whose generation 1 has this fate under job 1.
fn row(fate: Fate) -> Row {
    let turn = Turn { job: id(1), generation: 1, nonce: 0, run: Some(RUN) };
    Row { run: Some(run(fate)), turn: Some(turn), ..Row::default() }
}

fn moves(desired: &Desired, row: &Row, state: State) -> Vec<Move> {
    settle(desired, &Agenda::default(), row, Some(state), id(2)).moves
}

fn cancelled(why: &str) -> Move {
    Move::End(Ending::Cancelled(why.to_owned()))
}

#[test]
fn a_redeploy_takes_the_slots_of_what_it_replaces() {
    // contract: F2
    let desired = told("stream");
    let new = Turn { job: id(2), generation: 2, nonce: 0, run: None };
    assert_eq!(
        moves(&desired, &row(Fate::Ended(End::Stopped)), State::Running),
        [cancelled("replaced by generation 2"), Move::Take(new)]
    );
    assert_eq!(moves(&desired, &row(Fate::Live), State::Running), [], "it is still there");
}

#[test]
fn what_is_suspended_or_deleted_gives_its_slots_back() {
    // contract: F2
    for (mode, why) in [(Mode::Suspended, "suspended"), (Mode::Deleted { savepoint: false }, "deleted")] {
        let desired = Desired { mode, ..told("stream") };
        for fate in [End::Stopped, End::Vanished, End::Finished] {
            assert_eq!(moves(&desired, &row(Fate::Ended(fate)), State::Running), [cancelled(why)]);
        }
        let waiting =
            Row { turn: row(Fate::Live).turn.map(|turn| Turn { run: None, ..turn }), ..Row::default() };
        assert_eq!(moves(&desired, &waiting, State::Queued), [cancelled(why)], "it never began");
    }
}

#[test]
fn a_change_that_flink_has_no_part_in_keeps_its_place_in_the_queue() {
    let mut desired = told("stream");
    let turn = Turn { job: id(1), generation: 1, nonce: 0, run: None };
    let waiting = Row { turn: Some(turn), phase: Phase::Waiting, ..Row::default() };
    let new = Turn { job: id(2), generation: 2, ..turn };
    assert_eq!(
        moves(&desired, &waiting, State::Queued),
        [cancelled("replaced by generation 2"), Move::Queue(new)],
        "another job asks anew"
    );
    desired.versions[1].job = desired.versions[0].job.clone();
    assert_eq!(moves(&desired, &waiting, State::Queued), []);
}

#[test]
fn what_is_brought_back_is_another_attempt() {
    // contract: F2, L3
    let mut desired = told("stream");
    desired.rollback_to = Some(1);
    for how in [End::Vanished, End::Failed, End::Outside, End::NeverRan] {
        let moves = moves(&desired, &row(Fate::Ended(how)), State::Running);
        assert!(matches!(moves[..], [Move::Again(_)]), "{how:?}: {moves:?}");
    }
}

#[test]
fn what_runs_already_has_its_slots() {
    let before = Row { turn: None, ..row(Fate::Live) };
    let taken = settle(&told("stream"), &Agenda::default(), &before, None, id(2));
    let turn = Turn { job: id(2), generation: 1, nonce: 0, run: None };
    assert_eq!(taken.moves, [Move::Take(turn), Move::Name(RUN), Move::Begin]);
    assert_eq!(taken.turn, Some(Turn { run: Some(RUN), ..turn }));
}

#[test]
fn a_batch_run_ends_as_it_ended() {
    // contract: F4, L7
    let mut desired = told("batch");
    desired.rollback_to = Some(1);
    let done = row(Fate::Ended(End::Finished));
    assert_eq!(moves(&desired, &done, State::Running), [Move::End(Ending::Succeeded)]);
    let why = Trouble::OutcomeUnknown;
    let refused = Refused { generation: 1, nonce: 0, mode: Some(Mode::Running), instead: None, why };
    let lost = Row { refused: Some(refused), ..row(Fate::Ended(End::Vanished)) };
    match &moves(&desired, &lost, State::Running)[..] {
        [Move::End(Ending::Failed(failure))] => assert!(failure.outcome_unknown, "{failure:?}"),
        other => panic!("{other:?}"),
    }
    desired.end_run = Some(0);
    let stopped = row(Fate::Ended(End::Stopped));
    assert_eq!(moves(&desired, &stopped, State::Running), [cancelled("this run is wanted no more")]);
    let asked = serde_json::json!({"nonce": 0, "due": null, "since": null, "timed_out": true, "over": null, "cleaned": false});
    let agenda = Agenda { run: Some(serde_json::from_value(asked).unwrap()), ..Agenda::default() };
    let settled = settle(&desired, &agenda, &stopped, Some(State::Running), id(2));
    assert_eq!(settled.moves, [Move::End(Ending::TimedOut)]);
    assert_eq!(ended_by_hand(&desired, &stopped.turn.unwrap()), Some(0));
    assert_eq!(ended_by_hand(&told("stream"), &stopped.turn.unwrap()), None);
}
