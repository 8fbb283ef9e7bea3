//! Reading deployments: one, all, their generations and events.

use libra_api::deployments::{
    DeploymentEventListView, DeploymentListView, DeploymentView, GenerationListView,
};
use libra_core::deployment::reconcile::Phase;
use libra_store::tables::deployment_history as history;
use libra_store::tables::deployments::{self, Deployment};

use super::view;
use crate::auth::{Principal, may_see};
use crate::service::{Service, ServiceError};

impl Service {
    /// All deployments of the tenant that `principal` may see, by name.
    pub(crate) async fn deployments(
        &self,
        principal: &Principal,
    ) -> Result<DeploymentListView, ServiceError> {
        let tenant = principal.tenant.clone();
        let found = self.db.read(move |tx| deployments::list(tx, &tenant)).await?;
        let seen = found.into_iter().filter(|d| may_see(principal, &d.user, &d.name.tenant));
        Ok(DeploymentListView { deployments: seen.map(|d| view::deployment(&d, &self.flink)).collect() })
    }

    /// One deployment with its newest specification.
    pub(crate) async fn deployment_view(
        &self,
        principal: &Principal,
        id: &str,
    ) -> Result<DeploymentView, ServiceError> {
        let found = self.deployment(principal, id).await?;
        self.deployment_view_of(found).await
    }

    /// The same of one that was found.
    pub(super) async fn deployment_view_of(&self, found: Deployment) -> Result<DeploymentView, ServiceError> {
        let (name, newest) = (found.name.clone(), found.wish.generation);
        let stored = self.db.read(move |tx| history::generation(tx, &name, newest)).await?;
        let spec = stored.and_then(|stored| serde_json::from_str(&stored.spec).ok());
        let waits_for = match found.log.turn.filter(|_| found.log.phase == Phase::Waiting) {
            Some(turn) => self.what_it_waits_for(turn.job).await?,
            None => None,
        };
        Ok(DeploymentView { spec, waits_for, ..view::deployment(&found, &self.flink) })
    }

    /// Its generations, newest first.
    pub(crate) async fn deployment_generations(
        &self,
        principal: &Principal,
        id: &str,
    ) -> Result<GenerationListView, ServiceError> {
        let found = self.deployment(principal, id).await?;
        let name = found.name.clone();
        let stored = self
            .db
            .read(move |tx| Ok((history::generations(tx, &name)?, history::records(tx, &name)?)))
            .await?;
        let stored = stored.0.into_iter().zip(stored.1);
        let generations = stored.map(|(stored, record)| view::generation(&found, stored, record)).collect();
        Ok(GenerationListView { generations })
    }

    /// Its events after number `after`, oldest first.
    pub(crate) async fn deployment_events(
        &self,
        principal: &Principal,
        id: &str,
        after: u64,
        limit: u32,
    ) -> Result<DeploymentEventListView, ServiceError> {
        let name = self.deployment(principal, id).await?.name;
        let more = limit.saturating_add(1);
        let mut events = self.db.read(move |tx| history::events(tx, &name, after, more)).await?;
        let whole = events.len() <= limit as usize;
        events.truncate(limit as usize);
        let next_after = if whole { None } else { events.last().map(|event| event.seq) };
        Ok(DeploymentEventListView { events: events.into_iter().map(view::event).collect(), next_after })
    }
}
