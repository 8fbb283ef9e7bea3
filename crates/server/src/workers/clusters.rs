//! Asking the masters of clusters what they have, so that no more is admitted there than there is room for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use libra_core::turn::Resources;
use libra_engines::spark_submit;
use tokio::time::sleep;

use super::Shutdown;
use crate::service::{Rules, Service};

/// How often they are asked.
const PERIOD: Duration = Duration::from_secs(5);

pub(super) async fn run(service: Arc<Service>, mut shutdown: Shutdown) {
    let clusters = &service.config.clusters;
    let asked: Vec<(&String, &String)> =
        clusters.iter().filter_map(|(name, cluster)| Some((name, cluster.web_url.as_ref()?))).collect();
    if asked.is_empty() {
        // No worker ends before it is told to.
        shutdown.wait().await;
        return;
    }
    let mut silent: BTreeMap<&String, String> = BTreeMap::new();
    loop {
        let answers =
            asked.iter().map(|(name, url)| async move { (*name, spark_submit::capacity(url).await) });
        let answers = tokio::select! {
            () = shutdown.wait() => return,
            answers = futures::future::join_all(answers) => answers,
        };
        let mut seen: BTreeMap<String, Resources> = service.rules().seen.clone();
        for (name, answer) in answers {
            match answer {
                Ok(there) => {
                    if silent.remove(name).is_some() {
                        tracing::info!(cluster = %name, "the cluster's master answers again");
                    }
                    seen.insert(name.clone(), there);
                }
                // What it said last counts on: a master that restarts has not lost its workers.
                Err(why) => {
                    if silent.insert(name, why.clone()).is_none() {
                        tracing::warn!(cluster = %name, why, "the cluster's master does not say what it has; is `web-url` right?");
                    }
                }
            }
        }
        service.rebind(|now| {
            let mut rules = Rules { seen, ..now.clone() };
            rules.rebind();
            rules
        });
        tokio::select! {
            () = shutdown.wait() => return,
            () = sleep(PERIOD) => {}
        }
    }
}
