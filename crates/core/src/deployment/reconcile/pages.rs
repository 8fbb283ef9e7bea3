//! What has to be read of a job beside its line in the list: its checkpoints, exceptions and metrics, a request each.

use super::desired::{Desired, Kind};
use super::row::{Fate, Row};

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
        let (directory, at) = (String::new(), Timestamp(0));
        row.operation = Some(Operation {
            act: Act::Stop,
            job: id,
            trigger: id,
            directory,
            since: at,
            sends: 1,
            sent_at: at,
        });
        assert!(needs_pages(&told, &row), "it is being stopped");
    }
}
