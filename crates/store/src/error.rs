//! What can go wrong with the store.

/// A failure of the store. Nothing of the transaction took effect, but for [`StoreError::Interrupted`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The database said no.
    #[error("the database failed: {0}")]
    Database(String),
    /// A row is there already, or one that it needs is not.
    #[error("the database refused a row: {0}")]
    Constraint(String),
    /// The database can't be reached at present.
    #[error("the database can't be reached: {0}")]
    Unreachable(String),
    /// The connection was lost while the database worked: whether it took effect is not known.
    #[error("the connection to the database was lost, and what was asked may have taken effect: {0}")]
    Interrupted(String),
    /// There is no space left for the database.
    #[error("the database has no space left: {0}")]
    Full(String),
    /// The database takes no writes.
    #[error("the database is read-only: {0}")]
    ReadOnly(String),
    /// The database can't be used as it is configured.
    #[error("{problem}")]
    Setup {
        /// What is wrong.
        problem: String,
        /// What to do about it.
        hint: String,
    },
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
    #[error("the database has schema version {found}, this Libra knows versions up to {known}")]
    TooNew {
        /// Found in the database.
        found: i64,
        /// The newest known one.
        known: i64,
    },
}

/// SQLite's code for a full disk.
const FULL: rusqlite::ErrorCode = rusqlite::ErrorCode::DiskFull;

impl From<rusqlite::Error> for StoreError {
    fn from(e: rusqlite::Error) -> Self {
        let text = e.to_string();
        match e.sqlite_error_code() {
            Some(FULL) => Self::Full(text),
            Some(rusqlite::ErrorCode::ReadOnly) => Self::ReadOnly(text),
            Some(rusqlite::ErrorCode::ConstraintViolation) => Self::Constraint(text),
            Some(_) | None => Self::Database(text),
        }
    }
}

impl StoreError {
    /// An unreadable thing.
    pub fn unreadable(what: &'static str, why: impl std::fmt::Display) -> Self {
        Self::Unreadable { what, why: why.to_string() }
    }

    /// A database that can't be used as it is configured.
    pub fn setup(problem: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Setup { problem: problem.into(), hint: hint.into() }
    }

    /// What to do about it, where something can be done.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Setup { hint, .. } => Some(hint),
            Self::Full(_) => Some("free some space where the database keeps its files"),
            Self::ReadOnly(_) => {
                Some("connect to the primary server, with a role that may write; libra.store.url says where")
            }
            Self::Unreachable(_) => Some("is the server running, and is libra.store.url right?"),
            Self::TooNew { .. } => Some("use the Libra that wrote it, or a newer one"),
            Self::InUse(_) => Some("stop it, or give this one a data directory of its own"),
            Self::Database(_)
            | Self::Constraint(_)
            | Self::Interrupted(_)
            | Self::Unreadable { .. }
            | Self::Closed => None,
        }
    }
}
