//! Numbering the transition log, so that readers see it gapless and in order. The leader alone does it.

use std::sync::Arc;
use std::time::Duration;

use libra_store::signals::Signal;
use tokio::time::{sleep, timeout};

use super::Shutdown;
use crate::service::Service;
use crate::service::standing::leader_fence;

/// It looks this often even when it was not told anything.
const PERIOD: Duration = Duration::from_secs(1);
/// Rows are gathered for this long, so that numbering does not take part in every commit.
const GATHER: Duration = Duration::from_millis(100);

pub(super) async fn run(service: Arc<Service>, mut shutdown: Shutdown) {
    loop {
        let epoch = tokio::select! {
            biased;
            () = shutdown.wait() => return,
            epoch = service.standing.leads() => epoch,
        };
        let mut fed = false;
        loop {
            match service.db.number_feed(leader_fence(epoch)).await {
                Ok(0) => break,
                Ok(_) => fed = true,
                Err(e) => {
                    tracing::warn!(error = %e, "the log could not be numbered; trying again");
                    break;
                }
            }
        }
        if fed {
            service.signals.tell(Signal::Fed);
        }
        tokio::select! {
            biased;
            () = shutdown.wait() => return,
            _ = timeout(PERIOD, service.signals.logged.notified()) => sleep(GATHER).await,
        }
    }
}
