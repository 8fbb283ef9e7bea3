//! Reading a JSON body, with a refusal for each way in which it can be wrong.

use axum::extract::Request;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use libra_api::problem::Code;
use serde_json::Value;

use crate::service::ServiceError;

/// The largest body, in bytes. `code` may have 2 MiB, which JSON's escapes can make several times as long.
pub(super) const MAX_BODY_BYTES: usize = 8 * 1024 * 1024;

/// The body as it came, and what it says.
pub(super) async fn json(request: Request) -> Result<(Bytes, Value), ServiceError> {
    let bytes = json_bytes(request).await?;
    let value = serde_json::from_slice(&bytes)
        .map_err(|e| ServiceError::new(Code::InvalidJson, format!("the body is not valid JSON: {e}")))?;
    Ok((bytes, value))
}

/// The body as it came, which is declared as JSON.
pub(super) async fn json_bytes(request: Request) -> Result<Bytes, ServiceError> {
    if !is_json(request.headers()) {
        let message = "the body must be declared as JSON: send `Content-Type: application/json`";
        return Err(ServiceError::new(Code::UnsupportedMediaType, message));
    }
    whole(request, "put the program into a file").await
}

/// The body's bytes; `instead` says what to do with more than there may be.
pub(super) async fn whole(request: Request, instead: &str) -> Result<Bytes, ServiceError> {
    axum::body::to_bytes(request.into_body(), MAX_BODY_BYTES).await.map_err(|e| {
        let too_large = std::error::Error::source(&e).is_some_and(|s| s.to_string().contains("length limit"));
        if too_large {
            let message = format!("the body is larger than {MAX_BODY_BYTES} bytes; {instead}");
            ServiceError::new(Code::TooLarge, message)
        } else {
            ServiceError::new(Code::InvalidJson, "the body did not arrive whole")
        }
    })
}

/// The declared type of a body, without its parameters.
fn essence(headers: &HeaderMap) -> String {
    let declared = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    declared.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// True for `application/yaml` (RFC 9512) and the older names of it.
pub(super) fn is_yaml(headers: &HeaderMap) -> bool {
    ["application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml"]
        .contains(&essence(headers).as_str())
}

pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let essence = essence(headers);
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}
