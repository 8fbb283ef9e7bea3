//! A program that has changed in its place is applied like a specification that somebody has sent (contract F6).

use std::path::{Path, PathBuf};

use libra_core::artifact::Digest;
use libra_core::deployment::reconcile::Mode;
use libra_core::deployment::spec::{ArtifactPath, DeploymentSpec};
use libra_store::StoreError;
use libra_store::tables::deployment_history as history;
use libra_store::tables::deployments::{self, Name};
use libra_store::tx::Tx;

use super::{Precondition, SpecText};
use crate::auth::{Principal, Role};
use crate::service::{Service, ServiceError};

/// The file of a deployment's newest generation, where changes of it are to be followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FollowedProgram {
    /// As it is written in the specification.
    pub(crate) path: String,
    /// What was applied; None where Flink is given something else than this file.
    pub(crate) digest: Option<Digest>,
    /// The generation.
    pub(crate) generation: u64,
    spec: String,
    applied_by: String,
}

/// The version of a deployment, and the file that is followed for it, if any; None when there is no such deployment.
pub(crate) fn followed_program(
    tx: &mut dyn Tx,
    name: &Name,
) -> Result<Option<(i64, Option<FollowedProgram>)>, StoreError> {
    let Some(found) = deployments::get(tx, name)? else { return Ok(None) };
    let leaving = matches!(found.wish.mode, Mode::Deleted { savepoint: _ });
    let newest = history::generation(tx, name, found.wish.generation)?;
    let Some(newest) = newest.filter(|_| !leaving) else { return Ok(Some((found.version, None))) };
    let spec: DeploymentSpec =
        serde_json::from_str(&newest.spec).map_err(|e| StoreError::unreadable("specification", e))?;
    let followed = file_of(&spec).map(|path| FollowedProgram {
        path,
        digest: Digest::of_hex(&newest.digest),
        generation: newest.generation,
        spec: newest.spec,
        applied_by: newest.applied_by,
    });
    Ok(Some((found.version, followed)))
}

/// The file that a specification wants to be followed.
pub(super) fn file_of(spec: &DeploymentSpec) -> Option<String> {
    match ArtifactPath::read(spec.artifact_path.as_deref()?).ok()? {
        ArtifactPath::File(path) => Some(path).filter(|_| spec.artifact_watch != Some(false)),
        ArtifactPath::Version { .. } | ArtifactPath::Bytes(_) | ArtifactPath::Object(_) => None,
    }
}

/// The file at `path` in the first of the directories that has it. A link that leads out of its directory is not
/// followed.
pub(crate) fn file_in(directories: &[PathBuf], path: &str) -> Option<PathBuf> {
    let asked = Path::new(path);
    directories.iter().find_map(|directory| {
        let file = if asked.is_absolute() { asked.to_owned() } else { directory.join(asked) };
        let (real, root) = (file.canonicalize().ok()?, directory.canonicalize().ok()?);
        (real.is_file() && real.starts_with(root)).then_some(real)
    })
}

impl Service {
    /// Applies the specification of a deployment's newest generation once more, for the one who applied it, because its
    /// file has changed and was seen to be `digest`; unless the deployment has another version by now, or the file other
    /// bytes.
    pub(crate) async fn follow_program(
        &self,
        name: &Name,
        version: i64,
        program: &FollowedProgram,
        digest: &Digest,
    ) -> Result<(), ServiceError> {
        // What they were allowed to apply is applied again, whoever owns it.
        let principal =
            Principal { user: program.applied_by.clone(), tenant: name.tenant.clone(), role: Role::Admin };
        let text = SpecText::Json(program.spec.as_bytes());
        let precondition = u64::try_from(version).map_or(Precondition::None, Precondition::Version);
        let why = format!("the file {} has changed", program.path);
        self.apply_seen(&principal, text, precondition, digest, &why).await.map(drop)
    }
}
