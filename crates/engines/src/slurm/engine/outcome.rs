//! What the jobs of one submission come to: a single job, the tasks of an array, the parts of a heterogeneous job.

use libra_core::attempt::{Exit, Outcome, Progress};
use libra_core::failure::{ErrorClass, Failure};
use libra_core::hpc::end::no_record;
use libra_core::hpc::job::HpcJob;
use libra_core::hpc::raw_state::HpcState;
use libra_core::hpc::record::Record;
use libra_core::time::Timestamp;

use crate::engine::{Observation, Running};
use crate::slurm::name_of;

/// Failed tasks that are named in a message, at most.
const MOST_NAMED: usize = 5;

/// What the jobs that carry `token` come to; `number` is that of the whole, and `stop` says that Libra has cancelled it.
pub(super) fn of(jobs: &[HpcJob], number: &str, token: &str, stop: bool, now: Timestamp) -> Observation {
    let ours: Vec<&HpcJob> = jobs.iter().filter(|job| carries(&job.record, token)).collect();
    let Some(first) = ours.iter().find(|job| job.record.external_id == number).or(ours.first()) else {
        return Observation::Waiting(waits("nothing more is known of it yet", number));
    };
    let over: Vec<&HpcJob> = ours.iter().copied().filter(|job| job.state.is_terminal()).collect();
    if over.len() == ours.len() {
        return Observation::Ended(ended(&ours, stop, now));
    }
    let runs = |job: &&&HpcJob| job.hpc_state() == HpcState::Running;
    let running: Vec<&HpcJob> = ours.iter().filter(runs).copied().collect();
    let since = ours.iter().filter_map(|job| job.record.started).min();
    if running.is_empty() && (over.is_empty() || since.is_none()) {
        let why = first
            .record
            .reason
            .as_deref()
            .filter(|reason| *reason != "None")
            .unwrap_or("it is its turn next");
        return Observation::Waiting(waits(why, number));
    }
    let open = ours.len() - over.len();
    let stage = match (running.as_slice(), ours.len()) {
        ([], _) => format!("Slurm job {number}: {} of its tasks have ended, the others wait", over.len()),
        ([job], 1) if job.record.nodes.is_empty() => format!("Slurm job {number}"),
        ([job], 1) => format!("Slurm job {number} on {}", job.record.nodes.join(",")),
        (running, all) => {
            format!("Slurm job {number}: {} of {all} run, {} wait", running.len(), open - running.len())
        }
    };
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    let percentage = u8::try_from(over.len() * 100 / ours.len().max(1)).unwrap_or(100);
    Observation::Running(Running {
        since: since.or(Some(now)),
        progress: Some(Progress {
            percentage,
            current_stage: Some(stage),
            tasks_completed: count(over.len()),
            tasks_total: count(ours.len()),
        }),
        application_id: Some(number.to_owned()),
        ..Running::default()
    })
}

/// Numbers begin anew one day: a job without our mark is somebody else's. Accounting may keep no comments.
fn carries(record: &Record, token: &str) -> bool {
    record.comment.as_ref().is_none_or(|comment| comment.split_whitespace().any(|word| word == token))
}

fn waits(why: &str, number: &str) -> Running {
    Running {
        progress: Some(Progress {
            current_stage: Some(format!("waits in Slurm as job {number}: {why}")),
            ..Progress::default()
        }),
        application_id: Some(number.to_owned()),
        ..Running::default()
    }
}

fn ended(jobs: &[&HpcJob], stop: bool, now: Timestamp) -> Exit {
    let at = jobs.iter().filter_map(|job| job.record.ended).max().unwrap_or(now);
    let bad: Vec<&HpcJob> =
        jobs.iter().copied().filter(|job| job.hpc_state() != HpcState::Completed).collect();
    let exit = match (bad.as_slice(), jobs) {
        ([], _) => jobs.first().and_then(|job| job.record.exit),
        ([one, ..], _) => one.record.exit,
    };
    let outcome = match bad.as_slice() {
        [] => Outcome::Succeeded,
        bad if stop && bad.iter().any(|job| job.hpc_state() == HpcState::Cancelled) => Outcome::Stopped,
        [one] if jobs.len() == 1 => Outcome::Failed { failure: failure(one) },
        bad => Outcome::Failed { failure: of_several(bad, jobs.len()) },
    };
    Exit {
        outcome,
        exit_code: exit.filter(|exit| exit.signal == 0).map(|exit| exit.code),
        signal: exit.map(|exit| exit.signal).filter(|signal| *signal != 0),
        at,
    }
}

/// Why one job did not end well.
fn failure(job: &HpcJob) -> Failure {
    let raw = job.record.raw_state.as_str();
    if job.hpc_state() == HpcState::Cancelled {
        return if raw.starts_with("PREEMPTED") {
            let message = "another job took its place in Slurm";
            Failure::new(ErrorClass::Infrastructure, "preempted", message)
        } else {
            let message = format!("it was cancelled in Slurm, and not by Libra ({raw})");
            Failure::new(ErrorClass::Policy, "cancelled_elsewhere", message)
        };
    }
    job.failure.clone().unwrap_or_else(no_record)
}

/// Why several tasks did not end well: in the class of the first that did not.
fn of_several(bad: &[&HpcJob], all: usize) -> Failure {
    let named: Vec<String> = bad
        .iter()
        .take(MOST_NAMED)
        .map(|job| format!("{}: {}", name_of(&job.record), failure(job).message))
        .collect();
    let more = if bad.len() > MOST_NAMED { ", …" } else { "" };
    let message = format!("{} of its {all} tasks did not end well: {}{more}", bad.len(), named.join("; "));
    let first = bad.first().map_or_else(no_record, |job| failure(job));
    let unknown = bad.iter().any(|job| failure(job).outcome_unknown);
    let failure = Failure::new(first.class, "tasks_failed", message);
    if unknown { failure.with_unknown_outcome() } else { failure }
}
