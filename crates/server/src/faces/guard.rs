//! What every request passes: a correlation id, and the one authorisation point.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use libra_api::problem::{Code, Violation};
use libra_core::id::Token;

use super::problem;
use crate::auth::{ApiKey, Permission, Principal, permission_of};
use crate::service::{Service, ServiceError};

/// Ties a request, its log lines, its job and its answer together (contract A7).
#[derive(Clone, Debug)]
pub(super) struct CorrelationId(pub(super) String);

const CORRELATION_HEADER: &str = "x-correlation-id";
/// The longest value of a header that is stored, in bytes.
pub(super) const MAX_HEADER_BYTES: usize = 255;
const METHODS: [Method; 6] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

/// A header of 1 to 255 printable ASCII characters; None when it is absent.
pub(super) fn printable(headers: &HeaderMap, name: &str) -> Result<Option<String>, ServiceError> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let text = value.to_str().ok().map(str::trim);
    let fine =
        |t: &&str| (1..=MAX_HEADER_BYTES).contains(&t.len()) && t.bytes().all(|b| (b' '..=b'~').contains(&b));
    match text.filter(fine) {
        Some(text) => Ok(Some(text.to_owned())),
        None => Err(ServiceError::violations(
            Code::InvalidHeader,
            vec![Violation::new(
                format!("/{name}"),
                format!("must be 1 to {MAX_HEADER_BYTES} printable ASCII characters"),
            )],
        )),
    }
}

/// Takes or makes the correlation id, returns it, writes refusals, counts and logs the request.
pub(super) async fn correlate(
    State(service): State<Arc<Service>>,
    mut request: Request,
    next: Next,
) -> Response {
    let began = Instant::now();
    let route = request.extensions().get::<MatchedPath>().map(|p| p.as_str().to_owned());
    let given = printable(request.headers(), CORRELATION_HEADER);
    let fresh = || Token::new(service.clock.now(), service.clock.entropy()).to_string();
    let (id, refused) = match given {
        Ok(Some(id)) => (id, None),
        Ok(None) => (fresh(), None),
        Err(error) => (fresh(), Some(error)),
    };
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = if let Some(error) = refused {
        error.into_response()
    } else {
        request.extensions_mut().insert(CorrelationId(id.clone()));
        next.run(request).await
    };
    let mut response = problem::render(response, &id);
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(CORRELATION_HEADER, value);
    }
    let seconds = began.elapsed().as_secs_f64();
    let status = response.status().as_u16();
    service.metrics.answered(route.as_deref().unwrap_or("other"), status, seconds);
    tracing::debug!(
        correlation_id = %id, %method, path, status, processing_time_ms = seconds * 1000.0, "request answered"
    );
    response
}

/// Who calls, and may they: no handler runs before this said yes.
pub(super) async fn authorise(
    State(service): State<Arc<Service>>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(route) = request.extensions().get::<MatchedPath>().map(|p| p.as_str().to_owned()) else {
        // No route, no handler: the answer is 404.
        return next.run(request).await;
    };
    let Some(permission) = permission_of(request.method(), &route) else {
        return closed(request.method(), &route);
    };
    match principal(&service, request.headers(), permission) {
        Ok(principal) => {
            request.extensions_mut().insert(principal);
            next.run(request).await
        }
        Err(error) => error.into_response(),
    }
}

/// The route does not take this method, or is not in the table.
fn closed(method: &Method, route: &str) -> Response {
    let allowed: Vec<&str> =
        METHODS.iter().filter(|m| permission_of(m, route).is_some()).map(Method::as_str).collect();
    let message = format!("this page does not take {method}; it takes {}", allowed.join(", "));
    let mut response = ServiceError::new(Code::MethodNotAllowed, message).into_response();
    if let Ok(value) = HeaderValue::from_str(&allowed.join(", ")) {
        response.headers_mut().insert(header::ALLOW, value);
    }
    response
}

fn principal(
    service: &Service,
    headers: &HeaderMap,
    permission: Permission,
) -> Result<Principal, ServiceError> {
    if permission == Permission::Public {
        return Ok(Principal::local());
    }
    let keys = &service.config.keys;
    if keys.is_empty() {
        return if from_loopback_name(headers) {
            Ok(Principal::local())
        } else {
            // A web page that made its own name point here must not speak as the local user.
            Err(ServiceError::new(
                Code::Forbidden,
                "without keys Libra answers only to localhost; configure libra.auth.keys to use another name",
            ))
        };
    }
    let secret = headers
        .get(header::AUTHORIZATION)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, secret)| secret.trim());
    let Some(secret) = secret else {
        let message =
            "send your key as `Authorization: Bearer <key>`; the command line takes it from LIBRA_TOKEN";
        return Err(ServiceError::new(Code::Unauthenticated, message));
    };
    let Some(key) = ApiKey::find(keys, secret) else {
        return Err(ServiceError::new(Code::Unauthenticated, "this key is not known"));
    };
    if !permission.granted_to(key.principal.role) {
        let message = format!("a {} may not do this", key.principal.role.as_str());
        return Err(ServiceError::new(Code::Forbidden, message));
    }
    Ok(key.principal.clone())
}

/// True when the Host header names this machine's loopback, or is absent (HTTP/1.0).
fn from_loopback_name(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else { return true };
    let Ok(host) = host.to_str() else { return false };
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_are_trusted_without_keys() {
        let host = |name: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_str(name).unwrap());
            from_loopback_name(&headers)
        };
        for name in ["localhost", "localhost:8080", "127.0.0.1:8080", "[::1]:8080", "LOCALHOST"] {
            assert!(host(name), "{name}");
        }
        for name in ["evil.example", "evil.example:8080", "192.168.0.4:8080", "localhost.evil.example"] {
            assert!(!host(name), "{name}");
        }
    }
}
