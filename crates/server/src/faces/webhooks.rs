//! `/api/v1/webhooks`: what is sent to webhooks, and how that goes (contract A12).

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use libra_api::feed::{ReplayView, WebhookListView, WebhookView};
use libra_api::problem::{Code, Problem};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::feed_query as query;
use super::jobs_query::{self, Pairs};
use crate::auth::Principal;
use crate::service::{Service, ServiceError};

pub(super) fn router() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new()
        .routes(routes!(list_webhooks))
        .routes(routes!(replay_webhooks))
        .routes(routes!(replay_webhook))
}

/// Lists messages to webhooks. Delivered ones are kept for seven days, all others as long as their job.
#[utoipa::path(get, path = "/api/v1/webhooks", tag = "webhooks",
    params(
        ("state" = Option<String>, Query, description = "`pending`, `delivered` or `dead` (given up)"),
        ("job" = Option<String>, Query, description = "Only messages about this job"),
        ("limit" = Option<u32>, Query, description = "1–1000, 50 when absent"),
        ("cursor" = Option<String>, Query, description = "`nextCursor` of the page before")),
    responses((status = 200, body = WebhookListView), (status = 400, body = Problem), (status = 401, body = Problem)))]
async fn list_webhooks(
    State(service): State<Arc<Service>>,
    Extension(who): Extension<Principal>,
    Query(pairs): Query<Pairs>,
) -> Result<Json<WebhookListView>, ServiceError> {
    let list = query::webhooks(pairs)?;
    Ok(Json(service.webhooks(&who, list).await?))
}

/// Sends again every message that was given up.
#[utoipa::path(post, path = "/api/v1/webhooks/replay", tag = "webhooks",
    params(("job" = Option<String>, Query, description = "Only messages about this job")),
    responses((status = 202, body = ReplayView), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem)))]
async fn replay_webhooks(
    State(service): State<Arc<Service>>,
    Extension(who): Extension<Principal>,
    Query(pairs): Query<Pairs>,
) -> Result<(StatusCode, Json<ReplayView>), ServiceError> {
    let job = query::replay(pairs)?;
    Ok((StatusCode::ACCEPTED, Json(service.replay_dead_webhooks(&who, job).await?)))
}

/// Sends a message again that was given up; one that is pending is sent at once.
#[utoipa::path(post, path = "/api/v1/webhooks/{id}/replay", tag = "webhooks",
    params(("id" = i64, Path)),
    responses((status = 202, body = WebhookView), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem)))]
async fn replay_webhook(
    State(service): State<Arc<Service>>,
    Extension(who): Extension<Principal>,
    id: Result<Path<String>, PathRejection>,
    Query(pairs): Query<Pairs>,
) -> Result<(StatusCode, Json<WebhookView>), ServiceError> {
    jobs_query::none(pairs)?;
    // What is no text is no message's id.
    let Ok(Path(id)) = id else {
        return Err(ServiceError::new(Code::WebhookNotFound, "there is no webhook message of this id"));
    };
    Ok((StatusCode::ACCEPTED, Json(service.replay_webhook(&who, &id).await?)))
}
