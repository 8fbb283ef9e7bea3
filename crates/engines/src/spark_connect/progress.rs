//! Turns the server's stage reports into a progress that never goes backwards.

use libra_core::attempt::Progress;

use super::proto::ExecutionProgress;

/// Shown at most before the end: more stages may still come.
const MOST_BEFORE_THE_END: u64 = 99;

/// The progress after a report. Stages appear as they are submitted, so the plain share of finished tasks can
/// fall; the highest percentage stays.
pub(super) fn advance(before: Option<&Progress>, report: &ExecutionProgress) -> Option<Progress> {
    if report.stages.is_empty() {
        return None;
    }
    let sum = |number: fn(&super::proto::StageInfo) -> i64| {
        report.stages.iter().map(|s| u64::try_from(number(s)).unwrap_or(0)).fold(0, u64::saturating_add)
    };
    let total = sum(|s| s.num_tasks);
    let done = sum(|s| s.num_completed_tasks);
    let finished = report.stages.iter().filter(|s| s.done).count();
    let stages = report.stages.len();
    let share = (done.saturating_mul(100) / total.max(1)).min(MOST_BEFORE_THE_END);
    let percentage = u8::try_from(share).unwrap_or(u8::MAX).max(before.map_or(0, |p| p.percentage));
    Some(Progress {
        percentage,
        current_stage: Some(format!("Stage {}/{stages}", (finished + 1).min(stages))),
        tasks_completed: done,
        tasks_total: total,
    })
}

#[cfg(test)]
mod tests {
    use super::super::proto::StageInfo;
    use super::*;

    fn stage(tasks: i64, completed: i64) -> StageInfo {
        StageInfo { stage_id: 0, num_tasks: tasks, num_completed_tasks: completed, done: tasks == completed }
    }

    #[test]
    fn a_percentage_never_falls() {
        let first = advance(None, &ExecutionProgress { stages: vec![stage(4, 4)] }).unwrap();
        assert_eq!((first.percentage, first.current_stage.as_deref()), (99, Some("Stage 1/1")));
        let next =
            advance(Some(&first), &ExecutionProgress { stages: vec![stage(4, 4), stage(12, 0)] }).unwrap();
        assert_eq!((next.percentage, next.current_stage.as_deref()), (99, Some("Stage 2/2")));
        assert_eq!((next.tasks_completed, next.tasks_total), (4, 16));
        assert_eq!(advance(Some(&next), &ExecutionProgress { stages: vec![] }), None);
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
