//! The HTTP faces: thin routes over the service. They parse, call, and print.

mod artifacts;
mod body;
mod deployments;
mod docs;
mod feed;
mod feed_query;
mod forward;
mod guard;
mod health;
mod hpc;
mod jobs;
mod jobs_query;
mod keys;
mod logs;
mod media;
mod openapi;
mod openapi_examples;
mod problem;
mod queue;
mod replicas;
mod results;
mod schemas;
mod webhooks;

use std::sync::Arc;

use axum::middleware::from_fn_with_state;
use axum::routing::get;
use axum::serve::ListenerExt as _;
use axum::{Extension, Router};
use tokio::net::TcpListener;
use utoipa_axum::router::OpenApiRouter;

pub use openapi::openapi_json;

use crate::service::Service;
use crate::workers::Shutdown;

/// A client that acknowledges nothing of what it was sent, or takes none of it, is gone after this many milliseconds.
const CLIENT_SILENCE_MS: u32 = 60_000;

/// All routes with their description.
fn documented() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::with_openapi(openapi::base())
        .nest("/api/v1/jobs", jobs::router(jobs::Face::Any))
        .nest("/api/v1/spark/jobs", jobs::router(jobs::Face::Spark))
        .merge(artifacts::router())
        .merge(deployments::router())
        .merge(schemas::router())
        .merge(queue::router())
        .merge(replicas::router())
        .merge(feed::router())
        .merge(webhooks::router())
        .merge(hpc::router())
        .merge(health::router())
}

/// The API.
pub(crate) fn router(service: Arc<Service>) -> Router {
    let (router, _) = documented().split_for_parts();
    let router = router.route("/openapi.json", get(openapi::serve)).merge(docs::router());
    finish(router, service)
}

/// Health and figures alone, without keys: for probes and scrapers on an address of their own.
pub(crate) fn management_router(service: Arc<Service>) -> Router {
    let (router, _) = health::router().split_for_parts();
    router
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(from_fn_with_state(Arc::clone(&service), guard::correlate))
        .with_state(service)
}

fn finish(router: Router<Arc<Service>>, service: Arc<Service>) -> Router {
    router
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(from_fn_with_state(Arc::clone(&service), forward::where_the_files_are))
        .layer(from_fn_with_state(Arc::clone(&service), guard::authorise))
        .layer(from_fn_with_state(Arc::clone(&service), guard::correlate))
        .with_state(service)
}

/// Serves until told to stop; requests under way are finished.
pub(crate) async fn serve(listener: TcpListener, router: Router, mut shutdown: Shutdown) {
    // Streams have no end of their own: they are told as well.
    let router = router.layer(Extension(shutdown.clone()));
    // A client that takes nothing any more is let go, with what it holds.
    let listener = listener.tap_io(|connection| {
        if let Err(error) = rustix::net::sockopt::set_tcp_user_timeout(&*connection, CLIENT_SILENCE_MS) {
            tracing::debug!(%error, "a connection has no limit for silent clients");
        }
    });
    let served = axum::serve(listener, router).with_graceful_shutdown(async move { shutdown.wait().await });
    if let Err(e) = served.await {
        tracing::error!(error = %e, "the listener failed");
    }
}
