//! Programs of deployments on disk: one file for each digest under `programs/`.
//!
//! A program is copied when a specification is applied, and never changes afterwards; what is read is checked against
//! its name before Flink is given it (contract F6).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use libra_core::artifact::Digest;
use sha2::{Digest as _, Sha256};

use crate::artifacts::is_whole;
use crate::hex;

/// Bytes that are read at once.
const PIECE_BYTES: usize = 256 * 1024;
/// What a jar begins with: it is a ZIP archive.
const ZIP: [u8; 4] = *b"PK\x03\x04";
/// A program is read by Libra's own user only.
const MODE: u32 = 0o400;

/// Where programs are.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    dir: PathBuf,
}

/// A file that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Looked {
    pub(crate) digest: Digest,
    /// True for a ZIP archive, as jars are.
    pub(crate) zip: bool,
}

impl Programs {
    /// Programs within `files_dir`.
    pub(crate) fn within(files_dir: &Path) -> Self {
        Self { dir: files_dir.join("programs") }
    }

    /// Where the program with this digest is, or would be.
    pub(crate) fn path(&self, digest: &Digest) -> PathBuf {
        self.dir.join(digest.hex())
    }

    /// Reads a file whole and says what it is.
    pub(crate) fn look(file: &Path) -> io::Result<Looked> {
        let mut hash = Sha256::new();
        let mut first = Vec::new();
        read(file, |piece| {
            if first.len() < ZIP.len() {
                first.extend(piece.iter().take(ZIP.len()));
            }
            hash.update(piece);
            Ok(())
        })?;
        Ok(Looked { digest: digest(hash)?, zip: first.starts_with(&ZIP) })
    }

    /// Copies a file that was looked at, unless its bytes are there already.
    ///
    /// # Errors
    /// Also when the file is another one by now.
    pub(crate) fn keep(&self, file: &Path, looked: &Digest, name: &str) -> io::Result<()> {
        let to = self.path(looked);
        if to.exists() && is_whole(&to, looked)? {
            return Ok(());
        }
        fs::create_dir_all(&self.dir)?;
        let new = self.dir.join(format!("{name}.new"));
        let copied = Self::copy(file, &new, looked).and_then(|()| fs::rename(&new, &to));
        if copied.is_err() {
            // It may not be there at all.
            let _ = fs::remove_file(&new);
        }
        copied?;
        File::open(&self.dir)?.sync_all()
    }

    fn copy(file: &Path, new: &Path, looked: &Digest) -> io::Result<()> {
        let mut hash = Sha256::new();
        let mut out = OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(new)?;
        read(file, |piece| {
            hash.update(piece);
            out.write_all(piece)
        })?;
        if digest(hash)? != *looked {
            return Err(io::Error::other("it was changed while it was read"));
        }
        out.sync_all()
    }

    /// The program with this digest, once its bytes were checked.
    ///
    /// # Errors
    /// When it is not there, or its bytes are others.
    pub(crate) fn checked(&self, digest: &Digest) -> io::Result<PathBuf> {
        let path = self.path(digest);
        if is_whole(&path, digest)? {
            Ok(path)
        } else {
            Err(io::Error::other("its bytes are not those that were applied"))
        }
    }
}

fn read(file: &Path, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut file = File::open(file)?;
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(()),
            read => each(&piece[..read])?,
        }
    }
}

fn digest(hash: Sha256) -> io::Result<Digest> {
    Digest::of_hex(&hex(&hash.finalize())).ok_or_else(|| io::Error::other("no digest"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_kept_once_and_checked_before_use() {
        let dir = tempfile::tempdir().unwrap();
        let programs = Programs::within(dir.path());
        let file = dir.path().join("job.jar");
        fs::write(&file, b"PK\x03\x04 and more").unwrap();
        let looked = Programs::look(&file).unwrap();
        assert!(looked.zip);
        programs.keep(&file, &looked.digest, "a").unwrap();
        programs.keep(&file, &looked.digest, "b").unwrap();
        assert_eq!(programs.checked(&looked.digest).unwrap(), programs.path(&looked.digest));
        assert_eq!(fs::read_dir(dir.path().join("programs")).unwrap().count(), 1);
        // Somebody has changed it.
        fs::remove_file(programs.path(&looked.digest)).unwrap();
        fs::write(programs.path(&looked.digest), b"other").unwrap();
        assert!(programs.checked(&looked.digest).is_err());
        programs.keep(&file, &looked.digest, "c").unwrap();
        assert!(programs.checked(&looked.digest).is_ok(), "it is put right");
        fs::write(&file, b"text").unwrap();
        assert!(!Programs::look(&file).unwrap().zip);
        let wrong = programs.keep(&file, &Programs::look(&dir.path().join("job.jar")).unwrap().digest, "d");
        assert!(wrong.is_ok());
        let elsewhere = Digest::of_hex(&"0".repeat(64)).unwrap();
        assert!(programs.keep(&file, &elsewhere, "e").is_err(), "it is another one by now");
        assert!(!programs.path(&elsewhere).exists());
    }
}
