#![allow(clippy::format_push_string)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use libra_core::memory::GIB;
use libra_core::mode::Mode;

use super::keys::{AUTH_KEYS, KEYS, env_name};
use super::*;

fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn from_env(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::from(Source::default(), &env(pairs))
}

pub(super) fn from_yaml(text: &str) -> Result<Config, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.yaml");
    std::fs::write(&file, text).unwrap();
    Config::from(Source { file: Some(file), ..Source::default() }, &env(&[]))
}

#[test]
fn every_key_takes_effect() {
    // contract: P5. A value other than the default changes the configuration that the server runs with.
    let values: BTreeMap<&str, &str> = [
        ("libra.listen", "127.0.0.1:9"),
        ("libra.management.listen", "127.0.0.1:10"),
        ("libra.data-dir", "/elsewhere"),
        ("libra.queue.max-size", "7"),
        ("libra.queue.max-wait-time", "7m"),
        ("libra.queues", "[{name: nightly, share: 7}]"),
        ("libra.quotas.users", "{default: {running-jobs: 7}}"),
        ("libra.quotas.tenants", "{blue: {memory: 7g}}"),
        ("libra.clusters", "[{name: east, master: 'spark://h:7'}]"),
        ("libra.flink.clusters", "[{name: east, url: 'http://h:7'}]"),
        ("libra.slurm.base-url", "http://h:6820"),
        ("libra.slurm.efficiency.interval", "7s"),
        ("libra.slurm.efficiency.least-runtime", "7s"),
        ("libra.slurm.efficiency.least-coverage", "7"),
        ("libra.slurm.efficiency.idle-gpu-percent", "7"),
        ("libra.slurm.efficiency.memory-factor", "7"),
        ("libra.slurm.efficiency.least-memory", "7g"),
        ("libra.slurm.efficiency.busy-cores", "7"),
        ("libra.slurm.efficiency.least-cores", "7"),
        ("libra.slurm.efficiency.webhook", "https://a.example/hook"),
        ("libra.slurm.metrics.max-jobs", "7"),
        ("libra.slurm.metrics.max-nodes", "7"),
        ("libra.slurm.metrics.max-names", "7"),
        ("libra.slurm.clusters", "[{name: main, rest-url: 'http://h:6820'}]"),
        ("libra.flink.artifacts.directories", "[/jobs]"),
        ("libra.flink.artifacts.signatures", "off"),
        ("libra.flink.artifacts.public-keys", "[RWSepv2qjj+72R2VyV22oP7Q5UKaX5+f/sWIf0jX0nywrhtSYn4MCya4]"),
        ("libra.flink.artifacts.hosts", "[repo.example]"),
        ("libra.flink.artifacts.s3", "{endpoint: 'http://h:7', access-key-file: /a, secret-key-file: /s}"),
        ("libra.execution.launch-timeout", "7m"),
        ("libra.logs.rotate-size", "7m"),
        ("libra.logs.max-size", "7g"),
        ("libra.logs.max-followers", "7"),
        ("libra.resources.limits.cpu-cores", "77"),
        ("libra.resources.limits.memory-gb", "77"),
        ("libra.resources.limits.max-concurrent-jobs", "7"),
        ("libra.resources.monitor.enabled", "false"),
        ("libra.resources.monitor.poll-interval", "7s"),
        ("libra.resources.monitor.alert-threshold.cpu-percent", "7"),
        ("libra.resources.monitor.alert-threshold.memory-percent", "7"),
        ("libra.resources.quotas.slurm.max-concurrent-jobs", "7"),
        ("libra.execution.modes.slurm.enabled", "false"),
        ("libra.execution.modes.slurm.timeout-minutes", "7"),
        ("libra.resources.quotas.in-cluster.max-executors-per-job", "7"),
        ("libra.resources.quotas.in-cluster.max-memory-per-executor", "7g"),
        ("libra.resources.quotas.in-cluster.max-cores-per-executor", "7"),
        ("libra.resources.quotas.in-cluster.max-concurrent-jobs", "7"),
        ("libra.resources.quotas.spark-submit.max-executors-per-job", "7"),
        ("libra.resources.quotas.spark-submit.max-memory-per-executor", "7g"),
        ("libra.resources.quotas.spark-submit.max-concurrent-jobs", "7"),
        ("libra.execution.modes.in-cluster.enabled", "false"),
        ("libra.execution.modes.in-cluster.backend", "sail"),
        ("libra.execution.modes.in-cluster.url", "sc://other:7"),
        ("libra.execution.modes.in-cluster.token-file", "/dev/null"),
        ("libra.execution.modes.in-cluster.ca-file", "/ca.pem"),
        ("libra.execution.modes.in-cluster.lost-after", "7m"),
        ("libra.execution.modes.in-cluster.sail-program", "/sail"),
        ("libra.execution.modes.in-cluster.kill-after", "7s"),
        ("libra.execution.modes.in-cluster.probe-every", "7s"),
        ("libra.execution.modes.in-cluster.recycle-at", "7g"),
        ("libra.execution.modes.in-cluster.recycle-after-jobs", "7"),
        ("libra.execution.modes.in-cluster.recycle-wait", "7s"),
        ("libra.execution.modes.in-cluster.master", "local[7]"),
        ("libra.execution.modes.in-cluster.driver-memory", "7g"),
        ("libra.execution.modes.in-cluster.cores", "7"),
        ("libra.execution.modes.in-cluster.timeout-minutes", "7"),
        ("libra.execution.modes.in-cluster.warehouse-dir", "/w"),
        ("libra.execution.modes.in-cluster.python.pool-size", "7"),
        ("libra.execution.modes.in-cluster.start-timeout", "7s"),
        ("libra.execution.modes.in-cluster.keepalive", "7s"),
        ("libra.execution.modes.in-cluster.stop-server-on-shutdown", "true"),
        ("libra.execution.modes.spark-submit.enabled", "false"),
        ("libra.spark.home", "/spark"),
        ("libra.execution.modes.spark-submit.master", "local[7]"),
        ("libra.execution.modes.spark-submit.timeout-minutes", "7"),
        ("libra.execution.modes.spark-submit.event-log-dir", "/events"),
        ("libra.execution.modes.spark-submit.history-server-url", "http://history:18080"),
        ("libra.shared-dir", "/shared"),
        ("libra.store.url", "postgres://libra@db/libra"),
        ("libra.store.pool.max-connections", "7"),
        ("libra.store.pool.min-connections", "1"),
        ("libra.store.pool.max-lifetime", "7m"),
        ("libra.store.pool.max-idle-time", "7s"),
        ("libra.replica.id", "a-1"),
        ("libra.replica.lease", "7s"),
        ("libra.replica.machine", "m-1"),
        ("libra.replica.address", "http://10.0.0.7:8080"),
        ("libra.replica.host-lost-after", "7m"),
        ("libra.queue.redis.url", "redis://127.0.0.1:6379"),
        ("libra.queue.redis.host", "redis.internal"),
        ("libra.webhooks.secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        ("libra.webhooks.allow-private", "true"),
        ("libra.webhooks.give-up-after", "7h"),
        ("libra.retention.jobs", "7d"),
        ("libra.retention.max-jobs", "7"),
        ("libra.retention.files", "7d"),
        ("libra.retention.samples", "8d"),
        ("libra.retention.artifacts", "8d"),
        ("libra.artifacts.max-size", "7m"),
        ("libra.log.level", "trace"),
        ("libra.log.format", "text"),
    ]
    .into();
    // Some keys mean something with one backend alone.
    let surroundings = |name: &str| -> Vec<(&str, &str)> {
        let backend = "LIBRA_EXECUTION_MODES_IN_CLUSTER_BACKEND";
        match name.strip_prefix("libra.execution.modes.in-cluster.") {
            Some("url" | "ca-file" | "lost-after") => {
                vec![(backend, "external"), ("LIBRA_EXECUTION_MODES_IN_CLUSTER_URL", "sc://h/;use_ssl=true")]
            }
            Some("sail-program" | "kill-after") => vec![(backend, "sail")],
            None if name.starts_with("libra.execution.modes.slurm.") || name.contains("quotas.slurm.") => {
                vec![("LIBRA_SLURM_CLUSTERS", "[{name: main, rest-url: 'http://h:6820'}]")]
            }
            _ => Vec::new(),
        }
    };
    // Objects, and what is shown by no text; see the tests below.
    let elsewhere = [
        AUTH_KEYS,
        "libra.queue.redis.port",
        "libra.queue.redis.password",
        "libra.execution.modes.in-cluster.token",
        "libra.execution.modes.in-cluster.token-file",
    ];
    for key in KEYS {
        if elsewhere.contains(&key.name) {
            continue;
        }
        let around = surroundings(key.name);
        let plain = format!("{:?}", from_env(&around).unwrap());
        let value = values.get(key.name).unwrap_or_else(|| panic!("{} is not tested", key.name));
        let spellings = key.aliases.iter().chain([&key.name]).map(|n| env_name(n));
        for name in spellings.chain(key.env.iter().map(|e| (*e).to_owned())) {
            let value = if name.ends_with("MINUTES") { value.trim_end_matches('m') } else { value };
            let value = if name.ends_with("DAYS") { value.trim_end_matches('d') } else { value };
            let mut pairs: Vec<(&str, &str)> =
                around.iter().copied().filter(|(other, _)| *other != name).collect();
            pairs.push((&name, value));
            let changed = format!("{:?}", from_env(&pairs).unwrap());
            assert_ne!(changed, plain, "{name}={value} changes nothing");
        }
    }
}

#[test]
fn a_history_server_has_a_web_address_and_event_logs_a_whole_path() {
    let history = |dir: &str, url: &str| {
        let pairs = [
            ("LIBRA_EXECUTION_MODES_SPARK_SUBMIT_EVENT_LOG_DIR", dir),
            ("LIBRA_EXECUTION_MODES_SPARK_SUBMIT_HISTORY_SERVER_URL", url),
        ];
        from_env(&pairs).map(|config| config.spark_submit.history)
    };
    let kept = history("s3a://bucket/events", "https://history/spark/").unwrap();
    assert_eq!(kept.event_log_dir.as_deref(), Some("s3a://bucket/events"));
    assert_eq!(kept.server_url.as_deref(), Some("https://history/spark"));
    let dir = history("events", "http://h").unwrap().event_log_dir.unwrap();
    assert!(dir.starts_with('/') && dir.ends_with("/events"), "{dir}");
    for bad in ["javascript:alert(1)", "history:18080", "file:///x"] {
        assert!(history("/e", bad).is_err(), "{bad}");
    }
}

#[test]
fn the_store_of_another_kind_is_refused() {
    let error = from_env(&[("LIBRA_STORE_URL", "mysql://user:hunter2@h/db")]).unwrap_err();
    assert!(error.hint().is_some() && !error.to_string().contains("hunter2"), "{error}");
    let config = from_env(&[("LIBRA_STORE_URL", "postgres://user:hunter2@h/db")]).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"), "{config:?}");
}

#[test]
fn the_external_server_is_named_without_showing_its_token() {
    // contract: P5
    const BACKEND: (&str, &str) = ("LIBRA_EXECUTION_MODES_IN_CLUSTER_BACKEND", "external");
    const URL: &str = "LIBRA_EXECUTION_MODES_IN_CLUSTER_URL";
    const TOKEN: &str = "LIBRA_EXECUTION_MODES_IN_CLUSTER_TOKEN";
    const FILE: &str = "LIBRA_EXECUTION_MODES_IN_CLUSTER_TOKEN_FILE";
    let token = |pairs: &[(&str, &str)]| {
        from_env(pairs).map(|config| {
            assert!(!format!("{config:?}").contains("hunter2"), "{config:?}");
            match config.in_cluster.backend {
                Backend::External { address, .. } => address.token,
                Backend::Spark | Backend::Sail { .. } => panic!("it is external"),
            }
        })
    };
    let file = std::env::temp_dir().join(format!("libra-token-{}", std::process::id()));
    std::fs::write(&file, "hunter2\n").unwrap();
    let file = file.to_str().unwrap();
    for pairs in [
        vec![BACKEND, (URL, "sc://h/;token=hunter2")],
        vec![BACKEND, (URL, "sc://h"), (TOKEN, "hunter2")],
        vec![BACKEND, (URL, "sc://h"), (FILE, file)],
    ] {
        assert_eq!(token(&pairs).unwrap().as_deref(), Some("hunter2"));
    }
    for pairs in [
        vec![BACKEND],
        vec![(URL, "sc://h/;token=hunter2")],
        vec![BACKEND, (URL, "http://h/;token=hunter2")],
        vec![BACKEND, (URL, "sc://h/;token=hunter2;use_ssl=false")],
        vec![BACKEND, (URL, "sc://h"), (TOKEN, "hunter2"), (FILE, file)],
        vec![BACKEND, (URL, "sc://h"), (FILE, "/dev/null")],
    ] {
        let error = token(&pairs).unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
    std::fs::remove_file(file).unwrap();
}

#[test]
fn what_contradicts_the_backend_is_refused() {
    // contract: P5
    const BACKEND: &str = "LIBRA_EXECUTION_MODES_IN_CLUSTER_BACKEND";
    let key = |name: &str| format!("LIBRA_EXECUTION_MODES_IN_CLUSTER_{name}");
    let (url, ca, lost, probe) = (key("URL"), key("CA_FILE"), key("LOST_AFTER"), key("PROBE_EVERY"));
    let (sail, at) = (key("SAIL_PROGRAM"), key("RECYCLE_AT"));
    let refused = |pairs: &[(&str, &str)]| from_env(pairs).unwrap_err().to_string();
    for (pairs, said) in [
        (vec![(BACKEND, "flink")], "must be `spark`, `sail` or `external`"),
        (vec![(sail.as_str(), "/sail")], "sail-program has no effect with the backend `spark`"),
        (vec![(BACKEND, "sail"), (url.as_str(), "sc://h")], "url has no effect with the backend `sail`"),
        (
            vec![(BACKEND, "external"), (&url, "sc://h"), (&ca, "/ca.pem")],
            "ca-file has no effect without TLS",
        ),
        (vec![(BACKEND, "external"), (&url, "sc://h"), (&lost, "30s")], "longer than 3 probes take"),
        (vec![(probe.as_str(), "0")], "probe-every must be at least 100ms"),
        (vec![(at.as_str(), "much")], "recycle-at"),
    ] {
        let error = refused(&pairs);
        assert!(error.contains(said), "{pairs:?}: {error}");
    }
}

#[test]
fn redis_is_named_whole_or_in_parts_that_agree() {
    // contract: P5
    let redis = |pairs: &[(&str, &str)]| from_env(pairs).map(|c| c.redis.map(|r| r.0));
    let parts = [("REDIS_HOST", "h"), ("REDIS_PORT", "7"), ("REDIS_PASSWORD", "p@ss")];
    assert_eq!(redis(&parts).unwrap().unwrap(), "redis://:p%40ss@h:7");
    assert_eq!(redis(&[("REDIS_HOST", "h")]).unwrap().unwrap(), "redis://h:6379");
    assert_eq!(redis(&[]).unwrap(), None);
    assert!(redis(&[("REDIS_HOST", "h"), ("REDIS_URL", "redis://h:6379/")]).unwrap().is_some());
    assert!(redis(&[("REDIS_HOST", "h"), ("REDIS_URL", "redis://other:6379")]).is_err());
}

#[test]
fn replicas_are_told_apart_and_have_time_to_end_their_drivers() {
    for (name, value) in [
        ("LIBRA_REPLICA_ID", "a b"),
        ("LIBRA_REPLICA_LEASE", "10ms"),
        ("LIBRA_REPLICA_ADDRESS", "10.0.0.7"),
        ("LIBRA_REPLICA_HOST_LOST_AFTER", "30s"),
        ("LIBRA_STORE_POOL_MAX_CONNECTIONS", "0"),
    ] {
        assert!(from_env(&[(name, value)]).is_err(), "{name}={value}");
    }
}

#[test]
fn the_references_yaml_is_taken() {
    let config = from_yaml(
        "libra:\n  execution:\n    modes:\n      in-cluster:\n        enabled: true\n        limits:\n          max-executors: 4\n          \
         max-memory-per-executor: 3g\n          max-cores-per-executor: 2\n          max-concurrent-jobs: 9\n      spark-submit:\n        \
         enabled: true\n        spark-home: /opt/spark\n        timeout-minutes: 60\n      kubernetes:\n        enabled: true\n        \
         namespace: spark-jobs\n  queue:\n    max-size: 500\n    max-wait-time-minutes: 20\n  resources:\n    limits:\n      \
         cpu-cores: 16\n      memory-gb: 64\n      max-concurrent-jobs: 10\n",
    )
    .unwrap();
    let quota = config.limits.modes[&Mode::InCluster];
    assert_eq!(
        (quota.max_executors_per_job, quota.max_memory_per_executor, quota.max_concurrent_jobs),
        (4, 3 * GIB, 9)
    );
    assert_eq!((config.limits.host_cores, config.limits.host_memory), (16, 64 * GIB));
    assert_eq!((config.limits.max_queued, config.limits.max_jobs), (500, Some(10)));
    assert_eq!(config.queue_wait, Some(Duration::from_mins(20)));
    assert_eq!(config.spark_home.as_deref(), Some(Path::new("/opt/spark")));
    assert!(config.warnings.iter().any(|w| w.contains("kubernetes.enabled has no effect")));
}

#[test]
fn spark_settings_keep_their_dots() {
    let text = "libra.execution.modes.in-cluster.conf:\n  spark.sql.shuffle.partitions: 4\n";
    let config = from_yaml(text).unwrap();
    assert_eq!(config.in_cluster.conf["spark.sql.shuffle.partitions"], "4");
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_known_one() {
    let error = from_yaml("libra:\n  queue:\n    max-sise: 5\n").unwrap_err();
    assert_eq!(error.hint().unwrap(), "did you mean libra.queue.max-size?");
    let config = from_env(&[("LIBRA_QUEUE_MAX_SISE", "5")]).unwrap();
    assert!(
        config.warnings[0].contains("LIBRA_QUEUE_MAX_SISE"),
        "a foreign variable is no reason not to start"
    );
}

#[test]
fn two_spellings_that_differ_stop_the_start() {
    let both = "libra:\n  queue: {max-size: 5}\n  resources: {queue: {max-size: 6}}\n";
    assert!(from_yaml(both).unwrap_err().to_string().contains('5'));
    assert!(from_yaml(&both.replace('6', "5")).is_ok());
    assert!(from_env(&[("K8S_CPU_LIMIT", "4"), ("LIBRA_RESOURCES_LIMITS_CPU_CORES", "5")]).is_err());
}

#[test]
fn later_layers_win() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.yaml");
    std::fs::write(&file, "libra: {queue: {max-size: 1, max-wait-time: 1m}, log: {level: warn}}\n").unwrap();
    std::fs::write(dir.path().join("config.prod.yaml"), "libra: {queue: {max-size: 2, max-wait-time: 2m}}\n")
        .unwrap();
    let source =
        Source { file: Some(file), listen: Some("127.0.0.1:1".into()), data_dir: Some(PathBuf::from("/d")) };
    let variables =
        env(&[("ENVIRONMENT", "prod"), ("LIBRA_QUEUE_MAX_SIZE", "3"), ("LIBRA_LISTEN", "127.0.0.1:2")]);
    let config = Config::from(source, &variables).unwrap();
    assert_eq!((config.limits.max_queued, config.queue_wait), (3, Some(Duration::from_mins(2))));
    assert_eq!((config.log_level.as_str(), config.listen.port()), ("warn", 1));
}

#[test]
fn memory_limits_are_gib_or_bytes() {
    // contract: R2
    let memory = |text| from_env(&[("K8S_MEMORY_LIMIT", text)]).unwrap().limits.host_memory;
    assert_eq!(memory("16"), 16 * GIB);
    assert_eq!(memory("17179869184"), 16 * GIB);
}

#[test]
fn nobody_listens_to_the_world_without_a_key() {
    let error = from_env(&[("LIBRA_LISTEN", "0.0.0.0:8080")]).unwrap_err();
    assert!(error.hint().unwrap().contains("libra.auth.keys"));
    let keys = format!("[{{name: a, sha256: \"{}\", role: admin}}]", "0".repeat(64));
    let config = from_env(&[("LIBRA_LISTEN", "0.0.0.0:8080"), ("LIBRA_AUTH_KEYS", &keys)]).unwrap();
    assert_eq!(config.keys.len(), 1);
}

#[test]
fn wrong_values_name_their_key() {
    for (name, value) in [
        ("LIBRA_LISTEN", "nowhere"),
        ("LIBRA_QUEUE_MAX_SIZE", "many"),
        ("LIBRA_QUEUE_MAX_WAIT_TIME", "30"),
        ("LIBRA_EXECUTION_MODES_IN_CLUSTER_DRIVER_MEMORY", "2x"),
        ("LIBRA_EXECUTION_MODES_SPARK_SUBMIT_MASTER", "mesos"),
        ("LIBRA_LOG_FORMAT", "xml"),
        ("K8S_CPU_LIMIT", "0"),
    ] {
        let message = from_env(&[(name, value)]).unwrap_err().to_string();
        assert!(message.contains("libra."), "{message}");
    }
}

#[test]
fn the_example_lists_every_key_with_its_default() {
    let mut text = String::from(
        "# Every key of Libra with its default. Each has an environment variable as well: libra.queue.max-size is\n\
         # LIBRA_QUEUE_MAX_SIZE. Later wins: this file, config.<ENVIRONMENT>.yaml beside it, environment, flags.\n",
    );
    for key in KEYS {
        text += &format!("\n# {}\n", key.doc);
        if !key.aliases.is_empty() {
            text += &format!("# Also spelled: {}\n", key.aliases.join(", "));
        }
        if !key.env.is_empty() {
            text += &format!("# Also from the environment: {}\n", key.env.join(", "));
        }
        let comment = if key.default.is_empty() { "# " } else { "" };
        let quoted = key.default.contains(['[', ':', '*']) || key.default.is_empty();
        let value = if quoted { format!("\"{}\"", key.default) } else { key.default.to_owned() };
        text += &format!("{comment}{}: {value}\n", key.name);
    }
    text += "\n# Spark settings of the shared server, and of every spark-submit job:\n\
             # libra.execution.modes.in-cluster.conf: {spark.sql.shuffle.partitions: 4}\n\
             # libra.execution.modes.spark-submit.conf: {spark.sql.shuffle.partitions: 4}\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/libra.example.yaml");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, text, "run the tests with UPDATE=1 to write config/libra.example.yaml anew");
    assert!(from_yaml(&text).is_ok(), "the example is a valid configuration");
}

#[test]
fn the_names_of_the_reference_are_taken_and_may_not_contradict() {
    // contract: H0, P5
    let days = from_env(&[("METRICS_RETENTION_DAYS", "7")]).unwrap().retention.samples;
    assert_eq!(days, Some(Duration::from_hours(7 * 24)));
    let both = |samples| from_env(&[("METRICS_RETENTION_DAYS", "7"), ("LIBRA_RETENTION_SAMPLES", samples)]);
    assert!(both("7d").is_ok() && both("8d").is_err());
    for (name, value) in [("METRICS_RETENTION_DAYS", "abc"), ("LIBRA_QUEUE_MAX_WAIT_TIME_MINUTES", "5m")] {
        let error = from_env(&[(name, value)]).unwrap_err().to_string();
        assert!(error.contains(name) && error.ends_with(&format!("not {value}")), "{error}");
    }
    let slurm = |clusters: &str, url: &str| {
        from_env(&[("SLURM_BASE_URL", url), ("LIBRA_SLURM_CLUSTERS", clusters)]).map(|config| config.slurm)
    };
    let only = slurm("", "http://slurmrestd:6820").unwrap();
    assert_eq!((only.len(), only[0].name.as_str()), (1, "default"));
    assert_eq!(slurm("[{name: a, rest-url: 'http://h:1/'}]", "http://h:1").unwrap()[0].name, "a");
    assert!(slurm("[{name: a, rest-url: 'http://h:2'}]", "http://h:1").is_err());
    assert!(slurm("", "slurmrestd").is_err());
}
