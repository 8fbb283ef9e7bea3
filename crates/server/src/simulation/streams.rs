//! A Redis that hands attempts on as far as it likes: it loses, repeats, delays, refuses and forgets everything.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use libra_store::handoff::{Entry, HandOffError, Taken};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};

use super::dice::Dice;
use super::life::Life;
use super::plan::Rates;
use super::weather::Weather;
use crate::service::HandOff;

/// What was taken and not settled goes to the next one after so long.
const STALE_AFTER: Duration = Duration::from_secs(30);

/// The server. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Streams(Arc<Inner>);

#[derive(Default)]
struct Inner {
    entries: Mutex<VecDeque<Waiting>>,
    bell: Notify,
}

struct Waiting {
    id: u64,
    entry: Entry,
    taken_at: Option<Instant>,
}

impl Streams {
    fn entries(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.0.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// FLUSHALL.
    pub(super) fn flush(&self) {
        self.entries().clear();
    }

    fn take(&self, host: &str, most: usize) -> Vec<Taken> {
        let now = Instant::now();
        let free = |w: &&mut Waiting| w.taken_at.is_none_or(|at| at + STALE_AFTER <= now);
        let mut entries = self.entries();
        let mine = entries.iter_mut().filter(|w| w.entry.host == host).filter(free).take(most);
        mine.map(|w| {
            w.taken_at = Some(now);
            Taken { entry: w.entry.clone(), id: w.id.to_string() }
        })
        .collect()
    }
}

/// The server as one process reaches it.
pub(super) struct Line {
    pub(super) life: Arc<Life>,
    pub(super) streams: Streams,
    pub(super) dice: Dice,
    pub(super) rates: Rates,
    pub(super) weather: Weather,
}

impl Line {
    async fn pass(&self) -> Result<(), HandOffError> {
        self.life.pass().await;
        let down = self.weather.redis_is_down() || self.weather.strikes(&self.dice, self.rates.redis_error);
        if down {
            sleep(self.dice.millis(0..=500)).await;
            self.life.pass().await;
            let why = "it is down".to_owned();
            return Err(HandOffError::Unreachable { address: "redis".into(), why });
        }
        Ok(())
    }
}

impl HandOff for Line {
    fn push<'a>(&'a self, new: &'a [Entry]) -> BoxFuture<'a, Result<(), HandOffError>> {
        async move {
            self.pass().await?;
            for entry in new {
                if self.weather.strikes(&self.dice, self.rates.redis_loses) {
                    continue;
                }
                let copies = if self.weather.strikes(&self.dice, self.rates.redis_twice) { 2 } else { 1 };
                for _ in 0..copies {
                    let waiting = Waiting { id: self.dice.next(), entry: entry.clone(), taken_at: None };
                    self.streams.entries().push_back(waiting);
                }
            }
            self.streams.0.bell.notify_waiters();
            self.life.pass().await;
            Ok(())
        }
        .boxed()
    }

    fn take<'a>(
        &'a self,
        host: &'a str,
        _consumer: &'a str,
        most: usize,
        wait: Duration,
    ) -> BoxFuture<'a, Result<Vec<Taken>, HandOffError>> {
        async move {
            let until = Instant::now() + wait;
            if let Err(e) = self.pass().await {
                sleep(Duration::from_millis(500)).await;
                return Err(e);
            }
            loop {
                // Armed before the look: what comes in between is not missed.
                let rung = self.streams.0.bell.notified();
                let taken = self.streams.take(host, most);
                if !taken.is_empty() || timeout_at(until, rung).await.is_err() {
                    self.life.pass().await;
                    return Ok(taken);
                }
            }
        }
        .boxed()
    }

    fn settle<'a>(&'a self, taken: &'a [Taken]) -> BoxFuture<'a, Result<(), HandOffError>> {
        async move {
            self.pass().await?;
            self.streams.entries().retain(|w| !taken.iter().any(|t| t.id == w.id.to_string()));
            Ok(())
        }
        .boxed()
    }
}
