//! The embedded database as a backend.

use std::path::Path;

use libra_core::job::State;
use tokio::sync::oneshot;

use super::connection::{OpenFor, open};
use super::migrate::migrate;
use super::reader::Readers;
use super::writer::{Job, Queues, Writer};
use crate::backend::{Backend, Kind, Pending, Work};
use crate::error::StoreError;
use crate::lane::{AttemptNote, Change, Fence, Outcome, Submission, Submitted};
use crate::tables;
use crate::tx::Tx;

/// A SQLite database file. Dropping it waits for its writes.
pub struct Sqlite {
    writer: Writer,
    readers: Readers,
}

impl Sqlite {
    /// Opens the database at `path`, making and migrating it as needed.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let mut conn = open(path, OpenFor::Writing)?;
        migrate(&mut conn)?;
        Ok(Self { writer: Writer::start(conn)?, readers: Readers::new(path) })
    }

    async fn closure<T: Send + 'static>(
        &self,
        queues: Queues,
        f: impl FnOnce(&mut dyn Tx) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        // The answer of the closure, and then whether its commit took effect.
        let (said, answer) = oneshot::channel();
        let run: Work = Box::new(move |tx| {
            let value = f(tx)?;
            // Whoever asked may have gone away; the write stands all the same.
            let _ = said.send(value);
            Ok(())
        });
        let (reply, committed) = oneshot::channel();
        self.writer.send(Job::Closure { run, queues, reply })?;
        committed.await.map_err(|_| StoreError::Closed)??;
        answer.await.map_err(|_| StoreError::Closed)
    }
}

impl Backend for Sqlite {
    fn kind(&self) -> Kind {
        Kind::Sqlite
    }

    fn write(&self, work: Work) -> Pending<'_, ()> {
        Box::pin(self.closure(Queues::Perhaps, work))
    }

    fn read(&self, work: Work) -> Pending<'_, ()> {
        let readers = self.readers.clone();
        Box::pin(async move {
            tokio::task::spawn_blocking(move || readers.read(work))
                .await
                .map_err(|e| StoreError::Database(format!("a read was interrupted: {e}")))?
        })
    }

    fn submit(&self, submission: Submission) -> Pending<'_, Submitted> {
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            self.writer.send(Job::Submission(Box::new(submission), reply))?;
            answer.await.map_err(|_| StoreError::Closed)?
        })
    }

    fn apply(&self, change: Change) -> Pending<'_, Outcome> {
        let queues = if change.job.state == State::Queued { Queues::Perhaps } else { Queues::Never };
        Box::pin(self.closure(queues, move |tx| tables::changes::apply(tx, &change)))
    }

    fn note(&self, note: AttemptNote) -> Pending<'_, Outcome> {
        Box::pin(self.closure(Queues::Never, move |tx| tables::attempts::note(tx, &note)))
    }

    fn number_feed(&self, fence: Fence) -> Pending<'_, usize> {
        Box::pin(self.closure(Queues::Never, move |tx| tables::feed::number(tx, &fence)))
    }
}
