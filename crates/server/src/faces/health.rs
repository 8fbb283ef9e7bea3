//! Health and figures (contract A11).

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use libra_api::exposition;
use libra_api::problem::Code;
use libra_api::views::HealthView;
use libra_core::job::State as JobState;
use libra_store::tables::{jobs, outbox};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::service::{Service, ServiceError, machine_of, usage_of};
use crate::telemetry::metrics::{Present, TurnFigures};

/// Waiting jobs are counted no further than this for the figures.
const COUNTED: u64 = 1_000_000;

pub(super) fn router() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new()
        .routes(routes!(health))
        .routes(routes!(live))
        .routes(routes!(ready))
        .routes(routes!(startup))
        .routes(routes!(v1_health))
        .routes(routes!(actuator))
        .routes(routes!(actuator_liveness))
        .routes(routes!(actuator_readiness))
        .routes(routes!(metrics))
        .routes(routes!(actuator_prometheus))
}

fn up() -> HealthView {
    HealthView { status: "UP".into(), components: BTreeMap::new(), detail: None }
}

/// Ready: the store answers. Spark is not asked: it starts with the first job that needs it.
async fn readiness(service: &Service) -> Response {
    let store = match service.db.read(jobs::next_due).await {
        Ok(_) => up(),
        Err(e) => {
            // Anybody may ask; where the store is and who uses it is for the log.
            tracing::warn!(error = %e, "not ready: the store does not answer");
            HealthView { status: "DOWN".into(), detail: Some("the store does not answer".into()), ..up() }
        }
    };
    let mut components: BTreeMap<String, HealthView> = service
        .engines
        .iter()
        .filter_map(|(mode, engine)| {
            // What its message says may be for few eyes; jobs say it to their owners.
            engine.trouble()?;
            let detail = Some("it has trouble with its server; the log says which".to_owned());
            Some((mode.as_str().to_owned(), HealthView { status: "DEGRADED".into(), detail, ..up() }))
        })
        .collect();
    for cluster in service.slurm.iter().filter(|cluster| cluster.trouble().is_some()) {
        let detail = Some("it can't be read; the log says why".to_owned());
        components.insert(
            format!("slurm.{}", cluster.name),
            HealthView { status: "DEGRADED".into(), detail, ..up() },
        );
    }
    let status = if store.status == "UP" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let view = HealthView {
        status: store.status.clone(),
        components: {
            components.insert("store".to_owned(), store);
            components
        },
        detail: None,
    };
    (status, Json(view)).into_response()
}

/// Whether the service is well.
#[utoipa::path(get, path = "/health", tag = "health", responses((status = 200, body = HealthView), (status = 503, body = HealthView)))]
async fn health(State(service): State<Arc<Service>>) -> Response {
    readiness(&service).await
}

/// Whether the process is alive.
#[utoipa::path(get, path = "/health/live", tag = "health", responses((status = 200, body = HealthView)))]
async fn live() -> Json<HealthView> {
    Json(up())
}

/// Whether requests can be served.
#[utoipa::path(get, path = "/health/ready", tag = "health", responses((status = 200, body = HealthView), (status = 503, body = HealthView)))]
async fn ready(State(service): State<Arc<Service>>) -> Response {
    readiness(&service).await
}

/// Whether the service has started.
#[utoipa::path(get, path = "/health/startup", tag = "health", responses((status = 200, body = HealthView)))]
async fn startup() -> Json<HealthView> {
    Json(up())
}

/// Whether the service is well, at the path of the HPC face.
#[utoipa::path(get, path = "/v1/health", tag = "health", responses((status = 200, body = HealthView), (status = 503, body = HealthView)))]
async fn v1_health(State(service): State<Arc<Service>>) -> Response {
    readiness(&service).await
}

/// Whether the service is well, at the path of Spring Boot.
#[utoipa::path(get, path = "/actuator/health", tag = "health", responses((status = 200, body = HealthView), (status = 503, body = HealthView)))]
async fn actuator(State(service): State<Arc<Service>>) -> Response {
    readiness(&service).await
}

/// Whether the process is alive, at the path of Spring Boot.
#[utoipa::path(get, path = "/actuator/health/liveness", tag = "health", responses((status = 200, body = HealthView)))]
async fn actuator_liveness() -> Json<HealthView> {
    Json(up())
}

/// Whether requests can be served, at the path of Spring Boot.
#[utoipa::path(get, path = "/actuator/health/readiness", tag = "health", responses((status = 200, body = HealthView), (status = 503, body = HealthView)))]
async fn actuator_readiness(State(service): State<Arc<Service>>) -> Response {
    readiness(&service).await
}

/// All figures, in the text format of OpenMetrics for those who ask for it, else in the older one of Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "health", responses((status = 200, content_type = "application/openmetrics-text", body = String)))]
async fn metrics(State(service): State<Arc<Service>>, headers: HeaderMap) -> Result<Response, ServiceError> {
    figures(&service, &headers).await
}

/// All figures, at the path of Spring Boot.
#[utoipa::path(get, path = "/actuator/prometheus", tag = "health", responses((status = 200, content_type = "application/openmetrics-text", body = String)))]
async fn actuator_prometheus(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
) -> Result<Response, ServiceError> {
    figures(&service, &headers).await
}

async fn figures(service: &Service, headers: &HeaderMap) -> Result<Response, ServiceError> {
    let now = service.clock.now();
    let present = service
        .db
        .read(move |tx| {
            let holding = jobs::holding(tx)?;
            let webhooks = outbox::backlog(tx)?;
            Ok(Present {
                queued: jobs::count_in_state(tx, JobState::Queued, COUNTED)?,
                scheduled: jobs::count_in_state(tx, JobState::Scheduled, COUNTED)?,
                usage: usage_of(&holding),
                webhooks_pending: webhooks.pending,
                webhooks_dead: webhooks.dead,
                webhook_oldest_seconds: webhooks.oldest.map_or(0.0, |oldest| now.seconds_since(oldest)),
                turns: TurnFigures::default(),
            })
        })
        .await?;
    let present = Present { turns: service.turn_figures().await?, ..present };
    service.metrics.hpc.scraped(now);
    let text = service
        .metrics
        .render(&present, &service.rules().limits, machine_of(&service.standing.me.host))
        .map_err(|e| ServiceError::new(Code::Internal, format!("the figures can't be written: {e}")))?;
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let (text, format) = if exposition::wants_open_metrics(accept) {
        (text, exposition::OPEN_METRICS)
    } else {
        (exposition::of_open_metrics(&text), exposition::CONTENT_TYPE)
    };
    let mut response = text.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(format));
    Ok(response)
}
