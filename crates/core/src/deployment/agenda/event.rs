//! What time has brought about, in words.

use crate::time::Timestamp;

/// Something worth telling.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AgendaEvent {
    /// A run is asked for.
    #[error("the run of {} is due", .0.rfc3339())]
    Due(Timestamp),
    /// Times went by unseen.
    #[error("times from {} on went by while nobody looked; the run of {} makes up for them", first.rfc3339(), latest.rfc3339())]
    Missed {
        /// The first of them.
        first: Timestamp,
        /// The one that is run.
        latest: Timestamp,
    },
    /// A run is left out.
    #[error("the run of {} is left out: the one before it has not ended (`batch_config.overlap: skip`)", .0.rfc3339())]
    Skipped(Timestamp),
    /// A run waits.
    #[error("the run of {} waits for the one before it to end (`batch_config.overlap: queue`)", .0.rfc3339())]
    Queued(Timestamp),
    /// The run before is ended.
    #[error("the run of {} replaces the one before it, which is ended (`batch_config.overlap: replace`)", .0.rfc3339())]
    Replaced(Timestamp),
    /// A run has had its time.
    #[error(
        "the run has had its {0} s (`batch_config.ttl_seconds`); it is stopped, or cancelled where it can't be"
    )]
    TimeOver(u64),
    /// All runs are done.
    #[error("there were {0} runs, and no more are wanted (`batch_config.max_runs`)")]
    SeriesOver(u32),
    /// The schedule names no more times.
    #[error("the schedule names no time that is still to come")]
    NoMoreTimes,
    /// The schedule can't be read.
    #[error("the schedule {0}; nothing is run by it. hint: correct it and apply again")]
    Unreadable(String),
    /// A periodic savepoint is asked for.
    #[error("the savepoint of {} is due", .0.rfc3339())]
    SavepointDue(Timestamp),
    /// A periodic savepoint is left out.
    #[error("the savepoint of {} is left out: the job was not well, or one was being made", .0.rfc3339())]
    SavepointSkipped(Timestamp),
}
