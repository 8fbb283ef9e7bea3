//! Waking whoever waits for an attempt, as soon as something about it may have changed.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use libra_core::id::Token;
use tokio::sync::watch;

use crate::attempt_dir::AttemptDir;
use crate::shim::process::{self, Spawned, Status};

/// How often the files of an attempt are looked at; a shim of our own wakes at once by its end.
const LOOK: Duration = Duration::from_millis(250);
/// The same while the driver is starting.
const EAGER_LOOK: Duration = Duration::from_millis(50);

#[derive(Clone, Debug)]
struct Watched {
    dir: AttemptDir,
    /// Turns true when the shim has ended; None for one that an earlier Libra started.
    shim: Option<watch::Receiver<bool>>,
}

/// The attempts that this process has met.
#[derive(Debug, Default)]
pub(super) struct Waking(Mutex<HashMap<Token, Watched>>);

impl Waking {
    /// Remembers where an attempt is; `spawned` if its shim is a child of this process.
    pub(super) fn meet(&self, token: Token, dir: &AttemptDir, spawned: Option<Spawned>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let watched = known.entry(token).or_insert_with(|| Watched { dir: dir.clone(), shim: None });
        if let Some(spawned) = spawned {
            watched.shim = Some(spawned.ended);
        }
    }

    /// Forgets an attempt.
    pub(super) fn forget(&self, token: Token) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&token);
    }

    /// Waits until the driver has started or ended, or its shim has.
    pub(super) async fn changed(&self, token: Token) {
        let watched = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&token).cloned();
        let Some(Watched { dir, mut shim }) = watched else {
            // Nothing is known of it: the caller's own rhythm has to do.
            return std::future::pending().await;
        };
        let mut seen_starting = false;
        loop {
            let started = match process::status(&dir) {
                Ok(Status::Owned { started: Some(_), .. }) if seen_starting => return,
                Ok(Status::Owned { started, .. }) => started.is_some(),
                Ok(Status::Absent) => false,
                Ok(Status::Revoked | Status::Exited { .. } | Status::ShimLost { .. }) | Err(_) => return,
            };
            seen_starting |= !started;
            let look = tokio::time::sleep(if started { LOOK } else { EAGER_LOOK });
            match &mut shim {
                Some(ended) => {
                    tokio::select! {
                        // An error means that the waiting task is gone, with the runtime.
                        _ = ended.wait_for(|ended| *ended) => return,
                        () = look => {}
                    }
                }
                None => look.await,
            }
        }
    }
}
