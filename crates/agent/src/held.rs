//! Samples of jobs that Libra has not heard of yet: a node sees a job before its scheduler has told of it. They are sent again
//! for a while, and are kept until then as what was not sent at all is: on the disk, where a directory is given.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use libra_api::hpc::samples::{BatchAnswer, JobSample, SampleBatch};
use libra_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::spool::{Batch, Lost, Spool, SpoolError};

/// After so long they are sent again.
pub(crate) const PAUSE: Duration = Duration::from_secs(15);
/// The same in microseconds.
const PAUSE_MICROS: i64 = 15_000_000;
/// So often, at most, which is a quarter of an hour: a scheduler is read every two minutes at the latest, and again so long after
/// it could not be. One that has not told of a job by then does not know it.
const MOST_TRIES: u32 = 60;
/// With so much held, some 2,000 samples, nothing new is sent: it stays in the other spool meanwhile.
const HELD_BYTES: u64 = 1 << 20;
/// Nothing is dropped before this: far above [`HELD_BYTES`] and what one more batch may add.
const MOST_BYTES: u64 = 16 << 20;
/// The directory within that of the other spool.
const DIRECTORY: &str = "later";

/// A line of the spool.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    /// Not before this, in microseconds since 1970.
    due: i64,
    /// How often it was sent.
    tries: u32,
    #[serde(flatten)]
    batch: SampleBatch,
}

/// What is to be sent again.
#[derive(Debug)]
pub(crate) struct Again {
    /// How often it was sent.
    pub(crate) tries: u32,
    pub(crate) batch: SampleBatch,
    kept: Batch,
}

/// What waits to be sent again, in order.
#[derive(Debug)]
pub(crate) struct Held {
    spool: Spool,
    /// There was no answer to what was sent: others come first until then.
    rests: Option<Instant>,
}

impl Held {
    /// What an earlier life has left in `dir`, the directory of the other spool.
    pub(crate) fn open(dir: &Path) -> Result<Self, SpoolError> {
        Ok(Self { spool: Spool::open(&dir.join(DIRECTORY), MOST_BYTES)?, rests: None })
    }

    /// Nothing, to be kept in memory.
    pub(crate) fn in_memory() -> Self {
        Self { spool: Spool::in_memory(), rests: None }
    }

    /// Holds those samples of a batch that may be taken later; `tries` is how often it was sent. Says how many of its samples
    /// will never be taken, and whether the disk has taken what is held, which is in memory otherwise; None where that is nothing.
    pub(crate) fn keep(
        &mut self,
        text: &str,
        tries: u32,
        answer: &BatchAnswer,
        now: Timestamp,
    ) -> (u64, Option<io::Result<()>>) {
        let all = answer.rejected.len() as u64;
        let later: Vec<usize> = answer
            .rejected
            .iter()
            .filter(|one| one.later && tries < MOST_TRIES)
            .filter_map(|one| usize::try_from(one.index?).ok())
            .collect();
        let sent = if later.is_empty() { None } else { serde_json::from_str::<SampleBatch>(text).ok() };
        let Some(batch) = sent else { return (all, None) };
        let samples: Vec<JobSample> =
            later.into_iter().filter_map(|place| batch.samples.get(place).cloned()).collect();
        let held = samples.len() as u64;
        // The node's own figures were taken.
        let batch = SampleBatch { samples, node_totals: None, ..batch };
        let line = Line { due: now.plus_micros(PAUSE_MICROS).0, tries, batch };
        // Numbers and texts have a JSON, always.
        let Some(line) = serde_json::to_string(&line).ok().filter(|_| held > 0) else {
            return (all, None);
        };
        (all.saturating_sub(held), Some(self.spool.put(line, held)))
    }

    /// What is to be sent by now.
    pub(crate) fn next(&mut self, now: Timestamp) -> Option<Again> {
        if self.due(now)? > Duration::ZERO {
            return None;
        }
        let (Line { tries, batch, .. }, kept) = self.first()?;
        Some(Again { tries, batch, kept })
    }

    /// There was no answer: it is sent again after the pause, and what is new is sent meanwhile.
    pub(crate) fn rest(&mut self) {
        self.rests = Some(Instant::now() + PAUSE);
    }

    /// It was sent, and what is to be sent once more is held anew.
    pub(crate) fn done(&mut self, again: &Again) {
        self.spool.done(&again.kept);
    }

    /// How long until there is something to be sent; None where nothing waits.
    pub(crate) fn due(&mut self, now: Timestamp) -> Option<Duration> {
        let (line, _) = self.first()?;
        let rests =
            self.rests.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()));
        Some(wait(line.due, now).max(rests))
    }

    /// Whether there is no room for more.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes() >= HELD_BYTES
    }

    /// What is held, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.spool.bytes()
    }

    /// What was lost so far.
    pub(crate) fn lost(&self) -> Lost {
        self.spool.lost()
    }

    /// What is due first: what the disk did not take is in memory.
    fn first(&mut self) -> Option<(Line, Batch)> {
        let mut first: Option<(Line, Batch)> = None;
        for kept in self.spool.heads() {
            let Some((line, kept)) = self.read(kept) else { continue };
            if first.as_ref().is_none_or(|(other, _)| line.due < other.due) {
                first = Some((line, kept));
            }
        }
        first
    }

    /// A line; None of one that nobody can read, which is gone then.
    fn read(&mut self, kept: Batch) -> Option<(Line, Batch)> {
        if let Ok(line) = serde_json::from_str(&kept.text) {
            return Some((line, kept));
        }
        self.spool.torn(&kept);
        None
    }
}

/// How long until `due`. What is further away than the pause was written down while the clock was ahead, and is due: it is
/// written down anew when it is not taken.
fn wait(due: i64, now: Timestamp) -> Duration {
    let wait = Duration::from_micros(u64::try_from(due.saturating_sub(now.0)).unwrap_or(0));
    if wait > PAUSE { Duration::ZERO } else { wait }
}

#[cfg(test)]
mod tests {
    use libra_api::hpc::samples::Rejected;

    use super::*;

    const NOW: Timestamp = Timestamp(1_795_000_000_000_000);

    fn batch(samples: usize) -> String {
        let of = |n: usize| JobSample {
            external_job_id: Some(n.to_string()),
            cpu_usage: Some(1.0),
            memory_usage_mb: Some(1_024.5),
            timestamp: NOW.rfc3339(),
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

    fn keep(held: &mut Held, text: &str, tries: u32, answer: &BatchAnswer, now: Timestamp) -> u64 {
        let (refused, written) = held.keep(text, tries, answer, now);
        assert!(written.is_none_or(|written| written.is_ok()));
        refused
    }

    #[test]
    fn only_what_may_be_taken_later_is_sent_again_and_not_for_ever() {
        let mut held = Held::in_memory();
        assert_eq!(keep(&mut held, &batch(3), 1, &answer(&[1], &[2]), NOW), 1);
        assert_eq!(held.due(NOW), Some(PAUSE));
        assert!(held.next(NOW).is_none());
        let mut later = NOW.plus_micros(PAUSE_MICROS);
        for tries in 1..MOST_TRIES {
            let again = held.next(later).unwrap();
            assert_eq!(again.tries, tries);
            assert_eq!(again.batch.samples[0].external_job_id.as_deref(), Some("1"));
            let text = serde_json::to_string(&again.batch).unwrap();
            let given_up = keep(&mut held, &text, tries + 1, &answer(&[0], &[]), later);
            held.done(&again);
            assert_eq!(given_up, u64::from(tries + 1 == MOST_TRIES));
            later = later.plus_micros(PAUSE_MICROS);
        }
        assert_eq!((held.due(later), held.bytes()), (None, 0));
    }

    #[test]
    fn what_is_held_outlives_the_agent_and_whatever_the_clock_says() {
        let dir = tempfile::tempdir().unwrap();
        let mut held = Held::open(dir.path()).unwrap();
        keep(&mut held, &batch(2), 7, &answer(&[0], &[]), NOW);
        drop(held);
        let mut held = Held::open(dir.path()).unwrap();
        assert!(held.next(NOW).is_none());
        // The clock was an hour ahead when it was written down.
        assert!(held.next(NOW.plus_seconds(-3_600)).is_some());
        let again = held.next(NOW.plus_seconds(60)).unwrap();
        assert_eq!((again.tries, again.batch.samples.len()), (7, 1));
        let sample = &again.batch.samples[0];
        assert_eq!((sample.memory_usage_mb, sample.timestamp.clone()), (Some(1_024.5), NOW.rfc3339()));
        // Sent without an answer: it is there as before.
        drop(held);
        let mut held = Held::open(dir.path()).unwrap();
        let again = held.next(NOW.plus_seconds(60)).unwrap();
        held.done(&again);
        drop(held);
        assert_eq!(Held::open(dir.path()).unwrap().due(NOW), None);
    }

    #[test]
    fn what_gets_no_answer_lets_others_pass_and_what_nobody_can_read_is_counted() {
        let mut held = Held::in_memory();
        keep(&mut held, &batch(1), 1, &answer(&[0], &[]), NOW);
        let later = NOW.plus_seconds(60);
        assert!(held.next(later).is_some());
        held.rest();
        assert!(held.next(later).is_none());
        assert!(held.due(later).is_some_and(|due| due > Duration::ZERO && due <= PAUSE));

        let dir = tempfile::tempdir().unwrap();
        let mut held = Held::open(dir.path()).unwrap();
        held.spool.put(r#"{"samples":[{}]}"#.to_owned(), 1).unwrap();
        assert_eq!((held.due(later), held.lost().torn, held.bytes()), (None, 1, 0));
    }

    #[test]
    fn what_is_held_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let mut held = Held::open(dir.path()).unwrap();
        let all: Vec<u32> = (0..10_000).collect();
        assert!(!held.is_full());
        while !held.is_full() {
            assert_eq!(keep(&mut held, &batch(10_000), 1, &answer(&all, &[]), NOW), 0);
        }
        assert_eq!(held.lost(), Lost::default(), "one batch more than there is room for is held");
        while let Some(first) = held.next(NOW.plus_seconds(60)) {
            held.done(&first);
        }
        assert!(!held.is_full());
    }
}
