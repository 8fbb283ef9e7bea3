//! From when on observed jobs waste what they were given, and who is told (contract H7).

use std::time::Duration;

use libra_api::submit::webhook_address;
use libra_core::hpc::efficiency::Thresholds;

use super::ConfigError;
use super::build::Values;

/// Verdicts on what running jobs waste.
#[derive(Clone, Debug, PartialEq)]
pub struct EfficiencyRules {
    /// From when on something is a waste.
    pub thresholds: Thresholds,
    /// How often running jobs are looked at.
    pub interval: Duration,
    /// Who is told besides the feed.
    pub webhook: Option<String>,
}

/// One MiB, in bytes.
const MIB: u64 = 1 << 20;
/// The shortest time between two looks.
const LEAST_INTERVAL: Duration = Duration::from_secs(1);

pub(super) fn efficiency(v: &Values) -> Result<EfficiencyRules, ConfigError> {
    let name = |what: &str| format!("libra.slurm.efficiency.{what}");
    let amount = |what: &str, words: &str, least: f64, most: f64| {
        v.must(&name(what), words, |t| t.parse().ok().filter(|n| (least..=most).contains(n)))
    };
    let micros = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    let webhook = v.text(&name("webhook"));
    if let Some(reason) = webhook.as_deref().and_then(|text| webhook_address(text).err()) {
        return Err(ConfigError::new(format!("{} {reason}", name("webhook"))));
    }
    Ok(EfficiencyRules {
        thresholds: Thresholds {
            least_runtime: micros(v.duration(&name("least-runtime"))?),
            least_coverage: amount("least-coverage", "1 to 100", 1.0, 100.0)?,
            idle_gpu: amount("idle-gpu-percent", "0 to 100", 0.0, 100.0)?,
            memory_factor: amount("memory-factor", "1.1 to 1000", 1.1, 1_000.0)?,
            least_memory_mb: v.memory(&name("least-memory"))? / MIB,
            busy_cores: amount("busy-cores", "0.01 to 1000", 0.01, 1_000.0)?,
            least_cores: v.number(&name("least-cores"))?,
        },
        interval: v.duration(&name("interval"))?.max(LEAST_INTERVAL),
        webhook,
    })
}
