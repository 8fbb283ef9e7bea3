//! What is no longer kept (contract Q3): told apart from what never was.

use std::time::Duration;

use libra_api::problem::Code;
use libra_core::job::Job;
use libra_core::time::Timestamp;

use super::{Service, ServiceError};

impl Service {
    /// The refusal for logs and results of this job, if they are no longer kept: whether they have been removed
    /// already or not, everybody gets the same answer.
    pub(crate) fn files_expired(&self, job: &Job) -> Option<ServiceError> {
        let kept = self.config.retention.files?;
        let ended = job.completed_at?;
        (before(self.clock.now(), kept) > ended).then(|| {
            let message = format!(
                "logs and results are kept for {} after the end (libra.retention.files); this job ended at {}",
                words(kept),
                ended.rfc3339()
            );
            ServiceError::new(Code::Expired, message)
        })
    }

    /// The refusal for a job that was forgotten.
    pub(super) fn job_expired(id: &str) -> ServiceError {
        let message = format!("{id} ended too long ago and is no longer kept (libra.retention.jobs)");
        ServiceError::new(Code::Expired, message)
    }
}

/// The moment `span` before `now`.
pub(crate) fn before(now: Timestamp, span: Duration) -> Timestamp {
    now.plus_micros(i64::try_from(span.as_micros()).map_or(i64::MIN, |micros| -micros))
}

/// `30 days`, or seconds where it is no number of days.
fn words(span: Duration) -> String {
    const DAY: u64 = 86_400;
    match span.as_secs() {
        DAY => "a day".to_owned(),
        seconds if seconds >= DAY && seconds.is_multiple_of(DAY) => format!("{} days", seconds / DAY),
        seconds => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_told_in_days_where_they_are_days() {
        let texts = [3_600, 86_400, 30 * 86_400, 86_401].map(|s| words(Duration::from_secs(s)));
        assert_eq!(texts, ["3600 s", "a day", "30 days", "86401 s"]);
        assert_eq!(before(Timestamp(5_000_000), Duration::from_secs(2)), Timestamp(3_000_000));
        assert!(before(Timestamp(0), Duration::MAX) < Timestamp(0));
    }
}
