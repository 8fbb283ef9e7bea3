//! The agent's own page: `/metrics`.

use std::sync::Arc;

use axum::Router;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::routing::get;
use libra_api::exposition;
use tokio::net::TcpListener;

use crate::run::Shared;

/// Answers for ever.
pub(crate) async fn run(shared: Arc<Shared>, listener: TcpListener) -> std::io::Result<()> {
    let figures = move |headers: HeaderMap| async move {
        let (bytes, lost) = {
            let spool = shared.spool();
            let held = shared.held();
            (spool.bytes() + held.bytes(), spool.lost() + held.lost())
        };
        let text = shared.metrics.text(bytes, lost);
        let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
        if exposition::wants_open_metrics(accept) {
            ([(CONTENT_TYPE, exposition::OPEN_METRICS)], text)
        } else {
            ([(CONTENT_TYPE, exposition::CONTENT_TYPE)], exposition::of_open_metrics(&text))
        }
    };
    axum::serve(listener, Router::new().route("/metrics", get(figures))).await
}
