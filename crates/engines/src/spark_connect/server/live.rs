//! A server that answers.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use libra_core::attempt::Links;
use libra_core::id::Token;

use super::super::address::Door;
use super::super::client::Client;
use super::{OUT_OF_MEMORY_EXIT, STOP_PATIENCE, describe_end, guests, is_dead};
use crate::attempt_dir::AttemptDir;
use crate::shim;

/// How long a server that answers with an odd error is watched, and how often: a Java process that was told to
/// end closes Spark first and answers nonsense meanwhile.
const DYING_PATIENCE: Duration = Duration::from_secs(1);
const DYING_LOOK: Duration = Duration::from_millis(50);

/// A server that answers, or did a moment ago.
pub(in super::super) struct Live {
    /// Its name.
    pub(in super::super) id: Token,
    /// The way to it.
    pub(in super::super) client: Client,
    /// The same way, for programs that bring a client of their own.
    pub(in super::super) door: Door,
    /// Spark's application id.
    pub(in super::super) application_id: Option<String>,
    /// Its pages.
    pub(in super::super) links: Links,
    /// Whose it is.
    place: Place,
    /// Queries of this process that it works on; those that died with it stay counted.
    busy: AtomicUsize,
    /// Queries that this process has sent to it.
    taken: AtomicU64,
    /// True once it has answered a query.
    proved: AtomicBool,
    /// Probes in a row without an answer.
    missed: AtomicU32,
    /// Since when this process knows it.
    since: Instant,
}

/// Whose a server is.
pub(super) enum Place {
    /// Started by Libra under a shim.
    Own {
        /// Its directory.
        dir: AttemptDir,
        /// A query that does not obey an interrupt for so long is ended together with the server.
        kill_after: Option<Duration>,
    },
    /// Somebody else's: nobody here knows whether it lives.
    External {
        /// What it is called in messages.
        name: String,
        /// Who has not heard of it for so long takes its queries for lost.
        lost_after: Duration,
        /// When it last answered.
        heard: Mutex<Instant>,
    },
}

impl Live {
    /// A server that has just answered.
    pub(super) fn new(
        id: Token,
        (client, door): (Client, Door),
        application_id: Option<String>,
        links: Links,
        place: Place,
    ) -> Self {
        Self {
            id,
            client,
            door,
            application_id,
            links,
            place,
            busy: AtomicUsize::new(0),
            taken: AtomicU64::new(0),
            proved: AtomicBool::new(false),
            missed: AtomicU32::new(0),
            since: Instant::now(),
        }
    }

    /// Counts a query in, before anything of it is sent. False when the server takes no more.
    ///
    /// # Errors
    /// When the server's directory can't be used.
    pub(in super::super) fn admit(&self, token: Token, attempt: &AttemptDir) -> io::Result<bool> {
        let admitted = match &self.place {
            Place::Own { dir, .. } => guests::enter(dir, token, attempt)?,
            Place::External { .. } => true,
        };
        if admitted {
            self.taken.fetch_add(1, Ordering::Relaxed);
        }
        Ok(admitted)
    }

    /// Counts a query out whose end is on the disk.
    pub(in super::super) fn dismiss(&self, token: Token) {
        if let Some(dir) = self.dir() {
            guests::leave(dir, token);
        }
    }

    /// Counts a query in that is at work.
    pub(in super::super) fn enter(&self) {
        self.busy.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a query out that the server has survived: it has proved itself.
    pub(in super::super) fn leave(&self) {
        self.busy.fetch_sub(1, Ordering::Relaxed);
        self.proved.store(true, Ordering::Relaxed);
    }

    /// Notes a sign of life.
    pub(in super::super) fn heard(&self) {
        self.missed.store(0, Ordering::Relaxed);
        if let Place::External { heard, .. } = &self.place {
            *heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        }
    }

    /// Notes a probe without an answer; how many there were in a row.
    pub(super) fn missed(&self) -> u32 {
        self.missed.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// True while it did not answer the last probes.
    pub(super) fn is_away(&self, misses: u32) -> bool {
        self.missed.load(Ordering::Relaxed) >= misses
    }

    /// True when Libra did not start it.
    pub(in super::super) fn is_external(&self) -> bool {
        matches!(self.place, Place::External { .. })
    }

    /// Its directory, when it is Libra's own.
    pub(super) fn dir(&self) -> Option<&AttemptDir> {
        match &self.place {
            Place::Own { dir, .. } => Some(dir),
            Place::External { .. } => None,
        }
    }

    /// Since when this process knows it.
    pub(super) fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// Queries that this process has sent to it.
    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// The resident memory of its processes, in bytes; None when that can't be told.
    pub(super) fn resident(&self) -> Option<u64> {
        shim::footprint::of(self.process()?).map(|footprint| footprint.resident)
    }

    /// Its process; None while that can't be told.
    pub(super) fn process(&self) -> Option<i32> {
        match shim::status(self.dir()?) {
            Ok(shim::Status::Owned { started: Some(started), .. }) => Some(started.process.pid),
            _ => None,
        }
    }

    /// After so long an interrupt that is not obeyed ends the server; None where interrupts are always obeyed.
    pub(in super::super) fn kill_after(&self) -> Option<Duration> {
        match &self.place {
            Place::Own { kill_after, .. } => *kill_after,
            Place::External { .. } => None,
        }
    }

    /// True when the server died of a lack of memory while it worked on one query only: that query's fault.
    pub(in super::super) fn was_exhausted_by_one(&self) -> bool {
        let Some(dir) = self.dir() else { return false };
        let exhausted = matches!(
            shim::status(dir),
            Ok(shim::Status::Exited { exit: shim::ExitRecord { code: Some(OUT_OF_MEMORY_EXIT), .. }, .. })
        );
        exhausted && self.busy.load(Ordering::Relaxed) <= 1
    }

    /// True when nothing of the server is alive, or when an external one was not heard of for too long. While that
    /// can't be told it counts as alive.
    pub(in super::super) fn is_dead(&self) -> bool {
        match &self.place {
            Place::Own { dir, .. } => is_dead(dir),
            Place::External { lost_after, heard, .. } => {
                heard.lock().unwrap_or_else(PoisonError::into_inner).elapsed() >= *lost_after
            }
        }
    }

    /// True once it has answered a query.
    pub(super) fn is_proved(&self) -> bool {
        self.proved.load(Ordering::Relaxed)
    }

    /// True when it died before it had answered anything, and nobody had told it to.
    pub(super) fn died_young(&self) -> bool {
        let own = self.dir().is_some_and(|dir| is_dead(dir) && !dir.stop_file().exists());
        own && !self.is_proved()
    }

    /// True when no query should be sent to it any more. Cheaper than [`Self::is_dead`], and blind to a shim that
    /// was killed.
    pub(super) fn is_leaving(&self) -> bool {
        self.dir().is_some_and(|dir| dir.exit_file().exists() || dir.stop_file().exists())
    }

    /// True while it takes no new query, because another server takes its place.
    pub(super) fn is_retiring(&self) -> bool {
        self.dir().is_some_and(guests::is_retiring)
    }

    /// Waits for a death that an odd error may foretell; false when it does not come.
    pub(in super::super) async fn dies_soon(&self) -> bool {
        if self.is_external() {
            return false;
        }
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
    pub(in super::super) async fn clear_away(&self) {
        let Some(dir) = self.dir() else { return };
        if matches!(shim::status(dir), Ok(shim::Status::ShimLost { .. })) {
            let ended = shim::kill_everything(&self.id.to_string(), STOP_PATIENCE).await;
            if !matches!(ended, Ok(true)) {
                tracing::warn!(server = %self.id, "a Spark server without a shim could not be ended");
            }
        }
    }

    /// Asks for the end of a server that no longer works. Somebody else's is left alone.
    pub(in super::super) fn condemn(&self) {
        if let Some(dir) = self.dir()
            && let Err(error) = shim::request_stop(dir)
        {
            tracing::warn!(%error, "a broken Spark server could not be told to stop");
        }
    }

    /// What is known about its death: the exit code or signal.
    pub(in super::super) fn last_words(&self) -> String {
        match &self.place {
            Place::Own { dir, .. } => describe_end(dir),
            Place::External { name, lost_after, .. } => {
                format!("{name} did not answer for {} seconds", lost_after.as_secs())
            }
        }
    }
}
