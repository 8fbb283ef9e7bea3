//! What the directories of a deployment hold: a cluster that was restarted knows nothing of the checkpoints and savepoints
//! that its predecessor has written.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use libra_core::deployment::reconcile::{Disk, Kept, Operation, Row};

/// The file that a complete checkpoint or savepoint has.
const COMPLETE: &str = "_metadata";

/// Reads the directories of the row's run and operation. None where they are not on a disk that is seen from here.
pub(super) async fn read(checkpoints: Option<String>, row: &Row) -> Option<Disk> {
    let root = checkpoints.as_deref().and_then(local).filter(|root| root.is_dir());
    let job = row.run.as_ref().map(|run| run.id.to_string());
    let savepoint = row.operation.as_ref().and_then(Operation::saving);
    let savepoint = savepoint.and_then(|saving| local(&saving.directory));
    // Neither can be seen: that is no proof that there is nothing.
    if root.is_none() && savepoint.is_none() {
        return None;
    }
    let look = move || {
        let savepoint = savepoint.and_then(|directory| complete_savepoint(&directory));
        Disk {
            checkpoint: root.zip(job).and_then(|(root, job)| newest_checkpoint(&root.join(job))),
            savepoint_number: savepoint.as_deref().and_then(number),
            savepoint: savepoint.as_deref().map(uri),
        }
    };
    tokio::task::spawn_blocking(look).await.ok()
}

/// The path of a directory on this machine: `file:/x`, `file:///x` or `/x`.
fn local(uri: &str) -> Option<PathBuf> {
    let path = match uri.split_once(':') {
        Some(("file", rest)) => rest.strip_prefix("//").unwrap_or(rest),
        Some(_) => return None,
        None => uri,
    };
    path.starts_with('/').then(|| PathBuf::from(path))
}

/// As Flink writes the path of a file.
fn uri(path: &Path) -> String {
    format!("file:{}", path.display())
}

fn newest_checkpoint(job: &Path) -> Option<Kept> {
    let numbered = children(job).filter_map(|dir| {
        let number = dir.file_name()?.to_str()?.strip_prefix("chk-")?.parse().ok()?;
        dir.join(COMPLETE).is_file().then(|| Kept { path: uri(&dir), number })
    });
    numbered.max_by_key(|kept| kept.number)
}

/// No other savepoint is written under this directory.
fn complete_savepoint(directory: &Path) -> Option<PathBuf> {
    children(directory).find(|dir| dir.join(COMPLETE).is_file())
}

/// Flink's number of a snapshot, from the head of its metadata: a magic number and a version of four bytes each, then the
/// number (`Checkpoints.storeCheckpointMetadata`, `MetadataV2V3SerializerBase.serializeMetadata` of Flink).
fn number(snapshot: &Path) -> Option<u64> {
    const MAGIC: [u8; 4] = 0x4960_672d_u32.to_be_bytes();
    let mut head = [0; 16];
    File::open(snapshot.join(COMPLETE)).ok()?.read_exact(&mut head).ok()?;
    let (magic, rest) = head.split_first_chunk::<4>()?;
    let number = u64::from_be_bytes(*rest.last_chunk::<8>()?);
    (*magic == MAGIC).then_some(number)
}

fn children(dir: &Path) -> impl Iterator<Item = PathBuf> {
    std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_complete_ones_count_and_the_greatest_number_is_the_newest() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["chk-9", "chk-10", "chk-11", "shared", "taskowned"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        assert_eq!(newest_checkpoint(dir.path()), None);
        for name in ["chk-9", "chk-10"] {
            fs::write(dir.path().join(name).join(COMPLETE), "").unwrap();
        }
        let newest = newest_checkpoint(dir.path()).unwrap();
        assert_eq!((newest.number, newest.path), (10, uri(&dir.path().join("chk-10"))));
        assert_eq!(complete_savepoint(&dir.path().join("chk-9")), None, "a checkpoint is none");
        assert!(newest_checkpoint(&dir.path().join("absent")).is_none());
        let nine = dir.path().join("chk-9");
        assert_eq!(number(&nine), None, "it is empty");
        let mut head = 0x4960_672d_0000_0006_u64.to_be_bytes().to_vec();
        head.extend(9_u64.to_be_bytes());
        fs::write(nine.join(COMPLETE), head).unwrap();
        assert_eq!(number(&nine), Some(9));
    }

    #[test]
    fn flinks_spellings_of_a_path_are_read() {
        for text in ["file:/a/b", "file:///a/b", "/a/b"] {
            assert_eq!(local(text).unwrap(), Path::new("/a/b"), "{text}");
        }
        for text in ["s3://b/a", "hdfs:/a", "a/b", ""] {
            assert_eq!(local(text), None, "{text}");
        }
    }
}
