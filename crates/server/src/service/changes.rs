//! Who waits for a change of which job: a change wakes those who wait for that job, and nobody else.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use libra_core::id::JobId;
use tokio::sync::Notify;

/// The jobs that somebody watches.
#[derive(Clone, Default)]
pub(crate) struct Changes {
    watched: Arc<Mutex<BTreeMap<JobId, Watched>>>,
}

/// A job, as long as somebody watches it.
#[derive(Default)]
struct Watched {
    watches: usize,
    bell: Arc<Bell>,
}

/// Rings when a job has changed. Wakes those who wait in the order in which they came, so that a simulation is the same
/// every time.
#[derive(Default)]
struct Bell {
    rung: AtomicU64,
    waiting: Notify,
}

/// Hears of the changes of one job, until it is dropped.
pub(crate) struct Watch {
    job: JobId,
    bell: Arc<Bell>,
    /// What was told.
    told: u64,
    changes: Changes,
}

impl Changes {
    /// Hears of every change of `job` from now on.
    pub(crate) fn watch(&self, job: JobId) -> Watch {
        let mut watched = self.watched();
        let there = watched.entry(job).or_default();
        there.watches += 1;
        let bell = Arc::clone(&there.bell);
        let told = bell.rung.load(Ordering::Acquire);
        Watch { job, bell, told, changes: self.clone() }
    }

    /// `job` has changed.
    pub(crate) fn tell(&self, job: JobId) {
        let bell = self.watched().get(&job).map(|there| Arc::clone(&there.bell));
        if let Some(bell) = bell {
            bell.ring();
        }
    }

    /// Any job may have changed.
    pub(crate) fn tell_all(&self) {
        let bells: Vec<_> = self.watched().values().map(|there| Arc::clone(&there.bell)).collect();
        for bell in bells {
            bell.ring();
        }
    }

    fn watched(&self) -> MutexGuard<'_, BTreeMap<JobId, Watched>> {
        // Nothing panics while it is held; even then the map would be whole.
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bell {
    fn ring(&self) {
        self.rung.fetch_add(1, Ordering::Release);
        self.waiting.notify_waiters();
    }
}

impl Watch {
    /// Waits until the job may have changed since the last call; says how often it has.
    pub(crate) async fn changed(&mut self) -> u64 {
        loop {
            // Before looking: it hears of whatever rings from here on.
            let next = self.bell.waiting.notified();
            let rung = self.bell.rung.load(Ordering::Acquire);
            if rung != self.told {
                return rung - std::mem::replace(&mut self.told, rung);
            }
            next.await;
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut watched = self.changes.watched();
        if let Some(there) = watched.get_mut(&self.job) {
            there.watches -= 1;
            if there.watches == 0 {
                watched.remove(&self.job);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use libra_core::time::Timestamp;

    use super::*;

    fn job(n: u8) -> JobId {
        JobId::new(Timestamp(1_000), [n; 10])
    }

    #[test]
    fn a_change_is_heard_by_those_who_watch_the_job() {
        let changes = Changes::default();
        let (mut one, mut too, mut other) =
            (changes.watch(job(1)), changes.watch(job(1)), changes.watch(job(2)));
        assert_eq!(one.changed().now_or_never(), None);
        changes.tell(job(1));
        changes.tell(job(1));
        changes.tell(job(3));
        assert_eq!(one.changed().now_or_never(), Some(2));
        assert_eq!(one.changed().now_or_never(), None);
        assert_eq!((too.changed().now_or_never(), other.changed().now_or_never()), (Some(2), None));
        changes.tell_all();
        assert_eq!((one.changed().now_or_never(), other.changed().now_or_never()), (Some(1), Some(1)));
        // Whoever comes later hears of what comes later.
        assert_eq!(changes.watch(job(1)).changed().now_or_never(), None);
    }

    #[test]
    fn those_who_wait_are_woken_in_the_order_in_which_they_came() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let order = runtime.block_on(async {
            let (changes, order) = (Changes::default(), Arc::new(Mutex::new(Vec::new())));
            let waiting = (0..20).map(|n| {
                let (mut watch, order) = (changes.watch(job(1)), Arc::clone(&order));
                tokio::spawn(async move {
                    watch.changed().await;
                    order.lock().unwrap().push(n);
                })
            });
            let waiting: Vec<_> = waiting.collect();
            tokio::task::yield_now().await;
            changes.tell(job(1));
            for task in waiting {
                task.await.unwrap();
            }
            Arc::into_inner(order).unwrap().into_inner().unwrap()
        });
        assert_eq!(order, (0..20).collect::<Vec<_>>());
    }

    #[test]
    fn nothing_is_kept_of_a_job_that_nobody_watches() {
        let changes = Changes::default();
        let (one, too) = (changes.watch(job(1)), changes.watch(job(1)));
        drop(one);
        assert_eq!(changes.watched().len(), 1);
        drop(too);
        assert_eq!(changes.watched().len(), 0);
        std::thread::scope(|threads| {
            for n in 0..4 {
                let changes = &changes;
                threads.spawn(move || (0..500).for_each(|_| drop(changes.watch(job(n % 2)))));
            }
        });
        assert_eq!(changes.watched().len(), 0, "nor when they leave at the same moment");
    }
}
