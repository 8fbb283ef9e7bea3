//! The composition root: what `libra serve` puts together, and in which order it ends.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use libra_core::id::Token;
use libra_core::mode::Mode;
use libra_engines::engine::Engine;
use libra_engines::shim::Keepalive;
use libra_engines::slurm::SlurmJobs;
use libra_engines::{spark_connect, spark_submit};
use libra_store::backend::Kind;
use libra_store::handoff::{HandOffError, RedisHandOff};
use libra_store::tables::leases;
use libra_store::tables::replicas::{self, Replica, lease_of};
use libra_store::{Db, StoreError, StoreUrl, signals};
use rustix::fs::{FlockOperation, flock};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::clock::{self, Clock};
use crate::config::Config;
use crate::files::Disk;
use crate::flink::FlinkClusters;
use crate::service::{HandOff, Parts, Service, Signals, SlurmRecords, Standing, host_lease_file, machine_of};
use crate::slurm::SlurmClusters;
use crate::workers::{self, Shutdown};
use crate::{faces, host, telemetry};

/// Requests under way get this long to end.
const DRAIN: Duration = Duration::from_secs(10);
/// Drivers of a host that reaches the database no longer end themselves this long before the host is given up.
const END_BEFORE_GIVEN_UP: Duration = Duration::from_mins(1);
/// The shared Spark server gets this long to end, where it ends along with Libra.
const SERVER_END: Duration = Duration::from_secs(30);
/// How often a start asks for its replica's lease while another process has it.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// Why the service could not start, or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Another Libra has the data directory, or the SQLite database.
    #[error("another Libra is using {0}")]
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
    /// Another process serves under this replica's id.
    #[error("the replica id `{0}` is in use by another process")]
    ReplicaIdInUse(String),
    /// A replica on another machine says that it is on this one.
    #[error("the replica `{0}` runs on another machine that has the same name as this one")]
    MachineInUse(String),
    /// The address of Redis can't be used.
    #[error("libra.queue.redis.url: {0}")]
    Redis(#[from] HandOffError),
    /// What is configured of Flink can't be used.
    #[error("{0}")]
    Flink(String),
    /// What is configured of Slurm can't be used.
    #[error("{0}")]
    Slurm(String),
    /// The operating system failed.
    #[error("{0}")]
    System(#[from] io::Error),
    /// A part of Libra ended by itself.
    #[error("a part of Libra ended by itself; its log says which: please report it")]
    WorkerDied,
    /// Another Libra has taken over.
    #[error("another process has taken this replica's id")]
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
            Self::ReplicaIdInUse(_) | Self::LostLease => {
                Some("give every replica its own libra.replica.id, or none: then each makes its own".into())
            }
            Self::MachineInUse(_) => Some(
                "copied machines have the same /etc/machine-id: give each its own, or set libra.replica.machine".into(),
            ),
            Self::Store(e) => e.hint().map(str::to_owned),
            Self::Redis(_) => Some("such as redis://127.0.0.1:6379, or redis://:PASSWORD@HOST:PORT".into()),
            Self::Flink(_) => Some("such as {name: main, url: \"http://127.0.0.1:8081\"}".into()),
            Self::Slurm(_) => Some("such as {name: main, rest-url: \"http://127.0.0.1:6820\"}".into()),
            Self::System(_) | Self::WorkerDied => None,
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
    let _lock = lock(&config.data_dir.join("libra.lock"), &config.data_dir.display().to_string())?;
    // A database elsewhere is guarded like one in the data directory: SQLite is for one Libra.
    let _store_lock = match &config.store.url {
        StoreUrl::Sqlite(file) if file.parent() != Some(&config.data_dir) => {
            let mut guard = file.clone().into_os_string();
            guard.push(".lock");
            Some(lock(Path::new(&guard), &file.display().to_string())?)
        }
        StoreUrl::Sqlite(_) | StoreUrl::Postgres(_) => None,
    };
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let listener = listen(&config.listen.to_string()).await?;
    let management = match config.management_listen {
        Some(address) => Some(listen(&address.to_string()).await?),
        None => None,
    };

    let db = Db::open(&config.store.url, config.store.pool).await?;
    // The lock on the data directory says that nobody else uses a database within it.
    let alone = db.kind() == Kind::Sqlite;
    let files_dir = match &config.shared_dir {
        Some(dir) => prepare(dir)?,
        None => config.data_dir.clone(),
    };
    let instance = name_once(&config.data_dir, "instance")?;
    let me = introduction(&config, &files_dir, &instance, listener.local_addr()?)?;
    let redis = config.redis.as_ref().map(|url| RedisHandOff::new(&url.0)).transpose()?;
    let redis = redis.map(|redis| -> Arc<dyn HandOff> { Arc::new(redis) });
    let machine = machine_of(&me.host).to_owned();
    let host_lease = (!alone).then(|| Keepalive {
        file: host_lease_file(&files_dir, &machine),
        deadline_secs: config.replica.host_lost_after.saturating_sub(END_BEFORE_GIVEN_UP).as_secs(),
    });
    if let Some(lease) = &host_lease
        && let Some(dir) = lease.file.parent()
    {
        prepare(dir)?;
    }
    // Replicas on one host share a Spark server; its metastore is for one at a time.
    let connect_dir = if alone {
        files_dir.join("connect")
    } else {
        files_dir.join("hosts").join(&machine).join("connect")
    };
    let places = Places { shim_exe: &shim_exe, connect_dir, host_lease };
    let connect = Arc::new(in_cluster(&config, &places));
    let slurm = SlurmClusters::of(&config.slurm).map_err(ServeError::Slurm)?;
    let submitted = Arc::new(SlurmRecords::default());
    let records = Arc::clone(&submitted);
    let driver = driver_settings(&config, &places);
    let on_slurm = SlurmJobs::new(slurm.to_submit_to(), records, Arc::clone(&slurm.heard), driver.clone());
    let engines = engines(driver, Arc::clone(&connect), on_slurm);

    let (stop, stopped) = watch::channel(false);
    let (sink, outgoing) = if alone { (None, None) } else { Some(signals::channel()).unzip() };
    let signals = Signals::new(&machine, sink);
    let standing = Standing::new(me, instance);
    let clock = Arc::new(clock::Agreed::new(clock::System));
    let files = Arc::new(Disk);
    let flink = FlinkClusters::of(&config.flink).map_err(ServeError::Flink)?;
    let parts =
        Parts { config, db, engines, clock, standing, signals, files, files_dir, alone, redis, flink, slurm };
    let service = Arc::new(Service::new(parts));
    submitted.belong_to(&service);
    begin(&service).await?;
    if let (Some(outgoing), StoreUrl::Postgres(url)) = (outgoing, &service.config.store.url) {
        workers::exchange_signals(&service, url, outgoing, Shutdown::new(stopped.clone()))?;
    }
    let (lost, mut lost_lease) = watch::channel(false);
    let mut workers = workers::start(&service, &Shutdown::new(stopped.clone()), lost);
    tracing::info!(
        address = %listener.local_addr()?, data_dir = %service.config.data_dir.display(),
        store = service.db.kind().as_str(), replica = %service.standing.me.id, "Libra listens"
    );
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
    if service.config.in_cluster.stop_on_shutdown && is_last_here(&service).await {
        // A server that is just starting is not waited for: its shim ends it when no Libra comes back.
        if timeout(SERVER_END, connect.shutdown_server()).await.is_err() {
            tracing::warn!(
                "the shared Spark server did not end in time; it ends when no Libra has been there for a while"
            );
        }
    }
    if taken_over {
        return Err(ServeError::LostLease);
    }
    if worker_died { Err(ServeError::WorkerDied) } else { Ok(()) }
}

/// True when no other replica on this host uses the shared Spark server.
async fn is_last_here(service: &Arc<Service>) -> bool {
    let (machine, me) = (machine_of(&service.standing.me.host).to_owned(), service.standing.me.clone());
    let others = service.db.read(move |tx| {
        let leases = leases::leases(tx)?;
        let known = replicas::replicas(tx)?.into_iter();
        let here =
            known.filter(|r| r.id != me.id && machine_of(&r.host) == machine && r.storage == me.storage);
        Ok(here.filter(|r| leases.get(&lease_of(&r.id)).is_some_and(|l| l.alive)).count())
    });
    // Who can't ask leaves it alone.
    matches!(timeout(DRAIN, others).await, Ok(Ok(0)))
}

/// Takes this replica's lease; waits for one of before to run out.
async fn begin(service: &Arc<Service>) -> Result<(), ServeError> {
    // Leases of before this machine's last start have run out by then.
    let deadline = Instant::now() + service.config.replica.lease + ASK_AGAIN;
    while let Some(twin) = workers::elsewhere(service).await? {
        if Instant::now() > deadline {
            return Err(ServeError::MachineInUse(twin));
        }
        sleep(ASK_AGAIN).await;
    }
    while !workers::begin(service).await? {
        if Instant::now() > deadline {
            return Err(ServeError::ReplicaIdInUse(service.standing.me.id.clone()));
        }
        sleep(ASK_AGAIN).await;
    }
    Ok(())
}

/// What this replica tells the others about itself.
fn introduction(
    config: &Config,
    files_dir: &Path,
    instance: &str,
    listens: std::net::SocketAddr,
) -> Result<Replica, ServeError> {
    let name = host::name();
    let id = config.replica.id.clone().unwrap_or_else(|| {
        // The end of a time-ordered id is what is random about it.
        let random = instance.rsplit('-').next().unwrap_or(instance);
        format!("{name}-{random}")
    });
    let address = config.replica.address.clone().unwrap_or_else(|| {
        let host = if listens.ip().is_unspecified() { name } else { listens.ip().to_string() };
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        format!("http://{host}:{}", listens.port())
    });
    Ok(Replica {
        id,
        host: host::identity(config.replica.machine.as_deref()),
        storage: name_once(files_dir, "storage")?,
        address,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        cores: config.limits.cores_for_jobs(),
        memory: config.limits.memory_for_jobs(),
        started_at: clock::System.now(),
    })
}

/// A name that a directory gets once and keeps, whoever comes first.
fn name_once(dir: &Path, file: &str) -> Result<String, ServeError> {
    let failed = |cause| ServeError::DataDir { dir: dir.display().to_string(), cause };
    let path = dir.join(file);
    loop {
        match std::fs::read_to_string(&path) {
            Ok(name) if !name.trim().is_empty() => return Ok(name.trim().to_owned()),
            Ok(_) => std::fs::remove_file(&path).map_err(failed)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(failed(e)),
        }
        let name = Token::new(clock::System.now(), clock::System.entropy()).to_string();
        let draft = dir.join(format!("{file}.{name}"));
        std::fs::write(&draft, &name).map_err(failed)?;
        // A link is made whole or not at all, and not over another.
        let linked = std::fs::hard_link(&draft, &path);
        std::fs::remove_file(&draft).map_err(failed)?;
        match linked {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(failed(e)),
            Ok(()) | Err(_) => {}
        }
    }
}

/// Makes the data directory, for this user's eyes only; answers its full path.
fn prepare(dir: &Path) -> Result<PathBuf, ServeError> {
    use std::os::unix::fs::DirBuilderExt;
    let failed = |cause| ServeError::DataDir { dir: dir.display().to_string(), cause };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
    dir.canonicalize().map_err(failed)
}

/// Holds what `guard` stands for as long as the file is open; the system lets go of it when the process dies.
fn lock(guard: &Path, what: &str) -> Result<std::fs::File, ServeError> {
    let failed = |cause| ServeError::DataDir { dir: what.to_owned(), cause };
    let file = std::fs::File::options().create(true).append(true).open(guard).map_err(failed)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(ServeError::InUse(what.to_owned())),
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

/// Where the engines find and keep things.
struct Places<'a> {
    shim_exe: &'a Path,
    connect_dir: PathBuf,
    host_lease: Option<Keepalive>,
}

fn in_cluster(config: &Config, places: &Places<'_>) -> spark_connect::SparkConnect {
    let mode = &config.in_cluster;
    let quota = config.limits.modes.get(&Mode::InCluster);
    spark_connect::SparkConnect::new(spark_connect::Settings {
        shim_exe: places.shim_exe.to_owned(),
        spark_home: config.spark_home.clone(),
        data_dir: places.connect_dir.clone(),
        master: mode.master.clone(),
        driver_memory: mode.driver_memory.clone(),
        conf: mode.conf.clone(),
        warehouse_dir: mode.warehouse_dir.clone(),
        max_concurrent_jobs: quota.map_or(1, |q| q.max_concurrent_jobs as usize),
        python_pool: mode.python_pool,
        start_timeout: mode.start_timeout,
        keepalive_deadline: mode.keepalive,
        host_lease: places.host_lease.clone(),
        backend: mode.backend.clone(),
        care: mode.care,
        logs: config.logs.limits,
    })
}

/// What drivers of a process of their own are started with, here or on Slurm.
fn driver_settings(config: &Config, places: &Places<'_>) -> spark_submit::Settings {
    spark_submit::Settings {
        shim_exe: places.shim_exe.to_owned(),
        spark_home: config.spark_home.clone(),
        default_master: config.spark_submit.master.clone(),
        default_conf: config.spark_submit.conf.clone(),
        stop_grace: spark_submit::DEFAULT_STOP_GRACE,
        host_lease: places.host_lease.clone(),
        logs: config.logs.limits,
        history: config.spark_submit.history.clone(),
    }
}

/// Every engine, whether its mode takes new jobs or not: jobs of before are looked after to their end.
fn engines(
    driver: spark_submit::Settings,
    connect: Arc<spark_connect::SparkConnect>,
    on_slurm: SlurmJobs,
) -> BTreeMap<Mode, Arc<dyn Engine>> {
    let submit: Arc<dyn Engine> = Arc::new(spark_submit::SparkSubmit::new(driver));
    let (connect, on_slurm): (Arc<dyn Engine>, Arc<dyn Engine>) = (connect, Arc::new(on_slurm));
    [(Mode::InCluster, connect), (Mode::SparkSubmit, submit), (Mode::Slurm, on_slurm)].into()
}
