//! Planning a specification, and applying it.

use libra_api::deployments::{AppliedView, PlanView};
use libra_api::problem::{Code, Violation};
use libra_core::artifact::Digest;
use libra_core::deployment::Violation as Unheeded;
use libra_core::deployment::agenda::Agenda;
use libra_core::deployment::declared::{Declared, NotNow};
use libra_core::deployment::normal::Normal;
use libra_core::deployment::plan::{Change, Kind, Needs, Plan, plan};
use libra_core::deployment::reconcile::{Mode, Row};
use libra_core::deployment::spec::{DeploymentSpec, JobType, UpgradeMode};
use libra_store::tables::deployment_history::{self as history, Happening, StoredGeneration};
use libra_store::tables::deployments::{self, Deployment, Name, Wished, Written};

use super::follow::file_of;
use super::program::Program;
use super::{SpecText, not_now, read_again, stale, view};
use crate::auth::{Principal, may_see};
use crate::flink::FlinkCluster;
use crate::service::{Service, ServiceError};
use crate::signatures::Policy;

/// What a change is conditional on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Precondition {
    /// Nothing: whatever is there is changed.
    None,
    /// The deployment is not there yet.
    Absent,
    /// It has this version.
    Version(u64),
}

/// A specification that was read, and what it would change.
struct Prepared {
    spec: DeploymentSpec,
    program: Program,
    cluster: String,
    /// What is there, where something is.
    before: Option<Deployment>,
    plan: Plan,
}

impl Service {
    /// Says what a specification would change. Nothing is stored.
    pub(crate) async fn plan_deployment(
        &self,
        principal: &Principal,
        text: SpecText<'_>,
    ) -> Result<PlanView, ServiceError> {
        let prepared = self.prepare(principal, text).await?;
        Ok(view::plan(&prepared.plan, prepared.before.as_ref()))
    }

    /// Stores a specification as what is wanted from now on; true when the deployment is new. One that changes nothing
    /// makes no generation.
    pub(crate) async fn apply_deployment(
        &self,
        principal: &Principal,
        text: SpecText<'_>,
        precondition: Precondition,
    ) -> Result<(AppliedView, bool), ServiceError> {
        let prepared = self.prepare(principal, text).await?;
        self.store_prepared(principal, prepared, precondition, None).await
    }

    /// The same for a program that was seen to be `digest`, and for nothing else; `why` is told, since nobody has asked
    /// for it.
    pub(super) async fn apply_seen(
        &self,
        principal: &Principal,
        text: SpecText<'_>,
        precondition: Precondition,
        digest: &Digest,
        why: &str,
    ) -> Result<(AppliedView, bool), ServiceError> {
        let prepared = self.prepare(principal, text).await?;
        if prepared.program.digest != *digest {
            let message = "the file is another one again; it counts once it stays as it is";
            return Err(ServiceError::new(Code::Unavailable, message));
        }
        self.store_prepared(principal, prepared, precondition, Some(why)).await
    }

    async fn store_prepared(
        &self,
        principal: &Principal,
        prepared: Prepared,
        precondition: Precondition,
        why: Option<&str>,
    ) -> Result<(AppliedView, bool), ServiceError> {
        let id = prepared.spec.job_id.clone();
        let seen = prepared.before.as_ref().map(|before| before.version);
        match (precondition, seen) {
            (Precondition::Absent, Some(_)) => return Err(stale(&id)),
            (Precondition::Version(wanted), seen)
                if seen.and_then(|v| u64::try_from(v).ok()) != Some(wanted) =>
            {
                return Err(stale(&id));
            }
            (Precondition::None | Precondition::Absent | Precondition::Version(_), _) => {}
        }
        let leaving = |wish: &Declared| matches!(wish.mode, Mode::Deleted { savepoint: _ });
        if prepared.before.as_ref().is_some_and(|before| leaving(&before.wish)) {
            return Err(not_now(&id, NotNow::Leaving));
        }
        if !self.alone && self.config.shared_dir.is_none() {
            let message =
                "replicas need `libra.shared-dir` for programs of deployments: any of them may lead";
            return Err(ServiceError::new(Code::Unsupported, message));
        }
        self.keep_program(&principal.tenant, &prepared.program).await?;
        let is_new = prepared.before.is_none();
        match &prepared.before {
            None => self.create_deployment(principal, &prepared).await?,
            Some(before) if changes(&prepared.plan, before) => {
                self.change_deployment(principal, &prepared, before, why).await?;
            }
            Some(_) => {}
        }
        self.metrics.flink.applied(prepared.plan.kind);
        let now = self.deployment(principal, &id).await?;
        self.wake_deployments(&prepared.cluster, &now.name);
        let deployment = self.deployment_view_of(now).await?;
        Ok((AppliedView { plan: view::plan(&prepared.plan, prepared.before.as_ref()), deployment }, is_new))
    }

    async fn prepare(&self, principal: &Principal, text: SpecText<'_>) -> Result<Prepared, ServiceError> {
        let spec = text.read()?;
        let webhook = spec.monitoring.as_ref().and_then(|monitoring| monitoring.webhook.as_deref());
        self.check_webhook("/monitoring/webhook", webhook)?;
        let cluster = self.cluster_of(&spec)?;
        let name = Name { tenant: principal.tenant.clone(), id: spec.job_id.clone() };
        let before = self.db.read(move |tx| deployments::get(tx, &name)).await?;
        if let Some(before) = &before {
            if !may_see(principal, &before.user, &before.name.tenant) {
                let message =
                    format!("deployment {} belongs to somebody else; choose another job_id", spec.job_id);
                return Err(ServiceError::new(Code::Forbidden, message));
            }
            if before.cluster != cluster.name {
                let reason = format!(
                    "can't change: the deployment is on `{}`; delete it there, or give this one another job_id",
                    before.cluster
                );
                return Err(ServiceError::fields(vec![Violation::new("/cluster", reason)]));
            }
        }
        let program = self.find_program(principal, &spec).await?;
        let normal = Normal::of(&spec, Some(&program.digest));
        let needed = normal.deployment.parallelism;
        if let Some((limit, most)) = self.rules().too_many_slots(&cluster.name, needed) {
            let message = format!(
                "this job can never run here: it needs {needed} task slots; runs on the cluster `{}` may hold {most} ({limit})",
                cluster.name
            );
            return Err(ServiceError::new(Code::NeverFits, message));
        }
        let live = self.live(cluster, &spec.job_id, before.as_ref()).await?;
        savepoints_have_a_place(&normal, cluster)?;
        let stored = match &before {
            None => None,
            Some(before) => {
                let (name, target) = (before.name.clone(), before.wish.target());
                self.db.read(move |tx| history::generation(tx, &name, target)).await?
            }
        };
        let old = stored.as_ref().map(read_again).transpose()?.map(|(_, normal)| normal);
        let mut warnings = spec.warnings();
        if spec.signature.is_some() && self.config.flink.signatures == Policy::Off {
            let reason = "is not verified: libra.flink.artifacts.signatures is `off`";
            warnings.push(Unheeded::new("/signature", reason));
        }
        let mut plan = plan(old.as_ref(), &normal, &live).with_warnings_of(&warnings);
        plan.warnings.extend(about_the_file(&spec, &plan));
        plan.changes.extend(stored.and_then(|stored| new_signature(&plan, stored, &program)));
        Ok(Prepared { cluster: cluster.name.clone(), spec, program, before, plan })
    }

    fn cluster_of(&self, spec: &DeploymentSpec) -> Result<&FlinkCluster, ServiceError> {
        if self.flink.is_empty() {
            let message = "no Flink cluster is configured: set `libra.flink.clusters`";
            return Err(ServiceError::new(Code::Unsupported, message));
        }
        self.flink.named(spec.cluster.as_deref()).map(AsRef::as_ref).ok_or_else(|| {
            let names: Vec<&str> = self.flink.iter().map(|cluster| cluster.name.as_str()).collect();
            let reason = format!("is no configured cluster; there are: {}", names.join(", "));
            ServiceError::fields(vec![Violation::new("/cluster", reason)])
        })
    }

    async fn create_deployment(&self, principal: &Principal, new: &Prepared) -> Result<(), ServiceError> {
        let at = self.clock.now();
        let deployment = Deployment {
            name: Name { tenant: principal.tenant.clone(), id: new.spec.job_id.clone() },
            user: principal.user.clone(),
            cluster: new.cluster.clone(),
            version: 1,
            wish: Declared::first(),
            log: Row::default(),
            agenda: Agenda::default(),
            created_at: at,
            updated_at: at,
        };
        let generation = self.generation(principal, new, 1)?;
        let what = applied(principal, 1, &new.plan, None);
        let written =
            self.db.write(move |tx| deployments::create(tx, &deployment, &generation, &what)).await?;
        match written {
            Written::Done => Ok(()),
            Written::Stale => {
                let own = Name { tenant: principal.tenant.clone(), id: new.spec.job_id.clone() };
                if self.db.read(move |tx| deployments::get(tx, &own)).await?.is_some() {
                    return Err(stale(&new.spec.job_id));
                }
                let reason = format!("is taken on the cluster `{}`; choose another one", new.cluster);
                Err(ServiceError::fields(vec![Violation::new("/job_id", reason)]))
            }
        }
    }

    async fn change_deployment(
        &self,
        principal: &Principal,
        new: &Prepared,
        before: &Deployment,
        why: Option<&str>,
    ) -> Result<(), ServiceError> {
        let mut wish = before.wish.clone();
        let number = wish.apply().map_err(|why| not_now(&new.spec.job_id, why))?;
        let wished = Wished {
            name: before.name.clone(),
            version: before.version,
            revision: None,
            wish,
            generation: Some(self.generation(principal, new, number)?),
            what: applied(principal, number, &new.plan, why),
            at: self.clock.now(),
        };
        match self.db.write(move |tx| deployments::wish(tx, &wished)).await? {
            Written::Done => Ok(()),
            Written::Stale => Err(stale(&new.spec.job_id)),
        }
    }

    fn generation(
        &self,
        principal: &Principal,
        new: &Prepared,
        number: u64,
    ) -> Result<StoredGeneration, ServiceError> {
        let spec = serde_json::to_string(&new.spec).map_err(|e| ServiceError {
            cause: Some(e.to_string()),
            ..ServiceError::new(Code::Internal, "the specification can't be stored")
        })?;
        Ok(StoredGeneration {
            generation: number,
            spec,
            digest: new.program.digest.hex().to_owned(),
            signature: new.program.signed.as_ref().map(|signed| signed.text.clone()),
            signed_by: new.program.signed.as_ref().map(|signed| signed.key_id.to_string()),
            applied_at: self.clock.now(),
            applied_by: principal.user.clone(),
        })
    }
}

/// True when a plan says that something is to be stored.
fn changes(plan: &Plan, before: &Deployment) -> bool {
    // Going back to the newest generation is a change of the wish, though its specification is the same.
    !plan.changes.is_empty() || before.wish.rollback_to.is_some()
}

fn applied(principal: &Principal, generation: u64, plan: &Plan, why: Option<&str>) -> Happening {
    let (kind, user) = (plan.kind.as_str(), &principal.user);
    let message = match why {
        None => format!("generation {generation} was applied by {user} ({kind})"),
        Some(why) => format!("generation {generation} was applied for {user} ({kind}): {why}"),
    };
    Happening { kind: "applied".to_owned(), message }
}

/// A signature that has come, or is another one, beside a specification that says the same: what is stored is what the
/// program is checked with before it runs.
fn new_signature(plan: &Plan, stored: StoredGeneration, program: &Program) -> Option<Change> {
    let pointer = "/signature";
    let signed = program.signed.as_ref()?;
    let told = plan.changes.iter().any(|change| change.pointer == pointer);
    let same = stored.signature.as_ref() == Some(&signed.text);
    (!told && !same && stored.digest == program.digest.hex()).then(|| Change {
        pointer: pointer.to_owned(),
        from: stored.signed_by.map(|key| format!("by {key}").into()),
        to: Some(format!("by {}", signed.key_id).into()),
        needs: Needs::Nothing,
    })
}

/// What happens when the file of a program changes, where that is new.
fn about_the_file(spec: &DeploymentSpec, plan: &Plan) -> Option<String> {
    let is_new = plan.kind == Kind::FirstDeploy
        || plan.changes.iter().any(|change| {
            ["/artifact_path", "/artifact_pinned", "/artifact_watch"].contains(&change.pointer.as_str())
        });
    let path = file_of(spec).filter(|_| is_new && spec.artifact_signature.is_none())?;
    Some(format!(
        "{path} is followed: when the file changes, it is deployed; `artifact_signature` pins its bytes, and \
         `artifact_watch: false` leaves it until the next apply"
    ))
}

/// A stream job that is upgraded by savepoints needs a place for them.
fn savepoints_have_a_place(normal: &Normal, cluster: &FlinkCluster) -> Result<(), ServiceError> {
    let needed = normal.job_type == JobType::Stream && normal.upgrade_mode == UpgradeMode::Savepoint;
    match cluster.facts() {
        Some(facts) if needed && facts.savepoints_of(normal).is_none() => {
            let reason = "is needed: neither the specification, nor the configuration, nor the cluster says where \
                          savepoints go";
            Err(ServiceError::fields(vec![Violation::new("/deployment/savepoint_path", reason)]))
        }
        Some(_) | None => Ok(()),
    }
}
