//! The composition root: what `libra serve` puts together, and in which order it ends.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use libra_core::mode::Mode;
use libra_engines::engine::Engine;
use libra_engines::{spark_connect, spark_submit};
use libra_store::lane::Fence;
use libra_store::tables::leases;
use libra_store::{Db, StoreError};
use rustix::fs::{FlockOperation, flock};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::config::Config;
use crate::service::Service;
use crate::workers::{self, LEASE, LEASE_SECONDS, Shutdown};
use crate::{faces, host, telemetry};

/// Requests under way get this long to end.
const DRAIN: Duration = Duration::from_secs(10);

/// Why the service could not start, or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Another Libra has the data directory.
    #[error("another Libra is using the data directory {0}")]
    InUse(String),
    /// The data directory can't be used.
    #[error("the data directory {dir} can't be used: {cause}")]
    DataDir {
        /// Which.
        dir: String,
        /// Why.
        cause: io::Error,
    },
    /// The address can't be listened on.
    #[error("{address} can't be listened on: {cause}")]
    Listen {
        /// Which.
        address: String,
        /// Why.
        cause: io::Error,
    },
    /// The store failed.
    #[error("the store can't be opened: {0}")]
    Store(#[from] StoreError),
    /// The operating system failed.
    #[error("{0}")]
    System(#[from] io::Error),
    /// A part of Libra ended by itself.
    #[error("a part of Libra ended by itself; its log says which: please report it")]
    WorkerDied,
    /// Another Libra has taken over.
    #[error("another Libra has taken over this database")]
    LostLease,
}

impl ServeError {
    /// What mends it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::InUse(_) => Some("stop the other one, or give this one its own --data-dir".into()),
            Self::DataDir { .. } => {
                Some("give a directory that this user may write to with --data-dir".into())
            }
            Self::Listen { .. } => Some("is it taken? `--listen 127.0.0.1:0` takes any free port".into()),
            Self::Store(_) | Self::System(_) | Self::LostLease | Self::WorkerDied => None,
        }
    }
}

/// Serves until SIGTERM or SIGINT. Running drivers go on; the next Libra on this data directory adopts them.
///
/// # Errors
/// [`ServeError`] when it can't start, or when another Libra takes over.
pub async fn run(mut config: Config, shim_exe: PathBuf) -> Result<(), ServeError> {
    telemetry::log::start(&config.log_level, config.log_json);
    config.data_dir = prepare(&config.data_dir)?;
    let _lock = lock(&config.data_dir)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let listener = listen(&config.listen.to_string()).await?;
    let management = match config.management_listen {
        Some(address) => Some(listen(&address.to_string()).await?),
        None => None,
    };

    let db = Db::open_sqlite(&config.data_dir.join(libra_store::db::DATABASE_FILE))?;
    let host = host::identity();
    let holder = host.clone();
    // The lock says that nobody else is there: a lease of before is this host's own, or of another boot.
    let epoch = db
        .write(move |tx| {
            leases::expire(tx, LEASE)?;
            leases::take(tx, LEASE, &holder, LEASE_SECONDS, true)
        })
        .await?
        .ok_or(ServeError::LostLease)?;
    let fence = Fence { lease: LEASE.to_owned(), epoch };

    let connect = Arc::new(in_cluster(&config, &shim_exe));
    let engines = engines(&config, &shim_exe, Arc::clone(&connect));
    let service = Arc::new(Service::new(config, db, engines, host, fence));

    let (stop, stopped) = watch::channel(false);
    let (lost, mut lost_lease) = watch::channel(false);
    let mut workers = workers::start(&service, &Shutdown::new(stopped.clone()), lost);
    tracing::info!(address = %listener.local_addr()?, data_dir = %service.config.data_dir.display(), "Libra listens");
    announce(&listener, &service.config)?;

    let mut servers = tokio::task::JoinSet::new();
    servers.spawn(faces::serve(
        listener,
        faces::router(Arc::clone(&service)),
        Shutdown::new(stopped.clone()),
    ));
    if let Some(listener) = management {
        let router = faces::management_router(Arc::clone(&service));
        servers.spawn(faces::serve(listener, router, Shutdown::new(stopped)));
    }

    let mut worker_died = false;
    let taken_over = tokio::select! {
        end = signalled() => { end?; false }
        _ = lost_lease.wait_for(|lost| *lost) => true,
        ended = workers.join_next() => {
            // No worker ends before it is told to. Without it jobs would wait in silence: better to be restarted.
            tracing::error!(?ended, "a worker ended by itself: Libra stops");
            worker_died = true;
            false
        }
    };
    tracing::info!("Libra stops; running jobs go on and are adopted by the next start");
    // Everybody listens until they have stopped.
    let _ = stop.send(true);
    let drained = async {
        while servers.join_next().await.is_some() {}
        while workers.join_next().await.is_some() {}
    };
    if timeout(DRAIN, drained).await.is_err() {
        tracing::warn!("some requests did not end in time and are cut off");
    }
    if service.config.in_cluster.stop_on_shutdown {
        connect.shutdown_server().await;
    }
    if taken_over {
        return Err(ServeError::LostLease);
    }
    if worker_died { Err(ServeError::WorkerDied) } else { Ok(()) }
}

/// Makes the data directory, for this user's eyes only; answers its full path.
fn prepare(dir: &Path) -> Result<PathBuf, ServeError> {
    use std::os::unix::fs::DirBuilderExt;
    let failed = |cause| ServeError::DataDir { dir: dir.display().to_string(), cause };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
    dir.canonicalize().map_err(failed)
}

/// Holds the data directory as long as the file is open; the system lets go of it when the process dies.
fn lock(dir: &Path) -> Result<std::fs::File, ServeError> {
    let failed = |cause| ServeError::DataDir { dir: dir.display().to_string(), cause };
    let file =
        std::fs::File::options().create(true).append(true).open(dir.join("libra.lock")).map_err(failed)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(ServeError::InUse(dir.display().to_string())),
        Err(e) => Err(failed(e.into())),
    }
}

async fn listen(address: &str) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address)
        .await
        .map_err(|cause| ServeError::Listen { address: address.to_owned(), cause })
}

/// One line for people and scripts, on standard output: where it listens.
fn announce(listener: &TcpListener, config: &Config) -> io::Result<()> {
    use std::io::Write;
    let address = listener.local_addr()?;
    std::fs::write(config.data_dir.join("address"), format!("http://{address}\n"))?;
    // A closed standard output is no reason to stop.
    let _ = writeln!(io::stdout(), "Libra listens on http://{address}");
    Ok(())
}

async fn signalled() -> io::Result<()> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    Ok(())
}

fn in_cluster(config: &Config, shim_exe: &Path) -> spark_connect::SparkConnect {
    let mode = &config.in_cluster;
    let quota = config.limits.modes.get(&Mode::InCluster);
    spark_connect::SparkConnect::new(spark_connect::Settings {
        shim_exe: shim_exe.to_owned(),
        spark_home: config.spark_home.clone(),
        data_dir: config.data_dir.join("connect"),
        master: mode.master.clone(),
        driver_memory: mode.driver_memory.clone(),
        conf: mode.conf.clone(),
        warehouse_dir: mode.warehouse_dir.clone(),
        max_concurrent_jobs: quota.map_or(1, |q| q.max_concurrent_jobs as usize),
        start_timeout: mode.start_timeout,
        keepalive_deadline: mode.keepalive,
    })
}

/// Every engine, whether its mode takes new jobs or not: jobs of before are looked after to their end.
fn engines(
    config: &Config,
    shim_exe: &Path,
    connect: Arc<spark_connect::SparkConnect>,
) -> BTreeMap<Mode, Arc<dyn Engine>> {
    let submit = spark_submit::SparkSubmit::new(spark_submit::Settings {
        shim_exe: shim_exe.to_owned(),
        spark_home: config.spark_home.clone(),
        default_master: config.spark_submit.master.clone(),
        default_conf: config.spark_submit.conf.clone(),
        stop_grace: spark_submit::DEFAULT_STOP_GRACE,
    });
    let connect: Arc<dyn Engine> = connect;
    let submit: Arc<dyn Engine> = Arc::new(submit);
    [(Mode::InCluster, connect), (Mode::SparkSubmit, submit)].into()
}
