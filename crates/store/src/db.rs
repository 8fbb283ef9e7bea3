//! The database as the rest of Libra holds it.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crate::backend::{Backend, Kind};
use crate::error::StoreError;
use crate::lane::{AttemptNote, Change, Fence, Outcome, Submission, Submitted};
use crate::operations::{Call, Operation, Operations, of_outcome};
use crate::postgres::{self, CheckReport, PoolSettings, Postgres};
use crate::sqlite::{self, Sqlite};
use crate::tx::Tx;
use crate::url::{PgUrl, StoreUrl};

/// The database. Cheap to clone; the last clone of one on SQLite closes it and waits for its writes.
#[derive(Clone)]
pub struct Db {
    backend: Arc<dyn Backend>,
    operations: Arc<Operations>,
    /// What its closures are counted as; None: as reads and writes.
    named: Option<Operation>,
}

/// The database's file within the data directory.
pub const DATABASE_FILE: &str = "libra.db";

impl Db {
    /// Opens the SQLite database at `path`, making and migrating it as needed.
    ///
    /// # Errors
    /// When the file can't be opened, is no database, or was written by a newer Libra.
    pub fn open_sqlite(path: &Path) -> Result<Self, StoreError> {
        Ok(Self::over(Arc::new(Sqlite::open(path)?)))
    }

    /// Opens the store at `url`, making and migrating it as needed. A PostgreSQL server that is only just starting is
    /// waited for.
    ///
    /// # Errors
    /// When it can't be used; [`StoreError::hint`] says what to do about it.
    pub async fn open(url: &StoreUrl, pool: PoolSettings) -> Result<Self, StoreError> {
        match url {
            StoreUrl::Sqlite(path) => Self::open_sqlite(path),
            StoreUrl::Postgres(url) => {
                Ok(Self::over(Arc::new(Postgres::open(PgUrl::clone(url), pool).await?)))
            }
        }
    }

    /// Looks at the store at `url` and changes nothing.
    ///
    /// # Errors
    /// When it can't be used; [`StoreError::hint`] says what to do about it.
    pub async fn check(url: &StoreUrl) -> Result<CheckReport, StoreError> {
        match url {
            StoreUrl::Sqlite(path) => sqlite::check(path),
            StoreUrl::Postgres(url) => postgres::check(PgUrl::clone(url)).await,
        }
    }

    /// Brings the store at `url` to the newest schema; says from which version to which.
    ///
    /// # Errors
    /// When it can't be used; [`StoreError::hint`] says what to do about it.
    pub async fn migrate(url: &StoreUrl) -> Result<(i64, i64), StoreError> {
        match url {
            StoreUrl::Sqlite(path) => sqlite::migrate_file(path),
            StoreUrl::Postgres(url) => postgres::migrate(PgUrl::clone(url)).await,
        }
    }

    /// The store on any backend.
    pub fn over(backend: Arc<dyn Backend>) -> Self {
        Self { backend, operations: Arc::default(), named: None }
    }

    /// The same database, of which the next closure is counted as this operation.
    #[must_use]
    pub fn named(&self, operation: Operation) -> Self {
        Self { named: Some(operation), ..self.clone() }
    }

    /// How long it takes, and what goes wrong.
    pub fn operations(&self) -> &Arc<Operations> {
        &self.operations
    }

    fn begin(&self, otherwise: Operation) -> Call<'_> {
        self.operations.begin(self.named.unwrap_or(otherwise))
    }

    /// Which database it is.
    pub fn kind(&self) -> Kind {
        self.backend.kind()
    }

    /// Runs `f` in a durable transaction: for cold paths. Returning an error undoes everything that `f` did.
    pub async fn write<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut dyn Tx) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, work) = keeping(f);
        let call = self.begin(Operation::Write);
        call.ends(self.backend.write(Box::new(work)).await, |()| None)?;
        taken(&answer)
    }

    /// Runs `f` in a read snapshot, on a blocking thread.
    pub async fn read<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut dyn Tx) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, work) = keeping(f);
        let call = self.begin(Operation::Read);
        call.ends(self.backend.read(Box::new(work)).await, |()| None)?;
        taken(&answer)
    }

    /// Stores a new job with everything that belongs to it (hot lane).
    pub async fn submit(&self, submission: Submission) -> Result<Submitted, StoreError> {
        let call = self.begin(Operation::SubmitJob);
        // Each of the answers is one that a caller waits for.
        call.ends(self.backend.submit(submission).await, |_| None)
    }

    /// Applies a step of the lifecycle with everything that belongs to it (hot lane).
    pub async fn apply(&self, change: Change) -> Result<Outcome, StoreError> {
        let call = self.begin(Operation::ApplyStep);
        call.ends(self.backend.apply(change).await, |outcome| of_outcome(*outcome))
    }

    /// Notes something about an attempt that is no change of state (hot lane).
    pub async fn note(&self, note: AttemptNote) -> Result<Outcome, StoreError> {
        let call = self.begin(Operation::NoteAttempt);
        call.ends(self.backend.note(note).await, |outcome| of_outcome(*outcome))
    }

    /// Numbers committed rows of the log, if the fence still holds; says how many.
    pub async fn number_feed(&self, fence: Fence) -> Result<usize, StoreError> {
        let call = self.begin(Operation::NumberFeed);
        call.ends(self.backend.number_feed(fence).await, |_| None)
    }
}

/// Where a closure leaves its answer: the backend knows nothing of types.
type Slot<T> = Arc<Mutex<Option<T>>>;

fn keeping<T: Send + 'static>(
    f: impl FnOnce(&mut dyn Tx) -> Result<T, StoreError> + Send + 'static,
) -> (Slot<T>, impl FnOnce(&mut dyn Tx) -> Result<(), StoreError> + Send + 'static) {
    let slot = Slot::default();
    let kept = Arc::clone(&slot);
    let work = move |tx: &mut dyn Tx| {
        let answer = f(tx)?;
        *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
        Ok(())
    };
    (slot, work)
}

fn taken<T>(slot: &Slot<T>) -> Result<T, StoreError> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take().ok_or(StoreError::Closed)
}
