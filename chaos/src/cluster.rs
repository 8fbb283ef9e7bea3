//! Everything that runs: PostgreSQL, Redis, and the replicas, each behind a network of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use libra_testkit::{Postgres, Redis, Setup, processes, watchdog};
use tokio::sync::Mutex;
use tokio::task::block_in_place;
use tokio::time::sleep;

use crate::ledger::Ledger;
use crate::proxy::Proxy;
use crate::replica::Replica;
use crate::settings::Settings;
use crate::stand_in::{self, StandIn};

/// A replica that could not start, its database being away, is started again after this long, as by a service
/// manager.
const START_AGAIN: Duration = Duration::from_secs(1);
/// What is still alive this long after the last replica has ended was left over.
const LEFT_OVER_AFTER: Duration = Duration::from_secs(20);

/// Below which directory the shared Spark server works.
const SPARK_SERVER: &str = "/connect/";

/// Everything that runs. Whatever breaks a part of it holds that part's lock until it has mended it.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) postgres: Arc<Mutex<Postgres>>,
    pub(crate) redis: Option<Arc<Mutex<Redis>>>,
    pub(crate) replicas: Vec<Arc<Mutex<Replica>>>,
    /// The addresses of the replicas.
    pub(crate) urls: Vec<String>,
    /// The ids of the replicas.
    pub(crate) ids: Vec<String>,
    /// The database, past the replicas' networks.
    pub(crate) database: String,
    pub(crate) stand_in: StandIn,
    /// What the jobs leave behind.
    pub(crate) marks: PathBuf,
    /// Where everything works; whatever works there in the end was left over.
    work: PathBuf,
}

impl Cluster {
    /// Starts all of it, below `settings.keep`.
    pub(crate) async fn start(settings: &Settings) -> Result<Self, String> {
        fs::create_dir_all(&settings.keep).map_err(|e| format!("{}: {e}", settings.keep.display()))?;
        let keep = settings.keep.canonicalize().map_err(|e| e.to_string())?;
        let work = keep.join("work");
        fs::create_dir(&work).map_err(|e| format!("{}: {e}", work.display()))?;
        watchdog::watch(&work);
        let stand_in = stand_in::make(&work).map_err(|e| e.to_string())?;
        let (postgres, redis) = block_in_place(|| (Postgres::start(), settings.redis.then(Redis::start)));
        let database = block_in_place(|| postgres.create_database());
        let name = database.rsplit('/').next().unwrap_or_default().to_owned();
        let mut replicas = Vec::new();
        for number in 1..=settings.replicas {
            let proxy = Proxy::start(postgres.port()).await.map_err(|e| e.to_string())?;
            let id = format!("replica-{number}");
            let store = format!("postgres://postgres@127.0.0.1:{}/{name}", proxy.port());
            let mut setup =
                setup(settings, &work, &stand_in).env("LIBRA_STORE_URL", &store).env("LIBRA_REPLICA_ID", &id);
            if let Some(redis) = &redis {
                setup = setup.env("REDIS_URL", &redis.url());
            }
            let log = keep.join(format!("{id}.log"));
            replicas.push(Replica::new(&id, setup, proxy, &work, log).map_err(|e| e.to_string())?);
        }
        for replica in &mut replicas {
            replica.launch();
        }
        for replica in &mut replicas {
            replica.listening().await?;
        }
        Ok(Self {
            urls: replicas.iter().map(|r| r.url.clone()).collect(),
            ids: replicas.iter().map(|r| r.id.clone()).collect(),
            replicas: replicas.into_iter().map(|r| Arc::new(Mutex::new(r))).collect(),
            postgres: Arc::new(Mutex::new(postgres)),
            redis: redis.map(|redis| Arc::new(Mutex::new(redis))),
            database,
            stand_in,
            marks: keep.join("marks"),
            work,
        })
    }

    /// The directory of an attempt's files.
    pub(crate) fn attempt_dir(&self, job: &str, attempt: u32) -> PathBuf {
        shared(&self.work).join("jobs").join(job).join(attempt.to_string())
    }

    /// Rows of the database, one a line, with `|` between columns.
    pub(crate) async fn query(&self, sql: &str) -> Vec<String> {
        let postgres = self.postgres.lock().await;
        let text = block_in_place(|| postgres.query(&self.database, sql));
        text.lines().map(str::to_owned).collect()
    }

    /// Starts again whatever has ended by itself, for ever.
    pub(crate) async fn watch(&self, ledger: &Ledger) {
        let mut listened = vec![false; self.replicas.len()];
        loop {
            for (replica, listened) in self.replicas.iter().zip(&mut listened) {
                // Somebody breaks or mends it.
                let Ok(mut replica) = replica.try_lock() else { continue };
                if let Some(status) = replica.ended_by_itself() {
                    if *listened {
                        ledger.wrong(format!("{} ended by itself with {status}", replica.id));
                    }
                    replica.launch();
                }
                *listened = replica.listens();
            }
            sleep(START_AGAIN).await;
        }
    }

    /// When attempts were taken over, and from whom, by the logs of the replicas.
    pub(crate) fn takeovers(&self) -> Vec<(i64, String)> {
        let keep = self.marks.parent().unwrap_or(&self.work);
        let logs = self.ids.iter().filter_map(|id| fs::read_to_string(keep.join(format!("{id}.log"))).ok());
        let takeover = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).ok()?;
            let told = line["message"].as_str()? == "an attempt is taken over";
            let at = crate::clock::parse(line["timestamp"].as_str()?)?;
            told.then_some((at, line["from"].as_str()?.to_owned()))
        };
        logs.flat_map(|log| log.lines().filter_map(takeover).collect::<Vec<_>>()).collect()
    }

    /// Every replica listens again.
    pub(crate) async fn mended(&self) -> Result<(), String> {
        for replica in &self.replicas {
            let mut replica = replica.lock().await;
            if replica.pid().is_none() {
                replica.launch();
            }
            replica.listening().await?;
        }
        Ok(())
    }

    /// The processes of the replicas.
    pub(crate) async fn pids(&self) -> Vec<(String, i32)> {
        let mut pids = Vec::new();
        for replica in &self.replicas {
            let replica = replica.lock().await;
            pids.extend(replica.pid().map(|pid| (replica.id.clone(), pid)));
        }
        pids
    }

    /// Shims and drivers of jobs: all that works here but the replicas and the shared Spark server.
    pub(crate) async fn drivers(&self) -> Vec<String> {
        let own: Vec<i32> = self.pids().await.into_iter().map(|(_, pid)| pid).collect();
        let jobs = shared(&self.work).join("jobs").display().to_string();
        described(&self.work)
            .into_iter()
            .filter(|(pid, line)| !own.contains(pid) && line.contains(&jobs))
            .map(|(pid, line)| format!("{pid} {line}"))
            .collect()
    }

    /// Ends every replica, and answers what went wrong with that and what was left over.
    pub(crate) async fn stop(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for replica in &self.replicas {
            if let Err(why) = replica.lock().await.terminate().await {
                wrong.push(why);
            }
        }
        // The Spark server of this host is not any one replica's to end: it would end by itself after its keepalive.
        for (pid, line) in described(&self.work) {
            if line.contains(SPARK_SERVER) {
                processes::terminate(pid);
            }
        }
        let mut left = described(&self.work);
        let mut waited = Duration::ZERO;
        while !left.is_empty() && waited < LEFT_OVER_AFTER {
            sleep(START_AGAIN).await;
            waited += START_AGAIN;
            left = described(&self.work);
        }
        for (pid, line) in left {
            processes::kill(pid);
            wrong.push(format!("left over after the end: {pid} {line}"));
        }
        wrong
    }

    /// Removes the files of the jobs, or moves them to where they are kept: the watchdog removes the place where they
    /// are.
    pub(crate) fn clear(&self, keep: bool) {
        if keep {
            let _ = fs::rename(&self.work, self.work.with_file_name("files"));
        } else {
            let _ = fs::remove_dir_all(&self.work);
        }
    }
}

/// The directory that all replicas share.
fn shared(work: &Path) -> PathBuf {
    work.join("shared")
}

fn setup(settings: &Settings, work: &Path, stand_in: &StandIn) -> Setup {
    let text = |path: &Path| path.display().to_string();
    // The jobs are small, whatever they claim: only their number is limited.
    let setup = Setup::new(&settings.libra)
        // One replica's end must not end the server that the others use as well.
        .env("LIBRA_EXECUTION_MODES_IN_CLUSTER_STOP_SERVER_ON_SHUTDOWN", "false")
        .env("LIBRA_REPLICA_LEASE", &format!("{}ms", settings.lease.as_millis()))
        .env("LIBRA_SHARED_DIR", &text(&shared(work)))
        .env("LIBRA_SPARK_HOME", &text(&stand_in.home))
        .env("LIBRA_RESOURCES_LIMITS_CPU_CORES", "1000")
        .env("LIBRA_RESOURCES_LIMITS_MEMORY_GB", "1000")
        .env(
            "LIBRA_RESOURCES_QUOTAS_SPARK_SUBMIT_MAX_CONCURRENT_JOBS",
            &settings.concurrent_jobs.to_string(),
        );
    match settings.keep_jobs {
        Some(jobs) => setup.env("LIBRA_RETENTION_MAX_JOBS", &jobs.to_string()),
        None => setup,
    }
}

/// What works below `work`, with its command line and its directory.
fn described(work: &Path) -> Vec<(i32, String)> {
    let describe = |pid: i32| {
        let cwd = fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
        (pid, format!("{}in {}", processes::command_line(pid), cwd.display()))
    };
    processes::working_below(work).into_iter().map(describe).collect()
}
