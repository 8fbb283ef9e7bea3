//! How a deployment is at present, for a plan.

use std::time::Duration;

use libra_core::deployment::declared::{Declared, Generation, desired};
use libra_core::deployment::plan::{ClusterView, Live};
use libra_core::deployment::reconcile::{Mode, Observed, Row};
use libra_engines::flink::{Known, Look};
use libra_store::tables::deployments::Deployment;
use tokio::time::timeout;

use super::generations_of;
use crate::flink::FlinkCluster;
use crate::service::{Service, ServiceError};

/// A plan does not wait longer than this for a cluster.
const PATIENCE: Duration = Duration::from_secs(10);

impl Service {
    /// Asks the cluster how the deployment is; also what it says of itself where it answers.
    pub(super) async fn live(
        &self,
        cluster: &FlinkCluster,
        id: &str,
        deployment: Option<&Deployment>,
    ) -> Result<Live, ServiceError> {
        let none = Row::default();
        let row = deployment.map_or(&none, |deployment| &deployment.log);
        let mode = deployment.map_or(Mode::Running, |deployment| deployment.wish.mode);
        let generations = match deployment {
            Some(deployment) => {
                let deployment = deployment.clone();
                self.db.read(move |tx| generations_of(tx, &deployment)).await?
            }
            None => Vec::new(),
        };
        let asked = ask(cluster, id, row, deployment.map(|d| &d.wish), &generations);
        let (observed, view) =
            timeout(PATIENCE, asked).await.unwrap_or_else(|_| silent(cluster, "no answer in time"));
        Ok(Live::seen(id, mode, row, &observed, view, None))
    }
}

async fn ask(
    cluster: &FlinkCluster,
    id: &str,
    row: &Row,
    wish: Option<&Declared>,
    generations: &[Generation],
) -> (Observed, ClusterView) {
    let flink = &cluster.flink;
    let look = match Look::at(flink).await {
        Ok(look) => look,
        Err(e) => return silent(cluster, &e.to_string()),
    };
    cluster.learn(look.settings().clone());
    let (overview, features) = tokio::join!(flink.overview(), flink.features());
    let view = ClusterView {
        name: cluster.name.clone(),
        rescale: features.is_ok_and(|of| of.web_rescale),
        free_slots: overview.ok().and_then(|overview| u32::try_from(overview.slots_available).ok()),
    };
    let facts = cluster.facts().unwrap_or_default();
    let first = Declared::first();
    let told = desired(wish.unwrap_or(&first), None, generations, &facts);
    let observed = match told {
        Some(told) => look.of(flink, &told, row, Known::default()).await.observed,
        None => look.named(flink, id, row).await,
    };
    (observed, view)
}

fn silent(cluster: &FlinkCluster, why: &str) -> (Observed, ClusterView) {
    let view = ClusterView { name: cluster.name.clone(), rescale: false, free_slots: None };
    (Observed::Unreachable(why.to_owned()), view)
}
