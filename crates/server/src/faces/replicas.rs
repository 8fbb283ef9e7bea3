//! The replicas that serve this database.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use libra_api::problem::Problem;
use libra_api::views::ReplicaListView;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::service::{Service, ServiceError};

pub(super) fn router() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new().routes(routes!(list_replicas))
}

/// Every replica, alive or not: which one leads, when it was last heard of, how many attempts it looks after.
#[utoipa::path(get, path = "/api/v1/replicas", tag = "replicas",
    responses((status = 200, body = ReplicaListView), (status = 401, body = Problem)))]
async fn list_replicas(State(service): State<Arc<Service>>) -> Result<Json<ReplicaListView>, ServiceError> {
    Ok(Json(service.replicas().await?))
}
