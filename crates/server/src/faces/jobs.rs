//! The job routes, once for every engine and once with the engine fixed to Spark (contract A1–A4).

use std::sync::Arc;

use axum::extract::{FromRequestParts, OriginalUri, Path, Query, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use libra_api::problem::Problem;
use libra_api::submit::SubmitRequest;
use libra_api::turns::ExplainView;
use libra_api::views::{CancelView, EventListView, JobListView, JobView, SubmitView};
use sha2::{Digest, Sha256};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::jobs_query::{self as query, Pairs};
use super::{body, guard, logs, results};
use crate::auth::Principal;
use crate::hex;
use crate::service::{Service, ServiceError, Submit};

/// Which face a request came through.
#[derive(Clone, Copy, Debug)]
pub(super) enum Face {
    /// `/api/v1/jobs`.
    Any,
    /// `/api/v1/spark/jobs`.
    Spark,
}

impl Face {
    fn path(self) -> &'static str {
        match self {
            Self::Any => "/api/v1/jobs",
            Self::Spark => "/api/v1/spark/jobs",
        }
    }
}

pub(super) fn router(face: Face) -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new()
        .routes(routes!(list_jobs, create_job))
        .routes(routes!(submit_job))
        .routes(routes!(get_job, cancel_job))
        .routes(routes!(results::get_job_result))
        .routes(routes!(logs::get_job_logs))
        .routes(routes!(get_job_events))
        .routes(routes!(explain_job))
        .layer(Extension(face))
}

async fn submit(
    service: &Arc<Service>,
    face: Face,
    who: &Principal,
    request: Request,
) -> Result<Response, ServiceError> {
    let correlation_id =
        request.extensions().get::<guard::CorrelationId>().map(|c| c.0.clone()).unwrap_or_default();
    let key = guard::printable(request.headers(), "idempotency-key")?;
    let path = request.extensions().get::<OriginalUri>().map_or("", |u| u.path()).to_owned();
    let (bytes, value) = body::json(request).await?;
    let idempotency = key.map(|key| {
        let scope = format!("{}\n{}\nPOST {path}", who.tenant, who.user);
        (scope, key, hex(&Sha256::digest(&bytes)))
    });
    let submit = Submit { principal: who, body: &value, correlation_id: &correlation_id, idempotency };
    let answer = service.submit(submit).await?;
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::ACCEPTED);
    let mut response = (status, answer.body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Ok(location) = HeaderValue::from_str(&format!("{}/{}", face.path(), answer.job_id)) {
        headers.insert(header::LOCATION, location);
    }
    if answer.replayed {
        headers.insert("idempotency-replayed", HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// The id in the path, as it was written.
pub(super) struct JobPath(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for JobPath {
    type Rejection = ServiceError;
    async fn from_request_parts(
        parts: &mut axum::http::request::Parts,
        state: &S,
    ) -> Result<Self, ServiceError> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(id)) => Ok(Self(id)),
            // What is no text is no job's id.
            Err(_) => Err(ServiceError::job_not_found("of this id")),
        }
    }
}

/// Submits a job.
#[utoipa::path(post, path = "", tag = "jobs", request_body = SubmitRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "The same key and body give the first answer again")),
    responses(
        (status = 202, description = "Stored and queued", body = SubmitView),
        (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem), (status = 413, body = Problem),
        (status = 415, body = Problem), (status = 422, body = Problem), (status = 429, body = Problem)))]
async fn create_job(
    State(service): State<Arc<Service>>,
    Extension(face): Extension<Face>,
    Extension(who): Extension<Principal>,
    request: Request,
) -> Result<Response, ServiceError> {
    submit(&service, face, &who, request).await
}

/// Submits a job (another spelling).
#[utoipa::path(post, path = "/submit", tag = "jobs", request_body = SubmitRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "The same key and body give the first answer again")),
    responses(
        (status = 202, description = "Stored and queued", body = SubmitView),
        (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem), (status = 413, body = Problem),
        (status = 415, body = Problem), (status = 422, body = Problem), (status = 429, body = Problem)))]
async fn submit_job(
    State(service): State<Arc<Service>>,
    Extension(face): Extension<Face>,
    Extension(who): Extension<Principal>,
    request: Request,
) -> Result<Response, ServiceError> {
    submit(&service, face, &who, request).await
}

/// Lists jobs, newest first.
#[utoipa::path(get, path = "", tag = "jobs",
    params(
        ("status" = Option<String>, Query, description = "One state or several, comma-separated"),
        ("user" = Option<String>, Query), ("tenant" = Option<String>, Query), ("mode" = Option<String>, Query),
        ("engine" = Option<String>, Query), ("kind" = Option<String>, Query), ("queue" = Option<String>, Query),
        ("name" = Option<String>, Query), ("cluster" = Option<String>, Query),
        ("label" = Option<String>, Query, description = "`key=value`; may be repeated"),
        ("since" = Option<String>, Query, description = "Submitted at or after, RFC 3339"),
        ("until" = Option<String>, Query, description = "Submitted before, RFC 3339"),
        ("limit" = Option<u32>, Query, description = "1–1000, 50 when absent"),
        ("offset" = Option<u32>, Query, description = "Jobs to skip; refused where conditions are combined and it reaches too far: follow `nextCursor` then"),
        ("cursor" = Option<String>, Query, description = "`nextCursor` of the page before")),
    responses((status = 200, body = JobListView), (status = 400, body = Problem), (status = 401, body = Problem)))]
async fn list_jobs(
    State(service): State<Arc<Service>>,
    Extension(face): Extension<Face>,
    Extension(who): Extension<Principal>,
    Query(pairs): Query<Pairs>,
) -> Result<Json<JobListView>, ServiceError> {
    let mut list = query::list(pairs)?;
    match face {
        Face::Any => {}
        Face::Spark => {
            list.filter.engine.get_or_insert_with(|| "spark".to_owned());
        }
    }
    Ok(Json(service.list(&who, list).await?))
}

/// One job. With `wait`, the answer comes when it has ended, or after that time.
#[utoipa::path(get, path = "/{id}", tag = "jobs",
    params(("id" = String, Path), ("wait" = Option<String>, Query, description = "Seconds, at most 300: `60s`")),
    responses((status = 200, body = JobView), (status = 400, body = Problem), (status = 401, body = Problem), (status = 404, body = Problem)))]
async fn get_job(
    State(service): State<Arc<Service>>,
    Extension(who): Extension<Principal>,
    JobPath(id): JobPath,
    Query(pairs): Query<Pairs>,
) -> Result<Json<JobView>, ServiceError> {
    let wait = query::wait(pairs)?;
    Ok(Json(service.job_view(&who, &id, wait).await?))
}

/// Cancels a job: 200 when nothing of it is alive any more, 202 while that takes longer than five seconds.
#[utoipa::path(delete, path = "/{id}", tag = "jobs", params(("id" = String, Path)),
    responses((status = 200, body = CancelView), (status = 202, body = CancelView), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem)))]
async fn cancel_job(
    State(service): State<Arc<Service>>,
    Extension(who): Extension<Principal>,
    JobPath(id): JobPath,
) -> Result<(StatusCode, Json<CancelView>), ServiceError> {
    let (view, done) = service.cancel(&who, &id).await?;
    Ok((if done { StatusCode::OK } else { StatusCode::ACCEPTED }, Json(view)))
}

/// A job's history.
#[utoipa::path(get, path = "/{id}/events", tag = "jobs", params(("id" = String, Path)),
    responses((status = 200, body = EventListView), (status = 401, body = Problem), (status = 404, body = Problem)))]
async fn get_job_events(
    State(service): State<Arc<Service>>,
    Extension(who): Extension<Principal>,
    JobPath(id): JobPath,
    Query(pairs): Query<Pairs>,
) -> Result<Json<EventListView>, ServiceError> {
    query::none(pairs)?;
    Ok(Json(service.events(&who, &id).await?))
}

/// Why a job is where it is.
#[utoipa::path(get, path = "/{id}/explain", tag = "jobs", params(("id" = String, Path)),
    responses((status = 200, body = ExplainView), (status = 401, body = Problem), (status = 404, body = Problem)))]
async fn explain_job(
    State(service): State<Arc<Service>>,
    Extension(who): Extension<Principal>,
    JobPath(id): JobPath,
    Query(pairs): Query<Pairs>,
) -> Result<Json<ExplainView>, ServiceError> {
    query::none(pairs)?;
    Ok(Json(service.explain(&who, &id).await?))
}
