//! Programs that are no jars, when they are applied.

use std::path::{Path, PathBuf};

use libra_api::problem::{Code, Violation};
use libra_core::artifact::Digest;
use libra_core::deployment::normal::Normal;
use libra_core::deployment::packing::Packing;
use libra_core::deployment::spec::{ArtifactType, DeploymentSpec};
use libra_core::id::Token;

use super::program::on_disk;
use crate::artifacts::is_whole;
use crate::runner;
use crate::service::{Service, ServiceError};

/// Where the jar that runs statements lies, until it is kept as a program.
const DIRECTORY: &str = "runner";

impl Service {
    /// What runs the statements of a specification that names no artifact: a file of Libra's own and its digest.
    pub(super) async fn own_runner(
        &self,
        spec: &DeploymentSpec,
    ) -> Result<Option<(Digest, PathBuf)>, ServiceError> {
        if spec.program_type() != ArtifactType::Sql || spec.artifact_path.is_some() {
            return Ok(None);
        }
        let dir = self.files_dir.join(DIRECTORY);
        let name = Token::new(self.clock.now(), self.clock.entropy()).to_string();
        let artifacts = self.artifacts.clone();
        let written = on_disk(move || {
            let digest = runner::digest()?;
            let file = dir.join(format!("{}.jar", digest.hex()));
            if !(file.exists() && is_whole(&file, &digest)?) {
                std::fs::create_dir_all(&dir)?;
                let new = artifacts.draft(&name)?;
                runner::write(&new)?;
                std::fs::rename(new, &file)?;
            }
            Ok((digest, file))
        });
        written.await.map(Some).map_err(|e| ServiceError {
            cause: Some(e.to_string()),
            ..ServiceError::new(
                Code::Unavailable,
                format!("what runs statements could not be kept: {e}; apply again"),
            )
        })
    }
}

/// Looks at a program that is packed before Flink is given it.
pub(super) async fn check_packed(spec: &DeploymentSpec, file: &Path) -> Result<Packing, ServiceError> {
    let packing = Normal::of(spec, None).packing();
    let (file, module) = (file.to_owned(), spec.entry_class.clone());
    let looked = on_disk(move || runner::look(packing, &file, module.as_deref())).await;
    match looked {
        Ok(None) => Ok(packing),
        Ok(Some((field, reason))) => Err(ServiceError::fields(vec![Violation::new(field, reason)])),
        Err(e) => {
            let reason = format!("can't be read: {e}");
            Err(ServiceError::fields(vec![Violation::new("/artifact_path", reason)]))
        }
    }
}

impl Service {
    /// The jar that Flink is given of a checked program: the file itself, or one that is made of it and removed once the
    /// answer is dropped.
    ///
    /// # Errors
    /// In words.
    pub(crate) async fn packed(&self, packing: Packing, program: PathBuf) -> Result<Packed, String> {
        if packing == Packing::None {
            return Ok(Packed { file: program, made: false });
        }
        let name = Token::new(self.clock.now(), self.clock.entropy()).to_string();
        let artifacts = self.artifacts.clone();
        let packed = on_disk(move || {
            let packed = Packed { file: artifacts.draft(&name)?, made: true };
            runner::pack(packing, &program, &packed.file)?;
            Ok(packed)
        });
        packed.await.map_err(|e| format!("its jar: {e}"))
    }
}

/// A jar for Flink.
pub(crate) struct Packed {
    /// Where it is.
    pub(crate) file: PathBuf,
    made: bool,
}

impl Drop for Packed {
    fn drop(&mut self) {
        if self.made {
            // It may not have come to be.
            let _ = std::fs::remove_file(&self.file);
        }
    }
}
