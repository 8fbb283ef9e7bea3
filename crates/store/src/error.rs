//! What can go wrong with the store.

/// A failure of the store. Nothing of the transaction took effect.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database said no.
    #[error("the database failed: {0}")]
    Database(String),
    /// A row that can't be read: it was written by something else, or by a newer Libra.
    #[error("a stored {what} can't be read: {why}")]
    Unreadable {
        /// Which thing.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// Another Libra uses the data directory.
    #[error("another Libra is using {0}")]
    InUse(String),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// The schema is newer than this program.
    #[error(
        "the database has schema version {found}, this Libra knows versions up to {known}: use a newer Libra"
    )]
    TooNew {
        /// Found in the database.
        found: i64,
        /// The newest known one.
        known: i64,
    },
}

impl From<rusqlite::Error> for StoreError {
    fn from(e: rusqlite::Error) -> Self {
        Self::Database(e.to_string())
    }
}

impl StoreError {
    /// An unreadable thing.
    pub fn unreadable(what: &'static str, why: impl std::fmt::Display) -> Self {
        Self::Unreadable { what, why: why.to_string() }
    }
}
