//! `/api/v1/deployments`: Flink jobs that are declared (contract F1–F3).

use std::sync::Arc;

use axum::extract::{FromRequestParts, Path, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use bytes::Bytes;
use libra_api::deployments::{
    AppliedView, DeploymentEventListView, DeploymentListView, DeploymentView, GenerationListView, PlanView,
    ResumeRequest, RollbackRequest,
};
use libra_api::problem::{Code, Problem, Violation};
use serde::de::DeserializeOwned;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::body;
use super::jobs_query::{self, Pairs, number, small, unknown};
use crate::auth::Principal;
use crate::service::{Precondition, Service, ServiceError, SpecText};

/// Events on a page when nothing is said, and at most.
const EVENTS: (u32, u32) = (100, 1_000);

pub(super) fn router() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new()
        .routes(routes!(plan_deployment))
        .routes(routes!(list_deployments, apply_deployment))
        .routes(routes!(get_deployment, delete_deployment))
        .routes(routes!(list_generations))
        .routes(routes!(list_deployment_events))
        .routes(routes!(rollback_deployment))
        .routes(routes!(suspend_deployment))
        .routes(routes!(resume_deployment))
        .routes(routes!(savepoint_deployment))
}

/// Says what a specification would change. Nothing is stored.
#[utoipa::path(post, path = "/api/v1/deployments/plan", tag = "deployments",
    request_body(content((String = "application/yaml"), (serde_json::Value = "application/json"))),
    responses((status = 200, body = PlanView), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 413, body = Problem), (status = 415, body = Problem),
        (status = 422, body = Problem)))]
async fn plan_deployment(
    State(service): State<Arc<Service>>,
    Extension(who): Extension<Principal>,
    Query(pairs): Query<Pairs>,
    request: Request,
) -> Result<Json<PlanView>, ServiceError> {
    jobs_query::none(pairs)?;
    let (yaml, bytes) = specification(request).await?;
    Ok(Json(service.plan_deployment(&who, text(yaml, &bytes)).await?))
}

/// Declares a Flink job: its specification is what is wanted from now on.
///
/// One that changes nothing makes no new generation. What happens to the job is told by the plan in the answer.
#[utoipa::path(post, path = "/api/v1/deployments", tag = "deployments",
    request_body(content((String = "application/yaml"), (serde_json::Value = "application/json"))),
    params(
        ("If-Match" = Option<String>, Header, description = "The version that was seen; another one is answered with 409"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only when there is no such deployment yet")),
    responses((status = 200, body = AppliedView), (status = 201, description = "It is new", body = AppliedView),
        (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 409, body = Problem), (status = 413, body = Problem), (status = 415, body = Problem),
        (status = 422, body = Problem)))]
async fn apply_deployment(
    State(service): State<Arc<Service>>,
    Extension(who): Extension<Principal>,
    Query(pairs): Query<Pairs>,
    request: Request,
) -> Result<Response, ServiceError> {
    jobs_query::none(pairs)?;
    let precondition = precondition(request.headers())?;
    let (yaml, bytes) = specification(request).await?;
    let (applied, new) = service.apply_deployment(&who, text(yaml, &bytes), precondition).await?;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    let tag = tag(&applied.deployment);
    Ok((status, tag, Json(applied)).into_response())
}

/// Lists deployments by name.
#[utoipa::path(get, path = "/api/v1/deployments", tag = "deployments",
    responses((status = 200, body = DeploymentListView), (status = 401, body = Problem)))]
async fn list_deployments(
    State(service): State<Arc<Service>>,
    Extension(who): Extension<Principal>,
    Query(pairs): Query<Pairs>,
) -> Result<Json<DeploymentListView>, ServiceError> {
    jobs_query::none(pairs)?;
    Ok(Json(service.deployments(&who).await?))
}

/// One deployment with its newest specification. The `ETag` is its version.
#[utoipa::path(get, path = "/api/v1/deployments/{id}", tag = "deployments", params(("id" = String, Path)),
    responses((status = 200, body = DeploymentView), (status = 401, body = Problem), (status = 404, body = Problem)))]
async fn get_deployment(call: Call, Query(pairs): Query<Pairs>) -> Result<Response, ServiceError> {
    jobs_query::none(pairs)?;
    let view = call.service.deployment_view(&call.who, &call.id).await?;
    Ok((tag(&view), Json(view)).into_response())
}

/// Deletes a deployment: its job is stopped, with a last savepoint unless the query says otherwise, and then it is
/// forgotten.
#[utoipa::path(delete, path = "/api/v1/deployments/{id}", tag = "deployments",
    params(("id" = String, Path),
        ("savepoint" = Option<bool>, Query, description = "Whether a last savepoint is made; true when absent"),
        ("If-Match" = Option<String>, Header, description = "The version that was seen; another one is answered with 409")),
    responses((status = 202, body = DeploymentView), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem)))]
async fn delete_deployment(change: Change, Query(pairs): Query<Pairs>) -> Result<Response, ServiceError> {
    let mut savepoint = true;
    for (name, value) in pairs {
        match (name.as_str(), value.as_str()) {
            ("savepoint", "true") => savepoint = true,
            ("savepoint", "false") => savepoint = false,
            ("savepoint", _) => return Err(ServiceError::query("savepoint", "must be `true` or `false`")),
            _ => return Err(unknown(&name, &["savepoint"])),
        }
    }
    let Change { call: Call { service, who, id }, seen } = change;
    service.delete_deployment(&who, &id, seen, savepoint).await.map(accepted)
}

/// Every specification that was applied, newest first.
#[utoipa::path(get, path = "/api/v1/deployments/{id}/generations", tag = "deployments", params(("id" = String, Path)),
    responses((status = 200, body = GenerationListView), (status = 401, body = Problem), (status = 404, body = Problem)))]
async fn list_generations(
    call: Call,
    Query(pairs): Query<Pairs>,
) -> Result<Json<GenerationListView>, ServiceError> {
    jobs_query::none(pairs)?;
    Ok(Json(call.service.deployment_generations(&call.who, &call.id).await?))
}

/// What happened to a deployment, oldest first.
#[utoipa::path(get, path = "/api/v1/deployments/{id}/events", tag = "deployments",
    params(("id" = String, Path),
        ("after" = Option<u64>, Query, description = "Only events with greater numbers"),
        ("limit" = Option<u32>, Query, description = "1–1000, 100 when absent")),
    responses((status = 200, body = DeploymentEventListView), (status = 400, body = Problem),
        (status = 401, body = Problem), (status = 404, body = Problem)))]
async fn list_deployment_events(
    call: Call,
    Query(pairs): Query<Pairs>,
) -> Result<Json<DeploymentEventListView>, ServiceError> {
    let (mut after, mut limit) = (0, EVENTS.0);
    for (name, value) in pairs {
        match name.as_str() {
            "after" => after = number("after", &value, 0, i64::MAX.unsigned_abs())?,
            "limit" => limit = small("limit", &value, 1, EVENTS.1)?,
            _ => return Err(unknown(&name, &["after", "limit"])),
        }
    }
    Ok(Json(call.service.deployment_events(&call.who, &call.id, after, limit).await?))
}

/// Back to an older generation, with the state of the job that runs. Without a generation: the last before the wanted one
/// that was stable.
#[utoipa::path(post, path = "/api/v1/deployments/{id}/rollback", tag = "deployments",
    params(("id" = String, Path),
        ("If-Match" = Option<String>, Header, description = "The version that was seen; another one is answered with 409")),
    request_body = Option<RollbackRequest>,
    responses((status = 202, body = DeploymentView), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem)))]
async fn rollback_deployment(
    change: Change,
    Query(pairs): Query<Pairs>,
    request: Request,
) -> Result<Response, ServiceError> {
    jobs_query::none(pairs)?;
    let Change { call: Call { service, who, id }, seen } = change;
    let request = optional(request).await?;
    service.roll_back_deployment(&who, &id, seen, request).await.map(accepted)
}

/// Stops the job and keeps its state, until it is resumed.
#[utoipa::path(post, path = "/api/v1/deployments/{id}/suspend", tag = "deployments",
    params(("id" = String, Path),
        ("If-Match" = Option<String>, Header, description = "The version that was seen; another one is answered with 409")),
    responses((status = 202, body = DeploymentView), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem)))]
async fn suspend_deployment(change: Change, Query(pairs): Query<Pairs>) -> Result<Response, ServiceError> {
    jobs_query::none(pairs)?;
    let Change { call: Call { service, who, id }, seen } = change;
    service.suspend_deployment(&who, &id, seen).await.map(accepted)
}

/// Runs it again after it was suspended, was given up, or has ended.
#[utoipa::path(post, path = "/api/v1/deployments/{id}/resume", tag = "deployments",
    params(("id" = String, Path),
        ("If-Match" = Option<String>, Header, description = "The version that was seen; another one is answered with 409")),
    request_body = Option<ResumeRequest>,
    responses((status = 202, body = DeploymentView), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem)))]
async fn resume_deployment(
    change: Change,
    Query(pairs): Query<Pairs>,
    request: Request,
) -> Result<Response, ServiceError> {
    jobs_query::none(pairs)?;
    let Change { call: Call { service, who, id }, seen } = change;
    let request = optional(request).await?;
    service.resume_deployment(&who, &id, seen, request).await.map(accepted)
}

/// Makes a savepoint; the job goes on.
#[utoipa::path(post, path = "/api/v1/deployments/{id}/savepoint", tag = "deployments",
    params(("id" = String, Path),
        ("If-Match" = Option<String>, Header, description = "The version that was seen; another one is answered with 409")),
    responses((status = 202, body = DeploymentView), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem)))]
async fn savepoint_deployment(change: Change, Query(pairs): Query<Pairs>) -> Result<Response, ServiceError> {
    jobs_query::none(pairs)?;
    let Change { call: Call { service, who, id }, seen } = change;
    service.savepoint_deployment(&who, &id, seen).await.map(accepted)
}

/// A call that is about one deployment.
struct Call {
    service: Arc<Service>,
    who: Principal,
    id: String,
}

/// A call that changes one deployment.
struct Change {
    call: Call,
    /// The version that the caller has seen, where that matters to it.
    seen: Option<u64>,
}

impl FromRequestParts<Arc<Service>> for Call {
    type Rejection = ServiceError;

    async fn from_request_parts(parts: &mut Parts, service: &Arc<Service>) -> Result<Self, ServiceError> {
        let Ok(Extension(who)) = Extension::<Principal>::from_request_parts(parts, service).await else {
            return Err(ServiceError::new(Code::Internal, "nobody knows who calls"));
        };
        // What is no text is no deployment's name.
        let Ok(Path(id)) = Path::<String>::from_request_parts(parts, service).await else {
            return Err(ServiceError::new(Code::DeploymentNotFound, "there is no deployment of this name"));
        };
        Ok(Self { service: Arc::clone(service), who, id })
    }
}

impl FromRequestParts<Arc<Service>> for Change {
    type Rejection = ServiceError;

    async fn from_request_parts(parts: &mut Parts, service: &Arc<Service>) -> Result<Self, ServiceError> {
        let call = Call::from_request_parts(parts, service).await?;
        let seen = match precondition(&parts.headers)? {
            Precondition::None => None,
            Precondition::Version(version) => Some(version),
            Precondition::Absent => {
                return Err(wrong_header("if-none-match", "counts only when a specification is applied"));
            }
        };
        Ok(Self { call, seen })
    }
}

/// What is wanted is stored, and will be done.
fn accepted(view: DeploymentView) -> Response {
    (StatusCode::ACCEPTED, tag(&view), Json(view)).into_response()
}

/// A specification, and whether it is YAML.
async fn specification(request: Request) -> Result<(bool, Bytes), ServiceError> {
    let yaml = body::is_yaml(request.headers());
    if !yaml && !body::is_json(request.headers()) {
        let message = "a specification is sent with `Content-Type: application/yaml` or `application/json`";
        return Err(ServiceError::new(Code::UnsupportedMediaType, message));
    }
    let bytes = body::whole(request, "put long SQL into the program").await?;
    Ok((yaml, bytes))
}

fn text(yaml: bool, bytes: &Bytes) -> SpecText<'_> {
    if yaml { SpecText::Yaml(bytes) } else { SpecText::Json(bytes) }
}

/// A body that may be absent.
async fn optional<T: DeserializeOwned + Default>(request: Request) -> Result<T, ServiceError> {
    let bytes = body::whole(request, "it has one field").await?;
    if bytes.trim_ascii().is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(&bytes).map_err(|e| {
        let code = if e.is_data() { Code::InvalidRequest } else { Code::InvalidJson };
        ServiceError::new(code, format!("the body can't be read: {e}"))
    })
}

fn precondition(headers: &HeaderMap) -> Result<Precondition, ServiceError> {
    let value = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or_default().trim());
    match (value(header::IF_MATCH), value(header::IF_NONE_MATCH)) {
        (None, None) => Ok(Precondition::None),
        (Some(_), Some(_)) => Err(wrong_header("if-match", "can't stand beside if-none-match")),
        (None, Some("*")) => Ok(Precondition::Absent),
        (None, Some(_)) => Err(wrong_header("if-none-match", "must be `*`")),
        (Some(seen), None) => {
            let version =
                seen.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(seen).parse();
            version.map(Precondition::Version).map_err(|_| {
                wrong_header("if-match", "must be a version as the ETag tells it, such as \"3\"")
            })
        }
    }
}

fn wrong_header(name: &str, reason: &str) -> ServiceError {
    ServiceError::violations(Code::InvalidHeader, vec![Violation::new(format!("/{name}"), reason)])
}

fn tag(view: &DeploymentView) -> [(header::HeaderName, String); 1] {
    [(header::ETAG, format!("\"{}\"", view.version))]
}
