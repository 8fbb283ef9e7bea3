//! The HTTP client of one slurmrestd: patience, limits, versions, and who we say we are.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use reqwest::header::HeaderValue;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::answer::Answer;
use super::error::{Error, words};
use super::token::{TokenFrom, Tokens};
use super::version::ApiVersion;

/// How long a connection may take.
pub const CONNECT_PATIENCE: Duration = Duration::from_secs(3);
/// How long an answer may take. slurmrestd itself waits 9 s for a slurmctld that is dead, and says so then.
pub const ASK_PATIENCE: Duration = Duration::from_secs(15);
/// How long a list of all jobs may take: 2,000 jobs were seen to take 3 s.
pub const LIST_PATIENCE: Duration = Duration::from_mins(1);
/// The largest answer that is read, in bytes: some 60,000 jobs at v0.0.38, and 20,000 at v0.0.42.
pub const MOST_BYTES: usize = 256 * 1024 * 1024;

/// Headers in which slurmrestd looks for who we are.
const USER_HEADER: &str = "x-slurm-user-name";
const TOKEN_HEADER: &str = "x-slurm-user-token";
/// An address of a socket begins so.
const SOCKET: &str = "unix:";

/// Where a slurmrestd is, and what it wants to see of us.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Its address, as `http://host:6820` or `unix:/run/slurmrestd.sock`; a path in front of its API is kept.
    pub url: String,
    /// The version to speak; None finds the newest that both sides know.
    pub version: Option<ApiVersion>,
    /// The user whom we are to Slurm. A token that is made here is made for it.
    pub user: Option<String>,
    /// Where tokens come from.
    pub token: TokenFrom,
    /// Certificates (PEM) that are trusted beside those of the system.
    pub trusted: Vec<u8>,
}

/// What is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// What slurmctld knows.
    Slurm,
    /// What slurmdbd keeps.
    Accounting,
}

/// What came back.
#[derive(Debug)]
pub(super) enum Told {
    /// HTTP 304: nothing has changed since the time that was named.
    Unchanged,
    /// An answer without errors.
    Answer(Answer),
}

/// One slurmrestd.
#[derive(Clone)]
pub struct Rest {
    client: reqwest::Client,
    base: Arc<str>,
    user: Option<HeaderValue>,
    tokens: Arc<Tokens>,
    pinned: Option<ApiVersion>,
    /// The version that was found; forgotten when slurmrestd does not know it any more.
    found: Arc<RwLock<Option<ApiVersion>>>,
}

impl std::fmt::Debug for Rest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rest").field("base", &self.base).field("pinned", &self.pinned).finish_non_exhaustive()
    }
}

impl Rest {
    /// A client. Nothing is sent.
    ///
    /// # Errors
    /// When the address, the user or a certificate is none: in words for who configured it.
    pub fn new(access: &Access) -> Result<Self, String> {
        // A second caller finds the provider in place, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let given = access.url.trim().trim_end_matches('/');
        let hint = "hint: http://host:6820, or unix:/run/slurmrestd.sock";
        // Who sends us elsewhere is not slurmrestd, and would be shown our token.
        let mut client = reqwest::Client::builder()
            .connect_timeout(CONNECT_PATIENCE)
            // One that was kept may be closed just when it is used again, and a submission is not to be in doubt for that.
            .pool_max_idle_per_host(0)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy();
        let base = if let Some(path) = given.strip_prefix(SOCKET) {
            let path = PathBuf::from(format!("/{}", path.trim_start_matches('/')));
            client = client.unix_socket(path);
            "http://localhost".to_owned()
        } else {
            let address: reqwest::Url =
                given.parse().map_err(|e| format!("{given} is no address: {e}; {hint}"))?;
            if !["http", "https"].contains(&address.scheme()) || address.host_str().is_none() {
                return Err(format!("{given} is no address of a slurmrestd; {hint}"));
            }
            given.to_owned()
        };
        if !access.trusted.is_empty() {
            let bundle = reqwest::Certificate::from_pem_bundle(&access.trusted);
            for certificate in bundle.map_err(|e| format!("the certificates are none: {e}"))? {
                client = client.add_root_certificate(certificate);
            }
        }
        let name = access.user.as_deref();
        if matches!(access.token, TokenFrom::Key(_)) && name.is_none() {
            return Err("a token that is made with a key is made for a user; hint: name one".to_owned());
        }
        let user = match name {
            Some(name) => Some(HeaderValue::from_str(name).map_err(|_| format!("{name:?} is no user"))?),
            None => None,
        };
        Ok(Self {
            client: client.build().map_err(|e| format!("no HTTP client: {e}"))?,
            base: Arc::from(base),
            user,
            tokens: Arc::new(Tokens::new(access.token.clone(), name.unwrap_or_default().to_owned())),
            pinned: access.version,
            found: Arc::new(RwLock::new(None)),
        })
    }

    /// The version that is spoken: the pinned one, or the newest that both sides know, which is asked for once.
    ///
    /// # Errors
    /// [`Error::NoVersion`], and whatever keeps slurmrestd from answering.
    pub async fn version(&self) -> Result<ApiVersion, Error> {
        if let Some(version) = self.pinned.or(*self.found.read().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(version);
        }
        for version in ApiVersion::NEWEST_FIRST {
            let path = format!("/slurm/{}/ping", version.as_str());
            let (status, body) = self.exchange(Method::GET, &path, None, ASK_PATIENCE).await?;
            if is_no_version(status, &body) {
                continue;
            }
            if [401, 403].contains(&status) {
                return Err(Error::Unauthorised(words(&String::from_utf8_lossy(&body))));
            }
            // A slurmctld that does not answer says nothing about the version.
            *self.found.write().unwrap_or_else(PoisonError::into_inner) = Some(version);
            return Ok(version);
        }
        Err(Error::NoVersion)
    }

    pub(super) async fn get(&self, about: About, path: &str, patience: Duration) -> Result<Told, Error> {
        self.send(Method::GET, about, path, None, patience).await
    }

    pub(super) async fn delete(&self, path: &str) -> Result<Told, Error> {
        self.send(Method::DELETE, About::Slurm, path, None, ASK_PATIENCE).await
    }

    /// Sends what `body` makes for the version that is spoken. It is sent once; a version that slurmrestd does not know has
    /// been found out before anything was carried out.
    pub(super) async fn post(
        &self,
        path: &str,
        body: impl Fn(ApiVersion) -> Value + Sync,
        patience: Duration,
    ) -> Result<Told, Error> {
        self.send(Method::POST, About::Slurm, path, Some(&body), patience).await
    }

    async fn send(
        &self,
        method: Method,
        about: About,
        path: &str,
        body: Option<&(dyn Fn(ApiVersion) -> Value + Sync)>,
        patience: Duration,
    ) -> Result<Told, Error> {
        let room = match about {
            About::Slurm => "slurm",
            About::Accounting => "slurmdb",
        };
        let mut version = self.version().await?;
        loop {
            let whole = format!("/{room}/{}/{path}", version.as_str());
            let body = body.map(|body| body(version));
            let (status, bytes) = self.exchange(method.clone(), &whole, body.as_ref(), patience).await?;
            if status == StatusCode::NOT_MODIFIED.as_u16() {
                return Ok(Told::Unchanged);
            }
            if is_no_version(status, &bytes) {
                // slurmrestd may be another one than it was.
                *self.found.write().unwrap_or_else(PoisonError::into_inner) = None;
                let now = self.version().await?;
                if now != version {
                    version = now;
                    continue;
                }
                return Err(match about {
                    About::Slurm => Error::NoVersion,
                    About::Accounting => {
                        Error::NoAccounting(format!("slurmrestd has no slurmdb/{}", now.as_str()))
                    }
                });
            }
            return read(status, bytes).await.map(Told::Answer);
        }
    }

    /// Sends a request and reads the whole answer, within its limits.
    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        patience: Duration,
    ) -> Result<(u16, Vec<u8>), Error> {
        let mut request = self.client.request(method, format!("{}{path}", self.base)).timeout(patience);
        if let Some(user) = &self.user {
            request = request.header(USER_HEADER, user.clone());
        }
        if let Some(token) = self.tokens.now()? {
            let mut token = HeaderValue::from_str(&token)
                .map_err(|_| Error::NoToken("it holds what no header may".to_owned()))?;
            token.set_sensitive(true);
            request = request.header(TOKEN_HEADER, token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let mut answer = request.send().await.map_err(|e| lost(&e))?;
        let mut bytes = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|e| lost(&e))? {
            if bytes.len() + piece.len() > MOST_BYTES {
                return Err(Error::Garbage(format!("more than {MOST_BYTES} bytes")));
            }
            bytes.extend_from_slice(&piece);
        }
        Ok((answer.status().as_u16(), bytes))
    }
}

/// True for slurmrestd's words for a path that it does not know. A job that is not there has an answer of its own.
fn is_no_version(status: u16, body: &[u8]) -> bool {
    status == StatusCode::NOT_FOUND.as_u16() && !body.trim_ascii_start().starts_with(b"{")
}

/// Reads an answer beside the others: a long one takes seconds.
pub(super) async fn read(status: u16, body: Vec<u8>) -> Result<Answer, Error> {
    let read = tokio::task::spawn_blocking(move || Answer::read(status, &body));
    read.await.map_err(|e| Error::Garbage(e.to_string()))?
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
