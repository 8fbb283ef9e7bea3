//! What a changing set of processes has used, from figures that each of them takes along when it ends.

use std::collections::HashMap;

use crate::proc::process::Identity;

/// A process at one look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Which one.
    pub who: Identity,
    /// What it has used itself.
    pub own: u64,
    /// What its ended children had used, as far as it has waited for them.
    pub waited: u64,
}

/// A sum that never falls. What a child used is counted once: while it lives for itself, afterwards within its parent.
/// What a process took along for which nobody of the set has waited stays counted as it was last seen.
#[derive(Debug, Default)]
pub struct Tally {
    last: Option<HashMap<Identity, (u64, u64)>>,
    total: u64,
}

impl Tally {
    /// The sum after this look. `since`: when the look before was, in the clock ticks in which processes' starts are
    /// told; who is older and new in the set counts from now on.
    pub fn look(&mut self, now: &[Figures], since: u64) -> u64 {
        let figures = now.iter().map(|one| (one.who, (one.own, one.waited))).collect();
        let Some(mut last) = self.last.replace(figures) else {
            self.total =
                now.iter().fold(0, |sum, one| sum.saturating_add(one.own).saturating_add(one.waited));
            return self.total;
        };
        let (mut more, mut waited) = (0u64, 0u64);
        for one in now {
            match last.remove(&one.who) {
                Some(before) => {
                    more = more.saturating_add(one.own.saturating_sub(before.0));
                    waited = waited.saturating_add(one.waited.saturating_sub(before.1));
                }
                None if one.who.started >= since => {
                    more = more.saturating_add(one.own).saturating_add(one.waited);
                }
                None => {}
            }
        }
        // Who is left in `last` has ended, and what it had used by then is in `waited` a second time.
        let counted =
            last.values().fold(0u64, |sum, (own, waited)| sum.saturating_add(*own).saturating_add(*waited));
        more = more.saturating_add(waited.saturating_sub(counted));
        self.total = self.total.saturating_add(more);
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(pid: u32, own: u64, waited: u64) -> Figures {
        Figures { who: Identity { pid, started: u64::from(pid) }, own, waited }
    }

    #[test]
    fn what_a_child_used_counts_once() {
        let mut tally = Tally::default();
        assert_eq!(tally.look(&[one(1, 10, 5), one(2, 40, 0)], 0), 55);
        // The child has used 10 more, has ended, and was waited for.
        assert_eq!(tally.look(&[one(1, 12, 55)], 100), 67);
    }

    #[test]
    fn what_nobody_waited_for_stays_counted() {
        let mut tally = Tally::default();
        tally.look(&[one(1, 10, 0), one(2, 40, 0)], 0);
        assert_eq!(tally.look(&[one(1, 11, 0)], 100), 51);
    }

    #[test]
    fn who_is_new_counts_from_its_beginning_and_who_comes_along_from_now_on() {
        let mut tally = Tally::default();
        tally.look(&[one(1, 0, 0)], 0);
        assert_eq!(tally.look(&[one(1, 0, 0), one(150, 7, 0)], 100), 7, "it was started since");
        assert_eq!(
            tally.look(&[one(1, 0, 0), one(150, 7, 0), one(50, 900, 0)], 200),
            7,
            "it was there before"
        );
        assert_eq!(tally.look(&[one(1, 0, 0), one(150, 7, 0), one(50, 903, 0)], 300), 10);
    }

    #[test]
    fn a_pid_that_is_used_again_is_another_process() {
        let mut tally = Tally::default();
        tally.look(&[one(1, 50, 0)], 0);
        let again = Figures { who: Identity { pid: 1, started: 150 }, own: 3, waited: 0 };
        assert_eq!(tally.look(&[again], 100), 53);
    }

    proptest::proptest! {
        #[test]
        fn it_never_falls(looks in proptest::collection::vec(
            proptest::collection::vec((1u32..6, proptest::num::u64::ANY, proptest::num::u64::ANY), 0..5), 1..8,
        )) {
            let (mut tally, mut before) = (Tally::default(), 0);
            for look in looks {
                let figures: Vec<Figures> = look.into_iter().map(|(pid, own, waited)| one(pid, own, waited)).collect();
                let total = tally.look(&figures, 3);
                proptest::prop_assert!(total >= before);
                before = total;
            }
        }
    }
}
