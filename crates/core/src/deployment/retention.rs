//! Which savepoints and checkpoints may go.
//!
//! A snapshot goes when there are more than so many, or when it is older than so long. Three kinds always stay: the
//! newest that can be restored, what somebody names as needed, and what a rollback would start from.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// How many snapshots are kept of a deployment that says nothing else.
pub const COUNT: usize = 10;
/// How long snapshots are kept, microseconds: 7 days.
pub const AGE: i64 = 7 * 86_400 * crate::time::MICROS_PER_SECOND;

/// An age that no snapshot reaches, in microseconds: none is too old.
pub const ANY_AGE: i64 = i64::MAX;

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// At most so many; at least the newest stays, also with 0.
    pub count: usize,
    /// None that is older, in microseconds; see [`ANY_AGE`].
    pub age: i64,
}

impl Default for Retention {
    fn default() -> Self {
        Self { count: COUNT, age: AGE }
    }
}

/// A savepoint or retained checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Where, as Flink writes it. No two have one path.
    pub path: String,
    /// When it was completed.
    pub at: Timestamp,
    /// The generation whose job made it.
    pub generation: u64,
    /// False for one that was found broken or incomplete: no job can start from it.
    pub restorable: bool,
}

/// What must stay, whatever its age.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needed {
    /// Paths in use: what the present run began with, what the next one will begin with, what is being restored.
    pub paths: BTreeSet<String>,
    /// Generations that somebody, or the automatic rollback, may go back to.
    pub generations: BTreeSet<u64>,
}

/// The snapshots that may be disposed of, the oldest first. The order of `kept` does not matter.
pub fn disposable<'a>(
    kept: &'a [Kept],
    retention: Retention,
    needed: &Needed,
    now: Timestamp,
) -> Vec<&'a Kept> {
    let mut newest_first: Vec<&Kept> = kept.iter().collect();
    newest_first.sort_by_key(|k| Reverse((k.at, &k.path)));
    let stays = staying(&newest_first, needed);
    let is_old = |k: &Kept| now.0.saturating_sub(k.at.0) > retention.age;
    let mut counted = 0_usize;
    let mut gone = Vec::new();
    for snapshot in newest_first {
        // What nobody can use takes nobody's place.
        counted += usize::from(snapshot.restorable);
        let goes = !snapshot.restorable || counted > retention.count || is_old(snapshot);
        if goes && !stays.contains(snapshot.path.as_str()) {
            gone.push(snapshot);
        }
    }
    gone.reverse();
    gone
}

/// The paths that stay in any case.
fn staying<'a>(newest_first: &[&'a Kept], needed: &Needed) -> BTreeSet<&'a str> {
    let restorable = || newest_first.iter().filter(|k| k.restorable);
    let mut stays: BTreeSet<&str> = restorable().next().map(|k| k.path.as_str()).into_iter().collect();
    for generation in &needed.generations {
        // A generation goes on from what it ended with; one that made nothing, from what it began with: the newest of
        // its forerunners.
        let own = restorable()
            .filter(|k| k.generation <= *generation)
            .max_by_key(|k| (k.generation, k.at, &k.path));
        stays.extend(own.map(|k| k.path.as_str()));
    }
    stays.extend(newest_first.iter().map(|k| k.path.as_str()).filter(|path| needed.paths.contains(*path)));
    stays
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp(1_000);

    fn kept(path: &str, at: i64, generation: u64, restorable: bool) -> Kept {
        Kept { path: path.into(), at: Timestamp(at), generation, restorable }
    }

    fn paths(gone: &[&Kept]) -> Vec<String> {
        gone.iter().map(|k| k.path.clone()).collect()
    }

    #[test]
    fn what_is_too_many_or_too_old_goes_oldest_first() {
        let all = [
            kept("c", 900, 2, true),
            kept("a", 100, 1, true),
            kept("d", 950, 2, true),
            kept("b", 500, 1, true),
        ];
        let gone =
            |count, age, needed: &Needed| paths(&disposable(&all, Retention { count, age }, needed, NOW));
        let none = Needed::default();
        assert_eq!(gone(10, ANY_AGE, &none), [""; 0]);
        assert_eq!(gone(2, ANY_AGE, &none), ["a", "b"]);
        assert_eq!(gone(10, 500, &none), ["a"], "exactly so old is not older");
        assert_eq!(gone(0, 0, &none), ["a", "b", "c"], "the newest stays");
        let path = Needed { paths: ["a".to_owned()].into(), ..Needed::default() };
        assert_eq!(gone(1, ANY_AGE, &path), ["b", "c"]);
        let generation = Needed { generations: [1].into(), ..Needed::default() };
        assert_eq!(gone(1, ANY_AGE, &generation), ["a", "c"], "what generation 1 ended with");
        let later = Needed { generations: [3, 9].into(), ..Needed::default() };
        assert_eq!(gone(1, ANY_AGE, &later), ["a", "b", "c"], "they began with the newest");
    }

    #[test]
    fn what_is_broken_goes_and_counts_for_nothing() {
        let all = [kept("a", 100, 1, true), kept("b", 200, 1, true), kept("x", 900, 1, false)];
        let two = Retention { count: 2, age: ANY_AGE };
        assert_eq!(paths(&disposable(&all, two, &Needed::default(), NOW)), ["x"]);
        let one = Retention { count: 1, age: 10 };
        assert_eq!(paths(&disposable(&all, one, &Needed::default(), NOW)), ["a", "x"], "b can be restored");
    }

    fn all() -> impl Strategy<Value = Vec<Kept>> {
        proptest::collection::vec((0i64..1_000, 0u64..6, any::<bool>()), 0..20).prop_map(|all| {
            let make = |(n, (at, generation, restorable)): (usize, _)| {
                kept(&format!("p{n}"), at, generation, restorable)
            };
            all.into_iter().enumerate().map(make).collect()
        })
    }

    proptest! {
        #[test]
        fn a_job_can_always_be_restored(
            all in all(), count in 0usize..8, age in prop_oneof![0i64..1_000, Just(ANY_AGE)],
            generations in proptest::collection::btree_set(0u64..8, 0..3), named in 0usize..20
        ) {
            let needed = Needed { paths: [format!("p{named}")].into(), generations };
            let retention = Retention { count, age };
            let gone = disposable(&all, retention, &needed, NOW);
            let is_gone = |k: &Kept| gone.iter().any(|g| g.path == k.path);
            let left: Vec<Kept> = all.iter().filter(|k| !is_gone(k)).cloned().collect();

            let newest = all.iter().filter(|k| k.restorable).map(|k| k.at).max();
            prop_assert_eq!(left.iter().filter(|k| k.restorable).map(|k| k.at).max(), newest);
            prop_assert!(!gone.iter().any(|k| needed.paths.contains(&k.path)));
            for generation in &needed.generations {
                let of = |all: &[Kept]| {
                    all.iter().filter(|k| k.restorable && k.generation <= *generation).map(|k| (k.generation, k.at)).max()
                };
                prop_assert_eq!(of(&left), of(&all), "generation {} goes back to the same", generation);
            }
            prop_assert!(gone.windows(2).all(|w| w[0].at <= w[1].at), "oldest first");
            let useful = left.iter().filter(|k| k.restorable).count();
            prop_assert!(useful <= count.max(1) + needed.generations.len() + 1, "and no more is kept than that");
            // Once is enough, and the order in which they are told does not matter.
            prop_assert!(disposable(&left, retention, &needed, NOW).is_empty());
            let mut turned = all.clone();
            turned.reverse();
            prop_assert_eq!(paths(&disposable(&turned, retention, &needed, NOW)), paths(&gone));
        }
    }
}
