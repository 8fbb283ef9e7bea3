//! The reconciler of deployments against a model of a Flink cluster, with faults from a seed: lost replies, late
//! requests, a Libra that dies between any two steps, a JobManager that dies with and without its memory.
//!
//! A failure prints its seed; `LIBRA_DEPLOYMENTS_SEED=<seed>` plays that history alone, with every step.
//! `LIBRA_DEPLOYMENTS_HISTORIES=<n>` plays more of them; with both, `n` from that seed on.

#![expect(clippy::unwrap_used, reason = "tests")]

mod batches;
mod cluster;
mod controller;
mod desk;
mod history;
mod jobs;
mod programs;
mod promises;
mod rescaling;
mod savepoints;
mod steps;
mod watching;
