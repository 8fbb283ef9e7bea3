//! Keeping the lease under which this process schedules and supervises.

use std::sync::Arc;
use std::time::Duration;

use libra_store::tables::leases;
use tokio::sync::watch;
use tokio::time::sleep;

use super::Shutdown;
use crate::service::Service;

/// The lease of the one that schedules.
pub(crate) const LEASE: &str = "leader";
/// It runs out after this many seconds without renewal.
pub(crate) const LEASE_SECONDS: i64 = 30;
/// It is renewed this often.
const RENEWAL: Duration = Duration::from_secs(10);

pub(super) async fn run(service: Arc<Service>, mut shutdown: Shutdown, lost: watch::Sender<bool>) {
    let epoch = service.fence.epoch;
    loop {
        tokio::select! {
            () = shutdown.wait() => break,
            () = sleep(RENEWAL) => {}
        }
        let host = service.host.clone();
        let taken = service.db.write(move |tx| leases::take(tx, LEASE, &host, LEASE_SECONDS, false)).await;
        match taken {
            Ok(Some(held)) if held == epoch => {}
            Ok(_) => {
                tracing::error!("another Libra has taken over this database: this one stops");
                // Nobody listening means that it stops already.
                let _ = lost.send(true);
                break;
            }
            Err(e) => tracing::warn!(error = %e, "the lease could not be renewed; trying again"),
        }
    }
    if let Err(e) = service.db.write(move |tx| leases::release(tx, LEASE, epoch)).await {
        tracing::warn!(error = %e, "the lease could not be released; it runs out by itself");
    }
}
