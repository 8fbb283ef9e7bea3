//! Deployments: a Flink job that is declared, and kept as it is declared (contract F1–F5).
//!
//! A [`spec::DeploymentSpec`] is what a person writes. [`normal::Normal`] is the same with everything filled in; two
//! specifications mean the same when their normal forms have one [`normal::Fingerprint`]. [`flink_config`] is what
//! Flink is told of it; [`schedule`] says when batch jobs run.

pub mod flink_config;
pub mod normal;
pub mod reconcile;
pub mod schedule;
pub mod spec;
mod violation;

pub use violation::Violation;
