//! The server that runs the queries: started at the first job, adopted after a restart of Libra, replaced when it is
//! dead, does not answer or has grown too large; or somebody else's, which is only talked to.
//!
//! | module | what it does |
//! |---|---|
//! | `live` | a server that answers, and what its files say about it |
//! | `start`, `command`, `sail`, `files` | starts one, or adopts one that is there |
//! | `external` | reaches one that Libra did not start |
//! | `guests` | which attempts a server works on, for every Libra on this host |
//! | `care` | asks whether it lives, and how large it is |
//! | `recycle` | puts a new one in its place |
//! | `rest` | whether a cancelled query has really ended |
//! | `backoff` | waits between starts that fail |
//!
//! Invariant: a server of Libra's own is dead when its shim says so, never because it is slow; and two servers use one
//! catalog at once only if it is made for that.

mod backoff;
mod care;
mod command;
mod external;
mod files;
mod guests;
mod live;
mod recycle;
mod rest;
mod sail;
pub(super) mod start;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use libra_core::failure::{ErrorClass, Failure};
use libra_core::id::Token;

use super::settings::{Backend, Settings};
use crate::attempt_dir::AttemptDir;
use crate::shim::{self, process};
use backoff::Backoff;
pub(super) use live::Live;
pub use sail::find as find_sail;

/// How often Libra shows the shim that it lives.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);
/// How long a server that is told to stop is waited for.
const STOP_PATIENCE: Duration = Duration::from_secs(30);
/// Java's exit code under `-XX:+ExitOnOutOfMemoryError`.
const OUT_OF_MEMORY_EXIT: i32 = 3;
/// The code of the failure when a server died before it had answered a single query.
const CRASHED: &str = "engine_crashed";

/// The server and the rule of its life.
pub(super) struct Server {
    settings: Settings,
    known: Mutex<Known>,
    /// Held while a server is started, adopted or replaced.
    starting: tokio::sync::Mutex<()>,
    backoff: Mutex<Backoff>,
    /// True once somebody looks after the server.
    watched: AtomicBool,
}

/// The servers that this process talks to.
#[derive(Default)]
struct Known {
    /// The one that takes new queries.
    present: Option<Arc<Live>>,
    /// Those that have been replaced and still work on a query.
    others: HashMap<Token, Arc<Live>>,
}

impl Server {
    /// No server yet; nothing is started.
    pub(super) fn new(settings: Settings) -> Arc<Self> {
        Arc::new(Self {
            settings,
            known: Mutex::default(),
            starting: tokio::sync::Mutex::new(()),
            backoff: Mutex::default(),
            watched: AtomicBool::new(false),
        })
    }

    /// Says why no server could ever be used here.
    ///
    /// # Errors
    /// When it is not installed.
    pub(super) fn check_installed(&self) -> Result<(), Failure> {
        if self.known().is_some() {
            return Ok(());
        }
        start::check(&self.settings)
    }

    /// The server, started if need be. Waits out a server that crashes again and again, and an external one that is
    /// away, for as long as a start may take.
    ///
    /// # Errors
    /// When it can't be started, or was refused because it could not be started several times.
    pub(super) async fn live(self: &Arc<Self>) -> Result<Arc<Live>, Failure> {
        let begun = Instant::now();
        loop {
            if let Some(live) = self.known() {
                return Ok(live);
            }
            let starting = self.starting.lock().await;
            if let Some(live) = self.known() {
                return Ok(live);
            }
            let pending = self.backoff().pending();
            let (wait, failure) = match pending {
                Some(pending) => pending,
                None => match self.reach().await {
                    Ok(live) => return Ok(self.keep(live)),
                    Err(failure) => (Duration::ZERO, self.backoff().failed(&failure)),
                },
            };
            drop(starting);
            let worth_waiting = matches!(failure.code.as_str(), CRASHED | external::UNREACHABLE);
            if !worth_waiting || begun.elapsed() + wait >= self.settings.start_timeout {
                return Err(failure);
            }
            tokio::time::sleep(wait).await;
        }
    }

    async fn reach(&self) -> Result<Arc<Live>, Failure> {
        let Backend::External { address, ca_file, lost_after } = &self.settings.backend else {
            return start::bring_up(&self.settings).await.map(Arc::new);
        };
        let fresh = external::reach(address, ca_file.as_deref(), *lost_after).await?;
        self.backoff().succeeded();
        // The one that was away is the same server: what runs there goes on with it.
        match self.locked().present.clone() {
            Some(live) if live.id == fresh.id => {
                live.heard();
                Ok(live)
            }
            Some(_) | None => Ok(Arc::new(fresh)),
        }
    }

    /// The server `id` if it is alive, replaced or not; never starts one.
    ///
    /// # Errors
    /// When it can't be told whether it is alive.
    pub(super) async fn adopted(self: &Arc<Self>, id: Token) -> Result<Option<Arc<Live>>, Failure> {
        if let Some(live) = self.known_by_id(id) {
            return Ok(Some(live));
        }
        if let Backend::External { address, lost_after, .. } = &self.settings.backend
            && external::id(address) == Some(id)
        {
            let _starting = self.starting.lock().await;
            return match self.reach().await {
                Ok(live) => Ok(Some(self.keep(live))),
                Err(failure) => {
                    let failure = self.backoff().failed(&failure);
                    if self.backoff().lasted() >= *lost_after { Ok(None) } else { Err(failure) }
                }
            };
        }
        let begun = Instant::now();
        match start::adopt_by_id(&self.settings, id).await {
            Ok(live) => Ok(live.map(|live| self.keep_other(live))),
            Err(failure) => {
                start::end_hanging(&self.settings, id, begun).await;
                tracing::warn!(reason = %failure.message, "the Spark server from before could not be adopted");
                Err(failure)
            }
        }
    }

    /// Counts an attempt out of the server `id`, alive or not.
    pub(super) fn dismiss(&self, id: Token, token: Token) {
        guests::leave(&files::directory(&self.settings.data_dir, id), token);
    }

    /// The server that is alive, if one is; never starts one.
    ///
    /// # Errors
    /// When it can't be told whether one is alive.
    pub(super) async fn adopt(self: &Arc<Self>) -> Result<Option<Arc<Live>>, Failure> {
        self.look_after_it();
        if let Some(live) = self.known() {
            return Ok(Some(live));
        }
        if start::kind(&self.settings).is_none() {
            return Ok(None);
        }
        let _starting = self.starting.lock().await;
        if let Some(live) = self.known() {
            return Ok(Some(live));
        }
        match start::adopt(&self.settings).await {
            Ok(live) => Ok(live.map(|live| self.keep(Arc::new(live)))),
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

    /// What keeps queries from being sent, in words; None when nothing is known to.
    pub(super) fn trouble(&self) -> Option<String> {
        let misses = self.settings.care.probe_misses;
        let present = self.locked().present.clone();
        match present {
            Some(live) if live.is_retiring() => {
                return Some(
                    "The shared Spark server is being replaced by a fresh one: new queries wait for the running ones."
                        .to_owned(),
                );
            }
            Some(live) if live.is_away(misses) => {
                return Some(format!("The Spark server does not answer ({misses} probes in a row)."));
            }
            Some(live) if live.is_proved() => {
                self.backoff().succeeded();
                return None;
            }
            Some(_) | None => {}
        }
        self.backoff().trouble().map(|failure| failure.message.clone())
    }

    /// Ends the servers that Libra started and waits until nothing of them is alive.
    pub(super) async fn shut_down(&self) {
        let _starting = self.starting.lock().await;
        *self.locked() = Known::default();
        for id in files::servers(&self.settings.data_dir) {
            let dir = files::directory(&self.settings.data_dir, id);
            if is_dead(&dir) {
                continue;
            }
            if let Err(error) = process::stop(&dir, STOP_PATIENCE).await {
                tracing::warn!(%error, "the Spark server could not be told to stop");
            }
        }
    }

    fn locked(&self) -> MutexGuard<'_, Known> {
        // Nothing panics while it is held; even then the value would be whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn backoff(&self) -> MutexGuard<'_, Backoff> {
        // Nothing panics while it is held; even then the value would be whole.
        self.backoff.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The server that was alive a moment ago and takes queries; touches no more than a few file names.
    pub(super) fn known(&self) -> Option<Arc<Live>> {
        let live = self.locked().present.clone()?;
        if live.is_leaving() {
            self.forget(&live);
            return None;
        }
        if live.is_away(self.settings.care.probe_misses) || live.is_retiring() {
            return None;
        }
        if live.is_proved() {
            self.backoff().succeeded();
        }
        Some(live)
    }

    fn known_by_id(&self, id: Token) -> Option<Arc<Live>> {
        let known = self.locked();
        let live = known.present.as_ref().filter(|live| live.id == id).or_else(|| known.others.get(&id))?;
        Some(Arc::clone(live)).filter(|live| !live.is_leaving())
    }

    /// Forgets a server that turned out to be dead, so that the next job looks again.
    pub(super) fn forget(&self, dead: &Arc<Live>) {
        if dead.is_external() {
            return;
        }
        let was_present = {
            let mut known = self.locked();
            known.others.remove(&dead.id);
            known.present.take_if(|live| live.id == dead.id).is_some()
        };
        if was_present && dead.died_young() {
            let words = format!(
                "The shared Spark server ended before it had answered a single query: {}.",
                dead.last_words()
            );
            let failure = Failure::new(ErrorClass::Infrastructure, CRASHED, words);
            self.backoff().failed(&failure);
        }
    }

    /// Makes a server the one that takes new queries; the one before goes on with what it has.
    fn keep(self: &Arc<Self>, live: Arc<Live>) -> Arc<Live> {
        let before = {
            let mut known = self.locked();
            known.others.remove(&live.id);
            let before = known.present.replace(Arc::clone(&live)).filter(|before| before.id != live.id);
            if let Some(before) = &before {
                known.others.insert(before.id, Arc::clone(before));
            }
            before
        };
        if let Some(before) = before {
            tracing::info!(server = %live.id, before = %before.id, "new queries go to another Spark server");
        }
        self.keep_alive(&live);
        self.look_after_it();
        live
    }

    /// Keeps a server that has been replaced and still works on a query.
    fn keep_other(self: &Arc<Self>, live: Live) -> Arc<Live> {
        let live = Arc::new(live);
        let present = files::current(&self.settings.data_dir) == Some(live.id);
        if present && !live.is_retiring() && start::is_of_this_kind(&self.settings, live.id) {
            return self.keep(live);
        }
        self.locked().others.insert(live.id, Arc::clone(&live));
        self.keep_alive(&live);
        self.look_after_it();
        live
    }

    /// Shows the server's shim that Libra lives, as long as both do.
    fn keep_alive(self: &Arc<Self>, live: &Live) {
        let Some(dir) = live.dir() else { return };
        let engine = Arc::downgrade(self);
        let (file, exit, dir) = (files::keepalive_file(dir), dir.exit_file(), dir.path().to_owned());
        tokio::spawn(async move {
            // The directory of a dead server is swept away some time.
            while engine.strong_count() > 0 && !exit.exists() && dir.exists() {
                if let Err(error) = process::touch(&file) {
                    tracing::warn!(%error, "the keepalive of the Spark server could not be touched");
                }
                tokio::time::sleep(KEEPALIVE_EVERY).await;
            }
        });
    }

    /// Looks after the server from now on; repeats are harmless.
    fn look_after_it(self: &Arc<Self>) {
        if !self.watched.swap(true, Ordering::Relaxed) {
            tokio::spawn(care::watch(Arc::downgrade(self)));
        }
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
