//! What time asks of a deployment: runs of a batch job, the end of one that has had its time, periodic savepoints.
//!
//! A worker calls [`step`] before it reconciles. What has to survive a crash is in the [`Agenda`]; the caller stores it,
//! in one transaction, with the wishes that the step has changed ([`Desired::nonce`], [`Desired::savepoint_nonce`]), and
//! reconciles only then. A step that was not stored is taken again and comes to the same. [`Desired::end_run`] is
//! [`Agenda::end_run`]: nobody else writes it.
//!
//! Invariant: one due time asks for one run at most, and a due time that is not stored asks for none.

mod batch;
mod event;
mod savepoints;

use serde::{Deserialize, Serialize};

use super::normal::Normal;
use super::reconcile::{Desired, Mode, Row};
use super::spec::JobType;
use crate::time::Timestamp;

pub use event::AgendaEvent;
pub use savepoints::LATE;

/// What is remembered of the times of a deployment. Made by [`Default`] with the deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Agenda {
    /// See [`Desired::end_run`].
    pub end_run: Option<u64>,
    /// The generation that was wanted at the last step.
    pub generation: u64,
    /// Whether it was suspended or deleted at the last step: then no time counts.
    pub paused: bool,
    /// The schedule of a batch job, once it was seen.
    pub schedule: Option<Times>,
    /// Runs that the schedule has asked for, ever.
    pub started: u32,
    /// The run that was asked for last.
    pub run: Option<Asked>,
    /// Since when a run waits for the one before it.
    pub queued: Option<Timestamp>,
    /// True once it was told that no more runs come.
    pub series_over: bool,
    /// Periodic savepoints of a stream job.
    pub savepoints: Option<Times>,
    /// Why the schedule can't be read, once that was told.
    pub unreadable: Option<String>,
}

/// Times by a schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// The schedule as it is written, with its zone. Another one begins anew.
    pub text: String,
    /// From when on times count: when it was first seen, or resumed.
    pub since: Timestamp,
    /// The last time that was dealt with, by doing what it asks for or by leaving it out.
    pub last: Option<Timestamp>,
}

impl Times {
    /// From where the next time is looked for.
    fn from(&self) -> Timestamp {
        self.last.map_or(self.since, |last| last.max(self.since))
    }
}

/// A run that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// The wish ([`Desired::nonce`]).
    pub nonce: u64,
    /// The time that asked for it; None when a person did, or a new generation.
    pub due: Option<Timestamp>,
    /// When its job was first seen.
    pub since: Option<Timestamp>,
    /// Whether its time was over before it ended.
    pub timed_out: bool,
    /// When its end was seen.
    pub over: Option<Timestamp>,
    /// Whether what it has left in the cluster was removed; see [`Agenda::cleaned_up`].
    pub cleaned: bool,
}

impl Agenda {
    /// Notes that what [`AgendaStep::clean_up`] asked for is done.
    pub fn cleaned_up(&mut self) {
        if let Some(run) = self.run.as_mut().filter(|run| run.over.is_some()) {
            run.cleaned = true;
        }
    }
}

/// A step taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgendaStep {
    /// The agenda afterwards. To be stored, with the wishes, where it differs from the one that was read.
    pub agenda: Agenda,
    /// The wish [`Desired::nonce`] afterwards.
    pub nonce: u64,
    /// The wish [`Desired::savepoint_nonce`] afterwards.
    pub savepoint_nonce: u64,
    /// What is worth telling.
    pub events: Vec<AgendaEvent>,
    /// What the last run has left in the cluster is to be removed: its jar, where nobody else needs it. Asked again
    /// until [`Agenda::cleaned_up`] says that it was done.
    pub clean_up: bool,
    /// When time asks for something next, as far as is known.
    pub look_at: Option<Timestamp>,
}

/// What time asks for now. `normal` is the specification of the generation that is wanted ([`Desired::target`]); `row`
/// is as the reconciler has left it.
pub fn step(normal: &Normal, desired: &Desired, agenda: &Agenda, row: &Row, now: Timestamp) -> AgendaStep {
    let mut turn = Turn {
        desired,
        row,
        now,
        step: AgendaStep {
            agenda: agenda.clone(),
            nonce: desired.nonce,
            savepoint_nonce: desired.savepoint_nonce,
            events: Vec::new(),
            clean_up: false,
            look_at: None,
        },
    };
    match (normal.job_type, &normal.batch_config, &normal.stream_config) {
        (JobType::Batch, Some(batch), _) => turn.batch(batch),
        (JobType::Stream, _, Some(stream)) => turn.stream(stream),
        // A form always has the block of its type.
        (JobType::Batch, None, _) | (JobType::Stream, _, None) => {}
    }
    let agenda = &mut turn.step.agenda;
    agenda.generation = desired.target();
    agenda.paused = turn.desired.mode != Mode::Running;
    turn.step
}

/// A step in the making.
struct Turn<'a> {
    desired: &'a Desired,
    row: &'a Row,
    now: Timestamp,
    step: AgendaStep,
}

impl Turn<'_> {
    fn say(&mut self, event: AgendaEvent) {
        self.step.events.push(event);
    }

    fn look_at(&mut self, at: Timestamp) {
        self.step.look_at = Some(self.step.look_at.map_or(at, |other| other.min(at)));
    }

    fn is_paused(&self) -> bool {
        self.desired.mode != Mode::Running
    }

    /// The times of `text`: those that are known, or new ones from now on. A pause begins them anew as well.
    fn times(&self, known: Option<Times>, text: String) -> Times {
        let resumed = self.step.agenda.paused && !self.is_paused();
        match known.filter(|times| times.text == text) {
            Some(times) if resumed => Times { since: self.now, ..times },
            Some(times) => times,
            None => Times { text, since: self.now, last: None },
        }
    }

    /// A schedule that can't be read is told of once: a zone may have gone with an update of the machine.
    fn note_unreadable(&mut self, why: Option<String>) {
        if self.step.agenda.unreadable != why {
            self.step.agenda.unreadable.clone_from(&why);
            if let Some(why) = why {
                self.say(AgendaEvent::Unreadable(why));
            }
        }
    }
}

#[cfg(test)]
mod tests;
