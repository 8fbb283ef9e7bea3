//! The deployments of one cluster: which of them are looked at, and when.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use libra_core::deployment::reconcile::{Breaker, Reply};
use libra_core::time::{MICROS_PER_SECOND, Timestamp};
use libra_engines::flink::Look;
use libra_store::StoreError;
use libra_store::tables::deployments::{self, Name};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::super::Shutdown;
use super::attend::{Attended, Standing, Task, attend};
use super::effects::Removals;
use crate::flink::FlinkCluster;
use crate::service::Service;
use crate::telemetry::flink as figures;

/// Changes are looked for this often, besides when this process is told of them.
const PERIOD: Duration = Duration::from_secs(1);
/// A deployment of which nothing else is known is looked at after this long, in microseconds.
pub(super) const USUAL: i64 = 5 * MICROS_PER_SECOND;
/// One that could not be looked at, in microseconds.
const TRY_AGAIN: i64 = MICROS_PER_SECOND;
/// The cluster has this long to answer what concerns all deployments.
const LOOK_PATIENCE: Duration = Duration::from_secs(20);
/// Deployments that are looked at, or for which something is done, at one time.
const AT_ONCE: usize = 64;

/// Keeps the deployments of one cluster, while this replica leads.
pub(super) struct Keeper {
    service: Arc<Service>,
    cluster: Arc<FlinkCluster>,
    epoch: i64,
    breaker: Breaker,
    known: HashMap<Name, Known>,
    under_way: JoinSet<Attended>,
    places: Arc<Semaphore>,
}

/// What is remembered of a deployment between two looks. A restart forgets it, and loses only time.
#[derive(Default)]
struct Known {
    version: i64,
    revision: i64,
    /// When it is looked at next, in microseconds since 1970.
    due: i64,
    busy: bool,
    /// It was told that the cluster does not answer.
    silent: bool,
    reply: Option<Reply>,
    removals: Removals,
    started: Option<Timestamp>,
    standing: Option<Standing>,
}

impl Keeper {
    pub(super) fn new(service: Arc<Service>, cluster: Arc<FlinkCluster>, epoch: i64) -> Self {
        Self {
            service,
            cluster,
            epoch,
            breaker: Breaker::default(),
            known: HashMap::new(),
            under_way: JoinSet::new(),
            places: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// Keeps them until it is time to stop, or another leads. What is under way then is left: everything that was asked
    /// for is in the rows.
    pub(super) async fn keep(mut self, shutdown: Shutdown) {
        self.keep_while_it_leads(shutdown).await;
        self.service.metrics.flink.leaves(&self.cluster.name);
    }

    async fn keep_while_it_leads(&mut self, mut shutdown: Shutdown) {
        while self.service.leader_epoch() == Some(self.epoch) {
            if let Err(error) = self.notice_changes().await {
                tracing::warn!(%error, "deployments could not be read; trying again");
            }
            self.look_at_what_is_due().await;
            let wait = self.until_next();
            tokio::select! {
                () = shutdown.wait() => return,
                () = self.cluster.wake.notified() => {}
                Some(done) = self.under_way.join_next() => self.take_in(done.ok()),
                () = sleep(wait) => {}
            }
            while let Some(done) = self.under_way.try_join_next() {
                self.take_in(done.ok());
            }
        }
    }

    /// New deployments, and those that somebody has changed, are due at once.
    async fn notice_changes(&mut self) -> Result<(), StoreError> {
        let heads = self.service.db.read(deployments::heads).await?;
        let now = self.service.clock.now().0;
        let mut there = HashMap::with_capacity(heads.len());
        for (name, cluster, version, revision) in heads {
            if cluster != self.cluster.name {
                continue;
            }
            let mut known = self.known.remove(&name).unwrap_or_default();
            if known.version != version || known.revision != revision {
                known.due = now;
                (known.version, known.revision) = (version, revision);
            }
            there.insert(name, known);
        }
        for name in self.cluster.news() {
            match there.get_mut(&name) {
                // What is under way may have seen it, or not: it is looked at once more.
                Some(known) if known.busy => self.cluster.keep_news_of(name),
                Some(known) => known.due = now,
                None => {}
            }
        }
        // What is under way for one that is gone finds no row.
        let gone = !self.known.is_empty();
        self.known = there;
        if gone {
            self.show();
        }
        Ok(())
    }

    async fn look_at_what_is_due(&mut self) {
        let now = self.service.clock.now();
        let mut due = self.names(|known| known.due <= now.0);
        if due.is_empty() {
            return;
        }
        if !self.breaker.may_ask(now) {
            return self.later(&due, now);
        }
        let asked = timeout(LOOK_PATIENCE, Look::at(&self.cluster.flink)).await;
        let look = match asked {
            Ok(Ok(look)) => {
                self.breaker.answered();
                self.cluster.learn(look.settings().clone());
                Ok(Arc::new(look))
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no answer in time".to_owned()),
        };
        self.service.metrics.flink.health(&self.cluster.name, look.is_ok());
        if let Err(why) = &look {
            tracing::debug!(cluster = self.cluster.name, why, "the cluster does not answer");
            self.breaker.failed(self.service.clock.now(), self.service.clock.jitter());
            // All are told, whenever they are due: none of them is seen now.
            due.extend(self.names(|known| known.due > now.0 && !known.silent));
        }
        for name in due {
            let Some(known) = self.known.get_mut(&name) else { continue };
            known.busy = true;
            known.silent = look.is_err();
            let task = Task {
                name,
                look: look.clone(),
                looked_at: self.service.clock.now(),
                reply: known.reply.clone(),
                removals: known.removals.clone(),
                epoch: self.epoch,
                started: known.started,
            };
            let (service, cluster) = (Arc::clone(&self.service), Arc::clone(&self.cluster));
            self.under_way.spawn(attend(service, cluster, Arc::clone(&self.places), task));
        }
    }

    /// Those that nobody works on and of which this holds.
    fn names(&self, of: impl Fn(&Known) -> bool) -> Vec<Name> {
        self.known
            .iter()
            .filter(|(_, known)| !known.busy && of(known))
            .map(|(name, _)| name.clone())
            .collect()
    }

    fn later(&mut self, names: &[Name], now: Timestamp) {
        for name in names {
            if let Some(known) = self.known.get_mut(name) {
                known.due = now.0.saturating_add(TRY_AGAIN);
            }
        }
    }

    fn take_in(&mut self, done: Option<Attended>) {
        let Some(done) = done else {
            self.service.metrics.flink.reconciled(0.0, false);
            // A look that panicked says not whose it was: all are looked at again.
            tracing::error!(cluster = self.cluster.name, "a look at a deployment has failed");
            for known in self.known.values_mut() {
                known.busy = false;
            }
            return;
        };
        let Some(known) = self.known.get_mut(&done.name) else { return };
        known.busy = false;
        known.due = done.due.map_or_else(|| self.service.clock.now().0.saturating_add(TRY_AGAIN), |at| at.0);
        if let Some(revision) = done.revision {
            known.revision = revision;
        }
        if let Some((reply, removals)) = done.heard {
            known.reply = reply;
            known.removals = removals;
        }
        known.started = done.started.or(known.started);
        known.standing = done.standing.or(known.standing);
        self.show();
    }

    /// The figures of this cluster's deployments.
    fn show(&self) {
        let mut all = figures::Standing::default();
        let now = self.service.clock.now();
        for standing in self.known.values().filter_map(|known| known.standing) {
            if standing.lives {
                *all.active.entry(figures::type_word(standing.job_type)).or_default() += 1;
            }
            let age = standing.saved_at.map(|at| now.seconds_since(at));
            all.savepoint_age = [all.savepoint_age, age].into_iter().flatten().reduce(f64::max);
        }
        self.service.metrics.flink.stands(&self.cluster.name, &all);
    }

    /// How long nothing is due.
    fn until_next(&self) -> Duration {
        let now = self.service.clock.now().0;
        let next = self.known.values().filter(|known| !known.busy).map(|known| known.due).min();
        let micros = next.map_or(i64::MAX, |next| next.saturating_sub(now));
        u64::try_from(micros).map_or(Duration::ZERO, Duration::from_micros).min(PERIOD)
    }
}
