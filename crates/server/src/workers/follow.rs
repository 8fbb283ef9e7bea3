//! Following the leader's turns on the other replicas, so that they can say at once why a job waits, and when it will start.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::Shutdown;
use crate::service::Service;

/// How often the log is looked at.
const PERIOD: Duration = Duration::from_secs(1);

pub(super) async fn run(service: Arc<Service>, mut shutdown: Shutdown) {
    loop {
        tokio::select! {
            () = shutdown.wait() => return,
            () = sleep(PERIOD) => {}
        }
        // The leader looks by itself.
        if service.leader_epoch().is_none()
            && let Err(e) = service.follow_turns().await
        {
            tracing::debug!(error = %e, "the leader's turns could not be followed; trying again");
        }
    }
}
