//! Stands before the database, sees every write that takes effect, and knows the rules by which it should.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use libra_core::attempt::Attempt;
use libra_core::id::JobId;
use libra_core::job::{Job, State};
use libra_core::sanity;
use libra_store::Backend;
use libra_store::backend::{Kind, Pending, Work};
use libra_store::lane::{
    AttemptNote, AttemptWrite, Change, Fence, Note, OutboxRow, Outcome, Submission, Submitted,
};
use libra_store::tables::feed::NUMBER;
use libra_store::tables::leases::{self, Lease};
use libra_store::tables::replicas::lease_of;
use libra_store::tables::transitions::{self, LogRow};
use libra_store::tables::{attempts, jobs, outbox};
use serde_json::Value;

use super::capacity::Capacity;
use super::database::{Database, at_once};
use super::record::{Promise, Record};
use crate::service::standing::LEADER;

/// The referee of a run.
pub(super) struct Referee {
    pub(super) database: Database,
    pub(super) capacity: Capacity,
    pub(super) record: Record,
    book: Mutex<Book>,
}

/// What it remembers.
#[derive(Default)]
struct Book {
    /// Every job that was stored, with the revision that it must have.
    revisions: BTreeMap<JobId, i64>,
    /// Rows of its log.
    rows: BTreeMap<JobId, usize>,
    keys: BTreeMap<(String, String), JobId>,
    /// Holder and epoch of every lease as last seen.
    leases: BTreeMap<String, (String, i64)>,
    /// Which process wrote under an epoch of a lease.
    writers: BTreeMap<(String, i64), String>,
    /// The greatest epoch of a leader's write.
    led: i64,
    fed: i64,
}

/// A job with everything that belongs to it.
pub(super) struct Whole {
    pub(super) job: Job,
    pub(super) attempts: Vec<Attempt>,
    pub(super) log: Vec<LogRow>,
    pub(super) outbox: Vec<OutboxRow>,
}

impl Referee {
    pub(super) fn new(database: Database, capacity: Capacity, record: Record) -> Self {
        Self { database, capacity, record, book: Mutex::default() }
    }

    /// The database as the process `writer` sees it.
    pub(super) fn seat(self: &Arc<Self>, writer: &str) -> Arc<dyn Backend> {
        Arc::new(Seat { referee: Arc::clone(self), writer: writer.to_owned() })
    }

    fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn must(&self, holds: bool, promise: Promise, what: impl FnOnce() -> String) {
        if !holds {
            self.record.broken(promise, what());
        }
    }

    /// A job with everything, if it is there.
    pub(super) fn whole(&self, id: JobId) -> Option<Whole> {
        let found = self.database.look(move |tx| {
            let Some(job) = jobs::get(tx, id)? else { return Ok(None) };
            let (attempts, log) = (attempts::of_job(tx, id)?, transitions::of_job(tx, id)?);
            let outbox = outbox::of_job(tx, id)?;
            Ok(Some(Whole { job, attempts, log, outbox }))
        });
        found.unwrap_or_else(|e| {
            self.record.broken(Promise::Sane, format!("{id} can't be read: {e}"));
            None
        })
    }

    fn leases(&self) -> BTreeMap<String, Lease> {
        self.database.look(leases::leases).unwrap_or_default()
    }

    /// Everything that must hold of one job after a write.
    fn check(&self, id: JobId, rows: usize) {
        let Some(whole) = self.whole(id) else {
            self.record.broken(Promise::NoJobLost, format!("{id} is gone"));
            return;
        };
        let Whole { job, attempts, log, outbox } = &whole;
        let open: Vec<(u32, bool)> = attempts.iter().map(|a| (a.number, a.ended_at.is_none())).collect();
        let steps: Vec<_> = log.iter().map(|row| row.transition.clone()).collect();
        for found in sanity::check(&sanity::Snapshot { job, attempts: &open, log: &steps }) {
            self.record.broken(Promise::Sane, format!("{id}: {}", found.what));
        }
        let mut book = self.book();
        let before = book.revisions.insert(id, job.revision).unwrap_or(0);
        let logged = book.rows.insert(id, log.len()).unwrap_or(0);
        drop(book);
        self.must(job.revision == before + 1, Promise::EveryStepLogged, || {
            format!("{id} went from revision {before} to {}", job.revision)
        });
        let newer = log.get(logged..).unwrap_or_default();
        let fine = newer.len() == rows && newer.iter().all(|row| row.revision == job.revision);
        self.must(fine, Promise::EveryStepLogged, || {
            format!("{id} at revision {}: {} of {rows} rows of the log are there", job.revision, newer.len())
        });
        let (told, owed) = (outbox.iter().map(|o| o.topic.as_str()).collect::<Vec<_>>(), owed(job, log));
        self.must(told == owed, Promise::EveryStateTold, || format!("{id} told {told:?}, owes {owed:?}"));
    }

    fn check_usage(&self) {
        for what in self.capacity.exceeded(&self.database.look(jobs::holding).unwrap_or_default()) {
            self.record.broken(Promise::WithinLimits, what);
        }
    }

    /// The epochs that the log row names must be those of the leases at this moment.
    fn check_epoch(&self, writer: &str, metadata: Option<&str>, job: JobId) {
        let Some(told) = metadata.and_then(|m| serde_json::from_str::<Value>(m).ok()) else { return };
        let lease = match (told["leader"].as_str(), told["replica"].as_str()) {
            (Some(_), _) => LEADER.to_owned(),
            (None, Some(replica)) => lease_of(replica),
            (None, None) => return,
        };
        let epoch = told["epoch"].as_i64().unwrap_or(0);
        let present = self.leases().get(&lease).map(|l| l.epoch);
        self.must(present == Some(epoch), Promise::Fenced, || {
            format!("{writer} wrote about {job} under epoch {epoch} of {lease}, which is at {present:?}")
        });
        let mut book = self.book();
        let first = book.writers.entry((lease.clone(), epoch)).or_insert_with(|| writer.to_owned()).clone();
        let led = book.led;
        if lease == LEADER {
            book.led = led.max(epoch);
        }
        drop(book);
        self.must(first == writer, Promise::EpochsUnique, || {
            format!("{first} and {writer} both wrote under epoch {epoch} of {lease}")
        });
        self.must(lease != LEADER || epoch >= led, Promise::Fenced, || {
            format!("a leader of epoch {epoch} wrote after one of epoch {led}")
        });
    }

    fn check_leases(&self) {
        let present = self.leases();
        let mut book = self.book();
        let mut wrong = Vec::new();
        for (name, lease) in present {
            let now = (lease.holder, lease.epoch);
            let before = book.leases.insert(name.clone(), now.clone());
            if let Some(before) = before
                && (now.1 < before.1 || (now.0 != before.0 && now.1 == before.1))
            {
                wrong.push(format!("the lease {name} went from {before:?} to {now:?}"));
            }
        }
        drop(book);
        for what in wrong {
            self.record.broken(Promise::EpochsUnique, what);
        }
    }

    fn check_takeover(&self, note: &AttemptNote) {
        if let Note::TakeOver { from } = &note.what {
            let lease = self.leases().get(&lease_of(&from.replica)).map(|l| l.epoch);
            self.must(lease.is_none_or(|epoch| epoch > from.epoch), Promise::FencedBeforeTakeover, || {
                format!(
                    "{} of {} was taken over from {from:?}, whose lease is at {lease:?}",
                    note.number, note.job_id
                )
            });
        }
    }

    /// The attempt that a note is about.
    fn attempt(&self, note: &AttemptNote) -> Option<Attempt> {
        let (id, number) = (note.job_id, note.number);
        self.database.look(move |tx| attempts::get(tx, id, number)).unwrap_or_default()
    }

    fn check_seen(&self, before: Option<&Attempt>, after: Option<&Attempt>) {
        let figures = |attempt: Option<&Attempt>| {
            let usage = attempt.and_then(|a| a.usage).unwrap_or_default();
            let shown = attempt.and_then(|a| Some(a.progress.as_ref()?.percentage)).unwrap_or(0);
            [u64::from(shown), usage.cpu_millis, usage.peak_memory_bytes]
        };
        let (before, now) = (figures(before), figures(after));
        let fine = before.iter().zip(&now).all(|(before, now)| before <= now);
        self.must(fine, Promise::NothingFalls, || {
            format!("progress and usage went from {before:?} to {now:?}")
        });
    }

    fn check_feed(&self) {
        let fed = self.book().fed;
        let numbered = self.database.look(move |tx| {
            let sql = format!(
                "SELECT n FROM (SELECT {NUMBER} AS n FROM transitions t) numbered WHERE n > ?1 ORDER BY n"
            );
            libra_store::tx::all(tx, &sql, &[fed.into()], |row| row.int(0))
        });
        let numbered = numbered.unwrap_or_default();
        let whole = numbered.iter().zip(fed + 1..).all(|(seq, wanted)| *seq == wanted);
        self.must(whole, Promise::FeedWhole, || format!("after {fed} the feed has {numbered:?}"));
        self.book().fed = numbered.last().copied().unwrap_or(fed);
    }

    /// Every job that was ever stored.
    pub(super) fn known(&self) -> Vec<JobId> {
        self.book().revisions.keys().copied().collect()
    }
}

/// The states that the job's subscriber has to be told of: those asked for, but no FAILED that is retried.
fn owed<'l>(job: &Job, log: &'l [LogRow]) -> Vec<&'l str> {
    let Some(wanted) = &job.spec.notifications else { return Vec::new() };
    let mut owed = Vec::new();
    for (n, row) in log.iter().enumerate() {
        let state = row.transition.to;
        let retried = state == State::Failed && log.get(n + 1).is_some();
        let asked = if wanted.events.is_empty() {
            state.is_terminal()
        } else {
            wanted.events.iter().any(|e| e == state.as_str())
        };
        if asked && !retried {
            owed.push(state.as_str());
        }
    }
    owed
}

/// One process's seat at the database.
struct Seat {
    referee: Arc<Referee>,
    writer: String,
}

impl Backend for Seat {
    fn kind(&self) -> Kind {
        Kind::Sqlite
    }

    fn write(&self, work: Work) -> Pending<'_, ()> {
        Box::pin(async move {
            let done = at_once(self.referee.database.backend().write(work));
            self.referee.check_leases();
            done
        })
    }

    fn read(&self, work: Work) -> Pending<'_, ()> {
        Box::pin(async move { at_once(self.referee.database.backend().read(work)) })
    }

    fn submit(&self, new: Submission) -> Pending<'_, Submitted> {
        Box::pin(async move {
            let referee = &self.referee;
            let (id, rows) = (new.job.id, new.log.len());
            let key = new.job.spec.labels.get("key").map(|key| (new.job.user.clone(), key.clone()));
            let done = at_once(referee.database.backend().submit(new))?;
            if done == Submitted::Stored {
                let first = key.and_then(|key| referee.book().keys.insert(key, id));
                referee.must(first.is_none(), Promise::NoJobTwice, || {
                    format!("{id} is the same request as {first:?}")
                });
                referee.check(id, rows);
            }
            Ok(done)
        })
    }

    fn apply(&self, change: Change) -> Pending<'_, Outcome> {
        Box::pin(async move {
            let referee = &self.referee;
            let (id, rows) = (change.job.id, change.log.len());
            let (metadata, state) = (change.origin.metadata.clone(), change.job.state);
            let opens = change.attempts.iter().any(|a| matches!(a, AttemptWrite::Open(_)));
            let done = at_once(referee.database.backend().apply(change))?;
            if done == Outcome::Updated {
                referee.record.say(&self.writer, format_args!("stored: {id} is {state}"));
                referee.check_epoch(&self.writer, metadata.as_deref(), id);
                referee.check(id, rows);
                if opens {
                    referee.check_usage();
                }
            }
            Ok(done)
        })
    }

    fn note(&self, note: AttemptNote) -> Pending<'_, Outcome> {
        Box::pin(async move {
            let referee = &self.referee;
            let kept = note.clone();
            let before = referee.attempt(&kept);
            let done = at_once(referee.database.backend().note(note))?;
            if done == Outcome::Updated {
                referee.check_takeover(&kept);
                referee.check_seen(before.as_ref(), referee.attempt(&kept).as_ref());
            }
            Ok(done)
        })
    }

    fn number_feed(&self, fence: Fence) -> Pending<'_, usize> {
        Box::pin(async move {
            let (epoch, lease) = (fence.epoch, fence.lease.clone());
            let numbered = at_once(self.referee.database.backend().number_feed(fence))?;
            if numbered > 0 {
                let present = self.referee.leases().get(&lease).map(|l| l.epoch);
                self.referee.must(present == Some(epoch), Promise::Fenced, || {
                    format!("{} numbered the feed under {epoch}; it is at {present:?}", self.writer)
                });
                self.referee.check_feed();
            }
            Ok(numbered)
        })
    }
}
