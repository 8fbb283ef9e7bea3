//! What Libra itself does with files on the way of a job; everything else about them is the engines'. A trait, so
//! that a simulation needs no disk.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use libra_engines::shim;

/// Makes directories, and signs of life.
pub(crate) trait Files: Send + Sync {
    /// Makes a directory and those above it, for this user's eyes only: programs and data are in it.
    fn make_dir(&self, dir: &Path) -> io::Result<()>;

    /// Shows whoever watches this file that a replica of this host lives.
    fn touch(&self, file: &Path) -> io::Result<()>;
}

/// The machine's files.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Disk;

impl Files for Disk {
    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
    }

    fn touch(&self, file: &Path) -> io::Result<()> {
        shim::touch(file)
    }
}
