//! PostgreSQL: a few connections, one statement for many hot writes (design §5).

mod check;
mod connection;
mod errors;
mod lanes;
mod migrate;
mod pool;
mod rows;
mod store;
mod tls;
mod tx;

pub use check::CheckReport;
pub(crate) use check::{check, migrate};
pub(crate) use connection::Connector;
pub use connection::OLDEST_SERVER;
pub use pool::PoolSettings;
pub use store::Postgres;
