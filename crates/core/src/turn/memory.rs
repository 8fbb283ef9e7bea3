//! What somebody holds, and held over the past hour: what fairness goes by.
//!
//! The past is cut into buckets of a twelfth of the window. Whole buckets count, and of the one that is being filled what
//! jobs held that have ended: what counts for somebody changes at the ends of buckets, for everybody at once, and when
//! their own jobs begin and end. The sums are exact, so that they can be had again from the times of ended attempts.

use super::demand::Micros;
use super::resources::{Dimension, Resources};
use crate::time::Timestamp;

/// Buckets of which the window consists.
const BUCKETS: i64 = 12;
/// The same, to count with.
const COUNT: usize = 12;
/// What was held on average counts so many times as much as what is held now. What somebody holds in the moments in which
/// turns are given depends on the size of their jobs, so the present alone is no fair judge: docs/scheduling.md has figures.
const PAST_WEIGHT: u32 = 8;
/// What is weighed is counted in parts of this size: a slot of a small pool held for half a second of an hour still counts.
pub(super) const PARTS: u32 = 1 << 10;
/// Shares are compared in units of 2^-40 of the pool.
pub(super) const SHARE_BITS: u32 = 40;

/// Resource × microseconds, by dimension.
pub(super) type Amount = [u128; 4];

/// How the past is cut; the same for everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    bucket: Micros,
}

impl Window {
    /// A window of this length; 0 = nothing is remembered.
    pub(super) fn of(memory: Micros) -> Self {
        Self { bucket: memory.max(0) / BUCKETS }
    }

    /// How long a bucket is, in microseconds; 0 when nothing is remembered.
    pub(super) fn bucket(self) -> Micros {
        self.bucket
    }

    fn on(self) -> bool {
        self.bucket > 0
    }

    /// The number of the bucket that `at` lies in.
    pub(super) fn index(self, at: Timestamp) -> i64 {
        if self.on() { at.0.div_euclid(self.bucket) } else { 0 }
    }

    fn start(self, index: i64) -> i64 {
        index.saturating_mul(self.bucket)
    }
}

/// The buckets of one branch.
#[derive(Clone, Debug)]
struct Past {
    /// The bucket that is being filled.
    current: i64,
    /// What is in it so far.
    filling: Amount,
    /// The part of that which was held by jobs that have ended: it counts already.
    ended: Amount,
    /// The whole buckets before it, each at its number modulo their count.
    whole: [Amount; COUNT],
    /// Their sum.
    sum: Amount,
}

impl Past {
    fn new(current: i64) -> Self {
        Self { current, filling: [0; 4], ended: [0; 4], whole: [[0; 4]; COUNT], sum: [0; 4] }
    }

    fn slot(index: i64) -> usize {
        usize::try_from(index.rem_euclid(BUCKETS)).unwrap_or(0)
    }

    /// The bucket is over: it counts from now on, and the one of a window ago no longer does.
    fn close(&mut self) {
        let filled = std::mem::take(&mut self.filling);
        self.ended = [0; 4];
        let gone = std::mem::replace(&mut self.whole[Self::slot(self.current)], filled);
        for ((sum, filled), gone) in self.sum.iter_mut().zip(filled).zip(gone) {
            *sum = (*sum + filled).saturating_sub(gone);
        }
        self.current += 1;
    }

    fn add(&mut self, index: i64, amount: Amount, ended: Amount) {
        if index == self.current {
            add(&mut self.filling, amount);
            add(&mut self.ended, ended);
        } else if index < self.current && index >= self.current - BUCKETS {
            add(&mut self.whole[Self::slot(index)], amount);
            add(&mut self.sum, amount);
        }
    }

    fn is_empty(&self) -> bool {
        self.sum == [0; 4] && self.filling == [0; 4]
    }
}

fn add(to: &mut Amount, amount: Amount) {
    for (sum, more) in to.iter_mut().zip(amount) {
        *sum += more;
    }
}

fn times(held: Resources, micros: i64) -> Amount {
    let micros = u128::try_from(micros.max(0)).unwrap_or(0);
    Dimension::ALL.map(|d| u128::from(held.get(d)) * micros)
}

/// What one branch of the tree holds and held.
#[derive(Clone, Debug)]
pub(super) struct Charge {
    held: Resources,
    /// Running jobs.
    pub(super) jobs: u64,
    /// The past is written down up to here.
    since: Timestamp,
    past: Option<Box<Past>>,
}

impl Charge {
    /// Nothing is held, and nothing is known from before.
    pub(super) fn new(since: Timestamp) -> Self {
        Self { held: Resources::default(), jobs: 0, since, past: None }
    }

    /// What is held at present.
    pub(super) fn held(&self) -> Resources {
        self.held
    }

    /// Writes the past down, up to `now`. A clock that went backwards adds nothing.
    pub(super) fn advance(&mut self, window: Window, now: Timestamp) {
        if !window.on() || (self.past.is_none() && self.held.is_zero()) {
            self.since = now;
            return;
        }
        let index = window.index(now);
        let since = self.since;
        let past = self.past.get_or_insert_with(|| Box::new(Past::new(window.index(since))));
        if index - past.current > BUCKETS + 1 {
            // A leap: all that is remembered lies before it.
            **past = Past::new(index - BUCKETS - 1);
        }
        let mut from = since.0.max(window.start(past.current));
        while past.current < index {
            let end = window.start(past.current + 1);
            add(&mut past.filling, times(self.held, end - from));
            from = from.max(end);
            past.close();
        }
        add(&mut past.filling, times(self.held, now.0 - from));
        self.since = Timestamp(since.0.max(now.0));
        if past.is_empty() && self.held.is_zero() {
            self.past = None;
        }
    }

    /// Forgets the past: the clock went back so far that it would lie in the future.
    pub(super) fn forget(&mut self, now: Timestamp) {
        self.past = None;
        self.since = now;
    }

    /// Adds what was held at a time before `now`, in this bucket; `ended` is the part of jobs that have ended.
    pub(super) fn remember(
        &mut self,
        window: Window,
        index: i64,
        amount: Amount,
        ended: Amount,
        now: Timestamp,
    ) {
        if !window.on() {
            return;
        }
        self.advance(window, now);
        self.past.get_or_insert_with(|| Box::new(Past::new(window.index(now)))).add(index, amount, ended);
    }

    /// What is remembered: bucket, amount, and the part of it that was held by jobs which have ended, where it matters.
    pub(super) fn remembered(&self) -> Vec<(i64, Amount, Amount)> {
        let Some(past) = &self.past else { return Vec::new() };
        (past.current - BUCKETS..past.current)
            .map(|index| (index, past.whole[Past::slot(index)], [0; 4]))
            .chain([(past.current, past.filling, past.ended)])
            .filter(|(_, amount, _)| *amount != [0; 4])
            .collect()
    }

    /// Takes or gives back; the past must be written down up to now.
    pub(super) fn take(&mut self, amount: Resources) {
        self.held = self.held.plus(amount);
    }

    /// Gives back; the past must be written down up to now.
    pub(super) fn give(&mut self, amount: Resources) {
        self.held = self.held.minus(amount);
    }

    /// A job has ended that held this since then; the past must be written down up to now.
    pub(super) fn end(&mut self, window: Window, held: Resources, since: Timestamp) {
        self.give(held);
        let now = self.since;
        if let Some(past) = &mut self.past {
            let from = since.0.max(window.start(past.current));
            for ((ended, more), all) in past.ended.iter_mut().zip(times(held, now.0 - from)).zip(past.filling)
            {
                *ended = (*ended + more).min(all);
            }
        }
    }

    /// The average over the window, in [`PARTS`], of what counts already.
    pub(super) fn average(&self, window: Window) -> Resources {
        let Some(past) = &self.past else { return Resources::default() };
        let length = u128::try_from(window.bucket.saturating_mul(BUCKETS)).unwrap_or(0).max(1);
        let of = |d: usize| {
            let held = (past.sum[d] + past.ended[d]).saturating_mul(u128::from(PARTS));
            u64::try_from(held / length).unwrap_or(u64::MAX)
        };
        Resources { cores: of(0), memory: of(1), gpus: of(2), slots: of(3) }
    }

    /// What fairness goes by, in [`PARTS`]: what is held now, and what was held on average, with its weight.
    pub(super) fn weighed(&self, window: Window) -> Resources {
        self.held.times(PARTS).plus(self.average(window).times(PAST_WEIGHT))
    }

    /// The dominant share for a weight, in units of 2^-40 of `capacity`.
    pub(super) fn share(&self, window: Window, capacity: &Resources, weight: u32) -> u64 {
        share_of(self.weighed(window), &capacity.times(PARTS), weight)
    }
}

/// The greatest part of any dimension that `held` is of `capacity`, divided by `weight`.
pub(super) fn share_of(held: Resources, capacity: &Resources, weight: u32) -> u64 {
    if weight == 0 {
        return u64::MAX;
    }
    let part = |d: Dimension| {
        let (held, all) = (held.get(d), capacity.get(d));
        if held == 0 {
            return 0;
        }
        let part = (u128::from(held) << SHARE_BITS) / (u128::from(all.max(1)) * u128::from(weight));
        u64::try_from(part).unwrap_or(u64::MAX - 1).min(u64::MAX - 1)
    };
    Dimension::ALL.into_iter().map(part).max().unwrap_or(0)
}

/// Cuts a span in which `held` was held into buckets.
pub(super) fn cut(
    window: Window,
    held: Resources,
    from: Timestamp,
    to: Timestamp,
    now: Timestamp,
) -> Vec<(i64, Amount)> {
    if !window.on() {
        return Vec::new();
    }
    let to = Timestamp(to.0.min(now.0));
    let first = window.index(from).max(window.index(now) - BUCKETS);
    (first..=window.index(to))
        .map(|index| {
            let begin = from.0.max(window.start(index));
            let end = to.0.min(window.start(index + 1));
            (index, times(held, end.saturating_sub(begin)))
        })
        .filter(|(_, amount)| *amount != [0; 4])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window { bucket: 100 };

    #[test]
    fn whole_buckets_count_for_a_window() {
        let mut charge = Charge::new(Timestamp(0));
        charge.advance(WINDOW, Timestamp(50));
        charge.take(Resources::new(24, 0));
        charge.advance(WINDOW, Timestamp(99));
        assert_eq!(charge.average(WINDOW).cores, 0, "the bucket is not over, and the job runs");
        charge.advance(WINDOW, Timestamp(150));
        let parts = u64::from(PARTS);
        assert_eq!(charge.average(WINDOW).cores, parts, "50 of 1200 µs with 24 cores");
        charge.end(WINDOW, Resources::new(24, 0), Timestamp(50));
        assert_eq!(charge.average(WINDOW).cores, 2 * parts, "it has ended: all of it counts");
        charge.advance(WINDOW, Timestamp(1_250));
        assert_eq!(charge.average(WINDOW).cores, 2 * parts);
        charge.advance(WINDOW, Timestamp(1_300));
        assert_eq!(charge.average(WINDOW).cores, parts);
        charge.advance(WINDOW, Timestamp(1_400));
        assert!(charge.past.is_none(), "all is forgotten");
    }

    #[test]
    fn shares_are_dominant_and_weighted() {
        let all = Resources::new(10, 100);
        let held = Resources::new(1, 50);
        assert_eq!(share_of(held, &all, 1), 1 << 39, "half of the memory");
        assert_eq!(share_of(held, &all, 2), 1 << 38);
        assert_eq!(share_of(held, &all, 0), u64::MAX);
        assert_eq!(share_of(Resources::default(), &Resources::default(), 1), 0);
    }

    proptest::proptest! {
        /// What is written down step by step is what the times of the attempts say.
        #[test]
        fn the_past_can_be_had_again(
            spans in proptest::collection::vec((0i64..3_000, 0i64..2_000, 1u64..50), 1..20),
            end in 0i64..2_000,
        ) {
            let mut events: Vec<(i64, Option<i64>, Resources)> = Vec::new();
            for (from, length, cores) in &spans {
                events.push((*from, None, Resources::new(*cores, 3)));
                events.push((from + length, Some(*from), Resources::new(*cores, 3)));
            }
            events.sort_by_key(|e| (e.0, e.1));
            let now = Timestamp(5_000 + end);
            let mut stepwise = Charge::new(Timestamp(0));
            for (at, ended, held) in events {
                stepwise.advance(WINDOW, Timestamp(at));
                match ended {
                    None => stepwise.take(held),
                    Some(from) => stepwise.end(WINDOW, held, Timestamp(from)),
                }
            }
            stepwise.advance(WINDOW, now);
            let mut again = Charge::new(Timestamp(0));
            again.advance(WINDOW, now);
            for (from, length, cores) in spans {
                let held = Resources::new(cores, 3);
                for (index, amount) in cut(WINDOW, held, Timestamp(from), Timestamp(from + length), now) {
                    again.remember(WINDOW, index, amount, amount, now);
                }
            }
            proptest::prop_assert_eq!(stepwise.remembered(), again.remembered());
            proptest::prop_assert_eq!(stepwise.average(WINDOW), again.average(WINDOW));
        }
    }
}
