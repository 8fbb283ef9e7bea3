//! Programs at addresses: objects of configured hosts and of an S3-compatible store (contract F6).
//!
//! An address comes from a specification, so anybody may write one: only hosts that the configuration names are asked,
//! and none of them can lead on to another one.

mod s3;

use std::time::Duration;

use libra_core::time::Timestamp;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Response, StatusCode, redirect};
use url::Url;

pub use s3::S3;

use crate::webhooks::plain;

/// A connection may take this long.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Nothing may come for this long.
const SILENCE_LIMIT: Duration = Duration::from_secs(30);
/// An object has to be there within this time.
const LIMIT: Duration = Duration::from_mins(5);

/// Where objects may come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    /// Hosts of http and https addresses, with a port where it is not the usual one.
    pub hosts: Vec<String>,
    /// The store of s3 addresses.
    pub s3: Option<S3>,
}

/// Why an object is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Missed {
    /// The address may not be asked, or has no such object; reads on after the field's name.
    Wrong(String),
    /// It may be there the next time: in words.
    Later(String),
}

impl Origins {
    /// Asks for an object; its bytes are still to come.
    pub(crate) async fn ask(&self, address: &str, now: Timestamp) -> Result<Response, Missed> {
        let (url, headers) = match address.strip_prefix("s3://") {
            Some(object) => {
                let s3 = self.s3.as_ref().ok_or_else(|| {
                    Missed::Wrong("needs a store for s3 addresses: set `libra.flink.artifacts.s3`".to_owned())
                })?;
                let request = s3.request(object, now).await?;
                (request.url, request.headers)
            }
            None => (self.allowed(address).map_err(Missed::Wrong)?, Vec::new()),
        };
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let header = HeaderName::try_from(name).ok().zip(HeaderValue::try_from(value).ok());
            let (name, value) = header.ok_or_else(|| {
                Missed::Wrong("can't be asked for: the key of the store is none".to_owned())
            })?;
            map.insert(name, value);
        }
        let client = Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_LIMIT)
            .read_timeout(SILENCE_LIMIT)
            .timeout(LIMIT)
            .user_agent(concat!("Libra/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| Missed::Later(plain(&e)))?;
        let answer = client.get(url).headers(map).send().await.map_err(|e| Missed::Later(plain(&e)))?;
        let status = answer.status();
        if status == StatusCode::OK {
            return Ok(answer);
        }
        let why = if status.is_redirection() {
            format!("is somewhere else (HTTP {}): name the address where it is", status.as_u16())
        } else {
            format!("can't be fetched: HTTP {}", status.as_u16())
        };
        let later = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
        Err(if later { Missed::Later(why) } else { Missed::Wrong(why) })
    }

    /// The address, when its host is configured.
    fn allowed(&self, address: &str) -> Result<Url, String> {
        let url = Url::parse(address).map_err(|e| format!("is no address: {e}"))?;
        let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
        // The usual port of the scheme is not written.
        let asked = url.port().map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
        if self.hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(&asked)) {
            return Ok(url);
        }
        Err(format!("is at {asked}, and objects come only from hosts in `libra.flink.artifacts.hosts`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_configured_hosts_are_asked() {
        let origins = Origins { hosts: vec!["Repo.Example".into(), "127.0.0.1:8000".into()], s3: None };
        for fine in
            ["https://repo.example/a.jar", "http://REPO.example:80/a.jar", "http://127.0.0.1:8000/a.jar?x=y"]
        {
            assert!(origins.allowed(fine).is_ok(), "{fine}");
        }
        for wrong in [
            "https://repo.example:8443/a.jar",
            "http://127.0.0.1/a.jar",
            "http://127.0.0.1:8000@elsewhere.example/a.jar",
            "http://2130706433:80/a.jar",
            "http://repo.example.elsewhere.example/a.jar",
            "https:///a.jar",
        ] {
            assert!(origins.allowed(wrong).is_err(), "{wrong}");
        }
        // The same host, however it is written.
        assert!(origins.allowed("http://2130706433:8000/a.jar").is_ok());
    }
}
