//! What is wrong with a specification, and where.

use std::fmt;

use serde::Serialize;

/// One thing that is wrong, or without effect, in a specification.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Violation {
    /// JSON pointer to the field: `/deployment/parallelism`.
    pub pointer: String,
    /// What is wrong and what to write instead; reads on after the field's name.
    pub reason: String,
}

impl Violation {
    /// A violation at `pointer`.
    pub fn new(pointer: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), reason: reason.into() }
    }
}

/// The field as in a path, then the reason: `deployment.parallelism must be …`.
impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.pointer.trim_start_matches('/').replace('/', "."), self.reason)
    }
}
