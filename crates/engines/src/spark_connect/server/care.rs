//! Asks a server whether it lives, measures it, and ends those that nobody needs any more.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use futures::future::join_all;
use libra_core::memory;

use super::super::failure::{Verdict, judge};
use super::{Live, STOP_PATIENCE, Server, files, guests, is_dead, start};
use crate::shim::{self, process};

/// How often a server is measured.
const LOOK: Duration = Duration::from_secs(3);
/// A younger server is not replaced, however large it is.
const YOUNGEST: Duration = Duration::from_secs(10);
/// A server that had to be replaced sooner than this after it had come makes the next one stay twice as long: where
/// every server is too large at once, replacing them helps nobody.
const SOON: Duration = Duration::from_mins(5);
/// The longest stay of a server that is too large.
const LONGEST_STAY: Duration = Duration::from_hours(1);
/// The wait after servers could not be swapped because queries ran all the time; doubled each time.
const AFTER_NO_SWAP: Duration = Duration::from_mins(1);

/// What is remembered between two looks.
struct Rounds {
    next_probe: Instant,
    /// How old a server has to be before it is replaced.
    stay: Duration,
    /// No replacing before then.
    not_before: Instant,
    /// The wait after the next swap that does not come off.
    after_no_swap: Duration,
}

/// Looks after the server until the engine is gone.
pub(super) async fn watch(server: Weak<Server>) {
    let now = Instant::now();
    let mut rounds =
        Rounds { next_probe: now, stay: YOUNGEST, not_before: now, after_no_swap: AFTER_NO_SWAP };
    loop {
        let Some(pause) = server.upgrade().map(|server| LOOK.min(server.settings.care.probe_every)) else {
            return;
        };
        tokio::time::sleep(pause).await;
        let Some(server) = server.upgrade() else { return };
        server.look_after(&mut rounds).await;
    }
}

impl Server {
    async fn look_after(self: &Arc<Self>, rounds: &mut Rounds) {
        let (present, others): (_, Vec<_>) = {
            let known = self.locked();
            (known.present.clone(), known.others.values().cloned().collect())
        };
        if Instant::now() >= rounds.next_probe {
            rounds.next_probe = Instant::now() + self.settings.care.probe_every;
            // At once: one that hangs must not keep the others from being asked.
            join_all(present.iter().chain(&others).map(|live| self.probe(live))).await;
        }
        if let Some(live) = present
            && let Some(why) = self.reason_to_replace(&live, rounds)
        {
            self.replace(&live, &why, rounds).await;
        }
        self.sweep().await;
    }

    /// One call that costs the server next to nothing. A server that does not answer several in a row is ended, or,
    /// when it is somebody else's, gets no new queries until it answers.
    async fn probe(&self, live: &Arc<Live>) {
        if live.is_leaving() {
            return;
        }
        let care = &self.settings.care;
        let call = live.client.application_id(live.id.uuid());
        let reason = match tokio::time::timeout(care.probe_every, call).await {
            Ok(Ok(_)) => return live.heard(),
            // Whatever it says, it says something: that the probes' session has expired, for one.
            Ok(Err(status)) if judge(&status) != Verdict::Retry => return live.heard(),
            Ok(Err(status)) => status.message().to_owned(),
            Err(_) => "no answer".to_owned(),
        };
        let missed = live.missed();
        tracing::debug!(server = %live.id, missed, reason, "a probe of the Spark server failed");
        if missed == care.probe_misses {
            tracing::warn!(
                server = %live.id, missed, reason, "the Spark server does not answer: {}",
                if live.is_external() { "new queries wait for it" } else { "it is ended and replaced" }
            );
            live.condemn();
        }
    }

    /// Why the server ought to be replaced now, if it ought to.
    fn reason_to_replace(&self, live: &Live, rounds: &Rounds) -> Option<String> {
        if live.is_external() || live.is_leaving() || live.age() < rounds.stay {
            return None;
        }
        if Instant::now() < rounds.not_before {
            return None;
        }
        if self.settings.care.recycle_after_jobs.is_some_and(|most| live.taken() >= most) {
            return Some(format!("it has run {} queries", live.taken()));
        }
        let (resident, most) = (live.resident()?, self.settings.recycle_at());
        (resident >= most).then(|| {
            format!("its memory is {}, the limit is {}", memory::display(resident), memory::display(most))
        })
    }

    async fn replace(self: &Arc<Self>, live: &Arc<Live>, why: &str, rounds: &mut Rounds) {
        let age = live.age();
        match self.recycle(live, why).await {
            Ok(true) => {
                rounds.after_no_swap = AFTER_NO_SWAP;
                rounds.stay = if age < SOON { (rounds.stay * 2).min(LONGEST_STAY) } else { YOUNGEST };
            }
            Ok(false) => {
                rounds.not_before = Instant::now() + rounds.after_no_swap;
                rounds.after_no_swap = (rounds.after_no_swap * 2).min(LONGEST_STAY);
            }
            Err(failure) => {
                tracing::warn!(reason = %failure.message, "the Spark server could not be replaced");
                rounds.not_before = Instant::now() + AFTER_NO_SWAP;
            }
        }
    }

    /// Ends servers that have been replaced as soon as their last query has ended.
    async fn sweep(&self) {
        self.locked().others.retain(|_, live| !live.is_leaving());
        let data_dir = &self.settings.data_dir;
        let present = || files::current(data_dir).filter(|_| start::kind(&self.settings).is_some());
        let living = |id: &libra_core::id::Token| !is_dead(&files::directory(data_dir, *id));
        let replaced: Vec<_> =
            files::servers(data_dir).into_iter().filter(|id| Some(*id) != present()).filter(living).collect();
        if replaced.is_empty() {
            return;
        }
        // Whoever holds the lock may just be starting one that nobody knows yet.
        let Ok(Some(_lock)) = start::try_lock(&self.settings) else { return };
        for id in replaced.into_iter().filter(|id| Some(*id) != present()) {
            let dir = files::directory(data_dir, id);
            let idle = guests::retire(&dir).and_then(|()| guests::count(&dir)).map(|open| open == 0);
            let told = match idle {
                Ok(true) => {
                    tracing::info!(server = %id, "a Spark server that has been replaced is idle and ends");
                    process::stop(&dir, STOP_PATIENCE).await.map(drop)
                }
                // Its queries may be another replica's, or of a Libra that is just coming back.
                Ok(false) => shim::touch(&files::keepalive_file(&dir)),
                Err(error) => Err(error),
            };
            if let Err(error) = told {
                tracing::warn!(%error, server = %id, "a Spark server that has been replaced can't be looked after");
            }
        }
        files::prune(data_dir, is_dead);
    }
}
