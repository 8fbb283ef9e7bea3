//! The typed HTTP client.

mod deployments;
mod hpc;
mod streams;

use std::path::Path;
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use tokio::io::AsyncReadExt as _;

pub use deployments::{Condition, Notation};
pub use streams::{LogEvent, LogEvents, ResultBody};

use crate::artifacts::{ArtifactVersionListView, ArtifactView};
use crate::feed::{FeedPageView, ReplayView, WebhookListView, WebhookView};
use crate::problem::{Code, Problem};
use crate::submit::SubmitRequest;
use crate::turns::{ExplainView, QueueView};
use crate::views::{
    CancelView, EventListView, JobListView, JobView, LogsView, ReplicaListView, ResultView, SubmitView,
};

/// How long a call may take, beyond what it waits for on purpose.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of an upload that are sent at once.
const UPLOAD_PIECE_BYTES: usize = 256 * 1024;
/// An upload that is slower than this is given up, bytes a second.
const SLOWEST_UPLOAD: u64 = 64 * 1024;
/// A submission whose answer was lost is sent this often in all.
const SUBMIT_TRIES: u32 = 3;
/// Between two of them.
const SUBMIT_PAUSE: Duration = Duration::from_secs(1);

/// Why a call brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server said no.
    #[error("{}", .0.message)]
    Problem(Box<Problem>),
    /// There is no answer from there.
    #[error("Libra can't be reached at {url}: {cause}")]
    Unreachable {
        /// The address.
        url: String,
        /// Why.
        cause: String,
        /// True when the request may have arrived and only the answer was lost.
        perhaps_taken: bool,
    },
    /// Something else answers there.
    #[error("{url} does not answer like Libra (HTTP {status})")]
    NotLibra {
        /// The address.
        url: String,
        /// Its HTTP status.
        status: u16,
    },
    /// The client could not be made.
    #[error("{0}")]
    Setup(String),
}

/// A client of one Libra.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

impl Client {
    /// A client of the Libra at `base` (`http://127.0.0.1:8080`), with its bearer key.
    ///
    /// # Errors
    /// When the system's certificates can't be read.
    pub fn new(base: &str, token: Option<String>) -> Result<Self, ClientError> {
        // A second caller finds the provider in place, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .build()
            .map_err(|e| ClientError::Setup(format!("no HTTP client: {e}")))?;
        Ok(Self { http, base: base.trim_end_matches('/').to_owned(), token })
    }

    /// The address of the server.
    pub fn base(&self) -> &str {
        &self.base
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, String)],
        body: Option<(&SubmitRequest, &str)>,
        wait: Duration,
    ) -> Result<T, ClientError> {
        let mut request = self.request(method, path, query).timeout(CALL_TIMEOUT + wait);
        // The feed would stream for ever otherwise.
        request = request.header(ACCEPT, "application/json");
        if let Some((body, key)) = body {
            request = request.json(body).header("Idempotency-Key", key);
        }
        self.answer(request).await
    }

    async fn answer<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        let response = self.accepted(request).await?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(|e| self.unreachable(&e))?;
        serde_json::from_slice(&bytes).map_err(|_| self.not_libra(status))
    }

    fn request(&self, method: Method, path: &str, query: &[(&str, String)]) -> RequestBuilder {
        let mut url = format!("{}{path}", self.base);
        let pairs: Vec<String> = query.iter().map(|(k, v)| format!("{k}={}", percent(v))).collect();
        if !pairs.is_empty() {
            url = format!("{url}?{}", pairs.join("&"));
        }
        let request = self.http.request(method, &url);
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// The answer, once its status says yes.
    async fn accepted(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let response = request.send().await.map_err(|e| self.unreachable(&e))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let bytes = response.bytes().await.map_err(|e| self.unreachable(&e))?;
        match serde_json::from_slice::<Problem>(&bytes) {
            Ok(problem) => Err(ClientError::Problem(Box::new(problem))),
            Err(_) => Err(self.not_libra(status)),
        }
    }

    fn unreachable(&self, e: &reqwest::Error) -> ClientError {
        ClientError::Unreachable { url: self.base.clone(), cause: root(e), perhaps_taken: !e.is_connect() }
    }

    fn not_libra(&self, status: StatusCode) -> ClientError {
        ClientError::NotLibra { url: self.base.clone(), status: status.as_u16() }
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, String)]) -> Result<T, ClientError> {
        self.call(Method::GET, path, query, None, Duration::ZERO).await
    }

    /// Submits a job. When only the answer was lost, the request is sent again under the same idempotency key,
    /// so the job is never stored twice.
    pub async fn submit(&self, request: &SubmitRequest) -> Result<SubmitView, ClientError> {
        let key = fresh_key();
        let mut tries = 1;
        loop {
            match self.submit_under(request, &key).await {
                Err(ClientError::Unreachable { perhaps_taken: true, .. }) if tries < SUBMIT_TRIES => {
                    tries += 1;
                }
                answer => return answer,
            }
            tokio::time::sleep(SUBMIT_PAUSE).await;
        }
    }

    /// Submits once, under an idempotency key of the caller's: who gets no clear answer may send the same again under
    /// the same key, to this Libra or to another replica of it.
    pub async fn submit_under(&self, request: &SubmitRequest, key: &str) -> Result<SubmitView, ClientError> {
        self.call(Method::POST, "/api/v1/jobs", &[], Some((request, key)), Duration::ZERO).await
    }

    /// Something that was uploaded, by its digest (`sha256:…`); None when it is not there.
    pub async fn artifact(&self, digest: &str) -> Result<Option<ArtifactView>, ClientError> {
        match self.get(&format!("/api/v1/artifacts/{}", percent(digest)), &[]).await {
            Ok(view) => Ok(Some(view)),
            Err(ClientError::Problem(problem)) if problem.error == Code::ArtifactNotFound.as_str() => {
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    /// Uploads the file at `path`, whose SHA-256 has these digits, and tells `sent` of every piece.
    ///
    /// # Errors
    /// Also [`ClientError::Setup`] when the file can't be read.
    pub async fn upload(
        &self,
        sha256: &str,
        path: &Path,
        size: u64,
        sent: impl Fn(u64) + Send + 'static,
    ) -> Result<ArtifactView, ClientError> {
        self.send_file(&format!("sha256={}", percent(sha256)), path, size, sent).await
    }

    /// The same under a name and a version.
    pub async fn upload_version(
        &self,
        sha256: &str,
        (name, version): (&str, &str),
        path: &Path,
        size: u64,
        sent: impl Fn(u64) + Send + 'static,
    ) -> Result<ArtifactView, ClientError> {
        let query = format!("sha256={}&name={}&version={}", percent(sha256), percent(name), percent(version));
        self.send_file(&query, path, size, sent).await
    }

    /// The versions of an artifact, newest first.
    pub async fn artifact_versions(&self, name: &str) -> Result<ArtifactVersionListView, ClientError> {
        self.get(&format!("/api/v1/artifacts/{}/versions", percent(name)), &[]).await
    }

    async fn send_file(
        &self,
        query: &str,
        path: &Path,
        size: u64,
        sent: impl Fn(u64) + Send + 'static,
    ) -> Result<ArtifactView, ClientError> {
        let unreadable = |e| ClientError::Setup(format!("the file `{}` can't be read: {e}", path.display()));
        let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
        let pieces = futures::stream::try_unfold((file, sent), |(mut file, sent)| async move {
            let mut piece = vec![0; UPLOAD_PIECE_BYTES];
            let length = file.read(&mut piece).await?;
            piece.truncate(length);
            sent(length as u64);
            Ok::<_, std::io::Error>((length > 0).then_some((piece, (file, sent))))
        });
        let patience = CALL_TIMEOUT + Duration::from_secs(size / SLOWEST_UPLOAD);
        let mut request = self
            .http
            .post(format!("{}/api/v1/artifacts?{query}", self.base))
            .timeout(patience)
            .header(CONTENT_LENGTH, size)
            .header(CONTENT_TYPE, "application/octet-stream")
            .body(reqwest::Body::wrap_stream(pieces));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        self.answer(request).await
    }

    /// One job; with `wait` > 0 the answer comes when it ends, or after that time.
    pub async fn job(&self, id: &str, wait: Duration) -> Result<JobView, ClientError> {
        let query = if wait.is_zero() { vec![] } else { vec![("wait", format!("{}s", wait.as_secs()))] };
        self.call(Method::GET, &format!("/api/v1/jobs/{}", percent(id)), &query, None, wait).await
    }

    /// Jobs, newest first; `query` as the API takes it.
    pub async fn jobs(&self, query: &[(&str, String)]) -> Result<JobListView, ClientError> {
        self.get("/api/v1/jobs", query).await
    }

    /// A page of rows.
    pub async fn result(&self, id: &str, query: &[(&str, String)]) -> Result<ResultView, ClientError> {
        self.get(&format!("/api/v1/jobs/{}/result", percent(id)), query).await
    }

    /// A piece of the log.
    pub async fn logs(&self, id: &str, query: &[(&str, String)]) -> Result<LogsView, ClientError> {
        self.get(&format!("/api/v1/jobs/{}/logs", percent(id)), query).await
    }

    /// The history.
    pub async fn events(&self, id: &str) -> Result<EventListView, ClientError> {
        self.get(&format!("/api/v1/jobs/{}/events", percent(id)), &[]).await
    }

    /// A piece of the feed of all jobs; with `wait` > 0 the answer comes when there is something, or after that
    /// time. `query` as the API takes it.
    pub async fn feed(&self, query: &[(&str, String)], wait: Duration) -> Result<FeedPageView, ClientError> {
        let mut query = query.to_vec();
        if !wait.is_zero() {
            query.push(("wait", format!("{}s", wait.as_secs())));
        }
        self.call(Method::GET, "/api/v1/events", &query, None, wait).await
    }

    /// Messages to webhooks; `query` as the API takes it.
    pub async fn webhooks(&self, query: &[(&str, String)]) -> Result<WebhookListView, ClientError> {
        self.get("/api/v1/webhooks", query).await
    }

    /// Sends a message again.
    pub async fn replay(&self, id: i64) -> Result<WebhookView, ClientError> {
        let path = format!("/api/v1/webhooks/{id}/replay");
        self.call(Method::POST, &path, &[], None, Duration::ZERO).await
    }

    /// Sends again what was given up: about one job, or about all that may be seen.
    pub async fn replay_dead(&self, job: Option<&str>) -> Result<ReplayView, ClientError> {
        let query: Vec<(&str, String)> = job.map(|id| ("job", id.to_owned())).into_iter().collect();
        self.call(Method::POST, "/api/v1/webhooks/replay", &query, None, Duration::ZERO).await
    }

    /// Why it is where it is.
    pub async fn explain(&self, id: &str) -> Result<ExplainView, ClientError> {
        self.get(&format!("/api/v1/jobs/{}/explain", percent(id)), &[]).await
    }

    /// Who holds what, who waits, and for whom room is kept.
    pub async fn queue(&self) -> Result<QueueView, ClientError> {
        self.get("/api/v1/queue", &[]).await
    }

    /// Who serves this database.
    pub async fn replicas(&self) -> Result<ReplicaListView, ClientError> {
        self.get("/api/v1/replicas", &[]).await
    }

    /// Cancels.
    pub async fn cancel(&self, id: &str) -> Result<CancelView, ClientError> {
        let path = format!("/api/v1/jobs/{}", percent(id));
        self.call(Method::DELETE, &path, &[], None, Duration::ZERO).await
    }
}

/// A key that no other submission has: 128 random bits, from the seeds that the standard library draws.
fn fresh_key() -> String {
    use std::hash::{BuildHasher, RandomState};
    let draw = || RandomState::new().hash_one(std::process::id());
    format!("libra-{:016x}{:016x}", draw(), draw())
}

fn root(e: &dyn std::error::Error) -> String {
    let mut e = e;
    while let Some(source) = e.source() {
        e = source;
    }
    e.to_string()
}

/// Percent-encodes everything but unreserved characters (RFC 3986).
fn percent(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::percent;

    #[test]
    fn odd_ids_travel_as_they_are() {
        assert_eq!(percent("job-1"), "job-1");
        assert_eq!(percent("a/b?c ü"), "a%2Fb%3Fc%20%C3%BC");
    }
}
