//! The rules of Libra, and nothing else.
//!
//! Invariant: this crate performs no I/O, reads no clock and draws no random number; `now` and
//! randomness are arguments. Everything in it can be run a million times in a test.

pub mod admission;
pub mod allocation;
pub mod artifact;
pub mod attempt;
pub mod deployment;
pub mod failure;
pub mod hpc;
pub mod id;
pub mod job;
pub mod lifecycle;
pub mod memory;
pub mod mode;
pub mod requirement;
pub mod retry;
pub mod sanity;
pub mod simulate;
pub mod spec;
pub mod time;
pub mod turn;
