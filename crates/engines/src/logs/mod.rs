//! What an attempt writes: one stream of bytes for readers, segments on the disk.
//!
//! | file | holds |
//! |---|---|
//! | `stdout.log` | the log from its first byte |
//! | `stdout.67108864.log` | the log from that byte on |
//! | `stdout.0-67108864.log.gz` | that many bytes from byte 0, compressed after the end; `zcat` reads it |
//!
//! The names are the index: a segment is full as soon as there is one that begins where it ends, and no file ever
//! changes its name while it is written. So readers need no lock and no word from whoever writes.
//!
//! Invariant: an offset is a place in the whole log and means the same bytes for ever, however they are stored.

mod archive;
mod reader;
mod segments;
mod writer;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use reader::LogReader;
pub(crate) use writer::LogWriter;
pub(crate) use writer::pack;

/// Which of a driver's two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Stdout, Self::Stderr];

    /// `stdout` or `stderr`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// How the log of one attempt is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogLimits {
    /// A segment is full at this size, in bytes.
    pub rotate_bytes: u64,
    /// Both streams of one attempt together, in bytes. What is beyond is left out, but for the end.
    pub max_bytes: u64,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self { rotate_bytes: 64 * 1024 * 1024, max_bytes: 10 * 1024 * 1024 * 1024 }
    }
}
