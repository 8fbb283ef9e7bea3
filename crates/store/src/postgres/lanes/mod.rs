//! Hot writes: whoever comes while others are being written waits for the next statement, which then writes for
//! all of them. Each gets its own answer.

pub(super) mod changes;
mod enqueue;
pub(super) mod notes;
pub(super) mod submissions;

pub(super) use enqueue::{Command, Lane};
