//! What a database has to do to be Libra's store. Small, so that another one can stand in its place or around it:
//! the simulator's, or one that fails on purpose.

use std::pin::Pin;

use crate::error::StoreError;
use crate::lane::{AttemptNote, Change, Fence, Outcome, Submission, Submitted};
use crate::tx::Tx;

/// An answer that is on its way.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// What somebody wants done in one transaction; an error undoes all of it.
pub type Work = Box<dyn FnOnce(&mut dyn Tx) -> Result<(), StoreError> + Send>;

/// Which database it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Embedded, for one Libra.
    Sqlite,
    /// A server, for many replicas.
    Postgres,
}

impl Kind {
    /// For people and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

/// A database. What was answered with Ok is durable; what was answered with an error took no effect, but for
/// [`StoreError::Interrupted`], after which one has to look.
///
/// A call goes on to its end also when its future is dropped, unless it has not begun.
pub trait Backend: Send + Sync {
    /// Which database it is.
    fn kind(&self) -> Kind;

    /// Runs a durable transaction (cold paths).
    fn write(&self, work: Work) -> Pending<'_, ()>;

    /// Runs in a read snapshot.
    fn read(&self, work: Work) -> Pending<'_, ()>;

    /// Stores a new job with everything that belongs to it (hot lane).
    fn submit(&self, submission: Submission) -> Pending<'_, Submitted>;

    /// Applies a step of the lifecycle with everything that belongs to it (hot lane).
    fn apply(&self, change: Change) -> Pending<'_, Outcome>;

    /// Notes something about an attempt that is no change of state (hot lane).
    fn note(&self, note: AttemptNote) -> Pending<'_, Outcome>;

    /// Numbers committed rows of the log, if the fence still holds; says how many.
    fn number_feed(&self, fence: Fence) -> Pending<'_, usize>;
}
