//! Rolling up what observed jobs use (contract H2): the leader does it, a little at a time.

use std::sync::Arc;
use std::time::Duration;

use libra_store::StoreError;
use libra_store::tables::hpc::rollups;
use tokio::time::sleep;

use super::Shutdown;
use crate::service::Service;
use crate::service::standing::leader_fence;

/// It looks this often for what is due.
const PERIOD: Duration = Duration::from_mins(1);
/// Between two batches everybody else has the store to themselves.
const PAUSE: Duration = Duration::from_millis(50);

pub(super) async fn run(service: Arc<Service>, mut shutdown: Shutdown) {
    loop {
        tokio::select! {
            () = shutdown.wait() => return,
            () = sleep(PERIOD) => {}
        }
        tokio::select! {
            () = shutdown.wait() => return,
            rolled = roll(&service) => {
                if let Err(error) = rolled {
                    tracing::warn!(%error, "samples could not be rolled up; trying again");
                }
            }
        }
    }
}

async fn roll(service: &Service) -> Result<(), StoreError> {
    while let Some(epoch) = service.leader_epoch() {
        let (fence, now) = (leader_fence(epoch), service.clock.now());
        let rolled = service.db.write(move |tx| rollups::roll(tx, &fence, now)).await?;
        if rolled.is_none_or(|series| series < rollups::MOST_AT_ONCE as usize) {
            break;
        }
        sleep(PAUSE).await;
    }
    Ok(())
}
