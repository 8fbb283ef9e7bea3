//! Which job stands for which run of a deployment (contract F2): every run takes its turn like any other job, and is one
//! row with the one lifecycle.
//!
//! A job is one wish for a run: a generation of a stream job, one run of a batch job. What brings the run back, under
//! another id in Flink, is another attempt of the same job. Nothing begins before the job has its turn; from then on
//! it holds its slots as long as the run is wanted, also while Flink has none of its tasks. A run that takes the place of
//! another takes its slots along: nobody is stopped to wait for what they have held. Where it needs more, that counts
//! from then on, and nobody else begins until it fits again.
//!
//! [`settle`] is asked after each step of the reconciler, and what it says is stored with that step, in one transaction.
//!
//! Invariant: a job ends when the reconciler has seen the end of its run, and says why.

mod ending;

use serde::{Deserialize, Serialize};

use super::agenda::Agenda;
use super::reconcile::{Desired, End, Fate, FlinkId, Goal, Kind, Phase, Row, Run, goal, is_completed};
use crate::failure::Failure;
use crate::id::JobId;
use crate::job::State;

/// The job that stands for a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// Which.
    pub job: JobId,
    /// The generation that is to run.
    pub generation: u64,
    /// The wish for it ([`Desired::nonce`]).
    pub nonce: u64,
    /// The run that its present attempt is; None until that begins.
    pub run: Option<FlinkId>,
}

/// How a job ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The run ended by itself, and well.
    Succeeded,
    /// It did not.
    Failed(Failure),
    /// It is wanted no more, for this reason.
    Cancelled(String),
    /// It had its time.
    TimedOut,
}

/// What happens to jobs. The first is about the job that the row has named, up to the next one that is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Move {
    /// A new job waits for its turn.
    Queue(Turn),
    /// A new job holds what the one before it has held, or what runs already.
    Take(Turn),
    /// The job, which has waited, holds what runs already.
    TakeOver,
    /// Its attempt is this run.
    Name(FlinkId),
    /// It runs.
    Begin,
    /// It has failed, and is brought back by another attempt.
    Again(Failure),
    /// It is over.
    End(Ending),
}

/// What follows from a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// To be done in order.
    pub moves: Vec<Move>,
    /// What the row says afterwards: [`Row::turn`].
    pub turn: Option<Turn>,
}

/// What happens to jobs after a step of the reconciler that led to `row`. `state` is that of the job that the row names,
/// None where there is none; `fresh` is the id of the job that may be made.
pub fn settle(desired: &Desired, agenda: &Agenda, row: &Row, state: Option<State>, fresh: JobId) -> Settled {
    let mut settler = Settler { desired, agenda, row, fresh, turn: row.turn, moves: Vec::new() };
    match (row.turn, state) {
        (Some(turn), Some(State::Queued)) => settler.waits(turn),
        (Some(turn), Some(State::Scheduled)) => settler.holds(turn, false),
        (Some(turn), Some(State::Running)) => settler.holds(turn, true),
        // No job of a deployment is ever seen so.
        (Some(_), Some(State::Submitted | State::Validating | State::Retrying)) => {}
        (Some(_), Some(State::Succeeded | State::Failed | State::Cancelled | State::Timeout) | None)
        | (None, _) => settler.begins(),
    }
    Settled { moves: settler.moves, turn: settler.turn }
}

/// True while nothing may begin: the job that the row names, in `state`, does not hold anything.
pub fn waits(state: Option<State>) -> bool {
    !state.is_some_and(State::holds_resources)
}

/// The wish for a run of a batch job that somebody has ended by cancelling its job; None when it is about another one.
pub fn ended_by_hand(desired: &Desired, turn: &Turn) -> Option<u64> {
    let target = desired.target();
    let batch = desired.version(target).is_some_and(|version| version.kind == Kind::Batch);
    (batch && desired.is_same_job(turn.generation, target)).then_some(turn.nonce)
}

/// A run that is wanted: generation and nonce.
type Wish = (u64, u64);

struct Settler<'a> {
    desired: &'a Desired,
    agenda: &'a Agenda,
    row: &'a Row,
    fresh: JobId,
    turn: Option<Turn>,
    moves: Vec<Move>,
}

impl Settler<'_> {
    /// The run that the reconciler goes on to begin, or keeps.
    fn wanted(&self) -> Option<Wish> {
        match goal(self.desired, self.row) {
            Goal::Run(generation) if !is_completed(self.desired, self.row, generation) => {
                Some((generation, self.desired.nonce))
            }
            Goal::Run(_) | Goal::Suspend | Goal::Delete | Goal::Idle | Goal::Rest => None,
        }
    }

    /// The run of which there is, or may be, a job in Flink.
    fn live(&self) -> Option<&Run> {
        self.row.run.as_ref().filter(|run| run.may_live())
    }

    fn is_batch(&self, generation: u64) -> bool {
        self.desired.version(generation).is_some_and(|version| version.kind == Kind::Batch)
    }

    /// True when `turn` stands for this wish.
    fn is_for(&self, turn: &Turn, (generation, nonce): Wish) -> bool {
        self.desired.is_same_job(turn.generation, generation)
            && (turn.nonce == nonce || !self.is_batch(generation))
    }

    fn turn_for(&self, (generation, nonce): Wish) -> Turn {
        Turn { job: self.fresh, generation, nonce, run: None }
    }

    /// No job stands for anything.
    fn begins(&mut self) {
        if let Some(run) = self.live().cloned() {
            // Begun by a Libra that made no jobs of runs, or thought to be over.
            let turn = self.turn_for((run.generation, run.nonce));
            self.moves.push(Move::Take(turn));
            self.bind(turn, &run);
        } else if let Some(wish) = self.wanted().filter(|_| self.row.phase == Phase::Waiting) {
            let turn = self.turn_for(wish);
            self.moves.push(Move::Queue(turn));
            self.turn = Some(turn);
        }
    }

    /// Its job waits.
    fn waits(&mut self, turn: Turn) {
        if let Some(run) = self.live().cloned() {
            self.moves.push(Move::TakeOver);
            return self.bind(turn, &run);
        }
        let wanted = self.wanted();
        if wanted.is_some_and(|wish| self.is_for(&turn, wish)) {
            return;
        }
        let why = self.why_not(wanted);
        self.moves.push(Move::End(Ending::Cancelled(why)));
        self.begins();
    }

    /// Its job holds its slots.
    fn holds(&mut self, turn: Turn, runs: bool) {
        let live = self.live().cloned();
        match (turn.run, &self.row.run) {
            (Some(id), Some(run)) if run.id == id => match run.fate {
                Fate::Sent(_) => {}
                Fate::Live if !self.desired.is_same_job(turn.generation, run.generation) => {
                    // Rescaled in place: another generation holds another number of slots.
                    let run = run.clone();
                    let wish = (run.generation, run.nonce);
                    self.moves.push(Move::End(self.ending(&turn, End::Stopped, Some(wish))));
                    let turn = self.turn_for(wish);
                    self.moves.push(Move::Take(turn));
                    self.bind(turn, &run);
                }
                Fate::Live => {
                    // A generation that needs no other job has taken this one over.
                    self.turn = Some(Turn { generation: run.generation, nonce: run.nonce, ..turn });
                    if !runs {
                        self.moves.push(Move::Begin);
                    }
                }
                Fate::Ended(how) => self.ended(turn, how, None),
            },
            // Another one has begun in the step in which it ended.
            (Some(id), _) => {
                let how =
                    self.row.ended.filter(|(ended, _)| *ended == id).map_or(End::Stopped, |ended| ended.1);
                self.ended(turn, how, live.as_ref());
            }
            (None, _) => self.is_launched(turn, live.as_ref()),
        }
    }

    /// Its run is over; `next` has begun since.
    fn ended(&mut self, turn: Turn, how: End, next: Option<&Run>) {
        let wish = next.map(|run| (run.generation, run.nonce)).or_else(|| self.wanted());
        let again = match how {
            End::Failed | End::Outside | End::Vanished | End::NeverRan | End::Refused => {
                wish.is_some_and(|wish| self.is_for(&turn, wish))
            }
            End::Stopped | End::Finished => false,
        };
        let turn = if again {
            self.moves.push(Move::Again(self.failure(how)));
            Turn { run: None, ..turn }
        } else {
            self.moves.push(Move::End(self.ending(&turn, how, wish)));
            let Some(wish) = wish else { return };
            let turn = self.turn_for(wish);
            self.moves.push(Move::Take(turn));
            turn
        };
        self.turn = Some(turn);
        if let Some(run) = next {
            self.bind(turn, run);
        }
    }

    /// Its run has not begun, or begins now.
    fn is_launched(&mut self, turn: Turn, live: Option<&Run>) {
        let wish = live.map(|run| (run.generation, run.nonce)).or_else(|| self.wanted());
        let mut turn = turn;
        if !wish.is_some_and(|wish| self.is_for(&turn, wish)) {
            self.moves.push(Move::End(self.ending(&turn, End::NeverRan, wish)));
            let Some(wish) = wish else { return };
            turn = self.turn_for(wish);
            self.moves.push(Move::Take(turn));
            self.turn = Some(turn);
        }
        if let Some(run) = live {
            self.bind(turn, run);
        }
    }

    fn bind(&mut self, turn: Turn, run: &Run) {
        let turn = Turn { generation: run.generation, nonce: run.nonce, run: Some(run.id), ..turn };
        self.turn = Some(turn);
        self.moves.push(Move::Name(run.id));
        if run.fate == Fate::Live {
            self.moves.push(Move::Begin);
        }
    }
}

#[cfg(test)]
mod tests;
