//! A new generation may differ in the number of subtasks alone. Where the cluster's scheduler can change that while the
//! job runs, the job becomes the new generation's without a stop.
//!
//! It is not proved anew: its program is the one that runs already. Flink goes back to its last checkpoint by itself.

use super::effect::{Effect, Event};
use super::leave::is_well;
use super::observed::{Job, Trigger};
use super::pass::{Goal, Pass};
use super::row::{Act, Operation};

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
        let is_all = old.shape.is_some() && old.shape == new.shape;
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
            Trigger::Completed(_) if is_well(job) => self.rescaled(generation, from, to),
            Trigger::Completed(_) | Trigger::InProgress if late => {
                self.say(Event::RescaleWaits(to));
                self.rescaled(generation, from, to);
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

    fn rescaled(&mut self, generation: u64, from: u32, to: u32) {
        let Some(before) = self.row.run.as_ref().map(|run| run.generation) else { return };
        self.row.operation = None;
        self.take_over(generation, true, &|of| of == before);
        self.say(Event::Rescaled { generation, from, to });
        self.poll();
    }
}
