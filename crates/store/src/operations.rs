//! How long the store takes for what it is asked, and what goes wrong (contract O1). Nothing here waits for anybody: each
//! figure is a number of its own.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::error::StoreError;
use crate::lane::Outcome;

/// Bounds of the durations, in seconds: those that Prometheus takes where nothing is said.
pub const BOUNDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// What the store is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Any transaction that has no name of its own.
    Write,
    /// Any read that has no name of its own.
    Read,
    /// A job is submitted.
    SubmitJob,
    /// A job takes a step of its lifecycle.
    ApplyStep,
    /// Something is noted of an attempt.
    NoteAttempt,
    /// Rows of the log are numbered.
    NumberFeed,
    /// An observed job is made known by hand.
    CreateJob,
    /// An observed job is looked for.
    GetJob,
    /// Observed jobs are listed.
    ListJobs,
    /// An observed job is changed by hand.
    UpdateJob,
    /// An observed job is removed.
    DeleteJob,
    /// One sample of an observed job.
    RecordMetrics,
    /// Samples of a node.
    RecordMetricsBatch,
    /// What a job used is read.
    GetJobMetrics,
    /// What was changed of an observed job is read.
    GetAuditEvents,
}

impl Operation {
    /// All of them, in the order of their figures.
    pub const ALL: [Self; 15] = [
        Self::Write,
        Self::Read,
        Self::SubmitJob,
        Self::ApplyStep,
        Self::NoteAttempt,
        Self::NumberFeed,
        Self::CreateJob,
        Self::GetJob,
        Self::ListJobs,
        Self::UpdateJob,
        Self::DeleteJob,
        Self::RecordMetrics,
        Self::RecordMetricsBatch,
        Self::GetJobMetrics,
        Self::GetAuditEvents,
    ];

    /// Its name in the figures.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Read => "read",
            Self::SubmitJob => "submit_job",
            Self::ApplyStep => "apply_step",
            Self::NoteAttempt => "note_attempt",
            Self::NumberFeed => "number_feed",
            Self::CreateJob => "create_job",
            Self::GetJob => "get_job",
            Self::ListJobs => "list_jobs",
            Self::UpdateJob => "update_job",
            Self::DeleteJob => "delete_job",
            Self::RecordMetrics => "record_metrics",
            Self::RecordMetricsBatch => "record_metrics_batch",
            Self::GetJobMetrics => "get_job_metrics",
            Self::GetAuditEvents => "get_audit_events",
        }
    }
}

/// What kind of error it is, as the reference has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorType {
    /// What it is about is not there.
    NotFound,
    /// It is there already, or has changed meanwhile.
    Conflict,
    /// The job has ended, and stays as it is.
    JobTerminal,
    /// What was sent can't be stored.
    InvalidInput,
    /// Whoever asked has gone away before there was an answer.
    ContextCanceled,
    /// There was no answer in time.
    ContextDeadline,
    /// Anything else.
    Unknown,
}

impl ErrorType {
    /// All of them, in the order of their figures.
    pub const ALL: [Self; 7] = [
        Self::NotFound,
        Self::Conflict,
        Self::JobTerminal,
        Self::InvalidInput,
        Self::ContextCanceled,
        Self::ContextDeadline,
        Self::Unknown,
    ];

    /// Its name in the figures.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::JobTerminal => "job_terminal",
            Self::InvalidInput => "invalid_input",
            Self::ContextCanceled => "context_canceled",
            Self::ContextDeadline => "context_deadline",
            Self::Unknown => "unknown",
        }
    }

    fn of(error: &StoreError) -> Self {
        match error {
            StoreError::Constraint(_) => Self::Conflict,
            // Both are said once the time for it is over.
            StoreError::Unreachable(_) | StoreError::Interrupted(_) => Self::ContextDeadline,
            StoreError::Database(_)
            | StoreError::Full(_)
            | StoreError::ReadOnly(_)
            | StoreError::Setup { .. }
            | StoreError::Unreadable { .. }
            | StoreError::InUse(_)
            | StoreError::Closed
            | StoreError::TooNew { .. } => Self::Unknown,
        }
    }
}

/// How long calls took.
#[derive(Debug, Default)]
struct Durations {
    /// Up to each bound, and beyond the last; each call counts once.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    nanoseconds: AtomicU64,
}

/// The same at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Taken {
    /// Calls up to each bound, and beyond the last; each counts once.
    pub buckets: [u64; BOUNDS.len() + 1],
    /// All calls together.
    pub seconds: f64,
}

impl Taken {
    /// How many calls.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// The figures of a store since it was opened.
#[derive(Debug, Default)]
pub struct Operations {
    /// By operation: those that succeeded, and those that failed.
    durations: [[Durations; 2]; Operation::ALL.len()],
    errors: [[AtomicU64; ErrorType::ALL.len()]; Operation::ALL.len()],
}

impl Operations {
    /// What calls took that have `succeeded`, or have not.
    pub fn taken(&self, operation: Operation, succeeded: bool) -> Taken {
        let of = &self.durations[operation as usize][usize::from(!succeeded)];
        let nanoseconds = of.nanoseconds.load(Relaxed) as f64;
        Taken {
            buckets: of.buckets.each_ref().map(|bucket| bucket.load(Relaxed)),
            seconds: nanoseconds / 1e9,
        }
    }

    /// Errors of a kind.
    pub fn errors(&self, operation: Operation, error: ErrorType) -> u64 {
        self.errors[operation as usize][error as usize].load(Relaxed)
    }

    /// Something was found to be wrong with what is stored, or to be stored.
    pub fn failed(&self, operation: Operation, error: ErrorType) {
        self.errors[operation as usize][error as usize].fetch_add(1, Relaxed);
    }

    fn took(&self, operation: Operation, succeeded: bool, time: Duration) {
        let of = &self.durations[operation as usize][usize::from(!succeeded)];
        let seconds = time.as_secs_f64();
        let place = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        of.buckets[place].fetch_add(1, Relaxed);
        of.nanoseconds.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    /// A call begins.
    pub(crate) fn begin(&self, operation: Operation) -> Call<'_> {
        Call { operations: self, operation, begun: Instant::now(), ended: false }
    }
}

/// A call on its way. Dropped before its end, nobody waits for it any more.
pub(crate) struct Call<'o> {
    operations: &'o Operations,
    operation: Operation,
    begun: Instant,
    ended: bool,
}

impl Call<'_> {
    /// It has come to this; `judged` is what is wrong with an answer that is no error.
    pub(crate) fn ends<T>(
        mut self,
        answer: Result<T, StoreError>,
        judged: impl FnOnce(&T) -> Option<ErrorType>,
    ) -> Result<T, StoreError> {
        self.ended = true;
        let error = match &answer {
            Ok(value) => judged(value),
            Err(error) => Some(ErrorType::of(error)),
        };
        self.count(error);
        answer
    }

    fn count(&self, error: Option<ErrorType>) {
        self.operations.took(self.operation, error.is_none(), self.begun.elapsed());
        if let Some(error) = error {
            self.operations.failed(self.operation, error);
        }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.count(Some(ErrorType::ContextCanceled));
        }
    }
}

/// What is wrong where a conditional write had no effect.
pub(crate) fn of_outcome(outcome: Outcome) -> Option<ErrorType> {
    match outcome {
        Outcome::Updated => None,
        Outcome::Stale => Some(ErrorType::Conflict),
        Outcome::Absent => Some(ErrorType::NotFound),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_is_counted_once_with_what_came_of_it() {
        // contract: O1
        let operations = Operations::default();
        let fine: Result<u8, StoreError> = operations.begin(Operation::Read).ends(Ok(5), |_| None);
        let stale =
            operations.begin(Operation::ApplyStep).ends(Ok(Outcome::Stale), |outcome| of_outcome(*outcome));
        let refused: Result<(), StoreError> =
            operations.begin(Operation::CreateJob).ends(Err(StoreError::Constraint("id".into())), |()| None);
        drop(operations.begin(Operation::ListJobs));
        assert!(fine.is_ok() && stale.is_ok() && refused.is_err());
        let count = |operation, succeeded| operations.taken(operation, succeeded).count();
        assert_eq!((count(Operation::Read, true), count(Operation::Read, false)), (1, 0));
        for (operation, error) in [
            (Operation::ApplyStep, ErrorType::Conflict),
            (Operation::CreateJob, ErrorType::Conflict),
            (Operation::ListJobs, ErrorType::ContextCanceled),
        ] {
            assert_eq!((count(operation, true), count(operation, false)), (0, 1), "{operation:?}");
            assert_eq!(operations.errors(operation, error), 1, "{operation:?}");
        }
        operations.took(Operation::Write, true, Duration::from_millis(30));
        operations.took(Operation::Write, true, Duration::from_mins(1));
        let taken = operations.taken(Operation::Write, true);
        assert_eq!((taken.buckets[3], taken.buckets[BOUNDS.len()]), (1, 1));
        assert!((taken.seconds - 60.03).abs() < 1e-9);
    }

    #[test]
    fn each_has_a_place_and_a_name_of_its_own() {
        for (place, operation) in Operation::ALL.into_iter().enumerate() {
            assert_eq!(operation as usize, place);
        }
        for (place, error) in ErrorType::ALL.into_iter().enumerate() {
            assert_eq!(error as usize, place);
        }
        let names: std::collections::BTreeSet<&str> =
            Operation::ALL.into_iter().map(Operation::as_str).collect();
        assert_eq!(names.len(), Operation::ALL.len());
    }
}
