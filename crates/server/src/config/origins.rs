//! Where programs for Flink may be fetched from.

use std::path::PathBuf;

use serde_json::Value;
use url::Url;

use super::ConfigError;
use super::fields::{Fields, is_web_address, list};
use super::keys::{FLINK_HOSTS, FLINK_S3};
use crate::objects::{Origins, S3};

const EXAMPLE: &str = "libra.flink.artifacts.s3: {endpoint: \"http://127.0.0.1:9000\", access-key-file: /etc/libra/s3-id, \
                       secret-key-file: /etc/libra/s3-key}";
const KNOWN: [&str; 7] = [
    "endpoint",
    "region",
    "access-key-file",
    "secret-key-file",
    "session-token-file",
    "virtual-hosts",
    "buckets",
];
/// The region of a store that has none.
const DEFAULT_REGION: &str = "us-east-1";

/// Hosts, and the store of s3 addresses, from what `tree` finds by their keys.
///
/// # Errors
/// A value that is no list or map, an unknown field, a host or an address that is none.
pub(super) fn origins<'v>(tree: impl Fn(&str) -> Option<&'v Value>) -> Result<Origins, ConfigError> {
    let example = format!("{FLINK_HOSTS}: [repo.example, \"repo.example:8443\"]");
    let mut hosts = Vec::new();
    for value in list(FLINK_HOSTS, tree(FLINK_HOSTS), &example)? {
        let Some(host) = value.as_str().map(str::trim).filter(|text| is_host(text)) else {
            let message =
                format!("{FLINK_HOSTS} must be names of hosts, with or without a port, not `{value}`");
            return Err(ConfigError::new(message).hinting(example));
        };
        hosts.push(host.to_ascii_lowercase());
    }
    let s3 = tree(FLINK_S3).filter(|value| !value.is_null()).map(s3).transpose()?;
    Ok(Origins { hosts, s3 })
}

fn is_host(text: &str) -> bool {
    let url = Url::parse(&format!("http://{text}/"));
    !text.contains(['/', '@', '?', '#']) && url.is_ok_and(|url| url.has_host())
}

fn s3(value: &Value) -> Result<S3, ConfigError> {
    let mut fields = Fields::of(FLINK_S3, value, &KNOWN)?;
    let missing = |name: &str| ConfigError::new(format!("{FLINK_S3} needs {name}")).hinting(EXAMPLE);
    let endpoint = fields.text("endpoint")?.ok_or_else(|| missing("endpoint"))?;
    let endpoint = Url::parse(&endpoint).ok().filter(|_| is_web_address(&endpoint)).ok_or_else(|| {
        let message = format!(
            "{FLINK_S3}.endpoint must be an address that begins with http:// or https://, not `{endpoint}`"
        );
        ConfigError::new(message).hinting(EXAMPLE)
    })?;
    let virtual_hosts = match fields.take("virtual-hosts") {
        None => false,
        Some(Value::Bool(value)) => *value,
        Some(other) => return Err(fields.wrong("virtual-hosts", "`true` or `false`", other)),
    };
    let buckets = match fields.take("buckets") {
        None => None,
        Some(value) => {
            let names: Option<Vec<String>> = value
                .as_array()
                .and_then(|all| all.iter().map(|one| one.as_str().map(str::to_owned)).collect());
            Some(names.ok_or_else(|| fields.wrong("buckets", "a list of names", value))?)
        }
    };
    Ok(S3 {
        endpoint,
        region: fields.text("region")?.unwrap_or_else(|| DEFAULT_REGION.to_owned()),
        access_key_file: fields
            .text("access-key-file")?
            .map(PathBuf::from)
            .ok_or_else(|| missing("access-key-file"))?,
        secret_key_file: fields
            .text("secret-key-file")?
            .map(PathBuf::from)
            .ok_or_else(|| missing("secret-key-file"))?,
        session_token_file: fields.text("session-token-file")?.map(PathBuf::from),
        virtual_hosts,
        buckets,
    })
}
