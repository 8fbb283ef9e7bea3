//! What jobs of clusters that are made up use, told as agents would (contract H3, H4): the leader does it. What their
//! scheduler says is read like that of all others.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::Shutdown;
use crate::service::Service;
use crate::slurm::SlurmCluster;

pub(super) async fn run(service: Arc<Service>, mut shutdown: Shutdown) {
    let mut clusters = JoinSet::new();
    for cluster in service.slurm.iter().filter(|cluster| cluster.slurm.made_up().is_some()) {
        clusters.spawn(tell(Arc::clone(&service), Arc::clone(cluster), shutdown.clone()));
    }
    shutdown.wait().await;
    clusters.join_all().await;
}

async fn tell(service: Arc<Service>, cluster: Arc<SlurmCluster>, mut shutdown: Shutdown) {
    let pause = Duration::from_secs(u64::from(cluster.interval_seconds));
    loop {
        tokio::select! {
            () = shutdown.wait() => return,
            () = sleep(pause) => {}
        }
        if service.leader_epoch().is_none() {
            continue;
        }
        tokio::select! {
            () = shutdown.wait() => return,
            told = service.record_made_up_samples(&cluster) => if let Err(error) = told {
                tracing::warn!(
                    error = error.message,
                    cluster = cluster.name,
                    "samples that are made up could not be stored; trying again"
                );
            }
        }
    }
}
