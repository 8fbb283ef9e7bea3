//! For Libra's own tests: the real binary in a data directory of its own, calls to it, a private PostgreSQL,
//! Redis, Flink and Slurm, and a look at `/proc`.
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
pub mod flink;
mod history;
mod libra;
pub mod ports;
pub mod postgres;
pub mod processes;
mod redis;
pub mod slurm;
pub mod spark_connect;
mod standalone;
pub mod tls_door;
pub mod wait;
pub mod watchdog;

pub use api::{Answer, Api, get_json, page};
pub use flink::FlinkCluster;
pub use history::HistoryServer;
pub use libra::{Libra, Setup, write};
pub use postgres::Postgres;
pub use redis::Redis;
pub use slurm::SlurmCluster;
pub use standalone::Standalone;

/// What to do about a server that is missing.
const INSTALL: &str = "`scripts/setup.sh test` installs it";
