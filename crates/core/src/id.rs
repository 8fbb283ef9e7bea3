//! Identifiers. They are time-ordered, so the newest job is the greatest id.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::time::Timestamp;

/// Random bytes that an identifier needs; drawn by the caller.
pub type Entropy = [u8; 10];

/// What every job id begins with (contract L9).
pub const JOB_PREFIX: &str = "job-";

/// A job: `job-<uuidv7>` (contract L9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct JobId(Uuid);

/// The name by which an engine knows one attempt: a UUID, unique for ever (contract L3).
///
/// It travels to the engine (process environment, Spark conf, operation id), so that an unknown
/// outcome can be resolved by looking for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(Uuid);

/// A text that is not an identifier of the kind asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an id of this kind")]
pub struct NotAnId;

fn v7(now: Timestamp, entropy: Entropy) -> Uuid {
    uuid::Builder::from_unix_timestamp_millis(now.unix_millis(), &entropy).into_uuid()
}

impl JobId {
    /// A new id for a job submitted at `now`.
    pub fn new(now: Timestamp, entropy: Entropy) -> Self {
        Self(v7(now, entropy))
    }

    /// The least id that can be made at `at`, to the millisecond, or later.
    pub fn first_at(at: Timestamp) -> Self {
        let millis = u128::try_from(at.0 / 1_000).unwrap_or(0);
        Self(Uuid::from_u128(millis << 80))
    }

    /// When it was made, to the millisecond: the time within the id.
    pub fn made_at(self) -> Timestamp {
        let millis = self.0.as_u128() >> 80;
        Timestamp(i64::try_from(millis).unwrap_or(i64::MAX).saturating_mul(1_000))
    }
}

impl Token {
    /// A new token for an attempt created at `now`.
    pub fn new(now: Timestamp, entropy: Entropy) -> Self {
        Self(v7(now, entropy))
    }

    /// The token as a UUID, for engines that ask for one (Spark Connect's `operation_id`).
    pub fn uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{JOB_PREFIX}{}", self.0.hyphenated())
    }
}

impl From<JobId> for String {
    fn from(id: JobId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for JobId {
    type Error = NotAnId;
    fn try_from(text: String) -> Result<Self, NotAnId> {
        text.parse()
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.hyphenated())
    }
}

impl FromStr for JobId {
    type Err = NotAnId;
    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let uuid = text.strip_prefix(JOB_PREFIX).ok_or(NotAnId)?;
        // Only the canonical spelling is an id: one job, one text.
        (uuid.len() == 36 && !uuid.contains(|c: char| c.is_ascii_uppercase()))
            .then(|| Uuid::try_parse(uuid).ok())
            .flatten()
            .map(Self)
            .ok_or(NotAnId)
    }
}

impl FromStr for Token {
    type Err = NotAnId;
    fn from_str(text: &str) -> Result<Self, NotAnId> {
        Uuid::try_parse(text).map(Self).map_err(|_| NotAnId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_and_read_back() {
        let early = JobId::new(Timestamp(1_000_000), [255; 10]);
        let late = JobId::new(Timestamp(2_000_000), [0; 10]);
        assert!(early < late && early.to_string() < late.to_string());
        assert_eq!(early.to_string().parse(), Ok(early));
        assert_eq!((early.made_at(), late.made_at()), (Timestamp(1_000_000), Timestamp(2_000_000)));
    }

    #[test]
    fn other_texts_are_no_job_ids() {
        for text in ["", "job-", "abc-123", "job-1", "JOB-019ab000-0000-7000-8000-000000000000"] {
            assert_eq!(text.parse::<JobId>(), Err(NotAnId), "{text}");
        }
    }
}
