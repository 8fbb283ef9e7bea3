//! The life of one query: wait for the server, send, read, and say how it ended.
//!
//! Invariant: nothing is sent before `operation.json` is there, and an end is on the disk before it is reported.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use libra_core::attempt::{Exit, Links, Outcome};
use libra_core::failure::{ErrorClass, Failure};
use libra_core::id::Token;
use libra_core::spec::{SessionMode, Source, unwrap_sql};
use libra_core::time::Timestamp;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tonic::Status;
use uuid::Uuid;

use super::client::Operation;
use super::failure::{self, Verdict, judge};
use super::keyword::only_reads;
use super::progress;
use super::proto::ExecutionProgress;
use super::record::{self, OnDisk, Sent};
use super::run;
use super::server::{Live, Server};
use crate::attempt_dir::AttemptDir;
use crate::engine::{Launch, Running};

/// The namespace of the names that Libra derives (version 5 UUIDs); drawn once, never to change.
pub(super) const NAMESPACE: Uuid = Uuid::from_u128(0x6f0b_91d6_3c1e_4d0a_9f57_2a8c_44e1_b7d3);
/// How often an interrupt is repeated until the operation has ended.
const INTERRUPT_EVERY: Duration = Duration::from_millis(300);
/// After so many interrupts in a row without an answer the server hangs, and nothing but its end can end the query.
const MAX_UNANSWERED: u32 = 3;
/// How long one interrupt may take where the server itself is ended when interrupts don't help.
const INTERRUPT_PATIENCE: Duration = Duration::from_secs(3);
/// After it could not be told whether the server of before is alive.
const ADOPT_AGAIN: Duration = Duration::from_secs(5);
/// How often a cancelled operation is looked at until the server has let it go.
const IDLE_LOOK: Duration = Duration::from_millis(25);

/// The pause before another server is looked for, when the one that was found takes no more.
const CLOSED_LOOK: Duration = Duration::from_millis(50);
/// The session's setting that puts its jobs into a pool of Spark's fair scheduler; the pools share the cores evenly.
const POOL: &str = "spark.scheduler.pool";

/// Why a query can't be sent yet, or at all.
enum NotReady {
    /// It can't be sent.
    Failed(Box<Failure>),
    /// The server went away just now.
    Away,
}

impl From<Failure> for NotReady {
    fn from(failure: Failure) -> Self {
        Self::Failed(Box::new(failure))
    }
}

/// What is known of a query.
#[derive(Clone, Debug)]
pub(super) enum Phase {
    /// Nothing was sent: it waits for the server.
    Waiting,
    /// It was sent.
    Running(Running),
    /// It is over.
    Ended(Exit),
    /// It was not sent and never will be.
    NeverRan(String),
}

/// One attempt's query in this process.
pub(super) struct Query {
    pub(super) sql: String,
    pub(super) reads: bool,
    /// Spark settings of the session.
    pub(super) settings: BTreeMap<String, String>,
    /// The attempt's name.
    token: Token,
    /// The operation that carries the attempt's token.
    pub(super) operation: Operation,
    /// The operation that fetches the rows of a command.
    pub(super) fetch: Operation,
    /// True when the session is the user's and outlives the query.
    pub(super) shared: bool,
    pub(super) dir: AttemptDir,
    phase: Mutex<Phase>,
    /// Kept when the phase moves on from running.
    seen: Mutex<Option<Running>>,
    changed: Notify,
    cancel: watch::Sender<bool>,
    over: watch::Sender<bool>,
    left: watch::Sender<bool>,
}

/// How a query begins in this process.
pub(super) enum Start {
    /// Wait for the server first.
    Wait,
    /// The server is up and the query was claimed for it.
    Now(Arc<Live>, OwnedSemaphorePermit),
    /// An earlier Libra sent it.
    Resume(Sent),
}

/// What came of claiming a query for a server.
pub(super) enum Claim {
    /// It is this process's to send, or to resume.
    Start(Start),
    /// It ended before it was sent.
    Over,
    /// The server takes no more queries: another one will.
    Closed,
}

impl From<Option<Start>> for Claim {
    fn from(start: Option<Start>) -> Self {
        start.map_or(Self::Over, Self::Start)
    }
}

impl Query {
    /// The query of an attempt.
    pub(super) fn new(launch: &Launch) -> Self {
        let token = launch.token.uuid();
        let sql = match &launch.spec.source {
            Source::Code(code) => unwrap_sql(code),
            // Validation keeps files away from this engine.
            Source::File(_) => String::new(),
        };
        let shared = launch.spec.session_mode == SessionMode::Shared;
        let session = session_of(launch);
        let server_session = Arc::default();
        let operation = |id| Operation {
            user: launch.user.clone(),
            session,
            id,
            tag: token,
            server_session: Arc::clone(&server_session),
        };
        Self {
            reads: only_reads(&sql),
            sql,
            settings: session_settings(&launch.spec.spark_config, launch.spec.queue.as_deref()),
            token: launch.token,
            operation: operation(token),
            fetch: operation(Uuid::new_v5(&token, b"rows")),
            shared,
            dir: AttemptDir::new(&launch.dir),
            phase: Mutex::new(Phase::Waiting),
            seen: Mutex::new(None),
            changed: Notify::new(),
            cancel: watch::Sender::new(false),
            over: watch::Sender::new(false),
            left: watch::Sender::new(false),
        }
    }

    /// What is known at present.
    pub(super) fn phase(&self) -> Phase {
        self.lock().clone()
    }

    /// What was last seen while it ran.
    pub(super) fn last_seen(&self) -> Option<Running> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until something changed since the last wait; at once when it is over.
    pub(super) async fn changed(&self) {
        if matches!(*self.lock(), Phase::Waiting | Phase::Running(_)) {
            self.changed.notified().await;
        }
    }

    /// Waits until it is over. For many waiters, unlike [`Self::changed`].
    pub(super) async fn ended(&self) {
        // The sender is part of this very value and can't be gone.
        let _ = self.over.subscribe().wait_for(|over| *over).await;
    }

    /// Asks for the end.
    pub(super) fn cancel(&self) {
        self.cancel.send_replace(true);
    }

    /// True once the end was asked for.
    pub(super) fn is_cancelled(&self) -> bool {
        *self.cancel.borrow()
    }

    async fn cancelled(&self) {
        // The sender is part of this very value and can't be gone.
        let _ = self.cancel.subscribe().wait_for(|cancelled| *cancelled).await;
    }

    /// Marks that the query was sent to `live`.
    pub(super) fn set_running(&self, live: &Live, since: Timestamp) {
        self.set(Phase::Running(Running {
            since: Some(since),
            again: None,
            progress: None,
            usage: None,
            application_id: live.application_id.clone(),
            links: live.links.clone(),
        }));
    }

    /// Marks that an earlier Libra sent the query.
    pub(super) fn set_resumed(&self, since: Timestamp) {
        self.set(Phase::Running(Running {
            since: Some(since),
            again: None,
            progress: None,
            usage: None,
            application_id: None,
            links: Links::default(),
        }));
    }

    /// Takes in a report of the server's.
    pub(super) fn report(&self, report: &ExecutionProgress) {
        let mut phase = self.lock();
        let Phase::Running(running) = &mut *phase else { return };
        let Some(next) = progress::advance(running.progress.as_ref(), report) else { return };
        if running.progress.as_ref() == Some(&next) {
            return;
        }
        running.progress = Some(next);
        drop(phase);
        self.changed.notify_one();
    }

    fn set(&self, phase: Phase) {
        let over = matches!(phase, Phase::Ended(_) | Phase::NeverRan(_));
        let before = std::mem::replace(&mut *self.lock(), phase);
        if let Phase::Running(running) = before {
            *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(running);
        }
        self.changed.notify_one();
        if over {
            self.over.send_replace(true);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Phase> {
        // Nothing panics while it is held; even then the value would be whole.
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets another process go on with the query: nothing of it is read or written here any more.
    pub(super) fn leave(&self) {
        self.left.send_replace(true);
    }

    /// Lives the query to its end, or until it is left to another process.
    pub(super) async fn live(self: Arc<Self>, server: Arc<Server>, slots: Arc<Semaphore>, start: Start) {
        let mut left = self.left.subscribe();
        tokio::select! {
            biased;
            // The sender is part of this very value and can't be gone.
            _ = left.wait_for(|left| *left) => {}
            () = Arc::clone(&self).lived(server, slots, start) => {}
        }
    }

    async fn lived(self: Arc<Self>, server: Arc<Server>, slots: Arc<Semaphore>, start: Start) {
        let start = match start {
            Start::Wait => match self.wait_and_claim(&server, &slots).await {
                Some(start) => start,
                None => return,
            },
            start @ (Start::Now(..) | Start::Resume(_)) => start,
        };
        let (live, _slot) = match start {
            Start::Now(live, slot) => (live, Some(slot)),
            // It runs already, whether a slot is free or not.
            Start::Resume(sent) => {
                let Some(live) = self.find_server(&server, sent.server).await else {
                    let how = match sent.session {
                        Some(_) => "it does not answer any more",
                        None => "it ended while Libra was away",
                    };
                    return self.end(Outcome::Failed { failure: self.lost(how) });
                };
                if let Some(session) = sent.session {
                    // Set once: the disk says what was seen before anything was sent.
                    let _ = self.operation.server_session.set(session);
                }
                self.set_running(&live, sent.since);
                (live, slots.try_acquire_owned().ok())
            }
            Start::Wait => return,
        };
        let outcome = tokio::select! {
            outcome = run::run(&self, &live) => outcome,
            never = self.interrupt_when_cancelled(&live) => match never {},
        };
        if self.is_cancelled() {
            self.wait_until_idle(&live).await;
            server.lay_to_rest(&live, self.token).await;
        }
        if live.is_dead() {
            server.forget(&live);
            if outcome != Outcome::Succeeded {
                live.clear_away().await;
            }
        }
        self.end(outcome);
        live.dismiss(self.token);
    }

    /// The server that an earlier Libra sent the query to; None when it is dead. Not knowing is no answer: it is
    /// asked again until it is known.
    async fn find_server(&self, server: &Arc<Server>, id: Token) -> Option<Arc<Live>> {
        loop {
            match server.adopted(id).await {
                Ok(found) => return found,
                Err(_) => tokio::time::sleep(ADOPT_AGAIN).await,
            }
        }
    }

    /// Interrupts again and again once the end was asked for: an operation that has not begun yet hears nothing.
    async fn interrupt_when_cancelled(&self, live: &Live) -> Infallible {
        self.cancelled().await;
        let begun = Instant::now();
        let mut unanswered = 0;
        loop {
            let call = live.client.interrupt(&self.operation);
            let answer = match live.kill_after() {
                None => call.await,
                Some(_) => tokio::time::timeout(INTERRUPT_PATIENCE, call)
                    .await
                    .unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer to an interrupt"))),
            };
            match answer {
                Ok(_) => unanswered = 0,
                Err(status) => {
                    unanswered += 1;
                    tracing::debug!(%status, "an interrupt was not taken");
                }
            }
            if live.kill_after().is_some_and(|limit| begun.elapsed() >= limit) && !live.is_dead() {
                tracing::warn!("a query does not obey its interrupt: its server is ended");
                live.condemn();
            }
            if unanswered == MAX_UNANSWERED && !live.is_dead() {
                tracing::warn!("the shared Spark server does not answer any more: it is ended");
                live.condemn();
            }
            tokio::time::sleep(INTERRUPT_EVERY).await;
        }
    }

    /// Waits until the server no longer works on the query: its answer may come before its work has ended.
    async fn wait_until_idle(&self, live: &Live) {
        let ids = [self.operation.id, self.fetch.id];
        loop {
            match live.client.is_alive(&self.operation, &ids).await {
                Ok(true) if live.is_dead() => return,
                Ok(true) => tokio::time::sleep(IDLE_LOOK).await,
                Err(status) if judge(&status) == Verdict::Retry && !live.is_dead() => {
                    tokio::time::sleep(INTERRUPT_EVERY).await;
                }
                // A server that does not know the session, or is dead, does nothing.
                Ok(false) | Err(_) => return,
            }
        }
    }

    /// Waits for a slot and the server, then claims the query for it. None when it ended before it was sent.
    async fn wait_and_claim(&self, server: &Arc<Server>, slots: &Arc<Semaphore>) -> Option<Start> {
        loop {
            let ready = async {
                let slot = Arc::clone(slots).acquire_owned().await.ok();
                let live = server.live().await?;
                let session = self.open_session(&live).await?;
                Ok::<_, NotReady>((live, slot, session))
            };
            let ready = tokio::select! {
                ready = ready => ready,
                () = self.cancelled() => return self.refuse(Outcome::Stopped),
            };
            let claim = match ready {
                Ok((live, Some(slot), session)) => self.claim(live, slot, session),
                // The slots are never closed while the engine lives.
                Ok((_, None, _)) => return self.refuse(Outcome::Stopped),
                Err(NotReady::Failed(failure)) => return self.refuse(Outcome::Failed { failure: *failure }),
                Err(NotReady::Away) => Claim::Closed,
            };
            match claim {
                Claim::Start(start) => return Some(start),
                Claim::Over => return None,
                Claim::Closed => tokio::time::sleep(CLOSED_LOOK).await,
            }
        }
    }

    /// Makes the session on a server that Libra does not watch, so that a restart of that server is noticed.
    async fn open_session(&self, live: &Live) -> Result<Option<String>, NotReady> {
        if !live.is_external() {
            return Ok(None);
        }
        let refused = |failure| NotReady::Failed(Box::new(failure));
        match live.client.open_session(&self.operation).await {
            // A server that only repeats the client's name is no wiser.
            Ok(session) if session.is_empty() || session == self.operation.session.to_string() => {
                Err(refused(Failure::new(
                    ErrorClass::Infrastructure,
                    "engine_refused",
                    "The Spark Connect server does not name its sessions, so that nobody could tell whether it was \
                     restarted while a query ran. Spark 4.0 or newer does.",
                )))
            }
            Ok(session) => Ok(Some(session)),
            Err(status) => match judge(&status) {
                Verdict::Final => Err(refused(failure::no_session(&status))),
                Verdict::Retry => Err(NotReady::Away),
                Verdict::ResultGone => Err(refused(
                    Failure::new(
                        ErrorClass::Infrastructure,
                        "session_closed",
                        "The Spark Connect server has closed this session and opens it no more. Use a session of its \
                         own (`sessionMode: ISOLATED`), or let that server keep sessions for longer \
                         (spark.connect.session.manager.defaultSessionTimeout).",
                    )
                    .with_detail(status.message()),
                )),
            },
        }
    }

    /// Claims the query for a server: from now on it counts as sent. To be resumed when another replica on this host
    /// was faster.
    pub(super) fn claim(
        &self,
        live: Arc<Live>,
        slot: OwnedSemaphorePermit,
        session: Option<String>,
    ) -> Claim {
        match live.admit(self.token, &self.dir) {
            Ok(true) => {}
            Ok(false) => return Claim::Closed,
            Err(error) => return self.end_unwritable(&error).into(),
        }
        let since = now();
        match record::claim(&self.dir, Sent { server: live.id, since, session: session.clone() }) {
            Ok(true) => {
                if let Some(session) = session {
                    // Nobody else sets it before the query is claimed.
                    let _ = self.operation.server_session.set(session);
                }
                self.set_running(&live, since);
                Claim::Start(Start::Now(live, slot))
            }
            Ok(false) => {
                let start = self.follow_the_disk();
                // It may have gone to another server.
                if !matches!(&start, Some(Start::Resume(sent)) if sent.server == live.id) {
                    live.dismiss(self.token);
                }
                start.into()
            }
            Err(error) => self.end_unwritable(&error).into(),
        }
    }

    /// Ends a query that was not sent, and sees to it that nobody sends it.
    fn refuse(&self, outcome: Outcome) -> Option<Start> {
        match record::revoke(&self.dir) {
            Ok(true) => {
                self.end(outcome);
                None
            }
            Ok(false) => self.follow_the_disk(),
            Err(error) => self.end_unwritable(&error),
        }
    }

    /// Another process decided first.
    fn follow_the_disk(&self) -> Option<Start> {
        match record::read(&self.dir) {
            Ok(OnDisk::Sent(sent)) => return Some(Start::Resume(sent)),
            Ok(OnDisk::Ended(exit)) => self.set(Phase::Ended(exit)),
            Ok(OnDisk::Revoked | OnDisk::Nothing) => {
                self.set(Phase::NeverRan("Another replica had taken this attempt back.".to_owned()));
            }
            Err(error) => return self.end_unwritable(&error),
        }
        None
    }

    fn end_unwritable(&self, error: &std::io::Error) -> Option<Start> {
        let text = format!("The attempt's directory can't be used: {error}.");
        self.end(Outcome::Failed { failure: Failure::new(ErrorClass::Infrastructure, "attempt_dir", text) });
        None
    }

    /// Records an end and reports it.
    pub(super) fn end(&self, outcome: Outcome) {
        let exit = Exit { outcome, exit_code: None, signal: None, began: None, at: now() };
        // A success is recorded by its result.
        if exit.outcome != Outcome::Succeeded
            && let Err(error) = record::write_end(&self.dir, &exit)
        {
            tracing::warn!(%error, "the end of a query could not be recorded");
        }
        self.set(Phase::Ended(exit));
    }

    /// The failure when the server died under the query.
    pub(super) fn lost(&self, how: &str) -> Failure {
        let text = if self.reads {
            format!(
                "The shared Spark server ended while the query ran: {how}. A query that only reads can be run again."
            )
        } else {
            format!(
                "The shared Spark server ended while the statement ran: {how}. Nobody knows whether the statement \
                 took effect."
            )
        };
        let failure = Failure::new(ErrorClass::Infrastructure, "engine_lost", text);
        if self.reads { failure } else { failure.with_unknown_outcome() }
    }
}

/// The attempt's session on the server: its own, or its user's.
pub(super) fn session_of(launch: &Launch) -> Uuid {
    match launch.spec.session_mode {
        SessionMode::Shared => {
            Uuid::new_v5(&NAMESPACE, format!("session\0{}\0{}", launch.tenant, launch.user).as_bytes())
        }
        SessionMode::Isolated => launch.token.uuid(),
    }
}

/// The settings that a session takes: those of Spark SQL, and the scheduler pool of the job's queue. Others size
/// drivers and executors, which the shared server has already.
pub(super) fn session_settings(
    config: &BTreeMap<String, String>,
    queue: Option<&str>,
) -> BTreeMap<String, String> {
    let mut settings: BTreeMap<String, String> = config
        .iter()
        .filter(|(key, _)| key.starts_with("spark.sql.") || *key == POOL)
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    if let Some(queue) = queue {
        settings.entry(POOL.to_owned()).or_insert_with(|| queue.to_owned());
    }
    settings
}

/// The present time of the wall clock.
pub(super) fn now() -> Timestamp {
    Timestamp(jiff::Timestamp::now().as_microsecond())
}
