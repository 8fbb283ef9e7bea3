//! Python jobs on the shared Spark server: each in a process of its own that was there, warm, before the job was.
//!
//! | module | what it does |
//! |---|---|
//! | `engine` | the engine's side of the trait: everything from the attempt's files |
//! | `start` | waits for the server, then hands the attempt to a warm process, or starts a cold one |
//! | `pool`, `cradle` | the warm processes, and one of them (`shim::cradle` is its other side) |
//! | `files` | what the attempt's process finds in its directory |
//! | `session` | what the attempt has on the server: interrupted and let go of |
//! | `ending` | from the process's exit to the truth about the job |
//! | `driver.py`, `rows.py` | what runs in the process |
//!
//! Invariant: the attempt's `owner` file decides who runs it, as for spark-submit: a warm process, a cold one, or nobody.

mod cradle;
mod ending;
mod engine;
mod files;
mod job;
mod pool;
mod session;
mod start;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use libra_core::id::Token;
use libra_core::spec::{JobSpec, Kind, Source};
use tokio::sync::Semaphore;

use self::job::Job;
use self::pool::Pool;
use super::server::Server;
use super::settings::{Backend, Settings};
use crate::engine::Launch;
use crate::spark_submit::validation;

/// The Python jobs of the engine.
pub(super) struct Python {
    settings: Settings,
    server: Arc<Server>,
    slots: Arc<Semaphore>,
    pool: Arc<Pool>,
    jobs: Mutex<HashMap<Token, Arc<Job>>>,
}

impl Python {
    /// No process is started before the first job, or before [`Self::get_ready`].
    pub(super) fn new(settings: Settings, server: Arc<Server>, slots: Arc<Semaphore>) -> Arc<Self> {
        let pool = Pool::new(settings.clone());
        Arc::new(Self { settings, server, slots, pool, jobs: Mutex::new(HashMap::new()) })
    }

    /// Clears away what an earlier Libra has left; gets the pool ready where Python jobs have run before.
    pub(super) fn get_ready(&self) {
        self.pool.get_ready();
    }

    fn jobs(&self) -> MutexGuard<'_, HashMap<Token, Arc<Job>>> {
        // Nothing panics while it is held; even then the map would be whole.
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The attempt's job in this process, if it was met already.
    fn known(&self, token: Token) -> Option<Arc<Job>> {
        self.jobs().get(&token).cloned()
    }

    /// The attempt's job in this process; one of an earlier Libra is met now.
    fn meet(&self, launch: &Launch) -> Arc<Job> {
        let mut jobs = self.jobs();
        let job = jobs.entry(launch.token).or_insert_with(|| Arc::new(Job::new(launch, false)));
        Arc::clone(job)
    }
}

/// What only this engine knows about a Python job.
pub(super) fn violations(backend: &Backend, spec: &JobSpec) -> Vec<(String, String)> {
    let mut found = validation::violations(spec);
    let mut refuse = |pointer: &str, reason: &str| found.push((pointer.to_owned(), reason.to_owned()));
    match spec.kind {
        Kind::Python if !backend.takes_programs() => refuse(
            "/kind",
            "the token of the external Spark server would be shown to the program: use `spark-submit`",
        ),
        Kind::Python => {}
        Kind::Sql | Kind::Scala | Kind::Jar | Kind::Script => {
            refuse("/kind", "only `sql` and `python` run in-cluster");
        }
    }
    if matches!(spec.source, Source::File(_)) {
        refuse("/file", "a file needs a Spark of its own: use `spark-submit`");
    }
    let lists = [
        ("/jars", &spec.jars),
        ("/pyFiles", &spec.py_files),
        ("/files", &spec.files),
        ("/archives", &spec.archives),
        ("/packages", &spec.packages),
    ];
    for (pointer, items) in lists {
        if !items.is_empty() {
            refuse(pointer, "needs a Spark of its own: use `spark-submit`");
        }
    }
    found
}
