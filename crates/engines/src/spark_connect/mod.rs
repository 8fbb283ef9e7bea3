//! SQL and Python in a warm, shared Spark Connect server that Libra starts and watches, or that is there already
//! (contract S1).
//!
//! An attempt's token is the operation id of its query, so sending it again attaches to what runs: nothing is
//! ever executed twice. A query in an isolated session also has its session named so.
//!
//! | module | what it does |
//! |---|---|
//! | `engine` | keeps the trait: attempts, and what the disk says of those that this process does not know |
//! | `query`, `run`, `execution` | one query's life; its calls; its stream over broken connections |
//! | `failure`, `error_details` | what the server says went wrong; its whole text |
//! | `record`, `result` | the files in the attempt's directory |
//! | `server` | the server's life under a shim |
//! | `python` | Python in warm processes that are attached to the server |
//! | `client`, `address`, `proto`, `proto_types` | the protocol, and how a server is named |
//! | `rows`, `encoder`, `schema`, `variant`, `interval`, `clock`, `json` | Arrow batches as JSON rows |

mod address;
mod client;
mod clock;
mod encoder;
mod engine;
mod error_details;
mod execution;
mod failure;
mod interval;
mod json;
mod keyword;
mod progress;
mod proto;
mod proto_types;
mod python;
mod query;
mod record;
mod result;
mod rows;
mod run;
mod schema;
mod server;
mod settings;
mod variant;

pub use address::Address;
pub use engine::SparkConnect;
pub use server::find_sail;
pub use settings::{Backend, Care, Settings};
