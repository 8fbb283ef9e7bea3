//! For Libra's own tests: the real binary in a data directory of its own, calls to it, and a look at `/proc`.
//!
//! Invariant: whatever a test starts is ended, when the test passes, when it panics, and when the whole test
//! process is killed (see [`watchdog`]).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "it is for tests: a panic is how it says no"
)]

mod api;
mod libra;
pub mod processes;
pub mod wait;
mod watchdog;

pub use api::{Answer, Api};
pub use libra::{Libra, Setup, write};
