//! `libra agent`: its options.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use libra_core::deployment::spec::Millis;
use libra_core::memory;

/// The shortest interval: a look needs time between it and the one before.
const LEAST_INTERVAL: Millis = Millis::seconds(1);
/// The longest: a job would come and go unseen.
const MOST_INTERVAL: Millis = Millis::seconds(3_600);
/// The smallest spool, in bytes.
const LEAST_SPOOL: u64 = memory::MIB;

#[derive(Debug, Args)]
pub(crate) struct AgentArgs {
    /// Where Libra answers.
    #[arg(long, env = "LIBRA_URL", hide_env_values = true)]
    pub(crate) url: String,
    /// The cluster of this node, as Libra's configuration names it.
    #[arg(long, value_name = "NAME", env = "LIBRA_CLUSTER", hide_env_values = true)]
    pub(crate) cluster: String,
    /// This node, as its scheduler names it, and only jobs that are said to be for it; without it, the machine's name up
    /// to the first dot, and every job on the machine.
    #[arg(long, value_name = "NAME")]
    pub(crate) node: Option<String>,
    /// How often to look, from 1s to 1h.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = interval)]
    pub(crate) interval: Duration,
    /// The file with the key for Libra; it is read again for each batch.
    #[arg(long, value_name = "FILE", env = "LIBRA_TOKEN_FILE", hide_env_values = true)]
    pub(crate) token_file: Option<PathBuf>,
    /// Keep what was not sent yet in this directory; without it, up to 2 MiB in memory.
    #[arg(long, value_name = "DIR")]
    pub(crate) spool: Option<PathBuf>,
    /// How much to keep there; the oldest is dropped first.
    #[arg(long, value_name = "BYTES", default_value = "64m", value_parser = spool_bytes)]
    pub(crate) spool_max: u64,
    /// Show the agent's own figures under /metrics at this address, such as 127.0.0.1:9465; without it, nowhere.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) listen: Option<String>,
    /// Look twice, a second apart, print what was seen, send it, and end.
    #[arg(long, conflicts_with_all = ["spool", "listen"])]
    pub(crate) once: bool,
}

fn interval(text: &str) -> Result<Duration, String> {
    Millis::read(text)
        .filter(|time| (LEAST_INTERVAL..=MOST_INTERVAL).contains(time))
        .map(|time| Duration::from_millis(time.0))
        .ok_or_else(|| "must be a time from 1s to 1h, like 30s".to_owned())
}

fn spool_bytes(text: &str) -> Result<u64, String> {
    let bytes = memory::parse(text, 1).map_err(|e| e.to_string())?;
    if bytes < LEAST_SPOOL { Err("must be at least 1m".to_owned()) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_have_bounds() {
        assert_eq!(interval("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(interval("1h"), Ok(Duration::from_hours(1)));
        for text in ["", "0s", "999", "2h", "soon"] {
            assert!(interval(text).is_err(), "{text}");
        }
        assert_eq!(spool_bytes("64m"), Ok(64 << 20));
        for text in ["", "1k", "-1m", "1.5m"] {
            assert!(spool_bytes(text).is_err(), "{text}");
        }
    }
}
