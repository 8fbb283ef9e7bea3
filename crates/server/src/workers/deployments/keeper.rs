//! The deployments of one cluster: which of them are looked at, and when.
//!
//! One that is due waits for the next look at the cluster, which does for all that are due; then somebody attends to it.
//! Invariant: whoever is attended to was at rest when the look began that is used for it, so that look has seen whatever
//! was done before.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use libra_core::deployment::reconcile::Breaker;
use libra_core::id::JobId;
use libra_core::time::{MICROS_PER_SECOND, Timestamp};
use libra_engines::flink::Look;
use libra_store::StoreError;
use libra_store::tables::deployment_turns;
use libra_store::tables::deployments::{self, Head, Name};
use tokio::task::{Id, JoinSet};
use tokio::time::{sleep, timeout};

use super::super::Shutdown;
use super::attend::{Attended, Standings, Task, attend};
use super::known::{Known, Stage, figures};
use super::queue::Queue;
use super::requests::{Answered, Asked, Letter, Places, send};
use crate::flink::FlinkCluster;
use crate::service::Service;

/// Changes are looked for this often, besides when this process is told of them, in microseconds.
const PERIOD: i64 = MICROS_PER_SECOND;
/// One that could not be looked at, in microseconds.
const TRY_AGAIN: i64 = MICROS_PER_SECOND;
/// One that found no place for what takes long, where none becomes free before, in microseconds.
const PLACE_AGAIN: i64 = 5 * MICROS_PER_SECOND;
/// The cluster has this long to answer what concerns all deployments.
const LOOK_PATIENCE: Duration = Duration::from_secs(20);
/// The shortest time from one such question to the next, in microseconds.
const LOOK_EVERY: i64 = MICROS_PER_SECOND / 20;
/// The cluster is left alone as long as the last such question took it, but no longer than this, in microseconds.
const LOOK_PAUSE: i64 = MICROS_PER_SECOND;
/// A look that is older than this when its turn comes is not used, in microseconds.
const FRESH: i64 = 10 * MICROS_PER_SECOND;
/// Deployments that are looked at at one time.
const AT_ONCE: usize = 256;
/// Requests that take long, at one time.
const LONG_AT_ONCE: usize = 256;

/// Keeps the deployments of one cluster, while this replica leads.
pub(super) struct Keeper {
    service: Arc<Service>,
    cluster: Arc<FlinkCluster>,
    epoch: i64,
    breaker: Breaker,
    known: HashMap<Name, Known>,
    /// Those at rest, by their time.
    queue: Queue,
    /// Those that wait for the next look.
    due: Vec<Name>,
    /// The look under way, and for whom.
    looking: JoinSet<Looked>,
    for_whom: Vec<Name>,
    /// No look begins before, in microseconds since 1970.
    next_look: i64,
    /// Those that were looked for.
    seen: VecDeque<(Name, Arc<Looked>)>,
    under_way: JoinSet<Attended>,
    attended: HashMap<Id, Name>,
    places: Places,
    requests: JoinSet<Answered>,
    requested: HashMap<Id, (Name, Asked)>,
    /// Those that found no place for what takes long.
    placeless: VecDeque<Name>,
    /// When all rows are read next, in microseconds since 1970.
    next_read: i64,
}

/// A look at the cluster.
struct Looked {
    look: Result<Arc<Look>, String>,
    began: Timestamp,
    /// How the jobs are that stand for runs of those for whom it was taken: read together, since most of them rest.
    jobs: Arc<Standings>,
}

impl Keeper {
    pub(super) fn new(service: Arc<Service>, cluster: Arc<FlinkCluster>, epoch: i64) -> Self {
        Self {
            service,
            cluster,
            epoch,
            breaker: Breaker::default(),
            known: HashMap::new(),
            queue: Queue::default(),
            due: Vec::new(),
            looking: JoinSet::new(),
            for_whom: Vec::new(),
            next_look: 0,
            seen: VecDeque::new(),
            under_way: JoinSet::new(),
            attended: HashMap::new(),
            places: Places::new(LONG_AT_ONCE),
            requests: JoinSet::new(),
            requested: HashMap::new(),
            placeless: VecDeque::new(),
            next_read: 0,
        }
    }

    /// Keeps them until it is time to stop, or another leads. What is under way then is left: everything that was asked
    /// for is in the rows.
    pub(super) async fn keep(mut self, shutdown: Shutdown) {
        self.keep_while_it_leads(shutdown).await;
        self.service.metrics.flink.leaves(&self.cluster.name);
    }

    async fn keep_while_it_leads(&mut self, mut shutdown: Shutdown) {
        let cluster = Arc::clone(&self.cluster);
        while self.service.leader_epoch() == Some(self.epoch) {
            if let Err(error) = self.notice_changes().await {
                tracing::warn!(%error, "deployments could not be read; trying again");
            }
            self.gather_due();
            self.begin_look();
            self.attend_to_seen();
            let wait = self.until_next();
            tokio::select! {
                () = shutdown.wait() => return,
                () = cluster.wake.rung() => {}
                Some(looked) = self.looking.join_next() => self.take_look(looked.ok()),
                Some(done) = self.under_way.join_next_with_id() => self.take_in(done),
                Some(done) = self.requests.join_next_with_id() => self.take_answer(done),
                () = sleep(wait) => {}
            }
            while let Some(done) = self.under_way.try_join_next_with_id() {
                self.take_in(done);
            }
            while let Some(done) = self.requests.try_join_next_with_id() {
                self.take_answer(done);
            }
        }
    }

    /// New deployments, and those that somebody has changed, are due at once: all are read now and then, and those of
    /// which this process was told at once.
    async fn notice_changes(&mut self) -> Result<(), StoreError> {
        let told = self.cluster.wake.take();
        let read = self.read_changes(&told).await;
        for name in told {
            self.look_soon(&name);
        }
        read
    }

    async fn read_changes(&mut self, told: &BTreeSet<Name>) -> Result<(), StoreError> {
        let now = self.service.clock.now();
        let cluster = self.cluster.name.clone();
        if now.0 < self.next_read {
            if told.is_empty() {
                return Ok(());
            }
            let told = told.clone();
            let read = move |tx: &mut dyn libra_store::tx::Tx| {
                let mut heads = Vec::with_capacity(told.len());
                for name in told {
                    heads.extend(deployments::head(tx, &cluster, &name)?.map(|head| (name, head)));
                }
                Ok(heads)
            };
            for (name, head) in self.service.db.read(read).await? {
                self.notice(name, head);
            }
            return Ok(());
        }
        let heads = self.service.db.read(move |tx| deployments::heads(tx, &cluster)).await?;
        self.next_read = now.0.saturating_add(PERIOD);
        let there: HashSet<Name> = heads.iter().map(|(name, _)| name.clone()).collect();
        for (name, head) in heads {
            self.notice(name, head);
        }
        for (name, known) in &mut self.known {
            known.gone = !there.contains(name);
            if known.gone {
                self.queue.remove(name);
            }
        }
        // Who is attended to may not be doubled by one of the same name that comes back.
        self.known.retain(|_, known| !known.gone || known.stage != Stage::Idle);
        let figures = figures(self.known.values(), now);
        self.service.metrics.flink.stands(&self.cluster.name, &figures);
        Ok(())
    }

    fn notice(&mut self, name: Name, head: Head) {
        let now = self.service.clock.now();
        match self.known.get_mut(&name) {
            Some(known) if known.head == head => {}
            Some(known) => {
                known.head = head;
                if known.stage == Stage::Idle {
                    self.queue.put(&name, now.0);
                }
            }
            None => {
                self.queue.put(&name, now.0);
                self.known.insert(name, Known { head, ..Known::default() });
            }
        }
    }

    /// Something has happened to it that its row does not tell, such as that its turn has come.
    fn look_soon(&mut self, name: &Name) {
        let now = self.service.clock.now();
        if let Some(known) = self.known.get_mut(name) {
            match known.stage {
                Stage::Idle => self.queue.put(name, now.0),
                Stage::Due => {}
                // The look that is taken may be older than the news.
                Stage::Attended => known.again = true,
            }
        }
    }

    fn gather_due(&mut self) {
        let now = self.service.clock.now();
        while let Some(name) = self.queue.pop_due(now.0) {
            self.make_due(name);
        }
    }

    fn make_due(&mut self, name: Name) {
        if let Some(known) = self.known.get_mut(&name) {
            known.stage = Stage::Due;
            self.due.push(name);
        }
    }

    /// Asks the cluster for those that are due.
    fn begin_look(&mut self) {
        let now = self.service.clock.now();
        if self.due.is_empty() || !self.looking.is_empty() || now.0 < self.next_look {
            return;
        }
        if !self.breaker.may_ask(now) {
            self.next_look = now.0.saturating_add(TRY_AGAIN);
            return;
        }
        self.for_whom = std::mem::take(&mut self.due);
        self.stage(Stage::Attended);
        let (service, cluster) = (Arc::clone(&self.service), Arc::clone(&self.cluster));
        let jobs = self.jobs();
        self.looking.spawn(async move {
            let jobs = service.db.read(move |tx| deployment_turns::standings(tx, &jobs));
            let (look, jobs) = tokio::join!(timeout(LOOK_PATIENCE, Look::at(&cluster.flink)), jobs);
            let look = match look {
                Ok(Ok(look)) => Ok(Arc::new(look)),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err("no answer in time".to_owned()),
            };
            // Whoever finds nothing here asks for itself.
            Looked { look, began: now, jobs: Arc::new(jobs.unwrap_or_default()) }
        });
    }

    /// The jobs that stand for runs of those for whom a look is taken, as far as their rows are known.
    fn jobs(&self) -> Vec<JobId> {
        let stored = self.for_whom.iter().filter_map(|name| self.known.get(name)?.stored.as_ref());
        stored.filter_map(|stored| Some(stored.deployment.log.turn?.job)).collect()
    }

    /// Of those for whom a look is taken.
    fn stage(&mut self, stage: Stage) {
        for name in &self.for_whom {
            if let Some(known) = self.known.get_mut(name) {
                known.stage = stage;
            }
        }
    }

    fn take_look(&mut self, looked: Option<Looked>) {
        let Some(looked) = looked else {
            tracing::error!(cluster = self.cluster.name, "a look at the cluster has failed");
            // What fails at once would fail again at once.
            self.next_look = self.service.clock.now().0.saturating_add(TRY_AGAIN);
            self.stage(Stage::Due);
            self.due.append(&mut self.for_whom);
            return;
        };
        let now = self.service.clock.now();
        let took = now.0.saturating_sub(looked.began.0).max(0);
        self.next_look =
            now.0.saturating_add(took.min(LOOK_PAUSE)).max(looked.began.0.saturating_add(LOOK_EVERY));
        match &looked.look {
            Ok(look) => {
                self.breaker.answered();
                self.cluster.learn(look.settings().clone());
            }
            Err(why) => {
                tracing::debug!(cluster = self.cluster.name, why, "the cluster does not answer");
                self.breaker.failed(now, self.service.clock.jitter());
                // All are told, whenever they are due: none of them is seen now.
                let untold = |known: &Known| known.stage == Stage::Idle && !known.silent && !known.gone;
                let untold = self.known.iter().filter(|(_, known)| untold(known));
                let untold: Vec<Name> = untold.map(|(name, _)| name.clone()).collect();
                for name in untold {
                    self.queue.remove(&name);
                    self.for_whom.push(name);
                }
                self.stage(Stage::Attended);
            }
        }
        self.service.metrics.flink.health(&self.cluster.name, looked.look.is_ok());
        let looked = Arc::new(looked);
        let names = std::mem::take(&mut self.for_whom);
        self.seen.extend(names.into_iter().map(|name| (name, Arc::clone(&looked))));
    }

    fn attend_to_seen(&mut self) {
        let now = self.service.clock.now();
        let mut too_old = Vec::new();
        while self.under_way.len() < AT_ONCE
            && let Some((name, looked)) = self.seen.pop_front()
        {
            if now.0.saturating_sub(looked.began.0) > FRESH && looked.look.is_ok() {
                too_old.push(name);
            } else {
                self.attend_to(name, &looked);
            }
        }
        if !too_old.is_empty() {
            // They have waited longest.
            let younger = std::mem::take(&mut self.due);
            for name in too_old.into_iter().chain(younger) {
                self.make_due(name);
            }
        }
    }

    fn attend_to(&mut self, name: Name, looked: &Looked) {
        let beside = self.known.len();
        let Some(known) = self.known.get_mut(&name) else { return };
        known.silent = looked.look.is_err();
        let task = Task {
            name: name.clone(),
            head: known.head,
            stored: known.stored.take(),
            look: looked.look.clone(),
            jobs: Arc::clone(&looked.jobs),
            pages: known.pages.take(),
            beside,
            reply: known.reply.clone(),
            asked: known.asked.clone(),
            removals: known.removals.clone(),
            epoch: self.epoch,
            started: known.started,
            places: self.places.clone(),
        };
        let (service, cluster) = (Arc::clone(&self.service), Arc::clone(&self.cluster));
        let id = self.under_way.spawn(attend(service, cluster, task)).id();
        self.attended.insert(id, name);
    }

    fn take_in(&mut self, done: Result<(Id, Attended), tokio::task::JoinError>) {
        let (id, mut done) = done.unwrap_or_else(|error| {
            self.service.metrics.flink.reconciled(0.0, false);
            tracing::error!(cluster = self.cluster.name, "a look at a deployment has failed");
            (error.id(), Attended::default())
        });
        let Some(name) = self.attended.remove(&id) else { return };
        if let Some((request, since, place)) = done.request.take() {
            let asked = request.asked();
            let letter = Letter { name: name.clone(), request, since, epoch: self.epoch, place };
            let (service, cluster) = (Arc::clone(&self.service), Arc::clone(&self.cluster));
            let id = self.requests.spawn(send(service, cluster, letter)).id();
            self.requested.insert(id, (name.clone(), asked));
            if let Some(known) = self.known.get_mut(&name) {
                known.asked.push(asked);
            }
        }
        let now = self.service.clock.now();
        let Some(known) = self.known.get_mut(&name) else { return };
        let (failed, placeless) = (done.due.is_none(), done.waits_for_place);
        let due = known.take_in(done);
        if known.gone {
            self.known.remove(&name);
            return;
        }
        let at = match due {
            _ if failed => now.0.saturating_add(TRY_AGAIN),
            Some(_) if placeless => {
                // It may have asked before.
                if !self.placeless.contains(&name) {
                    self.placeless.push_back(name.clone());
                }
                now.0.saturating_add(PLACE_AGAIN)
            }
            Some(at) => at.0,
            None => now.0,
        };
        self.queue.put(&name, at);
    }

    fn take_answer(&mut self, done: Result<(Id, Answered), tokio::task::JoinError>) {
        let (id, answered) = match done {
            Ok((id, answered)) => (id, Some(answered)),
            Err(error) => {
                tracing::error!(cluster = self.cluster.name, "a request to the cluster has failed");
                (error.id(), None)
            }
        };
        let now = self.service.clock.now();
        let Some((name, asked)) = self.requested.remove(&id) else { return };
        // A place is free for somebody else, and a program is there for all who waited for it.
        let many = if asked == Asked::Upload { self.placeless.len() } else { 1 };
        for next in self.placeless.drain(..many.min(self.placeless.len())) {
            if self.queue.remove(&next) {
                self.queue.put(&next, now.0);
            }
        }
        let Some(known) = self.known.get_mut(&name) else { return };
        let answered = answered.unwrap_or(Answered { asked, reply: None });
        match known.stage {
            Stage::Attended => known.answered.push(answered),
            Stage::Due => known.hear(answered),
            Stage::Idle => {
                known.hear(answered);
                self.queue.put(&name, now.0);
            }
        }
    }

    /// How long there is nothing to do.
    fn until_next(&self) -> Duration {
        let look = (!self.due.is_empty() && self.looking.is_empty()).then_some(self.next_look);
        let next = [self.queue.next(), look, Some(self.next_read)].into_iter().flatten().min();
        let micros = next.map_or(PERIOD, |next| next.saturating_sub(self.service.clock.now().0));
        Duration::from_micros(u64::try_from(micros.clamp(0, PERIOD)).unwrap_or(0))
    }
}
