//! What the shim and Libra tell each other through files, and how such a file is written whole or not at all.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use libra_core::time::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::logs::LogLimits;

/// Only Libra's own user reads these files: the launch file holds the driver's environment.
pub(crate) const PRIVATE: u32 = 0o600;

/// What the shim has to start (`launch.json`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LaunchFile {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// The whole environment of the driver; nothing is inherited. [`super::TOKEN_VARIABLE`] is added.
    pub env: BTreeMap<String, String>,
    /// The driver's working directory; made when it is absent.
    pub cwd: PathBuf,
    /// The attempt's token.
    pub token: String,
    /// How long the driver may take to end after SIGTERM before everything is killed, in milliseconds.
    pub grace_ms: u64,
    /// Ends the driver when Libra stays away; None for a driver that may outlive Libra for any time.
    #[serde(default)]
    pub keepalive: Option<Keepalive>,
    /// How the driver's output is kept.
    #[serde(default)]
    pub logs: LogLimits,
}

/// A sign of life that Libra gives by touching a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Keepalive {
    /// The file whose modification time moves while Libra is alive.
    pub file: PathBuf,
    /// How long it may stand still, in seconds.
    pub deadline_secs: u64,
}

/// A process, told apart from a later one with the same pid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// The process id.
    pub pid: i32,
    /// When it started, in clock ticks since the machine booted (`/proc/PID/stat`, field 22).
    pub start_ticks: u64,
    /// Which boot of the machine (`/proc/sys/kernel/random/boot_id`).
    pub boot_id: String,
}

/// Who may run the attempt (`owner`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "owner")]
pub enum Owner {
    /// A shim.
    Shim {
        /// The shim's process.
        #[serde(flatten)]
        process: Identity,
        /// The token under which the shim was started: the attempt's, or that of its cradle.
        token: String,
    },
    /// Nobody, for ever.
    Revoked,
}

/// The driver runs (`started`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StartedRecord {
    /// The driver's process.
    #[serde(flatten)]
    pub process: Identity,
    /// When it started, in microseconds since the epoch.
    pub at: Timestamp,
}

/// The driver is gone, and everything that it started (`exit`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExitRecord {
    /// The driver's exit code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// The signal that ended the driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Why the driver could not be started at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spawn_error: Option<String>,
    /// When the driver ended, in microseconds since the epoch.
    pub at: Timestamp,
    /// True when the shim was told to stop before the driver had ended.
    pub stopped: bool,
    /// True when the shim stopped because the keepalive stood still.
    #[serde(default)]
    pub abandoned: bool,
}

/// The present time of the wall clock.
pub(crate) fn now() -> Timestamp {
    Timestamp(jiff::Timestamp::now().as_microsecond())
}

/// Reads a record; None when the file is absent.
///
/// # Errors
/// When the file can't be read, or is not such a record.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {e}", path.display()))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Writes a file so that it is there whole or not at all, also after a power loss; replaces an older one.
///
/// # Errors
/// When the file system refuses.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = write_durable_draft(path, bytes)?;
    fs::rename(&draft, path)?;
    sync_parent(path)
}

/// Writes a file that only has to last as long as the machine runs: no wait for the disk.
///
/// # Errors
/// When the file system refuses.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(PRIVATE).open(path)?.write_all(bytes)
}

/// Replaces a file in one step, for readers of this boot of the machine: no wait for the disk. One writer at a time.
///
/// # Errors
/// When the file system refuses.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = path.with_extension("draft");
    write_private(&draft, bytes)?;
    fs::rename(&draft, path)
}

/// A record that is there, and not yet sure to outlive a loss of power.
#[derive(Debug)]
pub(crate) struct Shown {
    file: File,
    path: PathBuf,
}

impl Shown {
    /// Waits until it is.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(crate) fn settle(self) -> io::Result<()> {
        self.file.sync_all()?;
        sync_parent(&self.path)
    }
}

/// Writes a record so that others read it whole or not at all, at once; replaces an older one.
///
/// # Errors
/// When the file system refuses.
pub(crate) fn show_record<T: Serialize>(path: &Path, record: &T) -> io::Result<Shown> {
    let (draft, file) = write_draft(path, &serde_json::to_vec(record)?)?;
    fs::rename(&draft, path)?;
    Ok(Shown { file, path: path.to_owned() })
}

/// [`write_whole`] for a record.
pub(crate) fn write_record<T: Serialize>(path: &Path, record: &T) -> io::Result<()> {
    write_whole(path, &serde_json::to_vec(record)?)
}

/// Creates a file with its content in one step: false when it exists already, and then nothing changes.
///
/// # Errors
/// When the file system refuses.
pub(crate) fn create_once<T: Serialize>(path: &Path, record: &T) -> io::Result<bool> {
    let draft = write_durable_draft(path, &serde_json::to_vec(record)?)?;
    // A hard link is the one step that both carries the content and fails when the name is taken.
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft)?;
    match linked {
        Ok(()) => sync_parent(path).map(|()| true),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(e) => Err(e),
    }
}

/// [`create_once`] with what stands in the file `durable` already, where both are on one file system that has links: the disk
/// is waited for once and not twice. `record` says the same.
///
/// # Errors
/// When the file system refuses.
pub(crate) fn create_once_from<T: Serialize>(durable: &Path, path: &Path, record: &T) -> io::Result<bool> {
    match fs::hard_link(durable, path) {
        Ok(()) => sync_parent(path).map(|()| true),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(_) => create_once(path, record),
    }
}

/// [`write_draft`], written through to the disk.
fn write_durable_draft(path: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    let (draft, file) = write_draft(path, bytes)?;
    file.sync_all()?;
    Ok(draft)
}

/// A file beside `path`, under a name that no other writer uses.
fn write_draft(path: &Path, bytes: &[u8]) -> io::Result<(PathBuf, File)> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.draft", uuid::Uuid::now_v7().simple()));
    let draft = path.with_file_name(name);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(&draft)?;
    file.write_all(bytes)?;
    Ok((draft, file))
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}
