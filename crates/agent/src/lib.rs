//! The node agent (contract H3): looks at what jobs use on this node, and tells Libra.
//!
//! One look is a pure sum over what the kernel counts: [`look::Looker`] takes two of them for a rate. What was seen is kept on
//! the disk ([`spool`]) before it is sent, so that a server that is away, and an agent that is killed, lose nothing of it.
//!
//! Invariant: it changes nothing on the node, and says nothing that it has not measured.

pub mod cgroup;
pub mod gpu;
mod held;
pub mod job;
mod listen;
pub mod look;
pub mod measure;
pub mod metrics;
pub mod proc;
mod push;
pub mod run;
pub mod spool;
pub mod tally;
