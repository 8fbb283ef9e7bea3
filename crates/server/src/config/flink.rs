//! Flink's session clusters, where programs for them are, and who vouches for those.

use std::path::PathBuf;

use serde_json::Value;

use super::fields::{Fields, is_web_address, list, map};
use super::keys::{FLINK_CLUSTERS, FLINK_DIRECTORIES, FLINK_PUBLIC_KEYS, FLINK_SIGNATURES};
use super::origins::origins;
use super::{ConfigError, SecretText};
use crate::objects::Origins;
use crate::signatures::{Policy, TrustedKey};

/// What is said of Flink.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Flink {
    /// The session clusters; a specification that names none gets the first.
    pub clusters: Vec<FlinkCluster>,
    /// Where `artifact_path` is looked for, in this order.
    pub directories: Vec<PathBuf>,
    /// Whether programs have to be signed.
    pub signatures: Policy,
    /// By whom.
    pub public_keys: Vec<TrustedKey>,
    /// Where programs may be fetched from.
    pub origins: Origins,
}

/// A session cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct FlinkCluster {
    /// Its name in specifications.
    pub name: String,
    /// Its REST API.
    pub url: String,
    /// A file that holds a bearer token alone.
    pub token_file: Option<PathBuf>,
    /// Certificates (PEM) that are trusted beside the system's.
    pub ca_file: Option<PathBuf>,
    /// A certificate and its key (PEM) that are shown to the cluster.
    pub identity_file: Option<PathBuf>,
    /// Further headers of every request.
    pub headers: Vec<(String, SecretText)>,
    /// Where savepoints go, as Flink writes it; the cluster's own directory when absent.
    pub savepoint_directory: Option<String>,
    /// Task slots that runs of deployments may hold at once, together; None = any number.
    pub max_slots: Option<u32>,
    /// The Python that runs Python jobs, on the cluster's machines; the cluster's own setting when absent.
    pub python: Option<String>,
}

const EXAMPLE: &str = "libra.flink.clusters: [{name: main, url: \"http://127.0.0.1:8081\"}]";
const KNOWN: [&str; 9] = [
    "name",
    "url",
    "token-file",
    "ca-file",
    "identity-file",
    "headers",
    "savepoint-directory",
    "max-slots",
    "python",
];

/// The greatest `max-slots` that is believed.
const MOST_SLOTS: u64 = 1_000_000;

/// Everything of Flink, from the lists that `tree` finds by their keys.
///
/// # Errors
/// A value that is no list, an unknown field, an address or key that is none, a name that comes twice.
pub(super) fn flink<'v>(
    tree: impl Fn(&str) -> Option<&'v Value>,
    signatures: Policy,
) -> Result<Flink, ConfigError> {
    let mut found: Vec<FlinkCluster> = Vec::new();
    for (n, value) in list(FLINK_CLUSTERS, tree(FLINK_CLUSTERS), EXAMPLE)?.iter().enumerate() {
        let place = format!("{FLINK_CLUSTERS}[{n}]");
        let cluster = cluster(&place, value)?;
        if found.iter().any(|other| other.name == cluster.name) {
            let name = &cluster.name;
            return Err(ConfigError::new(format!("{FLINK_CLUSTERS} names the cluster `{name}` twice")));
        }
        found.push(cluster);
    }
    let example = "libra.flink.artifacts.directories: [/srv/flink-jobs]";
    let directories =
        list(FLINK_DIRECTORIES, tree(FLINK_DIRECTORIES), example)?.iter().map(|value| match value {
            Value::String(text) if !text.trim().is_empty() => Ok(PathBuf::from(text.trim())),
            other => Err(ConfigError::new(format!("{FLINK_DIRECTORIES} must be paths, not `{other}`"))),
        });
    Ok(Flink {
        clusters: found,
        directories: directories.collect::<Result<_, _>>()?,
        signatures,
        public_keys: public_keys(tree(FLINK_PUBLIC_KEYS), signatures)?,
        origins: origins(tree)?,
    })
}

/// Reads `libra.flink.artifacts.signatures`. YAML takes a bare `off` for false.
pub(super) fn policy(text: &str) -> Option<Policy> {
    match text {
        "off" | "false" => Some(Policy::Off),
        "if-present" => Some(Policy::IfPresent),
        "required" => Some(Policy::Required),
        _ => None,
    }
}

fn public_keys(value: Option<&Value>, policy: Policy) -> Result<Vec<TrustedKey>, ConfigError> {
    let example =
        format!("{FLINK_PUBLIC_KEYS}: [RWQ…], the second line of what `minisign -G` writes to minisign.pub");
    let mut keys = Vec::new();
    for value in list(FLINK_PUBLIC_KEYS, value, &example)? {
        let Some(Ok(key)) = value.as_str().map(TrustedKey::read) else {
            let message = format!("{FLINK_PUBLIC_KEYS} must be public keys of minisign, not `{value}`");
            return Err(ConfigError::new(message).hinting(example));
        };
        keys.push(key);
    }
    if policy == Policy::Required && keys.is_empty() {
        let message = format!("{FLINK_SIGNATURES} is `required`, and {FLINK_PUBLIC_KEYS} has no key");
        return Err(ConfigError::new(message).hinting(example));
    }
    Ok(keys)
}

fn cluster(place: &str, value: &Value) -> Result<FlinkCluster, ConfigError> {
    let mut fields = Fields::of(place, value, &KNOWN)?;
    let name = fields.name()?;
    let url = fields
        .text("url")?
        .ok_or_else(|| ConfigError::new(format!("{place} needs the url of its REST API")).hinting(EXAMPLE))?;
    if !is_web_address(&url) {
        let message =
            format!("{place}.url must be an address that begins with http:// or https://, not `{url}`");
        return Err(ConfigError::new(message).hinting(EXAMPLE));
    }
    let max_slots = fields.number("max-slots", MOST_SLOTS)?.and_then(|slots| u32::try_from(slots).ok());
    let headers = fields.take("headers");
    let headers = map(&format!("{place}.headers"), headers)?.into_iter().map(|(name, value)| match value {
        Value::String(text) => Ok((name.clone(), SecretText(text.clone()))),
        // Its value may be a secret, also when it is none.
        _ => Err(ConfigError::new(format!("{place}.headers.{name} must be a text"))),
    });
    Ok(FlinkCluster {
        name,
        url,
        headers: headers.collect::<Result<_, _>>()?,
        token_file: fields.text("token-file")?.map(PathBuf::from),
        ca_file: fields.text("ca-file")?.map(PathBuf::from),
        identity_file: fields.text("identity-file")?.map(PathBuf::from),
        savepoint_directory: fields.text("savepoint-directory")?,
        max_slots,
        python: fields.text("python")?,
    })
}
