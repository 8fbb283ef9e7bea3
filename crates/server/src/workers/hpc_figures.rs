//! Reading the figures of observed jobs for `/metrics` (contract H5): every replica does, so that a scrape reads nothing.

use std::sync::Arc;
use std::time::Duration;

use libra_store::StoreError;
use tokio::time::sleep;

use super::Shutdown;
use crate::service::Service;

/// It reads this often.
const PERIOD: Duration = Duration::from_secs(10);
/// Jobs that have ended are counted at every so-manieth reading: that goes through all of them.
const COUNTED_EVERY: u32 = 12;

pub(super) async fn run(service: Arc<Service>, mut shutdown: Shutdown) {
    let mut states = None;
    let mut readings = 0_u32;
    loop {
        let refreshed = async {
            let counted = match states.clone().filter(|_| !readings.is_multiple_of(COUNTED_EVERY)) {
                Some(counted) => counted,
                None => service.count_hpc_jobs().await?,
            };
            service.refresh_hpc_figures(counted.clone()).await?;
            Ok::<_, StoreError>(counted)
        };
        tokio::select! {
            () = shutdown.wait() => return,
            refreshed = refreshed => match refreshed {
                Ok(counted) => states = Some(counted),
                Err(error) => tracing::warn!(%error, "the figures of observed jobs could not be read; trying again"),
            }
        }
        readings = readings.wrapping_add(1);
        tokio::select! {
            () = shutdown.wait() => return,
            () = sleep(PERIOD) => {}
        }
    }
}
