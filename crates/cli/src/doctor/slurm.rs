//! Whether the configured Slurm clusters answer, and take jobs.

use libra_core::mode::Mode;
use libra_engines::slurm::{Error, Health};
use libra_server::config::{Config, SlurmCluster};

use super::report::Check;
use crate::age;

/// What the report calls them.
const NAME: &str = "slurm";

/// One for each cluster. Each is asked what Libra would ask of it; nothing is changed there.
pub(super) fn checks(config: &Config) -> Vec<Check> {
    if config.slurm.is_empty() {
        return Vec::new();
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return vec![Check::missing(NAME, format!("they can't be asked: {error}"))],
    };
    let now = age::now();
    let submits = config.enabled.contains(&Mode::Slurm);
    let ask = |cluster: &SlurmCluster| match libra_server::slurm_client(&cluster.way) {
        Ok(slurm) => said(cluster, submits, runtime.block_on(slurm.health(now))),
        Err(why) => Check::missing(NAME, format!("{}: {why}", cluster.name)),
    };
    config.slurm.iter().map(ask).collect()
}

fn said(cluster: &SlurmCluster, submits: bool, health: Result<Health, Error>) -> Check {
    let name = &cluster.name;
    let Health { door, jobs, takes_jobs, no_accounting } = match health {
        Ok(health) => health,
        Err(error) => return Check::missing(NAME, format!("{name}: {error}")).hint(error.hint()),
    };
    let sent = match (takes_jobs, submits) {
        (true, true) => "jobs are sent to it",
        (true, false) => "no jobs are sent to it",
        (false, _) => "it runs none",
    };
    let told = format!("{name}: {door}; {jobs} jobs can be read, {sent}");
    match no_accounting {
        None => Check::ok(NAME, format!("{told}; accounting answers")),
        Some(error @ Error::NoAccounting(_)) => {
            let why = "it keeps no accounting: what ends while Libra is away for longer than MinJobAge is not known";
            Check::warning(NAME, format!("{told}; {why}")).hint(error.hint())
        }
        Some(error) => {
            Check::warning(NAME, format!("{told}; accounting does not answer: {error}")).hint(error.hint())
        }
    }
}
