//! What the jobs of one submission come to: a single job, the tasks of an array, the parts of a heterogeneous job.

use libra_core::allocation::tasks_of;
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
/// Slurm's time of a submission differs from ours by its clock and by the way there, in seconds, at most.
const SAME_SUBMISSION_SECONDS: i64 = 300;
/// Tasks of which nobody has heard so long after the last one ended are not heard of any more, in seconds.
const TASKS_ARE_KNOWN_SECONDS: i64 = 600;

/// A submission whose jobs are looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Submitted<'a> {
    /// The number that Slurm has given it.
    pub(super) number: &'a str,
    /// Its mark, which is in the comments of its jobs.
    pub(super) token: &'a str,
    /// When it was sent.
    pub(super) at: Timestamp,
    /// How many tasks it has, where it is an array.
    pub(super) tasks: Option<u64>,
    /// True once Libra has cancelled it.
    pub(super) stopped: bool,
}

impl Submitted<'_> {
    /// True for a job of this submission. Numbers begin anew one day, comments are changed by scripts, and accounting may
    /// keep none: what has no mark of ours was at least submitted when we did.
    pub(super) fn owns(&self, record: &Record) -> bool {
        let marked = record.comment.as_ref();
        marked.is_some_and(|comment| comment.split_whitespace().any(|word| word == self.token))
            || record.submitted.is_some_and(|at| {
                let apart = at.0.saturating_sub(self.at.0).saturating_abs();
                apart <= SAME_SUBMISSION_SECONDS * libra_core::time::MICROS_PER_SECOND
            })
    }

    /// Its jobs among these, each number as it was last taken on.
    pub(super) fn own<'j>(&self, jobs: &'j [HpcJob]) -> Vec<&'j HpcJob> {
        let mut ours: Vec<&HpcJob> = jobs.iter().filter(|job| self.owns(&job.record)).collect();
        ours.sort_by(|a, b| (&a.record.external_id, b.run).cmp(&(&b.record.external_id, a.run)));
        ours.dedup_by(|later, first| later.record.external_id == first.record.external_id);
        ours
    }

    /// What its jobs come to.
    pub(super) fn look(&self, jobs: &[HpcJob], now: Timestamp) -> Observation {
        let number = self.number;
        let ours = self.own(jobs);
        let Some(first) = ours.iter().find(|job| job.record.external_id == number).or(ours.first()) else {
            return Observation::Waiting(waits("nothing more is known of it yet", number));
        };
        let over: Vec<&HpcJob> = ours.iter().copied().filter(|job| job.state.is_terminal()).collect();
        let count = |jobs: &[&HpcJob]| jobs.iter().map(|job| stands_for(job)).fold(0, u64::saturating_add);
        let known = count(&ours);
        let all = self.tasks.unwrap_or(known).max(known);
        if over.len() == ours.len() {
            let unknown = all - known;
            let last = ours.iter().filter_map(|job| job.record.ended).max().unwrap_or(first.updated_at);
            if unknown == 0 || self.stopped || last.plus_seconds(TASKS_ARE_KNOWN_SECONDS) < now {
                return Observation::Ended(self.ended(&ours, unknown, now));
            }
        }
        let running: Vec<&HpcJob> =
            ours.iter().filter(|job| job.hpc_state() == HpcState::Running).copied().collect();
        let since = ours.iter().filter_map(|job| job.record.started).min();
        if running.is_empty() && (over.is_empty() || since.is_none()) {
            let reason = first.record.reason.as_deref().filter(|reason| *reason != "None");
            let why = reason.unwrap_or("it is its turn next");
            return Observation::Waiting(match first.record.restarts.filter(|restarts| *restarts > 0) {
                Some(restarts) => waits_again(why, number, restarts),
                None => waits(why, number),
            });
        }
        let done = count(&over).min(all);
        let stage = match running.as_slice() {
            [job] if all == 1 => {
                let nodes = job.record.nodes.join(",");
                let on = if nodes.is_empty() { nodes } else { format!(" on {nodes}") };
                let again = job.record.restarts.filter(|restarts| *restarts > 0);
                let run = again.map(|restarts| format!(", run {}", restarts.saturating_add(1)));
                format!("Slurm job {number}{on}{}", run.unwrap_or_default())
            }
            running => format!("Slurm job {number}: {} of {all} run, {done} have ended", running.len()),
        };
        let percentage = done.saturating_mul(100).checked_div(all).and_then(|share| u8::try_from(share).ok());
        let again = match running.as_slice() {
            [job] if all == 1 && job.record.restarts.is_some_and(|restarts| restarts > 0) => {
                job.record.started
            }
            _ => None,
        };
        Observation::Running(Running {
            since: since.or(Some(now)),
            again,
            progress: Some(Progress {
                percentage: percentage.unwrap_or(0),
                current_stage: Some(stage),
                tasks_completed: done,
                tasks_total: all,
            }),
            application_id: Some(number.to_owned()),
            ..Running::default()
        })
    }

    /// The end of all of it; `unknown` tasks are among them whose end nobody knows.
    fn ended(&self, jobs: &[&HpcJob], unknown: u64, now: Timestamp) -> Exit {
        let at = jobs.iter().filter_map(|job| job.record.ended).max().unwrap_or(now);
        let bad: Vec<&HpcJob> =
            jobs.iter().copied().filter(|job| job.hpc_state() != HpcState::Completed).collect();
        let exit = bad.first().or(jobs.first()).and_then(|job| job.record.exit);
        let outcome = match bad.as_slice() {
            [] if unknown == 0 => Outcome::Succeeded,
            // What was cancelled before it began may have left no trace.
            [] if self.stopped => Outcome::Stopped,
            [] => Outcome::Failed { failure: tasks_unknown(unknown) },
            bad if self.stopped && bad.iter().any(|job| job.hpc_state() == HpcState::Cancelled) => {
                Outcome::Stopped
            }
            [one] if self.tasks.is_none() && jobs.len() == 1 => Outcome::Failed { failure: failure(one) },
            bad => Outcome::Failed { failure: of_several(bad, self.tasks, jobs.len()) },
        };
        Exit {
            outcome,
            exit_code: exit.filter(|exit| exit.signal == 0).map(|exit| exit.code),
            signal: exit.map(|exit| exit.signal).filter(|signal| *signal != 0),
            began: jobs.iter().filter_map(|job| job.record.started).min(),
            at,
        }
    }
}

/// How many tasks a job stands for: the record of an array's number is that of all that wait.
fn stands_for(job: &HpcJob) -> u64 {
    job.record.array_waiting.as_deref().map_or(1, |waiting| tasks_of(waiting).unwrap_or(1))
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

/// Slurm itself has put it back, and will run it anew.
fn waits_again(why: &str, number: &str, restarts: u32) -> Running {
    let times = if restarts == 1 { "once".to_owned() } else { format!("{restarts} times") };
    Running {
        progress: Some(Progress {
            current_stage: Some(format!(
                "Slurm has put job {number} back {times}, and it waits there: {why}"
            )),
            ..Progress::default()
        }),
        application_id: Some(number.to_owned()),
        ..Running::default()
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

fn tasks_unknown(tasks: u64) -> Failure {
    let message = format!(
        "of {tasks} of its tasks nobody knows how they ended: Libra could not see them; with accounting (slurmdbd) this is known"
    );
    Failure::new(ErrorClass::Infrastructure, "tasks_unknown", message).with_unknown_outcome()
}

/// Why several tasks did not end well: in the class of the first that did not.
fn of_several(bad: &[&HpcJob], tasks: Option<u64>, jobs: usize) -> Failure {
    let named: Vec<String> = bad
        .iter()
        .take(MOST_NAMED)
        .map(|job| format!("{}: {}", name_of(&job.record), failure(job).message))
        .collect();
    let more = if bad.len() > MOST_NAMED { ", …" } else { "" };
    let all = tasks.unwrap_or(u64::try_from(jobs).unwrap_or(u64::MAX));
    let message = format!("{} of its {all} tasks did not end well: {}{more}", bad.len(), named.join("; "));
    let first = bad.first().map_or_else(no_record, |job| failure(job));
    let unknown = bad.iter().any(|job| failure(job).outcome_unknown);
    let failure = Failure::new(first.class, "tasks_failed", message);
    if unknown { failure.with_unknown_outcome() } else { failure }
}
