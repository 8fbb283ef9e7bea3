//! Samples of jobs that Libra has not heard of yet: a node sees a job before its scheduler has told of it. They are sent again
//! for a while, and are in memory alone.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use libra_api::hpc::samples::{BatchAnswer, JobSample, SampleBatch};

/// After so long they are sent again.
pub(crate) const PAUSE: Duration = Duration::from_secs(15);
/// So often, at most, which is a quarter of an hour: a scheduler is read every two minutes at the latest, and again so long after
/// it could not be. One that has not told of a job by then does not know it.
const MOST_TRIES: u32 = 60;
/// With so many samples held, nothing new is sent: what is on disk stays there meanwhile.
const MANY_HELD: usize = 2_000;

/// What is to be sent again.
#[derive(Debug, PartialEq)]
pub(crate) struct Again {
    /// Not before this.
    due: Instant,
    /// How often it was sent.
    pub(crate) tries: u32,
    pub(crate) batch: SampleBatch,
}

/// What waits to be sent again, in order.
#[derive(Debug, Default)]
pub(crate) struct Held {
    waiting: VecDeque<Again>,
    samples: usize,
}

impl Held {
    /// Holds those samples of a batch that may be taken later; `tries` is how often it was sent. Says how many of its samples
    /// will never be taken.
    pub(crate) fn keep(&mut self, text: &str, tries: u32, answer: &BatchAnswer, now: Instant) -> u64 {
        let all = answer.rejected.len() as u64;
        let later: Vec<usize> = answer
            .rejected
            .iter()
            .filter(|one| one.later && tries < MOST_TRIES)
            .filter_map(|one| usize::try_from(one.index?).ok())
            .collect();
        let sent = if later.is_empty() { None } else { serde_json::from_str::<SampleBatch>(text).ok() };
        let Some(batch) = sent else { return all };
        let samples: Vec<JobSample> =
            later.into_iter().filter_map(|place| batch.samples.get(place).cloned()).collect();
        if samples.is_empty() {
            return all;
        }
        let held = samples.len();
        self.samples += held;
        // The node's own figures were taken.
        let batch = SampleBatch { samples, node_totals: None, ..batch };
        self.waiting.push_back(Again { due: now + PAUSE, tries, batch });
        all.saturating_sub(held as u64)
    }

    /// What is to be sent by now.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Again> {
        let next = self.waiting.pop_front_if(|next| next.due <= now)?;
        self.samples = self.samples.saturating_sub(next.batch.samples.len());
        Some(next)
    }

    /// Whether there is no room for more.
    pub(crate) fn is_full(&self) -> bool {
        self.samples >= MANY_HELD
    }

    /// When there is something to be sent; None where nothing waits.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.waiting.front().map(|next| next.due)
    }

    /// Holds it once more: there was no answer.
    pub(crate) fn put_back(&mut self, again: Again, now: Instant) {
        self.samples += again.batch.samples.len();
        self.waiting.push_back(Again { due: now + PAUSE, ..again });
    }
}

#[cfg(test)]
mod tests {
    use libra_api::hpc::samples::Rejected;

    use super::*;

    fn batch(samples: usize) -> String {
        let of = |n: usize| JobSample {
            external_job_id: Some(n.to_string()),
            cpu_usage: Some(1.0),
            ..JobSample::default()
        };
        let batch = SampleBatch { samples: (0..samples).map(of).collect(), ..SampleBatch::default() };
        serde_json::to_string(&batch).unwrap()
    }

    fn answer(later: &[u32], never: &[u32]) -> BatchAnswer {
        let one = |later| move |index: &u32| Rejected { index: Some(*index), reason: String::new(), later };
        let rejected = later.iter().map(one(true)).chain(never.iter().map(one(false))).collect();
        BatchAnswer { rejected, ..BatchAnswer::default() }
    }

    #[test]
    fn only_what_may_be_taken_later_is_sent_again_and_not_for_ever() {
        let now = Instant::now();
        let mut held = Held::default();
        assert_eq!(held.keep(&batch(3), 1, &answer(&[1], &[2]), now), 1);
        assert_eq!((held.due(), held.next(now)), (Some(now + PAUSE), None));
        let mut later = now + PAUSE;
        for tries in 1..MOST_TRIES {
            let again = held.next(later).unwrap();
            assert_eq!(again.tries, tries);
            assert_eq!(again.batch.samples[0].external_job_id.as_deref(), Some("1"));
            let text = serde_json::to_string(&again.batch).unwrap();
            let given_up = held.keep(&text, tries + 1, &answer(&[0], &[]), later);
            assert_eq!(given_up, u64::from(tries + 1 == MOST_TRIES));
            later += PAUSE;
        }
        assert_eq!((held.due(), held.samples), (None, 0));
    }

    #[test]
    fn what_is_held_is_bounded() {
        let (now, mut held) = (Instant::now(), Held::default());
        let all: Vec<u32> = (0..1_500).collect();
        assert_eq!(held.keep(&batch(1_500), 1, &answer(&all, &[]), now), 0);
        assert!(!held.is_full());
        assert_eq!(held.keep(&batch(1_500), 1, &answer(&all, &[]), now), 0);
        assert!(held.is_full(), "nothing is sent until there is room");
        let first = held.next(now + PAUSE).unwrap();
        assert!(!held.is_full());
        held.put_back(first, now);
        assert!(held.is_full());
    }
}
