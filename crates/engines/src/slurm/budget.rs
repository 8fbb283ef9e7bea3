//! When slurmctld may be asked again. It answers every user of a cluster with a few locks, and one reader that asks too
//! often is felt by all of them.

use std::collections::VecDeque;

use libra_core::time::{MICROS_PER_SECOND, Timestamp};

use super::answer::Load;

/// A minute, in microseconds.
const MINUTE: i64 = 60 * MICROS_PER_SECOND;
/// The pause after a shared read is this many times as long as the read took: slurmctld works for us 5 % of the time.
const PAUSE_FOR_COST: i64 = 20;
/// The longest pause between two shared reads, in microseconds: slurmctld forgets what ended `MinJobAge` ago, usually five
/// minutes, and without accounting nobody else knows how it did.
const MOST_PAUSE: i64 = 2 * MINUTE;
/// The longest pause while nobody is there to answer, in microseconds.
const MOST_PAUSE_AWAY: i64 = 15 * MICROS_PER_SECOND;
/// slurmctld has too much to do when it has this many threads at work (256 are its most),
const BUSY_THREADS: u32 = 64;
/// or this many messages to send.
const BUSY_QUEUE: u32 = 1_000;

/// When slurmctld may be asked again. It has no clock: every call is told the time.
#[derive(Clone, Debug)]
pub struct Budget {
    /// Requests in a minute, all of ours together.
    per_minute: usize,
    /// The pause between two shared reads when nothing is wrong, in microseconds.
    least_pause: i64,
    pause: i64,
    /// When the requests of the last minute were made.
    spent: VecDeque<Timestamp>,
    next_shared: Timestamp,
}

impl Budget {
    /// At most `per_minute` requests in any minute, and a shared read every `least_pause_seconds` when nothing is wrong.
    /// Neither is less than one.
    pub fn new(per_minute: u32, least_pause_seconds: u32) -> Self {
        let least_pause = i64::from(least_pause_seconds.max(1)) * MICROS_PER_SECOND;
        Self {
            per_minute: usize::try_from(per_minute.max(1)).unwrap_or(usize::MAX),
            least_pause,
            pause: least_pause,
            spent: VecDeque::new(),
            next_shared: Timestamp(i64::MIN),
        }
    }

    /// The first time from `now` on at which a shared read of `requests` requests may begin.
    pub fn shared_read_at(&mut self, now: Timestamp, requests: usize) -> Timestamp {
        self.free_at(now, requests).max(self.next_shared)
    }

    /// The first time from `now` on at which `requests` requests fit into the minute. More than the whole budget at once
    /// fit when nothing else was spent.
    pub fn free_at(&mut self, now: Timestamp, requests: usize) -> Timestamp {
        self.forget(now);
        let room = self.per_minute.saturating_sub(requests);
        // So many of the oldest have to be a minute ago.
        let in_the_way = self.spent.len().saturating_sub(room);
        match in_the_way.checked_sub(1).and_then(|last| self.spent.get(last)) {
            Some(time) => time.plus_micros(MINUTE).max(now),
            None => now,
        }
    }

    /// `requests` requests are made now.
    pub fn spend(&mut self, now: Timestamp, requests: usize) {
        self.forget(now);
        self.spent.extend(std::iter::repeat_n(now, requests));
    }

    /// A shared read has ended now and took so many microseconds; with what slurmctld says of itself, where it was asked.
    pub fn read(&mut self, now: Timestamp, took_micros: i64, load: Load) {
        let busy = load.threads.is_some_and(|threads| threads >= BUSY_THREADS)
            || load.queue.is_some_and(|queue| queue >= BUSY_QUEUE);
        if busy {
            self.slower();
        } else {
            // Back again by halves: who has just recovered is not asked everything at once.
            self.pause = (self.pause / 2).max(self.least_pause);
        }
        let for_cost = took_micros.max(0).saturating_mul(PAUSE_FOR_COST);
        self.wait(now, self.pause.max(for_cost));
    }

    /// Nobody was there to take a shared read now: that costs nobody anything, and is tried again soon.
    pub fn unreached(&mut self, now: Timestamp) {
        self.slower();
        self.wait(now, self.pause.min(MOST_PAUSE_AWAY).max(self.least_pause));
    }

    /// A shared read has failed now.
    pub fn failed(&mut self, now: Timestamp) {
        self.slower();
        self.wait(now, self.pause);
    }

    fn slower(&mut self) {
        self.pause = self.pause.saturating_mul(2).min(MOST_PAUSE.max(self.least_pause));
    }

    fn wait(&mut self, now: Timestamp, pause: i64) {
        self.next_shared = now.plus_micros(pause.min(MOST_PAUSE.max(self.least_pause)));
    }

    /// Forgets what is a minute ago; and what a clock that went back has put into the future.
    fn forget(&mut self, now: Timestamp) {
        let counts = |time: &Timestamp| *time <= now && now.0.saturating_sub(time.0) < MINUTE;
        self.spent.retain(counts);
        if self.next_shared.0.saturating_sub(now.0) > MOST_PAUSE.max(self.least_pause) {
            self.next_shared = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp(1_000_000 * MICROS_PER_SECOND).plus_seconds(seconds)
    }

    const IDLE: Load = Load { at: None, threads: Some(3), queue: Some(0) };

    #[test]
    fn a_minute_holds_no_more_than_the_budget() {
        let mut budget = Budget::new(10, 1);
        let (mut now, mut made) = (at(0), Vec::new());
        while now < at(600) {
            let next = budget.free_at(now, 2);
            if next > now {
                now = next;
                continue;
            }
            budget.spend(now, 2);
            made.extend([now, now]);
        }
        assert_eq!(made.len(), 100, "ten in each of ten minutes");
        for begin in 0..600 {
            let within = |time: &&Timestamp| **time >= at(begin) && **time < at(begin + 60);
            assert!(made.iter().filter(within).count() <= 10, "from second {begin}");
        }
    }

    #[test]
    fn more_at_once_than_the_budget_fit_when_nothing_else_was_spent() {
        let mut budget = Budget::new(1, 1);
        assert_eq!(budget.free_at(at(0), 2), at(0));
        budget.spend(at(0), 2);
        assert_eq!(budget.free_at(at(1), 2), at(60));
    }

    #[test]
    fn a_read_that_takes_long_is_repeated_later() {
        let mut budget = Budget::new(100, 10);
        budget.read(at(0), 100_000, IDLE);
        assert_eq!(budget.shared_read_at(at(0), 2), at(10));
        budget.read(at(10), 2 * MICROS_PER_SECOND, IDLE);
        assert_eq!(budget.shared_read_at(at(10), 2), at(50), "twenty times two seconds");
        budget.read(at(50), i64::MAX, IDLE);
        assert_eq!(budget.shared_read_at(at(50), 2), at(170), "the longest pause");
    }

    #[test]
    fn who_fails_or_is_busy_is_asked_less_and_less_and_then_more_again() {
        let mut budget = Budget::new(100, 10);
        let busy = Load { threads: Some(BUSY_THREADS), ..IDLE };
        let mut now = at(0);
        let mut pauses = Vec::new();
        let mut step = |budget: &mut Budget, what: Option<Load>| {
            match what {
                Some(load) => budget.read(now, 0, load),
                None => budget.failed(now),
            }
            let next = budget.shared_read_at(now, 1);
            pauses.push(next.seconds_since(now).round());
            now = next;
        };
        for what in
            [Some(IDLE), None, None, Some(busy), Some(Load { queue: Some(BUSY_QUEUE), ..IDLE }), None, None]
        {
            step(&mut budget, what);
        }
        for _ in 0..6 {
            step(&mut budget, Some(IDLE));
        }
        let wanted = [10, 20, 40, 80, 120, 120, 120, 60, 30, 15, 10, 10, 10].map(f64::from);
        assert_eq!(pauses, wanted);
    }

    #[test]
    fn a_clock_that_goes_back_stops_nothing() {
        let mut budget = Budget::new(1, 10);
        budget.spend(at(10_000), 1);
        budget.read(at(10_000), 0, IDLE);
        assert_eq!(budget.shared_read_at(at(0), 1), at(0));
    }

    proptest::proptest! {
        #[test]
        fn the_next_read_is_never_before_now_and_never_far(
            per_minute in 1_u32..100, pause in 1_u32..900,
            steps in proptest::collection::vec((0_i64..100, 0_i64..10_000_000, 0_u32..200, proptest::bool::ANY), 1..40),
        ) {
            let mut budget = Budget::new(per_minute, pause);
            let mut now = at(0);
            for (later, took, threads, fails) in steps {
                now = now.plus_seconds(later);
                let next = budget.shared_read_at(now, 2);
                proptest::prop_assert!(next >= now);
                proptest::prop_assert!(next.0 - now.0 <= MOST_PAUSE.max(i64::from(pause) * MICROS_PER_SECOND));
                now = next;
                budget.spend(now, 2);
                if fails { budget.failed(now) } else { budget.read(now, took, Load { threads: Some(threads), ..Load::default() }) }
            }
        }
    }
}
