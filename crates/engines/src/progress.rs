//! From counted tasks to a progress that never goes backwards.

use libra_core::attempt::Progress;
use serde::Deserialize;

/// Shown at most before the end: more may still come.
const MOST_BEFORE_THE_END: u64 = 99;

/// What Spark has planned so far, and how much of it is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Tally {
    /// Tasks that are done.
    pub(crate) done: u64,
    /// Tasks that are known.
    pub(crate) tasks: u64,
    /// Stages that are over.
    pub(crate) finished: u64,
    /// Stages that are known.
    pub(crate) stages: u64,
}

impl Tally {
    /// Both together.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            done: self.done.saturating_add(other.done),
            tasks: self.tasks.saturating_add(other.tasks),
            finished: self.finished.saturating_add(other.finished),
            stages: self.stages.saturating_add(other.stages),
        }
    }
}

/// The progress after a look; None while nothing is planned.
///
/// Stages become known as Spark plans them, so the plain share of finished tasks can fall: the highest percentage stays.
/// When everything known is done, nobody knows how much is still to come: then the percentage stays as it was, or the
/// first small stage would leave nothing to be seen of the rest.
pub(crate) fn advance(before: Option<&Progress>, tally: Tally) -> Option<Progress> {
    if tally.stages == 0 {
        return None;
    }
    let shown = before.map_or(0, |before| before.percentage);
    let share = if tally.done >= tally.tasks { 0 } else { hundredths(tally.done, tally.tasks) };
    let percentage = u8::try_from(share.min(MOST_BEFORE_THE_END)).unwrap_or(shown).max(shown);
    let stage = tally.finished.saturating_add(1).min(tally.stages);
    Some(Progress {
        percentage,
        current_stage: Some(format!("Stage {stage}/{}", tally.stages)),
        tasks_completed: tally.done,
        tasks_total: tally.tasks,
    })
}

fn hundredths(part: u64, whole: u64) -> u64 {
    u64::try_from(u128::from(part) * 100 / u128::from(whole.max(1))).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(done: u64, tasks: u64, finished: u64, stages: u64) -> Tally {
        Tally { done, tasks, finished, stages }
    }

    #[test]
    fn a_percentage_never_falls_and_says_nothing_of_what_is_not_known() {
        let mut progress = None;
        let mut seen = Vec::new();
        for look in
            [tally(0, 4, 0, 1), tally(3, 4, 0, 1), tally(4, 4, 1, 1), tally(4, 16, 1, 2), tally(15, 16, 1, 2)]
        {
            progress = advance(progress.as_ref(), look);
            seen.push(progress.as_ref().unwrap().percentage);
        }
        assert_eq!(seen, [0, 75, 75, 75, 93]);
        let last = progress.unwrap();
        assert_eq!((last.tasks_completed, last.tasks_total), (15, 16));
        assert_eq!(last.current_stage.as_deref(), Some("Stage 2/2"));
        assert_eq!(advance(Some(&last), Tally::default()), None);
    }

    #[test]
    fn a_small_stage_before_the_work_is_not_the_work() {
        let inferred = advance(None, tally(1, 1, 1, 1)).unwrap();
        assert_eq!(inferred.percentage, 0);
        assert_eq!(advance(Some(&inferred), tally(51, 101, 1, 2)).unwrap().percentage, 50);
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_counted_it_stays_below_a_hundred(done: u64, tasks: u64, finished: u64, stages: u64, shown in 0_u8..=99) {
            let before = Progress { percentage: shown, ..Progress::default() };
            let twice = tally(done, tasks, finished, stages).plus(tally(tasks, done, stages, finished));
            for look in [tally(done, tasks, finished, stages), twice] {
                if let Some(now) = advance(Some(&before), look) {
                    proptest::prop_assert!((shown..=99).contains(&now.percentage));
                }
            }
        }
    }
}
