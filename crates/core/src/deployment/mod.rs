//! Deployments: a Flink job that is declared, and kept as it is declared (contract F1–F5).
//!
//! A [`spec::DeploymentSpec`] is what a person writes. [`normal::Normal`] is the same with everything filled in; two
//! specifications mean the same when their normal forms have one [`normal::Fingerprint`]. [`plan`] says what a change
//! makes necessary, before anything is touched; [`reconcile`] takes the steps. [`flink_config`] is what Flink is told of
//! it, [`packing`] how it gets a program that is no jar; [`schedule`] says when batch jobs run, [`agenda`] what time asks for,
//! [`retention`] which savepoints may go, [`turns`] which job stands for which run.

pub mod agenda;
pub mod declared;
pub mod flink_config;
pub mod normal;
pub mod packing;
pub mod plan;
pub mod reconcile;
pub mod retention;
pub mod schedule;
pub mod spec;
pub mod turns;
mod violation;
mod wanted;

pub use violation::Violation;
