//! The JVMs of a cluster: how each is started.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::home::{Home, java};
use crate::{ports, wait};

/// Lines of each log that are told when something is wrong.
const LOG_LINES: usize = 30;
/// For a JVM that lives for minutes on a machine with few cores.
const LEAN: &[&str] = &["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:MaxMetaspaceSize=256m"];
const JOB_MANAGER_MEMORY: &[&str] = &["-Xms128m", "-Xmx512m"];
const TASK_MANAGER_MEMORY: &[&str] = &["-Xms384m", "-Xmx384m", "-XX:MaxDirectMemorySize=192m"];

/// Without its scripts around it, a TaskManager wants to be told all of these. Task and framework heap make up `-Xmx`;
/// framework off-heap and network `MaxDirectMemorySize`.
const TASK_MANAGER_SIZES: &[(&str, &str)] = &[
    ("taskmanager.cpu.cores", "2.0"),
    ("taskmanager.memory.task.heap.size", "256m"),
    ("taskmanager.memory.task.off-heap.size", "0b"),
    ("taskmanager.memory.framework.heap.size", "128m"),
    ("taskmanager.memory.framework.off-heap.size", "128m"),
    ("taskmanager.memory.managed.size", "128m"),
    ("taskmanager.memory.network.min", "64m"),
    ("taskmanager.memory.network.max", "64m"),
    ("taskmanager.memory.jvm-metaspace.size", "256m"),
    ("taskmanager.memory.jvm-overhead.min", "192m"),
    ("taskmanager.memory.jvm-overhead.max", "192m"),
];

/// What Flink needs opened in Java 17 (its `env.java.opts.all`). Without them a cluster starts and refuses every job.
const EXPORTED: &[&str] = &[
    "java.rmi/sun.rmi.registry",
    "jdk.compiler/com.sun.tools.javac.api",
    "jdk.compiler/com.sun.tools.javac.file",
    "jdk.compiler/com.sun.tools.javac.parser",
    "jdk.compiler/com.sun.tools.javac.tree",
    "jdk.compiler/com.sun.tools.javac.util",
    "java.security.jgss/sun.security.krb5",
];
const OPENED: &[&str] = &[
    "java.base/java.lang",
    "java.base/java.net",
    "java.base/java.io",
    "java.base/java.nio",
    "java.base/sun.nio.ch",
    "java.base/java.lang.reflect",
    "java.base/java.text",
    "java.base/java.time",
    "java.base/java.util",
    "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic",
    "java.base/java.util.concurrent.locks",
];

const LOGGING: &str = "
rootLogger.level = INFO
rootLogger.appenderRef.console.ref = Console
appender.console.type = Console
appender.console.name = Console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss.SSS} %-5p %c{1} %m%n
";

/// Where the JVMs of a cluster work and listen.
#[derive(Debug)]
pub(super) struct Daemons {
    home: Home,
    pub(super) dir: PathBuf,
    pub(super) rest_port: u16,
    pub(super) rpc_port: u16,
}

impl Daemons {
    pub(super) fn new(home: Home, dir: PathBuf) -> Self {
        Self { home, dir, rest_port: ports::free(), rpc_port: ports::free() }
    }

    pub(super) fn job_manager(&self, name: &str) -> Child {
        let class = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint";
        self.launch(name, JOB_MANAGER_MEMORY, class, &[])
    }

    /// `name` is its id in the cluster as well.
    pub(super) fn task_manager(&self, name: &str, slots: usize) -> Child {
        let own =
            [format!("taskmanager.numberOfTaskSlots={slots}"), format!("taskmanager.resource-id={name}")];
        let sizes = TASK_MANAGER_SIZES.iter().map(|(key, value)| format!("{key}={value}"));
        let settings: Vec<String> = sizes.chain(own).flat_map(|pair| ["-D".to_owned(), pair]).collect();
        let class = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner";
        self.launch(name, TASK_MANAGER_MEMORY, class, &settings)
    }

    fn launch(&self, name: &str, memory: &[&str], class: &str, settings: &[String]) -> Child {
        let conf = self.dir.join("conf");
        let logging = conf.join("log4j.properties");
        fs::write(&logging, LOGGING).unwrap();
        // One that is started again goes on in the same file.
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.dir.join(name).with_extension("log"))
            .unwrap();
        let mut command = Command::new(java());
        command.args(LEAN).args(memory);
        command.args(EXPORTED.iter().map(|what| format!("--add-exports={what}=ALL-UNNAMED")));
        command.args(OPENED.iter().map(|what| format!("--add-opens={what}=ALL-UNNAMED")));
        command.arg(format!("-Dlog4j.configurationFile=file:{}", logging.display()));
        command.arg(format!("-Djava.io.tmpdir={}/tmp", self.dir.display()));
        command.args(["-cp", &self.home.class_path(), class, "--configDir"]).arg(&conf).args(settings);
        command.env("FLINK_CONF_DIR", &conf);
        for (variable, part) in
            [("FLINK_LIB_DIR", "lib"), ("FLINK_PLUGINS_DIR", "plugins"), ("FLINK_OPT_DIR", "opt")]
        {
            command.env(variable, self.home.part(part));
        }
        command.current_dir(&self.dir);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        command.spawn().unwrap_or_else(|e| panic!("java can't be run: {e}; {}", crate::INSTALL))
    }

    /// The end of a log.
    pub(super) fn log(&self, name: &str) -> String {
        let path = self.dir.join(name).with_extension("log");
        wait::last_lines(&fs::read_to_string(path).unwrap_or_default(), LOG_LINES)
    }
}
