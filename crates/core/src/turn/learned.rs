//! How long jobs take, learned from those of the same name that ended.

use std::collections::{BTreeMap, VecDeque};

use super::demand::{Micros, RunTime};

/// Runs that are remembered of each name.
const RUNS: usize = 20;
/// Names that are remembered; of more, the one that ran longest ago is forgotten.
const NAMES: usize = 10_000;
/// From so many runs on, more than the limit is known of a name.
const ENOUGH: usize = 3;
/// A job may take so many times as long as the longest run of its name.
const MARGIN: Micros = 2;

/// What an estimate rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Basis {
    /// Ended runs of the same name.
    Runs {
        /// How many.
        count: usize,
        /// Whose.
        user: String,
    },
    /// The time limit alone.
    Limit,
    /// Nothing is known.
    Unknown,
}

impl Basis {
    /// In words.
    pub fn words(&self) -> String {
        match self {
            Self::Runs { count: 1, user } => format!("the one run of the same name by {user}"),
            Self::Runs { count, user } => format!("median of {count} runs of the same name by {user}"),
            Self::Limit => "its time limit".into(),
            Self::Unknown => "nothing is known of its run time".into(),
        }
    }
}

/// How long a job will take, and why that is thought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// The times.
    pub run_time: RunTime,
    /// Where they come from.
    pub basis: Basis,
}

/// Whose runs, and of which name.
type Key = (String, String, String);

/// Run times of ended jobs by tenant, user and name. Bounded: 20 runs of 10,000 names.
#[derive(Clone, Debug, Default)]
pub struct Learned {
    runs: BTreeMap<Key, (u64, VecDeque<Micros>)>,
    /// Names by when they last ran.
    oldest: BTreeMap<u64, Key>,
    count: u64,
}

impl Learned {
    /// A job of this name ended well after so long.
    pub fn ran(&mut self, tenant: &str, user: &str, name: &str, micros: Micros) {
        let key = (tenant.to_owned(), user.to_owned(), name.to_owned());
        self.count += 1;
        let (last, runs) = self.runs.entry(key.clone()).or_default();
        self.oldest.remove(last);
        *last = self.count;
        self.oldest.insert(self.count, key);
        runs.push_back(micros.max(0));
        if runs.len() > RUNS {
            runs.pop_front();
        }
        if self.runs.len() > NAMES
            && let Some((_, key)) = self.oldest.pop_first()
        {
            self.runs.remove(&key);
        }
    }

    /// How long a job of this name with this limit will take: the median of its like, and at most twice the longest of
    /// them when there are three; never more than its limit.
    pub fn estimate(&self, tenant: &str, user: &str, name: &str, limit: Option<Micros>) -> Estimate {
        let within = |micros: Micros| limit.map_or(micros, |limit| micros.min(limit));
        let key = (tenant.to_owned(), user.to_owned(), name.to_owned());
        let Some((_, runs)) = self.runs.get(&key) else {
            let basis = if limit.is_some() { Basis::Limit } else { Basis::Unknown };
            return Estimate { run_time: RunTime { expected: limit, at_most: limit }, basis };
        };
        let mut sorted: Vec<Micros> = runs.iter().copied().collect();
        sorted.sort_unstable();
        let median = sorted.get(sorted.len() / 2).copied().unwrap_or(0);
        let longest = sorted.last().copied().unwrap_or(0).saturating_mul(MARGIN);
        let at_most = if sorted.len() >= ENOUGH { Some(within(longest.max(1))) } else { limit };
        Estimate {
            run_time: RunTime { expected: Some(within(median)), at_most },
            basis: Basis::Runs { count: sorted.len(), user: user.to_owned() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_says_what_it_rests_on() {
        let mut learned = Learned::default();
        let of = |learned: &Learned, limit| learned.estimate("t", "ann", "daily", limit);
        assert_eq!(of(&learned, None).basis, Basis::Unknown);
        assert_eq!(of(&learned, Some(60)).run_time, RunTime::exactly(60));
        for micros in [10, 30, 20, 40, 15, 12, 18] {
            learned.ran("t", "ann", "daily", micros);
        }
        let estimate = of(&learned, Some(60));
        assert_eq!(estimate.run_time, RunTime { expected: Some(18), at_most: Some(60) });
        assert_eq!(of(&learned, None).run_time.at_most, Some(80));
        assert_eq!(estimate.basis.words(), "median of 7 runs of the same name by ann");
        assert_eq!(learned.estimate("t", "bob", "daily", None).basis, Basis::Unknown);
    }

    #[test]
    fn it_forgets() {
        let mut learned = Learned::default();
        for n in 0..NAMES + 5 {
            learned.ran("t", "ann", &n.to_string(), 1);
        }
        assert_eq!((learned.runs.len(), learned.oldest.len()), (NAMES, NAMES));
        assert_eq!(learned.estimate("t", "ann", "0", None).basis, Basis::Unknown);
    }
}
