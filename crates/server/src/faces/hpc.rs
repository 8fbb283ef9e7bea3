//! `/v1`: jobs of batch schedulers that Libra sees (contract H), as the reference of that face spells them.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Path, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::{Extension, Json};
use libra_api::hpc::bodies::{
    HpcJobPatch, HpcJobRequest, HpcSampleRequest, JobFinishedRequest, JobStartedRequest,
};
use libra_api::hpc::efficiency::{EfficiencyListView, EfficiencyView};
use libra_api::hpc::jobs::{
    AuditListView, HpcEventView, HpcJobListView, HpcJobView, SampleListView, SampleView,
};
use libra_api::hpc::samples::{BatchAnswer, SampleBatch};
use libra_api::hpc::strange::unknown_fields;
use libra_api::problem::{Code, Problem};
use libra_core::hpc::raw_state::HpcState;
use libra_core::time::Timestamp;
use libra_store::operations::Operation;
use libra_store::tables::hpc::list::Filter;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::body;
use super::guard::{CorrelationId, printable};
use super::jobs_query::{self, Pairs, small, time, unknown};
use super::keys::{self, Asked};
use crate::auth::Principal;
use crate::service::{HpcAuthor, HpcListQuery, SampleQuery, SampleStep, Service, ServiceError};

/// Jobs on a page when nothing is said, and at most.
const JOBS: (u32, u32) = (100, 1_000);
/// The most jobs that can be skipped; further on, use the cursor.
const MOST_SKIPPED: u32 = 100_000;
/// Samples in an answer when nothing is said, and at most.
const SAMPLES: (u32, u32) = (1_000, 100_000);
/// What a report is of when nothing is said: seven days, in seconds.
const REPORTED_SECONDS: i64 = 7 * 24 * 3_600;
const CHANGED_BY: &str = "x-changed-by";
const SOURCE: &str = "x-source";
/// The source of changes that name none.
const BY_API: &str = "api";

pub(super) fn router() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new()
        .routes(routes!(list_hpc_jobs, create_hpc_job))
        .routes(routes!(get_hpc_job, update_hpc_job, delete_hpc_job))
        .routes(routes!(get_hpc_samples, record_hpc_sample))
        .routes(routes!(record_hpc_batch))
        .routes(routes!(get_hpc_audit))
        .routes(routes!(get_hpc_efficiency))
        .routes(routes!(list_hpc_efficiency))
        .routes(routes!(job_started))
        .routes(routes!(job_finished))
}

/// Who makes a change: by the headers `X-Changed-By` and `X-Source`, else the caller.
struct Author(HpcAuthor);

impl FromRequestParts<Arc<Service>> for Author {
    type Rejection = ServiceError;

    async fn from_request_parts(parts: &mut Parts, service: &Arc<Service>) -> Result<Self, Self::Rejection> {
        let who = Extension::<Principal>::from_request_parts(parts, service).await;
        let correlation = Extension::<CorrelationId>::from_request_parts(parts, service).await;
        let (Ok(Extension(who)), Ok(Extension(correlation))) = (who, correlation) else {
            return Err(ServiceError::new(Code::Internal, "a request came in by another way"));
        };
        let named = |name| named(&parts.headers, name);
        let changed_by = named(CHANGED_BY)?.unwrap_or_else(|| who.user.clone());
        let source = named(SOURCE)?.unwrap_or_else(|| BY_API.to_owned());
        Ok(Self(HpcAuthor { who, changed_by, source, correlation_id: correlation.0 }))
    }
}

/// A header that says who or by which way; one that says nothing is no answer to the question.
fn named(headers: &HeaderMap, name: &'static str) -> Result<Option<String>, ServiceError> {
    let blank = |value: &axum::http::HeaderValue| value.as_bytes().iter().all(u8::is_ascii_whitespace);
    if headers.get(name).is_some_and(blank) {
        let message = format!("the header {name} is empty: say who makes this change, or leave it out");
        return Err(ServiceError::new(Code::MissingAuditInfo, message));
    }
    printable(headers, name)
}

/// Makes a job known that no scheduler has told of.
#[utoipa::path(post, path = "/v1/jobs", tag = "hpc", request_body = HpcJobRequest,
    params(("X-Changed-By" = Option<String>, Header, description = "Who makes the change; the caller, when absent"),
        ("X-Source" = Option<String>, Header, description = "By which way; `api`, when absent"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same key and body give the first answer again")),
    responses((status = 201, body = HpcJobView), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 409, body = Problem), (status = 415, body = Problem),
        (status = 422, description = "The key came before with another body", body = Problem)))]
async fn create_hpc_job(
    State(service): State<Arc<Service>>,
    Author(by): Author,
    request: Request,
) -> Result<Response, ServiceError> {
    let asked = Asked::of(&request)?;
    let (bytes, body) = body::json(request).await?;
    let made = service.create_hpc_job(&by, &body, asked.with(&by.who, &bytes)).await;
    let made = service.counted(Operation::CreateJob, made)?;
    Ok(keys::answer(made, |job| (StatusCode::CREATED.as_u16(), job)))
}

/// Lists jobs, newest first.
#[utoipa::path(get, path = "/v1/jobs", tag = "hpc",
    params(("state" = Option<String>, Query, description = "`pending`, `running`, `completed`, `failed` or `cancelled`"),
        ("user" = Option<String>, Query), ("node" = Option<String>, Query, description = "Jobs that were on this node"),
        ("account" = Option<String>, Query), ("partition" = Option<String>, Query), ("cluster" = Option<String>, Query),
        ("limit" = Option<u32>, Query, description = "100 when absent, at most 1,000"),
        ("offset" = Option<u32>, Query), ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before")),
    responses((status = 200, body = HpcJobListView), (status = 400, body = Problem), (status = 401, body = Problem)))]
async fn list_hpc_jobs(
    State(service): State<Arc<Service>>,
    Extension(who): Extension<Principal>,
    Query(pairs): Query<Pairs>,
) -> Result<Json<HpcJobListView>, ServiceError> {
    let list = service.hpc_jobs(&who, list_query(pairs)?).await;
    Ok(Json(service.counted(Operation::ListJobs, list)?))
}

fn list_query(pairs: Pairs) -> Result<HpcListQuery, ServiceError> {
    const KNOWN: [&str; 9] =
        ["state", "user", "node", "account", "partition", "cluster", "limit", "offset", "cursor"];
    let mut query = HpcListQuery { filter: Filter::default(), offset: 0, limit: JOBS.0 };
    for (name, value) in pairs {
        match name.as_str() {
            "state" => {
                let known = HpcState::parse(&value);
                let reason = "must be `pending`, `running`, `completed`, `failed` or `cancelled`";
                query.filter.state = Some(known.ok_or_else(|| ServiceError::query("state", reason))?);
            }
            "user" => query.filter.user = Some(value),
            "node" => query.filter.node = Some(value),
            "account" => query.filter.account = Some(value),
            "partition" => query.filter.partition = Some(value),
            "cluster" => query.filter.cluster = Some(value),
            "limit" => query.limit = small("limit", &value, 1, JOBS.1)?,
            "offset" => query.offset = small("offset", &value, 0, MOST_SKIPPED)?,
            "cursor" => {
                let place = value.parse().ok();
                let reason = "must be the `next_cursor` of a page";
                query.filter.before = Some(place.ok_or_else(|| ServiceError::query("cursor", reason))?);
            }
            _ => return Err(unknown(&name, &KNOWN)),
        }
    }
    Ok(query)
}

/// One job, by Libra's id, by the id that its maker gave it, or by its number with its scheduler.
#[utoipa::path(get, path = "/v1/jobs/{id}", tag = "hpc", params(("id" = String, Path)),
    responses((status = 200, body = HpcJobView), (status = 401, body = Problem), (status = 404, body = Problem),
        (status = 409, description = "Several jobs are called so", body = Problem)))]
async fn get_hpc_job(
    State(service): State<Arc<Service>>,
    Extension(who): Extension<Principal>,
    Path(id): Path<String>,
    Query(pairs): Query<Pairs>,
) -> Result<Json<HpcJobView>, ServiceError> {
    jobs_query::none(pairs)?;
    let job = service.hpc_job_view(&who, &id).await;
    Ok(Json(service.counted(Operation::GetJob, job)?))
}

/// Changes a job's state, or tells what it uses. What has ended stays as it is.
#[utoipa::path(patch, path = "/v1/jobs/{id}", tag = "hpc", params(("id" = String, Path)), request_body = HpcJobPatch,
    responses((status = 200, body = HpcJobView), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem)))]
async fn update_hpc_job(
    State(service): State<Arc<Service>>,
    Author(by): Author,
    Path(id): Path<String>,
    request: Request,
) -> Result<Json<HpcJobView>, ServiceError> {
    let (_, body) = body::json(request).await?;
    let job = service.patch_hpc_job(&by, &id, &body).await;
    Ok(Json(service.counted(Operation::UpdateJob, job)?))
}

/// Forgets a job with its samples; the record of its changes stays. A job that its scheduler still tells of has to end first.
#[utoipa::path(delete, path = "/v1/jobs/{id}", tag = "hpc", params(("id" = String, Path)),
    responses((status = 204), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem),
        (status = 409, description = "It has not ended, and its scheduler would tell of it again; or several jobs are called so", body = Problem)))]
async fn delete_hpc_job(
    State(service): State<Arc<Service>>,
    Author(by): Author,
    Path(id): Path<String>,
) -> Result<StatusCode, ServiceError> {
    let deleted = service.delete_hpc_job(&by, &id).await;
    service.counted(Operation::DeleteJob, deleted)?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a job used in a range of time: samples, or minutes or hours of them where the range is long.
#[utoipa::path(get, path = "/v1/jobs/{id}/metrics", tag = "hpc",
    params(("id" = String, Path), ("start_time" = Option<String>, Query), ("end_time" = Option<String>, Query),
        ("limit" = Option<u32>, Query, description = "1,000 when absent, at most 100,000"),
        ("resolution" = Option<String>, Query, description = "`raw`, `1m` or `1h`; by the length of the range when absent")),
    responses((status = 200, body = SampleListView), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 404, body = Problem)))]
async fn get_hpc_samples(
    State(service): State<Arc<Service>>,
    Extension(who): Extension<Principal>,
    Path(id): Path<String>,
    Query(pairs): Query<Pairs>,
) -> Result<Json<SampleListView>, ServiceError> {
    const KNOWN: [&str; 4] = ["start_time", "end_time", "limit", "resolution"];
    let mut query = SampleQuery { limit: SAMPLES.0, ..SampleQuery::default() };
    let moment = |name, value: &str| time(name, value).map(Some::<Timestamp>);
    for (name, value) in pairs {
        match name.as_str() {
            "start_time" => query.from = moment("start_time", &value)?,
            "end_time" => query.until = moment("end_time", &value)?,
            "limit" => query.limit = small("limit", &value, 1, SAMPLES.1)?,
            "resolution" => {
                let step = SampleStep::parse(&value);
                let reason = "must be `raw`, `1m` or `1h`";
                query.step = Some(step.ok_or_else(|| ServiceError::query("resolution", reason))?);
            }
            _ => return Err(unknown(&name, &KNOWN)),
        }
    }
    let samples = service.hpc_samples(&who, &id, query).await;
    Ok(Json(service.counted(Operation::GetJobMetrics, samples)?))
}

/// Tells what a job uses. Of one moment there is one sample: the first one stays, and is the answer.
#[utoipa::path(post, path = "/v1/jobs/{id}/metrics", tag = "hpc",
    params(("id" = String, Path), ("Idempotency-Key" = Option<String>, Header, description = "The same key and body give the first answer again")),
    request_body = HpcSampleRequest,
    responses((status = 201, description = "Kept", body = SampleView),
        (status = 200, description = "There was a sample of this moment already: that one is kept, and is this answer", body = SampleView),
        (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 422, description = "The key came before with another body", body = Problem)))]
async fn record_hpc_sample(
    State(service): State<Arc<Service>>,
    Author(by): Author,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, ServiceError> {
    let asked = Asked::of(&request)?;
    let (bytes, body) = body::json(request).await?;
    let taken = service.record_hpc_sample(&by, &id, &body, asked.with(&by.who, &bytes)).await;
    let taken = service.counted(Operation::RecordMetrics, taken)?;
    Ok(keys::answer(taken, |taken| (taken.status(), taken.view)))
}

/// Takes what a node agent has measured. A sample that can't be taken holds up no other; the same batch again is the same: its
/// samples are there, and are counted as duplicates.
#[utoipa::path(post, path = "/v1/metrics/batch", tag = "hpc", request_body = SampleBatch,
    params(("Idempotency-Key" = Option<String>, Header, description = "The same key and body give the first answer again")),
    responses((status = 200, body = BatchAnswer), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 413, body = Problem), (status = 415, body = Problem),
        (status = 422, description = "The key came before with another body", body = Problem)))]
async fn record_hpc_batch(
    State(service): State<Arc<Service>>,
    Author(by): Author,
    request: Request,
) -> Result<Response, ServiceError> {
    let asked = Asked::of(&request)?;
    let bytes = body::json_bytes(request).await?;
    let batch: SampleBatch = serde_json::from_slice(&bytes).map_err(|e| {
        let message = format!("the body is no batch of samples: {e}");
        ServiceError::new(Code::InvalidRequest, message)
    })?;
    let ignored = unknown_fields(&bytes);
    let taken = service.record_hpc_batch(&by, batch, ignored, asked.with(&by.who, &bytes)).await;
    let taken = service.counted(Operation::RecordMetricsBatch, taken)?;
    Ok(keys::answer(taken, |answer: BatchAnswer| (StatusCode::OK.as_u16(), answer)))
}

/// Everything that was changed of a job, and by whom.
#[utoipa::path(get, path = "/v1/jobs/{id}/audit", tag = "hpc", params(("id" = String, Path)),
    responses((status = 200, body = AuditListView), (status = 401, body = Problem), (status = 404, body = Problem)))]
async fn get_hpc_audit(
    State(service): State<Arc<Service>>,
    Extension(who): Extension<Principal>,
    Path(id): Path<String>,
    Query(pairs): Query<Pairs>,
) -> Result<Json<AuditListView>, ServiceError> {
    jobs_query::none(pairs)?;
    let audit = service.hpc_audit(&who, &id).await;
    Ok(Json(service.counted(Operation::GetAuditEvents, audit)?))
}

/// What a job has made of what it was given, and what was found to be wasted. Null is unknown, which is not zero.
#[utoipa::path(get, path = "/v1/jobs/{id}/efficiency", tag = "hpc", params(("id" = String, Path)),
    responses((status = 200, body = EfficiencyView), (status = 401, body = Problem), (status = 404, body = Problem),
        (status = 409, description = "Several clusters have had a job of this number", body = Problem)))]
async fn get_hpc_efficiency(
    State(service): State<Arc<Service>>,
    Extension(who): Extension<Principal>,
    Path(id): Path<String>,
    Query(pairs): Query<Pairs>,
) -> Result<Json<EfficiencyView>, ServiceError> {
    jobs_query::none(pairs)?;
    Ok(Json(service.hpc_efficiency(&who, &id).await?))
}

/// What all jobs of some time have made of what they were given, by user.
#[utoipa::path(get, path = "/v1/efficiency", tag = "hpc",
    params(("user" = Option<String>, Query), ("account" = Option<String>, Query),
        ("since" = Option<String>, Query, description = "Jobs that Libra first heard of at this time or later; seven days ago when absent")),
    responses((status = 200, body = EfficiencyListView), (status = 400, body = Problem), (status = 401, body = Problem)))]
async fn list_hpc_efficiency(
    State(service): State<Arc<Service>>,
    Extension(who): Extension<Principal>,
    Query(pairs): Query<Pairs>,
) -> Result<Json<EfficiencyListView>, ServiceError> {
    const KNOWN: [&str; 3] = ["user", "account", "since"];
    let (mut user, mut account) = (None, None);
    let mut since = service.clock.now().plus_seconds(-REPORTED_SECONDS);
    for (name, value) in pairs {
        match name.as_str() {
            "user" => user = Some(value),
            "account" => account = Some(value),
            "since" => since = time("since", &value)?,
            _ => return Err(unknown(&name, &KNOWN)),
        }
    }
    Ok(Json(service.hpc_efficiencies(&who, (user, account), since).await?))
}

/// A hook says that a job runs. The same again, late or out of order changes nothing that is known.
#[utoipa::path(post, path = "/v1/events/job-started", tag = "hpc", request_body = JobStartedRequest,
    responses((status = 200, body = HpcEventView), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem)))]
async fn job_started(
    State(service): State<Arc<Service>>,
    Author(by): Author,
    request: Request,
) -> Result<Json<HpcEventView>, ServiceError> {
    let (_, body) = body::json(request).await?;
    Ok(Json(service.job_started(&by, &body).await?))
}

/// A hook says that a job has ended. Where its scheduler can be asked, it has ended once that says so.
#[utoipa::path(post, path = "/v1/events/job-finished", tag = "hpc", request_body = JobFinishedRequest,
    responses((status = 200, body = HpcEventView), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem)))]
async fn job_finished(
    State(service): State<Arc<Service>>,
    Author(by): Author,
    request: Request,
) -> Result<Json<HpcEventView>, ServiceError> {
    let (_, body) = body::json(request).await?;
    Ok(Json(service.job_finished(&by, &body).await?))
}
