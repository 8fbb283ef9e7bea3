use std::fmt::Write as _;

use super::*;
use crate::job::TimeLimits;
use crate::mode::Mode;
use crate::requirement::Requirement;
use crate::sanity;
use crate::spec::{JobSpec, Kind, Source};

const NOW: Timestamp = Timestamp(1_000_000_000);

pub(crate) fn job(state: State) -> Job {
    Job {
        id: crate::id::JobId::new(NOW, [7; 10]),
        revision: 3,
        state,
        user: "ada".into(),
        tenant: "default".into(),
        spec: JobSpec::new(Kind::Sql, Source::Code("SELECT 1".into())),
        mode: Mode::InCluster,
        host: None,
        requirement: Requirement::default(),
        limits: TimeLimits {
            queue_seconds: Some(1_800),
            run_seconds: Some(3_600),
            launch_seconds: Some(600),
        },
        retry: retry::default_policy(),
        attempt: u32::from(state.holds_resources()),
        retries: 0,
        lost_launches: 0,
        submitted_at: NOW,
        queued_at: None,
        scheduled_at: None,
        started_at: None,
        completed_at: state.is_terminal().then_some(NOW),
        not_before: None,
        cancel_requested_at: None,
        stop: None,
        failure: None,
        correlation_id: "c-1".into(),
    }
}

fn failure(class: ErrorClass) -> Failure {
    Failure::new(class, "test", format!("{} trouble", class.as_str()))
}

fn events() -> Vec<(&'static str, Event)> {
    vec![
        ("Received", Event::Received),
        ("Accepted", Event::Accepted),
        ("Refused", Event::Refused(failure(ErrorClass::User))),
        ("Admitted", Event::Admitted("m".into())),
        ("TakesOver", Event::TakesOver("m".into())),
        ("LaunchLost", Event::LaunchLost("the machine went away".into())),
        ("Started", Event::Started),
        ("Succeeded", Event::Succeeded),
        ("Failed(user)", Event::Failed { failure: failure(ErrorClass::User), jitter: 500 }),
        (
            "Failed(infrastructure)",
            Event::Failed { failure: failure(ErrorClass::Infrastructure), jitter: 500 },
        ),
        ("LaunchedAgain", Event::LaunchedAgain(failure(ErrorClass::User))),
        ("BackoffElapsed", Event::BackoffElapsed),
        ("CancelRequested", Event::CancelRequested),
        ("Withdrawn", Event::Withdrawn("replaced".into())),
        ("QueueTimedOut", Event::QueueTimedOut),
        ("LaunchTimedOut", Event::LaunchTimedOut),
        ("RunTimedOut", Event::RunTimedOut),
        ("Stopped", Event::Stopped),
    ]
}

fn line(job: &Job, event: Event) -> String {
    match step(job, event, NOW) {
        Err(Rejected::Terminal(_)) => "refused: it has ended".to_owned(),
        Err(Rejected::NotNow(_)) => "refused".to_owned(),
        Ok(step) if step.log.is_empty() => format!("(stays; stop = {:?}) {:?}", step.job.stop, step.effects),
        Ok(step) => {
            let path: Vec<&str> = step.log.iter().map(|t| t.to.as_str()).collect();
            format!("→ {} {:?}", path.join(" → "), step.effects)
        }
    }
}

#[test]
fn the_whole_table_of_states_and_events() {
    // contract: L1
    let mut table = String::new();
    for state in State::ALL {
        let _ = writeln!(table, "{state}");
        for (name, event) in events() {
            let _ = writeln!(table, "  {name:24} {}", line(&job(state), event));
        }
    }
    for stop in [StopReason::Cancel, StopReason::RunTimeout, StopReason::LaunchTimeout] {
        let _ = writeln!(table, "RUNNING, being stopped: {}", stop.as_str());
        for (name, event) in events() {
            let _ = writeln!(
                table,
                "  {name:24} {}",
                line(&Job { stop: Some(stop), ..job(State::Running) }, event)
            );
        }
    }
    insta::assert_snapshot!(table);
}

#[test]
fn a_submission_writes_three_rows_and_answers_queued() {
    // contract: L1
    let step = submit(Job { revision: 0, ..job(State::Submitted) }, NOW);
    let path: Vec<_> = step.log.iter().map(|t| (t.from, t.to)).collect();
    assert_eq!(
        path,
        [
            (None, State::Submitted),
            (Some(State::Submitted), State::Validating),
            (Some(State::Validating), State::Queued)
        ]
    );
    assert_eq!((step.job.state, step.job.revision, step.job.queued_at), (State::Queued, 1, Some(NOW)));
}

#[test]
fn with_a_retry_left_nobody_is_told_of_failed() {
    // contract: L1
    let event = Event::Failed { failure: failure(ErrorClass::Infrastructure), jitter: 700 };
    let step = step(&job(State::Running), event, NOW).unwrap();
    assert_eq!(step.log.iter().map(|t| t.to).collect::<Vec<_>>(), [State::Failed, State::Retrying]);
    assert!(!step.effects.contains(&Effect::Notify(State::Failed)));
    assert_eq!(step.job.completed_at, None);
    assert_eq!(step.job.not_before, Some(NOW.plus_micros(700_000)));
    assert_eq!(step.effects.iter().filter(|e| **e == Effect::CloseAttempt(1)).count(), 1);
}

#[test]
fn what_is_brought_back_at_once_is_never_seen_without_its_place() {
    // contract: F2
    let held = Job { host: Some("m".into()), ..job(State::Running) };
    let step = step(&held, Event::LaunchedAgain(failure(ErrorClass::User)), NOW).unwrap();
    assert_eq!((step.job.state, step.job.host.as_deref()), (State::Scheduled, Some("m")));
    assert_eq!((step.job.attempt, step.job.retries), (2, 1));
    assert!(!step.effects.contains(&Effect::Notify(State::Failed)));
    let attempts: Vec<_> = step
        .effects
        .iter()
        .filter(|e| matches!(e, Effect::CloseAttempt(_) | Effect::OpenAttempt(_)))
        .collect();
    assert_eq!(attempts, [&Effect::CloseAttempt(1), &Effect::OpenAttempt(2)]);
}

#[test]
fn what_may_have_taken_effect_is_not_done_again_unasked() {
    // contract: L4, L7
    let after = |failure: Failure, policy: bool| {
        let mut job = job(State::Running);
        job.spec.retry_policy = policy.then(retry::default_policy);
        step(&job, Event::Failed { failure, jitter: 0 }, NOW).unwrap().job.state
    };
    let lost = failure(ErrorClass::Infrastructure);
    assert_eq!(after(lost.clone(), false), State::Retrying);
    assert_eq!(after(lost.clone().with_unknown_outcome(), false), State::Failed);
    assert_eq!(after(lost.clone().with_unknown_outcome(), true), State::Retrying);
    assert_eq!(after(lost.with_effect(), true), State::Failed);
}

#[test]
fn five_lost_launches_are_forgiven_and_no_more() {
    // contract: L3
    let mut current = job(State::Queued);
    for _ in 0..retry::MAX_LOST_LAUNCHES {
        current = step(&current, Event::Admitted("m".into()), NOW).unwrap().job;
        current = step(&current, Event::LaunchLost("x".into()), NOW).unwrap().job;
        assert_eq!((current.state, current.retries), (State::Queued, 0));
    }
    current = step(&current, Event::Admitted("m".into()), NOW).unwrap().job;
    current = step(&current, Event::LaunchLost("x".into()), NOW).unwrap().job;
    assert_eq!((current.state, current.retries), (State::Retrying, 1), "then the retry policy decides");
    assert_eq!(current.not_before, Some(NOW.plus_seconds(1)), "after its full wait");
}

#[test]
fn work_that_was_done_before_the_kill_counts_as_done() {
    // contract: L7
    let cancelled = step(&job(State::Running), Event::CancelRequested, NOW).unwrap().job;
    assert_eq!(cancelled.state, State::Running);
    assert_eq!(step(&cancelled, Event::Succeeded, NOW).unwrap().job.state, State::Succeeded);
    let failed = Event::Failed { failure: failure(ErrorClass::Infrastructure), jitter: 0 };
    assert_eq!(step(&cancelled, failed, NOW).unwrap().job.state, State::Cancelled, "no retry after a cancel");
    assert_eq!(step(&cancelled, Event::Stopped, NOW).unwrap().job.state, State::Cancelled);
}

proptest::proptest! {
    #[test]
    fn no_sequence_of_events_breaks_a_job(choices in proptest::collection::vec(0usize..18, 1..60)) {
        let first = submit(Job { revision: 0, ..job(State::Submitted) }, NOW);
        let mut history = sanity::History::begin(&first);
        let mut current = first.job;
        for (tick, choice) in (1i64..).zip(choices) {
            let event = events().swap_remove(choice).1;
            if let Ok(next) = step(&current, event, NOW.plus_seconds(tick)) {
                history.follow(&next);
                current = next.job;
            }
            let found = sanity::check(&history.snapshot(&current));
            proptest::prop_assert!(found.is_empty(), "{found:?}");
        }
    }
}
