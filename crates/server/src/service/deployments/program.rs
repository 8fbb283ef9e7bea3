//! From `artifact_path` to the bytes that Flink is given.

use std::io;
use std::path::{Path, PathBuf};

use libra_api::problem::{Code, Violation};
use libra_core::artifact::Digest;
use libra_core::deployment::packing::Packing;
use libra_core::deployment::spec::{ArtifactPath, DeploymentSpec};
use libra_core::id::Token;

use super::runner::check_packed;
use crate::auth::Principal;
use crate::programs::{Looked, Programs};
use crate::service::{Service, ServiceError};

/// A program that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Program {
    /// Its bytes.
    pub(super) digest: Digest,
    /// Where they were found.
    file: PathBuf,
}

impl Service {
    /// Finds the program of a specification and checks what it says of it.
    pub(super) async fn find_program(
        &self,
        principal: &Principal,
        spec: &DeploymentSpec,
    ) -> Result<Program, ServiceError> {
        if let Some((digest, file)) = self.own_runner(spec).await? {
            return Ok(Program { digest, file });
        }
        let path = spec.artifact_path.as_deref().unwrap_or_default();
        let wrong = |reason: String| ServiceError::fields(vec![Violation::new("/artifact_path", reason)]);
        let file = match ArtifactPath::read(path).map_err(|reason| wrong(reason.to_owned()))? {
            ArtifactPath::File(path) => self.in_directories(&path).map_err(wrong)?,
            ArtifactPath::Bytes(digest) => self.uploaded(principal, &digest).await?,
            ArtifactPath::Version { .. } | ArtifactPath::Object(_) => {
                let message = "this Libra reads programs from its directories and from uploads only: use a path, or \
                               `artifact:sha256:…` of an upload";
                return Err(ServiceError::new(Code::Unsupported, message));
            }
        };
        let looked = {
            let file = file.clone();
            on_disk(move || Programs::look(&file)).await
        };
        let looked = looked.map_err(|e| wrong(format!("can't be read: {e}")))?;
        let packing = check_packed(spec, &file).await?;
        check(spec, &looked, packing)?;
        Ok(Program { digest: looked.digest, file })
    }

    /// Copies a program that was found, so that it stays as it is.
    pub(super) async fn keep_program(&self, program: &Program) -> Result<(), ServiceError> {
        let (programs, program) = (self.programs.clone(), program.clone());
        let name = Token::new(self.clock.now(), self.clock.entropy()).to_string();
        let kept = on_disk(move || programs.keep(&program.file, &program.digest, &name)).await;
        kept.map_err(|e| ServiceError {
            cause: Some(e.to_string()),
            ..ServiceError::new(Code::Unavailable, format!("the program could not be kept: {e}; apply again"))
        })
    }

    /// The file at `path` in the first directory that has it.
    fn in_directories(&self, path: &str) -> Result<PathBuf, String> {
        let directories = &self.config.flink.directories;
        if directories.is_empty() {
            return Err("is a path, and no directory is configured: set `libra.flink.artifacts.directories`"
                .to_owned());
        }
        let asked = Path::new(path);
        for directory in directories {
            let file = if asked.is_absolute() { asked.to_owned() } else { directory.join(asked) };
            // A link that leads out of the directory is not followed.
            let (Ok(real), Ok(root)) = (file.canonicalize(), directory.canonicalize()) else { continue };
            if real.is_file() && real.starts_with(root) {
                return Ok(real);
            }
        }
        let shown: Vec<String> = directories.iter().map(|d| d.display().to_string()).collect();
        Err(format!("is no file in {}", shown.join(", ")))
    }

    async fn uploaded(&self, principal: &Principal, digest: &Digest) -> Result<PathBuf, ServiceError> {
        let (artifacts, tenant, digest) = (self.artifacts.clone(), principal.tenant.clone(), digest.clone());
        let shown = digest.to_string();
        let found = on_disk(move || artifacts.file(&tenant, &digest)).await.map_err(|e| ServiceError {
            cause: Some(e.to_string()),
            ..ServiceError::new(Code::Unavailable, "the uploads can't be read; try again")
        })?;
        found.ok_or_else(|| {
            let reason = format!("names an upload that is not there: {shown}; upload it first");
            ServiceError::fields(vec![Violation::new("/artifact_path", reason)])
        })
    }
}

fn check(spec: &DeploymentSpec, looked: &Looked, packing: Packing) -> Result<(), ServiceError> {
    let pinned: Option<Digest> = spec.artifact_signature.as_deref().and_then(|text| text.parse().ok());
    if pinned.as_ref().is_some_and(|pinned| *pinned != looked.digest) {
        let reason = format!("is not the digest of the artifact, which is {}", looked.digest);
        return Err(ServiceError::fields(vec![Violation::new("/artifact_signature", reason)]));
    }
    if packing == Packing::None && !looked.zip {
        let reason = "is no jar: a jar is a ZIP archive";
        return Err(ServiceError::fields(vec![Violation::new("/artifact_path", reason)]));
    }
    if spec.signature.is_some() {
        let message =
            "this Libra can't check signatures yet; pin the bytes with `artifact_signature: sha256:…`";
        return Err(ServiceError::new(Code::Unsupported, message));
    }
    Ok(())
}

/// Runs `f` where it may wait for the disk.
pub(super) async fn on_disk<T: Send + 'static>(
    f: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(f).await.unwrap_or_else(|e| Err(io::Error::other(e)))
}
