//! How generations fare: what a step has found out of one.

use super::Step;
use super::effect::{Effect, Event};
use super::row::{Phase, Row};

/// What was found out of a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fared {
    /// It is well: stable, or a batch job that has ended as it should.
    Well,
    /// It was given up.
    GivenUp,
}

/// What a step has found out, in its order. `before` is the row that it was taken from.
pub fn fared(before: &Row, step: &Step) -> Vec<(u64, Fared)> {
    let after = &step.row;
    let mut all: Vec<(u64, Fared)> = Vec::new();
    for effect in &step.effects {
        let Effect::Emit(event) = effect else { continue };
        match event {
            Event::RolledBack { from, .. } => all.push((*from, Fared::GivenUp)),
            Event::GivenUp(_) => {
                all.extend(after.refused.as_ref().map(|refused| (refused.generation, Fared::GivenUp)));
            }
            Event::Phase(Phase::Completed) => {
                all.extend(after.run.as_ref().map(|run| (run.generation, Fared::Well)));
            }
            Event::Phase(_)
            | Event::Starts { .. }
            | Event::Ended { .. }
            | Event::SavepointMade(_)
            | Event::SavepointFailed(_)
            | Event::SavepointRemoved(_)
            | Event::Rescaled { .. }
            | Event::RescaleWaits(_)
            | Event::RescaleFailed
            | Event::Unreachable(_)
            | Event::ReachableAgain
            | Event::JobManagerRestarted
            | Event::JobVanished(_)
            | Event::StrayFound(_)
            | Event::EndedFromOutside(_)
            | Event::TriesAgain { .. }
            | Event::Restarted { .. }
            | Event::HeldBack { .. }
            | Event::KeepsUp
            | Event::NotStable(_) => {}
        }
    }
    let stable = |row: &Row| row.stable.as_ref().map(|stable| stable.generation);
    if stable(after) != stable(before) {
        all.extend(stable(after).map(|generation| (generation, Fared::Well)));
    }
    all
}
