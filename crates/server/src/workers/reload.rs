//! Reading the configuration again when its file changes: shares, quotas and the length of the queue take effect at once.

use std::sync::Arc;
use std::time::Duration;

use libra_core::mode::Mode;
use tokio::time::sleep;

use super::Shutdown;
use crate::config::Config;
use crate::service::{Rules, Service};

/// How often the file is looked at.
const PERIOD: Duration = Duration::from_secs(2);

pub(super) async fn run(service: Arc<Service>, mut shutdown: Shutdown) {
    let source = service.config.source.clone();
    if source.file.is_none() {
        // No worker ends before it is told to; without a file nothing can change.
        shutdown.wait().await;
        return;
    }
    let mut texts = source.texts();
    let mut last = texts.clone();
    let mut told = Vec::new();
    loop {
        tokio::select! {
            () = shutdown.wait() => return,
            () = sleep(PERIOD) => {}
        }
        // Two looks have to agree: somebody may be writing it just now. An empty file is no wish for no rules.
        let now = source.texts();
        let settled = std::mem::replace(&mut last, now.clone()) == now;
        let main = now.first().and_then(Option::as_deref).unwrap_or_default();
        let empty = main.trim_ascii().is_empty();
        if !settled || empty || now == texts {
            continue;
        }
        texts = now;
        match Config::load(source.clone()) {
            Ok(new) => {
                if service.rebind(|now| service.config.rules_after(&new, now)) {
                    tracing::info!("the configuration has changed: other quotas and shares from now on");
                }
                let mut late = service.config.differs_for_good(&new);
                let places = |config: &Config| {
                    config.limits.modes.get(&Mode::InCluster).map(|q| q.max_concurrent_jobs)
                };
                if places(&new) > places(&service.config) {
                    late.push("libra.resources.quotas.in-cluster.max-concurrent-jobs".to_owned());
                }
                if !late.is_empty() && late != told {
                    tracing::warn!(keys = ?late, "these keys take effect at the next start");
                }
                told = late;
            }
            Err(e) => {
                tracing::warn!(error = %e, hint = e.hint(), "the configuration has changed and can't be used; the one of before stays");
            }
        }
    }
}

impl Config {
    /// What binds turns once this configuration was changed to `new` in a running Libra that is bound by `now`.
    fn rules_after(&self, new: &Self, now: &Rules) -> Rules {
        let mut rules = Rules::of(new);
        // Where clusters are takes effect at the next start.
        rules.clusters.clone_from(&now.clusters);
        rules.policy.clusters.clone_from(&now.policy.clusters);
        rules.policy.workers.clone_from(&now.policy.workers);
        let running = &self.limits;
        // What this host has was told to the other replicas, and how many places the shared server has to its engine.
        rules.limits.host_cores = running.host_cores;
        rules.limits.host_memory = running.host_memory;
        rules.limits.server_cores = running.server_cores;
        rules.limits.server_memory = running.server_memory;
        rules.limits.modes.retain(|mode, _| running.modes.contains_key(mode));
        for (mode, quota) in &running.modes {
            let new = rules.limits.modes.entry(*mode).or_insert(*quota);
            if *mode == Mode::InCluster {
                new.max_concurrent_jobs = new.max_concurrent_jobs.min(quota.max_concurrent_jobs);
            }
        }
        rules.rebind_modes();
        rules
    }
}
