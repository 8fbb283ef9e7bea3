//! A job's log: a piece of it as JSON, or all of it as it comes, as server-sent events (contract A2).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use bytes::Bytes;
use futures::stream::unfold;
use libra_api::problem::{Code, Problem};
use libra_api::views::LogsView;
use libra_engines::logs::Stream;
use tokio::time::Instant;

use super::jobs::JobPath;
use super::jobs_query::{Pairs, number, small, unknown};
use crate::auth::Principal;
use crate::service::{Full, LogFollower, LogPiece, LogPlace, LogQuery, Service, ServiceError, Taking};
use crate::workers::Shutdown;

/// Bytes of a log when nothing is said, and at most.
const LIMIT: (u32, u32) = (1024 * 1024, 16 * 1024 * 1024);
/// The most lines that can be asked for from the end.
const MAX_TAIL_LINES: u32 = 100_000;
/// A stream without lines says this often that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// A reader that was cut off comes back after this many milliseconds.
const COME_BACK_MS: u32 = 1_000;
/// After too many readers: try again after this many seconds.
const TOO_MANY_RETRY_SECONDS: u64 = 10;
/// The header in which a reader that was cut off says what it has.
pub(super) const LAST_EVENT_ID: &str = "last-event-id";

/// What of a log is asked for.
struct Asked {
    query: LogQuery,
    follow: bool,
    /// True: one attempt, not those after it.
    pinned: bool,
}

/// A job's log: a piece of it, or with `follow=true` a stream (`text/event-stream`) that begins there and ends with the
/// job. Each `log` event has as its `id` the place after its lines, in bytes from the beginning of the attempt's log;
/// from the second attempt on, when none was named, the attempt and a colon stand before it. A reader that was cut
/// off sends the last one as `Last-Event-ID` and misses nothing.
#[utoipa::path(get, path = "/{id}/logs", tag = "jobs",
    params(("id" = String, Path), ("stream" = Option<String>, Query, description = "`stdout` (default) or `stderr`"),
        ("attempt" = Option<u32>, Query, description = "The last one when absent; a follower goes on to the next ones then"),
        ("offset" = Option<u64>, Query, description = "Bytes from the beginning"),
        ("tail" = Option<u32>, Query, description = "Begin at the last so many lines, 1–100000; instead of `offset`"),
        ("limit" = Option<u32>, Query, description = "Bytes at most; 1 MiB when absent; not with `follow`"),
        ("follow" = Option<bool>, Query, description = "`true`: a stream that ends with the job"),
        ("Last-Event-ID" = Option<String>, Header, description = "For followers: the last `id` that was read; wins over `offset` and `tail`")),
    responses((status = 200, description = "A piece, or the stream: `log` events (LogLinesView), `moved` where another replica goes on, at last `end` (LogEndView)",
            content((LogsView = "application/json"), (String = "text/event-stream"))),
        (status = 400, body = Problem), (status = 401, body = Problem), (status = 404, body = Problem),
        (status = 410, body = Problem), (status = 429, body = Problem)))]
pub(super) async fn get_job_logs(
    State(service): State<Arc<Service>>,
    Extension(who): Extension<Principal>,
    Extension(shutdown): Extension<Shutdown>,
    JobPath(id): JobPath,
    headers: HeaderMap,
    Query(pairs): Query<Pairs>,
) -> Result<Response, ServiceError> {
    let asked = read(pairs, &headers)?;
    if !asked.follow {
        return Ok(Json(service.logs(&who, &id, asked.query).await?).into_response());
    }
    let place = service.followers.take(&who).map_err(|full| {
        let (whose, most) = match full {
            Full::All(most) => ("", most),
            Full::Own(most) => (" of yours", most),
        };
        let message = format!(
            "{most} readers{whose} follow logs here already, as many as there may be (libra.logs.max-followers, of \
             which one user may have half)"
        );
        ServiceError::new(Code::TooManyFollowers, message).retry_after(TOO_MANY_RETRY_SECONDS)
    })?;
    let mut follower = LogFollower::open(service, &who, &id, asked.query, asked.pinned).await?;
    // A log that can't be read is told as such, with its status, rather than by a stream that breaks.
    let first = Some(follower.next(Instant::now()).await?);
    let pinned = asked.pinned;
    Ok(stream(Following { follower, pinned, shutdown, state: Progress::New, first, _place: place }))
}

fn read(pairs: Pairs, headers: &HeaderMap) -> Result<Asked, ServiceError> {
    let mut query =
        LogQuery { stream: Stream::Stdout, attempt: None, from: LogPlace::Offset(0), limit: LIMIT.0 };
    let (mut follow, mut limited, mut place) = (false, false, None);
    for (name, value) in pairs {
        match name.as_str() {
            "stream" => {
                let found = Stream::ALL.into_iter().find(|s| s.as_str() == value);
                query.stream =
                    found.ok_or_else(|| ServiceError::query("stream", "must be `stdout` or `stderr`"))?;
            }
            "attempt" => query.attempt = Some(small("attempt", &value, 1, u32::MAX)?),
            "offset" | "tail" if place.is_some() => {
                return Err(ServiceError::query(
                    &name,
                    "can't be given together with another place to begin",
                ));
            }
            "offset" => place = Some(LogPlace::Offset(number("offset", &value, 0, u64::MAX)?)),
            "tail" => place = Some(LogPlace::Lines(small("tail", &value, 1, MAX_TAIL_LINES)?)),
            "limit" => {
                query.limit = small("limit", &value, 1, LIMIT.1)?;
                limited = true;
            }
            "follow" => {
                follow =
                    value.parse().map_err(|_| ServiceError::query("follow", "must be `true` or `false`"))?;
            }
            _ => return Err(unknown(&name, &["stream", "attempt", "offset", "tail", "limit", "follow"])),
        }
    }
    if follow && limited {
        return Err(ServiceError::query(
            "limit",
            "is for a piece; a log that is followed is sent to its end",
        ));
    }
    query.from = place.unwrap_or(query.from);
    let pinned = query.attempt.is_some();
    if follow && let Some(text) = headers.get(LAST_EVENT_ID) {
        let last = text.to_str().ok().and_then(last_event_id);
        let (attempt, offset) = last.ok_or_else(|| {
            let violation = libra_api::problem::Violation::new(
                "/last-event-id",
                "must be the `id` of an event of this log",
            );
            ServiceError::violations(Code::InvalidHeader, vec![violation])
        })?;
        query.from = LogPlace::Offset(offset);
        query.attempt = query.attempt.or(Some(attempt));
    }
    Ok(Asked { query, follow, pinned })
}

/// What a reader that was cut off comes back with.
pub(super) fn event_id(pinned: bool, attempt: u32, offset: u64) -> String {
    if pinned || attempt == 1 { offset.to_string() } else { format!("{attempt}:{offset}") }
}

/// Attempt and offset of an event's id: `1234` is in the first attempt, `2:1234` in the second.
pub(super) fn last_event_id(text: &str) -> Option<(u32, u64)> {
    match text.trim().split_once(':') {
        None => Some((1, text.trim().parse().ok()?)),
        Some((attempt, offset)) => {
            Some((attempt.parse().ok().filter(|attempt| *attempt > 0)?, offset.parse().ok()?))
        }
    }
}

enum Progress {
    New,
    Going,
    Over,
}

/// A stream between two pieces.
struct Following {
    follower: LogFollower,
    pinned: bool,
    shutdown: Shutdown,
    state: Progress,
    /// What was read before the answer began.
    first: Option<LogPiece>,
    /// Its place among the followers, given back with the stream.
    _place: Taking,
}

fn stream(following: Following) -> Response {
    // Asked for the next piece only when the client has taken the one before.
    let pieces = unfold(following, |mut following| async move {
        let piece = following.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(piece)), following))
    });
    let mut response = Response::new(Body::from_stream(pieces));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // A proxy that gathers answers would hold lines back.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

impl Following {
    /// What goes out next; None at the end.
    async fn next(&mut self) -> Option<String> {
        match self.state {
            Progress::New => {
                self.state = Progress::Going;
                return Some(format!("retry: {COME_BACK_MS}\n\n"));
            }
            Progress::Going => {}
            Progress::Over => return None,
        }
        let deadline = Instant::now() + KEEP_ALIVE;
        let first = self.first.take();
        let next = async {
            match first {
                Some(first) => Ok(first),
                None => self.follower.next(deadline).await,
            }
        };
        let piece = tokio::select! {
            biased;
            // Whoever follows comes back to the next one.
            () = self.shutdown.wait() => return None,
            piece = next => piece,
        };
        match piece {
            Ok(LogPiece::Lines(lines)) => {
                let id = event_id(self.pinned, lines.attempt, lines.next_offset);
                let data = serde_json::to_string(&lines).unwrap_or_default();
                Some(format!("id: {id}\nevent: log\ndata: {data}\n\n"))
            }
            Ok(LogPiece::End(end)) => {
                self.state = Progress::Over;
                let data = serde_json::to_string(&end).unwrap_or_default();
                Some(format!("event: end\ndata: {data}\n\n"))
            }
            Ok(LogPiece::Nothing) => Some(": keep-alive\n\n".to_owned()),
            // Everything before this attempt was sent. The client comes back for its beginning, and is led to the files or
            // told why not.
            Ok(LogPiece::Elsewhere(attempt)) => {
                self.state = Progress::Over;
                let id = event_id(self.pinned, attempt, 0);
                (!self.pinned)
                    .then(|| format!("id: {id}\nevent: moved\ndata: {{\"attempt\": {attempt}}}\n\n"))
            }
            Err(error) => {
                tracing::warn!(message = %error.message, cause = ?error.cause, "a follower of a log is sent away");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(query: &str, last: Option<&'static str>) -> Result<Asked, ServiceError> {
        let pairs = query.split('&').filter_map(|p| p.split_once('='));
        let pairs = pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        let headers = last.map(|v| (LAST_EVENT_ID.parse().unwrap(), HeaderValue::from_static(v)));
        read(pairs, &headers.into_iter().collect())
    }

    #[test]
    fn wrong_parameters_are_named() {
        for query in ["stream=both", "follow=yes", "tail=0", "offset=-1", "folow=true"] {
            let name = query.split('=').next().unwrap();
            assert_eq!(
                asked(query, None).err().unwrap().violations[0].pointer,
                format!("/{name}"),
                "{query}"
            );
        }
        assert_eq!(asked("offset=1&tail=2", None).err().unwrap().violations[0].pointer, "/tail");
        assert_eq!(asked("follow=true&limit=2", None).err().unwrap().violations[0].pointer, "/limit");
        assert!(asked("follow=true", Some("x")).is_err());
        assert!(asked("offset=5", Some("x")).is_ok(), "of no matter for a piece");
    }

    #[test]
    fn a_reader_that_was_cut_off_goes_on_where_it_was() {
        let first = asked("follow=true&tail=5", Some("120")).unwrap();
        assert_eq!((first.query.attempt, first.query.from), (Some(1), LogPlace::Offset(120)));
        assert!(!first.pinned, "it goes on to the next attempts");
        let second = asked("follow=true", Some("2:7")).unwrap();
        assert_eq!((second.query.attempt, second.query.from), (Some(2), LogPlace::Offset(7)));
        let named = asked("follow=true&attempt=3", Some("9")).unwrap();
        assert_eq!(
            (named.query.attempt, named.query.from, named.pinned),
            (Some(3), LogPlace::Offset(9), true)
        );
    }
}
