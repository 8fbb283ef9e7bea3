//! Flink's session clusters, and where programs for them are.

use std::path::PathBuf;

use serde_json::Value;

use super::fields::{Fields, is_web_address, list, map};
use super::keys::{FLINK_CLUSTERS, FLINK_DIRECTORIES};
use super::{ConfigError, SecretText};

/// What is said of Flink.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Flink {
    /// The session clusters; a specification that names none gets the first.
    pub clusters: Vec<FlinkCluster>,
    /// Where `artifact_path` is looked for, in this order.
    pub directories: Vec<PathBuf>,
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
    /// The Python that runs Python jobs, on the cluster's machines; the cluster's own setting when absent.
    pub python: Option<String>,
}

const EXAMPLE: &str = "libra.flink.clusters: [{name: main, url: \"http://127.0.0.1:8081\"}]";
const KNOWN: [&str; 8] =
    ["name", "url", "token-file", "ca-file", "identity-file", "headers", "savepoint-directory", "python"];

/// Clusters and directories.
///
/// # Errors
/// A value that is no list, an unknown field, an address that is none, a name that comes twice.
pub(super) fn flink(clusters: Option<&Value>, directories: Option<&Value>) -> Result<Flink, ConfigError> {
    let mut found: Vec<FlinkCluster> = Vec::new();
    for (n, value) in list(FLINK_CLUSTERS, clusters, EXAMPLE)?.iter().enumerate() {
        let place = format!("{FLINK_CLUSTERS}[{n}]");
        let cluster = cluster(&place, value)?;
        if found.iter().any(|other| other.name == cluster.name) {
            let name = &cluster.name;
            return Err(ConfigError::new(format!("{FLINK_CLUSTERS} names the cluster `{name}` twice")));
        }
        found.push(cluster);
    }
    let example = "libra.flink.artifacts.directories: [/srv/flink-jobs]";
    let directories = list(FLINK_DIRECTORIES, directories, example)?.iter().map(|value| match value {
        Value::String(text) if !text.trim().is_empty() => Ok(PathBuf::from(text.trim())),
        other => Err(ConfigError::new(format!("{FLINK_DIRECTORIES} must be paths, not `{other}`"))),
    });
    Ok(Flink { clusters: found, directories: directories.collect::<Result<_, _>>()? })
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
        python: fields.text("python")?,
    })
}
