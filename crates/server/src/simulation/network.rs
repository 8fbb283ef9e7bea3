//! The way from one process to the store: slow, cut, forgetful, and sometimes the last thing the process does.

use std::sync::Arc;
use std::time::Duration;

use libra_store::Backend;
use libra_store::StoreError;
use libra_store::backend::{Kind, Pending, Work};
use libra_store::lane::{AttemptNote, Change, Fence, Outcome, Submission, Submitted};
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::dice::Dice;
use super::life::Life;
use super::plan::Rates;
use super::record::Record;
use super::weather::Weather;

/// The store as one process reaches it.
pub(super) struct Network {
    pub(super) life: Arc<Life>,
    pub(super) store: Arc<dyn Backend>,
    pub(super) dice: Dice,
    pub(super) rates: Rates,
    pub(super) weather: Weather,
    pub(super) record: Record,
    /// The database is within the process: what has not begun when it dies never does.
    pub(super) embedded: bool,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Fine,
    /// It took no effect.
    Refused,
    /// It took effect, and the answer is lost.
    AnswerLost,
    /// The answer is lost, and it takes effect after that.
    EffectLate,
    /// It takes long.
    Stalled,
    /// It took effect, and the answer is long on its way.
    AnswerSlow,
    /// The process dies before it asks.
    CrashBefore,
    /// The process dies before it has the answer.
    CrashAfter,
    /// The process stands still before it asks.
    FrozenBefore,
    /// The process stands still before it has the answer.
    FrozenAfter,
}

/// A piece of work on the store, on its way.
type Call<T> = Box<dyn FnOnce(Arc<dyn Backend>) -> Asked<T> + Send>;
type Asked<T> = futures::future::BoxFuture<'static, Result<T, StoreError>>;

impl Network {
    fn fate(&self, writes: bool) -> Fate {
        let strikes = |rate| self.weather.strikes(&self.dice, rate);
        if strikes(self.rates.crash_in_store_call) {
            return if self.dice.chance(5_000) { Fate::CrashBefore } else { Fate::CrashAfter };
        }
        if strikes(self.rates.freeze_in_call) {
            return if self.dice.chance(5_000) { Fate::FrozenBefore } else { Fate::FrozenAfter };
        }
        if strikes(self.rates.store_stall) {
            return Fate::Stalled;
        }
        if strikes(self.rates.store_answer_slow) {
            return Fate::AnswerSlow;
        }
        if !writes {
            return if strikes(self.rates.read_error) { Fate::Refused } else { Fate::Fine };
        }
        if strikes(self.rates.store_error) {
            Fate::Refused
        } else if strikes(self.rates.store_answer_lost) {
            Fate::AnswerLost
        } else if strikes(self.rates.store_effect_late) {
            Fate::EffectLate
        } else {
            Fate::Fine
        }
    }

    /// How long the way there takes.
    fn way(&self) -> Duration {
        match self.dice.between(0..=9) {
            0..=5 => Duration::ZERO,
            6..=8 => self.dice.millis(1..=3),
            _ => self.dice.millis(4..=40),
        }
    }

    fn unreachable(&self) -> bool {
        self.life.is_cut_off() || self.weather.store_is_down()
    }

    /// Stands still for a while: long enough to lose a lease, or short.
    fn freeze(&self) {
        self.life.freeze();
        let time = if self.dice.chance(2_000) { 40_000..=200_000 } else { 500..=40_000 };
        let (life, time) = (Arc::clone(&self.life), self.dice.millis(time));
        tokio::spawn(async move {
            sleep(time).await;
            life.thaw();
        });
    }

    async fn ask<T: Send + 'static>(
        &self,
        what: String,
        writes: bool,
        call: Call<T>,
    ) -> Result<T, StoreError> {
        self.life.pass().await;
        let fate = self.fate(writes);
        if writes || fate != Fate::Fine {
            self.record.say(&self.life.name, format_args!("asks the store: {what} ({fate:?})"));
        }
        if fate == Fate::CrashBefore {
            self.life.kill("before a call of the store");
        } else if fate == Fate::FrozenBefore {
            self.freeze();
        }
        self.life.pass().await;
        if self.unreachable() {
            sleep(self.dice.millis(1..=2_000)).await;
            self.life.pass().await;
            return Err(StoreError::Unreachable("the network is cut".into()));
        }
        if fate == Fate::Refused {
            sleep(self.way()).await;
            self.life.pass().await;
            return Err(StoreError::Database("no".into()));
        }
        let way = if fate == Fate::Stalled { self.dice.millis(500..=20_000) } else { self.way() };
        if fate == Fate::EffectLate {
            let (store, late) = (Arc::clone(&self.store), self.dice.millis(50..=15_000));
            tokio::spawn(async move {
                sleep(late).await;
                call(store).await
            });
            sleep(self.way()).await;
            self.life.pass().await;
            return Err(StoreError::Interrupted("the connection was lost".into()));
        }
        let answer = if way.is_zero() {
            call(Arc::clone(&self.store)).await
        } else {
            // Once it is on its way it arrives, whatever becomes of whoever asked.
            let (store, weather) = (Arc::clone(&self.store), self.weather.clone());
            let owner = self.embedded.then(|| Arc::clone(&self.life));
            let (tell, told) = oneshot::channel();
            tokio::spawn(async move {
                sleep(way).await;
                let answer = if owner.is_some_and(|life| life.is_dead()) {
                    Err(StoreError::Closed)
                } else if weather.store_is_down() {
                    Err(StoreError::Unreachable("it went down".into()))
                } else {
                    call(store).await
                };
                // Nobody may be waiting for the answer any more.
                let _ = tell.send(answer);
            });
            told.await.unwrap_or(Err(StoreError::Closed))
        };
        if fate == Fate::CrashAfter {
            self.life.kill("before the store's answer came");
        } else if fate == Fate::FrozenAfter {
            self.freeze();
        }
        let way = if fate == Fate::AnswerSlow { self.dice.millis(1_000..=100_000) } else { self.way() };
        if !way.is_zero() {
            sleep(way).await;
        }
        self.life.pass().await;
        if writes && (fate == Fate::AnswerLost || self.unreachable()) {
            return Err(StoreError::Interrupted("the connection was lost".into()));
        }
        if writes && let Err(e) = &answer {
            self.record.say(&self.life.name, format_args!("the store says: {e}"));
        }
        answer
    }
}

impl Backend for Network {
    fn kind(&self) -> Kind {
        if self.embedded { Kind::Sqlite } else { Kind::Postgres }
    }

    fn write(&self, work: Work) -> Pending<'_, ()> {
        Box::pin(self.ask("write".into(), true, Box::new(|db| Box::pin(async move { db.write(work).await }))))
    }

    fn read(&self, work: Work) -> Pending<'_, ()> {
        Box::pin(self.ask("read".into(), false, Box::new(|db| Box::pin(async move { db.read(work).await }))))
    }

    fn submit(&self, new: Submission) -> Pending<'_, Submitted> {
        let what = format!("submit {}", new.job.id);
        Box::pin(self.ask(what, true, Box::new(|db| Box::pin(async move { db.submit(new).await }))))
    }

    fn apply(&self, change: Change) -> Pending<'_, Outcome> {
        let what = format!("{} of {} becomes {}", change.job.attempt, change.job.id, change.job.state);
        Box::pin(self.ask(what, true, Box::new(|db| Box::pin(async move { db.apply(change).await }))))
    }

    fn note(&self, note: AttemptNote) -> Pending<'_, Outcome> {
        let what = format!("note about {} of {}: {:?}", note.number, note.job_id, note.what);
        Box::pin(self.ask(what, true, Box::new(|db| Box::pin(async move { db.note(note).await }))))
    }

    fn number_feed(&self, fence: Fence) -> Pending<'_, usize> {
        let what = format!("number the feed under {}", fence.epoch);
        Box::pin(self.ask(what, true, Box::new(|db| Box::pin(async move { db.number_feed(fence).await }))))
    }
}
