//! Slurm's clusters: where they are asked, and as whom.

use std::path::PathBuf;

use libra_core::hpc::mock::MOST_NODES;
use libra_engines::slurm::ApiVersion;
use serde_json::Value;

use super::ConfigError;
use super::fields::{Fields, is_web_address, list};
use super::keys::{SLURM_BASE_URL, SLURM_CLUSTERS};
use crate::auth::Principal;

/// A cluster of Slurm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlurmCluster {
    /// Its name: what hooks, agents and lists call it.
    pub name: String,
    /// Whose tenant its jobs are.
    pub tenant: String,
    /// How it is asked.
    pub way: SlurmWay,
    /// Requests to slurmctld in a minute, at most.
    pub requests_per_minute: u32,
    /// The pause between two reads when nothing is wrong, in seconds.
    pub interval_seconds: u32,
    /// Whether its nodes see the files of Libra's jobs under the same paths, and its jobs may write there.
    pub shares_files: bool,
    /// Where its nodes have Spark; None: where this machine has it.
    pub spark_home: Option<PathBuf>,
}

/// How a cluster is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlurmWay {
    /// Through its slurmrestd.
    Rest {
        /// Its address: `http://host:6820` or `unix:/run/slurmrestd.sock`.
        url: String,
        /// Which version is spoken; None finds the newest.
        version: Option<ApiVersion>,
        /// Whom Libra is to Slurm.
        user: Option<String>,
        /// A file with a token, as `scontrol token` prints it.
        jwt_file: Option<PathBuf>,
        /// The key with which tokens are made: that of `jwt_key` in slurm.conf.
        jwt_key_file: Option<PathBuf>,
        /// Certificates (PEM) that are trusted beside the system's.
        ca_file: Option<PathBuf>,
    },
    /// By Slurm's commands on this machine.
    Commands {
        /// The cluster's slurm.conf; None leaves it to the commands.
        conf: Option<PathBuf>,
        /// The directories of the commands, with colons between; None = the usual ones.
        path: Option<String>,
    },
    /// Not at all: it is made up.
    Mock {
        /// What is made up follows from it.
        seed: u64,
        /// So many nodes.
        nodes: u32,
    },
}

const EXAMPLE: &str = "libra.slurm.clusters: [{name: main, rest-url: \"http://127.0.0.1:6820\", user: slurm, jwt-key-file: /etc/slurm/jwt.key}]";
const KNOWN: [&str; 18] = [
    "name",
    "tenant",
    "rest-url",
    "api-version",
    "jwt-file",
    "jwt-key-file",
    "user",
    "ca-file",
    "sbatch",
    "slurm-conf",
    "path",
    "requests-per-minute",
    "interval",
    "shares-files",
    "spark-home",
    "source",
    "seed",
    "nodes",
];
/// What a cluster that is made up has none of.
const OF_REAL_ONES: [&str; 9] = [
    "rest-url",
    "api-version",
    "jwt-file",
    "jwt-key-file",
    "user",
    "ca-file",
    "sbatch",
    "slurm-conf",
    "path",
];
/// Nodes of a cluster that is made up, where nothing is said.
const NODES: u32 = 8;
/// Requests in a minute where nothing is said, and the most that are believed.
const REQUESTS: (u32, u64) = (60, 6_000);
/// Seconds between two reads where nothing is said.
const INTERVAL: u32 = 10;
/// The longest pause, in seconds.
const MOST_INTERVAL: u64 = 120;

/// The clusters, from the list in the configuration, or the one of which only the address is given.
///
/// # Errors
/// A value that is no list, an unknown field, an address that is none, a name that comes twice, two ways to show who we
/// are, a list and another address.
pub(super) fn clusters(
    value: Option<&Value>,
    base_url: Option<&str>,
) -> Result<Vec<SlurmCluster>, ConfigError> {
    let Some(url) = base_url else { return listed(value) };
    let named = listed(value)?;
    let of = |cluster: &SlurmCluster| match &cluster.way {
        SlurmWay::Rest { url, .. } => Some(url.trim_end_matches('/').to_owned()),
        SlurmWay::Commands { .. } | SlurmWay::Mock { .. } => None,
    };
    match named.as_slice() {
        [] => {
            let only = serde_json::json!({"name": ONLY_CLUSTER, "rest-url": url});
            Ok(vec![cluster(SLURM_BASE_URL, &only)?])
        }
        [one] if of(one).as_deref() == Some(url.trim_end_matches('/')) => Ok(named),
        _ => Err(ConfigError::new(format!("{SLURM_BASE_URL} is {url}, and {SLURM_CLUSTERS} names others"))
            .hinting("they are two spellings of the same: keep the list")),
    }
}

/// What the cluster is called of which only the address is given.
const ONLY_CLUSTER: &str = "default";

fn listed(value: Option<&Value>) -> Result<Vec<SlurmCluster>, ConfigError> {
    let mut found: Vec<SlurmCluster> = Vec::new();
    for (n, value) in list(SLURM_CLUSTERS, value, EXAMPLE)?.iter().enumerate() {
        let cluster = cluster(&format!("{SLURM_CLUSTERS}[{n}]"), value)?;
        if found.iter().any(|other| other.name == cluster.name) {
            let name = &cluster.name;
            return Err(ConfigError::new(format!("{SLURM_CLUSTERS} names the cluster `{name}` twice")));
        }
        found.push(cluster);
    }
    Ok(found)
}

fn cluster(place: &str, value: &Value) -> Result<SlurmCluster, ConfigError> {
    let mut fields = Fields::of(place, value, &KNOWN)?;
    let wrong = |what: String| ConfigError::new(format!("{place}{what}")).hinting(EXAMPLE);
    let name = fields.name()?;
    let mock = match fields.text("source")?.as_deref() {
        None | Some("slurm") => None,
        Some("mock") => Some(mock(place, value, &mut fields)?),
        Some(other) => return Err(wrong(format!(".source must be `slurm` or `mock`, not `{other}`"))),
    };
    if let Some(field) = ["seed", "nodes"].into_iter().find(|field| mock.is_none() && has(value, field)) {
        return Err(wrong(format!(".{field} is for a cluster that is made up: source: mock")));
    }
    let tenant = fields.text("tenant")?.unwrap_or_else(|| Principal::DEFAULT_TENANT.to_owned());
    let sbatch = fields.text("sbatch")?;
    let commands = match sbatch.as_deref() {
        None | Some("auto") => None,
        Some("always") => Some(true),
        Some("never") => Some(false),
        Some(other) => {
            return Err(wrong(format!(".sbatch must be `auto`, `always` or `never`, not `{other}`")));
        }
    };
    let (jwt_file, jwt_key_file) = (fields.text("jwt-file")?, fields.text("jwt-key-file")?);
    if jwt_file.is_some() && jwt_key_file.is_some() {
        return Err(wrong(" has a jwt-file and a jwt-key-file: one of them is enough".to_owned()));
    }
    let version = match fields.text("api-version")?.as_deref() {
        None | Some("auto") => None,
        Some(text) => {
            let known = ApiVersion::parse(text);
            let names = ApiVersion::NEWEST_FIRST.map(ApiVersion::as_str).join(", ");
            Some(known.ok_or_else(|| {
                wrong(format!(".api-version must be `auto` or one of {names}, not `{text}`"))
            })?)
        }
    };
    let user = fields.text("user")?;
    if jwt_key_file.is_some() && user.is_none() {
        return Err(wrong(" has a jwt-key-file and no user: a token is made for somebody".to_owned()));
    }
    let url = fields.text("rest-url")?;
    let (ca_file, conf, path) = (fields.text("ca-file")?, fields.text("slurm-conf")?, fields.text("path")?);
    let way = match (mock, url, commands) {
        (Some(mock), _, _) => mock,
        (None, Some(url), None | Some(false)) => {
            if !is_web_address(&url) && !url.starts_with("unix:/") {
                return Err(wrong(format!(
                    ".rest-url must begin with http://, https:// or unix:/, not `{url}`"
                )));
            }
            SlurmWay::Rest {
                url,
                version,
                user,
                jwt_file: jwt_file.map(PathBuf::from),
                jwt_key_file: jwt_key_file.map(PathBuf::from),
                ca_file: ca_file.map(PathBuf::from),
            }
        }
        (None, None, Some(false)) => {
            return Err(wrong(" has no rest-url, and may not use the commands".to_owned()));
        }
        (None, None, None | Some(true)) | (None, Some(_), Some(true)) => {
            SlurmWay::Commands { conf: conf.map(PathBuf::from), path }
        }
    };
    let spark_home = fields.text("spark-home")?.map(PathBuf::from);
    if let Some(home) = spark_home.as_ref().filter(|home| !home.is_absolute()) {
        return Err(wrong(format!(
            ".spark-home must be a whole path on the nodes, not `{}`",
            home.display()
        )));
    }
    let small = |number: Option<u64>, usual: u32| {
        number.map_or(usual, |number| u32::try_from(number).unwrap_or(usual).max(1))
    };
    Ok(SlurmCluster {
        tenant,
        name,
        way,
        requests_per_minute: small(fields.number("requests-per-minute", REQUESTS.1)?, REQUESTS.0),
        interval_seconds: small(
            fields.duration("interval")?.map(|d| d.as_secs().min(MOST_INTERVAL)),
            INTERVAL,
        ),
        shares_files: fields.flag("shares-files")?.unwrap_or(true),
        spark_home,
    })
}

/// The way of a cluster that is made up. What says how a real one is asked has no place beside it.
fn mock(place: &str, value: &Value, fields: &mut Fields<'_>) -> Result<SlurmWay, ConfigError> {
    if let Some(field) = OF_REAL_ONES.into_iter().find(|field| has(value, field)) {
        let what = format!("{place}.{field} has no effect with source: mock");
        return Err(ConfigError::new(what).hinting("leave it out, or leave out the source"));
    }
    let seed = fields.number("seed", u64::MAX)?.unwrap_or(0);
    let nodes = fields.number("nodes", u64::from(MOST_NODES))?;
    let nodes = nodes.map_or(NODES, |nodes| u32::try_from(nodes).unwrap_or(NODES).max(1));
    Ok(SlurmWay::Mock { seed, nodes })
}

fn has(value: &Value, field: &str) -> bool {
    value.get(field).is_some()
}
