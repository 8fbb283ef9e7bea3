//! SQLite: one writer thread with group commit, a few readers (design §5).

mod connection;
mod migrate;
mod reader;
mod writer;

pub use connection::SqliteTx;
pub(crate) use connection::{OpenFor, open};
pub use migrate::{NEWEST_SCHEMA, migrate};
pub(crate) use reader::Readers;
pub(crate) use writer::{Done, Queues, Work, Writer};
