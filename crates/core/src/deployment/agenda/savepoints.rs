//! Periodic savepoints of a stream job.

use super::{AgendaEvent, Turn};
use crate::deployment::normal::StreamConfig;
use crate::deployment::reconcile::Phase;
use crate::deployment::schedule::Schedule;
use crate::deployment::spec::{Every, Millis};
use crate::time::{MICROS_PER_SECOND, Timestamp};

/// How late a savepoint by the clock may be, in microseconds; later it is left out.
pub const LATE: i64 = 300 * MICROS_PER_SECOND;

impl Turn<'_> {
    pub(super) fn stream(&mut self, config: &StreamConfig) {
        let agenda = &mut self.step.agenda;
        // What a batch job of this name has left.
        (agenda.end_run, agenda.schedule, agenda.run, agenda.queued) = (None, None, None, None);
        let known = agenda.savepoints.take();
        let Some(every) = &config.savepoint_trigger_interval else { return self.note_unreadable(None) };
        let text = match every {
            Every::Interval(Millis(millis)) => millis.to_string(),
            Every::Cron(text) => text.clone(),
        };
        let times = self.times(known, text);
        let from = times.from();
        self.step.agenda.savepoints = Some(times);
        if self.is_paused() {
            return;
        }
        match every {
            Every::Interval(interval) => self.at_a_distance(from, *interval),
            Every::Cron(text) => match Schedule::parse(text, None) {
                Ok(schedule) => {
                    self.note_unreadable(None);
                    self.by_the_clock(from, &schedule);
                }
                Err(bad) => self.note_unreadable(Some(bad.to_string())),
            },
        }
    }

    /// So long after the last one, whoever asked for that: as soon as the job is well.
    fn at_a_distance(&mut self, from: Timestamp, interval: Millis) {
        self.note_unreadable(None);
        let last = self.row.savepoints.last().map(|savepoint| savepoint.at);
        let from = last.map_or(from, |last| last.max(from));
        let micros = i64::try_from(interval.0).unwrap_or(i64::MAX).saturating_mul(1_000);
        let due = from.plus_micros(micros);
        if self.now < due {
            self.look_at(due);
        } else if self.can_save() {
            self.save(due);
        }
    }

    /// At these times, if the job is well then, or soon after. None is made up for.
    fn by_the_clock(&mut self, from: Timestamp, schedule: &Schedule) {
        let Some(first) = schedule.next(from) else { return };
        if self.now < first {
            return self.look_at(first);
        }
        let due = schedule.latest(first, self.now);
        let late = self.now >= due.plus_micros(LATE);
        if !late && self.can_save() {
            self.save(due);
        } else if late {
            self.leave_out(due);
        } else {
            self.look_at(due.plus_micros(LATE));
        }
        let next = schedule.next(due);
        if let Some(next) = next {
            self.look_at(next);
        }
    }

    /// The job is well, and no savepoint is being made or asked for.
    fn can_save(&self) -> bool {
        self.row.phase == Phase::Stable
            && self.row.operation.is_none()
            && self.row.savepoint_nonce >= self.desired.savepoint_nonce
            && self.row.unreachable_since.is_none()
            && self.row.run.as_ref().is_some_and(|run| run.absent_since.is_none())
    }

    fn save(&mut self, due: Timestamp) {
        self.step.savepoint_nonce += 1;
        self.say(AgendaEvent::SavepointDue(due));
        self.dealt_with(self.now);
    }

    fn leave_out(&mut self, due: Timestamp) {
        self.say(AgendaEvent::SavepointSkipped(due));
        self.dealt_with(due);
    }

    fn dealt_with(&mut self, at: Timestamp) {
        if let Some(times) = self.step.agenda.savepoints.as_mut() {
            times.last = Some(at);
        }
    }
}
