//! How everything stands.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use libra_api::problem::Problem;
use libra_api::turns::QueueView;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::Principal;
use crate::service::{Service, ServiceError};

pub(super) fn router() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new().routes(routes!(get_queue))
}

/// Shares, what is held, who waits, and for whom room is kept. Tenants and users are one's own; an admin sees all.
#[utoipa::path(get, path = "/api/v1/queue", tag = "queue",
    responses((status = 200, body = QueueView), (status = 401, body = Problem)))]
async fn get_queue(
    State(service): State<Arc<Service>>,
    Extension(who): Extension<Principal>,
) -> Result<Json<QueueView>, ServiceError> {
    Ok(Json(service.queue(&who).await?))
}
