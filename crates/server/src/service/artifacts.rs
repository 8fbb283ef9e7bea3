//! Uploads by digest, and how they get to the jobs that name them.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use libra_api::artifacts::ArtifactView;
use libra_api::problem::{Code, Violation};
use libra_core::artifact::{self, Digest, Named, SCHEME};
use libra_core::failure::{ErrorClass, Failure};
use libra_core::id::Token;
use libra_core::job::Job;
use libra_core::spec::JobSpec;
use tokio::time::{Instant, timeout, timeout_at};

use super::{Full, Service, ServiceError};
use crate::artifacts::{self, Refused};
use crate::auth::Principal;

/// Uploads under way at once.
pub(super) const MAX_UPLOADS: usize = 32;
/// When as many are under way: try again after this many seconds.
const BUSY_RETRY_SECONDS: u64 = 5;
/// An upload may stand still for this long in all, besides the time that its bytes take at the slowest rate.
const PATIENCE: Duration = Duration::from_mins(1);
/// The slowest rate, in bytes a second.
const SLOWEST: u64 = 16 * 1024;
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
        let _place = self.uploads.take(who).map_err(|full| {
            let (whose, most) = match full {
                Full::All(most) => ("", most),
                Full::Own(most) => (" of yours", most),
            };
            let message = format!(
                "{most} uploads{whose} are under way, as many as there may be; try again in a moment"
            );
            ServiceError::new(Code::Unavailable, message).retry_after(BUSY_RETRY_SECONDS)
        })?;
        let name = Token::new(self.clock.now(), self.clock.entropy()).to_string();
        let artifacts = self.artifacts.clone();
        // A thread is taken for each piece and not for the whole: a client that sends nothing takes none.
        let mut upload = on_disk(move || artifacts.begin(&name)).await?;
        let begun = Instant::now();
        loop {
            let due = begun + PATIENCE + Duration::from_secs(upload.size() / SLOWEST);
            let piece = match timeout_at(due, body.next()).await {
                Ok(None) => break,
                Ok(Some(Ok(piece))) => piece,
                Ok(Some(Err(e))) => {
                    let message = "the upload did not arrive whole; send it again";
                    let error = ServiceError::new(Code::InvalidRequest, message);
                    return Err(ServiceError { cause: Some(e.to_string()), ..error });
                }
                Err(_) => {
                    let message = "the upload came too slowly and was given up; send it again";
                    return Err(ServiceError::new(Code::InvalidRequest, message));
                }
            };
            if upload.size().saturating_add(piece.len() as u64) > most {
                drain(&mut body).await;
                return Err(self.too_large());
            }
            upload = on_disk(move || upload.write(&piece).map(|()| upload)).await?;
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
        on_disk(move || artifacts.find(&tenant, &digest)).await
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
        let held = on_disk(move || {
            for upload in &uploads {
                if !artifacts.link(&tenant, &upload.digest, &dir.join(upload.digest.hex()))? {
                    return Ok(Some(upload.clone()));
                }
            }
            Ok(None)
        });
        match held.await? {
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
                    return Ok(Placed::Missing(upload));
                }
                // A driver may run as Libra's own user: an earlier one may have written to its program.
                if !artifacts::is_whole(&to, &upload.digest)? {
                    return Ok(Placed::Changed(upload));
                }
            }
            Ok::<_, io::Error>(Placed::All)
        });
        let failed = |message: String| Failure::new(ErrorClass::Infrastructure, "upload_missing", message);
        match placed.await {
            Ok(Ok(Placed::All)) => Ok(()),
            Ok(Ok(Placed::Missing(upload))) => {
                Err(failed(format!("The job's file: it {}.", self.missing(&upload.digest))))
            }
            Ok(Ok(Placed::Changed(upload))) => Err(failed(format!(
                "{SCHEME}{} ({}) was changed on Libra's disk after it was uploaded. Upload it again.",
                upload.digest, upload.pointer
            ))),
            Ok(Err(e)) => Err(failed(format!("The job's uploads could not be placed: {e}."))),
            Err(e) => Err(failed(format!("The job's uploads could not be placed: {e}."))),
        }
    }
}

/// What came of placing a job's uploads.
enum Placed {
    All,
    Missing(Named),
    Changed(Named),
}

/// Works on files away from the threads that serve everybody.
pub(super) async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, ServiceError> {
    tokio::task::spawn_blocking(work).await.map_err(|e| stopped(&e))?.map_err(|e| disk(&e))
}

fn view(digest: &Digest, size: u64) -> ArtifactView {
    ArtifactView { artifact: format!("{SCHEME}{digest}"), size }
}

pub(super) async fn drain<E>(body: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin)) {
    let mut left = DRAINED_BYTES;
    let all = async {
        while let Some(Ok(piece)) = body.next().await
            && left > 0
        {
            left = left.saturating_sub(piece.len() as u64);
        }
    };
    // However far it came: the answer follows.
    let _ = timeout(PATIENCE, all).await;
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
            let message = "the disk of Libra's data directory is full; free some space, then try again";
            ServiceError::new(Code::StorageFull, message)
        }
        _ => ServiceError::new(Code::Internal, "uploads can't be read or written; the log has the cause"),
    };
    ServiceError { cause: Some(e.to_string()), ..error }
}
