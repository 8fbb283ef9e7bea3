//! Queues with their shares, and what users and tenants may have at once.

use std::collections::BTreeMap;
use std::time::Duration;

use libra_core::requirement::{self, Master};
use libra_core::turn::{DEFAULT_QUEUE, Limits, Policy, Quota, Shares};
use serde_json::Value;

use super::ConfigError;
use super::fields::{DEFAULT, Fields, is_web_address, list, map};
use super::keys::{CLUSTERS, QUEUES, TENANTS, USERS};

/// The longest run time, in minutes (contract L5).
const MOST_MINUTES: u64 = 43_200;
/// What may be limited.
const LIMITS: [&str; 6] =
    ["running-jobs", "cores", "memory", "gpus", "queued-jobs", "submissions-per-minute"];

/// The time limits of a queue's jobs that name none; an absent one is that of the configuration, and one of zero is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueTimes {
    /// From each QUEUED.
    pub wait: Option<Duration>,
    /// From each RUNNING.
    pub run: Option<Duration>,
}

/// A cluster on which drivers have their executors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Its Spark master.
    pub master: String,
    /// The web UI of a standalone master, which says what the cluster has.
    pub web_url: Option<String>,
    /// What jobs may hold there.
    pub limits: Quota,
}

/// What is said of queues, users and tenants.
#[derive(Debug, Default)]
pub(super) struct Turns {
    pub(super) policy: Policy,
    pub(super) times: BTreeMap<String, QueueTimes>,
}

/// The clusters, by name.
///
/// # Errors
/// A value that is no list, an unknown field, a master that is none of a cluster, or a name or a master that comes twice.
pub(super) fn clusters(value: Option<&Value>) -> Result<BTreeMap<String, Cluster>, ConfigError> {
    let example = "libra.clusters: [{name: east, master: \"spark://h:7077\", web-url: \"http://h:8080\"}]";
    let mut clusters: BTreeMap<String, Cluster> = BTreeMap::new();
    for (n, value) in list(CLUSTERS, value, example)?.iter().enumerate() {
        let place = format!("{CLUSTERS}[{n}]");
        let mut fields = Fields::of(&place, value, &["name", "master", "web-url", "limits"])?;
        let name = fields.name()?;
        let wrong = |what: String| ConfigError::new(format!("{place}{what}")).hinting(example);
        let master = fields.text("master")?.ok_or_else(|| wrong(" needs a master".to_owned()))?;
        let Ok(Master::Cluster { standalone }) = requirement::master(&master, 1) else {
            return Err(wrong(format!(".master must be the master of a cluster, not `{master}`")));
        };
        let web_url = fields.text("web-url")?;
        if web_url.is_some() && !standalone {
            return Err(wrong(format!(".web-url is that of a standalone master, and `{master}` is none")));
        }
        if let Some(url) = web_url.as_deref().filter(|url| !is_web_address(url)) {
            return Err(wrong(format!(
                ".web-url must be an address that begins with http:// or https://, not `{url}`"
            )));
        }
        let at = format!("{CLUSTERS}.{name}.limits");
        let limits = match fields.take("limits") {
            None => Quota::default(),
            Some(value) => {
                Fields::of(&at, value, &["running-jobs", "cores", "memory", "gpus"])?.limits()?.running
            }
        };
        if clusters.values().any(|other| other.master == master) || clusters.contains_key(&name) {
            return Err(wrong(format!(": there is a cluster named `{name}`, or at {master}, already")));
        }
        clusters.insert(name, Cluster { master, web_url, limits });
    }
    Ok(clusters)
}

/// The rules of these three lists, each as it was written.
///
/// # Errors
/// A value that is no list or map, an unknown field, a number that can't be read, or a name that comes twice.
pub(super) fn turns(
    queues: Option<&Value>,
    users: Option<&Value>,
    tenants: Option<&Value>,
) -> Result<Turns, ConfigError> {
    let Turns { mut policy, mut times } = Turns::default();
    let example = format!("{QUEUES}: [{{name: {DEFAULT_QUEUE}, share: 1}}, {{name: nightly, share: 3}}]");
    for (n, queue) in list(QUEUES, queues, &example)?.iter().enumerate() {
        let place = format!("{QUEUES}[{n}]");
        let known = ["name", "share", "limits", "max-wait-time", "timeout-minutes"];
        let mut fields = Fields::of(&place, queue, &known)?;
        let name = fields.name()?;
        let wait = fields.duration("max-wait-time")?;
        let run = fields.number("timeout-minutes", MOST_MINUTES)?.map(|n| Duration::from_secs(n * 60));
        if wait.is_some() || run.is_some() {
            times.insert(name.clone(), QueueTimes { wait, run });
        }
        let share = fields.share()?;
        let at = format!("{QUEUES}.{name}.limits");
        let limits = match fields.take("limits") {
            None => Limits::default(),
            Some(value) => Fields::of(&at, value, &LIMITS)?.limits()?,
        };
        if policy.queues.insert(name.clone(), Shares { share, limits }).is_some() {
            return Err(ConfigError::new(format!("{QUEUES} names the queue `{name}` twice")));
        }
    }
    for (name, value) in map(USERS, users)? {
        let limits = Fields::of(&format!("{USERS}.{name}"), value, &LIMITS)?.limits()?;
        if name == DEFAULT {
            policy.user_default = limits;
        } else {
            policy.users.insert(name.clone(), limits);
        }
    }
    for (name, value) in map(TENANTS, tenants)? {
        let known: Vec<&str> = LIMITS.into_iter().chain(["share"]).collect();
        let mut fields = Fields::of(&format!("{TENANTS}.{name}"), value, &known)?;
        let shares = Shares { share: fields.share()?, limits: fields.limits()? };
        if name == DEFAULT {
            policy.tenant_default = shares;
        } else {
            policy.tenants.insert(name.clone(), shares);
        }
    }
    Ok(Turns { policy, times })
}
