//! The service: use cases, faces, workers, and what puts them together.
//!
//! Invariant: faces parse and print; `service` decides with core's rules and writes through the store; workers
//! read the world, act outside of transactions and record what came of it.

mod artifacts;
pub mod auth;
mod clock;
pub mod config;
#[doc(hidden)]
pub mod embed;
mod faces;
mod files;
mod flink;
mod host;
mod objects;
mod run;
mod runner;
mod service;
mod signatures;
#[cfg(test)]
mod simulation;
mod slurm;
mod telemetry;
mod webhooks;
mod workers;

pub use faces::openapi_json;
pub use run::{ServeError, run};
pub use slurm::client as slurm_client;

/// Bytes as lower-case hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
