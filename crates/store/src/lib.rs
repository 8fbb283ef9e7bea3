//! Where Libra remembers.
//!
//! Invariant: every write of state is conditional (id and expected revision, and the epoch of its writer's
//! lease) and is one transaction with its log rows and outbox rows. Closures are synchronous, so no
//! transaction can wait for the network. The store knows nothing of HTTP or of engines.

pub mod backend;
pub mod db;
pub mod error;
pub mod handoff;
pub mod lane;
pub mod operations;
pub mod postgres;
pub mod signals;
pub mod sqlite;
pub mod tables;
pub mod tx;
pub mod url;

pub use backend::Backend;
pub use db::Db;
pub use error::StoreError;
pub use postgres::{CheckReport, PoolSettings};
pub use url::StoreUrl;
