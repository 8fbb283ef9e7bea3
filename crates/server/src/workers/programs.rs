//! Watching the files that deployments name: one that has changed, and has arrived whole, is applied as its deployment's
//! owner would apply it (contract F6). The leader does it alone.
//!
//! Files are looked at each second instead of waiting to be told: that works on every file system, also where another
//! host writes, needs one look at each file that a deployment names, and a leader that was away has missed nothing.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use libra_api::problem::Code;
use libra_core::artifact::Digest;
use libra_store::StoreError;
use libra_store::tables::deployment_history::Happening;
use libra_store::tables::deployments::{self, Name, Remark};
use tokio::time::{Instant, sleep};

use super::Shutdown;
use crate::artifacts::{Form, form, look};
use crate::service::standing::leader_fence;
use crate::service::{FollowedProgram, Service, file_in, followed_program};

/// Files are looked at this often.
const PERIOD: Duration = Duration::from_secs(1);
/// A file counts once it has not changed for so long: what is being written is left alone.
const SETTLED: Duration = Duration::from_secs(3);
/// Deployments that are read in one transaction.
const AT_ONCE: usize = 200;

pub(super) async fn run(service: Arc<Service>, mut shutdown: Shutdown) {
    if service.config.flink.directories.is_empty() || service.flink.is_empty() {
        // No worker ends before it is told to.
        shutdown.wait().await;
        return;
    }
    while !shutdown.is_now() {
        let epoch = tokio::select! {
            () = shutdown.wait() => return,
            epoch = service.standing.leads() => epoch,
        };
        let mut watch =
            Watch { service: Arc::clone(&service), epoch, known: HashMap::new(), files: HashMap::new() };
        while service.leader_epoch() == Some(epoch) {
            let looked = tokio::select! {
                () = shutdown.wait() => return,
                looked = watch.look() => looked,
            };
            if let Err(error) = looked {
                tracing::warn!(%error, "files of deployments could not be looked at; trying again");
            }
            tokio::select! {
                () = shutdown.wait() => return,
                () = sleep(PERIOD) => {}
            }
        }
    }
}

/// What is watched while this replica leads.
struct Watch {
    service: Arc<Service>,
    epoch: i64,
    known: HashMap<Name, Known>,
    /// By `artifact_path`.
    files: HashMap<String, Seen>,
}

/// A deployment, as of one version.
struct Known {
    version: i64,
    /// None = it names no file, or wants none to be followed.
    program: Option<FollowedProgram>,
    /// What has been made of the file as it is, if anything.
    done: Option<Mark>,
}

/// A file, and since when it is as it is.
struct Seen {
    mark: Mark,
    since: Instant,
    /// What it is; None = not looked into yet.
    found: Option<Found>,
}

#[derive(Clone, PartialEq, Eq)]
enum Found {
    Whole(Digest),
    /// Its end is missing.
    InPart,
}

/// By what a change of a file, or of the signature beside it, is seen.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mark {
    file: PathBuf,
    content: Stamp,
    signature: Option<Stamp>,
}

/// Device, inode, size in bytes, and time of the last change: that of the inode, for a copy may bring along the time of its
/// content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp(u64, u64, u64, i64, i64);

impl Stamp {
    fn of(m: &Metadata) -> Self {
        Self(m.dev(), m.ino(), m.size(), m.ctime(), m.ctime_nsec())
    }
}

impl Mark {
    /// None when there is no such file.
    fn of(file: PathBuf) -> Option<Self> {
        let content = Stamp::of(&fs::metadata(&file).ok()?);
        let mut beside = OsString::from(&file);
        beside.push(".minisig");
        let signature = fs::metadata(beside).ok().as_ref().map(Stamp::of);
        Some(Self { file, content, signature })
    }
}

impl Watch {
    async fn look(&mut self) -> Result<(), StoreError> {
        self.notice_deployments().await?;
        self.notice_files().await;
        self.look_into_settled().await;
        self.follow().await
    }

    /// Reads the deployments that are new or have another version.
    async fn notice_deployments(&mut self) -> Result<(), StoreError> {
        let clusters: Vec<String> = self.service.flink.iter().map(|cluster| cluster.name.clone()).collect();
        let read = self.service.db.read(move |tx| {
            let mut all = Vec::new();
            for cluster in clusters {
                all.extend(deployments::heads(tx, &cluster)?);
            }
            Ok(all)
        });
        let heads = read.await?;
        let there: HashSet<&Name> = heads.iter().map(|(name, _)| name).collect();
        self.known.retain(|name, _| there.contains(name));
        let changed: Vec<Name> = heads
            .into_iter()
            .filter(|(name, head)| self.known.get(name).is_none_or(|known| known.version != head.version))
            .map(|(name, _)| name)
            .collect();
        for names in changed.chunks(AT_ONCE) {
            let names = names.to_vec();
            let read = self.service.db.read(move |tx| {
                let mut read = Vec::with_capacity(names.len());
                for name in names {
                    if let Some((version, program)) = followed_program(tx, &name)? {
                        read.push((name, Known { version, program, done: None }));
                    }
                }
                Ok(read)
            });
            self.known.extend(read.await?);
        }
        Ok(())
    }

    /// Looks which files are others by now.
    async fn notice_files(&mut self) {
        let paths: HashSet<String> =
            self.known.values().filter_map(|known| Some(known.program.as_ref()?.path.clone())).collect();
        let directories = self.service.config.flink.directories.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let mark = |path: &str| Mark::of(file_in(&directories, path)?);
            paths.into_iter().map(|path| (mark(&path), path)).collect::<Vec<_>>()
        });
        let Ok(looked) = looked.await else { return };
        let mut files = HashMap::with_capacity(looked.len());
        for (mark, path) in looked {
            // One that is gone is waited for.
            let Some(mark) = mark else { continue };
            let seen = self.files.remove(&path).filter(|seen| seen.mark == mark);
            let seen = seen.unwrap_or_else(|| Seen { mark, since: Instant::now(), found: None });
            files.insert(path, seen);
        }
        self.files = files;
    }

    /// Reads the files that have not changed for a while, each once.
    async fn look_into_settled(&mut self) {
        for seen in self.files.values_mut() {
            if seen.found.is_some() || seen.since.elapsed() < SETTLED {
                continue;
            }
            let file = seen.mark.file.clone();
            match tokio::task::spawn_blocking(move || found(&file)).await {
                Ok(Ok(found)) => seen.found = Some(found),
                Ok(Err(error)) => {
                    tracing::debug!(file = %seen.mark.file.display(), %error, "a program can't be read; trying again");
                }
                Err(error) => tracing::error!(%error, "a look at a program has failed"),
            }
        }
    }

    /// Applies what has changed.
    async fn follow(&mut self) -> Result<(), StoreError> {
        for (name, known) in &mut self.known {
            let Some(program) = &mut known.program else { continue };
            let Some(seen) = self.files.get(&program.path) else { continue };
            let Some(Found::Whole(digest)) = &seen.found else { continue };
            let applied = program.digest.get_or_insert_with(|| digest.clone());
            if applied == digest || known.done.as_ref() == Some(&seen.mark) {
                continue;
            }
            if self.service.leader_epoch() != Some(self.epoch) {
                break;
            }
            match self.service.follow_program(name, known.version, program).await {
                Ok(()) => known.done = Some(seen.mark.clone()),
                Err(error)
                    if [Code::Unavailable, Code::StaleVersion, Code::Internal].contains(&error.code) =>
                {
                    tracing::debug!(deployment = name.id, why = error.message, "a program is followed later");
                }
                Err(error) => {
                    let message = format!(
                        "the file {} is another one by now (sha256:{}) and is not deployed: {}",
                        program.path,
                        digest.hex(),
                        error.message
                    );
                    tracing::info!(deployment = name.id, "{message}");
                    let remark = Remark {
                        name: name.clone(),
                        generation: program.generation,
                        what: Happening { kind: "program_not_followed".to_owned(), message },
                        at: self.service.clock.now(),
                    };
                    let fence = leader_fence(self.epoch);
                    self.service.db.write(move |tx| deployments::remark(tx, &fence, &remark)).await?;
                    known.done = Some(seen.mark.clone());
                }
            }
        }
        Ok(())
    }
}

/// What a file is.
fn found(file: &Path) -> io::Result<Found> {
    let mut opened = File::open(file)?;
    // What is being copied is not read whole.
    if opened.metadata()?.len() == 0 || form(&mut opened)? == Form::ZipInPart {
        return Ok(Found::InPart);
    }
    Ok(Found::Whole(look(file, |_| ())?.digest))
}
