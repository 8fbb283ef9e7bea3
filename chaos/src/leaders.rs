//! Watching the replicas' leases as the API shows them: epochs only grow, and an epoch is one replica's.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use libra_api::client::Client;
use libra_api::views::ReplicaView;
use tokio::time::sleep;

use crate::callers::{Callers, random};

const LOOK: Duration = Duration::from_millis(500);

/// What was seen so far.
#[derive(Debug)]
pub(crate) struct Leaders {
    /// When the run began, microseconds since the Unix epoch.
    pub(crate) begun: i64,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// The greatest epoch of each replica.
    replicas: BTreeMap<String, i64>,
    /// Who led in each epoch.
    leaders: BTreeMap<i64, String>,
}

impl Leaders {
    pub(crate) fn new(begun: i64) -> Self {
        Self { begun, seen: Mutex::default() }
    }

    /// Looks again and again, for ever. One look after the other: each sees at least what the one before saw.
    pub(crate) async fn watch(&self, callers: &Callers, seed: u64) {
        let mut dice = random(seed, 4);
        loop {
            let look = callers.once(&mut dice, async |client: Client| client.replicas().await);
            if let Some(Ok(view)) = look.await {
                for wrong in self.see(&view.replicas) {
                    callers.ledger.wrong(wrong);
                }
            }
            sleep(LOOK).await;
        }
    }

    /// Compares with what was seen before; answers what is wrong.
    fn see(&self, replicas: &[ReplicaView]) -> Vec<String> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut wrong = Vec::new();
        for replica in replicas {
            let before = seen.replicas.insert(replica.id.clone(), replica.epoch);
            if before.is_some_and(|before| before > replica.epoch) {
                wrong.push(format!(
                    "the epoch of {} went back from {before:?} to {}",
                    replica.id, replica.epoch
                ));
            }
            let Some(epoch) = replica.leader_epoch.filter(|_| replica.leader) else { continue };
            let last = seen.leaders.last_key_value().map(|(epoch, _)| *epoch);
            if last.is_some_and(|last| last > epoch) {
                wrong.push(format!("the leader's epoch went back from {last:?} to {epoch} ({})", replica.id));
            }
            let known = seen.leaders.entry(epoch).or_insert_with(|| replica.id.clone());
            if *known != replica.id {
                wrong.push(format!("{known} and {} both led in epoch {epoch}", replica.id));
            }
        }
        let leaders = replicas.iter().filter(|r| r.leader).count();
        if leaders > 1 {
            wrong.push(format!("{leaders} leaders at once"));
        }
        wrong
    }

    /// The greatest epoch of a leader that was seen.
    pub(crate) fn epoch(&self) -> Option<i64> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.leaders.last_key_value().map(|(epoch, _)| *epoch)
    }

    /// Who leads at present, by any replica's word.
    pub(crate) async fn now(&self, callers: &Callers) -> Option<String> {
        let mut dice = random(rand::random(), 5);
        let view = callers.once(&mut dice, async |client: Client| client.replicas().await).await?.ok()?;
        view.replicas.into_iter().find(|r| r.leader).map(|r| r.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(id: &str, epoch: i64, leader_epoch: Option<i64>) -> ReplicaView {
        ReplicaView {
            id: id.to_owned(),
            epoch,
            leader: leader_epoch.is_some(),
            leader_epoch,
            alive: true,
            heartbeat_age_seconds: None,
            attempts_held: 0,
            host: String::new(),
            address: String::new(),
            version: String::new(),
            cpu_cores: 1,
            memory_gb: 1.0,
            started_at: String::new(),
        }
    }

    #[test]
    fn epochs_only_grow() {
        let leaders = Leaders::new(0);
        let none = Vec::<String>::new();
        assert_eq!(leaders.see(&[replica("a", 1, Some(1)), replica("b", 1, None)]), none);
        assert_eq!(leaders.see(&[replica("a", 1, None), replica("b", 1, Some(2))]), none);
        assert_eq!(leaders.epoch(), Some(2));
        assert_eq!(leaders.see(&[replica("a", 1, Some(2))]).len(), 1, "one epoch, two leaders");
        assert_eq!(leaders.see(&[replica("a", 1, Some(1))]).len(), 1, "an old leader");
        assert_eq!(leaders.see(&[replica("a", 0, None)]).len(), 1, "an old life");
        assert_eq!(
            leaders.see(&[replica("a", 3, Some(3)), replica("b", 3, Some(3))]).len(),
            2,
            "two leaders"
        );
    }
}
