//! The service: use cases, faces, workers, and what puts them together.
//!
//! Invariant: faces parse and print; `service` decides with core's rules and writes through the store; workers
//! read the world, act outside of transactions and record what came of it.

pub mod auth;
mod clock;
pub mod config;
#[doc(hidden)]
pub mod embed;
mod faces;
mod files;
mod host;
mod run;
mod service;
#[cfg(test)]
mod simulation;
mod telemetry;
mod webhooks;
mod workers;

pub use faces::openapi_json;
pub use run::{ServeError, run};
