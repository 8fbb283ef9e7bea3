//! `Idempotency-Key` on the creating requests of the HPC face (contract A5): as on `/api/v1`, within the same table.

use axum::Json;
use axum::extract::{OriginalUri, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use libra_store::tables::hpc::once::Key;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::guard;
use crate::auth::Principal;
use crate::hex;
use crate::service::{Said, ServiceError};

/// A request's key, before its body is read.
pub(super) struct Asked {
    key: Option<String>,
    path: String,
}

impl Asked {
    pub(super) fn of(request: &Request) -> Result<Self, ServiceError> {
        let key = guard::printable(request.headers(), "idempotency-key")?;
        let path = request.extensions().get::<OriginalUri>().map_or("", |uri| uri.path()).to_owned();
        Ok(Self { key, path })
    }

    /// The same with its body: keys are each principal's own, for each path.
    pub(super) fn with(self, who: &Principal, body: &[u8]) -> Option<Key> {
        let Self { key, path } = self;
        let scope = |path| format!("{}\n{}\nPOST {path}", who.tenant, who.user);
        key.map(|key| Key { scope: scope(path), key, body_hash: hex(&Sha256::digest(body)) })
    }
}

/// The answer; `show` says what a new one is, and its status.
pub(super) fn answer<T, V: Serialize>(said: Said<T>, show: impl FnOnce(T) -> (u16, V)) -> Response {
    let of = |status: u16| StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    match said {
        Said::Now(value) => {
            let (status, view) = show(value);
            (of(status), Json(view)).into_response()
        }
        Said::Before { status, body } => {
            let mut response = (of(status), body).into_response();
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            headers.insert("idempotency-replayed", HeaderValue::from_static("true"));
            response
        }
    }
}
