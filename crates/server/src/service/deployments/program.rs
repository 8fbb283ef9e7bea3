//! From `artifact_path` to the bytes that Flink is given.

use std::io;
use std::path::PathBuf;

use libra_api::problem::{Code, Violation};
use libra_core::artifact::Digest;
use libra_core::deployment::packing::Packing;
use libra_core::deployment::spec::{ArtifactPath, DeploymentSpec, Statements, brings_code};
use libra_core::id::Token;

use super::follow::file_in;
use super::runner::check_packed;
use crate::artifacts::{Form, Looked};
use crate::auth::Principal;
use crate::runner::holds_class;
use crate::service::{Service, ServiceError};
use crate::signatures::{Policy, Signed};

/// What is wrong with a class that a signature does not vouch for: Flink and the JVM bring classes along that run whatever
/// their arguments say.
pub(super) const FOREIGN_CLASS: &str =
    "is no class of the program: where signatures are required, a signed program runs its own classes only";

/// A program that was found.
#[derive(Clone)]
pub(super) struct Program {
    /// Its bytes.
    pub(super) digest: Digest,
    /// The signature that was verified, where there is one.
    pub(super) signed: Option<Signed>,
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
            self.check_statements(spec)?;
            // Nobody else has made it.
            return Ok(Program { digest, signed: None, file });
        }
        let path = spec.artifact_path.as_deref().unwrap_or_default();
        let wrong = |reason: String| ServiceError::fields(vec![Violation::new("/artifact_path", reason)]);
        let (file, beside) = match ArtifactPath::read(path).map_err(|reason| wrong(reason.to_owned()))? {
            ArtifactPath::File(path) => (self.in_directories(&path).map_err(wrong)?, true),
            ArtifactPath::Bytes(digest) => (self.uploaded(principal, &digest).await?, false),
            ArtifactPath::Version { name, version } => {
                (self.versioned(principal, &name, &version).await?, false)
            }
            ArtifactPath::Object(address) => (self.fetched(principal, spec, &address).await?, false),
        };
        let packing = check_packed(spec, &file).await?;
        let (looked, signed) = self.look_at_program(spec, &file, beside).await?;
        check(spec, &looked, packing)?;
        let vouched = self.config.flink.signatures == Policy::Required && packing == Packing::None;
        if let Some(class) = spec.entry_class.as_deref().filter(|_| vouched) {
            let (of, class) = (file.clone(), class.to_owned());
            let holds = on_disk(move || holds_class(&of, &class)).await;
            if !holds.map_err(|e| wrong(format!("can't be read: {e}")))? {
                let violation = Violation::new("/entry_class", FOREIGN_CLASS);
                return Err(ServiceError::fields(vec![violation]));
            }
        }
        Ok(Program { digest: looked.digest, signed, file })
    }

    /// Where programs have to be signed, statements that nobody has signed bring none along.
    fn check_statements(&self, spec: &DeploymentSpec) -> Result<(), ServiceError> {
        let statements = spec.sql.as_ref().map(Statements::split).unwrap_or_default();
        let found = statements.iter().position(|statement| brings_code(statement));
        let Some(at) = found.filter(|_| self.config.flink.signatures == Policy::Required) else {
            return Ok(());
        };
        let reason = format!(
            "must not bring a program along, as statement {} does: programs have to be signed here; put the statements into a \
             file and sign it",
            at + 1
        );
        Err(ServiceError::fields(vec![Violation::new("/sql", reason)]))
    }

    /// Keeps a program that was found, so that it stays as it is, and holds it for a generation that is about to be
    /// stored.
    pub(super) async fn keep_program(&self, tenant: &str, program: &Program) -> Result<(), ServiceError> {
        let (artifacts, tenant, program) = (self.artifacts.clone(), tenant.to_owned(), program.clone());
        let name = Token::new(self.clock.now(), self.clock.entropy()).to_string();
        let kept = on_disk(move || {
            artifacts.take_in(&tenant, &program.file, &program.digest, &name)?;
            if artifacts.hold(&tenant, &program.digest)? {
                Ok(())
            } else {
                Err(io::Error::other("it is gone"))
            }
        });
        kept.await.map_err(|e| ServiceError {
            cause: Some(e.to_string()),
            ..ServiceError::new(Code::Unavailable, format!("the program could not be kept: {e}; apply again"))
        })
    }

    /// The file at `path` in the first directory that has it.
    pub(super) fn in_directories(&self, path: &str) -> Result<PathBuf, String> {
        let directories = &self.config.flink.directories;
        if directories.is_empty() {
            return Err("is a path, and no directory is configured: set `libra.flink.artifacts.directories`"
                .to_owned());
        }
        if let Some(file) = file_in(directories, path) {
            return Ok(file);
        }
        let shown: Vec<String> = directories.iter().map(|d| d.display().to_string()).collect();
        Err(format!("is no file in {}", shown.join(", ")))
    }

    async fn versioned(
        &self,
        principal: &Principal,
        name: &str,
        version: &str,
    ) -> Result<PathBuf, ServiceError> {
        let found = self.program_version(&principal.tenant, name, version).await?;
        found.ok_or_else(|| {
            let reason = format!(
                "names a version that is not there: `libra artifact push FILE --name {name} --version {version}`"
            );
            ServiceError::fields(vec![Violation::new("/artifact_path", reason)])
        })
    }

    async fn uploaded(&self, principal: &Principal, digest: &Digest) -> Result<PathBuf, ServiceError> {
        self.kept(principal, digest).await?.ok_or_else(|| {
            let reason = format!("names an upload that is not there: {digest}; upload it first");
            ServiceError::fields(vec![Violation::new("/artifact_path", reason)])
        })
    }

    /// Where an upload is; None when it is not there.
    pub(super) async fn kept(
        &self,
        principal: &Principal,
        digest: &Digest,
    ) -> Result<Option<PathBuf>, ServiceError> {
        let (artifacts, tenant, digest) = (self.artifacts.clone(), principal.tenant.clone(), digest.clone());
        on_disk(move || artifacts.file(&tenant, &digest)).await.map_err(|e| ServiceError {
            cause: Some(e.to_string()),
            ..ServiceError::new(Code::Unavailable, "the uploads can't be read; try again")
        })
    }
}

fn check(spec: &DeploymentSpec, looked: &Looked, packing: Packing) -> Result<(), ServiceError> {
    let pinned: Option<Digest> = spec.artifact_signature.as_deref().and_then(|text| text.parse().ok());
    if pinned.as_ref().is_some_and(|pinned| *pinned != looked.digest) {
        let reason = format!("is not the digest of the artifact, which is {}", looked.digest);
        return Err(ServiceError::fields(vec![Violation::new("/artifact_signature", reason)]));
    }
    let reason = match looked.form {
        Form::Zip => None,
        Form::ZipInPart | Form::Other if packing != Packing::None => None,
        Form::ZipInPart => Some("is no whole jar: its end is missing; copy it again"),
        Form::Other => Some("is no jar: a jar is a ZIP archive"),
    };
    if let Some(reason) = reason {
        return Err(ServiceError::fields(vec![Violation::new("/artifact_path", reason)]));
    }
    Ok(())
}

/// Runs `f` where it may wait for the disk.
pub(super) async fn on_disk<T: Send + 'static>(
    f: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(f).await.unwrap_or_else(|e| Err(io::Error::other(e)))
}
