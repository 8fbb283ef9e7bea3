//! Flink session clusters over their REST API.
//!
//! [`Flink`] asks and tells; it decides nothing. What it sends carries ids of ours (a job id for a run, a trigger id
//! for a savepoint), so every call can be made again. [`Error`] is read from the text of Flink's own exceptions: its
//! HTTP status says little (an unknown job is 404 here and 500 there, a missing jar is 500, a run that succeeded
//! earlier is 400).
//!
//! Traps of that API which are met here: `/jobs/{id}` is as old as `web.refresh-interval`, so states come from
//! `/jobs/overview`; a trigger is COMPLETED when it has failed; RUNNING says nothing about tasks; a text file that is
//! called `.jar` is uploaded with success; names of fields differ between savepoint and stop.

mod answers;
mod calls;
mod error;
mod gather;
mod look;
mod pressure;
mod rescale;
mod transport;
mod upload;

#[cfg(test)]
mod gather_tests;
#[cfg(test)]
mod tests;

pub use answers::{
    CheckpointCounts, Checkpoints, ClusterSettings, Exception, Exceptions, Features, JarFile, JobDetail,
    JobLine, LatestCheckpoints, Overview, Snapshot, Tasks, Vertex,
};
pub use calls::RunRequest;
pub use error::{Error, MOST_WORDS};
pub use gather::{Known, Look, Pages, Told};
pub use look::{all_tasks_run, kept, observed_job};
pub use transport::{
    ASK_PATIENCE, Access, CONNECT_PATIENCE, Flink, MOST_BYTES, RUN_PATIENCE, UPLOAD_PATIENCE,
};
