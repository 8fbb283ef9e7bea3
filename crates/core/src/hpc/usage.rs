//! What a job uses. Whatever is measured may be unknown, which is not zero, and each figure says on how many samples it
//! rests.
//!
//! Everything is a whole number, so that sums are exact: shares are thousandths of a percent, processors thousandths of
//! one.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Thousandths in one percent.
pub const PER_PERCENT: f64 = 1_000.0;

/// What was measured of a job on a node at one time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// When.
    pub at: Timestamp,
    /// Processors at work, of those that it has; thousandths of a percent.
    pub cpu: Option<i64>,
    /// Processors at work, thousandths.
    pub millicores: Option<i64>,
    /// Memory, MiB.
    pub memory_mb: Option<i64>,
    /// The most memory since it began, MiB.
    pub memory_peak_mb: Option<i64>,
    /// How busy its GPUs are; thousandths of a percent.
    pub gpu: Option<i64>,
    /// Memory of its GPUs, MiB.
    pub gpu_memory_mb: Option<i64>,
    /// Power of its GPUs, milliwatts.
    pub power_milliwatts: Option<i64>,
    /// Energy of its GPUs since it began, joules.
    pub energy_joules: Option<i64>,
    /// Read since it began, bytes.
    pub read_bytes: Option<i64>,
    /// Written since it began, bytes.
    pub written_bytes: Option<i64>,
}

impl Sample {
    /// One in which nothing is known.
    pub fn at(at: Timestamp) -> Self {
        Self {
            at,
            cpu: None,
            millicores: None,
            memory_mb: None,
            memory_peak_mb: None,
            gpu: None,
            gpu_memory_mb: None,
            power_milliwatts: None,
            energy_joules: None,
            read_bytes: None,
            written_bytes: None,
        }
    }
}

/// What many values of one kind come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figure {
    /// The newest that is known.
    pub last: Option<i64>,
    /// How many.
    pub count: i64,
    /// Their sum.
    pub sum: i64,
    /// The greatest.
    pub max: Option<i64>,
}

impl Figure {
    /// Counts one more in; `newest` where none was measured later.
    pub fn add(&mut self, value: Option<i64>, newest: bool) {
        let Some(value) = value else { return };
        self.count = self.count.saturating_add(1);
        self.sum = self.sum.saturating_add(value);
        self.max = self.max.max(Some(value));
        if newest || self.last.is_none() {
            self.last = Some(value);
        }
    }

    /// These and others; the last is that of `other`, where there is one.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            last: other.last.or(self.last),
            count: self.count.saturating_add(other.count),
            sum: self.sum.saturating_add(other.sum),
            max: self.max.max(other.max),
        }
    }

    /// Their mean; None where there are none.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum as f64 / self.count as f64)
    }
}

/// What all samples of a job on a node come to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// The oldest.
    pub first_at: Option<Timestamp>,
    /// The newest.
    pub last_at: Option<Timestamp>,
    /// How many samples there are, whatever is known in them.
    pub samples: i64,
    /// Shares of its processors.
    pub cpu: Figure,
    /// Processors at work, thousandths.
    pub millicores: Figure,
    /// Memory, MiB.
    pub memory_mb: Figure,
    /// The most memory at any time, where somebody has kept a mark of it, MiB.
    pub memory_peak_mb: Option<i64>,
    /// Shares of its GPUs.
    pub gpu: Figure,
    /// The most memory of its GPUs, MiB.
    pub gpu_memory_mb: Option<i64>,
    /// Joules so far.
    pub energy_joules: Option<i64>,
    /// Bytes read so far.
    pub read_bytes: Option<i64>,
    /// Bytes written so far.
    pub written_bytes: Option<i64>,
    /// For how long it was measured, in microseconds: between two samples that are not too far apart.
    pub covered: i64,
}

/// Between two samples that are further apart than this, in microseconds, nothing is known: ten of an agent's usual looks.
pub const MOST_APART: i64 = 300 * crate::time::MICROS_PER_SECOND;

impl Totals {
    /// Counts a sample in. What counts up since the job began never falls.
    pub fn add(&mut self, sample: &Sample) {
        let newest = self.last_at.is_none_or(|last| sample.at >= last);
        // What comes late fills a gap, but who knows which part of it.
        if let Some(last) = self.last_at.filter(|_| newest) {
            let apart = sample.at.0.saturating_sub(last.0);
            self.covered = self.covered.saturating_add(if apart <= MOST_APART { apart } else { 0 });
        }
        self.first_at = Some(self.first_at.map_or(sample.at, |first| first.min(sample.at)));
        self.last_at = self.last_at.max(Some(sample.at));
        self.samples = self.samples.saturating_add(1);
        self.cpu.add(sample.cpu, newest);
        self.millicores.add(sample.millicores, newest);
        self.memory_mb.add(sample.memory_mb, newest);
        self.memory_peak_mb = self.memory_peak_mb.max(sample.memory_peak_mb);
        self.gpu.add(sample.gpu, newest);
        self.gpu_memory_mb = self.gpu_memory_mb.max(sample.gpu_memory_mb);
        self.energy_joules = self.energy_joules.max(sample.energy_joules);
        self.read_bytes = self.read_bytes.max(sample.read_bytes);
        self.written_bytes = self.written_bytes.max(sample.written_bytes);
    }
}

impl Totals {
    /// These and those of another node, of something that was on one node after the other: what two nodes used at different
    /// times is no sum.
    #[must_use]
    pub fn and_elsewhere(self, other: Self) -> Self {
        let (before, after) = if other.last_at >= self.last_at { (self, other) } else { (other, self) };
        Self {
            first_at: [before.first_at, after.first_at].into_iter().flatten().min(),
            last_at: after.last_at,
            samples: before.samples.saturating_add(after.samples),
            cpu: before.cpu.and(after.cpu),
            millicores: before.millicores.and(after.millicores),
            memory_mb: before.memory_mb.and(after.memory_mb),
            memory_peak_mb: before.memory_peak_mb.max(after.memory_peak_mb),
            gpu: before.gpu.and(after.gpu),
            gpu_memory_mb: before.gpu_memory_mb.max(after.gpu_memory_mb),
            energy_joules: before.energy_joules.max(after.energy_joules),
            read_bytes: before.read_bytes.max(after.read_bytes),
            written_bytes: before.written_bytes.max(after.written_bytes),
            covered: before.covered.saturating_add(after.covered),
        }
    }
}

/// Clocks differ by no more than this, in microseconds.
pub const CLOCKS_DIFFER: i64 = 300 * crate::time::MICROS_PER_SECOND;
/// What a job has used is measured a little after its end, too, in microseconds.
pub const AFTER_ITS_END: i64 = 60 * crate::time::MICROS_PER_SECOND;

/// When samples of a job can have been taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// When it began; None while that is unknown.
    pub started: Option<Timestamp>,
    /// When it ended; None while it has not.
    pub ended: Option<Timestamp>,
    /// Samples from before this are not kept.
    pub kept_from: Option<Timestamp>,
}

/// Why a sample can't be one of its job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutOfTime {
    /// Its time has not come.
    #[error("is in the future; look at the clock of the node")]
    Ahead,
    /// The job had not begun.
    #[error("is before the job began")]
    BeforeItsJob,
    /// The job had ended.
    #[error("is after the job's end")]
    AfterItsJob,
    /// Its like are forgotten.
    #[error("is older than samples are kept (libra.retention.samples)")]
    Forgotten,
}

impl Span {
    /// Whether a sample that was taken at `at` can be one of the job.
    ///
    /// # Errors
    /// Why not.
    pub fn takes(&self, at: Timestamp, now: Timestamp) -> Result<(), OutOfTime> {
        if at > now.plus_micros(CLOCKS_DIFFER) {
            Err(OutOfTime::Ahead)
        } else if self.started.is_some_and(|started| at < started.plus_micros(-CLOCKS_DIFFER)) {
            Err(OutOfTime::BeforeItsJob)
        } else if self.ended.is_some_and(|ended| at > ended.plus_micros(AFTER_ITS_END)) {
            Err(OutOfTime::AfterItsJob)
        } else if self.kept_from.is_some_and(|kept| at < kept) {
            Err(OutOfTime::Forgotten)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_of_the_time_of_its_job() {
        let at = |second| Timestamp(0).plus_seconds(second);
        let span = Span { started: Some(at(1_000)), ended: Some(at(2_000)), kept_from: Some(at(800)) };
        let now = at(1_700);
        for (second, why) in [
            (699, Some(OutOfTime::BeforeItsJob)),
            (799, Some(OutOfTime::Forgotten)),
            (800, None),
            (2_000, None),
            (2_001, Some(OutOfTime::Ahead)),
        ] {
            assert_eq!(span.takes(at(second), now).err(), why, "{second}");
        }
        assert_eq!(span.takes(at(2_060), at(9_000)), Ok(()));
        assert_eq!(span.takes(at(2_061), at(9_000)), Err(OutOfTime::AfterItsJob));
        assert_eq!(Span::default().takes(at(-9_000), now), Ok(()), "nothing is known of it");
    }

    #[test]
    fn time_between_samples_counts_as_measured_unless_it_is_long() {
        let mut totals = Totals::default();
        for second in [0, 30, 60, 1_000, 1_030, 500] {
            totals.add(&Sample::at(Timestamp(0).plus_seconds(second)));
        }
        assert_eq!((totals.covered, totals.samples), (90 * crate::time::MICROS_PER_SECOND, 6));
    }

    #[test]
    fn what_was_on_one_node_after_the_other_comes_to_means_and_no_sums() {
        let at = |second| Timestamp(0).plus_seconds(second);
        let of = |from: i64, millicores, memory| {
            let mut totals = Totals::default();
            for second in [0, 10] {
                let (millicores, memory_mb) = (Some(millicores), Some(memory));
                totals.add(&Sample { millicores, memory_mb, ..Sample::at(at(from + second)) });
            }
            totals
        };
        let (first, then) = (of(0, 1_000, 300), of(100, 3_000, 200));
        let both = then.clone().and_elsewhere(first.clone());
        assert_eq!(both, first.and_elsewhere(then));
        assert_eq!((both.first_at, both.last_at, both.samples), (Some(at(0)), Some(at(110)), 4));
        assert_eq!((both.millicores.mean(), both.millicores.last), (Some(2_000.0), Some(3_000)));
        assert_eq!((both.memory_mb.max, both.memory_mb.last), (Some(300), Some(200)));
        assert_eq!(both.covered, 20 * crate::time::MICROS_PER_SECOND, "nothing is known of the time between");
    }

    #[test]
    fn what_is_unknown_counts_for_nothing() {
        let mut totals = Totals::default();
        let at = |second| Timestamp(0).plus_seconds(second);
        totals.add(&Sample { cpu: Some(50_000), memory_mb: Some(100), ..Sample::at(at(10)) });
        totals.add(&Sample { memory_mb: Some(300), ..Sample::at(at(20)) });
        // Late: it is counted, and is not the newest.
        totals.add(&Sample { cpu: Some(10_000), memory_mb: Some(50), ..Sample::at(at(5)) });
        assert_eq!((totals.first_at, totals.last_at, totals.samples), (Some(at(5)), Some(at(20)), 3));
        assert_eq!(totals.cpu, Figure { last: Some(50_000), count: 2, sum: 60_000, max: Some(50_000) });
        assert_eq!((totals.memory_mb.last, totals.memory_mb.mean()), (Some(300), Some(150.0)));
        assert_eq!((totals.gpu, totals.gpu.mean()), (Figure::default(), None));
    }
}
