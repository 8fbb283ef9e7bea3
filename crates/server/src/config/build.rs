//! From values to a [`Config`], each parsed with a message that names its key.

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use libra_core::admission::{Limits, ModeQuota};
use libra_core::hpc::figures::Bounds;
use libra_core::memory::{self, GIB, MIB};
use libra_core::mode::Mode;
use libra_core::requirement::{DEFAULT_OVERHEAD_MILLI, MIN_OVERHEAD, master};
use libra_engines::logs::LogLimits;
use libra_engines::spark_submit::History;

use super::keys::{
    AUTH_KEYS, CLUSTERS, FLINK_SIGNATURES, IN_CLUSTER_CONF, KEYS, QUEUES, SLURM_BASE_URL, SLURM_CLUSTERS,
    SPARK_SUBMIT_CONF, TENANTS, USERS,
};
use super::source::Gathered;
use super::units::duration;
use super::{
    Backend, Config, ConfigError, InCluster, Logs, Monitor, Retention, SecretText, Source, SparkSubmit,
    Webhooks, Written, backend, flink, hpc, replicas, slurm, turns,
};
use crate::auth;
use crate::{host, webhooks};

/// From this number on, a memory limit is in bytes, as the Downward API gives it (contract R2).
const BYTES_FROM: u64 = 1_000_000;
/// The smallest size of a log or of one of its files, in bytes.
const SMALLEST_LOG: u64 = 4 * 1024;
/// The largest size of one file of a log, in bytes.
const LARGEST_LOG_FILE: u64 = 4 * GIB;

/// Uploads are kept at least so long after they were last asked for.
const LEAST_ARTIFACT_RETENTION: Duration = Duration::from_hours(1);

pub(super) struct Values {
    values: BTreeMap<String, String>,
}

impl Values {
    /// The value of a key, or its default; None when there is neither.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        let default = KEYS.iter().find(|k| k.name == name).map(|k| k.default).filter(|d| !d.is_empty());
        self.values.get(name).cloned().or_else(|| default.map(str::to_owned))
    }

    pub(super) fn parse<T>(
        &self,
        name: &str,
        wanted: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        match self.text(name) {
            None => Ok(None),
            Some(text) => match read(text.trim()) {
                Some(value) => Ok(Some(value)),
                None => Err(ConfigError::new(format!("{name} must be {wanted}, not `{text}`"))),
            },
        }
    }

    pub(super) fn must<T>(
        &self,
        name: &str,
        wanted: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<T, ConfigError> {
        self.parse(name, wanted, read)?.ok_or_else(|| ConfigError::new(format!("{name} is missing")))
    }

    pub(super) fn number<T: FromStr>(&self, name: &str) -> Result<T, ConfigError> {
        self.must(name, "a whole number", |t| t.parse().ok())
    }

    fn flag(&self, name: &str) -> Result<bool, ConfigError> {
        self.must(name, "`true` or `false`", |t| t.parse().ok())
    }

    pub(super) fn memory(&self, name: &str) -> Result<u64, ConfigError> {
        self.must(name, "an amount of memory such as `4g`", |t| memory::parse(t, MIB).ok())
    }

    pub(super) fn duration(&self, name: &str) -> Result<Duration, ConfigError> {
        self.must(name, "a duration such as `30m` or `10s`", duration)
    }

    /// A duration of which 0 means none.
    fn limit(&self, name: &str) -> Result<Option<Duration>, ConfigError> {
        Ok(Some(self.duration(name)?).filter(|d| !d.is_zero()))
    }

    fn minutes(&self, mode: Mode) -> Result<Option<Duration>, ConfigError> {
        let minutes: u64 =
            self.number(&format!("libra.execution.modes.{}.timeout-minutes", mode.as_str()))?;
        Ok(Some(Duration::from_secs(minutes.saturating_mul(60))).filter(|d| !d.is_zero()))
    }

    fn address(&self, name: &str) -> Result<Option<SocketAddr>, ConfigError> {
        self.parse(name, "an address and port such as 127.0.0.1:8080", |t| {
            let t = if t.starts_with(':') { format!("0.0.0.0{t}") } else { t.to_owned() };
            t.to_socket_addrs().ok()?.next()
        })
    }

    fn under(&self, prefix: &str) -> BTreeMap<String, String> {
        self.values
            .iter()
            .filter_map(|(k, v)| Some((k.strip_prefix(prefix)?.to_owned(), v.clone())))
            .collect()
    }

    /// A batch scheduler sees itself to what one job may have.
    fn slurm_quota(&self) -> Result<ModeQuota, ConfigError> {
        Ok(ModeQuota {
            max_executors_per_job: u32::MAX,
            max_memory_per_executor: u64::MAX,
            max_cores_per_executor: None,
            max_concurrent_jobs: self.number("libra.resources.quotas.slurm.max-concurrent-jobs")?,
        })
    }

    fn quota(&self, mode: Mode) -> Result<ModeQuota, ConfigError> {
        let name = |what: &str| format!("libra.resources.quotas.{}.{what}", mode.as_str());
        Ok(ModeQuota {
            max_executors_per_job: self.number(&name("max-executors-per-job"))?,
            max_memory_per_executor: self.memory(&name("max-memory-per-executor"))?,
            max_cores_per_executor: self
                .parse(&name("max-cores-per-executor"), "a whole number", |t| t.parse().ok())?,
            max_concurrent_jobs: self.number(&name("max-concurrent-jobs"))?,
        })
    }
}

/// Heap with Spark's default overhead, in bytes.
fn with_overhead(heap: u64) -> u64 {
    heap.saturating_add((heap / 1000).saturating_mul(DEFAULT_OVERHEAD_MILLI).max(MIN_OVERHEAD))
}

pub(super) fn build(gathered: Gathered) -> Result<Config, ConfigError> {
    let v = Values { values: gathered.values };
    let mut warnings = gathered.warnings;

    let store = replicas::store(&v)?;
    let replica = replicas::replica(&v)?;
    let redis = replicas::redis(&v)?;
    if let Some(text) = v.text("libra.webhooks.secret") {
        webhooks::Secret::parse(&text).map_err(|e| ConfigError::new(format!("libra.webhooks.secret {e}")))?;
    }
    let mut enabled = Vec::new();
    let mut modes = BTreeMap::new();
    let mut run_timeout = BTreeMap::new();
    for mode in [Mode::InCluster, Mode::SparkSubmit] {
        if v.flag(&format!("libra.execution.modes.{}.enabled", mode.as_str()))? {
            enabled.push(mode);
            modes.insert(mode, v.quota(mode)?);
            run_timeout.insert(mode, v.minutes(mode)?);
        }
    }
    let slurm = slurm::clusters(gathered.trees.get(SLURM_CLUSTERS), v.text(SLURM_BASE_URL).as_deref())?;
    if !slurm.is_empty() && v.flag("libra.execution.modes.slurm.enabled")? {
        enabled.push(Mode::Slurm);
        modes.insert(Mode::Slurm, v.slurm_quota()?);
        run_timeout.insert(Mode::Slurm, v.minutes(Mode::Slurm)?);
    }
    if enabled.is_empty() {
        return Err(ConfigError::new("no execution mode is enabled")
            .hinting("set libra.execution.modes.in-cluster.enabled or .spark-submit.enabled to true, or name a cluster in libra.slurm.clusters"));
    }

    let found = host::resources();
    let host_cores = v
        .parse("libra.resources.limits.cpu-cores", "a number of cores", |t| {
            t.parse::<f64>().ok().filter(|n| (0.1..1e6).contains(n))
        })?
        .map_or(u64::from(found.cores), whole_cores);
    let host_memory = v
        .parse("libra.resources.limits.memory-gb", "a number of GiB, or of bytes", read_memory_limit)?
        .unwrap_or(found.memory);
    let in_cluster = in_cluster(&v)?;
    let heap = memory::parse(&in_cluster.driver_memory, MIB)
        .map_err(|e| ConfigError::new(format!("libra.execution.modes.in-cluster.driver-memory {e}")))?;
    let on = enabled.contains(&Mode::InCluster);
    let limits = Limits {
        host_cores,
        host_memory,
        server_cores: if on { v.number("libra.execution.modes.in-cluster.cores")? } else { 0 },
        // An external server burdens another account.
        server_memory: if on && !matches!(in_cluster.backend, Backend::External { .. }) {
            with_overhead(heap)
        } else {
            0
        },
        modes,
        max_jobs: v
            .parse("libra.resources.limits.max-concurrent-jobs", "a whole number", |t| t.parse().ok())?,
        max_queued: v.number("libra.queue.max-size")?,
    };
    if limits.memory_for_jobs() == 0 && enabled.contains(&Mode::SparkSubmit) {
        warnings.push(format!(
            "the shared Spark server takes all of this host's {}: no spark-submit job fits",
            memory::display(host_memory)
        ));
    }

    let submit_master = v.text("libra.execution.modes.spark-submit.master").unwrap_or_default();
    for (name, text) in [
        ("libra.execution.modes.spark-submit.master", &submit_master),
        ("libra.execution.modes.in-cluster.master", &in_cluster.master),
    ] {
        master(text, 1).map_err(|e| ConfigError::new(format!("{name} {e}, not `{text}`")))?;
    }

    let percent = |t: &str| t.parse::<u8>().ok().filter(|n| (1..=100).contains(n));
    let monitor = Monitor {
        enabled: v.flag("libra.resources.monitor.enabled")?,
        interval: v.duration("libra.resources.monitor.poll-interval")?.max(Duration::from_millis(100)),
        cpu_percent: v.must("libra.resources.monitor.alert-threshold.cpu-percent", "1 to 100", percent)?,
        memory_percent: v.must(
            "libra.resources.monitor.alert-threshold.memory-percent",
            "1 to 100",
            percent,
        )?,
    };

    let listen = v.address("libra.listen")?.ok_or_else(|| ConfigError::new("libra.listen is missing"))?;
    let tree = |key: &str| gathered.trees.get(key);
    let keys = match tree(AUTH_KEYS) {
        None => Vec::new(),
        Some(list) => auth::keys_from(list).map_err(ConfigError::new)?,
    };
    let turns = turns::turns(tree(QUEUES), tree(USERS), tree(TENANTS))?;
    if keys.is_empty() && !listen.ip().is_loopback() {
        return Err(ConfigError::new(format!("libra.listen is {listen}: everybody could submit jobs without a key"))
            .hinting(
                "add a key: libra.auth.keys: [{name: me, sha256: \"<printf %s SECRET | sha256sum>\", role: admin, \
                 user: me}], or listen on 127.0.0.1",
            ));
    }
    Ok(Config {
        listen,
        management_listen: v.address("libra.management.listen")?,
        data_dir: PathBuf::from(v.text("libra.data-dir").unwrap_or_default()),
        shared_dir: v.text("libra.shared-dir").map(PathBuf::from),
        store,
        replica,
        redis,
        webhooks: Webhooks {
            secret: v.text("libra.webhooks.secret").map(SecretText),
            allow_private: v.flag("libra.webhooks.allow-private")?,
            give_up_after: v.duration("libra.webhooks.give-up-after")?,
        },
        retention: Retention {
            jobs: v.limit("libra.retention.jobs")?,
            max_jobs: v.parse("libra.retention.max-jobs", "a whole number", |t| t.parse().ok())?,
            files: v.limit("libra.retention.files")?,
            samples: v.limit("libra.retention.samples")?,
            // What was uploaded a moment ago belongs to a job that is about to come.
            artifacts: v.must("libra.retention.artifacts", "a duration of at least 1h", |t| {
                duration(t).filter(|d| *d >= LEAST_ARTIFACT_RETENTION)
            })?,
        },
        max_artifact_bytes: v.memory("libra.artifacts.max-size")?,
        logs: logs(&v)?,
        spark_home: v.text("libra.spark.home").map(PathBuf::from),
        keys,
        limits,
        policy: turns.policy,
        clusters: turns::clusters(tree(CLUSTERS))?,
        flink: flink::flink(
            tree,
            v.must(FLINK_SIGNATURES, "`off`, `if-present` or `required`", flink::policy)?,
        )?,
        slurm,
        efficiency: hpc::efficiency(&v)?,
        figures: Bounds {
            jobs: v.number("libra.slurm.metrics.max-jobs")?,
            nodes: v.number("libra.slurm.metrics.max-nodes")?,
            names: v.number("libra.slurm.metrics.max-names")?,
        },
        queue_times: turns.times,
        enabled,
        queue_wait: v.limit("libra.queue.max-wait-time")?,
        launch_timeout: v.limit("libra.execution.launch-timeout")?,
        run_timeout,
        in_cluster,
        spark_submit: SparkSubmit {
            master: submit_master,
            conf: v.under(SPARK_SUBMIT_CONF),
            history: history(&v)?,
        },
        monitor,
        log_level: v.text("libra.log.level").unwrap_or_default(),
        log_json: v.must("libra.log.format", "`json` or `text`", |t| match t {
            "json" => Some(true),
            "text" => Some(false),
            _ => None,
        })?,
        warnings,
        source: Source::default(),
        written: Written::default(),
    })
}

fn history(v: &Values) -> Result<History, ConfigError> {
    let name = |what: &str| format!("libra.execution.modes.spark-submit.{what}");
    let event_log_dir = v.parse(&name("event-log-dir"), "a path or an address", |text| {
        let path = || Some(std::path::absolute(text).ok()?.to_string_lossy().into_owned());
        if text.contains(':') { Some(text.to_owned()) } else { path() }
    })?;
    let server_url =
        v.parse(&name("history-server-url"), "an address such as http://history:18080", |text| {
            let address = url::Url::parse(text).ok()?;
            let web = matches!(address.scheme(), "http" | "https") && address.has_host();
            web.then(|| text.trim_end_matches('/').to_owned())
        })?;
    Ok(History { event_log_dir, server_url })
}

fn logs(v: &Values) -> Result<Logs, ConfigError> {
    let size = |name: &str, words: &str, most: u64| {
        v.must(name, words, |t| memory::parse(t, MIB).ok().filter(|n| (SMALLEST_LOG..=most).contains(n)))
    };
    Ok(Logs {
        limits: LogLimits {
            rotate_bytes: size("libra.logs.rotate-size", "a size from 4k to 4g", LARGEST_LOG_FILE)?,
            max_bytes: size("libra.logs.max-size", "a size of at least 4k", u64::MAX)?,
        },
        max_followers: v.number("libra.logs.max-followers")?,
    })
}

fn in_cluster(v: &Values) -> Result<InCluster, ConfigError> {
    let name = |what: &str| format!("libra.execution.modes.in-cluster.{what}");
    Ok(InCluster {
        backend: backend::backend(v)?,
        care: backend::care(v)?,
        master: v.text(&name("master")).unwrap_or_default(),
        driver_memory: v.text(&name("driver-memory")).unwrap_or_default(),
        conf: v.under(IN_CLUSTER_CONF),
        warehouse_dir: v.text(&name("warehouse-dir")).map(PathBuf::from),
        python_pool: v.number(&name("python.pool-size"))?,
        start_timeout: v.duration(&name("start-timeout"))?,
        keepalive: v.duration(&name("keepalive"))?,
        stop_on_shutdown: v.flag(&name("stop-server-on-shutdown"))?,
    })
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0.1 and a million")]
fn whole_cores(cores: f64) -> u64 {
    cores.floor().max(1.0) as u64
}

/// GiB below a million, bytes from there on.
fn read_memory_limit(text: &str) -> Option<u64> {
    let number: f64 = text.parse().ok().filter(|n: &f64| *n > 0.0 && *n < 1e18)?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 1e18")]
    let whole = |n: f64| n as u64;
    Some(if whole(number) >= BYTES_FROM { whole(number) } else { whole(number * GIB as f64) })
}
