//! The database as the rest of Libra holds it.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::error::StoreError;
use crate::lane::{AttemptNote, Change, Outcome, Submission, Submitted};
use crate::sqlite::{OpenFor, Readers, Work, Writer, migrate, open};
use crate::tables;
use crate::tx::Tx;

/// The database. Cheap to clone; the last clone closes it and waits for its writes.
#[derive(Clone)]
pub struct Db {
    writer: Arc<Writer>,
    readers: Readers,
}

/// The database's file within the data directory.
pub const DATABASE_FILE: &str = "libra.db";

impl Db {
    /// Opens the SQLite database at `path`, making and migrating it as needed.
    ///
    /// # Errors
    /// When the file can't be opened, is no database, or was written by a newer Libra.
    pub fn open_sqlite(path: &Path) -> Result<Self, StoreError> {
        let mut conn = open(path, OpenFor::Writing)?;
        migrate(&mut conn)?;
        Ok(Self { writer: Arc::new(Writer::start(conn)?), readers: Readers::new(path) })
    }

    /// Runs `f` in a durable transaction: for cold paths. Returning an error undoes everything that `f` did.
    pub async fn write<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut dyn Tx) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.writer.send(Work::Closure(Box::new(move |tx| {
            let result = f(tx);
            let kept = result.as_ref().map(|_| ()).map_err(|_| ());
            let send = move |committed: Result<(), &StoreError>| {
                let failed = committed.err().map(|e| StoreError::Database(e.to_string()));
                // The asker may have gone away; the write stands all the same.
                let _ = reply.send(failed.map_or(result, Err));
            };
            (kept, Box::new(send))
        })))?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Runs `f` in a read snapshot, on a blocking thread.
    pub async fn read<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut dyn Tx) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let readers = self.readers.clone();
        tokio::task::spawn_blocking(move || readers.read(f))
            .await
            .map_err(|e| StoreError::Database(format!("a read was interrupted: {e}")))?
    }

    /// Stores a new job with everything that belongs to it (hot lane).
    pub async fn submit(&self, submission: Submission) -> Result<Submitted, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.writer.send(Work::Submission(Box::new(submission), reply))?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Applies a step of the lifecycle with everything that belongs to it (hot lane).
    pub async fn apply(&self, change: Change) -> Result<Outcome, StoreError> {
        self.write(move |tx| tables::changes::apply(tx, &change)).await
    }

    /// Notes something about an attempt that is no change of state (hot lane).
    pub async fn note(&self, note: AttemptNote) -> Result<Outcome, StoreError> {
        self.write(move |tx| tables::attempts::note(tx, &note)).await
    }
}
