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
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use libra_api::problem::Code;
use libra_core::artifact::Digest;
use libra_store::StoreError;
use libra_store::tables::deployment_history::Happening;
use libra_store::tables::deployments::{self, Name, Remark};
use tokio::task::{Id, JoinError, JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};

use super::Shutdown;
use crate::artifacts::{Form, form, look};
use crate::service::standing::leader_fence;
use crate::service::{FollowedProgram, Service, ServiceError, file_in, followed_program};

/// Files are looked at this often.
const PERIOD: Duration = Duration::from_secs(1);
/// A file counts once it has not changed for so long: what is being written is left alone.
const SETTLED: Duration = Duration::from_secs(3);
/// Deployments that are read in one transaction.
const AT_ONCE: usize = 200;
/// Files that are read at one time; so many threads may hang with their file system.
const READS_AT_ONCE: usize = 8;
/// Files that are applied at one time: a cluster that does not answer delays no other.
const FOLLOWED_AT_ONCE: usize = 16;
/// So long is waited for what all files are now.
const LOOK_PATIENCE: Duration = Duration::from_secs(10);
/// So long may it take to apply one.
const FOLLOW_PATIENCE: Duration = Duration::from_mins(2);
/// One that could not be applied is tried again after this time.
const FOLLOW_AGAIN: Duration = Duration::from_secs(5);

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
        let mut watch = Watch::new(Arc::clone(&service), epoch);
        while service.leader_epoch() == Some(epoch) {
            tokio::select! {
                () = shutdown.wait() => return,
                looked = watch.look() => {
                    if let Err(error) = looked {
                        tracing::warn!(%error, "files of deployments could not be looked at; trying again");
                    }
                }
            }
            watch.gather();
            let next = sleep(PERIOD);
            tokio::pin!(next);
            loop {
                watch.read_settled();
                watch.follow();
                tokio::select! {
                    () = shutdown.wait() => return,
                    () = &mut next => break,
                    Some(read) = watch.reads.join_next_with_id() => watch.take_read(read),
                    Some(done) = watch.follows.join_next_with_id() => watch.take_followed(done),
                }
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
    /// A look at all files that has not ended yet.
    looking: Option<JoinHandle<Marks>>,
    /// Files that are to be read, by their `artifact_path`, and deployments whose file may be another one.
    to_read: Vec<String>,
    to_follow: Vec<Name>,
    /// Files that are being read, by their `artifact_path`. One that hangs is not read a second time beside it.
    reads: JoinSet<io::Result<Option<Found>>>,
    reading: HashMap<Id, (String, Mark)>,
    /// Deployments to which files are being applied.
    follows: JoinSet<bool>,
    following: HashMap<Id, Following>,
}

/// What there is by each `artifact_path`; None = no file.
type Marks = Vec<(Option<Mark>, String)>;

/// What is being applied, and to which version of a deployment.
struct Following {
    name: Name,
    version: i64,
    mark: Mark,
}

/// A deployment, as of one version.
struct Known {
    version: i64,
    /// None = it names no file, or wants none to be followed.
    program: Option<FollowedProgram>,
    /// The file as it was when it was applied, or told why not.
    done: Option<Mark>,
    /// Its file is not applied before: the last time has taken too long.
    not_before: Option<Instant>,
}

impl Known {
    fn new(version: i64, program: Option<FollowedProgram>) -> Self {
        Self { version, program, done: None, not_before: None }
    }
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
    fn new(service: Arc<Service>, epoch: i64) -> Self {
        Self {
            service,
            epoch,
            known: HashMap::new(),
            files: HashMap::new(),
            looking: None,
            to_read: Vec::new(),
            to_follow: Vec::new(),
            reads: JoinSet::new(),
            reading: HashMap::new(),
            follows: JoinSet::new(),
            following: HashMap::new(),
        }
    }

    async fn look(&mut self) -> Result<(), StoreError> {
        self.notice_deployments().await?;
        self.notice_files().await;
        Ok(())
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
        let changed: Vec<(Name, i64)> = heads
            .into_iter()
            .filter(|(name, head)| self.known.get(name).is_none_or(|known| known.version != head.version))
            .map(|(name, head)| (name, head.version))
            .collect();
        for names in changed.chunks(AT_ONCE) {
            let names = names.to_vec();
            let read = self.service.db.read(move |tx| {
                let mut read = Vec::with_capacity(names.len());
                for (name, version) in names {
                    match followed_program(tx, &name) {
                        Ok(Some((version, program))) => read.push((name, Known::new(version, program))),
                        Ok(None) => {}
                        // Known without a file, so that it is told once; another version is read again.
                        Err(error @ StoreError::Unreadable { .. }) => {
                            tracing::error!(deployment = name.id, %error, "its file is not followed");
                            read.push((name, Known::new(version, None)));
                        }
                        Err(error) => return Err(error),
                    }
                }
                Ok(read)
            });
            self.known.extend(read.await?);
        }
        Ok(())
    }

    /// Looks which files are others by now. A file system that hangs is waited for a while, and asked by nobody else
    /// meanwhile.
    async fn notice_files(&mut self) {
        let (known, service) = (&self.known, &self.service);
        let looking = self.looking.get_or_insert_with(|| {
            let paths: HashSet<String> =
                known.values().filter_map(|known| Some(known.program.as_ref()?.path.clone())).collect();
            let directories = service.config.flink.directories.clone();
            tokio::task::spawn_blocking(move || {
                let mark = |path: &str| Mark::of(file_in(&directories, path)?);
                paths.into_iter().map(|path| (mark(&path), path)).collect()
            })
        });
        let Ok(looked) = timeout(LOOK_PATIENCE, looking).await else {
            tracing::warn!(
                "the directories of programs don't answer; their files are not followed meanwhile"
            );
            return;
        };
        self.looking = None;
        let Ok(looked) = looked else { return };
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

    /// What there is to do until the next look: files that have not changed for a while are read, each once, and those
    /// that have been read are applied where they are others.
    fn gather(&mut self) {
        let is_due = |path: &str, seen: &Seen| {
            let busy = self.reading.values().any(|(reading, _)| reading == path);
            seen.found.is_none() && seen.since.elapsed() >= SETTLED && !busy
        };
        let due = self.files.iter().filter(|(path, seen)| is_due(path, seen));
        self.to_read = due.map(|(path, _)| path.clone()).collect();
        self.to_follow.clear();
        for (name, known) in &mut self.known {
            let Some(program) = &mut known.program else { continue };
            let Some(seen) = self.files.get(&program.path) else { continue };
            let Some(Found::Whole(digest)) = &seen.found else { continue };
            let applied = program.digest.get_or_insert_with(|| digest.clone());
            let early = known.not_before.is_some_and(|at| Instant::now() < at);
            let busy = self.following.values().any(|following| following.name == *name);
            if applied != digest && known.done.as_ref() != Some(&seen.mark) && !early && !busy {
                self.to_follow.push(name.clone());
            }
        }
    }

    /// Reads a few files at a time.
    fn read_settled(&mut self) {
        while self.reads.len() < READS_AT_ONCE
            && let Some(path) = self.to_read.pop()
        {
            let Some(seen) = self.files.get(&path) else { continue };
            let mark = seen.mark.clone();
            let id = self.reads.spawn_blocking(move || found(&mark)).id();
            self.reading.insert(id, (path, seen.mark.clone()));
        }
    }

    fn take_read(&mut self, read: Result<(Id, io::Result<Option<Found>>), JoinError>) {
        let (id, read) = match read {
            Ok(read) => read,
            Err(error) => {
                tracing::error!(%error, "a look at a program has failed");
                (error.id(), Ok(None))
            }
        };
        let Some((path, mark)) = self.reading.remove(&id) else { return };
        let Some(seen) = self.files.get_mut(&path).filter(|seen| seen.mark == mark) else { return };
        match read {
            Ok(Some(found)) => seen.found = Some(found),
            // It is being written to.
            Ok(None) => seen.since = Instant::now(),
            Err(error) => {
                tracing::debug!(file = %mark.file.display(), %error, "a program can't be read; trying again");
                seen.since = Instant::now();
            }
        }
    }

    /// Applies a few at a time.
    fn follow(&mut self) {
        while self.follows.len() < FOLLOWED_AT_ONCE
            && let Some(name) = self.to_follow.pop()
        {
            let Some(known) = self.known.get(&name) else { continue };
            let Some(program) = &known.program else { continue };
            let Some(seen) = self.files.get(&program.path) else { continue };
            let Some(Found::Whole(digest)) = &seen.found else { continue };
            if self.service.leader_epoch() != Some(self.epoch) {
                return;
            }
            let following = Following { name, version: known.version, mark: seen.mark.clone() };
            let change = Change {
                service: Arc::clone(&self.service),
                epoch: self.epoch,
                name: following.name.clone(),
                version: known.version,
                program: program.clone(),
                digest: digest.clone(),
            };
            let id = self.follows.spawn(change.apply()).id();
            self.following.insert(id, following);
        }
    }

    fn take_followed(&mut self, done: Result<(Id, bool), JoinError>) {
        let (id, done) = done.unwrap_or_else(|error| {
            tracing::error!(%error, "a program could not be followed");
            (error.id(), false)
        });
        let Some(Following { name, version, mark }) = self.following.remove(&id) else { return };
        // One that somebody has applied meanwhile is looked at anew.
        let Some(known) = self.known.get_mut(&name).filter(|known| known.version == version) else { return };
        if done {
            known.done = Some(mark);
        } else {
            known.not_before = Some(Instant::now() + FOLLOW_AGAIN);
        }
    }
}

/// A file that has become another one, for a deployment of this version.
struct Change {
    service: Arc<Service>,
    epoch: i64,
    name: Name,
    version: i64,
    program: FollowedProgram,
    /// What it is now.
    digest: Digest,
}

impl Change {
    /// Applies it, or tells why not; false when it is to be tried again.
    async fn apply(self) -> bool {
        let Self { service, name, version, program, digest, .. } = &self;
        let followed =
            timeout(FOLLOW_PATIENCE, service.follow_program(name, *version, program, digest)).await;
        let error = match followed {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => error,
            Err(_) => ServiceError::new(Code::Unavailable, "it takes too long"),
        };
        if [Code::Unavailable, Code::StaleVersion, Code::Internal].contains(&error.code) {
            tracing::debug!(deployment = name.id, why = error.message, "a program is followed later");
            return false;
        }
        self.tell(&error.message).await
    }

    async fn tell(&self, why: &str) -> bool {
        let message = format!(
            "the file {} is another one by now (sha256:{}) and is not deployed: {why}",
            self.program.path,
            self.digest.hex(),
        );
        tracing::info!(deployment = self.name.id, "{message}");
        let remark = Remark {
            name: self.name.clone(),
            generation: self.program.generation,
            what: Happening { kind: "program_not_followed".to_owned(), message },
            at: self.service.clock.now(),
        };
        let fence = leader_fence(self.epoch);
        match self.service.db.write(move |tx| deployments::remark(tx, &fence, &remark)).await {
            Ok(_) => true,
            Err(error) => {
                tracing::warn!(deployment = self.name.id, %error, "an event could not be stored; trying again");
                false
            }
        }
    }
}

/// What a file is; None when it is not, or does not stay, what the mark says: somebody writes to it.
fn found(mark: &Mark) -> io::Result<Option<Found>> {
    let mut opened = File::open(&mark.file)?;
    let same = |file: &File| Ok::<_, io::Error>(Stamp::of(&file.metadata()?) == mark.content);
    // What is being copied is not read whole.
    if opened.metadata()?.len() == 0 || form(&mut opened)? == Form::ZipInPart {
        return Ok(same(&opened)?.then_some(Found::InPart));
    }
    let digest = look(&mark.file, |_| ())?.digest;
    // By its name as well: another file may have taken its place.
    let named = Stamp::of(&fs::metadata(&mark.file)?) == mark.content;
    Ok((named && same(&opened)?).then_some(Found::Whole(digest)))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn what_is_written_to_while_it_is_read_is_nothing_yet() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("job.py");
        fs::write(&path, "print(1)\n").unwrap();
        let mark = Mark::of(path.clone()).unwrap();
        let whole = look(&path, |_| ()).unwrap().digest;
        assert!(found(&mark).unwrap() == Some(Found::Whole(whole)));
        let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"print(2").unwrap();
        assert!(found(&mark).unwrap().is_none(), "its second half may be on its way");
        fs::write(dir.path().join("new"), "print(1)\n").unwrap();
        let mark = Mark::of(path.clone()).unwrap();
        fs::rename(dir.path().join("new"), &path).unwrap();
        assert!(found(&mark).unwrap().is_none(), "it is another file");
    }
}
