//! One try at sending one message.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, StatusCode, redirect};

use super::address::{Guard, Private};
use super::{Secret, refused};

/// The longest time to a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// A connection without use is closed after this long.
const IDLE_LIMIT: Duration = Duration::from_secs(30);
/// Idle connections kept to one host.
const IDLE_PER_HOST: usize = 4;
/// Characters of an error that are kept.
const MAX_ERROR: usize = 300;

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    /// The same in every try.
    pub(crate) id: &'a str,
    /// Where it goes.
    pub(crate) target: &'a str,
    /// JSON.
    pub(crate) body: &'a str,
    /// The request that caused what it tells of.
    pub(crate) correlation_id: &'a str,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// The target took it.
    Taken,
    /// Perhaps another time.
    NotNow {
        /// Why.
        error: String,
        /// The target asked for so long a wait.
        retry_after: Option<Duration>,
    },
    /// Sending it again would change nothing.
    Never {
        /// Why.
        error: String,
    },
}

/// Sends messages.
pub(crate) struct Sender {
    http: Client,
    secret: Secret,
    allow_private: bool,
    limit: Duration,
}

impl Sender {
    /// A sender that gives each try `limit` in all.
    ///
    /// # Errors
    /// When the system's certificates can't be read.
    pub(crate) fn new(secret: Secret, allow_private: bool, limit: Duration) -> Result<Self, String> {
        // A second caller finds the provider in place, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = Client::builder()
            // A proxy of the environment would look names up itself, and reach what must not be reached.
            .no_proxy()
            .redirect(redirect::Policy::none())
            .dns_resolver(Arc::new(Guard { allow_private }))
            .connect_timeout(CONNECT_LIMIT)
            .timeout(limit)
            .pool_idle_timeout(IDLE_LIMIT)
            .pool_max_idle_per_host(IDLE_PER_HOST)
            .user_agent(concat!("Libra/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| plain(&e))?;
        Ok(Self { http, secret, allow_private, limit })
    }

    /// Sends `message` once; `timestamp` in seconds since the Unix epoch.
    pub(crate) async fn send(&self, message: Message<'_>, timestamp: i64) -> Sent {
        // An address in place of a name is not looked up, so it is looked at here.
        if let Some(why) = refused(message.target, self.allow_private) {
            return Sent::Never { error: format!("the webhook's address {why}") };
        }
        let request = self
            .http
            .post(message.target)
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", message.id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", self.secret.sign(message.id, timestamp, message.body))
            .header("x-correlation-id", message.correlation_id)
            .body(message.body.to_owned());
        match request.send().await {
            // What it says besides is of no interest, and could be without end.
            Ok(response) => judge(response.status(), response.headers().get(RETRY_AFTER)),
            Err(e) => self.unsent(&e),
        }
    }

    fn unsent(&self, e: &reqwest::Error) -> Sent {
        if let Some(private) = causes(e).find_map(|cause| cause.downcast_ref::<Private>()) {
            return Sent::Never { error: private.to_string() };
        }
        let error = if e.is_timeout() {
            format!("no answer within {} s", self.limit.as_secs_f64())
        } else if e.is_connect() {
            format!("no connection: {}", plain(e))
        } else {
            plain(e)
        };
        Sent::NotNow { error, retry_after: None }
    }
}

fn judge(status: StatusCode, retry_after: Option<&reqwest::header::HeaderValue>) -> Sent {
    if status.is_success() {
        return Sent::Taken;
    }
    if status == StatusCode::GONE {
        return Sent::Never { error: "the target answered 410: it wants no more".to_owned() };
    }
    let error = if status.is_redirection() {
        format!("the target answered {}: webhooks follow nobody elsewhere", status.as_u16())
    } else {
        format!("the target answered {}", status.as_u16())
    };
    let seconds = retry_after.and_then(|v| v.to_str().ok()?.trim().parse().ok());
    Sent::NotNow { error, retry_after: seconds.map(Duration::from_secs) }
}

fn causes<'a>(
    e: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(e), |e| e.source())
}

/// The innermost cause, without the address: that may hold a secret of the target's.
pub(crate) fn plain(e: &reqwest::Error) -> String {
    let innermost =
        causes(e).last().map_or_else(String::new, |cause| match cause.downcast_ref::<reqwest::Error>() {
            None => cause.to_string(),
            Some(_) => "the request failed".to_owned(),
        });
    innermost.chars().filter(|c| !c.is_control()).take(MAX_ERROR).collect()
}

#[cfg(test)]
mod tests;
