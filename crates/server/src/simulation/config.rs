//! The configuration of a replica in a run.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use libra_core::mode::Mode;

use super::plan::Plan;
use crate::config::{Config, Source};

/// How long a launch may take.
const LAUNCH_LIMIT: Duration = Duration::from_mins(1);

/// What the replicas on this host are told to be.
pub(super) fn of(plan: &Plan, host: usize) -> Config {
    let source = Source { data_dir: Some(PathBuf::from("/data")), ..Source::default() };
    let mut config = match Config::from(source, &BTreeMap::new()) {
        Ok(config) => config,
        Err(e) => panic!("the default configuration is refused: {e}"),
    };
    if let Some(host) = plan.hosts.get(host) {
        config.limits.host_cores = host.cores;
        config.limits.host_memory = host.memory;
    }
    config.limits.server_cores = 0;
    config.limits.server_memory = 0;
    config.limits.max_queued = plan.max_queued;
    if let Some(quota) = config.limits.modes.get_mut(&Mode::InCluster) {
        quota.max_concurrent_jobs = plan.slots;
    }
    config.enabled = vec![Mode::InCluster, Mode::SparkSubmit];
    config.launch_timeout = Some(LAUNCH_LIMIT);
    config.queue_wait = None;
    config.replica.lease = plan.lease;
    config.replica.host_lost_after = plan.host_lost_after;
    config.monitor.enabled = false;
    config
}
