//! What several jobs come to, and what is left of a submission when an answer was lost.

use libra_core::attempt::Outcome;
use libra_core::failure::ErrorClass;
use libra_core::hpc::job::HpcJob;
use libra_core::hpc::observe::{Fresh, Means, Outcome as Observed, Word, observe};
use libra_core::hpc::record::{ArrayTask, ExitStatus, Record};
use libra_core::id::JobId;
use libra_core::time::Timestamp;

use super::outcome::Submitted;
use crate::engine::Observation;

const NOW: Timestamp = Timestamp(1_764_671_400_000_000);

fn job(number: &str, raw_state: &str) -> HpcJob {
    task(number, raw_state, None)
}

fn task(number: &str, raw_state: &str, task: Option<u64>) -> HpcJob {
    let ended = !["PENDING", "RUNNING"].contains(&raw_state);
    let record = Record {
        external_id: number.to_owned(),
        raw_state: raw_state.to_owned(),
        reason: Some("Resources".to_owned()),
        comment: Some("token".to_owned()),
        started: (raw_state != "PENDING").then_some(NOW),
        ended: ended.then(|| NOW.plus_seconds(9)),
        exit: ended.then(|| ExitStatus { code: i32::from(raw_state == "FAILED"), signal: 0 }),
        array: task.map(|task| ArrayTask { job: 8, task }),
        ..Record::default()
    };
    let fresh = Fresh {
        id: JobId::new(NOW, [0; 10]),
        tenant: "t".to_owned(),
        cluster: "c".to_owned(),
        correlation_id: "c-1".to_owned(),
    };
    match observe(None, Word::Record(Box::new(record), NOW), Means { asks: true }, fresh, NOW) {
        Observed::New(change) => change.job,
        Observed::Changed(_) | Observed::Unchanged => panic!("it is new"),
    }
}

fn of(jobs: &[HpcJob], stopped: bool) -> Observation {
    asked(None, stopped).look(jobs, NOW.plus_seconds(10))
}

fn asked(tasks: Option<u64>, stopped: bool) -> Submitted<'static> {
    Submitted { number: "8", token: "token", at: NOW, tasks, stopped }
}

/// How it ended, in the class and the code of its failure.
fn end(jobs: &[HpcJob], stop: bool) -> Result<(), Option<(ErrorClass, String)>> {
    let Observation::Ended(exit) = of(jobs, stop) else { panic!("it has ended") };
    match exit.outcome {
        Outcome::Succeeded => Ok(()),
        Outcome::Stopped => Err(None),
        Outcome::Failed { failure } => Err(Some((failure.class, failure.code))),
    }
}

fn because(class: ErrorClass, code: &str) -> Result<(), Option<(ErrorClass, String)>> {
    Err(Some((class, code.to_owned())))
}

#[test]
fn one_job_is_what_slurm_says_of_it() {
    assert_eq!(end(&[job("8", "COMPLETED")], false), Ok(()));
    assert_eq!(end(&[job("8", "COMPLETED")], true), Ok(()), "it was faster");
    assert_eq!(end(&[job("8", "CANCELLED by 0")], true), Err(None));
    for (raw, class, code) in [
        ("FAILED", ErrorClass::User, "exit_code"),
        ("TIMEOUT", ErrorClass::Policy, "time_limit"),
        ("OUT_OF_MEMORY", ErrorClass::Resources, "out_of_memory"),
        ("NODE_FAIL", ErrorClass::Infrastructure, "node_lost"),
        ("PREEMPTED", ErrorClass::Infrastructure, "preempted"),
        ("CANCELLED by 0", ErrorClass::Policy, "cancelled_elsewhere"),
    ] {
        assert_eq!(end(&[job("8", raw)], false), because(class, code), "{raw}");
    }
}

#[test]
fn what_slurm_has_put_back_says_so_and_begins_anew() {
    let again = |raw: &str| {
        let mut job = job("8", raw);
        job.record.restarts = Some(1);
        job.record.nodes = vec!["n1".to_owned()];
        of(&[job], false)
    };
    let Observation::Waiting(waiting) = again("PENDING") else { panic!("it waits") };
    let said = "Slurm has put job 8 back once, and it waits there: Resources";
    assert_eq!(waiting.progress.unwrap().current_stage.as_deref(), Some(said));
    let Observation::Running(running) = again("RUNNING") else { panic!("it runs") };
    assert_eq!(running.again, Some(NOW));
    assert_eq!(running.progress.unwrap().current_stage.as_deref(), Some("Slurm job 8 on n1, run 2"));
    let Observation::Running(running) = of(&[job("8", "RUNNING")], false) else { panic!("it runs") };
    assert_eq!(running.again, None, "it is its first run");
}

#[test]
fn a_job_without_our_mark_is_not_ours() {
    let mut other = job("8", "COMPLETED");
    for comment in [Some("somebody's".to_owned()), None] {
        other.record.comment = comment;
        other.record.submitted = Some(NOW.plus_seconds(3_600));
        assert!(matches!(of(&[other.clone()], false), Observation::Waiting(_)));
        other.record.submitted = Some(NOW.plus_seconds(2));
        assert_eq!(end(&[other.clone()], false), Ok(()), "its script has changed its comment");
    }
    // The number was used before, and is used again.
    let mut later = job("8", "FAILED");
    later.run = 2;
    assert_eq!(end(&[job("8", "COMPLETED"), later], false), because(ErrorClass::User, "exit_code"));
    assert!(matches!(of(&[], false), Observation::Waiting(_)));
}

#[test]
fn an_array_has_ended_when_all_of_it_has() {
    let tasks = |states: &[&str]| -> Vec<HpcJob> {
        states.iter().zip(0..).map(|(state, n)| task(&(8 + n).to_string(), state, Some(n))).collect()
    };
    assert_eq!(end(&tasks(&["COMPLETED", "COMPLETED"]), false), Ok(()));
    assert_eq!(
        end(&tasks(&["COMPLETED", "FAILED", "FAILED"]), false),
        because(ErrorClass::User, "tasks_failed")
    );
    assert_eq!(end(&tasks(&["COMPLETED", "CANCELLED"]), true), Err(None));
    let Observation::Running(running) = of(&tasks(&["COMPLETED", "RUNNING", "PENDING"]), false) else {
        panic!("it runs")
    };
    let progress = running.progress.unwrap();
    assert_eq!((progress.percentage, progress.tasks_completed, progress.tasks_total), (33, 1, 3));
    assert_eq!(progress.current_stage.as_deref(), Some("Slurm job 8: 1 of 3 run, 1 have ended"));
    assert!(matches!(of(&tasks(&["COMPLETED", "PENDING"]), false), Observation::Running(_)), "it has begun");
    // Of some of its tasks nobody has heard yet.
    let three = asked(Some(3), false);
    let two = tasks(&["COMPLETED", "COMPLETED"]);
    assert!(matches!(three.look(&two, NOW.plus_seconds(10)), Observation::Running(_)));
    let Observation::Ended(exit) = three.look(&two, NOW.plus_seconds(3_600)) else { panic!("it has ended") };
    let Outcome::Failed { failure } = exit.outcome else { panic!("it is not called a success") };
    assert!(failure.code == "tasks_unknown" && failure.outcome_unknown, "{failure:?}");
    let cancelled = asked(Some(3), true).look(&two, NOW.plus_seconds(10));
    let Observation::Ended(exit) = cancelled else { panic!("it has ended") };
    assert_eq!(exit.outcome, Outcome::Stopped, "the third has never begun: that is no success");
    // Those that wait have one record for all of them.
    let mut waiting = tasks(&["PENDING"]);
    waiting[0].record.array_waiting = Some("1-9%2".to_owned());
    waiting.extend(tasks(&["RUNNING"]).into_iter().map(|mut job| {
        job.record.external_id = "9".to_owned();
        job
    }));
    let Observation::Running(running) = asked(Some(10), false).look(&waiting, NOW) else { panic!("it runs") };
    assert_eq!(running.progress.unwrap().tasks_total, 10);
    let Observation::Waiting(waiting) = of(&tasks(&["PENDING"]), false) else { panic!("it waits") };
    assert_eq!(
        waiting.progress.unwrap().current_stage.as_deref(),
        Some("waits in Slurm as job 8: Resources")
    );
}
