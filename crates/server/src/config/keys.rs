//! Every key there is, with its other spellings and its default.

/// A configuration key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The canonical name.
    pub name: &'static str,
    /// Other spellings, of the references.
    pub aliases: &'static [&'static str],
    /// Other environment variables than `LIBRA_…`.
    pub env: &'static [&'static str],
    /// The default as it would be written; empty = none.
    pub default: &'static str,
    /// What it does.
    pub doc: &'static str,
}

const fn key(name: &'static str, default: &'static str, doc: &'static str) -> Key {
    Key { name, aliases: &[], env: &[], default, doc }
}

const fn alias(
    name: &'static str,
    aliases: &'static [&'static str],
    default: &'static str,
    doc: &'static str,
) -> Key {
    Key { name, aliases, env: &[], default, doc }
}

/// Everything under this prefix is a Spark setting of the shared server.
pub const IN_CLUSTER_CONF: &str = "libra.execution.modes.in-cluster.conf.";
/// Everything under this prefix is a Spark setting of every spark-submit job.
pub const SPARK_SUBMIT_CONF: &str = "libra.execution.modes.spark-submit.conf.";
/// The list of keys: objects, not a value.
pub const AUTH_KEYS: &str = "libra.auth.keys";
/// The list of queues.
pub const QUEUES: &str = "libra.queues";
/// What users may have, by name.
pub const USERS: &str = "libra.quotas.users";
/// What tenants may have, by name.
pub const TENANTS: &str = "libra.quotas.tenants";
/// The clusters of executors, by name.
pub const CLUSTERS: &str = "libra.clusters";
/// Flink's session clusters, by name.
pub const FLINK_CLUSTERS: &str = "libra.flink.clusters";
/// Where programs for Flink are.
pub const FLINK_DIRECTORIES: &str = "libra.flink.artifacts.directories";
/// Who may sign programs for Flink.
pub const FLINK_PUBLIC_KEYS: &str = "libra.flink.artifacts.public-keys";
/// Whether programs for Flink have to be signed.
pub const FLINK_SIGNATURES: &str = "libra.flink.artifacts.signatures";
/// Where programs for Flink may be fetched from.
pub const FLINK_HOSTS: &str = "libra.flink.artifacts.hosts";
/// The S3-compatible store of programs for Flink.
pub const FLINK_S3: &str = "libra.flink.artifacts.s3";
/// Slurm's clusters, by name.
pub const SLURM_CLUSTERS: &str = "libra.slurm.clusters";
/// The address of the only cluster of Slurm.
pub const SLURM_BASE_URL: &str = "libra.slurm.base-url";
/// The keys with lists or maps below them. In the environment their value is YAML.
pub const TREES: [&str; 11] = [
    AUTH_KEYS,
    QUEUES,
    USERS,
    TENANTS,
    CLUSTERS,
    FLINK_CLUSTERS,
    SLURM_CLUSTERS,
    FLINK_DIRECTORIES,
    FLINK_PUBLIC_KEYS,
    FLINK_HOSTS,
    FLINK_S3,
];

/// All keys, in the order of the documentation.
pub const KEYS: &[Key] = &[
    key(
        "libra.listen",
        "127.0.0.1:8080",
        "Address and port of the API. Anything but loopback needs `libra.auth.keys`.",
    ),
    key("libra.management.listen", "", "A second address for health and metrics alone, served without keys."),
    key("libra.data-dir", "./libra-data", "Database, logs and results. One Libra at a time."),
    key(
        "libra.shared-dir",
        "",
        "Logs, results and what running drivers need, when several replicas share them; the data directory when absent.",
    ),
    key(
        "libra.store.url",
        "sqlite:",
        "`sqlite:` is a file in the data directory, `sqlite://PATH` another one, `postgres://USER:PASSWORD@HOST/DATABASE` \
         serves many replicas (`?sslmode=verify-full&sslrootcert=PATH` for TLS).",
    ),
    key("libra.store.pool.max-connections", "25", "Connections to PostgreSQL at once."),
    key("libra.store.pool.min-connections", "5", "Connections that are kept open while nothing happens."),
    key("libra.store.pool.max-lifetime", "5m", "A connection is replaced after this long."),
    key(
        "libra.store.pool.max-idle-time",
        "30s",
        "A connection above the minimum is closed after this long without use.",
    ),
    key(
        "libra.replica.id",
        "",
        "This replica's name, the same after every restart; made at the first start and kept in the data directory when absent.",
    ),
    key(
        "libra.replica.lease",
        "10s",
        "A replica that was not heard of for this long is taken for dead, and another becomes leader. 1s to 1m.",
    ),
    key(
        "libra.replica.address",
        "",
        "Where the other replicas reach this one, such as http://10.0.0.7:8080; `libra.listen` when absent.",
    ),
    key(
        "libra.replica.machine",
        "",
        "The machine's name where /etc/machine-id is not its own, as in copied machines and containers; the same for \
         all replicas on it.",
    ),
    key(
        "libra.replica.host-lost-after",
        "5m",
        "Jobs with a process on a host without any replica are given up after this long; with PostgreSQL that process \
         has ended itself by then. At least 2m.",
    ),
    key(
        AUTH_KEYS,
        "",
        "Who may call: a list of {name, sha256, role, user, tenant}. Roles: viewer, developer, admin.",
    ),
    alias(
        "libra.queue.max-size",
        &["libra.resources.queue.max-size"],
        "1000",
        "Jobs that may wait; one more is refused with 429.",
    ),
    alias(
        "libra.queue.max-wait-time",
        &["libra.resources.queue.max-wait-time", "libra.queue.max-wait-time-minutes"],
        "30m",
        "The longest queue wait of a job that names none; 0 = no limit.",
    ),
    key(
        QUEUES,
        "",
        "Queues beside `default`, with their shares of everything: a list of {name, share, limits, max-wait-time, \
         timeout-minutes}. Limits: `running-jobs`, `cores`, `memory`, `gpus` (held at once), `queued-jobs`, \
         `submissions-per-minute`. Read again when the file changes.",
    ),
    key(
        USERS,
        "",
        "What users may have at once: a map from names, and `default` for all others, to limits as of queues. Read again \
         when the file changes.",
    ),
    key(
        TENANTS,
        "",
        "What tenants may have at once, and their `share` of a queue: a map as of users. Read again when the file changes.",
    ),
    key(
        CLUSTERS,
        "",
        "Clusters on which drivers may have their executors: a list of {name, master, web-url, limits}. `web-url` is the \
         web UI of a standalone master, which is asked what the cluster has. Limits: `running-jobs`, `cores`, `memory`, `gpus`.",
    ),
    key(
        FLINK_CLUSTERS,
        "",
        "Flink session clusters for deployments: a list of {name, url, token-file, ca-file, identity-file, headers, \
         savepoint-directory, max-slots, python}. A specification that names no cluster gets the first. Files are PEM, the token's \
         alone.",
    ),
    key(
        SLURM_CLUSTERS,
        "",
        "Slurm clusters whose jobs are seen: a list of {name, tenant, rest-url, api-version, user, jwt-file or jwt-key-file, ca-file, sbatch, \
         slurm-conf, path, requests-per-minute, interval, shares-files, spark-home}. Without a rest-url, or with sbatch: always, Slurm's commands are used. \
         With {name: demo, source: mock, seed, nodes} the cluster is made up, for trying dashboards without a Slurm.",
    ),
    Key {
        name: SLURM_BASE_URL,
        aliases: &[],
        env: &["SLURM_BASE_URL"],
        default: "",
        doc: "The slurmrestd of the one cluster `default`, as the reference names it; with a user and a token, libra.slurm.clusters says \
              it.",
    },
    key(
        "libra.slurm.efficiency.interval",
        "1m",
        "How often running jobs are looked at for what they waste. What is wasted is told once for each job and kind.",
    ),
    key("libra.slurm.efficiency.least-runtime", "10m", "Nothing is said of a job that has run for less."),
    key(
        "libra.slurm.efficiency.least-coverage",
        "50",
        "Nothing is said where less of a job's time on its nodes was measured, percent.",
    ),
    key(
        "libra.slurm.efficiency.idle-gpu-percent",
        "1",
        "GPUs that were this busy in the mean, or less, are idle.",
    ),
    key(
        "libra.slurm.efficiency.memory-factor",
        "5",
        "Memory is too large when it is so many times what the job needed at most.",
    ),
    key("libra.slurm.efficiency.least-memory", "4g", "Nothing is said of jobs with less memory."),
    key(
        "libra.slurm.efficiency.busy-cores",
        "1.25",
        "A job that has kept so many processors at work in the mean, or less, uses one of many.",
    ),
    key("libra.slurm.efficiency.least-cores", "4", "Nothing is said of jobs with fewer processors."),
    key(
        "libra.slurm.efficiency.webhook",
        "",
        "An address that is told of what running jobs waste; nobody besides the feed when absent.",
    ),
    key(
        "libra.slurm.metrics.max-jobs",
        "2000",
        "Running jobs that have figures of their own in /metrics; a job on three nodes counts three times. The rest is counted \
         in hpc_left_out; sums are of all jobs.",
    ),
    key("libra.slurm.metrics.max-nodes", "5000", "Nodes that have figures in /metrics."),
    key(
        "libra.slurm.metrics.max-names",
        "1000",
        "Users that have figures in /metrics, those with the most jobs; and so many accounts, and partitions.",
    ),
    key(
        FLINK_DIRECTORIES,
        "",
        "Directories in which `artifact_path` of a deployment is looked for, in this order.",
    ),
    key(
        FLINK_SIGNATURES,
        "if-present",
        "Signatures of programs for Flink: `off` looks at none, `if-present` refuses what is signed wrongly, `required` \
         also what is not signed.",
    ),
    key(
        FLINK_PUBLIC_KEYS,
        "",
        "Public keys of minisign that may sign programs for Flink: a list of texts that begin with RW.",
    ),
    key(
        FLINK_HOSTS,
        "",
        "Hosts that http and https addresses in `artifact_path` may name: a list, with a port where it is not the usual one.",
    ),
    key(
        FLINK_S3,
        "",
        "The store of s3 addresses in `artifact_path`: {endpoint, region, access-key-file, secret-key-file, \
         session-token-file, virtual-hosts, buckets}. Each file holds its text alone.",
    ),
    Key {
        name: "libra.queue.redis.url",
        aliases: &["spring.redis.url"],
        env: &["REDIS_URL"],
        default: "",
        doc: "Redis that hands scheduled jobs to the replicas, such as redis://127.0.0.1:6379; PostgreSQL does it when absent.",
    },
    Key {
        name: "libra.queue.redis.host",
        aliases: &["spring.redis.host"],
        env: &["REDIS_HOST"],
        default: "",
        doc: "The same in parts, as the references spell it.",
    },
    Key {
        name: "libra.queue.redis.port",
        aliases: &["spring.redis.port"],
        env: &["REDIS_PORT"],
        default: "6379",
        doc: "Redis's port.",
    },
    Key {
        name: "libra.queue.redis.password",
        aliases: &["spring.redis.password"],
        env: &["REDIS_PASSWORD"],
        default: "",
        doc: "Redis's password.",
    },
    key(
        "libra.webhooks.secret",
        "",
        "Signs webhooks: `whsec_` and base64; made at the first start and kept in the shared or data directory when absent.",
    ),
    key(
        "libra.webhooks.allow-private",
        "false",
        "Whether webhooks may go to private addresses (loopback, 10.0.0.0/8 and the like).",
    ),
    key(
        "libra.webhooks.give-up-after",
        "24h",
        "A webhook that was not taken for this long becomes a dead letter.",
    ),
    key("libra.retention.jobs", "90d", "Ended jobs are forgotten after this long; 0 = never."),
    key(
        "libra.retention.max-jobs",
        "",
        "Ended jobs beyond this number are forgotten, the oldest first; no bound when absent.",
    ),
    key(
        "libra.retention.files",
        "30d",
        "Logs and results are removed this long after the end; 0 = with their job.",
    ),
    Key {
        name: "libra.retention.samples",
        aliases: &[],
        env: &["METRICS_RETENTION_DAYS"],
        default: "30d",
        doc: "Samples of what observed jobs used are removed after this long; their minutes and hours stay as long as the job. 0 = as \
              long as the job. METRICS_RETENTION_DAYS is a number of days.",
    },
    key(
        "libra.retention.artifacts",
        "7d",
        "Uploads that no kept job names are removed this long after they were last asked for; at least 1h.",
    ),
    key("libra.artifacts.max-size", "512m", "The largest upload."),
    key(
        "libra.logs.rotate-size",
        "64m",
        "The size of one file of a log, at most 4g; the files are compressed after the end. Readers see one log.",
    ),
    key(
        "libra.logs.max-size",
        "10g",
        "Both streams of one attempt together. What is beyond is left out, and the log says how much; its end is kept.",
    ),
    key(
        "libra.logs.max-followers",
        "100",
        "Readers that follow a log through this replica at the same time; one user may have half of the places. One more is refused with 429.",
    ),
    key("libra.execution.launch-timeout", "10m", "How long a launch may take; 0 = no limit."),
    Key {
        name: "libra.resources.limits.cpu-cores",
        aliases: &[],
        env: &["K8S_CPU_LIMIT"],
        default: "",
        doc: "Cores that jobs may use on this host; detected when absent.",
    },
    Key {
        name: "libra.resources.limits.memory-gb",
        aliases: &[],
        env: &["K8S_MEMORY_LIMIT"],
        default: "",
        doc: "Memory that jobs may use on this host, GiB (1,000,000 and more is bytes); detected when absent.",
    },
    key(
        "libra.resources.limits.max-concurrent-jobs",
        "",
        "Jobs that run at once in all modes together; none when absent.",
    ),
    key("libra.resources.monitor.enabled", "true", "Whether full resources are logged as a warning."),
    key("libra.resources.monitor.poll-interval", "5s", "How often they are looked at."),
    key("libra.resources.monitor.alert-threshold.cpu-percent", "90", "Warn above this share of the cores."),
    key(
        "libra.resources.monitor.alert-threshold.memory-percent",
        "90",
        "Warn above this share of the memory.",
    ),
    alias(
        "libra.resources.quotas.in-cluster.max-executors-per-job",
        &["libra.execution.modes.in-cluster.limits.max-executors"],
        "5",
        "Executors that one in-cluster job may name.",
    ),
    alias(
        "libra.resources.quotas.in-cluster.max-memory-per-executor",
        &["libra.execution.modes.in-cluster.limits.max-memory-per-executor"],
        "4g",
        "Heap of one executor.",
    ),
    alias(
        "libra.resources.quotas.in-cluster.max-cores-per-executor",
        &["libra.execution.modes.in-cluster.limits.max-cores-per-executor"],
        "2",
        "Cores of one executor.",
    ),
    alias(
        "libra.resources.quotas.in-cluster.max-concurrent-jobs",
        &["libra.execution.modes.in-cluster.limits.max-concurrent-jobs"],
        "10",
        "In-cluster jobs that run at once.",
    ),
    alias(
        "libra.resources.quotas.spark-submit.max-executors-per-job",
        &["libra.execution.modes.spark-submit.limits.max-executors"],
        "20",
        "Executors that one spark-submit job may name.",
    ),
    alias(
        "libra.resources.quotas.spark-submit.max-memory-per-executor",
        &["libra.execution.modes.spark-submit.limits.max-memory-per-executor"],
        "16g",
        "Heap of one executor.",
    ),
    alias(
        "libra.resources.quotas.spark-submit.max-concurrent-jobs",
        &["libra.execution.modes.spark-submit.limits.max-concurrent-jobs"],
        "5",
        "spark-submit jobs that run at once.",
    ),
    key(
        "libra.resources.quotas.slurm.max-concurrent-jobs",
        "1000",
        "Jobs that wait and run on Slurm at once; the others wait in Libra.",
    ),
    key(
        "libra.execution.modes.slurm.enabled",
        "true",
        "Whether jobs may be submitted to the clusters of libra.slurm.clusters.",
    ),
    key(
        "libra.execution.modes.slurm.timeout-minutes",
        "0",
        "The longest run of a job that names none; 0 = no limit but Slurm's.",
    ),
    key(
        "libra.execution.modes.in-cluster.enabled",
        "true",
        "Whether SQL and Python may run in a shared Spark server that Libra starts.",
    ),
    key(
        "libra.execution.modes.in-cluster.backend",
        "spark",
        "Which server runs it: `spark` (Apache Spark's, started by Libra), `sail` (Sail's, started by Libra, without Java), \
         `external` (one that is there already: `url`).",
    ),
    key(
        "libra.execution.modes.in-cluster.url",
        "",
        "The external server, as Spark spells it: `sc://HOST:PORT/;use_ssl=true;user_id=NAME`. Libra neither starts nor \
         ends it.",
    ),
    key(
        "libra.execution.modes.in-cluster.token",
        "",
        "What is shown to the external server; better in the environment or in `token-file` than in a file with the rest.",
    ),
    key(
        "libra.execution.modes.in-cluster.token-file",
        "",
        "A file that holds the token alone; read at start.",
    ),
    key(
        "libra.execution.modes.in-cluster.ca-file",
        "",
        "Certificates (PEM) that are trusted besides the system's when the external server uses TLS.",
    ),
    key(
        "libra.execution.modes.in-cluster.lost-after",
        "2m",
        "Queries are taken for lost when the external server was not heard of for this long.",
    ),
    key(
        "libra.execution.modes.in-cluster.sail-program",
        "",
        "The `sail` program; looked for when absent: PATH, the copy that the set-up installs.",
    ),
    key(
        "libra.execution.modes.in-cluster.kill-after",
        "10s",
        "A Sail query that does not obey an interrupt for this long is ended together with its server.",
    ),
    key("libra.execution.modes.in-cluster.master", "local[*]", "The server's master."),
    key(
        "libra.execution.modes.in-cluster.driver-memory",
        "1g",
        "The server's heap; charged to the host once, with overhead.",
    ),
    key(
        "libra.execution.modes.in-cluster.cores",
        "0",
        "Cores that the server is charged with; 0 shares the host's cores with other jobs.",
    ),
    key(
        "libra.execution.modes.in-cluster.timeout-minutes",
        "60",
        "The longest run of a job that names none; 0 = no limit.",
    ),
    key(
        "libra.execution.modes.in-cluster.warehouse-dir",
        "",
        "Where tables are kept; within the data directory when absent.",
    ),
    key(
        "libra.execution.modes.in-cluster.python.pool-size",
        "2",
        "Python processes that wait for in-cluster jobs with everything imported, about 150 MiB each; there is none before \
         the first such job. 0: each job starts its own, which takes a second.",
    ),
    key("libra.execution.modes.in-cluster.start-timeout", "5m", "How long the server may take to start."),
    key(
        "libra.execution.modes.in-cluster.keepalive",
        "10m",
        "The server ends by itself after this long without a Libra.",
    ),
    key(
        "libra.execution.modes.in-cluster.stop-server-on-shutdown",
        "false",
        "Whether the server ends with Libra.",
    ),
    key(
        "libra.execution.modes.in-cluster.probe-every",
        "10s",
        "How often the server is asked whether it lives; after three misses in a row it is replaced, an external one gets \
         no new jobs until it answers.",
    ),
    key(
        "libra.execution.modes.in-cluster.recycle-at",
        "",
        "The server is replaced when its processes have this much resident memory, such as `4g`; its heap and 1.5 GiB when \
         absent.",
    ),
    key(
        "libra.execution.modes.in-cluster.recycle-after-jobs",
        "0",
        "The server is replaced after so many jobs; 0 = not for that.",
    ),
    key(
        "libra.execution.modes.in-cluster.recycle-wait",
        "30s",
        "How long new jobs may have to wait for running ones when the server is replaced; afterwards the old one goes on.",
    ),
    key(
        "libra.execution.modes.spark-submit.enabled",
        "true",
        "Whether jobs may run in a process of their own.",
    ),
    alias(
        "libra.spark.home",
        &["libra.execution.modes.spark-submit.spark-home"],
        "",
        "Spark's directory; looked for when absent: SPARK_HOME, PATH, the copy that the set-up installs.",
    ),
    key("libra.execution.modes.spark-submit.master", "local[*]", "The master of a job that names none."),
    key(
        "libra.execution.modes.spark-submit.timeout-minutes",
        "60",
        "The longest run of a job that names none; 0 = no limit.",
    ),
    key(
        "libra.execution.modes.spark-submit.event-log-dir",
        "",
        "Where drivers write Spark's event log: a path, or an address such as s3a://bucket/events. Without it they write one \
         where Spark's own settings say so.",
    ),
    key(
        "libra.execution.modes.spark-submit.history-server-url",
        "",
        "Spark's history server over those event logs, such as http://history:18080: ended jobs link to it.",
    ),
    key(
        "libra.log.level",
        "info",
        "`error`, `warn`, `info`, `debug`, `trace`, or a filter such as `libra_server=debug`.",
    ),
    key("libra.log.format", "json", "`json` or `text`."),
];

/// Keys of the references that this version reads but that have no effect yet: named in a warning at start.
pub const WITHOUT_EFFECT: &[&str] = &[
    "libra.execution.modes.kubernetes.enabled",
    "libra.execution.modes.kubernetes.namespace",
    "libra.execution.modes.kubernetes.service-account",
    "libra.execution.modes.kubernetes.image",
    "libra.execution.modes.kubernetes.ttl-seconds-after-finished",
    "libra.resources.quotas.kubernetes.max-executors-per-job",
    "libra.resources.quotas.kubernetes.max-memory-per-executor",
    "libra.resources.quotas.kubernetes.max-concurrent-jobs",
];

/// True for a key that a running Libra reads again when its file changes.
pub fn is_read_again(key: &str) -> bool {
    [QUEUES, USERS, TENANTS, "libra.queue.max-size", "libra.resources.limits.max-concurrent-jobs"]
        .contains(&key)
        || key.starts_with("libra.resources.quotas.")
}

/// The environment variable of a key: `libra.queue.max-size` → `LIBRA_QUEUE_MAX_SIZE`.
pub fn env_name(key: &str) -> String {
    key.replace(['.', '-'], "_").to_ascii_uppercase()
}
