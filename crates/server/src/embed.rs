//! The service without its faces, for benches and simulations: the real use cases and the real workers on a store and
//! with engines of the caller's choice. Nothing listens, no Spark is started, and attempts have no directories.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use libra_core::id::Token;
use libra_core::mode::Mode;
use libra_engines::engine::Engine;
use libra_store::backend::Kind;
use libra_store::tables::replicas::Replica;
use libra_store::{Db, StoreUrl, signals};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::auth::Principal;
use crate::clock::{self, Clock as _};
use crate::config::Config;
use crate::files::Files;
use crate::host;
use crate::run::ServeError;
use crate::service::{Parts, Service, Signals, Standing, Submit, machine_of};
use crate::workers::{self, Shutdown};

/// Workers under way get this long to end.
const DRAIN: Duration = Duration::from_secs(10);

/// Engines of an embedded Libra keep no files, so no directories are made for their attempts.
struct NoFiles;

impl Files for NoFiles {
    fn make_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn touch(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

/// A running replica without faces.
pub struct Embedded {
    service: Arc<Service>,
    stop: watch::Sender<bool>,
    workers: JoinSet<()>,
}

impl Embedded {
    /// Opens the store that `config` names and starts the workers. `config.data_dir` is made where it is missing;
    /// nobody else may use it.
    ///
    /// # Errors
    /// When the store can't be opened, or another replica has the same id.
    pub async fn start(config: Config, engines: BTreeMap<Mode, Arc<dyn Engine>>) -> Result<Self, ServeError> {
        std::fs::create_dir_all(&config.data_dir)?;
        let db = Db::open(&config.store.url, config.store.pool).await?;
        let alone = db.kind() == Kind::Sqlite;
        let instance = Token::new(clock::System.now(), clock::System.entropy()).to_string();
        let me = Replica {
            id: config.replica.id.clone().unwrap_or_else(|| instance.clone()),
            host: host::identity(config.replica.machine.as_deref()),
            storage: instance.clone(),
            address: format!("http://{}", config.listen),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            cores: config.limits.cores_for_jobs(),
            memory: config.limits.memory_for_jobs(),
            started_at: clock::System.now(),
        };
        let (stop, stopped) = watch::channel(false);
        let (sink, outgoing) = if alone { (None, None) } else { Some(signals::channel()).unzip() };
        let signals = Signals::new(machine_of(&me.host), sink);
        let service = Arc::new(Service::new(Parts {
            files_dir: config.data_dir.clone(),
            config,
            db,
            engines,
            clock: Arc::new(clock::Agreed::new(clock::System)),
            standing: Standing::new(me, instance),
            signals,
            files: Arc::new(NoFiles),
            alone,
            redis: None,
            flink: crate::flink::FlinkClusters::default(),
            slurm: crate::slurm::SlurmClusters::default(),
        }));
        if !workers::begin(&service).await? {
            return Err(ServeError::ReplicaIdInUse(service.standing.me.id.clone()));
        }
        if let (Some(outgoing), StoreUrl::Postgres(url)) = (outgoing, &service.config.store.url) {
            workers::exchange_signals(&service, url, outgoing, Shutdown::new(stopped.clone()))?;
        }
        let (lost, _) = watch::channel(false);
        let workers = workers::start(&service, &Shutdown::new(stopped), lost);
        Ok(Self { service, stop, workers })
    }

    /// The store.
    pub fn store(&self) -> &Db {
        &self.service.db
    }

    /// Submits a job as the local administrator; answers the body of the answer once the job is durable.
    ///
    /// # Errors
    /// What the API would say, in words.
    pub async fn submit(&self, body: &Value) -> Result<String, String> {
        let principal = Principal::local();
        let request = Submit { principal: &principal, body, correlation_id: "embedded", idempotency: None };
        match self.service.submit(request).await {
            Ok(answer) => Ok(answer.body),
            Err(refused) => Err(refused.message),
        }
    }

    /// Stops the workers and waits for them.
    pub async fn end(mut self) {
        self.stop.send_replace(true);
        let drained = async { while self.workers.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, drained).await.is_err() {
            tracing::warn!("some workers did not end in time");
        }
    }
}
