//! What is left of a driver's UI after its end: Spark's event log, shown by a history server.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use libra_core::attempt::Links;
use libra_core::spec::JobSpec;

use super::Settings;

const ENABLED: &str = "spark.eventLog.enabled";

/// Where event logs are, and who shows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Where drivers write their event log: a path, or an address of Hadoop's. None: as Spark's own settings say.
    pub event_log_dir: Option<String>,
    /// The history server, as people reach it, without a slash at its end.
    pub server_url: Option<String>,
}

impl History {
    /// The settings of Spark that write an event log; a job's own win.
    pub(super) fn settings(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let dir = self.event_log_dir.as_deref();
        dir.into_iter().flat_map(|dir| [(ENABLED, "true"), ("spark.eventLog.dir", dir)])
    }

    /// Makes the directory where it is one of this machine: without it a driver would not start.
    pub(super) fn make_dir(&self) -> io::Result<()> {
        let Some(dir) = self.event_log_dir.as_deref().and_then(local) else { return Ok(()) };
        let told = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", dir.display()));
        std::fs::create_dir_all(&dir).map_err(told)
    }
}

/// The path of a directory on this machine; None for one elsewhere.
fn local(dir: &str) -> Option<PathBuf> {
    let path = dir.strip_prefix("file:").map_or(dir, |path| path.strip_prefix("//").unwrap_or(path));
    path.starts_with('/').then(|| PathBuf::from(path))
}

/// Addresses of an ended attempt.
pub(super) fn links(settings: &Settings, spec: &JobSpec, application: Option<&str>) -> Links {
    let set = |conf: &BTreeMap<String, String>| conf.get(ENABLED).map(|value| value.trim() == "true");
    let kept = set(&spec.spark_config).or_else(|| set(&settings.default_conf)).unwrap_or(true);
    let server = settings.history.server_url.as_deref().filter(|_| kept);
    let history = server.zip(application).map(|(server, id)| format!("{server}/history/{id}/"));
    Links { history, ..Links::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_directories_of_this_machine_are_made() {
        let path = |dir| local(dir).map(|path| path.display().to_string());
        assert_eq!(path("/var/events").as_deref(), Some("/var/events"));
        assert_eq!(path("file:/var/events").as_deref(), Some("/var/events"));
        assert_eq!(path("file:///var/events").as_deref(), Some("/var/events"));
        assert_eq!((path("s3a://bucket/events"), path("hdfs:/events")), (None, None));
    }
}
