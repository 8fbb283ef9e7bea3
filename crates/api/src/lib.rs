//! The wire types of every face: what may be sent, what comes back, and how problems are told.
//!
//! Invariant: nothing here knows of the store, an engine or the server.

pub mod allocation;
pub mod artifacts;
#[cfg(feature = "client")]
pub mod client;
pub mod deployments;
pub mod exposition;
pub mod feed;
pub mod fields;
pub mod hpc;
pub mod problem;
pub mod submit;
pub mod turns;
pub mod views;
