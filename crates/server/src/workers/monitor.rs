//! Warning when resources are nearly full (contract R7).

use std::sync::Arc;

use libra_store::tables::jobs;
use tokio::time::sleep;

use super::Shutdown;
use crate::service::{Service, machine_of, usage_of};

pub(super) async fn run(service: Arc<Service>, mut shutdown: Shutdown) {
    let monitor = service.config.monitor;
    let limits = &service.config.limits;
    let mut warned = false;
    loop {
        tokio::select! {
            () = shutdown.wait() => return,
            () = sleep(monitor.interval) => {}
        }
        if !monitor.enabled {
            continue;
        }
        let holding = match service.db.read(jobs::holding).await {
            Ok(holding) => holding,
            Err(e) => {
                tracing::warn!(error = %e, "usage could not be read");
                continue;
            }
        };
        let usage = usage_of(&holding).on(machine_of(&service.standing.me.host));
        let cpu = percent(usage.cores, limits.cores_for_jobs());
        let memory = percent(usage.memory, limits.memory_for_jobs());
        let full = cpu > u64::from(monitor.cpu_percent) || memory > u64::from(monitor.memory_percent);
        if full && !warned {
            tracing::warn!(cpu_percent = cpu, memory_percent = memory, "resources are nearly full");
        }
        warned = full;
    }
}

fn percent(part: u64, whole: u64) -> u64 {
    if whole == 0 { 0 } else { u64::try_from(u128::from(part) * 100 / u128::from(whole)).unwrap_or(u64::MAX) }
}
