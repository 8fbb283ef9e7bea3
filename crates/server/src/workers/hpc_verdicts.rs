//! Looking at running jobs for what they waste (contract H7): the leader does it.

use std::sync::Arc;

use tokio::time::sleep;

use super::Shutdown;
use crate::service::Service;

pub(super) async fn run(service: Arc<Service>, mut shutdown: Shutdown) {
    let interval = service.config.efficiency.interval;
    loop {
        tokio::select! {
            () = shutdown.wait() => return,
            () = sleep(interval) => {}
        }
        if service.leader_epoch().is_none() {
            continue;
        }
        tokio::select! {
            () = shutdown.wait() => return,
            judged = service.judge_hpc_jobs() => match judged {
                Ok(0) => {}
                Ok(_) => service.signals.logged.notify_one(),
                Err(error) => tracing::warn!(%error, "running jobs could not be looked at; trying again"),
            }
        }
    }
}
