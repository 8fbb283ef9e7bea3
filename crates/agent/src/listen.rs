//! The agent's own page: `/metrics`.

use std::sync::Arc;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::run::Shared;

/// What the figures are written in.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Answers for ever.
pub(crate) async fn run(shared: Arc<Shared>, listener: TcpListener) -> std::io::Result<()> {
    let figures = move || async move {
        let (bytes, lost) = {
            let spool = shared.spool();
            (spool.bytes(), spool.lost())
        };
        ([(CONTENT_TYPE, OPEN_METRICS)], shared.metrics.text(bytes, lost))
    };
    axum::serve(listener, Router::new().route("/metrics", get(figures))).await
}
