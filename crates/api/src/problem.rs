//! Problems as RFC 9457 documents (contract A6).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A stable error code. Each has a page under `docs/errors`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The body is not JSON.
    InvalidJson,
    /// Fields of the body are missing, unknown or wrong.
    InvalidRequest,
    /// A query parameter is wrong.
    InvalidQuery,
    /// A header is wrong.
    InvalidHeader,
    /// No key, or an unknown one.
    Unauthenticated,
    /// The role does not allow it.
    Forbidden,
    /// There is no such page.
    NotFound,
    /// There is no such job, or it may not be seen.
    JobNotFound,
    /// The path exists, the method does not.
    MethodNotAllowed,
    /// There is no such deployment, or it may not be seen.
    DeploymentNotFound,
    /// A deployment was changed meanwhile.
    StaleVersion,
    /// A version of an artifact has other bytes.
    VersionTaken,
    /// A deployment is on its way out.
    BeingDeleted,
    /// There is nothing that this could apply to.
    NotApplicable,
    /// The job has not ended.
    NotFinished,
    /// The job ended without a result.
    NoResult,
    /// It is no longer kept.
    Expired,
    /// Nothing of this digest was uploaded.
    ArtifactNotFound,
    /// What was uploaded has another digest.
    DigestMismatch,
    /// The disk is full.
    StorageFull,
    /// There is no such message, or it may not be seen.
    WebhookNotFound,
    /// The message was delivered already.
    AlreadyDelivered,
    /// The job has already ended.
    AlreadyEnded,
    /// A job has this id, or this number, already.
    JobExists,
    /// An observed job has ended: it stays as it is.
    JobTerminal,
    /// Several things have this name.
    Ambiguous,
    /// Nobody says who makes a change.
    MissingAuditInfo,
    /// It can't be had in a form that the client accepts.
    NotAcceptable,
    /// The body or a field is too large.
    TooLarge,
    /// The body is not declared as JSON.
    UnsupportedMediaType,
    /// The job can never fit.
    NeverFits,
    /// This Libra can't do that.
    Unsupported,
    /// The key came before with another body.
    IdempotencyKeyReused,
    /// Too many jobs wait.
    QueueFull,
    /// A user, a tenant or a queue has submitted too much.
    QuotaExceeded,
    /// Too many follow logs.
    TooManyFollowers,
    /// A bug.
    Internal,
    /// Try again.
    Unavailable,
}

impl Code {
    /// All codes, by HTTP status.
    pub const ALL: [Self; 38] = [
        Self::InvalidJson,
        Self::InvalidRequest,
        Self::InvalidQuery,
        Self::InvalidHeader,
        Self::MissingAuditInfo,
        Self::DigestMismatch,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NotFound,
        Self::JobNotFound,
        Self::DeploymentNotFound,
        Self::ArtifactNotFound,
        Self::WebhookNotFound,
        Self::MethodNotAllowed,
        Self::NotAcceptable,
        Self::NotFinished,
        Self::NoResult,
        Self::AlreadyEnded,
        Self::JobTerminal,
        Self::JobExists,
        Self::Ambiguous,
        Self::AlreadyDelivered,
        Self::StaleVersion,
        Self::VersionTaken,
        Self::BeingDeleted,
        Self::NotApplicable,
        Self::Expired,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::NeverFits,
        Self::Unsupported,
        Self::IdempotencyKeyReused,
        Self::QueueFull,
        Self::QuotaExceeded,
        Self::TooManyFollowers,
        Self::Internal,
        Self::Unavailable,
        Self::StorageFull,
    ];

    /// Code, HTTP status and title.
    fn row(self) -> (&'static str, u16, &'static str) {
        match self {
            Self::InvalidJson => ("invalid_json", 400, "The body is not valid JSON"),
            Self::InvalidRequest => ("invalid_request", 400, "The request has wrong fields"),
            Self::InvalidQuery => ("invalid_query", 400, "A query parameter is wrong"),
            Self::InvalidHeader => ("invalid_header", 400, "A header is wrong"),
            Self::Unauthenticated => ("unauthenticated", 401, "A valid key is needed"),
            Self::Forbidden => ("forbidden", 403, "Your role does not allow this"),
            Self::NotFound => ("not_found", 404, "There is no such page"),
            Self::JobNotFound => ("job_not_found", 404, "There is no such job"),
            Self::DeploymentNotFound => ("deployment_not_found", 404, "There is no such deployment"),
            Self::StaleVersion => ("stale_version", 409, "It was changed meanwhile"),
            Self::VersionTaken => ("version_taken", 409, "The version has other bytes"),
            Self::BeingDeleted => ("being_deleted", 409, "It is being deleted"),
            Self::NotApplicable => ("not_applicable", 409, "There is nothing that this applies to"),
            Self::ArtifactNotFound => ("artifact_not_found", 404, "Nothing of this digest was uploaded"),
            Self::DigestMismatch => ("digest_mismatch", 400, "The upload has another digest"),
            Self::StorageFull => ("storage_full", 507, "The disk is full"),
            Self::WebhookNotFound => ("webhook_not_found", 404, "There is no such webhook message"),
            Self::MethodNotAllowed => ("method_not_allowed", 405, "This page does not take that method"),
            Self::NotAcceptable => ("not_acceptable", 406, "There is no such form of it"),
            Self::NotFinished => ("not_finished", 409, "The job has not ended yet"),
            Self::NoResult => ("no_result", 409, "The job ended without a result"),
            Self::AlreadyEnded => ("already_ended", 409, "The job has already ended"),
            Self::JobTerminal => ("job_terminal", 409, "The job has ended and stays as it is"),
            Self::JobExists => ("job_exists", 409, "There is such a job already"),
            Self::Ambiguous => ("ambiguous", 409, "Several things have this name"),
            Self::MissingAuditInfo => ("missing_audit_info", 400, "Nobody says who makes this change"),
            Self::AlreadyDelivered => ("already_delivered", 409, "The message was already delivered"),
            Self::Expired => ("expired", 410, "It is no longer kept"),
            Self::TooLarge => ("too_large", 413, "The request is too large"),
            Self::UnsupportedMediaType => ("unsupported_media_type", 415, "The body must be JSON"),
            Self::NeverFits => ("never_fits", 422, "The job can never fit"),
            Self::Unsupported => ("unsupported", 422, "This Libra can't do that"),
            Self::IdempotencyKeyReused => {
                ("idempotency_key_reused", 422, "The idempotency key belongs to another request")
            }
            Self::QueueFull => ("queue_full", 429, "The queue is full"),
            Self::QuotaExceeded => ("quota_exceeded", 429, "As much is submitted as may be"),
            Self::TooManyFollowers => ("too_many_followers", 429, "Too many readers follow logs"),
            Self::Internal => ("internal", 500, "Something is wrong inside Libra"),
            Self::Unavailable => ("unavailable", 503, "Not available at present"),
        }
    }

    /// The spelling on the wire.
    pub fn as_str(self) -> &'static str {
        self.row().0
    }
    /// The HTTP status.
    pub fn status(self) -> u16 {
        self.row().1
    }
    /// The title of the problem.
    pub fn title(self) -> &'static str {
        self.row().2
    }
}

/// One wrong field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Violation {
    /// JSON pointer (RFC 6901) to the field; for a query parameter or a header, `/` and its name.
    #[schema(example = "/sparkConfig/spark.executor.memory")]
    pub pointer: String,
    /// What is wrong and what would be right.
    pub reason: String,
}

impl Violation {
    /// A violation at `pointer`.
    pub fn new(pointer: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), reason: reason.into() }
    }
}

/// A problem, `application/problem+json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// Where the code is explained.
    #[serde(rename = "type")]
    #[schema(example = "urn:libra:error:invalid_request")]
    pub kind: String,
    /// The same for every problem of this code.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time, and what to do next.
    pub detail: String,
    /// The stable code.
    #[schema(example = "invalid_request")]
    pub error: String,
    /// The same as `detail`.
    pub message: String,
    /// Ties the answer to the log.
    pub correlation_id: String,
    /// Every wrong field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub violations: Vec<Violation>,
}

impl Problem {
    /// A problem of this code.
    pub fn new(code: Code, message: impl Into<String>, correlation_id: &str) -> Self {
        let message = message.into();
        Self {
            kind: format!("urn:libra:error:{}", code.as_str()),
            title: code.title().to_owned(),
            status: code.status(),
            detail: message.clone(),
            error: code.as_str().to_owned(),
            message,
            correlation_id: correlation_id.to_owned(),
            violations: Vec::new(),
        }
    }

    /// The same with violations.
    #[must_use]
    pub fn with_violations(mut self, violations: Vec<Violation>) -> Self {
        self.violations = violations;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_page() {
        // contract: A6
        let pages = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors");
        for code in Code::ALL {
            let page = pages.join(format!("{}.md", code.as_str()));
            let text = std::fs::read_to_string(&page).unwrap_or_default();
            assert!(
                text.contains(&format!("HTTP status: {}", code.status())),
                "{} lacks its status",
                page.display()
            );
        }
    }
}
