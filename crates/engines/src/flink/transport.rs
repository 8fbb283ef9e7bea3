//! The HTTP client of one cluster: patience, limits, and who we say we are.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, RequestBuilder};
use serde::de::DeserializeOwned;

use super::error::{About, Error, classify};

/// How long a connection may take.
pub const CONNECT_PATIENCE: Duration = Duration::from_secs(3);
/// How long an answer may take.
pub const ASK_PATIENCE: Duration = Duration::from_secs(10);
/// How long a run is waited for: it answers once the program's `main()` has returned. A longer one goes on there,
/// and is found by its job id.
pub const RUN_PATIENCE: Duration = Duration::from_mins(1);
/// How long an upload may take.
pub const UPLOAD_PATIENCE: Duration = Duration::from_mins(10);
/// The largest answer that is read, in bytes. A thousand jobs are about half a megabyte.
pub const MOST_BYTES: usize = 16 * 1024 * 1024;

/// Where a cluster is, and what it wants to see of us.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// The address of its REST API, as `http://host:8081`; a path in front of it is kept.
    pub url: String,
    /// Headers of every request, `authorization` among them. Their values are kept out of logs.
    pub headers: Vec<(String, String)>,
    /// Certificates (PEM) that are trusted beside those of the system.
    pub trusted: Vec<u8>,
    /// Our own certificate and key (PEM), for clusters that want one; empty for none.
    pub identity: Vec<u8>,
}

/// One cluster.
#[derive(Clone)]
pub struct Flink {
    /// Another one when what it shows has changed: see [`Flink::renew`].
    client: Arc<RwLock<reqwest::Client>>,
    base: Arc<str>,
}

impl std::fmt::Debug for Flink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Flink").field("base", &self.base).finish_non_exhaustive()
    }
}

impl Flink {
    /// A client for a cluster. Nothing is sent.
    ///
    /// # Errors
    /// When the address, a header or a certificate is none: in words for who configured it.
    pub fn new(access: &Access) -> Result<Self, String> {
        let base = access.url.trim().trim_end_matches('/');
        let address: reqwest::Url = base.parse().map_err(|e| format!("{base} is no address: {e}"))?;
        if !["http", "https"].contains(&address.scheme()) || address.host_str().is_none() {
            return Err(format!("{base} is no address of a Flink cluster; hint: http://host:8081"));
        }
        let client = Arc::new(RwLock::new(client(access)?));
        Ok(Self { client, base: Arc::from(base) })
    }

    /// Shows the headers and certificates of `access` from now on; requests under way go on as they began.
    ///
    /// # Errors
    /// When a header or a certificate is none, in words; then everything stays as it was.
    pub fn renew(&self, access: &Access) -> Result<(), String> {
        let new = client(access)?;
        *self.client.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    /// The address.
    pub fn base(&self) -> &str {
        &self.base
    }

    pub(super) fn request(&self, method: Method, path: &str, patience: Duration) -> RequestBuilder {
        let client = self.client.read().unwrap_or_else(PoisonError::into_inner);
        client.request(method, format!("{}{path}", self.base)).timeout(patience)
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str, about: About) -> Result<T, Error> {
        let asked = || exchange(self.request(Method::GET, path, ASK_PATIENCE));
        // A connection that was kept may be closed just when it is used again. A question can be asked twice.
        let (status, body) = match asked().await {
            Err(Error::Unreachable(_)) => asked().await?,
            answer => answer?,
        };
        read(status, &body, about)
    }

    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &serde_json::Value,
        about: About,
    ) -> Result<T, Error> {
        let request = self.request(Method::POST, path, ASK_PATIENCE).json(body);
        let (status, body) = exchange(request).await?;
        read(status, &body, about)
    }
}

/// A client that shows what `access` says.
fn client(access: &Access) -> Result<reqwest::Client, String> {
    // A second caller finds the provider in place, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut headers = HeaderMap::new();
    for (name, value) in &access.headers {
        let name: HeaderName = name.parse().map_err(|_| format!("{name} is no name of a header"))?;
        let mut value =
            HeaderValue::from_str(value).map_err(|_| format!("the value of header {name} is none"))?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    // Who sends us elsewhere is not the cluster, and would be shown our headers.
    let mut client = reqwest::Client::builder()
        .connect_timeout(CONNECT_PATIENCE)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .default_headers(headers);
    if !access.trusted.is_empty() {
        let bundle = reqwest::Certificate::from_pem_bundle(&access.trusted);
        for certificate in bundle.map_err(|e| format!("the certificates are none: {e}"))? {
            client = client.add_root_certificate(certificate);
        }
    }
    if !access.identity.is_empty() {
        let identity = reqwest::Identity::from_pem(&access.identity);
        client = client.identity(identity.map_err(|e| format!("the certificate and key are none: {e}"))?);
    }
    client.build().map_err(|e| format!("no HTTP client: {e}"))
}

/// Sends a request and reads the whole answer, within its limits.
pub(super) async fn exchange(request: RequestBuilder) -> Result<(u16, Vec<u8>), Error> {
    let mut answer = request.send().await.map_err(|e| lost(&e))?;
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(|e| lost(&e))? {
        if body.len() + piece.len() > MOST_BYTES {
            return Err(Error::Garbage(format!("more than {MOST_BYTES} bytes")));
        }
        body.extend_from_slice(&piece);
    }
    Ok((answer.status().as_u16(), body))
}

fn lost(error: &reqwest::Error) -> Error {
    if error.is_timeout() && !error.is_connect() {
        return Error::TimedOut;
    }
    // The cause says more than "error sending request"; an address may hold a password.
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    Error::Unreachable(cause.to_string())
}

/// Reads an answer.
pub(super) fn read<T: DeserializeOwned>(status: u16, body: &[u8], about: About) -> Result<T, Error> {
    if !(200..300).contains(&status) {
        return Err(classify(status, body, about));
    }
    serde_json::from_slice(body).map_err(|e| Error::Garbage(e.to_string()))
}
