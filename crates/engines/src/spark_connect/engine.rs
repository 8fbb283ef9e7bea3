//! The engine: attempts, their queries in this process, and what the disk says about the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use libra_core::attempt::{Exit, Handle, Outcome};
use libra_core::id::Token;
use libra_core::spec::{JobSpec, Kind, Source};
use serde_json::json;
use tokio::sync::Semaphore;

use super::python::{self, Python};
use super::query::{Claim, Phase, Query, Start, now};
use super::record::{self, OnDisk};
use super::server::Server;
use super::settings::{Backend, Settings};
use crate::attempt_dir::AttemptDir;
use crate::engine::{
    CancelOutcome, Engine, EngineError, Launch, LaunchError, Launched, Observation, Running,
};

/// How long one call to cancel waits for the end before it says that it has not come.
const CANCEL_PATIENCE: Duration = Duration::from_secs(2);
/// How long the server may take to let an ended query go; it does so by itself after a day.
const RELEASE_PATIENCE: Duration = Duration::from_secs(10);

/// SQL and Python in a shared Spark Connect server.
///
/// Lock-free for the caller of SQL: every call but [`Engine::cancel`] and [`Engine::release`] answers at once.
pub struct SparkConnect {
    server: Arc<Server>,
    slots: Arc<Semaphore>,
    queries: Mutex<HashMap<Token, Arc<Query>>>,
    python: Arc<Python>,
    backend: Backend,
}

impl SparkConnect {
    /// The engine. Nothing is started before the first job; a server from an earlier run of Libra is adopted in
    /// the background when this is called inside a tokio runtime.
    pub fn new(settings: Settings) -> Self {
        let slots = Arc::new(Semaphore::new(settings.max_concurrent_jobs));
        let server = Server::new(settings.clone());
        let backend = settings.backend.clone();
        let python = Python::new(settings, Arc::clone(&server), Arc::clone(&slots));
        if let Ok(runtime) = tokio::runtime::Handle::try_current()
            && server.has_predecessor()
        {
            let (server, python) = (Arc::clone(&server), Arc::clone(&python));
            runtime.spawn(async move {
                if matches!(server.adopt().await, Ok(Some(_))) {
                    python.get_ready();
                }
            });
        }
        Self { server, slots, queries: Mutex::new(HashMap::new()), python, backend }
    }

    /// Ends the server, if there is one, and waits until nothing of it is alive. The next job starts a new one.
    pub async fn shutdown_server(&self) {
        self.server.shut_down().await;
    }

    fn queries(&self) -> MutexGuard<'_, HashMap<Token, Arc<Query>>> {
        // Nothing panics while it is held; even then the map would be whole.
        self.queries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn query(&self, token: Token) -> Option<Arc<Query>> {
        self.queries().get(&token).cloned()
    }

    /// Adds the attempt's query unless it is there; true when it was added.
    fn add(&self, launch: &Launch) -> (Arc<Query>, bool) {
        let mut queries = self.queries();
        if let Some(query) = queries.get(&launch.token) {
            return (Arc::clone(query), false);
        }
        let query = Arc::new(Query::new(launch));
        queries.insert(launch.token, Arc::clone(&query));
        (query, true)
    }

    fn spawn(&self, query: Arc<Query>, start: Start) {
        tokio::spawn(query.live(Arc::clone(&self.server), Arc::clone(&self.slots), start));
    }

    fn start(&self, launch: &Launch) -> Result<Launched, LaunchError> {
        if self.query(launch.token).is_none() {
            match record::read(&AttemptDir::new(&launch.dir)) {
                Ok(OnDisk::Nothing) => {
                    self.server.check_installed().map_err(LaunchError::Refused)?;
                    let (query, added) = self.add(launch);
                    if added {
                        self.begin(query);
                    }
                }
                // Launched before: observing resumes it.
                Ok(OnDisk::Sent(_) | OnDisk::Ended(_)) => {}
                Ok(OnDisk::Revoked) => {
                    return Err(LaunchError::Unknown("the attempt was taken back".to_owned()));
                }
                Err(error) => return Err(LaunchError::Unknown(error.to_string())),
            }
        }
        Ok(self.launched(launch))
    }

    /// Begins at once when the server is up and a slot is free.
    fn begin(&self, query: Arc<Query>) {
        match (self.server.known(), Arc::clone(&self.slots).try_acquire_owned()) {
            (Some(live), Ok(slot)) if !live.is_external() => match query.claim(live, slot, None) {
                Claim::Start(start) => self.spawn(query, start),
                Claim::Over => {}
                // It is being replaced.
                Claim::Closed => self.spawn(query, Start::Wait),
            },
            // An external one is asked for a session first.
            (_, _) => self.spawn(query, Start::Wait),
        }
    }

    fn launched(&self, launch: &Launch) -> Launched {
        let running_since = self.query(launch.token).and_then(|query| match query.phase() {
            Phase::Running(running) => running.since,
            Phase::Waiting | Phase::Ended(_) | Phase::NeverRan(_) => None,
        });
        Launched { handle: Handle(json!({ "operation": launch.token })), running_since }
    }

    /// What is known of an attempt; its query is resumed when an earlier Libra sent it.
    fn look_up(&self, launch: &Launch) -> Known {
        if let Some(query) = self.query(launch.token) {
            return Known::Query(query);
        }
        let dir = AttemptDir::new(&launch.dir);
        match record::read(&dir) {
            Ok(OnDisk::Sent(sent)) => {
                let (query, added) = self.add(launch);
                if added {
                    query.set_resumed(sent.since);
                    self.spawn(Arc::clone(&query), Start::Resume(sent));
                }
                Known::Query(query)
            }
            Ok(OnDisk::Ended(exit)) => Known::Ended(exit),
            Ok(OnDisk::Revoked) => Known::NeverSent,
            Ok(OnDisk::Nothing) if launch.same_boot => match record::revoke(&dir) {
                Ok(true) => Known::NeverSent,
                Ok(false) => Known::Unclear("the attempt is being launched".to_owned()),
                Err(error) => Known::Unclear(error.to_string()),
            },
            Ok(OnDisk::Nothing) => {
                // The machine restarted: the server is gone, and so may be the record of what was sent.
                let (query, added) = self.add(launch);
                if added {
                    query.end(Outcome::Failed { failure: query.lost("the machine was restarted") });
                }
                Known::Query(query)
            }
            // After a loss of power a record may be torn, and the server that it names is gone anyway.
            Err(_) if !launch.same_boot => {
                let (query, added) = self.add(launch);
                if added {
                    query.end(Outcome::Failed { failure: query.lost("the machine was restarted") });
                }
                Known::Query(query)
            }
            Err(error) => Known::Unclear(error.to_string()),
        }
    }

    fn look_at(&self, launch: &Launch) -> Observation {
        match self.look_up(launch) {
            Known::Query(query) => {
                let phase = query.phase();
                // Nothing is left to be released; the disk says so too.
                if matches!(phase, Phase::NeverRan(_)) {
                    self.queries().remove(&launch.token);
                }
                observation(phase)
            }
            Known::Ended(exit) => Observation::Ended(exit),
            Known::NeverSent => {
                Observation::NeverRan("The query was not sent to the Spark server.".to_owned())
            }
            Known::Unclear(reason) => Observation::Unknown(reason),
        }
    }

    async fn stop(&self, launch: &Launch) -> CancelOutcome {
        let query = match self.look_up(launch) {
            Known::Query(query) => query,
            Known::Ended(exit) => return CancelOutcome::Gone(exit),
            Known::NeverSent => return CancelOutcome::Gone(stopped()),
            Known::Unclear(_) => return CancelOutcome::Stopping,
        };
        query.cancel();
        if tokio::time::timeout(CANCEL_PATIENCE, query.ended()).await.is_err() {
            return CancelOutcome::Stopping;
        }
        match query.phase() {
            Phase::Ended(exit) => CancelOutcome::Gone(exit),
            Phase::NeverRan(_) => CancelOutcome::Gone(stopped()),
            Phase::Waiting | Phase::Running(_) => CancelOutcome::Stopping,
        }
    }

    async fn let_go(&self, launch: &Launch) {
        if tokio::time::timeout(RELEASE_PATIENCE, self.tell_server(launch)).await.is_err() {
            tracing::debug!(token = %launch.token, "the server did not let an ended query go in time");
        }
        self.queries().remove(&launch.token);
    }

    /// Tells the server that nobody will ask for the attempt's responses again.
    async fn tell_server(&self, launch: &Launch) {
        let query = self.query(launch.token).unwrap_or_else(|| Arc::new(Query::new(launch)));
        if let Some(sent) = record::sent_to(&AttemptDir::new(&launch.dir))
            && let Ok(Some(live)) = self.server.adopted(sent.server).await
        {
            let released = if query.shared {
                let first = live.client.release_operation(&query.operation).await;
                if query.reads { first } else { first.and(live.client.release_operation(&query.fetch).await) }
            } else {
                live.client.release_session(&query.operation).await
            };
            if let Err(status) = released {
                tracing::debug!(%status, token = %launch.token, "an ended query could not be released");
            }
        }
    }
}

fn is_python(launch: &Launch) -> bool {
    launch.spec.kind == Kind::Python
}

fn stopped() -> Exit {
    Exit { outcome: Outcome::Stopped, exit_code: None, signal: None, began: None, at: now() }
}

/// What is known of an attempt.
enum Known {
    /// Its query, in this process.
    Query(Arc<Query>),
    /// It is over.
    Ended(Exit),
    /// It was not sent and never will be.
    NeverSent,
    /// Ask again.
    Unclear(String),
}

fn observation(phase: Phase) -> Observation {
    match phase {
        Phase::Waiting => Observation::Starting,
        Phase::Running(running) => Observation::Running(running),
        Phase::Ended(exit) => Observation::Ended(exit),
        Phase::NeverRan(reason) => Observation::NeverRan(reason),
    }
}

impl Engine for SparkConnect {
    fn validate(&self, spec: &JobSpec) -> Vec<(String, String)> {
        if spec.kind != Kind::Sql {
            return python::violations(&self.backend, spec);
        }
        let mut violations = Vec::new();
        let mut refuse =
            |pointer: &str, reason: &str| violations.push((pointer.to_owned(), reason.to_owned()));
        match &spec.source {
            Source::File(_) => refuse("/file", "a file needs a process of its own: use `spark-submit`"),
            Source::Code(code) if code.trim().is_empty() => refuse("/code", "is empty"),
            Source::Code(_) => {}
        }
        violations
    }

    fn launch<'a>(&'a self, launch: &'a Launch) -> BoxFuture<'a, Result<Launched, LaunchError>> {
        Box::pin(async move {
            if is_python(launch) { self.python.launch(launch).await } else { self.start(launch) }
        })
    }

    fn find<'a>(&'a self, launch: &'a Launch) -> BoxFuture<'a, Result<Option<Launched>, EngineError>> {
        Box::pin(async move {
            if is_python(launch) {
                return self.python.find(launch).map_err(|error| EngineError(error.to_string()));
            }
            match self.look_up(launch) {
                Known::Query(_) | Known::Ended(_) => Ok(Some(self.launched(launch))),
                Known::NeverSent => Ok(None),
                Known::Unclear(reason) => Err(EngineError(reason)),
            }
        })
    }

    fn observe<'a>(&'a self, attempts: &'a [(Launch, Handle)]) -> BoxFuture<'a, Vec<Observation>> {
        Box::pin(async move {
            let looks = attempts.iter().map(|(launch, _)| async {
                if is_python(launch) {
                    let seen = self.python.look_at(launch).await;
                    return seen.unwrap_or_else(|error| Observation::Unknown(error.to_string()));
                }
                self.look_at(launch)
            });
            futures::future::join_all(looks).await
        })
    }

    fn cancel<'a>(
        &'a self,
        launch: &'a Launch,
        _handle: &'a Handle,
    ) -> BoxFuture<'a, Result<CancelOutcome, EngineError>> {
        Box::pin(async move {
            if is_python(launch) {
                return self.python.end(launch).await.map_err(|error| EngineError(error.to_string()));
            }
            Ok(self.stop(launch).await)
        })
    }

    fn release<'a>(&'a self, launch: &'a Launch, _handle: &'a Handle) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if is_python(launch) { self.python.let_go(launch).await } else { self.let_go(launch).await }
        })
    }

    fn traces(&self, launch: &Launch) -> Running {
        if is_python(launch) {
            return self.python.traces(launch);
        }
        let known = self.query(launch.token).and_then(|query| query.last_seen());
        known.unwrap_or_default()
    }

    fn trouble(&self) -> Option<String> {
        self.server.trouble()
    }

    fn leave(&self, token: Token) {
        if let Some(query) = self.queries().remove(&token) {
            query.leave();
        }
        self.python.leave(token);
    }

    fn changed(&self, token: Token) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            match self.query(token) {
                Some(query) => query.changed().await,
                // A Python job, or not of this process: then the caller's periodic look resumes it.
                None => self.python.changed(token).await,
            }
        })
    }
}

#[cfg(test)]
mod tests;
