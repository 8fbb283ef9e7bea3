//! A PostgreSQL database as a backend.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::check::ready;
use super::connection::Connector;
use super::lanes::{Lane, submissions};
use super::pool::{Pool, PoolSettings};
use super::tx::{Begin, run};
use crate::backend::{Backend, Kind, Pending, Work};
use crate::error::StoreError;
use crate::lane::{AttemptNote, Change, Fence, Outcome, Submission, Submitted};
use crate::tables;
use crate::tx::Tx;
use crate::url::PgUrl;

/// Statements with new jobs that are under way at once.
const SUBMISSIONS_AT_ONCE: usize = 4;
/// Statements with steps of the lifecycle that are under way at once.
const CHANGES_AT_ONCE: usize = 4;
/// Statements with notes that are under way at once.
const NOTES_AT_ONCE: usize = 2;

/// A PostgreSQL database. What was handed to it is written also when it is dropped.
pub struct Postgres {
    pool: Arc<Pool>,
    submissions: Lane<Submission>,
    changes: Lane<Change>,
    notes: Lane<AttemptNote>,
}

impl Postgres {
    /// Opens the database, and migrates it as needed.
    ///
    /// # Errors
    /// When it can't be reached, does not let us in, is too old, or was written by a newer Libra.
    pub async fn open(url: PgUrl, settings: PoolSettings) -> Result<Self, StoreError> {
        let connector = Connector::new(url)?;
        ready(&connector).await?;
        let pool = Pool::new(connector, settings);
        let store = Arc::new(submissions::Store::new(Arc::clone(&pool)));
        Ok(Self {
            submissions: Lane::start(store, SUBMISSIONS_AT_ONCE),
            changes: Lane::start(Arc::new(Arc::clone(&pool)), CHANGES_AT_ONCE),
            notes: Lane::start(Arc::new(Arc::clone(&pool)), NOTES_AT_ONCE),
            pool,
        })
    }

    /// Connections in use, and open ones that nobody uses.
    pub fn load(&self) -> (usize, usize) {
        self.pool.load()
    }
}

impl Backend for Postgres {
    fn kind(&self) -> Kind {
        Kind::Postgres
    }

    fn write(&self, work: Work) -> Pending<'_, ()> {
        Box::pin(run(Arc::clone(&self.pool), Begin::Write, work))
    }

    fn read(&self, work: Work) -> Pending<'_, ()> {
        Box::pin(run(Arc::clone(&self.pool), Begin::Read, work))
    }

    fn submit(&self, submission: Submission) -> Pending<'_, Submitted> {
        Box::pin(self.submissions.send(submission))
    }

    fn apply(&self, change: Change) -> Pending<'_, Outcome> {
        Box::pin(self.changes.send(change))
    }

    fn note(&self, note: AttemptNote) -> Pending<'_, Outcome> {
        Box::pin(self.notes.send(note))
    }

    fn number_feed(&self, fence: Fence) -> Pending<'_, usize> {
        Box::pin(async move {
            let (said, numbered) = oneshot::channel();
            let work = Box::new(move |tx: &mut dyn Tx| {
                // The receiver waits for the end of this transaction.
                let _ = said.send(tables::feed::number(tx, &fence)?);
                Ok(())
            });
            run(Arc::clone(&self.pool), Begin::Write, work).await?;
            numbered.await.map_err(|_| StoreError::Closed)
        })
    }
}
