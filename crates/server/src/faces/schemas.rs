//! `/api/v1/schemas`: JSON Schemas for editors, which read them without a key.

use std::sync::Arc;

use axum::Json;
use libra_core::deployment::spec::json_schema;
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::service::Service;

pub(super) fn router() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new().routes(routes!(deployment_schema))
}

/// The JSON Schema (draft 2020-12) of a deployment's specification, for editors.
#[utoipa::path(get, path = "/api/v1/schemas/deployment", tag = "deployments", security(()),
    responses((status = 200, body = Value)))]
async fn deployment_schema() -> Json<Value> {
    Json(json_schema())
}
