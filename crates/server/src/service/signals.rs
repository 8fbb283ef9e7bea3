//! Wake-ups: within this process at once, to the other replicas where there is a way. They carry no state, may
//! come twice and may be lost: whoever waits for one also looks periodically.

use libra_core::id::JobId;
use libra_store::signals::{Signal, Sink};
use tokio::sync::{Notify, broadcast};

use super::changes::{Changes, Watch};

/// Everybody who waits for something, here and elsewhere.
pub(crate) struct Signals {
    /// The scheduler: there may be room.
    pub(crate) room: Notify,
    /// The scheduler: there is one more who waits.
    pub(crate) queue: Notify,
    /// The leader: the log has new rows.
    pub(crate) logged: Notify,
    /// Readers of the feed: rows were numbered.
    pub(crate) fed: broadcast::Sender<()>,
    /// The supervisor: an attempt may wait to be claimed on this machine.
    pub(crate) claims: Notify,
    /// Whoever watches a job: it changed.
    changes: Changes,
    /// The way to the other replicas.
    others: Option<Sink>,
    /// This machine's name.
    machine: String,
}

impl Signals {
    pub(crate) fn new(machine: &str, others: Option<Sink>) -> Self {
        let (fed, _) = broadcast::channel(1);
        Self {
            room: Notify::new(),
            queue: Notify::new(),
            logged: Notify::new(),
            fed,
            claims: Notify::new(),
            changes: Changes::default(),
            others,
            machine: machine.to_owned(),
        }
    }

    /// Hears of every change of `job` from now on.
    pub(crate) fn watch(&self, job: JobId) -> Watch {
        self.changes.watch(job)
    }

    /// Whether there is anybody elsewhere to be told.
    pub(crate) fn others(&self, there: bool) {
        if let Some(others) = &self.others {
            others.others(there);
        }
    }

    /// Tells everybody, here and elsewhere.
    pub(crate) fn tell(&self, signal: Signal) {
        if let Some(others) = &self.others {
            others.send(signal.clone());
        }
        self.heard(signal);
    }

    /// Tells everybody here: the signal is this replica's own, or came from another.
    pub(crate) fn heard(&self, signal: Signal) {
        match signal {
            Signal::Room => self.room.notify_one(),
            Signal::Queue => self.queue.notify_one(),
            Signal::Logged => self.logged.notify_one(),
            Signal::Fed => {
                // Nobody waiting is fine.
                let _ = self.fed.send(());
            }
            Signal::Claim(machine) if machine == self.machine => self.claims.notify_one(),
            Signal::Claim(_) => {}
            Signal::Changed(job) => self.changes.tell(job),
            Signal::Everything => {
                self.room.notify_one();
                self.queue.notify_one();
                self.logged.notify_one();
                self.claims.notify_one();
                let _ = self.fed.send(());
                self.changes.tell_all();
            }
        }
    }
}
