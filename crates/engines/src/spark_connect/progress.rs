//! The server's reports about the stages of a query.

use libra_core::attempt::Progress;

use super::proto::ExecutionProgress;
use crate::progress::{self, Tally};

/// The progress after a report; None when it tells of no stage.
pub(super) fn advance(before: Option<&Progress>, report: &ExecutionProgress) -> Option<Progress> {
    let count = |number: i64| u64::try_from(number).unwrap_or(0);
    let tally = report.stages.iter().fold(Tally::default(), |tally, stage| {
        tally.plus(Tally {
            done: count(stage.num_completed_tasks),
            tasks: count(stage.num_tasks),
            finished: u64::from(stage.done),
            stages: 1,
        })
    });
    progress::advance(before, tally)
}

#[cfg(test)]
mod tests {
    use super::super::proto::StageInfo;
    use super::*;

    fn stage(tasks: i64, completed: i64) -> StageInfo {
        StageInfo { stage_id: 0, num_tasks: tasks, num_completed_tasks: completed, done: tasks == completed }
    }

    #[test]
    fn a_report_is_counted() {
        let progress = advance(None, &ExecutionProgress { stages: vec![stage(4, 4), stage(12, 0)] }).unwrap();
        assert_eq!((progress.percentage, progress.current_stage.as_deref()), (25, Some("Stage 2/2")));
        assert_eq!((progress.tasks_completed, progress.tasks_total), (4, 16));
        assert_eq!(advance(Some(&progress), &ExecutionProgress { stages: vec![] }), None);
    }

    proptest::proptest! {
        #[test]
        fn no_report_makes_it_panic(tasks: i64, completed: i64) {
            let report = ExecutionProgress { stages: vec![stage(tasks, completed), stage(completed, tasks)] };
            let progress = advance(None, &report).unwrap();
            proptest::prop_assert!(progress.percentage <= 99);
        }
    }
}
