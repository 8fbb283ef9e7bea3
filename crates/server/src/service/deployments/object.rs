//! Programs at addresses: fetched when they are planned or applied, and kept like an upload (contract F6).

use std::path::PathBuf;

use futures::StreamExt as _;
use libra_api::problem::{Code, Violation};
use libra_core::artifact::Digest;
use libra_core::deployment::spec::DeploymentSpec;
use libra_core::id::Token;

use super::program::on_disk;
use crate::artifacts::Refused;
use crate::auth::Principal;
use crate::objects::Missed;
use crate::service::{Service, ServiceError};
use crate::webhooks::plain;

fn wrong(reason: impl Into<String>) -> ServiceError {
    ServiceError::fields(vec![Violation::new("/artifact_path", reason)])
}

fn later(why: impl std::fmt::Display) -> ServiceError {
    ServiceError::new(Code::Unavailable, format!("the program could not be fetched: {why}; try again"))
}

impl Service {
    /// The bytes of an object, which are kept from now on for a while. Pinned bytes that are here are not fetched.
    pub(super) async fn fetched(
        &self,
        principal: &Principal,
        spec: &DeploymentSpec,
        address: &str,
    ) -> Result<PathBuf, ServiceError> {
        let pinned: Option<Digest> = spec.artifact_signature.as_deref().and_then(|text| text.parse().ok());
        if let Some(digest) = pinned
            && let Some(file) = self.kept(principal, &digest).await?
        {
            return Ok(file);
        }
        let _place =
            self.uploads.take(principal).map_err(|_| later("as many uploads as may be are under way"))?;
        let asked = self.config.flink.origins.ask(address, self.clock.now()).await;
        let answer = asked.map_err(|missed| match missed {
            Missed::Wrong(reason) => wrong(reason),
            Missed::Later(why) => later(why),
        })?;
        let most = self.config.max_artifact_bytes;
        let too_large = || {
            let most = libra_core::memory::display(most);
            wrong(format!("is larger than {most} (libra.artifacts.max-size)"))
        };
        if answer.content_length().is_some_and(|length| length > most) {
            return Err(too_large());
        }
        let name = Token::new(self.clock.now(), self.clock.entropy()).to_string();
        let artifacts = self.artifacts.clone();
        let mut upload = on_disk(move || artifacts.begin(&name)).await.map_err(later)?;
        let mut body = answer.bytes_stream();
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|e| later(plain(&e)))?;
            if upload.size().saturating_add(piece.len() as u64) > most {
                return Err(too_large());
            }
            upload = on_disk(move || upload.write(&piece).map(|()| upload)).await.map_err(later)?;
        }
        let digest = upload.digest().ok_or_else(|| later("it has no digest"))?;
        let (artifacts, tenant, found) = (self.artifacts.clone(), principal.tenant.clone(), digest.clone());
        let kept = on_disk(move || match artifacts.keep(&tenant, &found, upload) {
            Ok(_) => Ok(()),
            Err(Refused::Disk(e)) => Err(e),
            Err(Refused::OtherDigest(_)) => Err(std::io::Error::other("its digest has changed")),
        });
        kept.await.map_err(later)?;
        self.kept(principal, &digest).await?.ok_or_else(|| later("it is gone"))
    }
}
