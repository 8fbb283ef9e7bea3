//! Removing what has been kept long enough (contract Q3), a little at a time. Rows are the leader's business; files
//! are every replica's, each in its own directory.

mod deployments;
mod hpc;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use libra_core::id::JobId;
use libra_store::StoreError;
use libra_store::tables::retention;
use tokio::time::sleep;

use super::Shutdown;
use crate::config::Retention;
use crate::service::Service;
use crate::service::expiry::before;
use crate::service::standing::leader_fence;

/// The first look comes so long after the start, when there are other things to do.
const FIRST: Duration = Duration::from_mins(1);
/// Then it looks this often, at most and at least.
const PERIOD: (Duration, Duration) = (Duration::from_secs(1), Duration::from_hours(1));
/// A bound on their number is looked at this often.
const BY_NUMBER: Duration = Duration::from_mins(1);
/// It looks this many times within the shortest time that something is kept.
const LOOKS: u32 = 10;
/// Between two batches everybody else has the store to themselves.
const PAUSE: Duration = Duration::from_millis(50);
/// Delivered messages are kept this long.
const DELIVERED_KEPT: Duration = Duration::from_hours(7 * 24);
/// Messages looked at in one transaction.
const MESSAGES_AT_ONCE: u32 = 500;
/// Directories looked at, and perhaps removed, in one go.
const DIRECTORIES_AT_ONCE: usize = 200;
/// Uploads removed in one go, while nobody can upload.
const ARTIFACTS_AT_ONCE: usize = 100;

pub(super) async fn run(service: Arc<Service>, mut shutdown: Shutdown) {
    let period = period(&service.config.retention);
    let mut wait = FIRST.min(period);
    loop {
        tokio::select! {
            () = shutdown.wait() => return,
            () = sleep(wait) => {}
        }
        tokio::select! {
            () = shutdown.wait() => return,
            () = tidy(&service) => {}
        }
        wait = period;
    }
}

fn period(kept: &Retention) -> Duration {
    // A number of jobs is soon exceeded, whatever their age.
    let by_number = kept.max_jobs.map(|_| BY_NUMBER * LOOKS);
    let shortest = [kept.jobs, kept.files, kept.samples, by_number].into_iter().flatten().min();
    shortest.map_or(PERIOD.1, |kept| (kept / LOOKS).clamp(PERIOD.0, PERIOD.1))
}

async fn tidy(service: &Arc<Service>) {
    if let Err(e) = forget_jobs(service).await {
        tracing::warn!(error = %e, "old jobs could not be forgotten; trying again later");
    }
    if let Err(e) = forget_messages(service).await {
        tracing::warn!(error = %e, "delivered webhooks could not be forgotten; trying again later");
    }
    if let Err(e) = remove_files(service).await {
        tracing::warn!(error = %e, "old logs and results could not be removed; trying again later");
    }
    if let Err(e) = deployments::forget_events(service).await {
        tracing::warn!(error = %e, "old events of deployments could not be forgotten; trying again later");
    }
    if let Err(e) = hpc::forget(service).await {
        tracing::warn!(error = %e, "old observed jobs could not be forgotten; trying again later");
    }
    // Before the uploads, which what is let go of here becomes.
    if let Err(e) = deployments::let_go(service).await {
        tracing::warn!(error = %e, "programs of deployments could not be let go of; trying again later");
    }
    if let Err(e) = remove_artifacts(service).await {
        tracing::warn!(error = %e, "old uploads could not be removed; trying again later");
    }
}

/// Ended jobs beyond their age or their number.
async fn forget_jobs(service: &Service) -> Result<(), StoreError> {
    let Retention { jobs: kept, max_jobs, .. } = service.config.retention;
    let cuts = service
        .db
        .read(move |tx| {
            let by_age = match kept {
                None => None,
                Some(kept) => Some(before(tx.now()?, kept)),
            };
            let by_number = match max_jobs {
                None => None,
                Some(most) => retention::too_many_before(tx, most)?,
            };
            Ok([by_age, by_number])
        })
        .await?;
    let Some(cut) = cuts.into_iter().flatten().max() else { return Ok(()) };
    let mut forgotten = 0;
    while let Some(epoch) = service.leader_epoch() {
        let fence = leader_fence(epoch);
        match service.db.write(move |tx| retention::forget_ended(tx, &fence, cut)).await? {
            Some(0) | None => break,
            Some(some) => forgotten += some,
        }
        sleep(PAUSE).await;
    }
    if forgotten > 0 {
        tracing::info!(jobs = forgotten, "ended jobs are forgotten");
    }
    Ok(())
}

/// Messages that were delivered long ago.
async fn forget_messages(service: &Service) -> Result<(), StoreError> {
    let mut after = 0;
    while let Some(epoch) = service.leader_epoch() {
        let looked = service
            .db
            .read(move |tx| {
                let old = before(tx.now()?, DELIVERED_KEPT);
                retention::delivered_before(tx, after, old, MESSAGES_AT_ONCE)
            })
            .await?;
        if !looked.old.is_empty() {
            let fence = leader_fence(epoch);
            let held =
                service.db.write(move |tx| retention::forget_delivered(tx, &fence, &looked.old)).await?;
            if !held {
                break;
            }
            sleep(PAUSE).await;
        }
        match looked.next {
            Some(next) => after = next,
            None => break,
        }
    }
    Ok(())
}

/// Logs and results beyond their age, and the directories of jobs that were forgotten.
async fn remove_files(service: &Arc<Service>) -> Result<(), StoreError> {
    let kept = service.config.retention.files;
    let (now, forgotten_until) = service.db.read(|tx| Ok((tx.now()?, retention::expired_until(tx)?))).await?;
    let cut = kept.map(|kept| before(now, kept));
    // A job made after both can't be due: most directories are passed by without asking the store.
    let Some(youngest) = cut.max(forgotten_until) else { return Ok(()) };
    let root = service.jobs_dir();
    let mut entries = match blocking(move || std::fs::read_dir(root)).await? {
        Ok(entries) => entries,
        // No job has had any files so far.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(unreadable(&e)),
    };
    let mut removed = 0;
    loop {
        let batch = blocking(move || {
            let old = |path: &PathBuf| job_of(path).filter(|id| id.made_at() <= youngest);
            let paths = entries.by_ref().map_while(Result::ok).map(|entry| entry.path());
            let found: Vec<(JobId, PathBuf)> =
                paths.filter_map(|path| Some((old(&path)?, path))).take(DIRECTORIES_AT_ONCE).collect();
            (entries, found)
        });
        let (rest, found) = batch.await?;
        entries = rest;
        if found.is_empty() {
            break;
        }
        let ids: Vec<JobId> = found.iter().map(|(id, _)| *id).collect();
        let ends = service.db.read(move |tx| retention::ends(tx, &ids)).await?;
        let due = |id: &JobId| match ends.get(id) {
            Some(Some(ended)) => cut.is_some_and(|cut| *ended < cut),
            // It has not ended.
            Some(None) => false,
            // Only what this database has forgotten: a directory may have been brought along from another one.
            None => forgotten_until.is_some_and(|until| id.made_at() <= until),
        };
        let paths: Vec<PathBuf> = found.into_iter().filter(|(id, _)| due(id)).map(|(_, path)| path).collect();
        if !paths.is_empty() {
            removed += blocking(move || remove(&paths)).await?;
            sleep(PAUSE).await;
        }
    }
    if removed > 0 {
        tracing::info!(jobs = removed, "logs and results are removed");
    }
    Ok(())
}

/// Uploads that no job holds. Every replica looks after its own storage; those that share one take turns by a lock.
async fn remove_artifacts(service: &Arc<Service>) -> std::io::Result<()> {
    let kept = service.config.retention.artifacts;
    let mut removed = 0;
    loop {
        let artifacts = service.artifacts.clone();
        let batch = tokio::task::spawn_blocking(move || artifacts.remove_old(kept, ARTIFACTS_AT_ONCE));
        let (some, more) = batch.await.map_err(std::io::Error::other)??;
        removed += some;
        if !more {
            break;
        }
        sleep(PAUSE).await;
    }
    if removed > 0 {
        tracing::info!(uploads = removed, "uploads that no job names are removed");
    }
    Ok(())
}

/// Removes directories; says how many. Another replica may be doing the same.
fn remove(paths: &[PathBuf]) -> u64 {
    let mut removed = 0;
    for path in paths {
        match std::fs::remove_dir_all(path) {
            Ok(()) => removed += 1,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => {
                tracing::warn!(path = %path.display(), error = %e, "a directory can't be removed; trying again later");
            }
        }
    }
    removed
}

/// The job whose directory this is; None for what is no job's.
fn job_of(path: &std::path::Path) -> Option<JobId> {
    path.file_name()?.to_str()?.parse().ok()
}

async fn blocking<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(f).await.map_err(|_| StoreError::Closed)
}

fn unreadable(e: &std::io::Error) -> StoreError {
    StoreError::unreadable("directory of the jobs", e)
}

#[cfg(test)]
mod tests {
    use libra_core::time::Timestamp;

    use super::*;

    #[test]
    fn it_looks_often_enough_and_not_too_often() {
        let period = |jobs: Option<u64>, files: Option<u64>| {
            let kept = |s: Option<u64>| s.map(Duration::from_secs);
            super::period(&Retention {
                jobs: kept(jobs),
                max_jobs: None,
                files: kept(files),
                samples: None,
                artifacts: Duration::from_hours(7 * 24),
            })
            .as_secs()
        };
        let day = 86_400;
        assert_eq!(period(Some(90 * day), Some(30 * day)), 3_600);
        assert_eq!(period(None, None), 3_600);
        assert_eq!(period(Some(600), None), 60);
        assert_eq!(period(Some(90 * day), Some(2)), 1);
    }

    #[test]
    fn only_directories_of_jobs_are_looked_at() {
        let id = JobId::new(Timestamp(1_000), [1; 10]);
        assert_eq!(job_of(std::path::Path::new(&format!("/data/jobs/{id}"))), Some(id));
        for path in ["/data/jobs/lost+found", "/data/jobs/job-1", "/"] {
            assert_eq!(job_of(std::path::Path::new(path)), None, "{path}");
        }
    }
}
