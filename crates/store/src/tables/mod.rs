//! One file per table, and one per write that spans several.

pub mod artifact_versions;
pub mod attempts;
pub mod changes;
pub mod deliveries;
pub mod deployment_history;
pub mod deployment_turns;
pub mod deployments;
pub mod facts;
pub mod feed;
pub mod hpc;
pub mod idempotency;
pub mod jobs;
pub mod leases;
mod numbering;
pub mod outbox;
pub mod replicas;
pub mod retention;
pub mod submissions;
pub mod transitions;
pub mod turns;

use serde_json::Error as JsonError;

use crate::error::StoreError;

pub(crate) fn json<T: serde::Serialize>(what: &'static str, value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|e: JsonError| StoreError::unreadable(what, e))
}

fn from_json<T: serde::de::DeserializeOwned>(what: &'static str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|e| StoreError::unreadable(what, e))
}

/// `e.value ->> n` as a value of a type, where `e` are the elements of a list of lists ([`crate::tx::Tx::elements`]).
fn element(n: usize, kind: &str) -> String {
    format!("CAST(e.value ->> {n} AS {kind})")
}

/// `?4, ?5, ?6`: places for `count` arguments after the first `before`.
fn places(before: usize, count: usize) -> String {
    let places: Vec<String> = (before + 1..=before + count).map(|n| format!("?{n}")).collect();
    places.join(", ")
}
