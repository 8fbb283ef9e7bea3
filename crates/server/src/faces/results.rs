//! A job's result in the form that the client accepts (contract A2).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures::stream::unfold;
use libra_api::problem::{Code, Problem};
use libra_api::views::{ARROW_STREAM, CSV, ResultView};

use super::jobs::JobPath;
use super::jobs_query::{Pairs, small, unknown};
use super::media;
use crate::auth::Principal;
use crate::service::{ResultQuery, ResultStream, Service, ServiceError};

/// Rows on a page of JSON when nothing is said, and on any page at most.
const LIMIT: (u32, u32) = (1_000, 100_000);
const JSON: &str = "application/json";
/// What JSON says within: for the other forms.
const ROW_COUNT: HeaderName = HeaderName::from_static("x-libra-row-count");
const TRUNCATED: HeaderName = HeaderName::from_static("x-libra-truncated");
const NEXT_CURSOR: HeaderName = HeaderName::from_static("x-libra-next-cursor");

/// A job's rows: a page of them as JSON, or as CSV (RFC 4180, the columns' names first, NULL as an empty field), or all of
/// them as an Arrow IPC stream, as the `Accept` header says. CSV comes whole unless `limit` is given; then the header
/// `x-libra-next-cursor` has the cursor of the next page, which has no line of names. `x-libra-truncated: true` says that
/// the result was larger than the 256 MiB that are kept.
#[utoipa::path(get, path = "/{id}/result", tag = "jobs",
    params(("id" = String, Path),
        ("limit" = Option<u32>, Query, description = "1–100000; 1000 when absent, for CSV all. Not for Arrow"),
        ("cursor" = Option<String>, Query, description = "`nextCursor` of the page before. Not for Arrow")),
    responses((status = 200, description = "The rows", content((ResultView = "application/json"), (String = "text/csv"),
            (Vec<u8> = "application/vnd.apache.arrow.stream")),
            headers(("x-libra-row-count" = u64, description = "Rows in all; CSV and Arrow"),
                ("x-libra-truncated" = bool, description = "Whether rows at the end are missing; CSV and Arrow"),
                ("x-libra-next-cursor" = String, description = "The cursor of the next page, if there is one; CSV"))),
        (status = 400, body = Problem), (status = 401, body = Problem), (status = 404, body = Problem),
        (status = 406, body = Problem), (status = 409, body = Problem), (status = 410, body = Problem)))]
pub(super) async fn get_job_result(
    State(service): State<Arc<Service>>,
    Extension(who): Extension<Principal>,
    JobPath(id): JobPath,
    headers: HeaderMap,
    Query(pairs): Query<Pairs>,
) -> Result<Response, ServiceError> {
    let form = media::preferred(&headers, &[JSON, CSV, ARROW_STREAM]).ok_or_else(|| {
        let message = format!("a result can be had as {JSON}, {CSV} or {ARROW_STREAM}");
        ServiceError::new(Code::NotAcceptable, message)
    })?;
    let (mut limit, mut cursor) = (None, None);
    for (name, value) in pairs {
        match name.as_str() {
            "limit" | "cursor" if form == ARROW_STREAM => {
                return Err(ServiceError::query(&name, "is not for Arrow: all rows come in one stream"));
            }
            "limit" => limit = Some(small("limit", &value, 1, LIMIT.1)?),
            "cursor" => cursor = Some(value),
            _ => return Err(unknown(&name, &["limit", "cursor"])),
        }
    }
    let result = service.stored_result(&who, &id).await?;
    let (rows, truncated) = (result.meta.rows, result.meta.truncated);
    let (stream, kind, next) = match form {
        ARROW_STREAM => (result.arrow().await?, ARROW_STREAM, None),
        CSV => {
            let kind = match cursor {
                None => "text/csv; charset=utf-8; header=present",
                Some(_) => "text/csv; charset=utf-8; header=absent",
            };
            let (stream, next) = result.csv(limit, cursor.as_deref()).await?;
            (stream, kind, next)
        }
        _ => {
            let page = result.page(ResultQuery { limit: limit.unwrap_or(LIMIT.0), cursor }).await?;
            return Ok(Json(page).into_response());
        }
    };
    let mut response = Response::new(Body::from_stream(unfold(stream, ResultStream::next)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    headers.insert(ROW_COUNT, HeaderValue::from(rows));
    headers.insert(TRUNCATED, HeaderValue::from_static(if truncated { "true" } else { "false" }));
    if let Some(Ok(next)) = next.map(HeaderValue::try_from) {
        headers.insert(NEXT_CURSOR, next);
    }
    Ok(response)
}
