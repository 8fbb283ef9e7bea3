//! The agent at work: look, keep, send.

use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use libra_api::client::{Client, ClientError};
use libra_api::hpc::samples::{BatchAnswer, SampleBatch};
use libra_core::time::Timestamp;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval_at};

use crate::gpu::nvml::NvidiaGpus;
use crate::gpu::{Gpus, LateGpus};
use crate::held::Held;
use crate::look::{Looker, Roots, Seen};
use crate::metrics::Metrics;
use crate::spool::{Spool, SpoolError};
use crate::{listen, push};

/// Between the two looks of [`once`].
const SHORT: Duration = Duration::from_secs(1);

/// What the agent is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where Libra answers.
    pub url: String,
    /// The cluster, as Libra knows it.
    pub cluster: String,
    /// The node, as its scheduler names it; None: the machine's name up to the first dot, and all jobs on it.
    pub node: Option<String>,
    /// Between two looks.
    pub interval: Duration,
    /// The file with Libra's key.
    pub token_file: Option<PathBuf>,
    /// Where to keep what was not sent; None: in memory.
    pub spool: Option<PathBuf>,
    /// How much to keep there, in bytes.
    pub spool_max: u64,
    /// Where to show the figures; None: nowhere.
    pub listen: Option<String>,
}

/// Why the agent does not work.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The spool can't be used.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The page has no address.
    #[error("the agent can't listen on {0}: {1}")]
    Listen(String, io::Error),
    /// Libra has not taken a batch.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The key can't be read.
    #[error("{0}")]
    Key(String),
    /// The process has no means to work with.
    #[error("the agent can't start: {0}")]
    Setup(io::Error),
}

/// What the parts of the agent share.
pub(crate) struct Shared {
    spool: Mutex<Spool>,
    held: Mutex<Held>,
    /// There is something to send.
    pub(crate) news: Notify,
    pub(crate) metrics: Metrics,
    /// It was said that the spool can't be written.
    is_full: AtomicBool,
    /// The same of what is held.
    pub(crate) is_held_full: AtomicBool,
    say: fn(&str),
}

impl Shared {
    pub(crate) fn spool(&self) -> MutexGuard<'_, Spool> {
        self.spool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What Libra could not take so far.
    pub(crate) fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn say(&self, text: &str) {
        (self.say)(text);
    }

    /// Keeps what was seen.
    fn keep(&self, seen: Seen, cluster: &str, node: &str) {
        for batch in seen.batches(cluster, node) {
            let samples = batch.samples.len() as u64;
            // Numbers and texts have a JSON, always.
            let Ok(text) = serde_json::to_string(&batch) else { continue };
            let put = self.spool().put(text, samples);
            self.written(&put, &self.is_full);
        }
        self.news.notify_one();
    }

    /// Says that the disk takes nothing, and when it does so again.
    pub(crate) fn written(&self, put: &io::Result<()>, is_full: &AtomicBool) {
        let was_full = is_full.swap(put.is_err(), Ordering::Relaxed);
        match put {
            Err(e) if !was_full => {
                self.say(&format!("the spool can't be written: {e}; what is seen is kept in memory"));
            }
            Ok(()) if was_full => self.say("the spool can be written again"),
            Ok(()) | Err(_) => {}
        }
    }
}

/// Looks and sends until it is told to end by SIGTERM or SIGINT. `say` tells people.
///
/// # Errors
/// When it can't begin. What goes wrong later is said, and tried again.
pub async fn run(options: Options, say: fn(&str)) -> Result<(), AgentError> {
    let node = options.node.clone().unwrap_or_else(machine);
    let (spool, held) = match &options.spool {
        Some(dir) => (Spool::open(dir, options.spool_max)?, Held::open(dir)?),
        None => (Spool::in_memory(), Held::in_memory()),
    };
    push::token(options.token_file.as_deref()).map_err(AgentError::Key)?;
    let client = Client::new(&options.url, None)?;
    let listener = match &options.listen {
        Some(address) => {
            let failed = |e| AgentError::Listen(address.clone(), e);
            let listener = TcpListener::bind(address).await.map_err(failed)?;
            say(&format!("figures are at http://{}/metrics", listener.local_addr().map_err(failed)?));
            Some(listener)
        }
        None => None,
    };
    let metrics = Metrics::new(&node);
    let shared = Arc::new(Shared {
        spool: Mutex::new(spool),
        held: Mutex::new(held),
        news: Notify::new(),
        metrics,
        is_full: AtomicBool::new(false),
        is_held_full: AtomicBool::new(false),
        say,
    });
    let mut terminated = signal(SignalKind::terminate()).map_err(AgentError::Setup)?;
    let mut interrupted = signal(SignalKind::interrupt()).map_err(AgentError::Setup)?;
    say(&format!(
        "looking at {node} of {} every {} s, for {}",
        options.cluster,
        options.interval.as_secs_f64(),
        options.url
    ));
    let page = async {
        match listener {
            Some(listener) => listen::run(Arc::clone(&shared), listener).await,
            None => std::future::pending().await,
        }
    };
    let sending = push::run(Arc::clone(&shared), client, options.token_file.clone());
    tokio::select! {
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
        () = look(&shared, &options, &node) => {}
        () = sending => {}
        ended = page => ended.map_err(AgentError::Setup)?,
    }
    Ok(())
}

/// Looks for ever. Looks are taken beside the sending: a driver that hangs must not hold it up.
async fn look(shared: &Arc<Shared>, options: &Options, node: &str) {
    let begun = Instant::now();
    // The first look gives no rates. The second one comes anywhere within an interval, so that a thousand agents that were
    // started together do not send together.
    let first = tokio::time::Instant::now() + spread(options.interval);
    let mut ticks = interval_at(first, options.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let fresh = || Looker::new(Roots::default(), options.node.clone(), gpus(shared.say));
    let mut looker = fresh();
    loop {
        let taken = tokio::task::spawn_blocking(move || {
            let at = Instant::now();
            let seen = looker.look(|| begun.elapsed(), now());
            (looker, seen, at.elapsed())
        });
        match taken.await {
            Ok((same, seen, took)) => {
                looker = same;
                shared.metrics.looked(took, seen.samples.len(), seen.unnamed, &seen.totals);
                shared.keep(seen, &options.cluster, node);
            }
            Err(e) => {
                shared.say(&format!("a look has failed, this is a bug: {e}"));
                looker = fresh();
            }
        }
        ticks.tick().await;
    }
}

/// Looks twice, a second apart, and sends once: what was seen, and what Libra says of each batch of it.
///
/// # Errors
/// When the key can't be read, or a batch is not taken: `show` was told of all of them by then.
pub async fn once(
    options: &Options,
    say: fn(&str),
    show: impl FnOnce(&[SampleBatch]),
) -> Result<Vec<BatchAnswer>, AgentError> {
    let node = options.node.clone().unwrap_or_else(machine);
    let begun = Instant::now();
    let mut looker = Looker::new(Roots::default(), options.node.clone(), gpus(say));
    looker.look(|| begun.elapsed(), now());
    tokio::time::sleep(SHORT).await;
    let batches = looker.look(|| begun.elapsed(), now()).batches(&options.cluster, &node);
    show(&batches);
    let token = push::token(options.token_file.as_deref()).map_err(AgentError::Key)?;
    let client = Client::new(&options.url, token)?;
    let mut answers = Vec::with_capacity(batches.len());
    for batch in &batches {
        let text = serde_json::to_string(batch).map_err(|e| AgentError::Setup(e.into()))?;
        answers.push(client.send_samples(text).await?);
    }
    Ok(answers)
}

/// The node's GPUs, once they answer.
fn gpus(say: fn(&str)) -> Box<dyn Gpus> {
    let (gpus, reason) = LateGpus::new(NvidiaGpus::load);
    if let Some(reason) = reason {
        say(&format!("there are no GPUs to look at yet: {reason}"));
    }
    Box::new(gpus)
}

/// The machine's name, up to the first dot, as Slurm takes it.
fn machine() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    name.split('.').next().unwrap_or_default().to_owned()
}

pub(crate) fn now() -> Timestamp {
    let micros = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
    Timestamp(i64::try_from(micros).unwrap_or(i64::MAX))
}

/// Anywhere within an interval.
fn spread(interval: Duration) -> Duration {
    let millis = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).max(1);
    Duration::from_millis(RandomState::new().hash_one(0) % millis)
}
