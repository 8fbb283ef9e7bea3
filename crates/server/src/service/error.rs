//! Why a use case said no.

use libra_api::problem::{Code, Violation};
use libra_store::StoreError;

/// A refusal: a stable code, a message for the user, and for the log the cause.
#[derive(Debug)]
pub(crate) struct ServiceError {
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) violations: Vec<Violation>,
    /// Seconds after which to try again.
    pub(crate) retry_after: Option<u64>,
    pub(crate) cause: Option<String>,
}

impl ServiceError {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), violations: Vec::new(), retry_after: None, cause: None }
    }

    /// Wrong fields of the body.
    pub(crate) fn fields(violations: Vec<Violation>) -> Self {
        Self::violations(Code::InvalidRequest, violations)
    }

    /// A wrong query parameter.
    pub(crate) fn query(name: &str, reason: impl Into<String>) -> Self {
        Self::violations(Code::InvalidQuery, vec![Violation::new(format!("/{name}"), reason)])
    }

    pub(crate) fn violations(code: Code, violations: Vec<Violation>) -> Self {
        let shown: Vec<String> = violations
            .iter()
            .map(|v| match v.pointer.as_str() {
                "" => v.reason.clone(),
                pointer => format!("{pointer} {}", v.reason),
            })
            .collect();
        Self { violations, ..Self::new(code, shown.join("; ")) }
    }

    pub(crate) fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    pub(crate) fn job_not_found(id: &str) -> Self {
        let shown: String = id.chars().take(80).collect();
        Self::new(Code::JobNotFound, format!("there is no job {shown}"))
    }
}

impl From<StoreError> for ServiceError {
    fn from(e: StoreError) -> Self {
        let (code, message) = match e {
            StoreError::Closed => (Code::Unavailable, "Libra is stopping; try again"),
            StoreError::Database(_)
            | StoreError::Unreachable(_)
            | StoreError::Interrupted(_)
            | StoreError::Setup { .. } => (Code::Unavailable, "the store does not answer; try again"),
            StoreError::Full(_) => (Code::Unavailable, "the store is full; try again later"),
            StoreError::ReadOnly(_) => (Code::Unavailable, "the store takes no writes now; try again"),
            StoreError::Constraint(_)
            | StoreError::Unreadable { .. }
            | StoreError::InUse(_)
            | StoreError::TooNew { .. } => {
                (Code::Internal, "something stored can't be read; the log has the cause")
            }
        };
        Self { cause: Some(e.to_string()), ..Self::new(code, message) }
    }
}
