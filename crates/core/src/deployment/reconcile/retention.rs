//! Savepoints that we made are removed when [`crate::deployment::retention`] lets them go. The job need not run for
//! that.

use std::collections::BTreeSet;

use super::effect::{Ask, Effect, Event};
use super::observed::Trigger;
use super::pass::Pass;
use super::row::{Savepoint, State};
use crate::deployment::retention::{Kept, Needed, disposable};

/// Savepoints that are being removed at one time, so that a long list does not flood the cluster.
const MOST_REMOVALS: usize = 2;
/// The time before a removal without an answer is sent again, in microseconds.
const REMOVE_AGAIN: i64 = 60 * crate::time::MICROS_PER_SECOND;

impl Pass<'_> {
    /// Adds a savepoint to the list.
    pub(super) fn keep_savepoint(&mut self, path: String, generation: u64) {
        // A clock that was put back does not make it older than those before it.
        let after_last = self.row.savepoints.last().map(|last| last.at.plus_micros(1));
        let at = after_last.map_or(self.now(), |least| least.max(self.now()));
        if !self.row.savepoints.iter().any(|savepoint| savepoint.path == path) {
            self.row.savepoints.push(Savepoint { path, generation, at, removal: None });
        }
    }

    /// What the present run began with and what the next one, or a rollback, will begin with.
    fn needed(&self) -> Needed {
        let row = &self.row;
        let given = self.desired.given.as_ref().filter(|given| given.nonce > row.given_nonce);
        let states = [
            row.state.as_ref(),
            row.stable.as_ref().and_then(|stable| stable.state.as_ref()),
            row.run.as_ref().and_then(|run| run.from.as_ref()),
        ];
        let paths: BTreeSet<String> = states
            .into_iter()
            .flatten()
            .map(|State { path, generation: _ }| path)
            .chain(row.run.as_ref().and_then(|run| run.kept.as_ref()).map(|kept| &kept.path))
            .chain(given.map(|given| &given.path))
            .cloned()
            .collect();
        Needed { paths, generations: row.stable.iter().map(|stable| stable.generation).collect() }
    }

    /// The paths that may go. What is being removed counts as gone.
    fn disposable(&self) -> BTreeSet<String> {
        let stays = self.row.savepoints.iter().filter(|savepoint| savepoint.removal.is_none());
        let kept: Vec<Kept> = stays
            .map(|savepoint| Kept {
                path: savepoint.path.clone(),
                at: savepoint.at,
                generation: savepoint.generation,
                restorable: true,
            })
            .collect();
        let gone = disposable(&kept, self.desired.retention, &self.needed(), self.now());
        gone.into_iter().map(|kept| kept.path.clone()).collect()
    }

    /// Records and sends removals of what is too old or too many.
    pub(super) fn tidy_savepoints(&mut self) {
        let now = self.now();
        let gone = self.disposable();
        let going = self.row.savepoints.iter().filter(|savepoint| savepoint.removal.is_some()).count();
        let mut room = MOST_REMOVALS.saturating_sub(going);
        for index in 0..self.row.savepoints.len() {
            let savepoint = &self.row.savepoints[index];
            let due = match savepoint.removal {
                Some((_, sent_at)) => now >= sent_at.plus_micros(REMOVE_AGAIN),
                None => room > 0 && gone.contains(&savepoint.path),
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
            self.effects.push(Effect::Ask(Ask::Dispose { path, trigger }));
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
