//! `/api/v1/artifacts`: uploads by digest (contract A1).

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::{Extension, Json};
use libra_api::artifacts::{ArtifactVersionListView, ArtifactView};
use libra_api::problem::{Code, Problem, Violation};
use libra_core::artifact::Digest;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::guard;
use super::jobs_query::{self, Pairs};
use crate::auth::Principal;
use crate::service::{Service, ServiceError, Versioned};

/// Where the digest may stand instead of in the query.
const DIGEST_HEADER: &str = "x-content-sha256";

pub(super) fn router() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new()
        .routes(routes!(upload_artifact))
        .routes(routes!(get_artifact))
        .routes(routes!(list_artifact_versions))
}

/// Uploads a file, named by its SHA-256: 201 when it is new, 200 when it was there already.
///
/// The body is the file's bytes. A job names it as `artifact:sha256:<digits>#<file name>`. With `name` and `version` a
/// deployment names it as `artifact:<name>@<version>`, and it is kept; a version is written once.
#[utoipa::path(post, path = "/api/v1/artifacts", tag = "artifacts",
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    params(
        ("sha256" = Option<String>, Query, description = "64 hexadecimal digits"),
        ("name" = Option<String>, Query, description = "The artifact's name, for a version of it"),
        ("version" = Option<String>, Query, description = "The version"),
        ("X-Content-Sha256" = Option<String>, Header, description = "The same, where the query has none")),
    responses(
        (status = 200, description = "It was there already", body = ArtifactView),
        (status = 201, description = "Kept", body = ArtifactView),
        (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 409, body = Problem), (status = 413, body = Problem), (status = 422, body = Problem),
        (status = 507, body = Problem)))]
async fn upload_artifact(
    State(service): State<Arc<Service>>,
    Extension(who): Extension<Principal>,
    Query(pairs): Query<Pairs>,
    request: Request,
) -> Result<(StatusCode, Json<ArtifactView>), ServiceError> {
    let (digest, named) = asked(pairs, request.headers())?;
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
    let body = request.into_body().into_data_stream();
    let (view, new) = match named {
        None => service.upload(&who, digest, length, body).await?,
        Some(named) => service.upload_version(&who, digest, length, &named, body).await?,
    };
    Ok((if new { StatusCode::CREATED } else { StatusCode::OK }, Json(view)))
}

/// Says whether a file was uploaded, so that a client sends only what is missing.
#[utoipa::path(get, path = "/api/v1/artifacts/{digest}", tag = "artifacts",
    params(("digest" = String, Path, description = "`sha256:` and 64 hexadecimal digits")),
    responses((status = 200, body = ArtifactView), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem)))]
async fn get_artifact(
    State(service): State<Arc<Service>>,
    Extension(who): Extension<Principal>,
    digest: Result<Path<String>, PathRejection>,
    Query(pairs): Query<Pairs>,
) -> Result<Json<ArtifactView>, ServiceError> {
    jobs_query::none(pairs)?;
    let known = digest.ok().and_then(|Path(text)| text.parse::<Digest>().ok());
    let Some(digest) = known else {
        let message = "nothing has such a digest; it is `sha256:` and 64 hexadecimal digits";
        return Err(ServiceError::new(Code::ArtifactNotFound, message));
    };
    Ok(Json(service.artifact(&who, digest).await?))
}

/// Lists the versions of an artifact, newest first, at most 1,000.
#[utoipa::path(get, path = "/api/v1/artifacts/{name}/versions", tag = "artifacts",
    params(("name" = String, Path, description = "The artifact's name")),
    responses((status = 200, body = ArtifactVersionListView), (status = 400, body = Problem),
        (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem)))]
async fn list_artifact_versions(
    State(service): State<Arc<Service>>,
    Extension(who): Extension<Principal>,
    name: Result<Path<String>, PathRejection>,
    Query(pairs): Query<Pairs>,
) -> Result<Json<ArtifactVersionListView>, ServiceError> {
    jobs_query::none(pairs)?;
    let name = name.map(|Path(name)| name).unwrap_or_default();
    Ok(Json(service.artifact_versions(&who, &name).await?))
}

/// The digest that an upload names, and the version that it is to be.
fn asked(pairs: Pairs, headers: &HeaderMap) -> Result<(Digest, Option<Versioned>), ServiceError> {
    let (mut given, mut artifact, mut version) = (None, None, None);
    for (name, value) in pairs {
        match name.as_str() {
            "sha256" => {
                let read = value.parse().map_err(|reason: &str| ServiceError::query("sha256", reason))?;
                given = Some(read);
            }
            "name" => artifact = Some(value),
            "version" => version = Some(value),
            _ => return Err(jobs_query::unknown(&name, &["sha256", "name", "version"])),
        }
    }
    let wrong = |reason: &str| {
        let violation = Violation::new(format!("/{DIGEST_HEADER}"), reason);
        ServiceError::violations(Code::InvalidHeader, vec![violation])
    };
    if let Some(text) = guard::printable(headers, DIGEST_HEADER)? {
        let read = text.parse().map_err(wrong)?;
        if given.as_ref().is_some_and(|given| *given != read) {
            return Err(wrong("is not the digest that the query has"));
        }
        given = Some(read);
    }
    let named = match (artifact, version) {
        (None, None) => None,
        (Some(artifact), Some(version)) => Some(Versioned::read(artifact, version)?),
        (Some(_), None) => return Err(ServiceError::query("version", "is missing beside `name`")),
        (None, Some(_)) => return Err(ServiceError::query("name", "is missing beside `version`")),
    };
    let digest =
        given.ok_or_else(|| ServiceError::query("sha256", "is missing: send the digest of the file"))?;
    Ok((digest, named))
}
