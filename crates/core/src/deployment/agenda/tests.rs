use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::deployment::reconcile::{
    End, Fate, FlinkId, Phase, Refused, Run, Savepoint, Timing, Trouble, Version,
};
use crate::deployment::retention::Retention;
use crate::deployment::spec::DeploymentSpec;

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// A deployment whose jobs do what the test says.
struct Diary {
    normal: Normal,
    desired: Desired,
    agenda: Agenda,
    row: Row,
    now: Timestamp,
    last: AgendaStep,
}

fn time(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

impl Diary {
    /// A batch job with this `batch_config`, made at 2025-01-01T00:00:30Z.
    fn batch(config: &serde_json::Value) -> Self {
        Self::of(
            json!({"job_id": "a", "job_type": "batch", "artifact_path": "a.jar", "batch_config": config}),
        )
    }

    fn stream(every: &serde_json::Value) -> Self {
        let config = json!({"savepoint_trigger_interval": every});
        Self::of(
            json!({"job_id": "a", "job_type": "stream", "artifact_path": "a.jar", "stream_config": config}),
        )
    }

    fn of(spec: serde_json::Value) -> Self {
        let spec: DeploymentSpec = serde_json::from_value(spec).unwrap();
        assert_eq!(spec.validate(), []);
        let normal = Normal::of(&spec, None);
        let desired = Desired {
            name: "a".into(),
            mode: Mode::Running,
            generation: 1,
            rollback_to: None,
            nonce: 0,
            end_run: None,
            waits: false,
            another_begins: false,
            watches_pressure: false,
            savepoint_nonce: 0,
            given: None,
            savepoint_directory: "svpt".into(),
            versions: vec![normal.version(1, "ab".into())],
            stability: normal.stable_when(),
            retention: Retention::default(),
            timing: Timing::default(),
        };
        let (agenda, row, now) = (Agenda::default(), Row::default(), time("2025-01-01T00:00:30Z"));
        let last = step(&normal, &desired, &agenda, &row, now);
        let mut diary = Self { normal, desired, agenda, row, now, last };
        diary.step();
        diary
    }

    /// A step, stored.
    fn step(&mut self) -> Vec<AgendaEvent> {
        let (normal, desired) = (&self.normal, &self.desired);
        let step = super::step(normal, desired, &self.agenda, &self.row, self.now);
        assert_eq!(
            step,
            super::step(normal, desired, &self.agenda, &self.row, self.now),
            "one that was lost"
        );
        let text = serde_json::to_string(&step.agenda).unwrap();
        self.agenda = serde_json::from_str(&text).unwrap();
        assert_eq!(self.agenda, step.agenda);
        self.desired.nonce = step.nonce;
        self.desired.savepoint_nonce = step.savepoint_nonce;
        self.desired.end_run = self.agenda.end_run;
        self.last = step;
        self.last.events.clone()
    }

    fn at(&mut self, text: &str) -> Vec<AgendaEvent> {
        self.now = time(text);
        self.step()
    }

    fn later(&mut self, micros: i64) -> Vec<AgendaEvent> {
        self.now = self.now.plus_micros(micros);
        self.step()
    }

    /// True when the reconciler would start a run.
    fn is_due(&self) -> bool {
        self.desired.end_run < Some(self.desired.nonce)
    }

    /// The reconciler has done what is wanted, and the run became this.
    fn run(&mut self, fate: Fate) {
        let nonce = self.desired.nonce;
        self.row.run = Some(Run::new(FlinkId(u128::from(nonce)), self.desired.target(), nonce, fate));
    }

    fn finish(&mut self) {
        self.run(Fate::Ended(End::Finished));
        self.step();
    }

    /// Steps of `every` until `end`, with runs that end at once: the times that were run for.
    fn times(&mut self, every: i64, end: &str) -> Vec<String> {
        let mut found = Vec::new();
        while self.now < time(end) {
            let events = self.later(every);
            let due = |event: &AgendaEvent| match event {
                AgendaEvent::Due(due) => Some(due.rfc3339()),
                _ => None,
            };
            found.extend(events.iter().filter_map(due));
            if self.is_due() {
                self.finish();
            }
        }
        found
    }

    /// The stream job runs and is well.
    fn is_well(&mut self) {
        self.run(Fate::Live);
        self.row.phase = Phase::Stable;
    }
}

#[test]
fn nothing_runs_before_it_is_due_and_then_once() {
    let mut diary = Diary::batch(&json!({"cron": "0 * * * *"}));
    assert!(!diary.is_due(), "not at once");
    assert_eq!(diary.last.look_at, Some(time("2025-01-01T01:00:00Z")));
    assert_eq!(diary.at("2025-01-01T00:59:59Z"), []);
    let due = time("2025-01-01T01:00:00Z");
    assert_eq!(diary.at("2025-01-01T01:00:00Z"), [AgendaEvent::Due(due)]);
    assert_eq!((diary.is_due(), diary.desired.nonce), (true, 1));
    assert_eq!(diary.agenda.run.unwrap().due, Some(due));
    assert_eq!(diary.step(), []);
    diary.finish();
    assert_eq!((diary.is_due(), diary.desired.nonce, diary.agenda.started), (false, 1, 1));
    // Somebody asks for one between the times: it is none of the schedule's.
    diary.desired.nonce = 2;
    assert_eq!(diary.step(), []);
    assert!(diary.is_due());
    diary.finish();
    assert_eq!((diary.is_due(), diary.agenda.started), (false, 1));
}

#[test]
fn clocks_that_are_put_forward_and_back_make_one_run_a_day() {
    let mut diary = Diary::batch(&json!({"cron": "30 2 * * *", "timezone": "Europe/Berlin"}));
    diary.at("2025-03-28T12:00:00Z");
    diary.finish();
    let spring = diary.times(10 * MINUTE, "2025-03-31T12:00:00Z");
    let expected = ["2025-03-29T01:30:00.000Z", "2025-03-30T01:00:00.000Z", "2025-03-31T00:30:00.000Z"];
    assert_eq!(spring, expected, "2:30 is not there on the 30th: at the end of the gap");
    diary.at("2025-10-25T12:00:00Z");
    diary.finish();
    let autumn = diary.times(10 * MINUTE, "2025-10-27T12:00:00Z");
    assert_eq!(
        autumn,
        ["2025-10-26T00:30:00.000Z", "2025-10-27T01:30:00.000Z"],
        "2:30 is there twice on the 26th"
    );
}

#[test]
fn a_day_off_is_made_up_for_by_one_run() {
    let mut diary = Diary::batch(&json!({"cron": "0 * * * *"}));
    let (first, latest) = (time("2025-01-01T01:00:00Z"), time("2025-01-02T00:00:00Z"));
    let events = diary.at("2025-01-02T00:10:00Z");
    assert_eq!(events, [AgendaEvent::Missed { first, latest }, AgendaEvent::Due(latest)]);
    diary.finish();
    assert_eq!(diary.step(), []);
    assert_eq!(diary.last.look_at, Some(time("2025-01-02T01:00:00Z")));
}

#[test]
fn after_so_many_runs_there_are_no_more_and_that_is_said_once() {
    let mut diary = Diary::batch(&json!({"cron": "0 * * * *", "max_runs": 3}));
    let mut over = 0;
    for _ in 0..10 {
        diary.later(HOUR);
        if diary.is_due() {
            diary.finish();
        }
        over += usize::from(diary.last.events == [AgendaEvent::SeriesOver(3)]);
    }
    assert_eq!((diary.desired.nonce, diary.agenda.started, over), (3, 3, 1));
    diary.normal.batch_config.as_mut().unwrap().max_runs = Some(5);
    diary.times(HOUR, "2025-01-02T12:00:00Z");
    assert_eq!(diary.agenda.started, 5, "two more");
}

#[test]
fn what_is_due_while_another_runs() {
    let (second, third) = (time("2025-01-01T02:00:00Z"), time("2025-01-01T03:00:00Z"));
    for (overlap, said) in [
        ("skip", [vec![AgendaEvent::Skipped(second)], vec![AgendaEvent::Skipped(third)], vec![]]),
        ("queue", [vec![AgendaEvent::Queued(second)], vec![], vec![AgendaEvent::Due(third)]]),
        ("replace", [vec![AgendaEvent::Replaced(second)], vec![], vec![]]),
    ] {
        let mut diary = Diary::batch(&json!({"cron": "0 * * * *", "overlap": overlap}));
        diary.at("2025-01-01T01:00:00Z");
        diary.run(Fate::Live);
        assert_eq!(diary.at("2025-01-01T02:00:00Z"), said[0], "{overlap}");
        let replaced = overlap == "replace";
        assert_eq!(diary.desired.nonce, if replaced { 2 } else { 1 }, "{overlap}");
        assert_eq!(diary.desired.end_run, Some(u64::from(replaced)), "{overlap}");
        // The first run is still there; one that was to replace it, and has not begun, is as good for the third time.
        assert_eq!(diary.at("2025-01-01T03:00:00Z"), said[1], "{overlap}");
        assert_eq!(diary.agenda.started, if replaced { 2 } else { 1 }, "{overlap}");
        if replaced {
            assert_eq!(diary.agenda.run.unwrap().due, Some(third));
        }
        diary.row.run.as_mut().unwrap().fate = Fate::Ended(End::Finished);
        assert_eq!(diary.later(MINUTE), said[2], "{overlap}");
        assert_eq!(diary.is_due(), overlap != "skip", "{overlap}");
    }
}

#[test]
fn a_run_that_has_had_its_time_is_ended_and_the_next_one_is_not() {
    let mut diary = Diary::batch(&json!({"cron": "0 * * * *", "ttl_seconds": 600}));
    diary.at("2025-01-01T01:00:00Z");
    diary.at("2025-01-01T01:20:00Z");
    assert!(diary.is_due(), "the cluster was away: its time has not begun");
    diary.run(Fate::Live);
    diary.step();
    assert_eq!(diary.last.look_at, Some(time("2025-01-01T01:30:00Z")));
    assert_eq!(diary.at("2025-01-01T01:30:00Z"), [AgendaEvent::TimeOver(600)]);
    assert_eq!(diary.desired.end_run, Some(1));
    assert_eq!(diary.later(MINUTE), [], "said once");
    assert!(diary.agenda.run.unwrap().timed_out && diary.agenda.run.unwrap().over.is_none());
    diary.run(Fate::Ended(End::Stopped));
    diary.later(MINUTE);
    assert!(diary.agenda.run.unwrap().over.is_some());
    assert_eq!(diary.at("2025-01-01T02:00:00Z"), [AgendaEvent::Due(time("2025-01-01T02:00:00Z"))]);
    assert!(diary.is_due() && !diary.agenda.run.unwrap().timed_out);
}

#[test]
fn a_run_that_was_given_up_does_not_keep_the_next_one_waiting() {
    let mut diary = Diary::batch(&json!({"cron": "0 * * * *"}));
    diary.at("2025-01-01T01:00:00Z");
    diary.run(Fate::Ended(End::Failed));
    diary.step();
    assert!(diary.is_due(), "it is tried again");
    let why = Trouble::OutcomeUnknown;
    diary.row.refused =
        Some(Refused { generation: 1, nonce: 1, mode: Some(Mode::Running), instead: None, why });
    diary.later(MINUTE);
    assert!(!diary.is_due());
    assert_eq!(diary.at("2025-01-01T02:00:00Z"), [AgendaEvent::Due(time("2025-01-01T02:00:00Z"))]);
}

#[test]
fn without_a_schedule_each_generation_that_is_another_job_runs_once() {
    let mut diary = Diary::batch(&json!({"ttl_seconds": 60}));
    assert_eq!((diary.is_due(), diary.desired.nonce), (true, 0));
    diary.run(Fate::Live);
    diary.step();
    assert_eq!(diary.later(MINUTE), [AgendaEvent::TimeOver(60)]);
    diary.run(Fate::Ended(End::Stopped));
    diary.later(DAY);
    assert!(!diary.is_due());
    diary.desired.versions.push(Version { generation: 2, ..diary.desired.versions[0].clone() });
    diary.desired.generation = 2;
    diary.step();
    assert!(!diary.is_due(), "the same job");
    let job = Some("another".to_owned());
    diary.desired.versions.push(Version { generation: 3, job, ..diary.desired.versions[0].clone() });
    diary.desired.generation = 3;
    diary.step();
    assert!(diary.is_due());
    assert_eq!(diary.desired.nonce, 0, "the reconciler sees by itself that it is another one");
}

#[test]
fn a_pause_ends_the_run_and_what_would_have_been_due_in_it_is_not_made_up_for() {
    let mut diary = Diary::batch(&json!({"cron": "0 * * * *"}));
    diary.at("2025-01-01T01:00:00Z");
    diary.run(Fate::Live);
    diary.desired.mode = Mode::Suspended;
    diary.at("2025-01-01T01:10:00Z");
    diary.run(Fate::Ended(End::Stopped));
    assert_eq!(diary.at("2025-01-01T05:10:00Z"), []);
    diary.desired.mode = Mode::Running;
    assert_eq!(diary.at("2025-01-01T05:20:00Z"), []);
    assert!(!diary.is_due());
    assert_eq!(diary.last.look_at, Some(time("2025-01-01T06:00:00Z")));
}

#[test]
fn what_a_run_has_left_is_cleaned_up_until_it_is_done() {
    let mut diary = Diary::batch(&json!({"cron": "0 * * * *"}));
    assert!(!diary.last.clean_up);
    diary.at("2025-01-01T01:00:00Z");
    diary.finish();
    for _ in 0..2 {
        diary.step();
        assert!(diary.last.clean_up, "as long as nobody says that it was done");
    }
    diary.agenda.cleaned_up();
    diary.step();
    assert!(!diary.last.clean_up);
    diary.normal.batch_config.as_mut().unwrap().cleanup_on_completion = false;
    diary.at("2025-01-01T02:00:00Z");
    diary.finish();
    assert!(!diary.last.clean_up);
}

#[test]
fn a_schedule_that_is_taken_on_lets_the_run_end_and_one_that_is_changed_begins_anew() {
    let mut diary = Diary::batch(&json!({}));
    diary.run(Fate::Live);
    diary.step();
    let timed = Diary::batch(&json!({"cron": "0 * * * *"})).normal;
    diary.normal = timed;
    diary.later(MINUTE);
    assert!(diary.is_due(), "the run is not ended");
    diary.finish();
    assert!(!diary.is_due());
    diary.normal.batch_config.as_mut().unwrap().cron = Some("30 * * * *".to_owned());
    assert_eq!(diary.at("2025-01-01T00:45:00Z"), [], "half past was before it was wanted");
    assert_eq!(diary.last.look_at, Some(time("2025-01-01T01:30:00Z")));
    diary.normal.batch_config.as_mut().unwrap().timezone = "Nowhere/Land".to_owned();
    assert!(matches!(diary.step().as_slice(), [AgendaEvent::Unreadable(_)]));
    assert_eq!(diary.later(DAY), [], "said once");
}

#[test]
fn savepoints_at_a_distance_are_made_when_the_job_is_well() {
    let mut diary = Diary::stream(&json!("1h"));
    let nonce = |diary: &Diary| diary.desired.savepoint_nonce;
    diary.later(2 * HOUR);
    assert_eq!(nonce(&diary), 0, "it does not run");
    diary.is_well();
    diary.row.phase = Phase::Proving;
    diary.step();
    assert_eq!(nonce(&diary), 0, "nor is it well");
    diary.is_well();
    assert!(matches!(diary.step().as_slice(), [AgendaEvent::SavepointDue(_)]));
    diary.later(2 * HOUR);
    assert_eq!(nonce(&diary), 1, "one at a time");
    diary.row.savepoint_nonce = 1;
    let at = diary.now;
    diary.row.savepoints.push(Savepoint { path: "svpt/1".into(), generation: 1, at, removal: None });
    diary.later(HOUR - 1);
    assert_eq!(
        (nonce(&diary), diary.last.look_at),
        (1, Some(at.plus_micros(HOUR))),
        "so long after the last one"
    );
    diary.later(1);
    assert_eq!(nonce(&diary), 2);
    diary.row.savepoint_nonce = 2;
    diary.desired.mode = Mode::Suspended;
    diary.later(DAY);
    diary.desired.mode = Mode::Running;
    assert_eq!(diary.later(MINUTE), []);
    assert_eq!(diary.last.look_at, Some(diary.now.plus_micros(HOUR)), "from when it was resumed");
}

#[test]
fn savepoints_by_the_clock_may_be_a_little_late_and_are_not_made_up_for() {
    let mut diary = Diary::stream(&json!("0 * * * *"));
    diary.is_well();
    assert!(matches!(diary.at("2025-01-01T01:00:00Z").as_slice(), [AgendaEvent::SavepointDue(_)]));
    diary.row.savepoint_nonce = 1;
    assert_eq!(diary.later(MINUTE), []);
    diary.row.phase = Phase::Starting;
    assert_eq!(diary.at("2025-01-01T02:00:00Z"), []);
    diary.is_well();
    assert!(
        matches!(diary.at("2025-01-01T02:04:59Z").as_slice(), [AgendaEvent::SavepointDue(_)]),
        "well again"
    );
    diary.row.savepoint_nonce = 2;
    let skipped = time("2025-01-01T09:00:00Z");
    assert_eq!(diary.at("2025-01-01T09:30:00Z"), [AgendaEvent::SavepointSkipped(skipped)], "it was off");
    assert_eq!(diary.desired.savepoint_nonce, 2);
    assert_eq!(diary.last.look_at, Some(time("2025-01-01T10:00:00Z")));
}

#[test]
fn an_agenda_of_an_older_libra_is_read() {
    assert_eq!(serde_json::from_str::<Agenda>("{}").unwrap(), Agenda::default());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Steps at any distance, runs of any length, steps that were lost: no time is run for twice, none while another
    /// runs, and never more than there may be.
    #[test]
    fn a_time_is_run_for_once(
        overlap in prop_oneof![Just("skip"), Just("queue"), Just("replace")],
        most in proptest::option::of(1u32..8),
        ttl in proptest::option::of(60u64..7_200),
        moves in proptest::collection::vec((1i64..90, 0u8..10, any::<bool>()), 1..200),
    ) {
        let mut diary = Diary::batch(&json!({"cron": "*/20 * * * *", "overlap": overlap, "max_runs": most, "ttl_seconds": ttl}));
        let (mut dues, mut nonce) = (Vec::new(), 0);
        for (minutes, what, lost) in moves {
            diary.now = diary.now.plus_micros(minutes * MINUTE);
            if lost {
                continue;
            }
            let lived = diary.row.run.as_ref().is_some_and(Run::may_live);
            let began = diary.row.run.as_ref().is_some_and(|run| run.nonce == nonce);
            diary.step();
            prop_assert!(diary.desired.nonce <= nonce + 1);
            if diary.desired.nonce > nonce {
                nonce = diary.desired.nonce;
                prop_assert!(!lived || overlap == "replace");
                prop_assert!(dues.is_empty() || began, "one that was asked for has had its run");
                dues.push(diary.agenda.schedule.clone().unwrap().last.unwrap());
            }
            // The reconciler's turn: what is to be ended is ended, what is due begins, what runs may end.
            let over = diary.row.run.as_ref().is_some_and(|run| Some(run.nonce) <= diary.desired.end_run);
            if let Some(run) = diary.row.run.as_mut().filter(|run| run.may_live()) {
                if over {
                    run.fate = Fate::Ended(End::Stopped);
                } else if what < 3 {
                    run.fate = Fate::Ended(End::Finished);
                }
            } else if diary.is_due() && what < 8 {
                diary.run(Fate::Live);
            }
        }
        prop_assert_eq!(usize::try_from(diary.agenda.started).unwrap(), dues.len());
        prop_assert!(dues.windows(2).all(|two| two[0] < two[1]), "{:?}", dues);
        prop_assert!(most.is_none_or(|most| diary.agenda.started <= most));
    }
}
