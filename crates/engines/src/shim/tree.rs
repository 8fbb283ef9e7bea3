//! Which processes belong to an attempt, and killing them until none is left.

use std::collections::HashSet;
use std::io;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal};

use super::table::{self, Process};

/// The pause between two rounds of killing.
const ROUND: Duration = Duration::from_millis(20);

/// The living processes of an attempt, never this one: all that descend from `root`, that are in the session
/// `root` leads, or that carry the token, and all that descend from those.
///
/// A process may leave its group, its session and its parent; it can't take the token out of what `/proc` shows
/// of the environment it was started with.
pub(super) fn members(root: Option<i32>, token: &str) -> io::Result<Vec<Process>> {
    let me = rustix::process::getpid().as_raw_nonzero().get();
    let everything = table::all()?;
    let mut found: HashSet<i32> = everything
        .iter()
        .filter(|p| {
            Some(p.pid) == root || Some(p.session) == root || (!p.kernel && table::carries(p.pid, token))
        })
        .map(|p| p.pid)
        .collect();
    loop {
        let before = found.len();
        for process in &everything {
            if found.contains(&process.parent) {
                found.insert(process.pid);
            }
        }
        if found.len() == before {
            break;
        }
    }
    Ok(everything.into_iter().filter(|p| p.pid != me && p.pid != 1 && found.contains(&p.pid)).collect())
}

/// Sends a signal to exactly that process, not to a later one that got its pid.
pub(super) fn signal(process: &Process, signal: Signal) {
    let Some(pid) = Pid::from_raw(process.pid) else { return };
    let same = || table::look_up(process.pid).is_some_and(|p| p.start_ticks == process.start_ticks);
    // A process that can't be signalled is gone or another user's; the next round looks again.
    match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Ok(handle) => {
            if same() {
                let _ = rustix::process::pidfd_send_signal(&handle, signal);
            }
        }
        // Kernels before 5.3 have no handles for processes.
        Err(rustix::io::Errno::NOSYS) => {
            if same() {
                let _ = rustix::process::kill_process(pid, signal);
            }
        }
        Err(_) => {}
    }
}

/// Kills every process that carries the token, and what descends from it, until none is left or `patience` is
/// over. True when nothing is left. For Libra's use when the shim is dead; with a living shim, ask it.
///
/// # Errors
/// When `/proc` can't be read: then nobody knows.
pub async fn kill_everything(token: &str, patience: Duration) -> io::Result<bool> {
    Ok(kill_all(token, patience).await?.gone)
}

/// What killing brought.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Killed {
    /// Nothing is left.
    pub(crate) gone: bool,
    /// At least one process was alive.
    pub(crate) any: bool,
}

/// [`kill_everything`], telling also whether there was anything to kill.
pub(crate) async fn kill_all(token: &str, patience: Duration) -> io::Result<Killed> {
    let begun = Instant::now();
    let mut any = false;
    let mut empty_rounds = 0;
    loop {
        let token = token.to_owned();
        let alive =
            tokio::task::spawn_blocking(move || kill_round(&token)).await.map_err(io::Error::other)??;
        any |= alive > 0;
        empty_rounds = if alive == 0 { empty_rounds + 1 } else { 0 };
        // One look can miss a process that is born behind its back; a second one finds it.
        if empty_rounds == 2 {
            return Ok(Killed { gone: true, any });
        }
        if alive > 0 && begun.elapsed() > patience {
            return Ok(Killed { gone: false, any });
        }
        if alive > 0 {
            tokio::time::sleep(ROUND).await;
        }
    }
}

fn kill_round(token: &str) -> io::Result<usize> {
    let members = members(None, token)?;
    for process in &members {
        signal(process, Signal::KILL);
    }
    Ok(members.len())
}
