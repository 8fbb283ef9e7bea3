//! Follows running drivers by their own REST interface: a task for each, so that no driver holds up another.
//!
//! Progress is for people; nothing depends on it. The number of executors counts for whose turn it is. A driver that does not
//! answer, has no UI or can't be found has no progress, and holds what was kept for it.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use libra_core::attempt::Progress;
use libra_core::id::Token;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::application::{self, Application};
use super::rest::{NoAnswer, Rest};
use crate::attempt_dir::AttemptDir;
use crate::engine::Launch;
use crate::progress;
use crate::shim::process::{self, Status};

/// The time before the first question: what answers it has to be loaded first, which would cost a short job some percent
/// of its time.
const FIRST_PAUSE: Duration = Duration::from_secs(15);
/// The pause between two questions.
const PAUSE: Duration = Duration::from_secs(2);
/// Questions take at most this part of a driver's time: after two slow answers in a row the pause is so many times as
/// long as the quicker of them. The first one is always slow, as the driver has to load what answers it.
const SPARING: u32 = 10;
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// After so many questions in a row without an answer the driver is looked for anew.
const MISSES: u32 = 3;

/// What is known of a driver so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// What was found out by asking; None where the files tell.
    pub(super) application: Option<Application>,
    pub(super) progress: Option<Progress>,
    /// Executors on a cluster; None where the driver does their work.
    pub(super) executors: Option<u32>,
}

#[derive(Debug)]
struct Followed {
    known: watch::Receiver<Known>,
    task: AbortHandle,
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The drivers that are followed.
#[derive(Debug, Default)]
pub(super) struct Following(Mutex<HashMap<Token, Followed>>);

impl Following {
    fn all(&self) -> MutexGuard<'_, HashMap<Token, Followed>> {
        // Nothing panics while it is held; even then the map would be whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of a running driver; follows it from now on.
    pub(super) fn look(&self, launch: &Launch) -> Known {
        let Some(rest) = Rest::shared() else { return Known::default() };
        let mut all = self.all();
        let followed = all.entry(launch.token).or_insert_with(|| {
            let (tell, known) = watch::channel(Known::default());
            let task = tokio::spawn(follow(rest, Driver::of(launch), tell));
            Followed { known, task: task.abort_handle() }
        });
        followed.known.borrow().clone()
    }

    /// Asks no more.
    pub(super) fn forget(&self, token: Token) {
        self.all().remove(&token);
    }

    /// Waits for news of a driver.
    pub(super) async fn news(&self, token: Token) {
        let known = self.all().get(&token).map(|followed| followed.known.clone());
        let Some(mut known) = known else { return std::future::pending().await };
        known.mark_unchanged();
        if known.changed().await.is_err() {
            // It is over, which is for others to say.
            std::future::pending::<()>().await;
        }
    }
}

/// Whom to ask.
struct Driver {
    token: Token,
    dir: AttemptDir,
    /// Where the driver's UI listens on this machine.
    host: String,
}

impl Driver {
    fn of(launch: &Launch) -> Self {
        // Spark's UI listens on this address, and on all addresses where none is named.
        let named = launch.spec.env.get("SPARK_LOCAL_IP").and_then(|ip| ip.parse::<IpAddr>().ok());
        let host = named.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)).to_string();
        Self { token: launch.token, dir: AttemptDir::new(&launch.dir), host }
    }

    fn runs(&self) -> bool {
        matches!(process::status(&self.dir), Ok(Status::Owned { .. }))
    }

    /// Finds out whom to ask, and for what.
    async fn find(&self, rest: &Rest) -> Result<Application, NoAnswer> {
        if let Some(told) = Application::told(&self.dir).filter(|told| told.interface().is_some()) {
            return Ok(told);
        }
        let port = application::ui_port(&self.dir).ok_or("it has not told where its UI is")?;
        let reached = application::address(&self.host, port);
        let (id, host) = rest.application(&reached, self.token).await?;
        let spark_ui = Some(application::address(&host, port));
        let found = Application { id: Some(id), spark_ui, reached: Some(reached) };
        found.keep(&self.dir).map_err(|e| e.to_string())?;
        Ok(found)
    }
}

async fn follow(rest: &'static Rest, driver: Driver, tell: watch::Sender<Known>) {
    let mut found: Option<Application> = None;
    let mut misses = 0;
    let mut pause = FIRST_PAUSE;
    let mut before = Duration::ZERO;
    loop {
        tokio::time::sleep(pause).await;
        if !driver.runs() {
            return;
        }
        let begun = Instant::now();
        let asked = ask(rest, &driver, &mut found, &tell).await;
        let took = begun.elapsed();
        pause = (took.min(before) * SPARING).clamp(PAUSE, LONGEST_PAUSE);
        before = took;
        match asked {
            Ok(()) => misses = 0,
            Err(why) => {
                tracing::debug!(token = %driver.token, why, "a driver tells nothing of its progress");
                misses += 1;
                if misses >= MISSES {
                    found = None;
                    misses = 0;
                }
            }
        }
    }
}

async fn ask(
    rest: &Rest,
    driver: &Driver,
    found: &mut Option<Application>,
    tell: &watch::Sender<Known>,
) -> Result<(), NoAnswer> {
    let application = match found {
        Some(application) => application,
        None => found.insert(driver.find(rest).await?),
    };
    let Some((base, id)) = application.interface() else { return Err("it has no UI".to_owned()) };
    // Spark's name for an application without a cluster begins so.
    let executors = if id.starts_with("local-") { None } else { rest.executors(base, id).await.ok() };
    tell.send_if_modified(|known| {
        let news = executors.is_some() && known.executors != executors;
        known.executors = executors.or(known.executors);
        news
    });
    let tally = rest.tally(base, id).await?;
    tell.send_if_modified(|known| {
        let next = progress::advance(known.progress.as_ref(), tally).or_else(|| known.progress.clone());
        let next =
            Known { application: Some(application.clone()), progress: next, executors: known.executors };
        let news = *known != next;
        *known = next;
        news
    });
    Ok(())
}

#[cfg(test)]
#[path = "follow_tests.rs"]
mod tests;
