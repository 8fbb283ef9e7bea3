//! Chaos: several real replicas on a real PostgreSQL and Redis, jobs all the time, and faults at random. Afterwards
//! everything is compared: what the callers were told, what the jobs themselves left behind, and what the database
//! says.
//!
//! Invariant: the harness believes nobody. A job's own marks say what ran; Libra's answers are judged by them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "it is for tests: a panic is how it says no"
)]

mod audit;
mod callers;
mod clock;
mod cluster;
mod draft;
mod faults;
mod injector;
mod leaders;
mod ledger;
mod load;
mod marks;
mod proxy;
mod readers;
mod recovery;
mod replica;
mod report;
mod run;
mod scene;
mod settings;
mod soak;
mod stand_in;
mod verdict;

pub use report::Report;
pub use run::run;
pub use settings::{FaultRate, Settings};
pub use soak::{Bounds, soak};
