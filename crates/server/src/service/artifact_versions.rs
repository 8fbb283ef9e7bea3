//! Uploads with a name and a version (contract F6).

use std::path::PathBuf;

use bytes::Bytes;
use futures::Stream;
use libra_api::artifacts::{ArtifactVersionListView, ArtifactVersionView, ArtifactView};
use libra_api::problem::Code;
use libra_core::artifact::{Digest, SCHEME};
use libra_core::deployment::spec::ArtifactPath;
use libra_store::tables::artifact_versions::{self as versions, ArtifactVersion};

use super::artifacts::{drain, on_disk};
use super::{Service, ServiceError};
use crate::auth::Principal;

/// Versions of an artifact that are listed.
const MOST_LISTED: u32 = 1_000;

/// A name and a version, both as they may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Versioned {
    name: String,
    version: String,
}

impl Versioned {
    /// Checks what a caller says.
    pub(crate) fn read(name: String, version: String) -> Result<Self, ServiceError> {
        // What `artifact_path` takes for it.
        let read = |name: &str, version: &str| {
            let path = ArtifactPath::read(&format!("{SCHEME}{name}@{version}"));
            path == Ok(ArtifactPath::Version { name: name.to_owned(), version: version.to_owned() })
        };
        for (pointer, fine) in [("name", read(&name, "1")), ("version", read("a", &version))] {
            if !fine {
                let reason =
                    "must be letters, digits, `.`, `_`, `-` and `+`, at most 128 of them, and no digest";
                return Err(ServiceError::query(pointer, reason));
            }
        }
        Ok(Self { name, version })
    }
}

impl Service {
    /// Keeps the bytes of `body` under a name and a version; true when the version is new. The same bytes may come again,
    /// others may not.
    pub(crate) async fn upload_version<E: std::fmt::Display>(
        &self,
        who: &Principal,
        digest: Digest,
        length: Option<u64>,
        named: &Versioned,
        body: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<(ArtifactView, bool), ServiceError> {
        let mut body = body;
        if !self.alone && self.config.shared_dir.is_none() {
            drain(&mut body).await;
            let message = "replicas need `libra.shared-dir` for versions of artifacts: any of them may be asked for one";
            return Err(ServiceError::new(Code::Unsupported, message));
        }
        // What is refused anyway is not kept first.
        if let Some(there) = self.version(&who.tenant, named).await?
            && there.digest != digest.hex()
        {
            drain(&mut body).await;
            return Err(taken(&there));
        }
        let (view, _) = self.upload(who, digest.clone(), length, body).await?;
        let (artifacts, tenant, held) = (self.artifacts.clone(), who.tenant.clone(), digest.clone());
        // From now on it is not removed as long as it has a name.
        if !on_disk(move || artifacts.hold(&tenant, &held)).await? {
            return Err(ServiceError::new(Code::Unavailable, "the upload is gone; send it again"));
        }
        let new = ArtifactVersion {
            tenant: who.tenant.clone(),
            name: named.name.clone(),
            version: named.version.clone(),
            digest: digest.hex().to_owned(),
            size: view.size,
            created_at: self.clock.now(),
            created_by: who.user.clone(),
        };
        let is_new = self.db.write(move |tx| versions::create(tx, &new)).await?;
        if !is_new
            && let Some(there) = self.version(&who.tenant, named).await?
            && there.digest != digest.hex()
        {
            return Err(taken(&there));
        }
        let Versioned { name, version } = named;
        Ok((ArtifactView { artifact: format!("{SCHEME}{name}@{version}"), ..view }, is_new))
    }

    /// The versions of an artifact, newest first.
    pub(crate) async fn artifact_versions(
        &self,
        who: &Principal,
        name: &str,
    ) -> Result<ArtifactVersionListView, ServiceError> {
        let (tenant, of) = (who.tenant.clone(), name.to_owned());
        let found = self.db.read(move |tx| versions::list(tx, &tenant, &of, MOST_LISTED)).await?;
        if found.is_empty() {
            let shown: String = name.chars().take(128).collect();
            let message = format!("there is no artifact {shown}; `libra artifact push` makes one");
            return Err(ServiceError::new(Code::ArtifactNotFound, message));
        }
        Ok(ArtifactVersionListView { versions: found.into_iter().map(view).collect() })
    }

    /// Where the bytes of a version are; None when there is no such version.
    pub(super) async fn program_version(
        &self,
        tenant: &str,
        name: &str,
        version: &str,
    ) -> Result<Option<PathBuf>, ServiceError> {
        let named = Versioned { name: name.to_owned(), version: version.to_owned() };
        let found = self.version(tenant, &named).await?;
        let digest = found.and_then(|found| Digest::of_hex(&found.digest));
        Ok(digest.map(|digest| self.artifacts.held_path(tenant, &digest)))
    }

    async fn version(
        &self,
        tenant: &str,
        named: &Versioned,
    ) -> Result<Option<ArtifactVersion>, ServiceError> {
        let (tenant, named) = (tenant.to_owned(), named.clone());
        let read = self.db.read(move |tx| versions::get(tx, &tenant, &named.name, &named.version));
        Ok(read.await?)
    }
}

fn taken(there: &ArtifactVersion) -> ServiceError {
    let ArtifactVersion { name, version, digest, created_by, .. } = there;
    let message = format!(
        "version {version} of {name} was uploaded by {created_by} and has other bytes (sha256:{digest}); a version is \
         written once: choose another one"
    );
    ServiceError::new(Code::VersionTaken, message)
}

fn view(of: ArtifactVersion) -> ArtifactVersionView {
    ArtifactVersionView {
        artifact: format!("{SCHEME}{}@{}", of.name, of.version),
        version: of.version,
        digest: format!("sha256:{}", of.digest),
        size: of.size,
        created_at: of.created_at.rfc3339(),
        created_by: of.created_by,
    }
}
