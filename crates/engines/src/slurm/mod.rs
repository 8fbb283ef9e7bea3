//! Slurm clusters, over slurmrestd or Slurm's commands.
//!
//! [`Slurm`] asks and tells; it decides nothing. What it submits carries a token of ours in its comment, so that a lost answer
//! is no lost job. What it reads becomes [`Record`](libra_core::hpc::record::Record)s, with nothing in them that Slurm only
//! guesses.
//!
//! Traps of Slurm's which are met here: an unknown job is HTTP 500 with error 2017; of a dead slurmctld slurmrestd knows after
//! 9 s only that something is wrong, and so it says of a wrong token; `squeue --json` prints an empty list then; the start
//! of a waiting job and the end of a running one are told, and are guesses; accounting of 22.05 tells exit code 0 for every
//! failed job; the last task of an array has the number of the whole; `scancel` succeeds where it has failed; slurmrestd of 22.05 submits a
//! job with `argv` and dies of it, and takes `exclusive: "exclusive"` where its schema says `"true"`.

mod accounting;
mod answer;
mod budget;
mod cluster;
mod commands;
mod engine;
mod error;
mod health;
mod hostlist;
mod job;
mod mock;
mod places;
mod rest;
mod spark;
mod submission;
mod token;
mod tres;
mod value;
mod version;

#[cfg(test)]
mod tests;

pub use answer::{Listing, Load};
pub use budget::Budget;
pub use cluster::{Found, Look, MOST_ASKED, REQUESTS_OF_A_LOOK, Signal, Slurm, name_of};
pub use commands::{COMMAND_PATIENCE, Commands, LIST_COMMAND_PATIENCE};
pub use engine::{Cluster, Records, SlurmJobs};
pub use error::{Error, MOST_WORDS};
pub use health::Health;
pub use hostlist::{MOST_NODES, expand};
pub use mock::Mock;
pub use rest::{ASK_PATIENCE, Access, CONNECT_PATIENCE, LIST_PATIENCE, MOST_BYTES, Rest};
pub use submission::{Flaw, MOST_SCRIPT_BYTES, Submission};
pub use token::{TOKEN_LIFE_SECONDS, TokenFrom};
pub use version::ApiVersion;
