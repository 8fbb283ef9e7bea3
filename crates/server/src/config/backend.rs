//! Which Spark Connect server runs the in-cluster jobs, and how it is looked after.

use std::path::PathBuf;
use std::time::Duration;

use libra_core::memory::{self, MIB};
use libra_engines::spark_connect::{Address, Backend, Care};

use super::ConfigError;
use super::build::Values;

const URL: &str = "libra.execution.modes.in-cluster.url";
/// The shortest time between two probes.
const SHORTEST_PROBE: Duration = Duration::from_millis(100);
/// Keys that mean something for an external server alone.
const EXTERNAL_ONLY: [&str; 4] = ["url", "token", "token-file", "ca-file"];

fn name(what: &str) -> String {
    format!("libra.execution.modes.in-cluster.{what}")
}

pub(super) fn backend(v: &Values) -> Result<Backend, ConfigError> {
    let kind = v.text(&name("backend")).unwrap_or_default();
    if kind != "external"
        && let Some(stray) = EXTERNAL_ONLY.into_iter().find(|what| v.text(&name(what)).is_some())
    {
        return Err(ConfigError::new(format!("{} has no effect with the backend `{kind}`", name(stray)))
            .hinting(format!("set {}: external", name("backend"))));
    }
    match kind.as_str() {
        "spark" => Ok(Backend::Spark),
        "sail" => Ok(Backend::Sail {
            program: v.text(&name("sail-program")).map(PathBuf::from),
            kill_after: v.duration(&name("kill-after"))?,
        }),
        "external" => Ok(Backend::External {
            address: Box::new(address(v)?),
            ca_file: v.text(&name("ca-file")).map(PathBuf::from),
            lost_after: v.duration(&name("lost-after"))?,
        }),
        other => Err(ConfigError::new(format!(
            "{} must be `spark`, `sail` or `external`, not `{other}`",
            name("backend")
        ))),
    }
}

fn address(v: &Values) -> Result<Address, ConfigError> {
    let url = v.text(URL).ok_or_else(|| {
        ConfigError::new(format!("{URL} is missing, and the backend is `external`"))
            .hinting(format!("{URL}: sc://HOST:PORT"))
    })?;
    // Messages name the key and never quote the value: it may hold a token.
    Address::parse(url.trim(), token(v)?).map_err(|e| ConfigError::new(format!("{URL} {e}")))
}

fn token(v: &Values) -> Result<Option<String>, ConfigError> {
    let text = v.text(&name("token"));
    let Some(file) = v.text(&name("token-file")) else { return Ok(text) };
    if text.is_some() {
        return Err(ConfigError::new(format!("{} and {} are both set", name("token"), name("token-file"))));
    }
    let token = std::fs::read_to_string(&file)
        .map_err(|e| ConfigError::new(format!("{}: {file} can't be read: {e}", name("token-file"))))?;
    match token.trim() {
        "" => Err(ConfigError::new(format!("{}: {file} is empty", name("token-file")))),
        token => Ok(Some(token.to_owned())),
    }
}

pub(super) fn care(v: &Values) -> Result<Care, ConfigError> {
    let jobs: u64 = v.number(&name("recycle-after-jobs"))?;
    Ok(Care {
        probe_every: v.duration(&name("probe-every"))?.max(SHORTEST_PROBE),
        recycle_at: v
            .parse(&name("recycle-at"), "an amount of memory such as `4g`", |t| memory::parse(t, MIB).ok())?,
        recycle_after_jobs: Some(jobs).filter(|jobs| *jobs > 0),
        recycle_wait: v.duration(&name("recycle-wait"))?,
        ..Care::default()
    })
}
