//! A new generation may differ in the number of subtasks alone. Where the cluster's scheduler can change that while the
//! job runs, the job becomes the new generation's without a stop.
//!
//! Flink goes back to its last checkpoint by itself. The job has to show that it is well as any new generation has; if it
//! does not, the last stable one comes back, with the state of this one: the program is the same.
//!
//! Flink does not tell which parts of a job have their number from the program. Those that have the number of the job
//! when it is changed for the first time are taken for those that follow it, and are remembered ([`Run::scaled`]), so that
//! a later change leaves alone what the program has given the number of that time. An operator to which the program
//! itself gives the number with which the job was started can't be told from one that has it from the job.
//!
//! [`Run::scaled`]: super::Run::scaled

use std::collections::BTreeSet;

use super::desired::{Desired, Version};
use super::effect::Event;
use super::leave::is_well;
use super::observed::Job;
use super::pass::{Goal, Pass};
use super::row::{Act, Counted, Fate, Operation, Row};

/// A job with fewer subtasks is never rescaled in place: Flink does not tell which of its operators have their one subtask
/// because the program says so, and a source that must be alone would be doubled.
pub const LEAST_RESCALED: u32 = 2;

/// True when it may matter to the next step how many subtasks the parts of the job have, and whether that can be changed: it
/// is being changed, or a generation may be wanted that differs from the job that runs in nothing else.
pub fn may_rescale(desired: &Desired, row: &Row) -> bool {
    let Some(run) = row.run.as_ref().filter(|run| run.fate == Fate::Live) else { return false };
    if row.operation.as_ref().is_some_and(|operation| matches!(operation.act, Act::Rescale { .. })) {
        return true;
    }
    let instead = row.refused.as_ref().and_then(|refused| refused.instead);
    let wanted = [Some(desired.target()), instead].into_iter().flatten();
    let Some(runs) = desired.version(run.generation) else { return false };
    wanted.filter_map(|wanted| desired.version(wanted)).any(|wanted| change(runs, wanted).is_some())
}

/// What makes the job of one generation that of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub generation: u64,
    pub from: u32,
    pub to: u32,
}

/// None where more than the number of subtasks is different, or it can't be changed.
fn change(runs: &Version, wanted: &Version) -> Option<Change> {
    let is_all = runs.shape.is_some()
        && runs.shape == wanted.shape
        && runs.parallelism != wanted.parallelism
        && runs.parallelism >= LEAST_RESCALED;
    is_all.then_some(Change { generation: wanted.generation, from: runs.parallelism, to: wanted.parallelism })
}

/// What Flink has made of a request for another number of subtasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    /// It says nothing, or has not got the request.
    Nothing,
    /// The job is asked to have the new number, and has not everywhere.
    Taken,
    /// The job has it.
    Done,
}

impl Pass<'_> {
    /// Generation `runs` is there and `wanted` is wanted: rescales its job if that is all, else leaves it.
    pub(super) fn change(&mut self, runs: u64, wanted: u64) {
        let well = self.own_job().is_some_and(is_well) && !self.run_was_given_up();
        let change = self.in_place(runs, wanted).filter(|_| well);
        let Some((Change { generation, from, to }, parts)) = change else { return self.leave() };
        if let Some(run) = self.row.run.as_mut() {
            run.scaled = parts;
        }
        self.begin(Act::Rescale { generation, from, to });
    }

    /// What has to change and in which parts of the job, where that is all and the cluster can do it.
    fn in_place(&self, runs: u64, wanted: u64) -> Option<(Change, BTreeSet<String>)> {
        let change = change(self.desired.version(runs)?, self.desired.version(wanted)?)?;
        let (parts, run) = (self.cluster.parts.as_ref()?, self.row.run.as_ref()?);
        let known = run.scaled.clone();
        let follows = if known.is_empty() {
            let has = parts.iter().filter(|(_, part)| part.asked == change.from);
            has.map(|(id, _)| id.clone()).collect()
        } else {
            known
        };
        // Somebody else has changed it, or the program has given all of its operators another number.
        let can = !follows.is_empty() && self.row.not_in_place != Some(wanted);
        can.then_some((change, follows))
    }

    fn heard_of(&self, to: u32) -> Heard {
        let (Some(parts), Some(run)) = (&self.cluster.parts, &self.row.run) else { return Heard::Nothing };
        let all = |is: fn(&super::Part, u32) -> bool| {
            !run.scaled.is_empty()
                && run.scaled.iter().all(|id| parts.get(id).is_some_and(|part| is(part, to)))
        };
        match (all(|part, to| part.asked == to), all(|part, to| part.has == to)) {
            (false, _) => Heard::Nothing,
            (true, false) => Heard::Taken,
            (true, true) => Heard::Done,
        }
    }

    /// What came of it.
    pub(super) fn follow_rescale(&mut self, job: &Job, operation: &Operation, change: Change) {
        let timing = self.desired.timing;
        let late = self.now() >= operation.since.plus_micros(timing.rescale_within);
        match (self.heard_of(change.to), self.run_is_to_end()) {
            // What is to end need not get there. But what Flink was asked for counts: so many slots it takes until it has
            // ended, and if it can't be ended, it goes on with them.
            (Heard::Taken | Heard::Done, true) => self.rescaled(job, change),
            (Heard::Nothing, true) => {
                let until = operation.sent_at.plus_micros(timing.resend_after);
                if self.now() < until {
                    // The request may still come.
                    self.wait_until(until);
                    self.poll();
                } else {
                    self.row.operation = None;
                }
            }
            (Heard::Done, false) if is_well(job) => self.rescaled(job, change),
            // Something else is wanted by now: nobody waits for slots that it is not to have.
            (Heard::Taken, false) if is_well(job) && self.goal() != Goal::Run(change.generation) => {
                self.rescaled(job, change);
            }
            (Heard::Taken | Heard::Done, false) if late => {
                self.rescaled(job, change);
                self.say(Event::RescaleWaits(change.to));
            }
            (Heard::Taken | Heard::Done, false) => self.poll(),
            (Heard::Nothing, false) if late => {
                self.say(Event::RescaleFailed);
                self.row.not_in_place = Some(change.generation);
                self.row.operation = None;
            }
            (Heard::Nothing, false) => self.send_operation_again_in_time(),
        }
    }

    fn run_is_to_end(&self) -> bool {
        match self.goal() {
            Goal::Suspend | Goal::Delete | Goal::Idle => true,
            // Another generation that is wanted by now comes from this one: it has to be known how many it has.
            Goal::Run(_) | Goal::Rest => false,
        }
    }

    fn rescaled(&mut self, job: &Job, Change { generation, from, to }: Change) {
        let by = self.now().plus_micros(self.desired.stability.within);
        let Some(run) = self.row.run.as_mut() else { return };
        let before = run.generation;
        run.proof = None;
        run.proven = false;
        run.prove_by = Some(by);
        run.before = Counted { restarts: job.restarts, checkpoints: job.checkpoints };
        self.row.operation = None;
        self.renumber(generation, true, &|of| of == before);
        self.say(Event::Rescaled { generation, from, to });
        self.poll();
    }
}
