//! Uploads on disk: one file for each digest, in a directory of each tenant's own, under `artifacts/`.
//!
//! A job that names an upload holds it by a hard link in its own directory, made before the job is stored: the file
//! system counts the references, and what has one is never removed. What has none is kept for a while after it was
//! last asked for. Removing takes the directory's lock alone, everybody else shares it. What is held by something else
//! than a job has its second name under `held`.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use libra_core::artifact::Digest;
use sha2::{Digest as _, Sha256};

mod held;
mod look;

pub(crate) use look::{Form, Looked, form, look};

use crate::hex;

/// What is uploaded is read only, and by Libra's own user only.
const MODE: u32 = 0o400;
/// An upload under way that was not written to for this long was left behind by a Libra that died.
const ABANDONED: Duration = Duration::from_hours(1);
/// Bytes of a file that are read at once.
const READ_BYTES: usize = 256 * 1024;
/// Digits of a tenant's name in the directory.
const TENANT_DIGITS: usize = 32;

/// Where uploads are.
#[derive(Clone, Debug)]
pub(crate) struct Artifacts {
    dir: PathBuf,
}

/// An upload under way; dropped before its end, it leaves nothing.
pub(crate) struct Upload {
    file: File,
    path: PathBuf,
    hash: Sha256,
    size: u64,
}

/// Why an upload was not kept.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The bytes have another digest: this one.
    OtherDigest(Digest),
    /// The disk.
    Disk(io::Error),
}

impl From<io::Error> for Refused {
    fn from(e: io::Error) -> Self {
        Self::Disk(e)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // Kept elsewhere by then, or not to be kept.
        let _ = fs::remove_file(&self.path);
    }
}

impl Upload {
    /// The next piece.
    pub(crate) fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.file.write_all(piece)?;
        self.hash.update(piece);
        self.size = self.size.saturating_add(piece.len() as u64);
        Ok(())
    }

    /// The digest of the bytes so far.
    pub(crate) fn digest(&self) -> Option<Digest> {
        Digest::of_hex(&hex(&self.hash.clone().finalize()))
    }

    /// Bytes so far.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }
}

impl Artifacts {
    /// Uploads within `files_dir`.
    pub(crate) fn within(files_dir: &Path) -> Self {
        Self { dir: files_dir.join("artifacts") }
    }

    fn incoming(&self) -> PathBuf {
        self.dir.join("incoming")
    }

    fn of_tenant(&self, tenant: &str) -> PathBuf {
        self.dir.join("kept").join(tenant_dir(tenant))
    }

    fn path(&self, tenant: &str, digest: &Digest) -> PathBuf {
        self.of_tenant(tenant).join(digest.hex())
    }

    fn lock_file(&self) -> io::Result<File> {
        make(&self.dir)?;
        OpenOptions::new().create(true).append(true).mode(0o600).open(self.dir.join("lock"))
    }

    /// The size of an upload that is there, which will stay there for a while from now on; None when it is not.
    pub(crate) fn find(&self, tenant: &str, digest: &Digest) -> io::Result<Option<u64>> {
        let lock = self.lock_file()?;
        lock.lock_shared()?;
        match File::open(self.path(tenant, digest)) {
            Ok(file) => {
                file.set_modified(SystemTime::now())?;
                Ok(Some(file.metadata()?.len()))
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Where an upload is, which will stay there for a while from now on; None when it is not there.
    pub(crate) fn file(&self, tenant: &str, digest: &Digest) -> io::Result<Option<PathBuf>> {
        Ok(self.find(tenant, digest)?.map(|_| self.path(tenant, digest)))
    }

    /// Where a file may be made; `name` is one that no other has. What a Libra that died has left there goes after a while.
    pub(crate) fn draft(&self, name: &str) -> io::Result<PathBuf> {
        let dir = self.incoming();
        make(&dir)?;
        Ok(dir.join(name))
    }

    /// Begins an upload; `name` is one that no other upload has.
    pub(crate) fn begin(&self, name: &str) -> io::Result<Upload> {
        let path = self.draft(name)?;
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Upload { file, path, hash: Sha256::new(), size: 0 })
    }

    /// Keeps an upload whose bytes have this digest; true when it was not there before.
    pub(crate) fn keep(&self, tenant: &str, digest: &Digest, mut upload: Upload) -> Result<bool, Refused> {
        let found = hex(&std::mem::take(&mut upload.hash).finalize());
        match Digest::of_hex(&found) {
            Some(found) if found != *digest => return Err(Refused::OtherDigest(found)),
            Some(_) | None => {}
        }
        upload.file.set_permissions(Permissions::from_mode(MODE))?;
        upload.file.sync_all()?;
        let dir = self.of_tenant(tenant);
        make(&dir)?;
        let path = self.path(tenant, digest);
        let lock = self.lock_file()?;
        lock.lock_shared()?;
        match fs::hard_link(&upload.path, &path) {
            Ok(()) => {
                File::open(&dir)?.sync_all()?;
                Ok(true)
            }
            // What somebody has changed there since is replaced; who holds it keeps what it holds.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && is_whole(&path, digest)? => {
                File::open(&path)?.set_modified(SystemTime::now())?;
                Ok(false)
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists || takes_no_link(&e) => {
                fs::rename(&upload.path, &path)?;
                File::open(&dir)?.sync_all()?;
                Ok(true)
            }
            Err(e) => Err(e.into()),
        }
    }

    /// Puts an upload at `to`, a place that is made; false when the upload is not there. Safe twice.
    pub(crate) fn link(&self, tenant: &str, digest: &Digest, to: &Path) -> io::Result<bool> {
        if let Some(dir) = to.parent() {
            make(dir)?;
        }
        let lock = self.lock_file()?;
        lock.lock_shared()?;
        hold(&self.path(tenant, digest), to)
    }

    /// Removes what no job holds and nobody asked for within `kept`: at most `most` of them. Says how many, and
    /// whether there may be more.
    pub(crate) fn remove_old(&self, kept: Duration, most: usize) -> io::Result<(usize, bool)> {
        let Some(cut) = SystemTime::now().checked_sub(kept) else { return Ok((0, false)) };
        // Candidates without the lock, which is held for the few that go.
        let mut old = Vec::new();
        'tenants: for tenant in entries(&self.dir.join("kept"))? {
            for path in entries(&tenant)? {
                if is_due(&path, cut) {
                    old.push(path);
                }
                if old.len() >= most {
                    break 'tenants;
                }
            }
        }
        let lock = self.lock_file()?;
        lock.lock()?;
        let mut removed = 0;
        for path in &old {
            // It may have been asked for since.
            if is_due(path, cut) && removed_now(path)? {
                removed += 1;
            }
        }
        drop(lock);
        let left_behind = SystemTime::now().checked_sub(ABANDONED);
        for path in entries(&self.incoming())? {
            if left_behind.is_some_and(|cut| is_due(&path, cut)) {
                removed_now(&path)?;
            }
        }
        Ok((removed, removed > 0 && old.len() >= most))
    }
}

/// The name of a tenant's directory: a tenant's name may hold anything.
fn tenant_dir(tenant: &str) -> String {
    let mut name = hex(&Sha256::digest(tenant.as_bytes()));
    name.truncate(TENANT_DIGITS);
    name
}

/// Puts the file at `from` at `to` as well; false when it is not there.
pub(crate) fn hold(from: &Path, to: &Path) -> io::Result<bool> {
    match fs::hard_link(from, to) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) if takes_no_link(&e) => copy(from, to).map(|()| true),
        Err(e) => Err(e),
    }
}

/// Copies a file so that `to` is there whole or not at all, whoever copies at the same time, and outlives a crash. What a
/// crash leaves lies beside `to` and goes with what is there: nothing needs it.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = File::open(from)?;
    let (draft, mut file) = draft_beside(to)?;
    let copied =
        io::copy(&mut source, &mut file).and_then(|_| file.sync_all()).and_then(|()| fs::rename(&draft, to));
    if copied.is_err() {
        // The disk may be full.
        let _ = fs::remove_file(&draft);
    }
    copied?;
    to.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

/// A new file beside `to`. On a storage that hosts share, processes of two may have one number.
fn draft_beside(to: &Path) -> io::Result<(PathBuf, File)> {
    static DRAFTS: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = DRAFTS.fetch_add(1, Ordering::Relaxed);
        let draft = to.with_extension(format!("{}-{number}.new", std::process::id()));
        match OpenOptions::new().write(true).create_new(true).mode(MODE).open(&draft) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            other => return other.map(|file| (draft, file)),
        }
    }
}

/// True when the file system takes no link to this file: some take only so many, some none, which Linux calls EPERM
/// (link(2)), and none leads from one to another.
fn takes_no_link(e: &io::Error) -> bool {
    use io::ErrorKind::{CrossesDevices, PermissionDenied, TooManyLinks, Unsupported};
    matches!(e.kind(), CrossesDevices | PermissionDenied | TooManyLinks | Unsupported)
}

/// True when the file still has the digest that it was uploaded with.
pub(crate) fn is_whole(path: &Path, digest: &Digest) -> io::Result<bool> {
    let mut hash = Sha256::new();
    read(&mut File::open(path)?, |piece| {
        hash.update(piece);
        Ok(())
    })?;
    Ok(hex(&hash.finalize()) == digest.hex())
}

/// Removes a file; false when somebody was faster.
fn removed_now(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// True for a file that has no other name and was not touched since.
fn is_due(path: &Path, cut: SystemTime) -> bool {
    fs::symlink_metadata(path)
        .is_ok_and(|m| m.is_file() && m.nlink() == 1 && m.modified().is_ok_and(|at| at < cut))
}

/// Reads a file whole, a piece at a time.
fn read(file: &mut File, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut piece = vec![0; READ_BYTES];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(count) => each(&piece[..count])?,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// What is in a directory; nothing when there is none.
fn entries(dir: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(dir) {
        Ok(found) => found.map(|entry| Ok(entry?.path())).collect(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(e),
    }
}

fn make(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(bytes: &[u8]) -> Digest {
        Digest::of_hex(&hex(&Sha256::digest(bytes))).unwrap()
    }

    fn put(artifacts: &Artifacts, tenant: &str, bytes: &[u8], name: &str) -> bool {
        let mut upload = artifacts.begin(name).unwrap();
        upload.write(bytes).unwrap();
        artifacts.keep(tenant, &digest(bytes), upload).unwrap()
    }

    #[test]
    fn bytes_are_kept_once_for_each_tenant() {
        let dir = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::within(dir.path());
        assert_eq!(artifacts.find("t", &digest(b"x")).unwrap(), None);
        assert!(put(&artifacts, "t", b"x", "1"));
        assert!(!put(&artifacts, "t", b"x", "2"), "it was there");
        assert_eq!(artifacts.find("t", &digest(b"x")).unwrap(), Some(1));
        assert_eq!(artifacts.find("other", &digest(b"x")).unwrap(), None, "another tenant's");
        let mut upload = artifacts.begin("3").unwrap();
        upload.write(b"y").unwrap();
        let refused = artifacts.keep("t", &digest(b"z"), upload).unwrap_err();
        assert!(matches!(refused, Refused::OtherDigest(found) if found == digest(b"y")));
        assert_eq!(artifacts.find("t", &digest(b"y")).unwrap(), None);
        assert_eq!(entries(&artifacts.incoming()).unwrap(), Vec::<PathBuf>::new(), "nothing is left behind");
    }

    #[test]
    fn what_was_changed_on_the_disk_is_noticed_and_replaced_by_the_next_upload() {
        let dir = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::within(dir.path());
        put(&artifacts, "t", b"x", "1");
        let path = artifacts.path("t", &digest(b"x"));
        assert!(is_whole(&path, &digest(b"x")).unwrap());
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "y").unwrap();
        assert!(!is_whole(&path, &digest(b"x")).unwrap());
        assert!(put(&artifacts, "t", b"x", "2"), "it is new again");
        assert_eq!(fs::read(&path).unwrap(), b"x");
        assert_eq!(entries(&artifacts.incoming()).unwrap(), Vec::<PathBuf>::new(), "nothing is left behind");
    }

    #[test]
    fn only_what_nobody_holds_or_asked_for_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::within(dir.path());
        for bytes in [b"held", b"asks", b"old1", b"old2"] {
            put(&artifacts, "t", bytes, "1");
            let file = File::open(artifacts.path("t", &digest(bytes))).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_hours(3)).unwrap();
        }
        let held = dir.path().join("jobs/j/uploads/held");
        assert!(artifacts.link("t", &digest(b"held"), &held).unwrap());
        assert!(artifacts.link("t", &digest(b"held"), &held).unwrap(), "again");
        assert!(!artifacts.link("t", &digest(b"none"), &held.with_extension("x")).unwrap());
        artifacts.find("t", &digest(b"asks")).unwrap();
        let hour = Duration::from_hours(1);
        assert_eq!(artifacts.remove_old(hour, 1).unwrap(), (1, true), "a little at a time");
        assert_eq!(artifacts.remove_old(hour, 9).unwrap(), (1, false));
        for (bytes, there) in [(b"held", true), (b"asks", true), (b"old1", false), (b"old2", false)] {
            let file = artifacts.path("t", &digest(bytes));
            assert_eq!(file.exists(), there, "{file:?}");
        }
        fs::remove_file(held).unwrap();
        assert_eq!(artifacts.remove_old(hour, 9).unwrap(), (1, false), "its job is forgotten");
    }

    #[test]
    fn where_no_link_is_taken_a_whole_copy_is_held() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("program");
        fs::write(&from, vec![7; 3 << 20]).unwrap();
        fs::set_permissions(&from, Permissions::from_mode(MODE)).unwrap();
        // No link leads from one file system to another.
        let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
        let to = elsewhere.path().join("held");
        let others = fs::metadata(&from).unwrap().dev() != fs::metadata(elsewhere.path()).unwrap().dev();
        let take = || if others { hold(&from, &to).unwrap() } else { copy(&from, &to).is_ok() };
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    assert!(take());
                    assert_eq!(
                        fs::read(&to).unwrap(),
                        vec![7; 3 << 20],
                        "it is whole as soon as it is there"
                    );
                });
            }
        });
        assert_eq!(entries(elsewhere.path()).unwrap(), [to], "no draft is left");
        assert!(!hold(&dir.path().join("none"), &elsewhere.path().join("other")).unwrap());
    }

    #[test]
    fn what_a_libra_that_died_was_making_goes_after_a_while() {
        let dir = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::within(dir.path());
        let (old, new) = (artifacts.draft("1").unwrap(), artifacts.draft("2").unwrap());
        fs::write(&old, "half a jar").unwrap();
        fs::write(&new, "half a jar").unwrap();
        File::open(&old).unwrap().set_modified(SystemTime::now() - 2 * ABANDONED).unwrap();
        artifacts.remove_old(Duration::from_hours(1), 9).unwrap();
        assert_eq!(entries(&artifacts.incoming()).unwrap(), [new], "somebody may still be at it");
    }
}
