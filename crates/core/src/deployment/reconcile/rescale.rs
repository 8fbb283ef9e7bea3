//! A new generation may differ in the number of subtasks alone. Where the cluster's scheduler can change that while the
//! job runs, the job becomes the new generation's without a stop.
//!
//! Flink goes back to its last checkpoint by itself. The job has to show that it is well as any new generation has; if it
//! does not, the last stable one comes back, with the state of this one: the program is the same.

use super::desired::{Desired, Version};
use super::effect::{Effect, Event};
use super::leave::is_well;
use super::observed::{Job, Trigger};
use super::pass::{Goal, Pass};
use super::row::{Act, Counted, Fate, Operation, Row};

/// A job with fewer subtasks is never rescaled in place: Flink does not tell which of its operators have their one subtask
/// because the program says so, and a source that must be alone would be doubled.
pub const LEAST_RESCALED: u32 = 2;

/// True when whether the cluster can rescale may matter to the next step: a generation is known that differs from the
/// job that runs in nothing else.
pub fn may_rescale(desired: &Desired, row: &Row) -> bool {
    let runs = row.run.as_ref().filter(|run| run.fate == Fate::Live);
    let Some(runs) = runs.and_then(|run| desired.version(run.generation)) else { return false };
    let other = |version: &Version| version.shape == runs.shape && version.parallelism != runs.parallelism;
    runs.shape.is_some() && runs.parallelism >= LEAST_RESCALED && desired.versions.iter().any(other)
}

impl Pass<'_> {
    /// Generation `runs` is there and `wanted` is wanted: rescales its job if that is all, else leaves it.
    pub(super) fn change(&mut self, runs: u64, wanted: u64) {
        let well = self.own_job().is_some_and(is_well) && !self.run_was_given_up();
        match self.in_place(runs, wanted) {
            Some((from, to)) if well => self.begin(Act::Rescale { generation: wanted, from, to }),
            Some(_) | None => self.leave(),
        }
    }

    /// From how many subtasks to how many, where that is all.
    fn in_place(&self, runs: u64, wanted: u64) -> Option<(u32, u32)> {
        let (old, new) = (self.desired.version(runs)?, self.desired.version(wanted)?);
        let is_all = old.shape.is_some() && old.shape == new.shape && old.parallelism >= LEAST_RESCALED;
        let can = self.cluster.rescale && self.row.not_in_place != Some(wanted);
        (is_all && can).then_some((old.parallelism, new.parallelism))
    }

    /// What came of it: the cluster's answer tells of the numbers of subtasks that the job is asked to have and has.
    pub(super) fn follow_rescale(
        &mut self,
        job: &Job,
        operation: &Operation,
        (generation, from, to): (u64, u32, u32),
    ) {
        // What is to end needs no other number; what is to be another generation first becomes this one, so that it is
        // known how many it has.
        let ends = match self.goal() {
            Goal::Suspend | Goal::Delete | Goal::Idle => true,
            Goal::Run(_) | Goal::Rest => false,
        };
        if ends {
            self.row.operation = None;
            return;
        }
        let late = self.now() >= operation.since.plus_micros(self.desired.timing.rescale_within);
        match &self.cluster.trigger {
            Trigger::Completed(_) if is_well(job) => self.rescaled(job, (generation, from, to)),
            Trigger::Completed(_) | Trigger::InProgress if late => {
                self.say(Event::RescaleWaits(to));
                self.rescaled(job, (generation, from, to));
            }
            Trigger::NotAsked | Trigger::Unknown | Trigger::Failed(_) if late => {
                self.say(Event::RescaleFailed);
                self.row.not_in_place = Some(generation);
                self.row.operation = None;
            }
            Trigger::Completed(_) | Trigger::InProgress | Trigger::NotAsked => {
                self.effects.push(Effect::Poll { job: operation.job, trigger: operation.trigger });
                self.poll();
            }
            Trigger::Unknown | Trigger::Failed(_) => self.send_operation_again_in_time(),
        }
    }

    fn rescaled(&mut self, job: &Job, (generation, from, to): (u64, u32, u32)) {
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
