//! Wishes beside specifications: back to an older generation, suspend, resume, a savepoint, away with it.

use libra_api::deployments::{DeploymentView, ResumeRequest, RollbackRequest};
use libra_api::problem::{Code, Violation};
use libra_core::artifact::Digest;
use libra_core::deployment::declared::{Declared, NotNow};
use libra_core::deployment::reconcile::{Mode, Run};
use libra_core::deployment::spec::JobType;
use libra_core::job::Job;
use libra_store::tables::deployment_history::{self as history, Happening};
use libra_store::tables::deployments::{self, Deployment, Name, Wished, Written};

use super::{generations_of, not_now};
use crate::auth::Principal;
use crate::service::{Service, ServiceError};

/// How often a wish is tried anew when somebody else's comes between.
const TRIES: usize = 5;
/// The longest path of a state, in bytes.
const MAX_PATH_BYTES: usize = 4_096;

impl Service {
    /// Back to an older generation: the one that is named, else the last before the wanted one that was stable.
    pub(crate) async fn roll_back_deployment(
        &self,
        principal: &Principal,
        id: &str,
        seen: Option<u64>,
        request: RollbackRequest,
    ) -> Result<DeploymentView, ServiceError> {
        self.wish(principal, (id, seen), "rollback", |found, wish| {
            let to = request.generation.or(found.stable_before).ok_or_else(|| {
                let message = format!(
                    "deployment {id} has no earlier generation that was stable; name one: `libra history {id}` lists them"
                );
                ServiceError::new(Code::NotApplicable, message)
            })?;
            wish.roll_back(to).map_err(|why| not_now(id, why))?;
            Ok(format!("back to generation {to}, asked by {}", principal.user))
        })
        .await
    }

    /// It shall not run; its state is kept.
    pub(crate) async fn suspend_deployment(
        &self,
        principal: &Principal,
        id: &str,
        seen: Option<u64>,
    ) -> Result<DeploymentView, ServiceError> {
        self.plain_wish(principal, (id, seen), "suspend", "suspended", Declared::suspend).await
    }

    /// It shall run again, with its own state or the one that is named.
    pub(crate) async fn resume_deployment(
        &self,
        principal: &Principal,
        id: &str,
        seen: Option<u64>,
        request: ResumeRequest,
    ) -> Result<DeploymentView, ServiceError> {
        if let Some(path) = &request.from
            && (path.trim().is_empty() || path.len() > MAX_PATH_BYTES || path.contains(char::is_control))
        {
            let reason =
                format!("must be the path of a savepoint or checkpoint, at most {MAX_PATH_BYTES} bytes");
            return Err(ServiceError::fields(vec![Violation::new("/from", reason)]));
        }
        self.wish(principal, (id, seen), "resume", |found, wish| {
            let lives = found.deployment.log.run.as_ref().is_some_and(Run::may_live);
            if request.from.is_some() && lives {
                let message =
                    format!("deployment {id} has a job; suspend it first, then resume from that state");
                return Err(ServiceError::new(Code::NotApplicable, message));
            }
            let from = request.from.clone();
            let with = from.as_ref().map_or_else(String::new, |path| format!(" from {path}"));
            wish.resume(from).map_err(|why| not_now(id, why))?;
            Ok(format!("resumed{with} by {}", principal.user))
        })
        .await
    }

    /// Whoever cancels the job of a stream's run wants that it does not run: its deployment is suspended, which keeps the
    /// state. Of a batch job it is the run alone that ends; the one who looks after it sees that from the job.
    pub(in crate::service) async fn want_no_run(
        &self,
        principal: &Principal,
        job: &Job,
    ) -> Result<(), ServiceError> {
        let name = Name { tenant: job.tenant.clone(), id: job.spec.name.clone().unwrap_or_default() };
        for _ in 0..TRIES {
            let of = name.clone();
            let found = self
                .db
                .read(move |tx| {
                    let Some(found) = deployments::get(tx, &of)? else { return Ok(None) };
                    let generations = generations_of(tx, &found)?;
                    Ok(Some((found, generations)))
                })
                .await?;
            let Some((deployment, generations)) = found else { return Ok(()) };
            let target = generations.iter().find(|of| of.number == deployment.wish.target());
            let stream = target.is_some_and(|target| target.normal.job_type == JobType::Stream);
            let present = deployment.log.turn.is_some_and(|turn| turn.job == job.id);
            let mut wish = deployment.wish.clone();
            // Also one that was to be suspended, and for which that was given up.
            let runs_on = deployment.log.refused.as_ref().is_some_and(|refused| refused.mode.is_some());
            let may = wish.mode == Mode::Running || wish.mode == Mode::Suspended && runs_on;
            if !stream || !present || !may || wish.suspend().is_err() {
                return Ok(());
            }
            let message = format!("suspended by {}, who has cancelled {}", principal.user, job.id);
            let wished = Wished {
                name: name.clone(),
                version: deployment.version,
                revision: Some(deployment.log.revision),
                wish,
                generation: None,
                what: Happening { kind: "suspend".to_owned(), message },
                at: self.clock.now(),
            };
            if self.db.write(move |tx| deployments::wish(tx, &wished)).await? == Written::Done {
                return Ok(());
            }
        }
        Err(super::stale(&name.id))
    }

    /// A savepoint, now.
    pub(crate) async fn savepoint_deployment(
        &self,
        principal: &Principal,
        id: &str,
        seen: Option<u64>,
    ) -> Result<DeploymentView, ServiceError> {
        self.plain_wish(principal, (id, seen), "savepoint", "a savepoint is asked for", Declared::savepoint)
            .await
    }

    /// It shall be gone; with a last savepoint or without.
    pub(crate) async fn delete_deployment(
        &self,
        principal: &Principal,
        id: &str,
        seen: Option<u64>,
        savepoint: bool,
    ) -> Result<DeploymentView, ServiceError> {
        self.wish(principal, (id, seen), "delete", |_, wish| {
            wish.delete(savepoint);
            let with = if savepoint { "with a last savepoint" } else { "without a savepoint" };
            Ok(format!("deleted by {}, {with}", principal.user))
        })
        .await
    }

    async fn plain_wish(
        &self,
        principal: &Principal,
        (id, seen): (&str, Option<u64>),
        kind: &str,
        words: &str,
        change: fn(&mut Declared) -> Result<(), NotNow>,
    ) -> Result<DeploymentView, ServiceError> {
        self.wish(principal, (id, seen), kind, |_, wish| {
            change(wish).map_err(|why| not_now(id, why))?;
            Ok(format!("{words} by {}", principal.user))
        })
        .await
    }

    /// Changes the wish of a deployment: that of the version that was seen, where the caller names one; else however
    /// often somebody else changes it meanwhile.
    async fn wish(
        &self,
        principal: &Principal,
        (id, seen): (&str, Option<u64>),
        kind: &str,
        change: impl Fn(&Found, &mut Declared) -> Result<String, ServiceError>,
    ) -> Result<DeploymentView, ServiceError> {
        for _ in 0..TRIES {
            let deployment = self.deployment(principal, id).await?;
            if seen.is_some_and(|seen| u64::try_from(deployment.version) != Ok(seen)) {
                return Err(super::stale(id));
            }
            let (name, target) = (deployment.name.clone(), deployment.wish.target());
            let stable_before = self.db.read(move |tx| history::stable_before(tx, &name, target)).await?;
            // Those of an older Libra were found stable without a note.
            let last = deployment.log.stable.as_ref().map(|stable| stable.generation);
            let stable_before = stable_before.max(last.filter(|of| *of < target));
            let found = Found { deployment, stable_before };
            let mut wish = found.deployment.wish.clone();
            let message = change(&found, &mut wish)?;
            let deployment = found.deployment;
            if wish.target() != deployment.wish.target() {
                self.may_come_back(&deployment.name, wish.target()).await?;
            }
            let wished = Wished {
                name: deployment.name.clone(),
                version: deployment.version,
                revision: None,
                wish,
                generation: None,
                what: Happening { kind: kind.to_owned(), message },
                at: self.clock.now(),
            };
            if self.db.write(move |tx| deployments::wish(tx, &wished)).await? == Written::Done {
                self.wake_deployments(&deployment.cluster, &deployment.name);
                let now = self.deployment(principal, id).await?;
                return self.deployment_view_of(now).await;
            }
        }
        Err(super::stale(id))
    }
}

impl Service {
    /// A generation is wanted again whose program is one that may be run by now: else the job that runs would be stopped
    /// for nothing.
    async fn may_come_back(&self, name: &Name, generation: u64) -> Result<(), ServiceError> {
        let of = name.clone();
        let stored = self.db.read(move |tx| history::generation(tx, &of, generation)).await?;
        let Some(digest) = stored.and_then(|stored| Digest::of_hex(&stored.digest)) else { return Ok(()) };
        self.checked_program(name, generation, &digest).await.map(drop).map_err(|unfit| {
            let message = format!(
                "generation {generation} can't come back: its program is not given to Flink, because {unfit}; apply a \
                 specification instead"
            );
            ServiceError::new(Code::NotApplicable, message)
        })
    }
}

/// What a wish is a change of.
struct Found {
    deployment: Deployment,
    /// The last generation before the wanted one that was stable.
    stable_before: Option<u64>,
}
