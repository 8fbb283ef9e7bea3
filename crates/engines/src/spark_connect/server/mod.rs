//! The one Spark Connect server: started at the first job, adopted after a restart of Libra, started again
//! when it is dead.
//!
//! Invariant: a server is dead when its shim says so, never because it is slow; and no second server starts
//! while the first is alive.

mod command;
mod files;
pub(super) mod start;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use libra_core::attempt::Links;
use libra_core::failure::{ErrorClass, Failure};
use libra_core::id::Token;

use super::client::Client;
use super::settings::Settings;
use crate::attempt_dir::AttemptDir;
use crate::shim::{self, process};

/// How often Libra shows the shim that it lives.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);
/// The wait after the second failed start in a row; doubled after each further one.
const FIRST_REFUSAL: Duration = Duration::from_secs(2);
/// The longest time for which starts are refused.
const LONGEST_REFUSAL: Duration = Duration::from_mins(1);
/// How long a server that is told to stop is waited for.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// How long a server that answers with an odd error is watched, and how often: a Java process that was told to
/// end closes Spark first and answers nonsense meanwhile.
const DYING_PATIENCE: Duration = Duration::from_secs(1);
const DYING_LOOK: Duration = Duration::from_millis(50);
/// Java's exit code under `-XX:+ExitOnOutOfMemoryError`.
const OUT_OF_MEMORY_EXIT: i32 = 3;

/// A server that answers.
pub(super) struct Live {
    /// Its name.
    pub(super) id: Token,
    /// The way to it.
    pub(super) client: Client,
    /// The port that it listens on.
    pub(super) port: u16,
    /// What its clients must show.
    pub(super) secret: String,
    /// Spark's application id.
    pub(super) application_id: Option<String>,
    /// Its pages.
    pub(super) links: Links,
    /// Queries that it works on; those that died with it stay counted.
    busy: AtomicUsize,
    dir: AttemptDir,
}

impl Live {
    /// Counts a query in.
    pub(super) fn enter(&self) {
        self.busy.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a query out that the server has survived.
    pub(super) fn leave(&self) {
        self.busy.fetch_sub(1, Ordering::Relaxed);
    }

    /// True when the server died of a lack of memory while it worked on one query only: that query's fault.
    pub(super) fn was_exhausted_by_one(&self) -> bool {
        let exhausted = matches!(
            shim::status(&self.dir),
            Ok(shim::Status::Exited { exit: shim::ExitRecord { code: Some(OUT_OF_MEMORY_EXIT), .. }, .. })
        );
        exhausted && self.busy.load(Ordering::Relaxed) <= 1
    }

    /// True when nothing of the server is alive. While that can't be told it counts as alive.
    pub(super) fn is_dead(&self) -> bool {
        is_dead(&self.dir)
    }

    /// True when no query should be sent to it any more. Cheaper than [`Self::is_dead`], and blind to a shim that
    /// was killed.
    fn is_leaving(&self) -> bool {
        self.dir.exit_file().exists() || self.dir.stop_file().exists()
    }

    /// Waits for a death that an odd error may foretell; false when it does not come.
    pub(super) async fn dies_soon(&self) -> bool {
        let begun = Instant::now();
        loop {
            if self.is_dead() {
                return true;
            }
            let patience = if self.is_leaving() { STOP_PATIENCE } else { DYING_PATIENCE };
            if begun.elapsed() >= patience {
                return false;
            }
            tokio::time::sleep(DYING_LOOK).await;
        }
    }

    /// Ends what is left of a server whose shim was killed: a query that is reported as lost must not go on.
    pub(super) async fn clear_away(&self) {
        if matches!(shim::status(&self.dir), Ok(shim::Status::ShimLost { .. })) {
            let ended = shim::kill_everything(&self.id.to_string(), STOP_PATIENCE).await;
            if !matches!(ended, Ok(true)) {
                tracing::warn!(server = %self.id, "a Spark server without a shim could not be ended");
            }
        }
    }

    /// Asks for the end of a server whose Spark no longer works.
    pub(super) fn condemn(&self) {
        if let Err(error) = shim::request_stop(&self.dir) {
            tracing::warn!(%error, "a broken Spark server could not be told to stop");
        }
    }

    /// What is known about its death: the exit code or signal.
    pub(super) fn last_words(&self) -> String {
        describe_end(&self.dir)
    }
}

/// The server and the rule of its life.
pub(super) struct Server {
    settings: Settings,
    live: Mutex<Option<Arc<Live>>>,
    /// Held while a server is started or adopted.
    starting: tokio::sync::Mutex<Backoff>,
}

impl Server {
    /// No server yet; nothing is started.
    pub(super) fn new(settings: Settings) -> Arc<Self> {
        Arc::new(Self {
            settings,
            live: Mutex::new(None),
            starting: tokio::sync::Mutex::new(Backoff { failures: 0, refused: None }),
        })
    }

    /// Says why no server could ever be started here.
    ///
    /// # Errors
    /// When Spark is not installed.
    pub(super) fn check_spark(&self) -> Result<(), Failure> {
        if self.known().is_some() {
            return Ok(());
        }
        start::find_spark(&self.settings).map(drop)
    }

    /// The server, started if need be.
    ///
    /// # Errors
    /// When it can't be started, or was refused because it could not be started several times.
    pub(super) async fn live(self: &Arc<Self>) -> Result<Arc<Live>, Failure> {
        if let Some(live) = self.known() {
            return Ok(live);
        }
        let mut backoff = self.starting.lock().await;
        if let Some(live) = self.known() {
            return Ok(live);
        }
        backoff.check()?;
        match start::bring_up(&self.settings).await {
            Ok(live) => {
                *backoff = Backoff { failures: 0, refused: None };
                Ok(self.keep(live))
            }
            Err(failure) => {
                backoff.failed(&failure);
                Err(failure)
            }
        }
    }

    /// The server `id` if it is alive; never starts one.
    ///
    /// # Errors
    /// When it can't be told whether it is alive.
    pub(super) async fn adopted(self: &Arc<Self>, id: Token) -> Result<Option<Arc<Live>>, Failure> {
        Ok(self.adopt().await?.filter(|live| live.id == id))
    }

    /// The server that is alive, if one is; never starts one.
    ///
    /// # Errors
    /// When it can't be told whether one is alive.
    pub(super) async fn adopt(self: &Arc<Self>) -> Result<Option<Arc<Live>>, Failure> {
        if let Some(live) = self.known() {
            return Ok(Some(live));
        }
        let _starting = self.starting.lock().await;
        if let Some(live) = self.known() {
            return Ok(Some(live));
        }
        match start::adopt(&self.settings).await {
            Ok(live) => Ok(live.map(|live| self.keep(live))),
            Err(failure) => {
                tracing::warn!(reason = %failure.message, "the Spark server from before could not be adopted");
                Err(failure)
            }
        }
    }

    /// True when a server was started once and may still be there.
    pub(super) fn has_predecessor(&self) -> bool {
        files::current(&self.settings.data_dir).is_some()
    }

    /// Ends the server and waits until nothing of it is alive.
    pub(super) async fn shut_down(&self) {
        let _starting = self.starting.lock().await;
        *self.slot() = None;
        let Some(id) = files::current(&self.settings.data_dir) else { return };
        let dir = files::directory(&self.settings.data_dir, id);
        if let Err(error) = process::stop(&dir, STOP_PATIENCE).await {
            tracing::warn!(%error, "the Spark server could not be told to stop");
        }
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Arc<Live>>> {
        // Nothing panics while it is held; even then the value would be whole.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The server that was alive a moment ago; touches no more than one file name.
    pub(super) fn known(&self) -> Option<Arc<Live>> {
        let mut slot = self.slot();
        if slot.as_ref().is_some_and(|live| live.is_leaving()) {
            *slot = None;
        }
        slot.clone()
    }

    /// Forgets a server that turned out to be dead, so that the next job looks again.
    pub(super) fn forget(&self, dead: &Live) {
        let mut slot = self.slot();
        if slot.as_ref().is_some_and(|live| live.id == dead.id) {
            *slot = None;
        }
    }

    fn keep(self: &Arc<Self>, live: Live) -> Arc<Live> {
        let live = Arc::new(live);
        *self.slot() = Some(Arc::clone(&live));
        let engine = Arc::downgrade(self);
        let (file, exit) = (files::keepalive_file(&live.dir), live.dir.exit_file());
        tokio::spawn(async move {
            while engine.strong_count() > 0 && !exit.exists() {
                if let Err(error) = process::touch(&file) {
                    tracing::warn!(%error, "the keepalive of the Spark server could not be touched");
                }
                tokio::time::sleep(KEEPALIVE_EVERY).await;
            }
        });
        live
    }
}

/// Refuses starts for a while after several failed in a row.
struct Backoff {
    failures: u32,
    refused: Option<(Instant, Failure)>,
}

impl Backoff {
    fn check(&self) -> Result<(), Failure> {
        match &self.refused {
            Some((until, failure)) if Instant::now() < *until => Err(failure.clone()),
            _ => Ok(()),
        }
    }

    fn failed(&mut self, failure: &Failure) {
        self.failures = self.failures.saturating_add(1);
        if self.failures < 2 {
            return;
        }
        let doublings = (self.failures - 2).min(10);
        let wait = FIRST_REFUSAL.saturating_mul(1 << doublings).min(LONGEST_REFUSAL);
        let mut failure = failure.clone();
        failure.message = format!(
            "{} It failed {} times in a row; the next try comes in {} seconds at the earliest.",
            failure.message,
            self.failures,
            wait.as_secs()
        );
        self.refused = Some((Instant::now() + wait, failure));
    }
}

/// True when the shim says that nothing of the server is alive, or when neither shim nor server ever came.
fn is_dead(dir: &AttemptDir) -> bool {
    matches!(
        shim::status(dir),
        Ok(shim::Status::Exited { .. }
            | shim::Status::Revoked
            | shim::Status::Absent
            | shim::Status::ShimLost { .. })
    )
}

/// How a server ended, in words.
fn describe_end(dir: &AttemptDir) -> String {
    match shim::status(dir) {
        Ok(shim::Status::Exited { exit, .. }) => match (exit.code, exit.signal, exit.spawn_error) {
            (_, _, Some(error)) => format!("it could not be started: {error}"),
            _ if exit.abandoned => "it ended because Libra had been away for too long".to_owned(),
            _ if exit.stopped => "it was told to stop".to_owned(),
            (Some(OUT_OF_MEMORY_EXIT), _, _) => "it ran out of memory (exit code 3)".to_owned(),
            (Some(code), _, _) => format!("it ended with exit code {code}"),
            (None, Some(signal), _) => format!("it was killed by signal {signal}"),
            (None, None, None) => "it ended".to_owned(),
        },
        _ => "it is gone".to_owned(),
    }
}

/// The failure of a start.
fn start_failed(dir: Option<&AttemptDir>, reason: impl std::fmt::Display) -> Failure {
    Failure::new(
        ErrorClass::Infrastructure,
        "engine_start_failed",
        format!("The shared Spark server could not be started: {reason}."),
    )
    .with_detail(dir.map(files::log_end).unwrap_or_default())
}
