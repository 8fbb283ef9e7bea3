//! Tokens and certificates for Flink clusters are read again when their files change (contract F7): they expire, and whoever
//! renews them restarts nothing.

use std::sync::Arc;
use std::time::Duration;

use libra_engines::flink::Access;
use tokio::time::sleep;

use super::Shutdown;
use crate::config::FlinkCluster;
use crate::flink::access;
use crate::service::Service;

/// How often the files are looked at.
const PERIOD: Duration = Duration::from_secs(2);

/// What the files of a cluster said when they were last looked at, or why they could not be read.
type Last = Result<Access, String>;

pub(super) async fn run(service: Arc<Service>, mut shutdown: Shutdown) {
    let clusters = service.config.flink.clusters.iter().filter(|cluster| has_files(cluster));
    let clusters: Vec<FlinkCluster> = clusters.cloned().collect();
    if clusters.is_empty() {
        // No worker ends before it is told to.
        shutdown.wait().await;
        return;
    }
    let mut last: Vec<Last> = Vec::with_capacity(clusters.len());
    for cluster in &clusters {
        last.push(read(cluster).await);
    }
    loop {
        tokio::select! {
            () = shutdown.wait() => return,
            () = sleep(PERIOD) => {}
        }
        for (cluster, last) in clusters.iter().zip(&mut last) {
            let now = read(cluster).await;
            look(&service, cluster, last, now);
        }
    }
}

/// Reads a cluster's files where it may wait for the disk.
async fn read(cluster: &FlinkCluster) -> Last {
    let cluster = cluster.clone();
    tokio::task::spawn_blocking(move || access(&cluster)).await.unwrap_or_else(|e| Err(e.to_string()))
}

fn has_files(cluster: &FlinkCluster) -> bool {
    cluster.token_file.is_some() || cluster.ca_file.is_some() || cluster.identity_file.is_some()
}

/// Two looks have to agree: somebody may be writing it just now.
fn look(service: &Service, cluster: &FlinkCluster, last: &mut Last, now: Last) {
    let settled = std::mem::replace(last, now.clone()) == now;
    let Some(client) = service.flink.named(Some(&cluster.name)) else { return };
    let wrong = match now {
        Ok(now) if settled => match client.show(now) {
            Ok(true) => {
                tracing::info!(cluster = cluster.name, "the cluster is shown the new token and certificates");
                None
            }
            Ok(false) => None,
            Err(why) => Some(why),
        },
        Ok(_) => None,
        // Told when it is new.
        Err(why) => (!settled).then_some(why),
    };
    if let Some(why) = wrong {
        tracing::warn!(
            cluster = cluster.name,
            why,
            "a token or certificate of the cluster can't be used; the one of before stays"
        );
    }
}
