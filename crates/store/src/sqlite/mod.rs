//! SQLite: one writer thread with group commit, a few readers (design §5).

mod check;
mod connection;
mod inline;
mod migrate;
mod reader;
mod store;
mod writer;

pub(crate) use check::{check, migrate_file};
pub use connection::{Clock, SqliteTx};
pub use inline::Inline;
pub use migrate::{NEWEST_SCHEMA, migrate};
pub use store::Sqlite;
