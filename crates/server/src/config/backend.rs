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
/// Keys that mean something for one backend alone.
const FOR_ONE_ALONE: [(&str, &str); 5] = [
    ("url", "external"),
    ("token", "external"),
    ("token-file", "external"),
    ("ca-file", "external"),
    ("sail-program", "sail"),
];

fn name(what: &str) -> String {
    format!("libra.execution.modes.in-cluster.{what}")
}

pub(super) fn backend(v: &Values) -> Result<Backend, ConfigError> {
    let kind = v.text(&name("backend")).unwrap_or_default();
    if !["spark", "sail", "external"].contains(&kind.as_str()) {
        return Err(ConfigError::new(format!(
            "{} must be `spark`, `sail` or `external`, not `{kind}`",
            name("backend")
        )));
    }
    let stray = |(what, whose): &(&str, &str)| kind != *whose && v.text(&name(what)).is_some();
    if let Some((what, whose)) = FOR_ONE_ALONE.iter().find(|key| stray(key)) {
        return Err(ConfigError::new(format!("{} has no effect with the backend `{kind}`", name(what)))
            .hinting(format!("set {}: {whose}", name("backend"))));
    }
    match kind.as_str() {
        "sail" => Ok(Backend::Sail {
            program: v.text(&name("sail-program")).map(PathBuf::from),
            kill_after: v.duration(&name("kill-after"))?,
        }),
        "external" => external(v),
        _ => Ok(Backend::Spark),
    }
}

fn external(v: &Values) -> Result<Backend, ConfigError> {
    let address = Box::new(address(v)?);
    let ca_file = v.text(&name("ca-file")).map(PathBuf::from);
    if ca_file.is_some() && !address.tls {
        return Err(ConfigError::new(format!("{} has no effect without TLS", name("ca-file")))
            .hinting(format!("add `use_ssl=true` to {URL}")));
    }
    let lost_after = v.duration(&name("lost-after"))?;
    let care = care(v)?;
    let unheard = care.probe_every.saturating_mul(care.probe_misses);
    if lost_after <= unheard {
        // Otherwise a server that was not asked yet would count as lost.
        return Err(ConfigError::new(format!(
            "{} must be longer than {} probes take, which is {} seconds",
            name("lost-after"),
            care.probe_misses,
            unheard.as_secs_f64()
        ))
        .hinting(format!("lower {}, or raise it", name("probe-every"))));
    }
    Ok(Backend::External { address, ca_file, lost_after })
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
    let probe_every = v.duration(&name("probe-every"))?;
    if probe_every < SHORTEST_PROBE {
        let shortest = SHORTEST_PROBE.as_millis();
        return Err(ConfigError::new(format!("{} must be at least {shortest}ms", name("probe-every"))));
    }
    let jobs: u64 = v.number(&name("recycle-after-jobs"))?;
    Ok(Care {
        probe_every,
        recycle_at: v
            .parse(&name("recycle-at"), "an amount of memory such as `4g`", |t| memory::parse(t, MIB).ok())?,
        recycle_after_jobs: Some(jobs).filter(|jobs| *jobs > 0),
        recycle_wait: v.duration(&name("recycle-wait"))?,
        ..Care::default()
    })
}
