//! What is noticed of a job that runs: it was restarted, it can't keep up (contract F5). Both are told, and nothing is done
//! about them here: Flink restarts its jobs itself.

use super::effect::Event;
use super::observed::{Job, Pressure};
use super::pass::Pass;
use super::trouble::shortened;
use crate::time::{MICROS_PER_SECOND, Timestamp};

use serde::{Deserialize, Serialize};

/// Restarts are told no more often than this, in microseconds: a job that begins again and again is told of in one event
/// for all of them.
pub const RESTARTS_EVERY: i64 = 60 * MICROS_PER_SECOND;
/// How long a job must be held back before that is told, in microseconds: a short peak is no trouble.
pub const PRESSED_FOR: i64 = 60 * MICROS_PER_SECOND;

/// What was noticed of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noticed {
    /// Restarts that were told.
    pub restarts: u64,
    /// When.
    pub restarts_at: Option<Timestamp>,
    /// Since when some part of it is held back.
    pub pressed: Option<Pressed>,
}

/// A job that is held back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pressed {
    /// Since when.
    pub since: Timestamp,
    /// Whether it was told.
    pub told: bool,
}

impl Pass<'_> {
    /// Tells of what is new with the job that runs.
    pub(super) fn watch(&mut self, job: &Job) {
        self.watch_restarts(job);
        self.watch_pressure(job.pressure.as_ref());
    }

    fn watch_restarts(&mut self, job: &Job) {
        let now = self.now();
        let Some(run) = self.row.run.as_mut() else { return };
        let before = run.noticed.restarts.max(run.before.restarts);
        let times = job.restarts.saturating_sub(before);
        if times == 0 {
            return;
        }
        let again = run.noticed.restarts_at.map(|at| at.plus_micros(RESTARTS_EVERY));
        if let Some(at) = again.filter(|at| now < *at) {
            return self.wait_until(at);
        }
        run.noticed.restarts = job.restarts;
        run.noticed.restarts_at = Some(now);
        let why = job.failure.as_deref().map_or_else(|| "Flink gives no reason".to_owned(), shortened);
        self.say(Event::Restarted { times, why });
    }

    fn watch_pressure(&mut self, pressure: Option<&Pressure>) {
        let now = self.now();
        let watched = self.desired.watches_pressure;
        let Some(run) = self.row.run.as_mut() else { return };
        let pressed = run.noticed.pressed.clone().filter(|_| watched);
        let (after, event, look) = match (pressed, pressure) {
            (pressed, None) => (pressed, None, None),
            (None, Some(Pressure::High { .. })) if watched => {
                (Some(Pressed { since: now, told: false }), None, Some(now.plus_micros(PRESSED_FOR)))
            }
            (Some(pressed), Some(Pressure::High { part })) if !pressed.told => {
                let over = pressed.since.plus_micros(PRESSED_FOR);
                if now < over {
                    (Some(pressed), None, Some(over))
                } else {
                    let event = Event::HeldBack { part: part.clone() };
                    (Some(Pressed { told: true, ..pressed }), Some(event), None)
                }
            }
            // Between high and none nothing changes, so that it is not told again and again.
            (Some(pressed), Some(Pressure::High { .. } | Pressure::Low)) if pressed.told => {
                (Some(pressed), None, None)
            }
            (Some(pressed), Some(Pressure::None)) if pressed.told => (None, Some(Event::KeepsUp), None),
            (Some(_) | None, Some(Pressure::High { .. } | Pressure::Low | Pressure::None)) => {
                (None, None, None)
            }
        };
        run.noticed.pressed = after;
        if let Some(event) = event {
            self.say(event);
        }
        if let Some(at) = look {
            self.wait_until(at);
        }
    }
}
