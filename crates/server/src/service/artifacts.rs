//! Uploads by digest, and how they get to the jobs that name them.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use libra_api::artifacts::ArtifactView;
use libra_api::problem::{Code, Violation};
use libra_core::artifact::{self, Digest, Named, SCHEME};
use libra_core::failure::{ErrorClass, Failure};
use libra_core::id::Token;
use libra_core::job::Job;
use libra_core::spec::JobSpec;
use std::io;
use tokio::sync::mpsc;

use super::{Service, ServiceError};
use crate::artifacts::{self, Refused};
use crate::auth::Principal;

/// Pieces of a body that wait for the disk.
const PIECES_IN_FLIGHT: usize = 8;
/// Of a body that is too large, this much more is read and thrown away, so that the client reads the answer.
const DRAINED_BYTES: u64 = 64 * 1024 * 1024;

/// Where an attempt finds its uploads, in its own directory.
pub(crate) fn uploads_dir(attempt_dir: &Path) -> PathBuf {
    attempt_dir.join("uploads")
}

impl Service {
    /// Says whether something was uploaded. Then it stays for a while.
    pub(crate) async fn artifact(
        &self,
        who: &Principal,
        digest: Digest,
    ) -> Result<ArtifactView, ServiceError> {
        let shown = digest.to_string();
        match self.find_upload(&who.tenant, digest.clone()).await? {
            Some(size) => Ok(view(&digest, size)),
            None => {
                Err(ServiceError::new(Code::ArtifactNotFound, format!("nothing was uploaded with {shown}")))
            }
        }
    }

    /// Keeps the bytes of `body`, whose digest has to be this one; true when they were not there before.
    pub(crate) async fn upload<E: std::fmt::Display>(
        &self,
        who: &Principal,
        digest: Digest,
        length: Option<u64>,
        body: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<(ArtifactView, bool), ServiceError> {
        let mut body = body;
        let most = self.config.max_artifact_bytes;
        if length.is_some_and(|length| length > most) {
            drain(&mut body).await;
            return Err(self.too_large());
        }
        let name = Token::new(self.clock.now(), self.clock.entropy()).to_string();
        let artifacts = self.artifacts.clone();
        let (pieces, mut waiting) = mpsc::channel::<Bytes>(PIECES_IN_FLIGHT);
        // The end of the channel is the end of the writer: also when the client goes away.
        let writer = tokio::task::spawn_blocking(move || {
            let mut upload = artifacts.begin(&name)?;
            while let Some(piece) = waiting.blocking_recv() {
                upload.write(&piece)?;
            }
            Ok::<_, io::Error>(upload)
        });
        let mut size = 0u64;
        let mut wrong = None;
        while let Some(piece) = body.next().await {
            let piece = match piece {
                Ok(piece) => piece,
                Err(e) => {
                    let message = "the upload did not arrive whole; send it again";
                    let error = ServiceError::new(Code::InvalidRequest, message);
                    wrong = Some(ServiceError { cause: Some(e.to_string()), ..error });
                    break;
                }
            };
            size = size.saturating_add(piece.len() as u64);
            if size > most {
                drain(&mut body).await;
                wrong = Some(self.too_large());
                break;
            }
            // The writer has ended: its own words say why.
            if pieces.send(piece).await.is_err() {
                break;
            }
        }
        drop(pieces);
        let upload = writer.await.map_err(|e| stopped(&e))?.map_err(|e| disk(&e))?;
        if let Some(wrong) = wrong {
            return Err(wrong);
        }
        let size = upload.size();
        let (artifacts, tenant, wanted) = (self.artifacts.clone(), who.tenant.clone(), digest.clone());
        let kept = tokio::task::spawn_blocking(move || artifacts.keep(&tenant, &wanted, upload));
        match kept.await.map_err(|e| stopped(&e))? {
            Ok(new) => Ok((view(&digest, size), new)),
            Err(Refused::OtherDigest(found)) => {
                let message = format!("the {size} bytes that came have the digest {found}, not {digest}");
                Err(ServiceError::new(Code::DigestMismatch, message))
            }
            Err(Refused::Disk(e)) => Err(disk(&e)),
        }
    }

    fn too_large(&self) -> ServiceError {
        let most = libra_core::memory::display(self.config.max_artifact_bytes);
        let message = format!(
            "an upload may have {most} (libra.artifacts.max-size); put larger files where the driver can read them"
        );
        ServiceError::new(Code::TooLarge, message)
    }

    async fn find_upload(&self, tenant: &str, digest: Digest) -> Result<Option<u64>, ServiceError> {
        let (artifacts, tenant) = (self.artifacts.clone(), tenant.to_owned());
        let found = tokio::task::spawn_blocking(move || artifacts.find(&tenant, &digest));
        found.await.map_err(|e| stopped(&e))?.map_err(|e| disk(&e))
    }

    /// The uploads that `spec` names, all of which are there.
    pub(super) async fn uploads_of(&self, spec: &JobSpec, tenant: &str) -> Result<Vec<Named>, ServiceError> {
        let (named, wrong) = artifact::named(spec);
        let mut wrong: Vec<Violation> =
            wrong.into_iter().map(|(pointer, reason)| Violation::new(pointer, reason)).collect();
        for upload in &named {
            if self.find_upload(tenant, upload.digest.clone()).await?.is_none() {
                wrong.push(Violation::new(upload.pointer.clone(), self.missing(&upload.digest)));
            }
        }
        if wrong.is_empty() { Ok(named) } else { Err(ServiceError::fields(wrong)) }
    }

    fn missing(&self, digest: &Digest) -> String {
        let own = if self.alone || self.config.shared_dir.is_some() {
            ""
        } else {
            "; without libra.shared-dir each replica has only what was uploaded to itself"
        };
        format!("names {digest}, which is not here; send the file to POST /api/v1/artifacts first{own}")
    }

    /// Holds uploads for a job that is about to be stored: from now on they are not removed before its files are.
    pub(super) async fn hold_uploads(&self, job: &Job, named: &[Named]) -> Result<(), ServiceError> {
        if named.is_empty() {
            return Ok(());
        }
        let (artifacts, tenant) = (self.artifacts.clone(), job.tenant.clone());
        let (dir, uploads) = (self.held_dir(job), named.to_vec());
        let held = tokio::task::spawn_blocking(move || {
            for upload in &uploads {
                if !artifacts.link(&tenant, &upload.digest, &dir.join(upload.digest.hex()))? {
                    return Ok(Some(upload.clone()));
                }
            }
            Ok(None)
        });
        match held.await.map_err(|e| stopped(&e))?.map_err(|e: io::Error| disk(&e))? {
            None => Ok(()),
            Some(gone) => {
                Err(ServiceError::fields(vec![Violation::new(gone.pointer, self.missing(&gone.digest))]))
            }
        }
    }

    /// Removes the directory of a job that was not stored.
    pub(super) async fn let_go(&self, dir: PathBuf) {
        let removed = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(dir)).await;
        if let Ok(Err(e)) = removed {
            tracing::warn!(error = %e, "the directory of a job that was refused can't be removed");
        }
    }

    fn held_dir(&self, job: &Job) -> PathBuf {
        uploads_dir(&self.jobs_dir().join(job.id.to_string()))
    }

    /// Puts the uploads that a job names where its attempt looks for them.
    pub(crate) async fn place_uploads(&self, job: &Job, attempt_dir: &Path) -> Result<(), Failure> {
        let (named, _) = artifact::named(&job.spec);
        if named.is_empty() {
            return Ok(());
        }
        let (artifacts, tenant) = (self.artifacts.clone(), job.tenant.clone());
        let (held, dir) = (self.held_dir(job), uploads_dir(attempt_dir));
        let placed = tokio::task::spawn_blocking(move || {
            for upload in named {
                let to = dir.join(&upload.path);
                if let Some(parent) = to.parent() {
                    std::fs::create_dir_all(parent)?;
                }
                let here = artifacts::hold(&held.join(upload.digest.hex()), &to)?
                    || artifacts.link(&tenant, &upload.digest, &to)?;
                if !here {
                    return Ok(Some(upload));
                }
            }
            Ok::<_, io::Error>(None)
        });
        let failed = |message: String| Failure::new(ErrorClass::Infrastructure, "upload_missing", message);
        match placed.await {
            Ok(Ok(None)) => Ok(()),
            Ok(Ok(Some(upload))) => Err(failed(format!(
                "{SCHEME}{} ({}) is not on the replica that runs the job. Several replicas need a libra.shared-dir \
                 to have each other's uploads.",
                upload.digest, upload.pointer
            ))),
            Ok(Err(e)) => Err(failed(format!("The job's uploads could not be placed: {e}."))),
            Err(e) => Err(failed(format!("The job's uploads could not be placed: {e}."))),
        }
    }
}

fn view(digest: &Digest, size: u64) -> ArtifactView {
    ArtifactView { artifact: format!("{SCHEME}{digest}"), size }
}

async fn drain<E>(body: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin)) {
    let mut left = DRAINED_BYTES;
    while let Some(Ok(piece)) = body.next().await {
        left = left.saturating_sub(piece.len() as u64);
        if left == 0 {
            return;
        }
    }
}

fn stopped(e: &tokio::task::JoinError) -> ServiceError {
    ServiceError {
        cause: Some(e.to_string()),
        ..ServiceError::new(Code::Internal, "the upload was not kept")
    }
}

fn disk(e: &io::Error) -> ServiceError {
    let error = match e.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            let message = "the disk of Libra's data directory is full; free some space, then upload again";
            ServiceError::new(Code::StorageFull, message)
        }
        _ => ServiceError::new(Code::Internal, "uploads can't be read or written; the log has the cause"),
    };
    ServiceError { cause: Some(e.to_string()), ..error }
}
