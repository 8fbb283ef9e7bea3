//! A new generation may differ in what only Libra reads. Then the job that runs is the new generation's job already.

use super::desired::{Kind, Upgrade};
use super::pass::Pass;
use super::row::{Fate, Refused, Run, State, Wish};
use super::trouble::Trouble;

impl Pass<'_> {
    /// What the row holds of a generation whose job is the wanted one's, it holds of the wanted one from now on: the
    /// run, its state, and the last stable generation, which then comes back with the newer words.
    pub(super) fn adopt(&mut self) {
        let target = self.desired.target();
        let is_other = |generation: u64| generation != target && self.desired.is_same_job(generation, target);
        // A run of a batch job began with the spec that it had then.
        let batch = self.desired.version(target).is_some_and(|version| version.kind == Kind::Batch);
        // A request of which nobody knows what became of it was made as the spec of its time says.
        let is_settled = |run: &Run| !matches!(run.fate, Fate::Sent(_));
        let run = self.row.run.as_ref().is_some_and(|run| !batch && is_settled(run));
        self.renumber(target, run, &is_other);
        if let Some(stable) = self.row.stable.as_mut() {
            if is_other(stable.generation) {
                stable.generation = target;
            }
            adopt_state(stable.state.as_mut(), target, &is_other);
        }
    }

    /// The state of other generations is that of `target` from now on; with `run` the run as well.
    pub(super) fn renumber(&mut self, target: u64, run: bool, is_other: &impl Fn(u64) -> bool) {
        let row = &mut self.row;
        if let Some(run) = row.run.as_mut().filter(|_| run) {
            if is_other(run.generation) {
                run.generation = target;
            }
            adopt_state(run.from.as_mut(), target, is_other);
        }
        adopt_state(row.state.as_mut(), target, is_other);
    }

    /// True when another generation is wished for and nothing else, and its job is the one that was wished for before.
    pub(super) fn is_same_wish(&self, wish: Wish) -> bool {
        self.row.wish.is_some_and(|last| {
            (last.mode, last.nonce) == (wish.mode, wish.nonce)
                && self.desired.is_same_job(last.generation, wish.generation)
        })
    }

    /// A state that is gone, or has no place, may be left behind when a new generation says so, though it changes nothing
    /// else: that is the way out.
    pub(super) fn leave_lost_state(&mut self, refused: &Refused) {
        let target = self.desired.target();
        let says_so =
            self.desired.version(target).is_some_and(|version| version.upgrade == Upgrade::Stateless);
        let lost = match &refused.why {
            Trouble::StateGone(_) | Trouble::StateMismatch(_) | Trouble::SavepointLost(_) => true,
            Trouble::BadProgram(_)
            | Trouble::ProgramRefused(_)
            | Trouble::MainFailed(_)
            | Trouble::SavepointFails(_)
            | Trouble::JobFailed(_)
            | Trouble::NoResources(_)
            | Trouble::NeverRan
            | Trouble::NotStable
            | Trouble::KeepsRestarting(_)
            | Trouble::ForeignJob { .. }
            | Trouble::OutcomeUnknown
            | Trouble::GenerationGone(_)
            | Trouble::TooManyTries { .. }
            | Trouble::Refused(_) => false,
        };
        let new = refused.generation < target && refused.instead.is_none();
        if says_so && lost && new && self.desired.is_same_job(refused.generation, target) {
            self.row.state = None;
        }
    }
}

fn adopt_state(state: Option<&mut State>, target: u64, is_other: &impl Fn(u64) -> bool) {
    if let Some(state) = state.filter(|state| is_other(state.generation)) {
        state.generation = target;
    }
}
