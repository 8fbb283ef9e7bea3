//! When each deployment is looked at next.

use std::collections::{BTreeSet, HashMap};

use libra_store::tables::deployments::Name;

/// Names by time, in microseconds since 1970. Finding what is due costs what is due, however many others there are.
#[derive(Default)]
pub(super) struct Queue {
    times: HashMap<Name, i64>,
    ordered: BTreeSet<(i64, Name)>,
}

impl Queue {
    /// This one is due then, and at no other time.
    pub(super) fn put(&mut self, name: &Name, at: i64) {
        self.remove(name);
        self.times.insert(name.clone(), at);
        self.ordered.insert((at, name.clone()));
    }

    /// True when it was there.
    pub(super) fn remove(&mut self, name: &Name) -> bool {
        let Some((name, at)) = self.times.remove_entry(name) else { return false };
        self.ordered.remove(&(at, name))
    }

    /// Takes out one that is due.
    pub(super) fn pop_due(&mut self, now: i64) -> Option<Name> {
        if self.ordered.first()?.0 > now {
            return None;
        }
        let (_, name) = self.ordered.pop_first()?;
        self.times.remove(&name);
        Some(name)
    }

    /// When the first one is due.
    pub(super) fn next(&self) -> Option<i64> {
        self.ordered.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(id: &str) -> Name {
        Name { tenant: "t".to_owned(), id: id.to_owned() }
    }

    #[test]
    fn each_is_due_once_and_in_order() {
        let mut queue = Queue::default();
        for (id, at) in [("a", 30), ("b", 10), ("a", 20), ("c", 40)] {
            queue.put(&name(id), at);
        }
        assert_eq!(queue.next(), Some(10));
        assert_eq!(queue.pop_due(25), Some(name("b")));
        assert_eq!(queue.pop_due(25), Some(name("a")));
        assert_eq!(queue.pop_due(25), None, "one is due later");
        assert!(queue.remove(&name("c")));
        assert!(!queue.remove(&name("c")));
        assert_eq!((queue.next(), queue.pop_due(i64::MAX)), (None, None));
    }
}
