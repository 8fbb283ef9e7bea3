//! Logs and results are files of the replica that ran the job, unless a directory is shared: a replica that can't
//! read them asks one that can. The other one checks the caller's key itself.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::stream::unfold;
use libra_api::problem::Code;
use libra_core::id::JobId;

use super::logs;
use crate::auth::Principal;
use crate::service::{Service, ServiceError, Whereabouts};

/// Marks a request that was forwarded once: it is answered where it arrives.
const FORWARDED: HeaderName = HeaderName::from_static("x-libra-forwarded");
/// What goes along with a forwarded request.
const PASSED_ON: [HeaderName; 4] = [
    header::AUTHORIZATION,
    header::ACCEPT,
    HeaderName::from_static("x-correlation-id"),
    HeaderName::from_static(logs::LAST_EVENT_ID),
];
/// What comes back with the answer, besides what begins with [`OWN_HEADERS`].
const PASSED_BACK: [HeaderName; 5] = [
    header::CONTENT_TYPE,
    header::CACHE_CONTROL,
    header::RETRY_AFTER,
    header::VARY,
    HeaderName::from_static("x-accel-buffering"),
];
/// The beginning of the names of Libra's own headers.
const OWN_HEADERS: &str = "x-libra-";
/// How long the other replica may be silent; one that follows a log says something every 15 s.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a connection to it may take.
const CONNECT_PATIENCE: Duration = Duration::from_secs(3);

/// What of a job is asked for, by the end of the path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// The job itself, with a small result.
    Job,
    /// Files of an attempt.
    Files,
}

/// Answers here, or lets the replica answer that has the files.
pub(super) async fn where_the_files_are(
    State(service): State<Arc<Service>>,
    request: Request,
    next: Next,
) -> Response {
    let asked = wanted(&request).filter(|_| !service.alone && !request.headers().contains_key(FORWARDED));
    let Some((wanted, job, attempt)) = asked else { return next.run(request).await };
    let (path, headers) = (request.uri().clone(), request.headers().clone());
    let Some(principal) = request.extensions().get::<Principal>().cloned() else {
        return next.run(request).await;
    };
    if wanted == Wanted::Job {
        // Whoever waits waits here; only a small result may have to come from elsewhere.
        let response = next.run(request).await;
        if response.status() != StatusCode::OK {
            return response;
        }
        return match service.whereabouts(&principal, job, None, true).await {
            Ok(Whereabouts::At(address)) => {
                let url = format!("{address}{}", path.path());
                let asked = ask(&url, &service.standing.me.id, &headers).await;
                asked.ok().filter(|asked| asked.status() == StatusCode::OK).unwrap_or(response)
            }
            // Without the small result it is an answer all the same.
            Ok(Whereabouts::Here | Whereabouts::Nowhere(_)) | Err(_) => response,
        };
    }
    match service.whereabouts(&principal, job, attempt, false).await {
        Ok(Whereabouts::Here) => next.run(request).await,
        Ok(Whereabouts::At(address)) => {
            let target = path.path_and_query().map_or(path.path(), |p| p.as_str());
            match ask(&format!("{address}{target}"), &service.standing.me.id, &headers).await {
                Ok(response) => response,
                Err(cause) => {
                    let message = format!(
                        "the files are with the replica at {address}, which does not answer; try again later"
                    );
                    let error =
                        ServiceError { cause: Some(cause), ..ServiceError::new(Code::Unavailable, message) };
                    error.retry_after(1).into_response()
                }
            }
        }
        Ok(Whereabouts::Nowhere(host)) => {
            let message =
                format!("the files are on the host {host}, where no replica is alive; try again later");
            ServiceError::new(Code::Unavailable, message).retry_after(1).into_response()
        }
        Err(error) => error.into_response(),
    }
}

/// What is asked for, when it may be elsewhere.
fn wanted(request: &Request) -> Option<(Wanted, JobId, Option<u32>)> {
    if request.method() != Method::GET {
        return None;
    }
    let path = request.uri().path();
    let rest = path.strip_prefix("/api/v1/jobs/").or_else(|| path.strip_prefix("/api/v1/spark/jobs/"))?;
    let mut parts = rest.split('/');
    let id: JobId = parts.next()?.parse().ok()?;
    let wanted = match (parts.next(), parts.next()) {
        (None, None) => Wanted::Job,
        (Some("logs" | "result"), None) => Wanted::Files,
        _ => return None,
    };
    let query = request.uri().query().unwrap_or_default();
    let named = query.split('&').find_map(|pair| pair.strip_prefix("attempt=")?.parse().ok());
    // A follower that was cut off comes back to the attempt that it was at.
    let last = || logs::last_event_id(request.headers().get(logs::LAST_EVENT_ID)?.to_str().ok()?);
    let attempt = named.or_else(|| last().map(|(attempt, _)| attempt));
    Some((wanted, id, attempt))
}

async fn ask(url: &str, me: &str, headers: &HeaderMap) -> Result<Response, String> {
    let failed = |e: reqwest::Error| e.to_string();
    // A second caller finds the provider in place, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .connect_timeout(CONNECT_PATIENCE)
        .read_timeout(PATIENCE)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .map_err(failed)?;
    let mut request = client.get(url);
    for name in PASSED_ON {
        if let Some(value) = headers.get(&name) {
            request = request.header(name, value);
        }
    }
    if let Ok(me) = HeaderValue::from_str(me) {
        request = request.header(FORWARDED, me);
    }
    let answer = request.send().await.map_err(failed)?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = answer.status();
    for (name, value) in answer.headers() {
        if PASSED_BACK.contains(name) || name.as_str().starts_with(OWN_HEADERS) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    // Piece by piece, as the client takes it: an answer may be large, or have no end for hours. One that is cut off
    // there is cut off here.
    *response.body_mut() = Body::from_stream(unfold(Some(answer), |answer| async move {
        let mut answer = answer?;
        match answer.chunk().await {
            Ok(piece) => Some((Ok(piece?), Some(answer))),
            Err(error) => Some((Err(error), None)),
        }
    }));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_in_files_is_asked_for_elsewhere() {
        let id = "job-019ab000-0000-7000-8000-000000000000";
        let asked = |path: &str| {
            let request = Request::builder().uri(format!("/api/v1/jobs{path}")).body(Body::empty()).unwrap();
            wanted(&request).map(|(wanted, _, attempt)| (wanted == Wanted::Job, attempt))
        };
        assert_eq!(asked(&format!("/{id}?wait=5s")), Some((true, None)));
        assert_eq!(asked(&format!("/{id}/logs?offset=1&attempt=2")), Some((false, Some(2))));
        assert_eq!(asked(&format!("/{id}/result")), Some((false, None)));
        assert_eq!(asked(&format!("/{id}/events")), None);
        assert_eq!(asked("/x/logs"), None);
    }
}
