//! One file per table, and one per write that spans several.

pub mod attempts;
pub mod changes;
pub mod feed;
pub mod idempotency;
pub mod jobs;
pub mod leases;
pub mod outbox;
pub mod submissions;
pub mod transitions;

use serde_json::Error as JsonError;

use crate::error::StoreError;

fn json<T: serde::Serialize>(what: &'static str, value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|e: JsonError| StoreError::unreadable(what, e))
}

fn from_json<T: serde::de::DeserializeOwned>(what: &'static str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|e| StoreError::unreadable(what, e))
}
