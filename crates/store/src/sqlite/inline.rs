//! A database in memory that does everything at once, in the task of whoever asks: no threads, no waiting, and a
//! clock that the caller sets. For the simulator and for tests.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;

use super::connection::{Clock, SqliteTx};
use super::migrate::migrate;
use crate::backend::{Backend, Kind, Pending, Work};
use crate::error::StoreError;
use crate::lane::{AttemptNote, Change, Fence, Outcome, Submission, Submitted};
use crate::tables;
use crate::tables::submissions::QueueBound;
use crate::tx::Tx;

/// The database. Replicas that are to share it share the `Arc` around it.
pub struct Inline {
    conn: Mutex<Connection>,
    clock: Arc<Clock>,
}

impl Inline {
    /// An empty database with the newest schema, whose [`Tx::now`] is `clock`.
    ///
    /// # Errors
    /// When SQLite can't be used at all.
    pub fn new(clock: Arc<Clock>) -> Result<Self, StoreError> {
        let mut conn = Connection::open_in_memory()?;
        conn.pragma_update(None, "foreign_keys", "ON")?;
        migrate(&mut conn)?;
        Ok(Self { conn: Mutex::new(conn), clock })
    }

    fn run<T>(&self, f: impl FnOnce(&mut dyn Tx) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let conn = self.conn.lock().unwrap_or_else(PoisonError::into_inner);
        conn.execute_batch("BEGIN IMMEDIATE")?;
        let done = f(&mut SqliteTx::with_clock(&conn, &*self.clock));
        let end = if done.is_ok() { "COMMIT" } else { "ROLLBACK" };
        conn.execute_batch(end)?;
        done
    }
}

impl Backend for Inline {
    fn kind(&self) -> Kind {
        Kind::Sqlite
    }

    fn write(&self, work: Work) -> Pending<'_, ()> {
        Box::pin(async move { self.run(work) })
    }

    fn read(&self, work: Work) -> Pending<'_, ()> {
        Box::pin(async move { self.run(work) })
    }

    fn submit(&self, submission: Submission) -> Pending<'_, Submitted> {
        Box::pin(async move {
            let mut outcomes =
                self.run(|tx| tables::submissions::insert(tx, &[submission], &mut QueueBound::default()))?;
            outcomes.pop().ok_or(StoreError::Closed)
        })
    }

    fn apply(&self, change: Change) -> Pending<'_, Outcome> {
        Box::pin(async move { self.run(|tx| tables::changes::apply(tx, &change)) })
    }

    fn note(&self, note: AttemptNote) -> Pending<'_, Outcome> {
        Box::pin(async move { self.run(|tx| tables::attempts::note(tx, &note)) })
    }

    fn number_feed(&self, fence: Fence) -> Pending<'_, usize> {
        Box::pin(async move { self.run(|tx| tables::feed::number(tx, &fence)) })
    }
}
