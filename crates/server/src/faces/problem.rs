//! From refusals to `application/problem+json` (contract A6).

use std::sync::Arc;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use libra_api::problem::{Code, Problem};

use crate::service::ServiceError;

/// A refusal on its way out; the outermost layer adds the correlation id and writes it.
impl IntoResponse for ServiceError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

/// Writes the refusal that a response carries, if it carries one.
pub(super) fn render(mut response: Response, correlation_id: &str) -> Response {
    let Some(error) = response.extensions_mut().remove::<Arc<ServiceError>>() else { return response };
    if let Some(cause) = &error.cause {
        tracing::error!(correlation_id, code = error.code.as_str(), error = %cause, "{}", error.message);
    }
    let problem = Problem::new(error.code, error.message.clone(), correlation_id)
        .with_violations(error.violations.clone());
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    let mut out = (response.status(), body).into_response();
    let json = HeaderValue::from_static("application/problem+json");
    out.headers_mut().insert(header::CONTENT_TYPE, json);
    if let Some(allow) = response.headers_mut().remove(header::ALLOW) {
        out.headers_mut().insert(header::ALLOW, allow);
    }
    if let Some(seconds) = error.retry_after {
        out.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if error.code == Code::Unauthenticated {
        out.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    out
}

/// There is no such path.
pub(super) async fn not_found(uri: axum::http::Uri) -> ServiceError {
    let shown: String = uri.path().chars().take(200).collect();
    ServiceError::new(Code::NotFound, format!("there is no {shown}; see /openapi.json"))
}

/// The path takes other methods.
pub(super) async fn method_not_allowed(method: axum::http::Method) -> ServiceError {
    ServiceError::new(Code::MethodNotAllowed, format!("this page does not take {method}"))
}
