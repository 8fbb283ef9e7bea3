//! A workload in virtual time, given its turns by the very scheduler that gives them in production.
//!
//! Nothing here reads a clock or draws a random number: a [`Workload`] comes from a trace ([`swf`]) or from a seed
//! ([`generate`]), [`run`] plays it, [`Figures`] say how everybody fared. The same seed gives the same figures.

mod figures;
mod generator;
mod play;
pub mod swf;

pub use figures::{Figures, Spread, TenantFigures};
pub use generator::{Dice, Recipe, generate};
pub use play::{Outcome, Ran, Setting, run, run_watched};

use crate::mode::Mode;
use crate::turn::{Demand, Micros};

/// One job of a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// When it is submitted, in microseconds from the beginning.
    pub at: Micros,
    /// Its queue.
    pub queue: String,
    /// Its tenant.
    pub tenant: String,
    /// Its user.
    pub user: String,
    /// Its name; jobs of the same user and name are of a kind.
    pub name: String,
    /// 1–10.
    pub priority: u8,
    /// Where it runs.
    pub mode: Mode,
    /// What it needs.
    pub demand: Demand,
    /// How long it really runs, unless its limit ends it.
    pub runs: Micros,
    /// Its time limit.
    pub limit: Option<Micros>,
}

impl Task {
    /// How long it holds its resources.
    pub fn length(&self) -> Micros {
        self.limit.map_or(self.runs, |limit| self.runs.min(limit)).max(1)
    }
}

/// Jobs in the order of their submission.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    /// The jobs.
    pub tasks: Vec<Task>,
}

impl Workload {
    /// Jobs, put in the order of their submission.
    pub fn new(mut tasks: Vec<Task>) -> Self {
        tasks.sort_by_key(|t| t.at);
        Self { tasks }
    }
}
