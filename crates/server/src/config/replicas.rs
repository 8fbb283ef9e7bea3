//! The keys that matter to several replicas: the database, this replica's name and lease, Redis.

use std::path::PathBuf;
use std::time::Duration;

use libra_store::{PoolSettings, StoreUrl};

use super::build::Values;
use super::{ConfigError, Replica, SecretText, Store};

/// A lease shorter than this would be lost to an ordinary pause.
const LEAST_LEASE: Duration = Duration::from_secs(1);
/// With a longer one the heartbeats, four in a lease, would be further apart than a launch may come after one of them,
/// and than the drivers on a host wait for a sign of life.
const MOST_LEASE: Duration = Duration::from_mins(1);
/// A process on a lost host ends itself a minute before the host is given up; shorter would leave no time for that.
const LEAST_HOST_LOST_AFTER: Duration = Duration::from_mins(2);
/// Bytes of a replica's name, at most.
const LONGEST_ID: usize = 100;

pub(super) fn store(v: &Values) -> Result<Store, ConfigError> {
    let url = v.text("libra.store.url").unwrap_or_default();
    let data_dir = PathBuf::from(v.text("libra.data-dir").unwrap_or_default());
    let url = StoreUrl::parse(&url, &data_dir).map_err(|e| {
        let error = ConfigError::new(e.to_string());
        match e.hint() {
            Some(hint) => error.hinting(hint),
            None => error,
        }
    })?;
    let max: u32 = v.number("libra.store.pool.max-connections")?;
    let min: u32 = v.number("libra.store.pool.min-connections")?;
    if max == 0 || min > max {
        return Err(ConfigError::new(format!(
            "libra.store.pool: at least {min} and at most {max} connections can't be"
        ))
        .hinting("libra.store.pool.max-connections is at least 1 and not below min-connections"));
    }
    let pool = PoolSettings {
        max,
        min,
        max_lifetime: v.duration("libra.store.pool.max-lifetime")?,
        max_idle: v.duration("libra.store.pool.max-idle-time")?,
        ..PoolSettings::default()
    };
    Ok(Store { url, pool })
}

pub(super) fn replica(v: &Values) -> Result<Replica, ConfigError> {
    let name = |key| {
        v.parse(key, "letters, digits, `-`, `_` and `.`, at most 100", |t| {
            let fine = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
            (!t.is_empty() && t.len() <= LONGEST_ID && t.bytes().all(fine)).then(|| t.to_owned())
        })
    };
    let (id, machine) = (name("libra.replica.id")?, name("libra.replica.machine")?);
    let lease = v.duration("libra.replica.lease")?;
    if lease < LEAST_LEASE {
        return Err(ConfigError::new("libra.replica.lease must be at least 1s"));
    }
    let address = v.parse("libra.replica.address", "an address such as http://10.0.0.7:8080", |t| {
        let uri: http::Uri = t.parse().ok()?;
        let http = matches!(uri.scheme_str(), Some("http" | "https"));
        (http && uri.host().is_some()).then(|| t.trim_end_matches('/').to_owned())
    })?;
    if lease > MOST_LEASE {
        return Err(ConfigError::new("libra.replica.lease must be at most 1m")
            .hinting("10s suits most: a dead replica's jobs are taken over about so much later"));
    }
    let host_lost_after = v.duration("libra.replica.host-lost-after")?;
    if host_lost_after < LEAST_HOST_LOST_AFTER {
        return Err(ConfigError::new("libra.replica.host-lost-after must be at least 2m"));
    }
    Ok(Replica { id, lease, machine, address, host_lost_after })
}

/// The whole address, or the references' host, port and password put together; both given must agree.
pub(super) fn redis(v: &Values) -> Result<Option<SecretText>, ConfigError> {
    let url = v.text("libra.queue.redis.url");
    let Some(host) = v.text("libra.queue.redis.host") else { return Ok(url.map(SecretText)) };
    let port: u16 = v.number("libra.queue.redis.port")?;
    let password = v.text("libra.queue.redis.password").map(|p| format!(":{}@", percent_encoded(&p)));
    let made = format!("redis://{}{host}:{port}", password.unwrap_or_default());
    match url {
        Some(url) if url.trim_end_matches('/') != made => Err(ConfigError::new(
            "libra.queue.redis.url and libra.queue.redis.host name two different Redis servers",
        )
        .hinting(
            "keep one of the two spellings (REDIS_URL, or REDIS_HOST with REDIS_PORT and REDIS_PASSWORD)",
        )),
        Some(_) | None => Ok(Some(SecretText(made))),
    }
}

fn percent_encoded(text: &str) -> String {
    use std::fmt::Write;
    text.bytes().fold(String::new(), |mut out, b| {
        if b.is_ascii_alphanumeric() || b"-._~".contains(&b) {
            out.push(char::from(b));
        } else {
            // Writing to a String can't fail.
            let _ = write!(out, "%{b:02X}");
        }
        out
    })
}
