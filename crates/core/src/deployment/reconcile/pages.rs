//! What has to be read of a job beside its line in the list: its checkpoints, exceptions and metrics, a request each.

use super::desired::{Desired, Kind};
use super::row::{Fate, Row};
use super::timing::USUAL;
use crate::deployment::spec::Millis;

const MICROS_PER_MILLI: i64 = 1_000;

/// How long what the pages of a job that rests have said will do, in microseconds: as long as those of all jobs on its
/// cluster ([`super::pages_after`]), and not longer than half of the time between two of its checkpoints. Flink removes old
/// ones, and what is kept in mind of a job is of use only while it is there. `interval` is that time, 0 where nobody but the
/// program says.
pub fn pages_do_for(after: i64, interval: Millis) -> i64 {
    let interval = i64::try_from(interval.0).unwrap_or(i64::MAX);
    after.min(interval.saturating_mul(MICROS_PER_MILLI / 2).max(USUAL))
}

/// True when the next step may depend on the pages of the row's job as they are now: it has to prove itself, something
/// is done with it, or nobody knows what became of it. Otherwise what they said a while ago will do, as long as the
/// job's line is the same; only its newest checkpoint is kept from them.
pub fn needs_pages(desired: &Desired, row: &Row) -> bool {
    let Some(run) = &row.run else { return false };
    let kind = desired.version(run.generation).map_or(Kind::Streaming, |version| version.kind);
    match run.fate {
        Fate::Sent(_) => true,
        Fate::Live => row.operation.is_some() || (kind == Kind::Streaming && !run.proven),
        Fate::Ended(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Act, FlinkId, Operation, Run};
    use super::*;
    use crate::deployment::declared::{ClusterFacts, Declared, Generation, desired};
    use crate::deployment::normal::Normal;
    use crate::time::{MICROS_PER_SECOND, Timestamp};

    #[test]
    fn only_a_job_that_rests_is_let_be() {
        let text = r#"{"job_id": "etl", "job_type": "stream", "artifact_path": "a.jar"}"#;
        let normal = Normal::of(&serde_json::from_str(text).unwrap(), None);
        let generation = Generation { number: 1, normal, digest: String::new() };
        let told = desired(&Declared::first(), None, &[generation], &ClusterFacts::default()).unwrap();
        let id = FlinkId(1);
        let run = Run::new(id, 1, 0, Fate::Live);
        let mut row = Row::default();
        assert!(!needs_pages(&told, &row), "there is no job");
        row.run = Some(run.clone());
        assert!(needs_pages(&told, &row), "it has to prove itself");
        row.run = Some(Run { proven: true, ..run });
        assert!(!needs_pages(&told, &row));
        let at = Timestamp(0);
        let act = Act::Cancel { discard: false };
        row.operation = Some(Operation { act, job: id, since: at, sends: 1, sent_at: at });
        assert!(needs_pages(&told, &row), "it is being ended");
    }

    #[test]
    fn no_page_is_older_than_half_of_the_time_between_two_checkpoints() {
        let seconds = |after: i64, interval: u64| {
            pages_do_for(after * MICROS_PER_SECOND, Millis::seconds(interval)) / MICROS_PER_SECOND
        };
        assert_eq!(seconds(60, 300), 60, "as long as those of the others");
        assert_eq!(seconds(60, 30), 15, "its checkpoints are gone by then");
        assert_eq!(seconds(60, 1), 5, "it is not asked more often than it is looked at");
        assert_eq!(seconds(60, 0), 5, "the program may say anything");
        assert_eq!(seconds(5, 300), 5);
        assert_eq!(pages_do_for(7, Millis(u64::MAX)), 7);
    }
}
