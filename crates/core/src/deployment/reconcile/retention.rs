//! Savepoints that we made: kept by count and age, removed when nothing needs them. The job need not run for that.

use super::effect::{Effect, Event};
use super::observed::Trigger;
use super::pass::Pass;
use super::row::Savepoint;

/// Savepoints that are being removed at one time, so that a long list does not flood the cluster.
const MOST_REMOVALS: usize = 2;
/// The time before a removal without an answer is sent again, in microseconds.
const REMOVE_AGAIN: i64 = 60 * crate::time::MICROS_PER_SECOND;

impl Pass<'_> {
    /// Adds a savepoint to the list.
    pub(super) fn keep_savepoint(&mut self, path: String, generation: u64) {
        let at = self.now();
        if !self.row.savepoints.iter().any(|savepoint| savepoint.path == path) {
            self.row.savepoints.push(Savepoint { path, generation, at, removal: None });
        }
    }

    /// True for what the next run, a rollback or the present run may need; and the newest is never removed.
    fn is_needed(&self, path: &str) -> bool {
        let is = |other: Option<&str>| other == Some(path);
        is(self.row.state.as_ref().map(|state| state.path.as_str()))
            || is(self.row.stable.as_ref().and_then(|s| s.state.as_ref()).map(|state| state.path.as_str()))
            || is(self.row.run.as_ref().and_then(|run| run.from.as_ref()).map(|state| state.path.as_str()))
            || is(self.row.run.as_ref().and_then(|run| run.kept.as_ref()).map(|kept| kept.path.as_str()))
            || is(self.row.savepoints.last().map(|savepoint| savepoint.path.as_str()))
    }

    /// Records and sends removals of what is too old or too many.
    pub(super) fn tidy_savepoints(&mut self) {
        let now = self.now();
        let retention = self.desired.retention;
        let too_many = self.row.savepoints.len().saturating_sub(retention.count);
        let going = self.row.savepoints.iter().filter(|savepoint| savepoint.removal.is_some()).count();
        let mut room = MOST_REMOVALS.saturating_sub(going);
        for index in 0..self.row.savepoints.len() {
            let savepoint = &self.row.savepoints[index];
            let old = now.0.saturating_sub(savepoint.at.0) > retention.age;
            let due = match savepoint.removal {
                Some((_, sent_at)) => now >= sent_at.plus_micros(REMOVE_AGAIN),
                None => room > 0 && (index < too_many || old) && !self.is_needed(&savepoint.path),
            };
            if !due {
                continue;
            }
            let path = savepoint.path.clone();
            let trigger = self.fresh();
            if self.row.savepoints[index].removal.is_none() {
                room -= 1;
            }
            self.row.savepoints[index].removal = Some((trigger, now));
            self.effects.push(Effect::Dispose { path, trigger });
        }
    }

    /// Takes what is removed off the list. What can't be removed is tried again later.
    pub(super) fn follow_disposals(&mut self) {
        let gone: Vec<String> = self
            .row
            .savepoints
            .iter()
            .filter(|savepoint| {
                savepoint.removal.is_some_and(|(trigger, _)| {
                    self.cluster.disposals.iter().any(|(id, answer)| {
                        *id == trigger
                            && match answer {
                                Trigger::Completed(_) => true,
                                Trigger::NotAsked
                                | Trigger::Unknown
                                | Trigger::InProgress
                                | Trigger::Failed(_) => false,
                            }
                    })
                })
            })
            .map(|savepoint| savepoint.path.clone())
            .collect();
        for path in gone {
            self.row.savepoints.retain(|savepoint| savepoint.path != path);
            self.say(Event::SavepointRemoved(path));
        }
    }
}
