//! What goes on in the background. Every worker reads the world, acts, and records what came of it; it is safe
//! to run twice, together with itself, or never to be told anything.

mod attempt;
mod clusters;
mod credentials;
mod deployments;
mod exchange;
mod feed;
mod follow;
mod hand_off;
mod heartbeat;
mod hpc;
mod hpc_figures;
mod hpc_mock;
mod hpc_verdicts;
mod lost_hosts;
mod monitor;
mod programs;
mod reload;
mod retention;
mod scheduler;
mod slurm;
mod stragglers;
mod supervisor;
mod webhooks;

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;

pub(crate) use exchange::exchange_signals;
pub(crate) use heartbeat::{begin, elsewhere};
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
    let mut workers = start_lifecycle(service, shutdown, lost_lease);
    workers.spawn(monitor::run(Arc::clone(service), shutdown.clone()));
    workers.spawn(follow::run(Arc::clone(service), shutdown.clone()));
    workers.spawn(reload::run(Arc::clone(service), shutdown.clone()));
    workers.spawn(credentials::run(Arc::clone(service), shutdown.clone()));
    workers.spawn(clusters::run(Arc::clone(service), shutdown.clone()));
    workers.spawn(deployments::run(Arc::clone(service), shutdown.clone()));
    workers.spawn(programs::run(Arc::clone(service), shutdown.clone()));
    workers.spawn(webhooks::run(Arc::clone(service), shutdown.clone()));
    workers.spawn(slurm::run(Arc::clone(service), shutdown.clone()));
    workers.spawn(hpc::run(Arc::clone(service), shutdown.clone()));
    workers.spawn(hpc_figures::run(Arc::clone(service), shutdown.clone()));
    workers.spawn(hpc_mock::run(Arc::clone(service), shutdown.clone()));
    workers.spawn(hpc_verdicts::run(Arc::clone(service), shutdown.clone()));
    workers.spawn(retention::run(Arc::clone(service), shutdown.clone()));
    workers.spawn(stragglers::run(Arc::clone(service), shutdown.clone()));
    workers
}

/// Starts the workers that jobs need to live and end: no files and no network of their own.
pub(crate) fn start_lifecycle(
    service: &Arc<Service>,
    shutdown: &Shutdown,
    lost_lease: watch::Sender<bool>,
) -> JoinSet<()> {
    let mut workers = JoinSet::new();
    let supervisor = Supervisor::new(Arc::clone(service), shutdown.clone());
    workers.spawn(scheduler::run(Arc::clone(service), Arc::clone(&supervisor), shutdown.clone()));
    if let Some(redis) = &service.redis {
        workers.spawn(hand_off::run(Arc::clone(redis), Arc::clone(&supervisor), shutdown.clone()));
    }
    workers.spawn(supervisor.run(shutdown.clone()));
    workers.spawn(feed::run(Arc::clone(service), shutdown.clone()));
    workers.spawn(lost_hosts::run(Arc::clone(service), shutdown.clone()));
    workers.spawn(heartbeat::run(Arc::clone(service), shutdown.clone(), lost_lease));
    workers
}
