//! Libra's side of the shim: start it, look at it, ask it to stop, or keep it from ever starting.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::sync::watch;

use super::records::{self, ExitRecord, Identity, LaunchFile, Owner, PRIVATE, StartedRecord};
use super::{table, tree};
use crate::attempt_dir::AttemptDir;
use crate::failpoint;

/// How often a file that is about to appear is looked for.
const LOOK: Duration = Duration::from_millis(10);

/// A shim that was just started.
#[derive(Clone, Debug)]
pub struct Spawned {
    /// The shim's pid.
    pub pid: u32,
    /// Turns true when the shim has said that its attempt is over, or has ended and was reaped.
    pub ended: watch::Receiver<bool>,
}

/// What the files of an attempt say, checked against the process table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Nobody owns it: no shim has come so far.
    Absent,
    /// Nobody will ever own it.
    Revoked,
    /// A living shim owns it.
    Owned {
        /// The shim.
        shim: Identity,
        /// The driver, once it runs.
        started: Option<StartedRecord>,
    },
    /// It is over and nothing of it is alive.
    Exited {
        /// The driver, if it ever ran.
        started: Option<StartedRecord>,
        /// How it ended.
        exit: ExitRecord,
    },
    /// The shim is dead without having said how the driver ended; processes of the attempt may be alive.
    ShimLost {
        /// The shim that was.
        shim: Identity,
        /// The driver, if it was recorded.
        started: Option<StartedRecord>,
    },
}

/// Writes `launch.json` and starts a shim for it, detached; `exe` is the `libra` binary. Whether the driver
/// runs is for [`status`] to say. Must be called inside a tokio runtime, which reaps the shim.
///
/// # Errors
/// When the file can't be written or the shim can't be started: then nothing runs and nothing will.
pub fn spawn(exe: &Path, dir: &AttemptDir, file: &LaunchFile) -> io::Result<Spawned> {
    // After a power loss nobody needs it: the shim reads it now or never.
    records::write_private(&dir.launch_file(), &serde_json::to_vec(file)?)?;
    let log = OpenOptions::new().append(true).create(true).mode(PRIVATE).open(dir.path().join("shim.log"))?;
    let mut command = tokio::process::Command::new(exe);
    command
        .args([OsStr::new("shim"), OsStr::new("--dir"), dir.path().as_os_str()])
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(false);
    if let Some(point) = failpoint::for_shim() {
        command.env(failpoint::VARIABLE, point);
    }
    Ok(reaped(command.spawn()?))
}

/// Waits for a shim in the background. Must be called inside a tokio runtime.
pub(crate) fn reaped(mut child: tokio::process::Child) -> Spawned {
    let pid = child.id().unwrap_or_default();
    let (ended, watcher) = watch::channel(false);
    tokio::spawn(async move {
        if let Err(error) = child.wait().await {
            tracing::debug!(%error, "a shim could not be waited for");
        }
        ended.send_replace(true);
    });
    Spawned { pid, ended: watcher }
}

/// Says how an attempt stands, from its files and `/proc` alone; works after a restart of Libra.
///
/// # Errors
/// When a file can't be read: then nobody knows.
pub fn status(dir: &AttemptDir) -> io::Result<Status> {
    let shim = match records::read::<Owner>(&dir.owner_file())? {
        None => return Ok(Status::Absent),
        Some(Owner::Revoked) => return Ok(Status::Revoked),
        Some(Owner::Shim { process, .. }) => process,
    };
    // The order matters: a shim that writes the exit file and then ends must not look lost.
    let alive = table::is_alive(&shim);
    let exit = whole(records::read::<ExitRecord>(&dir.exit_file()), &shim)?;
    let started = whole(records::read(&dir.started_file()), &shim)?;
    Ok(match exit {
        Some(exit) => Status::Exited { started, exit },
        None if alive => Status::Owned { shim, started },
        None => Status::ShimLost { shim, started },
    })
}

/// What a shim of an earlier boot of the machine wrote may have been torn by the loss of power; then it says nothing.
fn whole<T>(read: io::Result<Option<T>>, shim: &Identity) -> io::Result<Option<T>> {
    match read {
        Err(e) if e.kind() == io::ErrorKind::InvalidData && shim.boot_id != table::boot_id() => Ok(None),
        read => read,
    }
}

/// The shim that owns the attempt, dead or alive; None when there is none.
///
/// # Errors
/// When the owner file can't be read.
pub fn owner(dir: &AttemptDir) -> io::Result<Option<Identity>> {
    Ok(match records::read(&dir.owner_file())? {
        Some(Owner::Shim { process, .. }) => Some(process),
        Some(Owner::Revoked) | None => None,
    })
}

/// Waits until somebody owns the attempt or the shim has ended without, at most `patience`.
///
/// # Errors
/// Those of [`status`].
pub async fn wait_owner(dir: &AttemptDir, spawned: &Spawned, patience: Duration) -> io::Result<Status> {
    let begun = Instant::now();
    loop {
        let over = *spawned.ended.borrow() || begun.elapsed() >= patience;
        let status = status(dir)?;
        if over || status != Status::Absent {
            return Ok(status);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Waits until the driver runs or it is clear that it won't, at most `patience`; answers what is known then.
///
/// # Errors
/// Those of [`status`].
pub async fn wait_started(
    dir: &AttemptDir,
    spawned: Option<&Spawned>,
    patience: Duration,
) -> io::Result<Status> {
    let begun = Instant::now();
    loop {
        let over = spawned.is_some_and(|s| *s.ended.borrow()) || begun.elapsed() >= patience;
        let status = status(dir)?;
        let waiting = matches!(status, Status::Absent | Status::Owned { started: None, .. });
        if over || !waiting {
            return Ok(status);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Asks for the end: durable, so that a shim that has not begun yet obeys too. Returns at once.
///
/// # Errors
/// When the stop file can't be written and there is no living shim to signal instead; those of [`status`].
pub fn request_stop(dir: &AttemptDir) -> io::Result<()> {
    // A full disk must not keep a living driver from being stopped: the signal alone is enough for that.
    let written = if dir.stop_file().exists() { Ok(()) } else { records::write_whole(&dir.stop_file(), b"") };
    match status(dir)? {
        Status::Owned { shim, .. } => {
            match table::look_up(shim.pid).filter(|p| p.start_ticks == shim.start_ticks) {
                Some(process) => {
                    tree::signal(&process, Signal::TERM);
                    Ok(())
                }
                None => written,
            }
        }
        Status::Absent => written,
        // It is over already.
        Status::Revoked | Status::Exited { .. } | Status::ShimLost { .. } => Ok(()),
    }
}

/// Asks for the end and waits for it, at most `patience`; repeats are harmless. Answers the last status seen.
///
/// # Errors
/// Those of [`request_stop`] and [`status`].
pub async fn stop(dir: &AttemptDir, patience: Duration) -> io::Result<Status> {
    let begun = Instant::now();
    request_stop(dir)?;
    loop {
        let status = status(dir)?;
        if !matches!(status, Status::Owned { .. }) || begun.elapsed() >= patience {
            return Ok(status);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Makes sure that no shim will ever own the attempt. True when it is revoked; false when a shim was faster.
///
/// # Errors
/// When the owner file can be neither written nor read.
pub fn revoke(dir: &AttemptDir) -> io::Result<bool> {
    if records::create_once(&dir.owner_file(), &Owner::Revoked)? {
        return Ok(true);
    }
    Ok(matches!(records::read(&dir.owner_file())?, Some(Owner::Revoked)))
}

/// Touches a keepalive file (creates it when absent): Libra is alive.
///
/// # Errors
/// When the file system refuses.
pub fn touch(path: &Path) -> io::Result<()> {
    let file: File = OpenOptions::new().append(true).create(true).mode(PRIVATE).open(path)?;
    file.set_modified(std::time::SystemTime::now())
}
