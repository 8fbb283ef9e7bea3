//! How the Spark Connect server is started: one Java process, its settings and its environment.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use libra_core::memory::{self, MIB};
use libra_core::requirement::DEFAULT_HEAP;

use crate::attempt_dir::AttemptDir;
use crate::shim::{Keepalive, LaunchFile};
use crate::spark_home::SparkHome;

use super::super::settings::Settings;
use super::files::{keepalive_file, log_settings_file};

/// What Java has to open to Spark (the list of Spark's own `JavaModuleOptions`).
const OPENED: &[&str] = &[
    "java.lang",
    "java.lang.invoke",
    "java.lang.reflect",
    "java.io",
    "java.net",
    "java.nio",
    "java.util",
    "java.util.concurrent",
    "java.util.concurrent.atomic",
    "jdk.internal.ref",
    "sun.nio.ch",
    "sun.nio.cs",
    "sun.security.action",
    "sun.util.calendar",
];

/// Variables of Libra's own environment that the server gets; everything else stays outside.
const INHERITED: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "LC_ALL",
    "TZ",
    "JAVA_HOME",
    "HADOOP_CONF_DIR",
    "YARN_CONF_DIR",
    "LD_LIBRARY_PATH",
    "TMPDIR",
];

/// How long the server may take to end after SIGTERM, in milliseconds.
const GRACE_MS: u64 = 5_000;

/// Spark's log: warnings, and the two lines that tell the ports.
const LOG_SETTINGS: &str = "\
rootLogger.level = warn
rootLogger.appenderRef.stderr.ref = stderr
appender.stderr.type = Console
appender.stderr.name = stderr
appender.stderr.target = SYSTEM_ERR
appender.stderr.layout.type = PatternLayout
appender.stderr.layout.pattern = %d{yyyy-MM-dd'T'HH:mm:ss.SSS} %p %c{1}: %m%n%ex
logger.ports.name = org.apache.spark.util.Utils
logger.ports.level = info
logger.server.name = org.apache.spark.sql.connect.service.SparkConnectServer
logger.server.level = info
logger.hive.name = org.apache.hadoop.hive.conf.HiveConf
logger.hive.level = error
";

/// Writes the log settings and answers what the shim has to start.
///
/// The secret travels in the environment: arguments are readable by every user of the machine.
pub(super) fn launch_file(
    settings: &Settings,
    spark: &SparkHome,
    dir: &AttemptDir,
    server: &str,
    secret: &str,
) -> io::Result<LaunchFile> {
    std::fs::write(log_settings_file(dir), LOG_SETTINGS)?;
    Ok(LaunchFile {
        argv: arguments(settings, spark, dir),
        env: environment(spark, secret),
        cwd: dir.work_dir(),
        token: server.to_owned(),
        grace_ms: GRACE_MS,
        keepalive: Some(keepalive(settings, dir)),
        logs: settings.logs,
    })
}

/// Without a shared database any Libra that knows the server keeps it alive; with one, only a replica that reaches
/// the database does.
fn keepalive(settings: &Settings, dir: &AttemptDir) -> Keepalive {
    let own = settings.keepalive_deadline.as_secs();
    match &settings.host_lease {
        Some(lease) => Keepalive { file: lease.file.clone(), deadline_secs: lease.deadline_secs.min(own) },
        None => Keepalive { file: keepalive_file(dir), deadline_secs: own },
    }
}

fn arguments(settings: &Settings, spark: &SparkHome, dir: &AttemptDir) -> Vec<String> {
    let metastore = settings.data_dir.join("metastore");
    let mut arguments = vec![
        spark.java.as_deref().unwrap_or(Path::new("java")).display().to_string(),
        format!("-Xmx{}", settings.driver_memory),
        "-XX:+ExitOnOutOfMemoryError".to_owned(),
        format!("-Dlog4j2.configurationFile=file:{}", log_settings_file(dir).display()),
        format!("-Dderby.system.home={}", metastore.display()),
        "-Djdk.reflect.useDirectMethodHandle=false".to_owned(),
        "-Dio.netty.tryReflectionSetAccessible=true".to_owned(),
    ];
    arguments.extend(OPENED.iter().map(|package| format!("--add-opens=java.base/{package}=ALL-UNNAMED")));
    arguments.push("-cp".to_owned());
    arguments.push(format!("{}/jars/*", spark.home.display()));
    arguments.extend(
        [
            "org.apache.spark.deploy.SparkSubmit",
            "--class",
            "org.apache.spark.sql.connect.service.SparkConnectServer",
            "--name",
            "libra in-cluster",
            "--master",
            settings.master.as_str(),
        ]
        .map(str::to_owned),
    );
    for (key, value) in configuration(settings, dir, &metastore) {
        arguments.push("--conf".to_owned());
        arguments.push(format!("{key}={value}"));
    }
    arguments.push("spark-internal".to_owned());
    arguments
}

/// Spark's settings. The administrator's win, except for those that Libra depends on.
fn configuration(settings: &Settings, dir: &AttemptDir, metastore: &Path) -> BTreeMap<String, String> {
    let path = |path: &Path| path.display().to_string();
    let warehouse = settings.warehouse_dir.clone().unwrap_or_else(|| settings.data_dir.join("warehouse"));
    let mut conf: BTreeMap<String, String> = [
        ("spark.driver.memory", settings.driver_memory.clone()),
        ("spark.driver.maxResultSize", format!("{}b", result_room(&settings.driver_memory))),
        ("spark.driver.bindAddress", "127.0.0.1".to_owned()),
        ("spark.ui.port", "0".to_owned()),
        ("spark.scheduler.mode", "FAIR".to_owned()),
        ("spark.local.dir", path(&dir.work_dir())),
        ("spark.sql.warehouse.dir", path(&warehouse)),
        // Tables outlive the server: their catalog is a Derby database, which one server at a time may open.
        ("spark.sql.catalogImplementation", "hive".to_owned()),
        (
            "spark.hadoop.javax.jdo.option.ConnectionURL",
            format!("jdbc:derby:;databaseName={};create=true", metastore.join("db").display()),
        ),
        ("spark.hadoop.hive.exec.scratchdir", path(&dir.work_dir().join("hive"))),
        ("spark.connect.progress.reportInterval", "250ms".to_owned()),
        // A Libra that comes back hours later still finds what ran, and no released operation runs again.
        ("spark.connect.execute.manager.detachedTimeout", "24h".to_owned()),
        ("spark.connect.session.manager.defaultSessionTimeout", "24h".to_owned()),
        ("spark.connect.execute.manager.abandonedTombstonesSize", "100000".to_owned()),
        ("spark.connect.session.manager.closedSessionsTombstonesSize", "100000".to_owned()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect();
    conf.extend(settings.conf.clone());
    conf.extend(
        [
            ("spark.connect.grpc.binding.address", "127.0.0.1"),
            ("spark.connect.grpc.binding.port", "0"),
            ("spark.connect.execute.reattachable.enabled", "true"),
            ("spark.sql.execution.arrow.compression.codec", "none"),
            ("spark.sql.execution.arrow.useLargeVarTypes", "false"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned())),
    );
    conf
}

/// The bytes of one result that the server holds at most: a third of its heap, because a result is there twice
/// while it is packed. Beyond it the query fails, and its neighbours live on.
fn result_room(driver_memory: &str) -> u64 {
    memory::parse(driver_memory, MIB).unwrap_or(DEFAULT_HEAP) / 3
}

fn environment(spark: &SparkHome, secret: &str) -> BTreeMap<String, String> {
    let mut env: BTreeMap<String, String> = INHERITED
        .iter()
        .filter_map(|name| std::env::var(name).ok().map(|value| ((*name).to_owned(), value)))
        .collect();
    env.insert("SPARK_HOME".to_owned(), spark.home.display().to_string());
    env.insert("SPARK_LOCAL_IP".to_owned(), "127.0.0.1".to_owned());
    env.insert("SPARK_CONNECT_AUTHENTICATE_TOKEN".to_owned(), secret.to_owned());
    if let Some(python) = &spark.python {
        env.insert("PYSPARK_PYTHON".to_owned(), python.display().to_string());
    }
    env
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_is_no_argument() {
        let mut settings = Settings::new("/bin/libra", None, "/data/connect");
        settings.conf.insert("spark.connect.grpc.binding.address".to_owned(), "0.0.0.0".to_owned());
        settings.conf.insert("spark.sql.shuffle.partitions".to_owned(), "4".to_owned());
        let dir = AttemptDir::new("/data/connect/x");
        let spark = SparkHome {
            home: "/spark".into(),
            python: None,
            java: Some("/jvm/java".into()),
            version: "4.3.0".into(),
        };
        let arguments = arguments(&settings, &spark, &dir).join(" ");
        assert!(arguments.contains("spark.connect.grpc.binding.address=127.0.0.1"), "loopback only");
        assert!(arguments.contains("--conf spark.sql.shuffle.partitions=4"));
        assert!(!arguments.contains("s3cret"));
        let env = environment(&spark, "s3cret");
        assert_eq!(env["SPARK_CONNECT_AUTHENTICATE_TOKEN"], "s3cret");
    }
}
