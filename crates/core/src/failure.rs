//! Why an attempt or a job failed, in words and in a class that the retry rule reads.

use serde::{Deserialize, Serialize};

/// The class of an error (contract L4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ErrorClass {
    /// The job itself: bad SQL, an exception, an exit code other than 0.
    User,
    /// The host, the engine or the network was lost.
    Infrastructure,
    /// Memory ran out.
    Resources,
    /// A quota or a time limit of Libra's. Never retried.
    Policy,
}

impl ErrorClass {
    /// All classes, in the order of the contract.
    pub const ALL: [Self; 4] = [Self::User, Self::Infrastructure, Self::Resources, Self::Policy];

    /// The spelling on the wire and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Infrastructure => "infrastructure",
            Self::Resources => "resources",
            Self::Policy => "policy",
        }
    }
}

/// A failure as the user reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// Who has to act.
    pub class: ErrorClass,
    /// A stable short code, lower snake case: `exit_code`, `sql_error`, `out_of_memory`, `engine_lost`.
    pub code: String,
    /// What happened and what to do next, without jargon.
    pub message: String,
    /// The engine's own words (the end of a traceback, a SQLSTATE), where there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// True when it can't be known whether the work took effect (contract L7).
    #[serde(default)]
    pub outcome_unknown: bool,
    /// True when the work took effect although the attempt failed: doing it again would do it twice.
    #[serde(default)]
    pub took_effect: bool,
}

/// The longest `detail` that is kept with a row, in bytes; the whole text is in the log.
pub const MAX_DETAIL_BYTES: usize = 8 * 1024;

impl Failure {
    /// A failure without detail whose outcome is known.
    pub fn new(class: ErrorClass, code: &str, message: impl Into<String>) -> Self {
        Self {
            class,
            code: code.to_owned(),
            message: message.into(),
            detail: None,
            outcome_unknown: false,
            took_effect: false,
        }
    }

    /// Adds the engine's own words, shortened to [`MAX_DETAIL_BYTES`] from the front (the end says most).
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        let mut detail = detail.into();
        if detail.len() > MAX_DETAIL_BYTES {
            let mut cut = detail.len() - MAX_DETAIL_BYTES;
            while !detail.is_char_boundary(cut) {
                cut += 1;
            }
            detail = format!("… {}", &detail[cut..]);
        }
        self.detail = (!detail.is_empty()).then_some(detail);
        self
    }

    /// Marks that the work took effect all the same: it is never done again by a retry.
    #[must_use]
    pub fn with_effect(mut self) -> Self {
        self.took_effect = true;
        self
    }

    /// Marks that nobody knows whether the work took effect.
    #[must_use]
    pub fn with_unknown_outcome(mut self) -> Self {
        self.outcome_unknown = true;
        self
    }
}
