//! Whose processes they are.

use std::fmt;

/// A job on this node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Job {
    /// A scheduler's, by its number.
    Scheduled(String),
    /// An attempt that Libra has launched itself, by its token.
    Attempt(String),
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheduled(id) => write!(f, "job {id}"),
            Self::Attempt(token) => write!(f, "attempt {token}"),
        }
    }
}
