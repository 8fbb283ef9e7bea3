//! One pass over a row: what it is made of, and its order.

use super::desired::{Desired, Kind, Mode, Version};
use super::effect::{Ask, Effect, Event};
use super::flink_id::FlinkId;
use super::observed::{Cluster, Job};
use super::row::{Counted, End, Fate, Phase, Refused, Row, Run, Wish};
use super::trouble::Trouble;
use super::{Moment, Step};
use crate::time::Timestamp;

/// What is pursued now: the wish, or what takes its place after it was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::deployment) enum Goal {
    /// This generation runs.
    Run(u64),
    /// Nothing runs; state is kept.
    Suspend,
    /// Nothing runs.
    Delete,
    /// Nothing runs until another run of the batch job is asked for.
    Idle,
    /// Everything stays as it is.
    Rest,
}

/// What is pursued as long as the row is as it is.
pub(in crate::deployment) fn goal(desired: &Desired, row: &Row) -> Goal {
    let wanted = match desired.mode {
        Mode::Running if nothing_is_due(desired) => Goal::Idle,
        Mode::Running => Goal::Run(desired.target()),
        Mode::Suspended => Goal::Suspend,
        Mode::Deleted { savepoint: _ } => Goal::Delete,
    };
    match &row.refused {
        Some(refused) if refused.mode.map_or(desired.mode == Mode::Running, |_| true) => {
            refused.instead.map_or(Goal::Rest, Goal::Run)
        }
        Some(_) | None => wanted,
    }
}

/// A run of `generation` ended by itself under the present wish, and ending is what was wanted of it.
pub(in crate::deployment) fn is_completed(desired: &Desired, row: &Row, generation: u64) -> bool {
    row.run.as_ref().is_some_and(|run| {
        desired.is_same_job(run.generation, generation)
            && run.nonce == desired.nonce
            && run.fate == Fate::Ended(End::Finished)
    })
}

fn is_over(desired: &Desired, nonce: u64) -> bool {
    desired.end_run.is_some_and(|end| nonce <= end)
}

/// A batch job whose next run was not asked for yet.
fn nothing_is_due(desired: &Desired) -> bool {
    let batch = |version: &Version| version.kind == Kind::Batch;
    is_over(desired, desired.nonce) && desired.version(desired.target()).is_some_and(batch)
}

/// A pass in the making.
pub(super) struct Pass<'a> {
    pub desired: &'a Desired,
    pub cluster: &'a Cluster,
    pub row: Row,
    pub effects: Vec<Effect>,
    moment: Moment,
    drawn: u128,
    before: &'a Row,
    wake: Option<Timestamp>,
}

/// The step of a look that found nobody.
pub(super) fn unreachable(desired: &Desired, row: &Row, why: &str, moment: Moment) -> Step {
    let mut after = row.clone();
    let mut effects = Vec::new();
    if after.unreachable_since.is_none() {
        after.unreachable_since = Some(moment.now);
        after.revision += 1;
        effects.push(Effect::Emit(Event::Unreachable(super::trouble::shortened(why))));
    }
    effects.push(Effect::WaitUntil(moment.now.plus_micros(desired.timing.backoff(1, moment.jitter))));
    Step { row: after, effects }
}

impl<'a> Pass<'a> {
    pub(super) fn new(desired: &'a Desired, cluster: &'a Cluster, row: &'a Row, moment: Moment) -> Self {
        let effects = Vec::new();
        Self { desired, cluster, row: row.clone(), effects, moment, drawn: 0, before: row, wake: None }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.moment.now
    }

    /// An id that nobody has had.
    pub(super) fn fresh(&mut self) -> FlinkId {
        let id = FlinkId(self.moment.fresh.wrapping_add(self.drawn));
        self.drawn += 1;
        id
    }

    pub(super) fn say(&mut self, event: Event) {
        self.effects.push(Effect::Emit(event));
    }

    /// Look again at `at`, or earlier.
    pub(super) fn wait_until(&mut self, at: Timestamp) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    /// Look again soon: something is in flight.
    pub(super) fn poll(&mut self) {
        let timing = self.desired.timing;
        let going_on = self.in_flight_since().map(|since| self.now().0.saturating_sub(since.0));
        let wait = going_on.map_or(timing.poll_every, |going_on| timing.poll_after(going_on));
        self.wait_until(self.now().plus_micros(wait));
    }

    /// Since when the newest of what is in flight is so.
    fn in_flight_since(&self) -> Option<Timestamp> {
        let row = &self.row;
        let run = row.run.as_ref();
        let sent = run.and_then(|run| match &run.fate {
            Fate::Sent(sent) => Some(sent.at),
            Fate::Live | Fate::Ended(_) => None,
        });
        // So long has it had to prove itself.
        let seen = run.and_then(|run| run.prove_by).map(|by| by.plus_micros(-self.desired.stability.within));
        let operation = row.operation.as_ref().map(|operation| operation.since);
        let upload = row.upload.as_ref().map(|upload| upload.sent_at);
        [sent, seen, operation, upload, row.ailing_since].into_iter().flatten().max()
    }

    pub(super) fn job(&self, id: FlinkId) -> Option<&'a Job> {
        self.cluster.jobs.iter().find(|job| job.id == id)
    }

    /// The job of the present run, when the cluster lists it.
    pub(super) fn own_job(&self) -> Option<&'a Job> {
        self.row.run.as_ref().and_then(|run| self.job(run.id))
    }

    pub(super) fn run_is(&self, fate: &Fate) -> bool {
        self.row.run.as_ref().is_some_and(|run| run.fate == *fate)
    }

    /// When the last tasks of a former life of the JobManager are over.
    pub(super) fn quiet_from(&self) -> Option<Timestamp> {
        self.row.reborn_at.map(|at| at.plus_micros(self.desired.timing.zombie_window))
    }

    pub(super) fn goal(&self) -> Goal {
        goal(self.desired, &self.row)
    }

    /// True when the present run is one of a batch job, and it has had its time.
    pub(super) fn run_is_over(&self) -> bool {
        self.run_kind() == Kind::Batch
            && self.row.run.as_ref().is_some_and(|run| is_over(self.desired, run.nonce))
    }

    /// True when the present run is one that was given up in favour of the last stable generation.
    pub(super) fn run_was_given_up(&self) -> bool {
        match (&self.row.refused, &self.row.run) {
            (Some(refused), Some(run)) => {
                refused.mode.is_none() && refused.generation == run.generation && refused.instead.is_some()
            }
            (Some(_) | None, _) => false,
        }
    }

    /// True when what the present run has made of the state is not trusted: it was given up, and what comes back instead
    /// is another program. One that differs in the number of subtasks alone goes on with its state.
    pub(super) fn is_distrusted(&self) -> bool {
        self.run_was_given_up() && !self.is_of_stable_shape()
    }

    fn is_of_stable_shape(&self) -> bool {
        let shape = |generation| self.desired.version(generation).and_then(|version| version.shape.as_ref());
        match (&self.row.run, &self.row.stable) {
            (Some(run), Some(stable)) => {
                shape(run.generation).is_some_and(|own| shape(stable.generation) == Some(own))
            }
            (Some(_) | None, _) => false,
        }
    }

    pub(super) fn play(mut self) -> Step {
        self.take_wish();
        self.adopt();
        self.note_cluster();
        self.follow_disposals();
        let strays = self.end_strays();
        self.follow_run();
        self.adopt();
        // While a former job lives, or nobody knows whether the present one does, nothing else is begun.
        let unknown = self.row.run.as_ref().is_some_and(|run| matches!(run.fate, Fate::Sent(_)));
        if !strays && !unknown {
            if self.row.operation.is_some() {
                self.follow_operation();
            }
            if self.row.operation.is_none() {
                self.pursue();
            }
        }
        self.done()
    }

    /// A new wish is a new beginning: what was given up is tried again.
    fn take_wish(&mut self) {
        let mode = self.desired.mode;
        let (generation, nonce) = (self.desired.target(), self.desired.nonce);
        let wish = Wish { mode, generation, nonce };
        if self.row.wish == Some(wish) {
            return;
        }
        let same = self.row.refused.is_none() && self.is_same_wish(wish);
        self.row.wish = Some(wish);
        let stays = |refused: &Refused| {
            refused.generation == generation
                && refused.nonce == nonce
                && refused.mode.is_none_or(|refused| refused == mode)
        };
        if let Some(refused) = self.row.refused.take_if(|refused| !stays(refused)) {
            self.leave_lost_state(&refused);
        }
        // What is wrong with a job does not pass because something else is said about it.
        if !same {
            self.row.trouble = self.row.refused.as_ref().map(|refused| refused.why.clone());
        }
        self.row.tries = 0;
        self.row.savepoint_tries = 0;
        self.row.not_before = None;
        self.row.upload = None;
    }

    fn note_cluster(&mut self) {
        let now = self.now();
        if let Some(since) = self.row.unreachable_since.take() {
            // The time of an outage is nobody's fault: a run gets it back.
            let outage = now.0.saturating_sub(since.0).max(0);
            if let Some(by) = self.row.run.as_mut().and_then(|run| run.prove_by.as_mut()) {
                *by = by.plus_micros(outage);
            }
            if self.cluster.life.is_none() {
                self.reborn();
            }
            self.say(Event::ReachableAgain);
        }
        if self.cluster.life.is_some() && self.row.life != self.cluster.life {
            if self.row.life.is_some() {
                self.reborn();
                self.say(Event::JobManagerRestarted);
            }
            self.row.life.clone_from(&self.cluster.life);
        }
    }

    /// Another life of the JobManager: what was counted in the former one proves nothing in this, and the time for it
    /// begins anew.
    fn reborn(&mut self) {
        let now = self.now();
        self.row.reborn_at = Some(now);
        let by = now.plus_micros(self.desired.stability.within);
        if let Some(run) = self.row.run.as_mut() {
            run.proof = None;
            run.prove_by = run.prove_by.map(|set| set.max(by));
            run.before = Counted::default();
            // Flink counts from nothing again.
            run.noticed.restarts = 0;
        }
    }

    /// Cancels former jobs that are alive. The present one is kept, and so is what others started.
    fn end_strays(&mut self) -> bool {
        let alive = |id: &FlinkId| self.job(*id).is_some_and(|job| !job.state.is_terminal());
        let found: Vec<FlinkId> = self.row.past.iter().copied().filter(alive).collect();
        for id in &found {
            if !self.row.strays.contains(id) {
                self.say(Event::StrayFound(*id));
            }
            self.effects.push(Effect::Ask(Ask::Cancel { job: *id }));
        }
        let any = !found.is_empty();
        self.row.strays = found;
        if any {
            self.poll();
        }
        any
    }

    /// What the goal asks for, when nothing is in flight.
    fn pursue(&mut self) {
        let live = self.run_is(&Fate::Live);
        let runs = self.row.run.as_ref().filter(|_| live).map(|run| run.generation);
        match (self.goal(), runs) {
            (_, Some(_)) if self.run_is_over() => self.leave(),
            (Goal::Run(wanted), Some(runs)) if self.desired.is_same_job(wanted, runs) => self.tend(),
            (Goal::Run(wanted), Some(runs)) => self.change(runs, wanted),
            (Goal::Suspend | Goal::Delete | Goal::Idle, Some(_)) => self.leave(),
            (Goal::Run(wanted), None) => self.start(wanted),
            (Goal::Suspend, None) => self.rest_as(Phase::Suspended),
            (Goal::Delete, None) => self.rest_as(Phase::Deleted),
            (Goal::Idle, None) => self.rest_as(self.between_runs()),
            (Goal::Rest, _) => self.row.phase = Phase::Failed,
        }
    }

    fn between_runs(&self) -> Phase {
        match self.row.run.as_ref().map(|run| &run.fate) {
            None => Phase::New,
            Some(Fate::Ended(End::Finished | End::Stopped)) => Phase::Completed,
            Some(
                Fate::Ended(End::Failed | End::Outside | End::Vanished | End::NeverRan | End::Refused)
                | Fate::Sent(_)
                | Fate::Live,
            ) => Phase::Failed,
        }
    }

    fn rest_as(&mut self, phase: Phase) {
        self.row.phase = phase;
        self.row.upload = None;
        self.row.trouble = None;
        self.tidy_savepoints();
    }

    /// Gives the wish up. `instead` is the generation that runs in its place; a rollback outlives a change of the mode.
    pub(super) fn give_up(&mut self, why: Trouble, instead: Option<u64>, rollback: bool) {
        self.row.trouble = Some(why.clone());
        self.row.refused = Some(Refused {
            generation: self.desired.target(),
            nonce: self.desired.nonce,
            mode: (!rollback).then_some(self.desired.mode),
            instead,
            why,
        });
        self.row.tries = 0;
        self.row.savepoint_tries = 0;
        self.row.not_before = None;
    }

    /// The run is no good, and trying it once more would change nothing.
    pub(super) fn blame(&mut self, why: Trouble) {
        let bad = self.row.run.as_ref().map(|run: &Run| run.generation);
        self.blame_generation(bad, why);
    }

    /// The same of a generation that may have had no run at all.
    pub(super) fn blame_generation(&mut self, bad: Option<u64>, why: Trouble) {
        // Only the generation that is wished for can be given up for another one; what came back in its place, and
        // the stable one itself, have none to go back to.
        match (bad, self.row.stable.clone()) {
            (Some(bad), Some(stable)) if bad != stable.generation && bad == self.desired.target() => {
                self.say(Event::RolledBack { from: bad, to: stable.generation, why: why.clone() });
                self.give_up(why, Some(stable.generation), true);
                let lives = self.row.run.as_ref().is_some_and(Run::may_live);
                if !lives && !self.is_of_stable_shape() {
                    self.row.state = stable.state;
                }
            }
            (Some(_) | None, Some(_) | None) => {
                self.say(Event::GivenUp(why.clone()));
                self.give_up(why, None, false);
            }
        }
    }

    /// Trouble that may pass: another try after a while, unless there were too many.
    pub(super) fn try_again(&mut self, why: Trouble) {
        self.row.tries += 1;
        let tries = self.row.tries;
        if tries >= self.desired.timing.max_tries {
            return self.blame(Trouble::TooManyTries { tries, last: Box::new(why) });
        }
        self.row.trouble = Some(why.clone());
        let wait = self.desired.timing.backoff(tries, self.moment.jitter);
        self.row.not_before = Some(self.now().plus_micros(wait));
        self.say(Event::TriesAgain { why, tries: tries + 1 });
    }

    fn done(mut self) -> Step {
        if self.row.phase != self.before.phase {
            self.say(Event::Phase(self.row.phase));
        }
        if self.row != *self.before {
            self.row.revision = self.before.revision + 1;
        }
        if let Some(at) = self.wake {
            self.effects.push(Effect::WaitUntil(at));
        }
        Step { row: self.row, effects: self.effects }
    }
}
