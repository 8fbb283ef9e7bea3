//! Observed jobs and what they used (contract H2, Q3).

use std::time::Duration;

use libra_store::StoreError;
use libra_store::tables::hpc::figures;
use libra_store::tables::hpc::retention::{MOST_AT_ONCE, forget_jobs, forget_samples};
use tokio::time::sleep;

use super::PAUSE;
use crate::config::Retention;
use crate::service::Service;
use crate::service::expiry::before;
use crate::service::standing::leader_fence;

/// What a node used is forgotten when its agent was silent for this long.
const NODES_KEPT: Duration = Duration::from_hours(24);

/// Samples beyond their age, and ended jobs beyond theirs with all that belongs to them.
pub(super) async fn forget(service: &Service) -> Result<(), StoreError> {
    let Retention { jobs, samples, .. } = service.config.retention;
    for (kept, of_jobs) in [(samples, false), (jobs, true)] {
        let Some(kept) = kept else { continue };
        let mut forgotten = 0;
        while let Some(epoch) = service.leader_epoch() {
            let fence = leader_fence(epoch);
            let some = service.db.write(move |tx| {
                let cut = before(tx.now()?, kept);
                if of_jobs { forget_jobs(tx, &fence, cut) } else { forget_samples(tx, &fence, cut) }
            });
            let some = some.await?.unwrap_or(0);
            forgotten += some;
            if some < MOST_AT_ONCE as usize {
                break;
            }
            sleep(PAUSE).await;
        }
        if forgotten > 0 {
            tracing::info!(forgotten, of_jobs, "observed jobs, or samples of them, are forgotten");
        }
    }
    if service.leader_epoch().is_some() {
        let cut = before(service.clock.now(), NODES_KEPT);
        service.db.write(move |tx| figures::forget_nodes(tx, cut)).await?;
    }
    Ok(())
}
