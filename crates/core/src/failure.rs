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
/// The longest `message`, in bytes: it stands in the job's row, its log, the feed and every webhook.
pub const MAX_MESSAGE_BYTES: usize = 4 * 1024;

/// What somebody else said, as it may be stored: no NUL, which PostgreSQL does not take, and no longer than
/// [`MAX_MESSAGE_BYTES`] and a mark; the beginning says most.
pub fn as_message(text: impl Into<String>) -> String {
    let mut text = without_nul(text.into());
    if text.len() > MAX_MESSAGE_BYTES {
        let mut cut = MAX_MESSAGE_BYTES;
        while !text.is_char_boundary(cut) {
            cut -= 1;
        }
        text.truncate(cut);
        text.push_str(" …");
    }
    text
}

fn without_nul(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}

impl Failure {
    /// A failure without detail whose outcome is known.
    pub fn new(class: ErrorClass, code: &str, message: impl Into<String>) -> Self {
        Self {
            class,
            code: code.to_owned(),
            message: as_message(message),
            detail: None,
            outcome_unknown: false,
            took_effect: false,
        }
    }

    /// Adds the engine's own words, shortened to [`MAX_DETAIL_BYTES`] from the front (the end says most).
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        let mut detail = without_nul(detail.into());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_say_can_be_stored() {
        let failure = Failure::new(ErrorClass::User, "exception", "ValueError: a\0b").with_detail("c\0d");
        assert_eq!(failure.message, "ValueError: a\u{fffd}b");
        assert_eq!(failure.detail.as_deref(), Some("c\u{fffd}d"));
        let long = Failure::new(ErrorClass::User, "exception", "é".repeat(MAX_MESSAGE_BYTES)).message;
        assert!(long.len() <= MAX_MESSAGE_BYTES + " …".len() && long.ends_with("é …"));
    }
}
