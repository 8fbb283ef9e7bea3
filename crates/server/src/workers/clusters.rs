//! Asking the masters of clusters what they have, so that no more is admitted there than there is room for.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use libra_core::turn::{Policy, Resources};
use libra_engines::spark_submit;
use tokio::time::sleep;

use super::Shutdown;
use crate::service::{Rules, Service};

/// The pause between two questions to one master.
const PERIOD: Duration = Duration::from_secs(5);

pub(super) async fn run(service: Arc<Service>, mut shutdown: Shutdown) {
    let clusters = &service.config.clusters;
    let asked = clusters.iter().filter_map(|(name, cluster)| Some((name, cluster.web_url.as_ref()?)));
    let asking = async {
        // One that hangs keeps the others from nothing.
        join_all(asked.map(|(name, url)| ask(&service, name, url))).await;
        // Where nobody is asked: no worker ends before it is told to.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = shutdown.wait() => {}
        () = asking => {}
    }
}

/// Asks one master, for ever.
async fn ask(service: &Service, name: &str, url: &str) {
    let mut silent = false;
    loop {
        match spark_submit::capacity(url).await {
            Ok(there) => {
                if silent {
                    tracing::info!(cluster = name, "the cluster's master answers again");
                }
                silent = false;
                service.rebind(|now| with_workers(now, name, there));
            }
            // What it said last counts on: a master that restarts has not lost its workers.
            Err(why) => {
                if !silent {
                    tracing::warn!(cluster = name, url, why, "the cluster's master does not say what it has");
                }
                silent = true;
            }
        }
        sleep(PERIOD).await;
    }
}

fn with_workers(now: &Rules, name: &str, there: Resources) -> Rules {
    let mut workers = now.policy.workers.clone();
    workers.insert(name.to_owned(), there);
    Rules { policy: Policy { workers, ..now.policy.clone() }, ..now.clone() }
}
