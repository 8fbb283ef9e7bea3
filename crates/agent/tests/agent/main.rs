//! The agent on recorded trees, on a real cgroup, on real processes, and against a server that is away.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod hog;
mod recorded;
