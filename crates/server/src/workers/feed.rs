//! Numbering the transition log, so that readers see it gapless and in order.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::Shutdown;
use crate::service::Service;

/// It looks this often even when it was not told anything.
const PERIOD: Duration = Duration::from_secs(1);
/// Rows are gathered for this long, so that numbering does not take part in every commit.
const GATHER: Duration = Duration::from_millis(100);

pub(super) async fn run(service: Arc<Service>, mut shutdown: Shutdown) {
    loop {
        tokio::select! {
            () = shutdown.wait() => return,
            _ = timeout(PERIOD, service.wake_feed.notified()) => sleep(GATHER).await,
        }
        loop {
            match service.db.number_feed(service.fence.clone()).await {
                Ok(0) => break,
                Ok(_) => {}
                Err(e) => {
                    tracing::warn!(error = %e, "the log could not be numbered; trying again");
                    break;
                }
            }
        }
    }
}
