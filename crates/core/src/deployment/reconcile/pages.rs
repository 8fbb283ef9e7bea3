//! What has to be read of a job beside its line in the list: its checkpoints, exceptions and metrics, a request each.

use super::desired::{Desired, Kind};
use super::row::{Fate, Row};
use super::timing::{PAGES_A_SECOND, PAGES_A_SECOND_MOST, PAGES_MOST, USUAL};
use crate::deployment::spec::Millis;
use crate::time::MICROS_PER_SECOND;

const MICROS_PER_MILLI: i64 = 1_000;

/// How long what the pages of a job that rests have said will do, in microseconds, on a cluster with so many deployments.
///
/// With up to 250 it is [`USUAL`], with more so long that the JobManager is asked for the pages of 50 jobs a second; but not
/// longer than half of the time between two checkpoints of the job, because Flink removes old ones, and what is kept in
/// mind of a job is of use only while it is there. For that it may be asked for the pages of 200 jobs a second, and no more.
/// `interval` is the time between two checkpoints, 0 where nobody but the program says.
pub fn pages_do_for(deployments: usize, interval: Millis) -> i64 {
    let deployments = i64::try_from(deployments).unwrap_or(i64::MAX);
    let at_rate =
        |a_second: i64| (deployments.saturating_mul(MICROS_PER_SECOND) / a_second).clamp(USUAL, PAGES_MOST);
    let interval = i64::try_from(interval.0).unwrap_or(i64::MAX);
    let current = interval.saturating_mul(MICROS_PER_MILLI / 2);
    at_rate(PAGES_A_SECOND).min(current).max(at_rate(PAGES_A_SECOND_MOST))
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
    use crate::time::Timestamp;

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
    fn pages_are_read_often_enough_and_not_more_than_a_cluster_bears() {
        let after = |deployments: usize, interval: u64| {
            pages_do_for(deployments, Millis::seconds(interval)) / MICROS_PER_SECOND
        };
        assert_eq!([0, 250, 1_000, 10_000].map(|of| after(of, 600)), [5, 5, 20, 60]);
        assert_eq!([2, 10, 30, 60].map(|interval| after(1_000, interval)), [5, 5, 15, 20], "half of that");
        assert_eq!([0, 10, 60].map(|interval| after(10_000, interval)), [50, 50, 50], "so many are too many");
        assert_eq!(pages_do_for(usize::MAX, Millis(u64::MAX)), PAGES_MOST);
    }
}
