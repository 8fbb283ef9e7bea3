//! A deployment as it was read: kept from one look to the next, because most looks change nothing.
//!
//! Invariant: it is used only while the numbers in its row are the ones that it was read with, and every write names them.

use libra_core::deployment::declared::{ClusterFacts, Generation, desired};
use libra_core::deployment::reconcile::{Desired, Row};
use libra_store::StoreError;
use libra_store::tables::deployments::{self, Deployment, Head, Name};

use crate::service::{Service, generations_of};

/// What a look at a deployment begins with.
pub(super) struct Stored {
    pub(super) deployment: Deployment,
    pub(super) generations: Vec<Generation>,
    /// What of the cluster's own configuration counts.
    pub(super) facts: ClusterFacts,
    /// All of it as the reconciler is told.
    pub(super) told: Desired,
}

impl Stored {
    /// Reads it. None where it is gone, or can't be looked after.
    pub(super) async fn read(
        service: &Service,
        name: &Name,
        facts: ClusterFacts,
    ) -> Result<Option<Self>, StoreError> {
        let name = name.clone();
        let found = service
            .db
            .read(move |tx| {
                let Some(found) = deployments::get(tx, &name)? else { return Ok(None) };
                let generations = generations_of(tx, &found)?;
                Ok(Some((found, generations)))
            })
            .await?;
        let Some((deployment, generations)) = found else { return Ok(None) };
        let told = desired(&deployment.wish, deployment.agenda.end_run, &generations, &facts);
        if told.is_none() {
            tracing::error!(deployment = deployment.name.id, "its wanted generation is not stored");
        }
        Ok(told.map(|told| Self { deployment, generations, facts, told }))
    }

    /// The same with what the cluster says of itself now.
    pub(super) fn with(mut self, facts: ClusterFacts) -> Self {
        if self.facts != facts {
            let Deployment { wish, agenda, .. } = &self.deployment;
            if let Some(told) = desired(wish, agenda.end_run, &self.generations, &facts) {
                self.told = told;
            }
            self.facts = facts;
        }
        self
    }

    /// The numbers of its row.
    pub(super) fn head(&self) -> Head {
        let revision = i64::try_from(self.deployment.log.revision).unwrap_or(i64::MAX);
        Head { version: self.deployment.version, revision }
    }

    /// After a step; None when that needs to know of other generations.
    pub(super) fn stepped(mut self, row: Row) -> Option<Self> {
        let before = self.deployment.wish.generations(&self.deployment.log);
        self.deployment.log = row;
        let known = |number: &u64| before.contains(number);
        self.deployment.wish.generations(&self.deployment.log).iter().all(known).then_some(self)
    }
}
