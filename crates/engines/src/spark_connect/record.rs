//! What an attempt's directory says about its query, so that a restarted Libra knows as much.
//!
//! | file | says |
//! |---|---|
//! | `operation.json` | the query was about to be sent to that server, or never will be; created once |
//! | `result.json` | it succeeded, and the rows are whole |
//! | `end.json` | it ended in another way |
//!
//! These files guard against the death of Libra, not of the machine: with the machine the server dies too, and
//! [`crate::engine::Launch::same_boot`] tells; a file that is torn then says no less than none. What is written through to
//! the disk is the result, another end, and where a query went whose server is not of this machine.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use libra_core::attempt::{Exit, Outcome};
use libra_core::id::Token;
use libra_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::attempt_dir::AttemptDir;

/// Whether the query may have been sent (`operation.json`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "state")]
pub(super) enum Record {
    /// It was about to be sent.
    Sent(Sent),
    /// It was not sent and never will be.
    Revoked,
}

/// Where a query went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Sent {
    /// To this server.
    pub(super) server: Token,
    /// Then.
    pub(super) since: Timestamp,
    /// The server's own name of the session, where Libra does not know by itself whether the server was restarted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) session: Option<String>,
}

/// All that the directory says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum OnDisk {
    /// Nothing was sent so far.
    Nothing,
    /// Nothing was sent nor will be.
    Revoked,
    /// It may run.
    Sent(Sent),
    /// It is over.
    Ended(Exit),
}

fn operation_file(dir: &AttemptDir) -> PathBuf {
    dir.path().join("operation.json")
}

fn end_file(dir: &AttemptDir) -> PathBuf {
    dir.path().join("end.json")
}

/// Reads the directory.
///
/// # Errors
/// When a file is there but can't be read.
pub(super) fn read(dir: &AttemptDir) -> io::Result<OnDisk> {
    if let Some(exit) = read_json(&end_file(dir))? {
        return Ok(OnDisk::Ended(exit));
    }
    match fs::metadata(dir.result_file()) {
        Ok(metadata) => {
            let at = jiff::Timestamp::try_from(metadata.modified()?).map_err(io::Error::other)?;
            let at = Timestamp(at.as_microsecond());
            return Ok(OnDisk::Ended(Exit {
                outcome: Outcome::Succeeded,
                exit_code: None,
                signal: None,
                began: None,
                at,
            }));
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    Ok(match read_json(&operation_file(dir))? {
        None => OnDisk::Nothing,
        Some(Record::Revoked) => OnDisk::Revoked,
        Some(Record::Sent(sent)) => OnDisk::Sent(sent),
    })
}

/// An end other than success, where one was recorded.
///
/// # Errors
/// When the file is there but can't be read.
pub(super) fn read_end(dir: &AttemptDir) -> io::Result<Option<Exit>> {
    read_json(&end_file(dir))
}

/// Where the query was sent, if it was, whether it is over or not.
pub(super) fn sent_to(dir: &AttemptDir) -> Option<Sent> {
    match read_json(&operation_file(dir)) {
        Ok(Some(Record::Sent(sent))) => Some(sent),
        Ok(Some(Record::Revoked) | None) | Err(_) => None,
    }
}

/// Records that the query is about to be sent. False when the directory says something already.
///
/// # Errors
/// When the file system refuses.
pub(super) fn claim(dir: &AttemptDir, sent: Sent) -> io::Result<bool> {
    // A server of which Libra does not know by itself whether it was restarted may live on without this machine.
    let lasting = if sent.session.is_some() { Lasting::PowerLoss } else { Lasting::ThisBoot };
    create_once(&operation_file(dir), &Record::Sent(sent), lasting)
}

/// Makes sure that nothing will be sent. False when it was, or may have been.
///
/// # Errors
/// When the file system refuses.
pub(super) fn revoke(dir: &AttemptDir) -> io::Result<bool> {
    Ok(create_once(&operation_file(dir), &Record::Revoked, Lasting::PowerLoss)?
        || read_json::<Record>(&operation_file(dir))? == Some(Record::Revoked))
}

/// Records an end other than success.
///
/// # Errors
/// When the file system refuses.
pub(super) fn write_end(dir: &AttemptDir, exit: &Exit) -> io::Result<()> {
    let draft = write_draft(&end_file(dir), exit, Lasting::PowerLoss)?;
    fs::rename(draft, end_file(dir))
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(io::Error::other),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// How long a record has to be whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lasting {
    /// As long as the machine runs: no wait for the disk.
    ThisBoot,
    /// Also after a loss of power.
    PowerLoss,
}

/// Creates a file with its content in one step; false when it exists already.
fn create_once<T: Serialize>(path: &Path, value: &T, lasting: Lasting) -> io::Result<bool> {
    let draft = write_draft(path, value, lasting)?;
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft)?;
    match linked {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(e) => Err(e),
    }
}

/// A complete file beside `path`.
fn write_draft<T: Serialize>(path: &Path, value: &T, lasting: Lasting) -> io::Result<PathBuf> {
    let draft = draft_of(path);
    let mut file = File::create(&draft)?;
    file.write_all(&serde_json::to_vec(value)?)?;
    if lasting == Lasting::PowerLoss {
        file.sync_all()?;
    }
    Ok(draft)
}

/// What the names of drafts end with.
const DRAFT: &str = ".draft";

/// A name beside `path` that no other writer uses: a replica that has lost its lease may still write too.
pub(super) fn draft_of(path: &Path) -> PathBuf {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    path.with_extension(format!("{number}.{}{DRAFT}", std::process::id()))
}

/// Removes the drafts of processes that are dead.
pub(super) fn remove_stale_drafts(dir: &AttemptDir) -> io::Result<()> {
    for entry in fs::read_dir(dir.path())? {
        let entry = entry?;
        let name = entry.file_name();
        let process = name.to_str().and_then(|n| n.strip_suffix(DRAFT)).and_then(|n| n.rsplit('.').next());
        if process.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> AttemptDir {
        let path = std::env::temp_dir().join(format!("libra-record-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        AttemptDir::new(path)
    }

    #[test]
    fn who_comes_first_decides() {
        // contract: L3
        let sent = Sent { server: Token::new(Timestamp(1), [7; 10]), since: Timestamp(5), session: None };
        let dir = scratch("claimed");
        assert_eq!(read(&dir).unwrap(), OnDisk::Nothing);
        assert!(claim(&dir, sent.clone()).unwrap());
        assert!(!claim(&dir, sent.clone()).unwrap());
        assert!(!revoke(&dir).unwrap());
        assert_eq!(read(&dir).unwrap(), OnDisk::Sent(sent.clone()));
        fs::remove_dir_all(dir.path()).unwrap();

        let dir = scratch("revoked");
        assert!(revoke(&dir).unwrap());
        assert!(revoke(&dir).unwrap());
        assert!(!claim(&dir, sent.clone()).unwrap());
        assert_eq!(read(&dir).unwrap(), OnDisk::Revoked);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no drafts are left");

        // No process has the number 0.
        fs::write(dir.path().join("rows.3.0.draft"), b"").unwrap();
        fs::write(draft_of(&dir.rows_file()), b"").unwrap();
        remove_stale_drafts(&dir).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "a living process keeps its own");
        fs::remove_dir_all(dir.path()).unwrap();
    }

    #[test]
    fn an_end_is_the_last_word() {
        // contract: L7
        let dir = scratch("ended");
        let exit =
            Exit { outcome: Outcome::Stopped, exit_code: None, signal: None, began: None, at: Timestamp(9) };
        write_end(&dir, &exit).unwrap();
        assert_eq!(read(&dir).unwrap(), OnDisk::Ended(exit));
        fs::remove_dir_all(dir.path()).unwrap();
    }
}
