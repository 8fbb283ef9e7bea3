//! Making it so that every deployment is as it is wanted: the reconciler's hands (contract F2). The leader does it alone,
//! one keeper for each cluster, so that a cluster that hangs keeps the others from nothing.
//!
//! A pass over one deployment looks, decides (core), stores, and then does what was decided: nothing is asked of Flink
//! that is not in the row before. A leader that was replaced can store nothing more; what it still asks for carries ids
//! of the row, which its successor knows.

mod alerts;
mod attend;
mod disk;
mod effects;
mod keeper;
mod known;
mod queue;
mod requests;
mod stored;
mod times;
mod turns;

use std::sync::Arc;

use tokio::task::JoinSet;

use super::Shutdown;
use crate::service::Service;
use keeper::Keeper;

pub(super) async fn run(service: Arc<Service>, mut shutdown: Shutdown) {
    if service.flink.is_empty() {
        // No worker ends before it is told to.
        shutdown.wait().await;
        return;
    }
    while !shutdown.is_now() {
        let epoch = tokio::select! {
            () = shutdown.wait() => return,
            epoch = service.standing.leads() => epoch,
        };
        let mut keepers = JoinSet::new();
        for cluster in service.flink.iter() {
            let keeper = Keeper::new(Arc::clone(&service), Arc::clone(cluster), epoch);
            keepers.spawn(keeper.keep(shutdown.clone()));
        }
        // Each ends when this replica leads no more.
        while keepers.join_next().await.is_some() {}
    }
}
