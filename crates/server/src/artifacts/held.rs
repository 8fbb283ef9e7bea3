//! What deployments and names hold: `held/<tenant>/<sha256>`, a second name of the upload. It is let go of when nothing
//! stored needs it any more, and not before it has been held for a while: what is about to be stored holds first.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use libra_core::artifact::Digest;

use super::{Artifacts, Refused, entries, hold, is_whole, make, read, removed_now, tenant_dir};

impl Artifacts {
    fn held_dir(&self) -> PathBuf {
        self.dir.join("held")
    }

    /// Where an upload is while it is held.
    pub(crate) fn held_path(&self, tenant: &str, digest: &Digest) -> PathBuf {
        self.held_dir().join(tenant_dir(tenant)).join(digest.hex())
    }

    /// Keeps a file of this host as if it had been uploaded; `name` is one that no other upload has.
    ///
    /// # Errors
    /// Also when its bytes have another digest by now.
    pub(crate) fn take_in(&self, tenant: &str, file: &Path, digest: &Digest, name: &str) -> io::Result<()> {
        if let Some(kept) = self.file(tenant, digest)?
            && is_whole(&kept, digest)?
        {
            return Ok(());
        }
        let mut upload = self.begin(name)?;
        read(&mut File::open(file)?, |piece| upload.write(piece))?;
        match self.keep(tenant, digest, upload) {
            Ok(_) => Ok(()),
            Err(Refused::OtherDigest(_)) => Err(io::Error::other("it was changed while it was read")),
            Err(Refused::Disk(e)) => Err(e),
        }
    }

    /// Holds an upload for what is about to be stored; false when it is not there. Safe twice.
    pub(crate) fn hold(&self, tenant: &str, digest: &Digest) -> io::Result<bool> {
        let to = self.held_path(tenant, digest);
        if let Some(dir) = to.parent() {
            make(dir)?;
        }
        let lock = self.lock_file()?;
        lock.lock_shared()?;
        // What somebody has changed there is replaced by what was uploaded again.
        if to.exists() && !is_whole(&to, digest)? {
            removed_now(&to)?;
        }
        if !hold(&self.path(tenant, digest), &to)? {
            return Ok(false);
        }
        File::open(&to)?.set_modified(SystemTime::now())?;
        Ok(true)
    }

    /// Where that is which has been held for so long.
    pub(crate) fn held_for(&self, grace: Duration) -> io::Result<Vec<PathBuf>> {
        let Some(cut) = SystemTime::now().checked_sub(grace) else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for tenant in entries(&self.held_dir())? {
            found.extend(entries(&tenant)?.into_iter().filter(|path| was_held_before(path, cut)));
        }
        Ok(found)
    }

    /// Lets go of what nothing needs, unless somebody has held it since; says how many.
    pub(crate) fn let_go(&self, old: &[PathBuf], grace: Duration) -> io::Result<usize> {
        let Some(cut) = SystemTime::now().checked_sub(grace) else { return Ok(0) };
        let lock = self.lock_file()?;
        lock.lock()?;
        let mut gone = 0;
        for path in old {
            if was_held_before(path, cut) && removed_now(path)? {
                gone += 1;
            }
        }
        Ok(gone)
    }
}

fn was_held_before(path: &Path, cut: SystemTime) -> bool {
    fs::symlink_metadata(path).is_ok_and(|m| m.is_file() && m.modified().is_ok_and(|at| at < cut))
}

#[cfg(test)]
mod tests {
    use super::super::look;
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn age(path: &Path) {
        File::open(path).unwrap().set_modified(SystemTime::now() - 3 * HOUR).unwrap();
    }

    #[test]
    fn a_file_is_taken_in_once_held_and_checked_before_use() {
        let dir = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::within(dir.path());
        let file = dir.path().join("job.jar");
        fs::write(&file, b"program").unwrap();
        let digest = look(&file, |_| ()).unwrap().digest;
        assert!(!artifacts.hold("t", &digest).unwrap(), "it is not there yet");
        artifacts.take_in("t", &file, &digest, "1").unwrap();
        artifacts.take_in("t", &file, &digest, "2").unwrap();
        assert!(!artifacts.held_path("t", &digest).exists(), "nobody holds it");
        assert!(artifacts.hold("t", &digest).unwrap());
        assert!(artifacts.hold("t", &digest).unwrap(), "again");
        let held = artifacts.held_path("t", &digest);
        assert!(is_whole(&held, &digest).unwrap());
        assert!(!artifacts.held_path("other", &digest).exists());
        // Somebody has changed it.
        fs::remove_file(&held).unwrap();
        fs::write(&held, b"other").unwrap();
        assert!(!is_whole(&held, &digest).unwrap());
        artifacts.hold("t", &digest).unwrap();
        assert!(is_whole(&held, &digest).unwrap(), "it is put right");
        fs::write(&file, b"another program").unwrap();
        let elsewhere = Digest::of_hex(&"0".repeat(64)).unwrap();
        assert!(artifacts.take_in("t", &file, &elsewhere, "3").is_err(), "it is another one by now");
        assert_eq!(entries(&artifacts.incoming()).unwrap(), Vec::<PathBuf>::new(), "nothing is left behind");
    }

    #[test]
    fn what_is_held_stays_until_it_is_let_go_of() {
        let dir = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::within(dir.path());
        let held = |bytes: &[u8]| {
            let file = dir.path().join("file");
            fs::write(&file, bytes).unwrap();
            let digest = look(&file, |_| ()).unwrap().digest;
            artifacts.take_in("t", &file, &digest, "1").unwrap();
            artifacts.hold("t", &digest).unwrap();
            (artifacts.held_path("t", &digest), digest)
        };
        let (one, one_digest) = held(b"one");
        let (two, two_digest) = held(b"two");
        age(&one);
        age(&two);
        assert_eq!(artifacts.remove_old(HOUR, 9).unwrap(), (0, false), "both are held");
        let (three, _) = held(b"three");
        let old = artifacts.held_for(HOUR).unwrap();
        assert_eq!(old.len(), 2, "the third one was held just now");
        assert!(old.contains(&artifacts.held_path("t", &one_digest)));
        // An apply comes between.
        artifacts.hold("t", &two_digest).unwrap();
        assert_eq!(artifacts.let_go(&old, HOUR).unwrap(), 1);
        assert_eq!((one.exists(), two.exists(), three.exists()), (false, true, true));
        assert_eq!(artifacts.remove_old(HOUR, 9).unwrap(), (1, false), "an upload like any other by now");
    }
}
