//! `/api/v1/events`: the change feed, as a stream of server-sent events or page by page (contract A10).

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use bytes::Bytes;
use futures::stream::unfold;
use libra_api::feed::{FeedEventView, FeedPageView};
use libra_api::problem::{Code, Problem};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::feed_query;
use super::jobs_query::Pairs;
use crate::auth::Principal;
use crate::service::{FeedReader, Full, Places, Service, ServiceError, Taking};
use crate::workers::Shutdown;

/// Readers of the feed at once.
const MAX_READERS: usize = 256;
/// After too many readers: try again after this many seconds.
const TOO_MANY_RETRY_SECONDS: u64 = 10;
/// Readers that read the store at the same time.
const READING_AT_ONCE: usize = 4;
/// Events in one piece of a stream: what a slow reader holds in memory.
const PIECE: u32 = 200;
/// A stream without events says this often that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// A reader that was cut off comes back after this many milliseconds.
const COME_BACK_MS: u32 = 1_000;

/// Places for readers, and turns at the store.
#[derive(Clone)]
struct Readers {
    places: Places,
    turns: Arc<Semaphore>,
}

pub(super) fn router() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new().routes(routes!(follow_events)).layer(Extension(Readers {
        places: Places::new(MAX_READERS),
        turns: Arc::new(Semaphore::new(READING_AT_ONCE)),
    }))
}

/// What happens to all jobs, in order and without gaps. A stream (`text/event-stream`) unless the request accepts
/// `application/json` alone: then a page. Each event of the stream has its number as `id`; a reader that was cut off
/// sends the last one as `Last-Event-ID` and misses nothing.
#[utoipa::path(get, path = "/api/v1/events", tag = "feed",
    params(
        ("after" = Option<String>, Query, description = "The number of an event, or `now`; the oldest event that is kept comes first when absent"),
        ("Last-Event-ID" = Option<String>, Header, description = "The number of the last event that was read; wins over `after`"),
        ("job" = Option<String>, Query, description = "Only events of this job"),
        ("label" = Option<String>, Query, description = "Only events of jobs with this label, `key=value`; may be repeated"),
        ("status" = Option<String>, Query, description = "Only events that lead to this state; several, comma-separated"),
        ("limit" = Option<u32>, Query, description = "For pages: events at most, 1–1000, 500 when absent"),
        ("wait" = Option<String>, Query, description = "For pages: wait so many seconds for the first event, at most 300: `60s`")),
    responses((status = 200, description = "The stream, or a page", content((FeedPageView = "application/json"), (String = "text/event-stream"))),
        (status = 400, body = Problem), (status = 401, body = Problem), (status = 410, body = Problem), (status = 503, body = Problem)))]
async fn follow_events(
    State(service): State<Arc<Service>>,
    Extension(who): Extension<Principal>,
    Extension(readers): Extension<Readers>,
    Extension(shutdown): Extension<Shutdown>,
    headers: HeaderMap,
    Query(pairs): Query<Pairs>,
) -> Result<Response, ServiceError> {
    let query = feed_query::feed(pairs, &headers)?;
    let permit = readers.places.take(&who).map_err(|full| {
        let (whose, most) = match full {
            Full::All(most) => ("", most),
            Full::Own(most) => (" of yours", most),
        };
        let message = format!("{most} readers{whose} follow the events already, as many as there may be");
        ServiceError::new(Code::Unavailable, message).retry_after(TOO_MANY_RETRY_SECONDS)
    })?;
    let reader = FeedReader::open(service, &who, query.filter, query.after, readers.turns).await?;
    if wants_page(&headers) {
        page(reader, query.limit, query.wait, shutdown).await.map(IntoResponse::into_response)
    } else {
        Ok(stream(reader, shutdown, permit))
    }
}

/// A stream is what the feed is for; a page is for those who ask for JSON and nothing else.
fn wants_page(headers: &HeaderMap) -> bool {
    let accepts = |kind: &str| {
        let mut values = headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok());
        values.any(|v| v.to_ascii_lowercase().contains(kind))
    };
    accepts("application/json") && !accepts("text/event-stream")
}

async fn page(
    mut reader: FeedReader,
    limit: u32,
    wait: Duration,
    mut shutdown: Shutdown,
) -> Result<Json<FeedPageView>, ServiceError> {
    let deadline = Instant::now() + wait;
    let events = tokio::select! {
        events = reader.next(limit, deadline) => events?,
        // Whoever waits asks the next one.
        () = shutdown.wait() => Vec::new(),
    };
    Ok(Json(FeedPageView { events, next_after: reader.after() }))
}

/// A stream between two pieces.
struct Following {
    reader: FeedReader,
    shutdown: Shutdown,
    /// The number that the client knows.
    told: i64,
    begun: bool,
    /// Its place among the readers, given back with the stream.
    _place: Taking,
}

fn stream(reader: FeedReader, shutdown: Shutdown, place: Taking) -> Response {
    let following = Following { told: reader.after(), reader, shutdown, begun: false, _place: place };
    // Asked for the next piece only when the client has taken the one before.
    let pieces = unfold(following, |mut following| async move {
        let piece = following.next().await?;
        Some((Ok::<_, Infallible>(piece), following))
    });
    let mut response = Response::new(Body::from_stream(pieces));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // A proxy that gathers answers would hold events back.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

impl Following {
    /// What goes out next; None at the end.
    async fn next(&mut self) -> Option<Bytes> {
        if !self.begun {
            self.begun = true;
            return Some(format!("retry: {COME_BACK_MS}\n\n").into());
        }
        let deadline = Instant::now() + KEEP_ALIVE;
        let events = tokio::select! {
            biased;
            () = self.shutdown.wait() => return None,
            events = self.reader.next(PIECE, deadline) => events,
        };
        let text = match events {
            Ok(events) if events.is_empty() => self.alive(),
            Ok(events) => self.written(&events),
            Err(error) => {
                // The client comes back with the last number, and gets the refusal as an answer of its own.
                tracing::debug!(message = %error.message, "a reader of the feed is sent away");
                return None;
            }
        };
        Some(text.into())
    }

    /// A comment that keeps the connection; and a number without an event, so that a client that wants few of them
    /// does not come back to a place that is no longer kept.
    fn alive(&mut self) -> String {
        let after = self.reader.after();
        if after == self.told {
            return ": keep-alive\n\n".to_owned();
        }
        self.told = after;
        format!(": keep-alive\nid: {after}\n\n")
    }

    fn written(&mut self, events: &[FeedEventView]) -> String {
        let mut text = String::new();
        for event in events {
            let seq = event.event.seq.unwrap_or(self.told);
            let data = serde_json::to_string(event).unwrap_or_default();
            // Writing to a String can't fail. JSON on one line holds no line end.
            let _ = write!(text, "id: {seq}\nevent: transition\ndata: {data}\n\n");
            self.told = seq;
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_who_ask_for_json_alone_get_a_page() {
        let page = |accepts: &[&'static str]| {
            let values = accepts.iter().map(|v| (header::ACCEPT, HeaderValue::from_static(v)));
            wants_page(&values.collect())
        };
        assert!(!page(&[]) && !page(&["*/*"]) && !page(&["text/event-stream"]));
        assert!(page(&["application/json"]) && page(&["Application/JSON; q=0.9, */*"]));
        assert!(!page(&["application/json", "text/event-stream"]));
    }
}
