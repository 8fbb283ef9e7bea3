//! A run is to end: with a savepoint where it can, by cancelling where it must; and what came of it.

use super::desired::{Kind, Mode, Upgrade};
use super::effect::{Ask, Effect, Event};
use super::observed::{Job, JobState, Kept, Trigger};
use super::pass::{Goal, Pass};
use super::rescale::Change;
use super::row::{Act, End, Fate, Operation, Phase, Saving};
use super::trouble::{Trouble, shortened};

/// Why there is no savepoint where none has a directory.
const NO_PLACE: &str = "nobody has said where savepoints go; set deployment.savepoint_path, or savepoint-directory of the \
                        cluster";

impl Pass<'_> {
    /// The present job lives and has to go. Begins what ends it.
    pub(super) fn leave(&mut self) {
        self.row.phase = Phase::Stopping;
        // Not listed at the moment: its end is found out first.
        let Some(job) = self.own_job() else { return };
        if self.run_was_given_up() {
            return self.begin(Act::Cancel { discard: self.is_distrusted() });
        }
        if self.run_is_over() && is_well(job) {
            let stop = self.saving().map_or(Act::Cancel { discard: false }, Act::Stop);
            return self.begin(stop);
        }
        if !self.wants_savepoint() {
            return self.begin(Act::Cancel { discard: false });
        }
        if is_well(job) {
            self.row.ailing_since = None;
            let Some(saving) = self.saving() else {
                self.say(Event::SavepointFailed(NO_PLACE.to_owned()));
                return self.leave_without_savepoint(NO_PLACE.to_owned());
            };
            return self.begin(Act::Stop(saving));
        }
        // A job that starts or recovers may be well in a moment; one that fails for ever has its last checkpoint.
        let now = self.now();
        let until = self.row.ailing_since.get_or_insert(now).plus_micros(self.desired.timing.ailing_grace);
        if now < until {
            self.poll();
        } else {
            self.begin(Act::Cancel { discard: false });
        }
    }

    fn wants_savepoint(&self) -> bool {
        let Some(run) = &self.row.run else { return false };
        if self.run_kind() == Kind::Batch {
            return false;
        }
        let upgrade = |generation| self.desired.version(generation).map(|version| version.upgrade);
        let by = match self.goal() {
            Goal::Run(next) => upgrade(next),
            Goal::Idle => upgrade(self.desired.target()),
            Goal::Suspend => match upgrade(run.generation) {
                // What is suspended keeps its state: only a new generation leaves it behind.
                Some(Upgrade::Stateless) => Some(Upgrade::Savepoint),
                other => other,
            },
            Goal::Delete => match self.desired.mode {
                Mode::Deleted { savepoint: false } => return false,
                Mode::Deleted { savepoint: true } | Mode::Running | Mode::Suspended => {
                    Some(Upgrade::Savepoint)
                }
            },
            Goal::Rest => None,
        };
        match by {
            Some(Upgrade::Stateless) => false,
            // Without any checkpoint, the savepoint is all that there can be.
            Some(Upgrade::LastCheckpoint) => run.kept.is_none(),
            Some(Upgrade::Savepoint) | None => true,
        }
    }

    /// A savepoint that nobody has asked for yet; None where none has a place.
    fn saving(&mut self) -> Option<Saving> {
        let under = self.desired.savepoint_directory.as_ref()?.trim_end_matches('/');
        let trigger = self.fresh();
        Some(Saving { trigger, directory: format!("{under}/{trigger}") })
    }

    /// Begins a savepoint on demand.
    pub(super) fn save(&mut self) {
        if let Some(saving) = self.saving() {
            return self.begin(Act::Savepoint(saving));
        }
        self.say(Event::SavepointFailed(NO_PLACE.to_owned()));
        self.row.savepoint_nonce = self.desired.savepoint_nonce;
    }

    /// Records an operation, and sends it.
    pub(super) fn begin(&mut self, act: Act) {
        let Some(job) = self.row.run.as_ref().map(|run| run.id) else { return };
        let now = self.now();
        self.row.operation = Some(Operation { act, job, since: now, sends: 0, sent_at: now });
        self.send_operation();
    }

    fn send_operation(&mut self) {
        let now = self.now();
        let Some(operation) = self.row.operation.as_mut() else { return };
        operation.sends += 1;
        operation.sent_at = now;
        let Operation { act, job, since: _, sends: send, sent_at: _ } = operation.clone();
        let parts = self.row.run.as_ref().map(|run| run.scaled.clone()).unwrap_or_default();
        self.effects.push(Effect::Ask(match act {
            Act::Stop(saving) => Ask::Stop { job, send, saving },
            Act::Savepoint(saving) => Ask::Savepoint { job, send, saving },
            Act::Rescale { generation: _, from, to } => Ask::Rescale { job, parts, from, to },
            Act::Cancel { discard: _ } => Ask::Cancel { job },
        }));
        self.poll();
    }

    pub(super) fn send_operation_again_in_time(&mut self) {
        let again =
            self.row.operation.as_ref().map(|o| o.sent_at.plus_micros(self.desired.timing.resend_after));
        match again {
            Some(at) if self.now() >= at => self.send_operation(),
            Some(_) | None => self.poll(),
        }
    }

    /// What came of the operation.
    pub(super) fn follow_operation(&mut self) {
        let Some(operation) = self.row.operation.clone() else { return };
        if !self.run_is(&Fate::Live) {
            self.row.operation = None;
            return;
        }
        // Not listed: its end is found out by waiting, and by its files.
        let Some(job) = self.own_job() else { return };
        match &operation.act {
            Act::Stop(saving) => self.follow_stop(job, &operation, saving),
            Act::Savepoint(_) => self.follow_savepoint(job, &operation),
            Act::Rescale { generation, from, to } => {
                let change = Change { generation: *generation, from: *from, to: *to };
                self.follow_rescale(job, &operation, change);
            }
            Act::Cancel { discard: _ } if job.state.is_terminal() => self.end(End::Stopped),
            Act::Cancel { discard: _ } => self.send_operation_again_in_time(),
        }
    }

    fn follow_stop(&mut self, job: &Job, operation: &Operation, saving: &Saving) {
        let grace = operation.since.plus_micros(self.desired.timing.end_grace);
        // A batch job that can't be stopped, or takes too long for it, is cancelled: there is no state to wait for.
        let gives_up = match &self.cluster.trigger {
            Trigger::Failed(_) => true,
            Trigger::NotAsked | Trigger::Unknown | Trigger::InProgress | Trigger::Completed(_) => {
                self.now() >= grace
            }
        };
        if gives_up && !job.state.is_terminal() && self.run_kind() == Kind::Batch {
            return self.begin(Act::Cancel { discard: false });
        }
        match (job.state, &self.cluster.trigger) {
            (JobState::Finished, answer) => match self.savepoint_of(job, answer, saving) {
                Some(path) => self.stopped_with(path),
                None => self.finished_without(operation, saving),
            },
            (JobState::Failed | JobState::Canceled, _) => self.end(End::Failed),
            (_, Trigger::Failed(why)) => self.savepoint_failed(why),
            // It writes, or is about to end; Flink has a time limit of its own for that.
            (_, Trigger::InProgress | Trigger::Completed(_) | Trigger::NotAsked) => self.poll(),
            (_, Trigger::Unknown) => self.send_operation_again_in_time(),
        }
    }

    fn savepoint_of(&self, job: &Job, answer: &Trigger, saving: &Saving) -> Option<String> {
        let told = match answer {
            Trigger::Completed(path) => Some(path.clone()),
            Trigger::NotAsked | Trigger::Unknown | Trigger::InProgress | Trigger::Failed(_) => None,
        };
        // Each savepoint has a directory of its own, so its path tells whose it is.
        let trigger = saving.trigger.to_string();
        let listed =
            || job.savepoint.as_ref().map(|kept| kept.path.clone()).filter(|path| path.contains(&trigger));
        let on_disk = || self.cluster.disk.as_ref().and_then(|disk| disk.savepoint.clone());
        told.or_else(listed).or_else(on_disk)
    }

    /// FINISHED, and no savepoint of ours to be seen.
    fn finished_without(&mut self, operation: &Operation, saving: &Saving) {
        let told_nothing = match &self.cluster.trigger {
            Trigger::Failed(_) => return self.end(End::Finished),
            Trigger::NotAsked | Trigger::InProgress | Trigger::Completed(_) => true,
            Trigger::Unknown => false,
        };
        let until = operation.sent_at.plus_micros(self.desired.timing.resend_after);
        if told_nothing || self.now() < until {
            return self.poll();
        }
        let checked = self.cluster.disk.is_some() || self.run_kind() == Kind::Batch;
        self.end(End::Finished);
        if !checked {
            let lost = Trouble::SavepointLost(saving.directory.clone());
            self.say(Event::GivenUp(lost.clone()));
            self.give_up(lost, None, false);
        }
    }

    fn savepoint_failed(&mut self, why: &str) {
        let why = shortened(why);
        self.say(Event::SavepointFailed(why.clone()));
        self.row.operation = None;
        self.row.savepoint_tries += 1;
        if self.row.savepoint_tries < self.desired.timing.max_savepoint_tries {
            // The next one has a new trigger id: Flink remembers the failure of this one.
            return self.poll();
        }
        self.leave_without_savepoint(why);
    }

    /// No savepoint can be made, and another try would change nothing.
    fn leave_without_savepoint(&mut self, why: String) {
        // One that never was stable has its last checkpoint, and would keep its successor waiting for ever.
        if !self.row.run.as_ref().is_some_and(|run| run.proven) {
            return self.begin(Act::Cancel { discard: false });
        }
        let trouble = Trouble::SavepointFails(why);
        self.say(Event::GivenUp(trouble.clone()));
        let runs = self.row.run.as_ref().map(|run| run.generation);
        self.give_up(trouble, runs, false);
    }

    fn follow_savepoint(&mut self, job: &Job, operation: &Operation) {
        // The job has to prove itself meanwhile, as long as it is the one that is wanted.
        let unproven = self.row.run.as_ref().filter(|run| !run.proven).map(|run| run.generation);
        if unproven.is_some_and(|generation| self.goal() == Goal::Run(generation)) {
            self.prove(job);
            // It is to be left at once: nothing more is sent for this savepoint.
            if self.row.operation.as_ref() != Some(operation) {
                return;
            }
        }
        let nonce = self.desired.savepoint_nonce;
        match &self.cluster.trigger {
            Trigger::Completed(path) => {
                // The list of jobs may be older than this answer.
                let name = |path: &str| path.trim_end_matches('/').rsplit('/').next().map(str::to_owned);
                let disk = self.cluster.disk.as_ref();
                let disk = disk.filter(|disk| disk.savepoint.as_deref().and_then(name) == name(path));
                let number = disk.and_then(|disk| disk.savepoint_number).unwrap_or(0);
                self.savepoint_made(Kept { path: path.clone(), number });
                self.row.operation = None;
                self.row.savepoint_nonce = nonce;
                self.row.savepoint_tries = 0;
            }
            Trigger::Failed(why) => {
                self.say(Event::SavepointFailed(shortened(why)));
                self.row.operation = None;
                self.row.savepoint_tries += 1;
                if self.row.savepoint_tries >= self.desired.timing.max_savepoint_tries {
                    self.row.savepoint_nonce = nonce;
                    self.row.savepoint_tries = 0;
                }
            }
            Trigger::InProgress | Trigger::NotAsked | Trigger::Unknown
                if self.now() >= operation.since.plus_micros(self.desired.timing.savepoint_within) =>
            {
                self.say(Event::SavepointFailed("it takes too long; it is no longer waited for".to_owned()));
                self.row.operation = None;
                self.row.savepoint_nonce = nonce;
            }
            Trigger::Unknown if is_well(job) => self.send_operation_again_in_time(),
            Trigger::InProgress | Trigger::NotAsked | Trigger::Unknown => self.poll(),
        }
    }
}

/// True when the job can make a savepoint now.
pub(super) fn is_well(job: &Job) -> bool {
    job.state == JobState::Running && job.all_tasks_run
}
