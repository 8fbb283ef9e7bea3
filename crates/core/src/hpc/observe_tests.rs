//! What words about a job make of it.

use proptest::prelude::*;

use super::job::{EndHint, HpcJob};
use super::observe::{Change, Finished, Fresh, Means, Outcome, Word, observe};
use super::raw_state::HpcState;
use super::record::{ExitStatus, Record};
use crate::failure::ErrorClass;
use crate::id::JobId;
use crate::job::State;
use crate::time::Timestamp;

const ASKS: Means = Means { asks: true };
const HOOKS: Means = Means { asks: false };

fn at(second: i64) -> Timestamp {
    Timestamp(0).plus_seconds(1_000 + second)
}

fn fresh(second: i64) -> Fresh {
    let id = JobId::new(at(second), [7; 10]);
    Fresh { id, tenant: "default".into(), cluster: "c".into(), correlation_id: "x".into() }
}

fn record(state: &str, times: (Option<i64>, Option<i64>), restarts: u32) -> Record {
    Record {
        external_id: "12".into(),
        raw_state: state.into(),
        submitted: Some(at(-1)),
        started: times.0.map(at),
        ended: times.1.map(at),
        restarts: Some(restarts),
        ..Record::default()
    }
}

fn started(restarts: u32) -> Word {
    let record = Record {
        external_id: "12".into(),
        restarts: Some(restarts),
        nodes: vec!["n1".into()],
        ..Record::default()
    };
    Word::Started(Box::new(record))
}

fn finished(code: i32, signal: i32, raw_state: Option<&str>, second: i64) -> Word {
    let hint = EndHint {
        at: at(second),
        exit: Some(ExitStatus { code, signal }),
        raw_state: raw_state.map(str::to_owned),
        final_state: None,
    };
    let record = Record { external_id: "12".into(), ..Record::default() };
    Word::Finished(Box::new(Finished { record, hint, whole: true }))
}

fn says(state: &str, times: (Option<i64>, Option<i64>), restarts: u32, asked: i64) -> Word {
    Word::Record(Box::new(record(state, times, restarts)), at(asked))
}

/// All rows with one number, the newest last, and what was logged.
#[derive(Default)]
struct Story {
    rows: Vec<HpcJob>,
    moves: Vec<(Option<State>, State)>,
    asked: bool,
}

impl Story {
    fn of(means: Means, words: Vec<Word>) -> Self {
        let mut story = Self::default();
        for (second, word) in (0_i64..).zip(words) {
            story.hear(means, word, 10 * second);
        }
        story
    }

    fn hear(&mut self, means: Means, word: Word, second: i64) {
        let of_another = word.clone();
        let outcome = observe(self.rows.last(), word, means, fresh(second), at(second));
        let Change { job, log, ask, again, .. } = match outcome {
            Outcome::Unchanged => return,
            Outcome::New(change) => {
                self.rows.push(change.job.clone());
                *change
            }
            Outcome::Changed(change) => {
                let before = self.rows.pop().unwrap();
                let kept = |job: &HpcJob| (job.state, job.record.ended, job.record.exit, job.failure.clone());
                let stays = change.log.is_empty() && kept(&change.job) == kept(&before);
                assert!(!before.state.is_terminal() || stays, "the end of a job was changed");
                assert_eq!(change.job.revision, before.revision + 1);
                self.rows.push(change.job.clone());
                *change
            }
        };
        self.asked |= ask;
        let mut state = log.first().and_then(|first| first.from);
        for row in &log {
            assert_eq!(row.from, state, "the log has a gap");
            state = Some(row.to);
            self.moves.push((row.from, row.to));
        }
        assert!(log.is_empty() || state == Some(job.state), "the log ends elsewhere");
        if again {
            self.hear(means, of_another, second);
        }
    }

    fn last(&self) -> &HpcJob {
        self.rows.last().unwrap()
    }

    fn end(&self) -> (State, HpcState, &str) {
        (self.last().state, self.last().hpc_state(), &self.last().record.raw_state)
    }
}

#[test]
fn a_hooks_word_of_an_end_waits_for_the_schedulers() {
    // contract: H1, L8. The epilog of a job that was cancelled sees exit code 0.
    let mut story = Story::of(ASKS, vec![started(0), finished(0, 0, None, 15)]);
    assert_eq!(story.end(), (State::Running, HpcState::Running, "RUNNING"));
    assert!(story.asked);
    story.hear(ASKS, says("CANCELLED", (Some(0), Some(14)), 0, 30), 31);
    assert_eq!(story.end(), (State::Cancelled, HpcState::Cancelled, "CANCELLED"));
    assert_eq!(story.last().record.ended, Some(at(14)));
    assert_eq!(story.last().record.nodes, ["n1"], "what only the hook has said stays");
}

#[test]
fn where_nobody_can_be_asked_the_hook_is_believed() {
    let table = [
        (0, 0, None, State::Succeeded),
        (3, 0, None, State::Failed),
        (0, 9, None, State::Cancelled),
        (0, 15, None, State::Cancelled),
        (0, 11, None, State::Failed),
        (0, 0, Some("TIMEOUT"), State::Timeout),
        (0, 0, Some("CANCELLED by 1000"), State::Cancelled),
        (0, 125, Some("OUT_OF_MEMORY"), State::Failed),
    ];
    for (code, signal, raw, state) in table {
        let story = Story::of(HOOKS, vec![started(0), finished(code, signal, raw, 12)]);
        assert_eq!(story.last().state, state, "{code} {signal} {raw:?}");
        assert_eq!(story.last().record.ended, Some(at(12)));
    }
}

#[test]
fn words_that_come_in_the_wrong_order_come_to_the_same() {
    for means in [ASKS, HOOKS] {
        let ended = || says("FAILED", (Some(0), Some(9)), 0, 100);
        let right = Story::of(means, vec![started(0), finished(3, 0, None, 9), ended()]);
        let wrong = Story::of(means, vec![finished(3, 0, None, 9), started(0), ended(), started(0)]);
        assert_eq!((right.rows.len(), wrong.rows.len()), (1, 1));
        assert_eq!(right.end().0, State::Failed);
        assert_eq!(right.end(), wrong.end());
    }
}

#[test]
fn one_node_of_several_that_is_done_ends_nothing() {
    let hint = EndHint {
        at: at(5),
        exit: Some(ExitStatus { code: 0, signal: 0 }),
        raw_state: None,
        final_state: None,
    };
    let word = Finished { record: record("", (None, None), 0), hint, whole: false };
    for means in [ASKS, HOOKS] {
        let story = Story::of(means, vec![started(0), Word::Finished(Box::new(word.clone()))]);
        assert_eq!(story.last().state, State::Running);
    }
}

#[test]
fn a_job_that_is_put_back_runs_again_in_the_same_row() {
    use State::{Failed, Queued, Retrying, Running, Scheduled, Succeeded};
    let words = vec![
        says("RUNNING", (Some(0), None), 0, 0),
        says("PENDING", (None, None), 1, 10),
        says("RUNNING", (Some(19), None), 1, 20),
        says("COMPLETED", (Some(19), Some(29)), 1, 30),
    ];
    let story = Story::of(ASKS, words);
    let again = [
        (None, Running),
        (Some(Running), Failed),
        (Some(Failed), Retrying),
        (Some(Retrying), Queued),
        (Some(Queued), Scheduled),
        (Some(Scheduled), Running),
        (Some(Running), Succeeded),
    ];
    assert_eq!(story.moves, again);
    assert_eq!((story.rows.len(), story.last().record.started), (1, Some(at(19))));
    // The same where only hooks tell of it.
    let story = Story::of(HOOKS, vec![started(0), started(1), finished(0, 0, Some("COMPLETED"), 25)]);
    assert_eq!((story.moves, story.rows.len()), (again.to_vec(), 1));
}

#[test]
fn what_was_read_before_takes_nothing_back() {
    // The shared read was asked for before the hook was heard, and answered after.
    let mut story = Story::of(ASKS, vec![started(0)]);
    story.hear(ASKS, says("PENDING", (None, None), 0, -1), 1);
    assert_eq!(story.last().state, State::Running);
    story.hear(ASKS, says("PENDING", (None, None), 0, 20), 21);
    assert_eq!(story.last().state, State::Queued, "a requeue whose count nobody has told");
    // Words of a run that is over.
    let mut story = Story::of(ASKS, vec![started(2)]);
    story.hear(ASKS, started(1), 2);
    story.hear(ASKS, says("NODE_FAIL", (Some(0), Some(1)), 1, 30), 31);
    assert_eq!((story.last().state, story.last().record.restarts), (State::Running, Some(2)));
}

#[test]
fn a_number_that_runs_again_after_its_end_is_another_job() {
    // contract: L8. Slurm's numbers begin anew one day, and ended jobs can be put back.
    let ended = says("COMPLETED", (Some(0), Some(9)), 0, 10);
    let mut story = Story::of(ASKS, vec![started(0), ended.clone(), ended, started(0)]);
    assert_eq!(story.rows.len(), 1, "nothing new in that");
    story.hear(ASKS, says("PENDING", (None, None), 1, 50), 51);
    assert_eq!((story.rows.len(), story.last().state), (2, State::Queued));
    let mut later = record("RUNNING", (Some(80), None), 1);
    later.submitted = Some(at(70));
    story.hear(ASKS, Word::Record(Box::new(later), at(90)), 91);
    assert_eq!((story.rows.len(), story.last().state), (2, State::Running), "it is that other job");
    assert_eq!(story.rows[0].state, State::Succeeded);
}

#[test]
fn each_end_is_told_with_who_has_to_act() {
    let table = [
        ("COMPLETED", State::Succeeded, None),
        ("FAILED", State::Failed, Some((ErrorClass::User, "exit_code"))),
        ("TIMEOUT", State::Timeout, Some((ErrorClass::Policy, "time_limit"))),
        ("DEADLINE", State::Timeout, Some((ErrorClass::Policy, "deadline"))),
        ("NODE_FAIL", State::Failed, Some((ErrorClass::Infrastructure, "node_lost"))),
        ("BOOT_FAIL", State::Failed, Some((ErrorClass::Infrastructure, "boot_failed"))),
        ("OUT_OF_MEMORY", State::Failed, Some((ErrorClass::Resources, "out_of_memory"))),
        ("CANCELLED by 0", State::Cancelled, None),
        ("PREEMPTED", State::Cancelled, None),
        ("REVOKED", State::Cancelled, None),
    ];
    for (raw, state, failure) in table {
        for words in [
            vec![says(raw, (Some(0), Some(5)), 0, 6)],
            vec![started(0), says(raw, (Some(0), Some(5)), 0, 10)],
            vec![says("PENDING", (None, None), 0, 0), says(raw, (None, Some(5)), 0, 10)],
        ] {
            let story = Story::of(ASKS, words);
            assert_eq!(story.last().state, state, "{raw}");
            let told = story.last().failure.as_ref().map(|failure| (failure.class, failure.code.as_str()));
            assert_eq!(told, failure, "{raw}");
        }
    }
}

#[test]
fn a_job_that_waits_and_is_cancelled_never_ran() {
    let words = vec![says("PENDING", (None, None), 0, 0), says("CANCELLED", (None, Some(5)), 0, 10)];
    let story = Story::of(ASKS, words);
    assert_eq!(story.moves, [(None, State::Queued), (Some(State::Queued), State::Cancelled)]);
    assert_eq!(story.last().runtime_seconds(at(20)), None);
}

#[test]
fn what_nobody_knows_is_not_called_done() {
    // contract: L7
    let lost = Story::of(ASKS, vec![started(0), Word::Forgotten]);
    assert_eq!(lost.last().state, State::Failed);
    assert!(lost.last().failure.as_ref().unwrap().outcome_unknown);
    let silent = Story::of(ASKS, vec![started(0), finished(0, 0, None, 5), Word::Forgotten]);
    assert!(silent.last().failure.as_ref().unwrap().outcome_unknown, "exit code 0 may be a cancelled job");
    let told = Story::of(ASKS, vec![started(0), finished(0, 0, Some("COMPLETED"), 5), Word::Forgotten]);
    assert_eq!((told.last().state, told.last().record.ended), (State::Succeeded, Some(at(5))));
    let failed = Story::of(ASKS, vec![started(0), finished(3, 0, None, 5), Word::Forgotten]);
    assert_eq!(failed.last().failure.as_ref().unwrap().code, "exit_code");
}

/// What the job-completion script says: the scheduler's word, with its times.
fn completes(state: &str, times: (i64, Option<i64>, i64)) -> Word {
    let (submitted, started, ended) = times;
    let record = Record {
        external_id: "12".into(),
        submitted: Some(at(submitted)),
        started: started.map(at),
        nodes: started.map(|_| "n1".into()).into_iter().collect(),
        ..Record::default()
    };
    let hint = EndHint { at: at(ended), exit: None, raw_state: Some(state.into()), final_state: None };
    Word::Finished(Box::new(Finished { record, hint, whole: true }))
}

fn ends(exit: Option<(i32, i32)>, raw_state: Option<&str>, final_state: Option<HpcState>) -> Word {
    let exit = exit.map(|(code, signal)| ExitStatus { code, signal });
    let hint = EndHint { at: at(5), exit, raw_state: raw_state.map(str::to_owned), final_state };
    let record = Record { external_id: "12".into(), ..Record::default() };
    Word::Finished(Box::new(Finished { record, hint, whole: true }))
}

#[test]
fn a_hook_that_knows_neither_exit_nor_state_ends_nothing() {
    // contract: L7
    for word in [
        ends(None, None, None),
        ends(Some((0, 0)), Some("COMPLETING"), None),
        ends(Some((0, 0)), Some("ODD"), None),
    ] {
        for means in [ASKS, HOOKS] {
            let mut story = Story::of(means, vec![started(0), word.clone()]);
            assert_eq!(story.last().state, State::Running, "{word:?}");
            story.hear(means, completes("CANCELLED", (-1, Some(0), 6)), 20);
            story.hear(means, says("CANCELLED", (Some(0), Some(6)), 0, 30), 31);
            assert_eq!(story.last().state, State::Cancelled, "{word:?}");
        }
    }
}

#[test]
fn what_a_hook_makes_of_an_end_is_not_the_schedulers_word() {
    let done = || ends(Some((0, 0)), None, Some(HpcState::Completed));
    let lost = Story::of(ASKS, vec![started(0), done(), Word::Forgotten]);
    assert!(lost.last().failure.as_ref().unwrap().outcome_unknown);
    let odd = ends(Some((3, 0)), None, Some(HpcState::Completed));
    assert_eq!(Story::of(ASKS, vec![started(0), odd, Word::Forgotten]).last().state, State::Failed);
    // The scheduler's word counts, whichever came first.
    for words in [
        vec![started(0), done(), completes("TIMEOUT", (-1, Some(0), 5)), Word::Forgotten],
        vec![started(0), completes("TIMEOUT", (-1, Some(0), 5)), done(), Word::Forgotten],
    ] {
        assert_eq!(Story::of(ASKS, words).end(), (State::Timeout, HpcState::Failed, "TIMEOUT"));
    }
    let told = Story::of(HOOKS, vec![started(0), ends(None, None, Some(HpcState::Cancelled))]);
    assert_eq!(told.end(), (State::Cancelled, HpcState::Cancelled, "CANCELLED"));
}

#[test]
fn where_only_hooks_tell_a_job_that_is_put_back_has_not_ended() {
    use State::{Failed, Queued, Retrying, Running, Scheduled, Succeeded};
    let put_back = || completes("PENDING", (-1, Some(0), 5));
    let words = vec![started(0), put_back(), started(1), completes("COMPLETED", (5, Some(30), 40))];
    let waits = Story::of(HOOKS, words[..2].to_vec());
    assert_eq!(waits.end(), (Queued, HpcState::Pending, "PENDING"));
    let story = Story::of(HOOKS, words);
    let again = [
        (None, Running),
        (Some(Running), Failed),
        (Some(Failed), Retrying),
        (Some(Retrying), Queued),
        (Some(Queued), Scheduled),
        (Some(Scheduled), Running),
        (Some(Running), Succeeded),
    ];
    assert_eq!((story.moves, story.rows.len()), (again.to_vec(), 1));
    // The word of the run before comes late.
    let mut second = started(1);
    if let Word::Started(record) = &mut second {
        record.started = Some(at(30));
    }
    let mut story = Story::of(HOOKS, vec![started(0), second, put_back()]);
    assert_eq!(story.last().state, State::Running);
    story.hear(HOOKS, completes("NODE_FAIL", (-1, Some(0), 5)), 30);
    assert_eq!(story.last().state, State::Running);
    story.hear(HOOKS, completes("COMPLETED", (5, Some(30), 40)), 41);
    assert_eq!((story.last().state, story.rows.len()), (State::Succeeded, 1));
    // The end of the second run may come before its beginning, and does not say that it is the second.
    let mut second = started(1);
    if let Word::Started(record) = &mut second {
        record.started = Some(at(30));
    }
    let words = vec![started(0), put_back(), completes("COMPLETED", (5, Some(30), 30)), second];
    let story = Story::of(HOOKS, words);
    assert_eq!((story.last().state, story.rows.len()), (State::Succeeded, 1));
    // One that a node was lost under has ended, and runs again as another run.
    let words = vec![
        started(0),
        completes("NODE_FAIL", (-1, Some(0), 5)),
        started(1),
        completes("COMPLETED", (5, Some(30), 40)),
    ];
    let story = Story::of(HOOKS, words);
    let states: Vec<State> = story.rows.iter().map(|row| row.state).collect();
    assert_eq!(states, [State::Failed, State::Succeeded]);
}

#[test]
fn a_hook_tells_of_a_job_that_was_cancelled_before_it_ran() {
    let story = Story::of(HOOKS, vec![completes("CANCELLED", (0, None, 5))]);
    assert_eq!(story.moves, [(None, State::Queued), (Some(State::Queued), State::Cancelled)]);
    assert_eq!((story.last().record.started, story.last().record.submitted), (None, Some(at(0))));
}

#[test]
fn a_node_whose_clock_is_ahead_makes_no_second_job() {
    let mut late = started(0);
    if let Word::Started(record) = &mut late {
        record.started = Some(at(300));
    }
    let mut story = Story::of(HOOKS, vec![completes("COMPLETED", (-1, Some(0), 5)), late.clone()]);
    assert_eq!((story.rows.len(), story.last().state), (1, State::Succeeded));
    // What begins long after is another job of that number.
    if let Word::Started(record) = &mut late {
        record.started = Some(at(6_000));
    }
    story.hear(HOOKS, late, 6_000);
    assert_eq!((story.rows.len(), story.last().state), (2, State::Running));
}

/// A prolog's word on a node.
fn begins(node: &str, restarts: u32, second: i64) -> Word {
    let record = Record {
        external_id: "12".into(),
        user: Some("ann".into()),
        nodes: vec![node.into()],
        restarts: Some(restarts),
        started: Some(at(second)),
        ..Record::default()
    };
    Word::Started(Box::new(record))
}

#[test]
fn where_only_hooks_tell_a_beginning_behind_its_end_says_when_and_where_it_was() {
    // contract: H1
    let end = || finished(3, 0, None, 50);
    let story = Story::of(HOOKS, vec![end(), begins("n1", 0, 20), begins("n2", 0, 18), begins("n1", 0, 20)]);
    let HpcJob { record, state, revision, .. } = story.last().clone();
    assert_eq!(
        (story.rows.len(), state, revision),
        (1, State::Failed, 2),
        "the same once more is nothing new"
    );
    assert_eq!((record.started, record.ended), (Some(at(18)), Some(at(50))));
    assert_eq!((record.nodes, record.user.as_deref()), (vec!["n1".to_owned(), "n2".to_owned()], Some("ann")));
    assert_eq!(record.raw_state, "FAILED");
    // No job begins after its end, whatever the clock of its node says.
    let ahead = Story::of(HOOKS, vec![end(), begins("n1", 0, 90)]);
    assert_eq!(ahead.last().record.started, Some(at(50)));
    // What is known of it stays; and another run's nodes are not its own.
    let known = || completes("COMPLETED", (5, Some(30), 40));
    for other in [begins("n9", 0, 1), begins("n9", 0, -4_000), begins("n9", 0, 60)] {
        let told = Story::of(HOOKS, vec![known(), other]);
        let record = &told.last().record;
        assert_eq!((record.started, record.nodes.as_slice()), (Some(at(30)), ["n1".to_owned()].as_slice()));
    }
    // Where the scheduler is asked it knows better.
    let asked = Story::of(ASKS, vec![says("COMPLETED", (None, Some(50)), 0, 60), begins("n1", 0, 20)]);
    assert_eq!(asked.last().record.started, None);
}

#[test]
fn numbers_that_begin_anew_close_what_was_open() {
    // contract: L7, L8. slurmctld has lost its state, and gives the number once more.
    let mut anew = record("RUNNING", (Some(80), None), 0);
    anew.submitted = Some(at(70));
    let word = Word::Record(Box::new(anew), at(90));
    let mut story = Story::of(ASKS, vec![says("RUNNING", (Some(0), None), 0, 0)]);
    story.hear(ASKS, word.clone(), 91);
    story.hear(ASKS, word, 92);
    let states: Vec<State> = story.rows.iter().map(|row| row.state).collect();
    assert_eq!(states, [State::Failed, State::Running]);
    assert!(story.rows[0].failure.as_ref().unwrap().outcome_unknown);
    // Put back, it is submitted anew as well, and is the same job.
    let mut again = record("PENDING", (None, None), 1);
    again.submitted = Some(at(70));
    let mut story = Story::of(ASKS, vec![says("RUNNING", (Some(0), None), 0, 0)]);
    story.hear(ASKS, Word::Record(Box::new(again), at(90)), 91);
    assert_eq!((story.rows.len(), story.last().state), (1, State::Queued));
    // Where only hooks tell: another's job, and later. One user may have several names.
    let of = |user: &str, second: i64| {
        let (external_id, user) = ("12".into(), Some(user.to_owned()));
        Word::Started(Box::new(Record { external_id, user, started: Some(at(second)), ..Record::default() }))
    };
    let words = vec![of("ada", 0), of("1001", 1), of("ada@lab", 2), of("bob", 5_000)];
    let story = Story::of(HOOKS, words);
    let users: Vec<Option<&str>> = story.rows.iter().map(|row| row.record.user.as_deref()).collect();
    assert_eq!(users, [Some("ada"), Some("bob")]);
    assert!(story.rows[0].failure.as_ref().unwrap().outcome_unknown);
}

#[test]
fn a_priority_that_moves_on_is_nothing_that_anybody_did() {
    let waits = |priority, reason: Option<&str>| Record {
        priority: Some(priority),
        reason: reason.map(str::to_owned),
        ..record("PENDING", (None, None), 0)
    };
    let mut story = Story::of(ASKS, vec![Word::Record(Box::new(waits(1, Some("Resources"))), at(0))]);
    let says = |story: &Story, record: Record| {
        observe(story.rows.last(), Word::Record(Box::new(record), at(5)), ASKS, fresh(6), at(6))
    };
    let Outcome::Changed(change) = says(&story, waits(2, Some("Priority"))) else { panic!() };
    assert!(change.quiet && change.job.record.priority == Some(2));
    let Outcome::Changed(change) = says(&story, Record { qos: Some("high".into()), ..waits(2, None) }) else {
        panic!()
    };
    assert!(!change.quiet);
    // Why it waited is not why it runs.
    let runs = Record { priority: Some(2), ..record("RUNNING", (Some(7), None), 0) };
    story.hear(ASKS, Word::Record(Box::new(runs), at(8)), 9);
    assert_eq!(story.last().record.reason, None);
}

#[test]
fn a_state_that_is_not_known_changes_none() {
    let story = Story::of(ASKS, vec![started(0), says("TELEPORTED", (Some(0), None), 0, 10)]);
    assert_eq!(story.end(), (State::Running, HpcState::Running, "TELEPORTED"));
    let story = Story::of(ASKS, vec![says("TELEPORTED", (None, None), 0, 0)]);
    assert_eq!(story.last().state, State::Queued);
    let suspended = Story::of(ASKS, vec![started(0), says("SUSPENDED", (Some(0), None), 0, 10)]);
    assert_eq!(suspended.end(), (State::Running, HpcState::Pending, "SUSPENDED"));
}

fn any_word() -> impl Strategy<Value = Word> {
    let state = prop::sample::select(vec![
        "PENDING",
        "RUNNING",
        "COMPLETING",
        "SUSPENDED",
        "COMPLETED",
        "FAILED",
        "TIMEOUT",
        "CANCELLED",
        "ODD",
    ]);
    let times = (prop::option::of(0_i64..100), prop::option::of(0_i64..100));
    prop_oneof![
        (0_u32..3).prop_map(started),
        (0_i32..3, prop::sample::select(vec![0, 9, 11]), prop::option::of(state.clone()), 0_i64..100)
            .prop_map(|(code, signal, raw, second)| finished(code, signal, raw, second)),
        (state, times, 0_u32..3, 0_i64..100)
            .prop_map(|(s, times, restarts, asked)| says(s, times, restarts, asked)),
        Just(Word::Forgotten),
    ]
}

proptest! {
    #[test]
    fn whatever_is_said_ended_jobs_stay_and_the_log_has_no_gap(words in prop::collection::vec(any_word(), 1..12)) {
        let done = |word: &Word| matches!(word, Word::Record(record, _) if record.raw_state == "COMPLETED");
        let told = |word: &Word| matches!(word, Word::Finished(f) if f.hint.raw_state.as_deref() == Some("COMPLETED"));
        let proved = words.iter().any(|word| done(word) || told(word));
        let once = Story::of(ASKS, words.clone());
        let succeeded = once.rows.iter().any(|row| row.state == State::Succeeded);
        prop_assert!(proved || !succeeded, "called done without the scheduler's word");
        // Each word twice comes to the same: hooks and reads are repeated.
        for means in [ASKS, HOOKS] {
            let once = Story::of(means, words.clone());
            let mut twice = Story::default();
            for (second, word) in (0_i64..).zip(words.clone()) {
                twice.hear(means, word.clone(), 10 * second);
                twice.hear(means, word, 10 * second);
            }
            let states = |story: &Story| story.rows.iter().map(|row| row.state).collect::<Vec<_>>();
            prop_assert_eq!(states(&once), states(&twice));
        }
    }
}
