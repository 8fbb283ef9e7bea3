//! What deployments leave behind: programs that no stored generation and no named version needs, and events beyond a
//! number.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use libra_core::artifact::Digest;
use libra_store::StoreError;
use libra_store::tables::artifact_versions as versions;
use libra_store::tables::deployment_history as history;
use tokio::time::sleep;

use super::{ARTIFACTS_AT_ONCE, PAUSE};
use crate::service::Service;
use crate::service::standing::leader_fence;

/// A program that was held within this time may belong to an apply under way, which stores its generation afterwards.
const GRACE: Duration = Duration::from_hours(1);
/// Events that are kept of each deployment.
const EVENTS_KEPT: u32 = 1_000;
/// Deployments whose events are forgotten in one transaction.
const DEPLOYMENTS_AT_ONCE: u32 = 20;

/// The oldest events of each deployment that has more than are kept.
pub(super) async fn forget_events(service: &Service) -> Result<(), StoreError> {
    while let Some(epoch) = service.leader_epoch() {
        let fence = leader_fence(epoch);
        let forgotten = service
            .db
            .write(move |tx| history::forget_events(tx, &fence, EVENTS_KEPT, DEPLOYMENTS_AT_ONCE))
            .await?;
        if matches!(forgotten, None | Some(0)) {
            break;
        }
        sleep(PAUSE).await;
    }
    Ok(())
}

/// Programs that no stored generation and no named version needs: from then on they are uploads like any other. Every replica looks after its
/// own storage.
pub(super) async fn let_go(service: &Service) -> std::io::Result<()> {
    let artifacts = service.artifacts.clone();
    let mut old = tokio::task::spawn_blocking(move || artifacts.held_for(GRACE)).await??;
    if old.is_empty() {
        return Ok(());
    }
    // Read after the look: what is stored later was held later, too.
    let needed = service.db.read(|tx| {
        let mut all = history::digests(tx)?;
        all.extend(versions::digests(tx)?);
        Ok(all)
    });
    let needed = needed.await.map_err(std::io::Error::other)?;
    let needed: HashSet<PathBuf> = needed
        .iter()
        .filter_map(|(tenant, digest)| Some(service.artifacts.held_path(tenant, &Digest::of_hex(digest)?)))
        .collect();
    old.retain(|path| !needed.contains(path));
    let mut gone = 0;
    for batch in old.chunks(ARTIFACTS_AT_ONCE) {
        let (artifacts, batch) = (service.artifacts.clone(), batch.to_vec());
        gone += tokio::task::spawn_blocking(move || artifacts.let_go(&batch, GRACE)).await??;
        sleep(PAUSE).await;
    }
    if gone > 0 {
        tracing::info!(programs = gone, "programs that no deployment needs are let go of");
    }
    Ok(())
}
