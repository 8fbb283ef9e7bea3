//! Taking scheduled attempts from Redis: each entry goes to one replica of its host (contract Q2). The store stays
//! the truth: what Redis loses, the sweep finds.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::{Shutdown, Supervisor};
use crate::service::HandOff;

/// Entries taken at once.
const AT_ONCE: usize = 64;
/// How long to wait for one.
const WAIT: Duration = Duration::from_secs(5);
/// After a failure of Redis.
const TRY_AGAIN: Duration = Duration::from_secs(1);

pub(super) async fn run(redis: Arc<dyn HandOff>, supervisor: Arc<Supervisor>, mut shutdown: Shutdown) {
    let (place, consumer) = supervisor.address();
    let mut silent = false;
    loop {
        let taken = tokio::select! {
            biased;
            () = shutdown.wait() => return,
            taken = redis.take(&place, &consumer, AT_ONCE, WAIT) => taken,
        };
        let taken = match taken {
            Ok(taken) => {
                silent = false;
                taken
            }
            Err(e) => {
                // Once, not every second: jobs go on without it.
                if !std::mem::replace(&mut silent, true) {
                    tracing::warn!(error = %e, "Redis does not hand attempts on; they are swept from the store meanwhile");
                }
                tokio::select! {
                    biased;
                    () = shutdown.wait() => return,
                    () = sleep(TRY_AGAIN) => continue,
                }
            }
        };
        for entry in &taken {
            // Settled by the claim's outcome, not by the job's end; a failed store leaves it for another replica.
            match supervisor.claim(entry.entry.job_id, entry.entry.attempt).await {
                Ok(_) => {
                    if let Err(e) = redis.settle(std::slice::from_ref(entry)).await {
                        tracing::debug!(error = %e, "an entry could not be settled; it comes again and is nobody's then");
                    }
                }
                Err(e) => tracing::warn!(error = %e, "an attempt could not be claimed; another replica may"),
            }
        }
    }
}
