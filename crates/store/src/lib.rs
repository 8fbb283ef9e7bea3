//! Where Libra remembers.
//!
//! Invariant: every write of state is conditional (id and expected revision, and the epoch of its writer's
//! lease) and is one transaction with its log rows and outbox rows. Closures are synchronous, so no
//! transaction can wait for the network. The store knows nothing of HTTP or of engines.

pub mod db;
pub mod error;
pub mod lane;
pub mod sqlite;
pub mod tables;
pub mod tx;

pub use db::Db;
pub use error::StoreError;
