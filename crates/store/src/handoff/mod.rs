//! Hands scheduled attempts to the replicas that are to claim them (contract Q2).
//!
//! A hand-off is a hint: the row in the store says what is scheduled, and whoever claims it there has it. So an
//! entry may be lost, come twice or come late; replicas also look for SCHEDULED rows that nobody has claimed.

mod link;
mod redis;
mod wire;

use libra_core::id::JobId;

pub use redis::{RedisHandOff, Tuning};

/// A scheduled attempt that waits to be claimed by a replica on `host`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The job.
    pub job_id: JobId,
    /// Which attempt of it, from 1.
    pub attempt: u32,
    /// The host on which it is to run.
    pub host: String,
}

/// An entry that was delivered to a consumer and is its own until it is settled or idle for long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// What was handed over.
    pub entry: Entry,
    /// How Redis knows it.
    pub id: String,
}

/// Why a hand-off did not work. None of these loses anything: the store still has the scheduled rows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandOffError {
    /// The address can't be used at all.
    #[error("the Redis URL can't be used: {0}")]
    Url(String),
    /// No connection, or no answer in time. Further calls fail at once until it is worth another try.
    #[error("Redis at {address} can't be reached: {why}")]
    Unreachable {
        /// Host and port.
        address: String,
        /// What happened.
        why: String,
    },
    /// Redis answered, and the answer is no.
    #[error("Redis at {address} refuses: {why}")]
    Refused {
        /// Host and port.
        address: String,
        /// The first word of its answer: `NOAUTH`, `WRONGTYPE`, `OOM` …
        code: String,
        /// The whole answer.
        why: String,
    },
}
