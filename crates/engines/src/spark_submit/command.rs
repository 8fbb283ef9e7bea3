//! From a specification to the command, the environment and the files that a driver is started with.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use libra_core::requirement::{Surroundings, requirement};
use libra_core::spec::{JobSpec, Kind, Source, unwrap_sql};

use super::{Settings, properties};
use crate::attempt_dir::{AttemptDir, MAX_RESULT_BYTES};
use crate::engine::Launch;
use crate::shim::{LaunchFile, TOKEN_VARIABLE, records};
use crate::spark_home::SparkHome;

/// Our driver script, beside the program in the attempt's directory.
const DRIVER: &str = "libra_driver.py";
/// The scripts that the drivers of Python programs use, by name: the one that turns a `DataFrame` into a result, and
/// what drivers have in common.
pub(crate) const SCRIPTS: [(&str, &[u8]); 2] =
    [("libra_result.py", include_bytes!("result.py")), ("libra_program.py", include_bytes!("program.py"))];
/// The script that runs Scala.
const SCALA: &str = "libra_scala.py";

/// What a driver inherits from Libra's own environment, and nothing else: Libra's secrets stay with Libra.
pub(crate) const INHERITED: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "JAVA_HOME",
    "HADOOP_HOME",
    "HADOOP_CONF_DIR",
    "YARN_CONF_DIR",
    "HIVE_CONF_DIR",
    "SPARK_CONF_DIR",
    "SPARK_LOCAL_DIRS",
    "PYSPARK_PYTHON",
    "PYSPARK_DRIVER_PYTHON",
    "KRB5_CONFIG",
    "KRB5CCNAME",
    "SSL_CERT_FILE",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];
/// The search path when Libra itself has none.
pub(crate) const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// Ends the driver at once when the heap is full, so that it neither lingers nor reports success.
const END_ON_OUT_OF_MEMORY: &str = "-XX:+ExitOnOutOfMemoryError";
/// The driver JVM's options.
const DRIVER_OPTIONS: &str = "spark.driver.extraJavaOptions";

/// Writes the scripts that the attempt needs and answers what the shim has to start.
pub(super) fn prepare(
    settings: &Settings,
    spark: &SparkHome,
    launch: &Launch,
    dir: &AttemptDir,
) -> io::Result<LaunchFile> {
    let program = write_program(&launch.spec, dir)?;
    settings.history.make_dir()?;
    let master = master(settings, &launch.spec);
    let mut conf = configuration(settings, launch, master);
    let mut argv = arguments(spark, launch, master, &mut conf);
    argv.extend(properties::write(spark, dir, conf)?);
    argv.extend(program);
    Ok(LaunchFile {
        argv,
        env: environment(spark, launch, dir, master),
        cwd: dir.work_dir(),
        token: launch.token.to_string(),
        grace_ms: u64::try_from(settings.stop_grace.as_millis()).unwrap_or(u64::MAX),
        keepalive: settings.host_lease.clone(),
        logs: settings.logs,
    })
}

/// The first of the job's files on this machine, where its driver is to run, that is not there. What has a scheme or a
/// pattern in it is found by Spark.
pub(super) fn absent_file(spec: &JobSpec) -> Option<&str> {
    let program = match &spec.source {
        Source::File(file) => Some(file),
        Source::Code(_) => None,
    };
    let lists = [&spec.jars, &spec.py_files, &spec.files, &spec.archives];
    // `#name` after a file says under which name the program finds it.
    let listed =
        lists.into_iter().flatten().map(|item| item.split_once('#').map_or(&**item, |(file, _)| file));
    program.map(String::as_str).into_iter().chain(listed).find(|file| {
        // An error says nothing: who may not look may still be allowed to read.
        let absent = || matches!(Path::new(file).try_exists(), Ok(false));
        file.starts_with('/') && !file.contains(['*', '?', '[', '{']) && absent()
    })
}

/// Writes the program, where it is a text, and answers what stands at the end of the command line.
fn write_program(spec: &JobSpec, dir: &AttemptDir) -> io::Result<Vec<String>> {
    // What our driver script is told to run, and under which name a text is kept.
    let (kind, name) = match (spec.kind, &spec.source) {
        (Kind::Python | Kind::Jar | Kind::Script, Source::File(file)) => {
            return Ok(std::iter::once(file).chain(&spec.args).cloned().collect());
        }
        (Kind::Python | Kind::Jar | Kind::Script, Source::Code(_)) => ("python", "main.py"),
        (Kind::Sql, _) => ("sql", "query.sql"),
        (Kind::Scala, _) => ("scala", "main.scala"),
    };
    let text = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    records::write_private(&dir.path().join(DRIVER), include_bytes!("driver.py"))?;
    for (name, script) in SCRIPTS {
        records::write_private(&dir.path().join(name), script)?;
    }
    records::write_private(&dir.path().join(SCALA), include_bytes!("scala.py"))?;
    let program = match &spec.source {
        Source::Code(code) => {
            let code = if spec.kind == Kind::Sql { unwrap_sql(code) } else { code.clone() };
            records::write_private(&dir.path().join(name), code.as_bytes())?;
            text(name)
        }
        Source::File(file) => file.clone(),
    };
    Ok([text(DRIVER), kind.to_owned(), program].into_iter().chain(spec.args.iter().cloned()).collect())
}

fn master<'a>(settings: &'a Settings, spec: &'a JobSpec) -> &'a str {
    let of = |conf: &'a BTreeMap<String, String>| conf.get("spark.master").map(String::as_str);
    of(&spec.spark_config).unwrap_or(&settings.default_master)
}

fn is_local(master: &str) -> bool {
    master == "local" || master.starts_with("local[") || master.starts_with("local-cluster[")
}

/// The options of spark-submit, without the settings in `conf`; takes those out that became options.
fn arguments(
    spark: &SparkHome,
    launch: &Launch,
    master: &str,
    conf: &mut BTreeMap<String, String>,
) -> Vec<String> {
    let spec = &launch.spec;
    let mut argv = vec![spark.home.join("bin/spark-submit").to_string_lossy().into_owned()];
    let mut option = |name: &str, value: String| argv.extend([name.to_owned(), value]);
    option("--master", master.to_owned());
    // Said aloud, so that neither DEPLOY_MODE nor a spark-defaults.conf can choose otherwise.
    option("--deploy-mode", "client".to_owned());
    option("--name", conf.get("spark.app.name").cloned().unwrap_or_default());
    let lists = [
        ("--jars", "spark.jars", &spec.jars),
        ("--py-files", "spark.submit.pyFiles", &spec.py_files),
        ("--files", "spark.files", &spec.files),
        ("--archives", "spark.archives", &spec.archives),
        ("--packages", "spark.jars.packages", &spec.packages),
    ];
    for (name, key, items) in lists {
        if !items.is_empty() {
            // The option would hide the setting of the same meaning.
            let set = conf.remove(key).filter(|value| !value.trim().is_empty());
            option(name, set.iter().chain(items).map(String::as_str).collect::<Vec<_>>().join(","));
        }
    }
    if let Some(class) = &spec.class_name {
        option("--class", class.clone());
    }
    if let Some(user) = &spec.proxy_user {
        option("--proxy-user", user.clone());
    }
    argv
}

/// Every Spark setting: the configured ones over ours, the job's over those; what Libra must know of is forced.
fn configuration(settings: &Settings, launch: &Launch, master: &str) -> BTreeMap<String, String> {
    let spec = &launch.spec;
    let name = spec.name.clone().unwrap_or_else(|| launch.job_id.to_string());
    let mut ours = vec![
        ("spark.app.name", name.as_str()),
        // Any free port: drivers beside each other would try port after port.
        ("spark.ui.port", "0"),
        ("spark.ui.showConsoleProgress", "false"),
    ];
    ours.extend(settings.history.settings());
    if is_local(master) {
        ours.extend([("spark.driver.host", "127.0.0.1"), ("spark.driver.bindAddress", "127.0.0.1")]);
    }
    let mut conf: BTreeMap<String, String> =
        ours.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    conf.extend(settings.default_conf.clone());
    conf.extend(spec.spark_config.clone());
    conf.remove("spark.master");
    let options = conf.entry(DRIVER_OPTIONS.to_owned()).or_default();
    if !options.contains("ExitOnOutOfMemoryError") {
        if !options.is_empty() {
            options.push(' ');
        }
        options.push_str(END_ON_OUT_OF_MEMORY);
    }
    bind_to_reserve(&mut conf, master);
    conf.insert("spark.libra.attempt".to_owned(), launch.token.to_string());
    conf
}

/// A standalone master gives an application all the cores that it has, unless it is told how many, and an executor all those
/// of its worker: those that were not reserved for the job are others'.
fn bind_to_reserve(conf: &mut BTreeMap<String, String>, master: &str) {
    if !master.starts_with("spark://") {
        return;
    }
    let around = Surroundings { host_cores: 1, default_master: master };
    // A setting that can't be read was refused long before.
    let Ok(needed) = requirement(conf, around) else { return };
    // One that grows is bound by its greatest number of executors, where it names one, and counted as it grows.
    let grows = needed.least_executors.is_some();
    let named = conf.contains_key("spark.cores.max");
    if grows || !named {
        let each = needed.executor_cores.max(1);
        conf.entry("spark.executor.cores".to_owned()).or_insert_with(|| each.to_string());
        let cores = needed.executors.saturating_mul(each);
        if !grows && cores > 0 {
            conf.insert("spark.cores.max".to_owned(), cores.to_string());
        }
    }
}

fn environment(
    spark: &SparkHome,
    launch: &Launch,
    dir: &AttemptDir,
    master: &str,
) -> BTreeMap<String, String> {
    let mut env: BTreeMap<String, String> = INHERITED
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok().filter(|v| !v.is_empty())?)))
        .collect();
    env.entry("PATH".to_owned()).or_insert_with(|| DEFAULT_PATH.to_owned());
    let mut set = |name: &str, value: String| env.insert(name.to_owned(), value);
    set("SPARK_HOME", spark.home.to_string_lossy().into_owned());
    if let Some(python) = &spark.python {
        set("PYSPARK_PYTHON", python.to_string_lossy().into_owned());
        set("PYSPARK_DRIVER_PYTHON", python.to_string_lossy().into_owned());
    }
    if is_local(master) {
        set("SPARK_LOCAL_IP", "127.0.0.1".to_owned());
    }
    match spark.java_home() {
        Some(home) => set("JAVA_HOME", home.to_string_lossy().into_owned()),
        // One that holds no Java would keep Spark's scripts from looking on the path.
        None => env.remove("JAVA_HOME"),
    };
    env.extend(launch.spec.env.clone());
    env.extend([
        (TOKEN_VARIABLE.to_owned(), launch.token.to_string()),
        ("LIBRA_JOB_ID".to_owned(), launch.job_id.to_string()),
        ("LIBRA_ATTEMPT".to_owned(), launch.attempt.to_string()),
        ("LIBRA_ATTEMPT_DIR".to_owned(), dir.path().to_string_lossy().into_owned()),
        ("LIBRA_RESULT_LIMIT".to_owned(), MAX_RESULT_BYTES.to_string()),
    ]);
    env
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
