//! The one database of a run, and a way to look into it that asks nobody and takes no time.

use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt as _;
use libra_core::job::State;
use libra_core::time::Timestamp;
use libra_store::backend::Pending;
use libra_store::sqlite::Inline;
use libra_store::tables::transitions::LogRow;
use libra_store::tx::Tx;
use libra_store::{Backend, StoreError};

use super::record::Record;

/// When every run begins: 2 December 2025, 10:30 UTC, in microseconds.
const BEGINNING: i64 = 1_764_671_400_000_000;

/// The true time in a run: it goes as the runtime's does.
pub(super) fn true_time(record: &Record) -> Timestamp {
    Timestamp(BEGINNING).plus_micros(i64::try_from(record.elapsed().as_micros()).unwrap_or(i64::MAX))
}

/// The database. Clones are the same.
#[derive(Clone)]
pub(super) struct Database(Arc<Inline>);

impl Database {
    pub(super) fn new(record: &Record) -> Result<Self, StoreError> {
        let record = record.clone();
        Ok(Self(Arc::new(Inline::new(Arc::new(move || true_time(&record)))?)))
    }

    pub(super) fn backend(&self) -> Arc<Inline> {
        Arc::clone(&self.0)
    }

    /// What `f` reads, at once.
    pub(super) fn look<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut dyn Tx) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let slot = Arc::new(Mutex::new(None));
        let kept = Arc::clone(&slot);
        at_once(self.0.read(Box::new(move |tx| {
            let found = f(tx)?;
            *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
            Ok(())
        })))?;
        let found = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        found.ok_or(StoreError::Closed)
    }
}

/// True when the leader gave an attempt up together with its host: what its driver did there nobody can tell.
pub(super) fn given_up(log: &[LogRow], attempt: u32) -> bool {
    let ends = |row: &LogRow| row.transition.from.is_some_and(State::holds_resources);
    let by_leader = |row: &LogRow| row.metadata.as_ref().is_some_and(|m| m.contains("\"leader\""));
    log.iter().any(|row| row.transition.attempt == attempt && ends(row) && by_leader(row))
}

/// An answer that never has to be waited for.
pub(super) fn at_once<T>(pending: Pending<'_, T>) -> Result<T, StoreError> {
    pending.now_or_never().unwrap_or(Err(StoreError::Closed))
}
