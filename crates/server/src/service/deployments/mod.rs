//! Deployments: what is wanted of Flink jobs, planned, stored and shown (contract F1–F3). The worker of the same name
//! makes it so.

mod apply;
mod follow;
mod history;
mod look;
mod object;
mod program;
mod runner;
mod signature;
mod text;
mod view;
mod wishes;

use libra_api::problem::{Code, Violation};
use libra_core::artifact::Digest;
use libra_core::deployment::declared::{Generation, NotNow};
use libra_core::deployment::normal::Normal;
use libra_core::deployment::spec::DeploymentSpec;
use libra_core::job::Job;
use libra_store::StoreError;
use libra_store::tables::deployment_history as history_rows;
use libra_store::tables::deployments::{self, Deployment, Name};
use libra_store::tx::Tx;

pub(crate) use apply::Precondition;
pub(crate) use follow::{FollowedProgram, file_in, followed_program};
pub(crate) use signature::Unfit;
pub(crate) use text::SpecText;

use super::{Service, ServiceError};
use crate::auth::{Principal, may_see};

impl Service {
    /// A deployment of the principal's tenant that it may see.
    pub(super) async fn deployment(
        &self,
        principal: &Principal,
        id: &str,
    ) -> Result<Deployment, ServiceError> {
        // Also for an admin: a name means one thing, whatever other tenants have.
        let own = Name { tenant: principal.tenant.clone(), id: id.to_owned() };
        let found = self.db.read(move |tx| deployments::get(tx, &own)).await?;
        found.filter(|found| may_see(principal, &found.user, &found.name.tenant)).ok_or_else(|| not_found(id))
    }

    /// Has the deployment of a job looked at, if it is looked after in this process.
    pub(crate) fn tell_deployment_of(&self, job: &Job) {
        if let (Some(cluster), Some(id)) = (&job.spec.cluster, job.spec.name.clone()) {
            self.wake_deployments(cluster, &Name { tenant: job.tenant.clone(), id });
        }
    }

    /// Tells the one that looks after a cluster's deployments that this one has changed. In another process it sees that
    /// by itself, within a second.
    pub(super) fn wake_deployments(&self, cluster: &str, name: &Name) {
        let here = self.leader_epoch().is_some();
        if let Some(cluster) = self.flink.named(Some(cluster)).filter(|_| here) {
            cluster.wake.ring(name);
        }
    }
}

/// The generations that the reconciler needs, read again from what was applied.
pub(crate) fn generations_of(
    tx: &mut dyn Tx,
    deployment: &Deployment,
) -> Result<Vec<Generation>, StoreError> {
    let mut found = Vec::new();
    for number in deployment.wish.generations(&deployment.log) {
        if let Some(stored) = history_rows::generation(tx, &deployment.name, number)? {
            let (_, normal) = read_again(&stored)?;
            found.push(Generation { number, normal, digest: stored.digest });
        }
    }
    Ok(found)
}

/// A stored specification and its normal form.
fn read_again(stored: &history_rows::StoredGeneration) -> Result<(DeploymentSpec, Normal), StoreError> {
    let spec: DeploymentSpec =
        serde_json::from_str(&stored.spec).map_err(|e| StoreError::unreadable("specification", e))?;
    let normal = Normal::of(&spec, Digest::of_hex(&stored.digest).as_ref());
    Ok((spec, normal))
}

fn not_found(id: &str) -> ServiceError {
    let shown: String = id.chars().take(128).collect();
    ServiceError::new(Code::DeploymentNotFound, format!("there is no deployment {shown}"))
}

fn stale(id: &str) -> ServiceError {
    let message = format!("deployment {id} was changed meanwhile; look at it again, then ask anew");
    ServiceError::new(Code::StaleVersion, message)
}

fn not_now(id: &str, why: NotNow) -> ServiceError {
    match why {
        NotNow::Leaving => ServiceError::new(Code::BeingDeleted, format!("deployment {id} is being deleted")),
        NotNow::NoSuchGeneration => ServiceError::fields(vec![Violation::new(
            "/generation",
            "must be one of the deployment's generations; GET …/generations lists them",
        )]),
    }
}
