//! What goes on in the background. Every worker reads the world, acts, and records what came of it; it is safe
//! to run twice, together with itself, or never to be told anything.

mod attempt;
mod feed;
mod lease;
mod monitor;
mod scheduler;
mod supervisor;

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;

pub(crate) use lease::{LEASE, LEASE_SECONDS};
pub(crate) use supervisor::Supervisor;

use crate::service::Service;

/// Told when to stop.
#[derive(Clone)]
pub(crate) struct Shutdown(watch::Receiver<bool>);

impl Shutdown {
    pub(crate) fn new(receiver: watch::Receiver<bool>) -> Self {
        Self(receiver)
    }

    /// Returns when it is time to stop.
    pub(crate) async fn wait(&mut self) {
        // The sender going away means the same.
        let _ = self.0.wait_for(|stop| *stop).await;
    }

    pub(crate) fn is_now(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }
}

/// Starts all workers.
pub(crate) fn start(
    service: &Arc<Service>,
    shutdown: &Shutdown,
    lost_lease: watch::Sender<bool>,
) -> JoinSet<()> {
    let mut workers = JoinSet::new();
    let supervisor = Supervisor::new(Arc::clone(service), shutdown.clone());
    workers.spawn(scheduler::run(Arc::clone(service), Arc::clone(&supervisor), shutdown.clone()));
    workers.spawn(supervisor.run(shutdown.clone()));
    workers.spawn(feed::run(Arc::clone(service), shutdown.clone()));
    workers.spawn(monitor::run(Arc::clone(service), shutdown.clone()));
    workers.spawn(lease::run(Arc::clone(service), shutdown.clone(), lost_lease));
    workers
}
