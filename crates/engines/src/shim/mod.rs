//! The shim: the small process that owns one driver, so that the driver outlives Libra (design §6).
//!
//! `run` is the shim itself; `process` is Libra's side of it. They share nothing but files. A `cradle` is a shim whose
//! driver is there before its attempt.
//!
//! | file | written by | says |
//! |---|---|---|
//! | `launch.json` | Libra | what to start |
//! | `owner` | the shim, or whoever revokes | who may run the attempt; created once, with its content |
//! | `started` | the shim | the driver's pid and start |
//! | `stop` | Libra | end it |
//! | `usage.json` | the shim | what the attempt's processes use |
//! | `exit` | the shim | how the driver ended; nothing of it is alive any more |
//!
//! Invariant: at most one driver ever runs for one attempt directory, and the `exit` file appears only after
//! every process of the attempt is gone.

mod cradle;
pub(crate) mod footprint;
mod meter;
mod output;
pub mod process;
pub mod records;
mod run;
mod table;
pub(crate) mod tree;
pub(crate) mod verdict;

#[cfg(test)]
pub(crate) mod tests;

pub use cradle::cradle;
#[cfg(feature = "spark-submit")]
pub(crate) use meter::usage;
pub use process::{Spawned, Status, request_stop, revoke, spawn, status, touch};
pub use records::{ExitRecord, Keepalive, LaunchFile, Owner, StartedRecord};
pub use run::run;
pub use table::tokens;
pub use tree::kill_everything;

/// The environment variable by which every process of an attempt is recognised.
pub const TOKEN_VARIABLE: &str = "LIBRA_ATTEMPT_TOKEN";
