//! The database as the rest of Libra holds it.

use std::path::Path;
use std::sync::Arc;

use libra_core::job::State;
use tokio::sync::oneshot;

use crate::error::StoreError;
use crate::lane::{AttemptNote, Change, Fence, Outcome, Submission, Submitted};
use crate::sqlite::{Done, OpenFor, Queues, Readers, Work, Writer, migrate, open};
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
        self.run(Queues::Perhaps, f).await
    }

    async fn run<T: Send + 'static>(
        &self,
        queues: Queues,
        f: impl FnOnce(&mut dyn Tx) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let closure = Box::new(move |tx: &mut dyn Tx| -> Done {
            let result = f(tx);
            let kept = result.as_ref().map(|_| ()).map_err(|_| ());
            let send = move |committed: Result<(), &StoreError>| {
                let failed = committed.err().map(|e| StoreError::Database(e.to_string()));
                // The asker may have gone away; the write stands all the same.
                let _ = reply.send(failed.map_or(result, Err));
            };
            (kept, Box::new(send))
        });
        self.writer.send(Work::Closure(closure, queues))?;
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
        let queues = if change.job.state == State::Queued { Queues::Perhaps } else { Queues::Never };
        self.run(queues, move |tx| tables::changes::apply(tx, &change)).await
    }

    /// Notes something about an attempt that is no change of state (hot lane).
    pub async fn note(&self, note: AttemptNote) -> Result<Outcome, StoreError> {
        self.run(Queues::Never, move |tx| tables::attempts::note(tx, &note)).await
    }

    /// Numbers committed rows of the log, if the fence still holds; says how many.
    pub async fn number_feed(&self, fence: Fence) -> Result<usize, StoreError> {
        self.run(Queues::Never, move |tx| tables::feed::number(tx, &fence)).await
    }
}
