//! Puts a new server in the place of one that has grown too large, without failing what runs.
//!
//! Where two servers may use the catalog at once, new queries go to the new one as soon as it answers, and the old one
//! ends with its last query. Derby within the server's process is for one server alone: there the new one is
//! started without touching it, new queries wait until the running ones have ended, the old server ends, and the new
//! one takes over. When the running ones take too long the old server goes on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use libra_core::failure::Failure;

use super::super::settings::Backend;
use super::start::{self, When};
use super::{Live, STOP_PATIENCE, Server, command, describe_end, files, guests, start_failed};
use crate::attempt_dir::AttemptDir;
use crate::shim::{self, process};

/// How often a server is looked at until its last query has ended.
const DRAIN_LOOK: Duration = Duration::from_millis(25);

impl Server {
    /// Replaces `old`. False when it could not be emptied in time, or another replica is at it: it goes on.
    ///
    /// # Errors
    /// When no new server could be started: the old one goes on.
    pub(super) async fn recycle(self: &Arc<Self>, old: &Arc<Live>, why: &str) -> Result<bool, Failure> {
        let Some(old_dir) = old.dir() else { return Ok(false) };
        let _starting = self.starting.lock().await;
        let Some(_lock) = start::try_lock(&self.settings)? else { return Ok(false) };
        if files::current(&self.settings.data_dir) != Some(old.id) || old.is_leaving() {
            return Ok(false);
        }
        tracing::info!(server = %old.id, why, "the Spark server is replaced");
        let fresh = Arc::new(start::start(&self.settings, When::Later).await?);
        let Some(fresh_dir) = fresh.dir() else { return Ok(false) };
        // It may have to wait for its turn for longer than a server waits for a sign of Libra.
        self.keep_alive(&fresh);
        if !self.catalog_is_shared() && !self.empty(old_dir).await? {
            start::end_unready(fresh_dir).await;
            tracing::warn!(
                server = %old.id, waited = ?self.settings.care.recycle_wait,
                "the Spark server was not replaced: its queries did not end in time"
            );
            return Ok(false);
        }
        if fresh.is_leaving() {
            // The next job starts another one.
            return Err(start_failed(Some(fresh_dir), describe_end(fresh_dir)));
        }
        files::set_current(&self.settings.data_dir, fresh.id)
            .map_err(|error| start_failed(Some(fresh_dir), error))?;
        self.keep(fresh);
        // From now on the sweep ends it as soon as it is idle; it may be gone already.
        if let Err(error) = guests::retire(old_dir) {
            tracing::warn!(%error, "the replaced Spark server could not be marked");
        }
        Ok(true)
    }

    fn catalog_is_shared(&self) -> bool {
        match self.settings.backend {
            Backend::Spark => command::catalog_is_shared(&self.settings),
            // Its catalog is the session's.
            Backend::Sail { .. } | Backend::External { .. } => true,
        }
    }

    /// Lets the server's last queries end, then ends it. False when they take too long: it takes new ones again.
    async fn empty(&self, old: &AttemptDir) -> Result<bool, Failure> {
        let failed = |error: std::io::Error| start_failed(Some(old), error);
        guests::retire(old).map_err(failed)?;
        let begun = Instant::now();
        loop {
            match guests::count(old) {
                Ok(0) => break,
                Ok(_) if begun.elapsed() < self.settings.care.recycle_wait => {
                    tokio::time::sleep(DRAIN_LOOK).await;
                }
                Ok(_) => {
                    guests::take_back(old).map_err(failed)?;
                    return Ok(false);
                }
                Err(error) => {
                    guests::take_back(old).map_err(failed)?;
                    return Err(failed(error));
                }
            }
        }
        match process::stop(old, STOP_PATIENCE).await.map_err(failed)? {
            shim::Status::Owned { .. } => {
                Err(start_failed(Some(old), "the one before it has not ended in time"))
            }
            shim::Status::Absent
            | shim::Status::Revoked
            | shim::Status::Exited { .. }
            | shim::Status::ShimLost { .. } => Ok(true),
        }
    }
}
