//! Disk, memory, and the data directory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access, statvfs};

use super::report::Check;

/// Bytes in a GiB.
const GIB: u64 = 1024 * 1024 * 1024;
/// Below this much free disk, results and logs will soon have no room. Bytes.
const LITTLE_DISK: u64 = 2 * GIB;
/// Below this much free memory, Spark starts but has little to work with. Bytes.
const LITTLE_MEMORY: u64 = 2 * GIB;
/// Below this much free memory, Spark will not start. Bytes.
const TOO_LITTLE_MEMORY: u64 = GIB / 2;

/// Whether the data directory can be written, or made. `running`: a Libra answers on the port.
pub(super) fn data_dir(dir: &Path, running: bool) -> Check {
    let shown = dir.display();
    let hint = "choose another one: `libra serve --data-dir DIR`";
    let (there, parent) = match existing(dir) {
        Ok(found) => (found == dir, found),
        Err(e) => {
            return Check::missing("data directory", format!("{shown} can't be looked at: {e}")).hint(hint);
        }
    };
    if !parent.is_dir() {
        return Check::missing("data directory", format!("{} is not a directory", parent.display()))
            .hint(hint);
    }
    if access(&parent, Access::WRITE_OK | Access::EXEC_OK).is_err() {
        return Check::missing("data directory", format!("{} can't be written", parent.display())).hint(hint);
    }
    let state = match (there, running) {
        (true, true) => "is there; a running Libra may be using it",
        (true, false) => "can be written",
        (false, _) => "will be made",
    };
    Check::ok("data directory", format!("{shown} {state}"))
}

pub(super) fn disk(dir: &Path) -> Check {
    let free = existing(dir).and_then(|place| Ok(statvfs(&place)?));
    match free.map(|fs| fs.f_bavail.saturating_mul(fs.f_frsize)) {
        Ok(free) => judge("disk", free, LITTLE_DISK, 0, "free some, or choose another place with --data-dir"),
        Err(e) => Check::warning("disk", format!("the free space is not known: {e}")),
    }
}

pub(super) fn memory() -> Check {
    let free = fs::read_to_string("/proc/meminfo").ok().as_deref().and_then(available_memory);
    match free {
        Some(free) => judge(
            "memory",
            free,
            LITTLE_MEMORY,
            TOO_LITTLE_MEMORY,
            "end other programs, or take a larger machine",
        ),
        None => Check::warning("memory", "the free memory is not known"),
    }
}

fn judge(name: &'static str, free: u64, little: u64, too_little: u64, hint: &str) -> Check {
    let detail = format!("{:.1} GiB free", free as f64 / GIB as f64);
    if free <= too_little {
        Check::missing(name, detail).hint(hint)
    } else if free < little {
        Check::warning(name, detail).hint(hint)
    } else {
        Check::ok(name, detail)
    }
}

/// The nearest directory of `dir` and its parents that is there.
fn existing(dir: &Path) -> io::Result<PathBuf> {
    let absolute = std::path::absolute(dir)?;
    let found = absolute.ancestors().find(|place| place.exists());
    // The very path as it was given, when that is the one: the caller compares.
    Ok(found.map_or_else(
        || PathBuf::from("/"),
        |place| if place == absolute { dir.into() } else { place.into() },
    ))
}

/// Free memory in bytes, from `/proc/meminfo`.
fn available_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_judged() {
        assert_eq!(available_memory("MemTotal: 9 kB\nMemAvailable:   2048 kB\n"), Some(2 * 1024 * 1024));
        assert_eq!(available_memory(""), None);
        assert!(judge("memory", 3 * GIB, LITTLE_MEMORY, TOO_LITTLE_MEMORY, "").is_ok());
        assert!(!judge("memory", GIB, LITTLE_MEMORY, TOO_LITTLE_MEMORY, "").is_ok());
        assert!(!judge("disk", 0, LITTLE_DISK, 0, "").is_ok());
    }

    #[test]
    fn a_data_directory_must_be_one() {
        let place = tempfile::tempdir().unwrap();
        assert!(data_dir(place.path(), false).is_ok());
        assert!(data_dir(&place.path().join("a/b"), false).is_ok());
        let file = place.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(!data_dir(&file, false).is_ok());
        assert!(!data_dir(&file.join("below"), false).is_ok());
        assert!(disk(&place.path().join("a/b")).is_ok());
    }
}
