//! The scene: everything that runs, and everybody who watches it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use libra_api::client::Client;
use libra_api::views::JobView;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::callers::{Callers, random};
use crate::clock::now;
use crate::cluster::Cluster;
use crate::faults::Made;
use crate::injector::Injector;
use crate::leaders::Leaders;
use crate::ledger::Ledger;
use crate::load;
use crate::readers;
use crate::settings::Settings;

/// Nothing is broken any more so long before the last submission: what stands still afterwards may do so because
/// nothing is to do.
const LAST_FAULT_BEFORE_END: Duration = Duration::from_secs(15);
/// A job that has not ended this long after everything was mended will not end.
const SETTLE: Duration = Duration::from_mins(4);
/// A driver is gone at the latest this long after its job's end.
const GONE: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(500);
/// Jobs on a page of the list.
const PAGE: &str = "1000";
/// The longest wait for one answer in the end, when nothing is broken.
const PATIENCE: Duration = Duration::from_mins(1);

/// A cluster with everybody who watches it.
pub(crate) struct Scene {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) callers: Callers,
    leaders: Arc<Leaders>,
    fed: Arc<AtomicI64>,
    watchers: JoinSet<()>,
}

impl Scene {
    pub(crate) async fn open(settings: &Settings) -> Result<Self, String> {
        let cluster = Arc::new(Cluster::start(settings).await?);
        let ledger = Arc::new(Ledger::default());
        let callers = Callers::new(&cluster.urls, ledger);
        let leaders = Arc::new(Leaders::new(now()));
        let fed = Arc::new(AtomicI64::new(0));
        let mut watchers = JoinSet::new();
        let seed = settings.seed;
        let (c, k) = (Arc::clone(&cluster), callers.clone());
        watchers.spawn(async move { c.watch(&k.ledger).await });
        let (l, k) = (Arc::clone(&leaders), callers.clone());
        watchers.spawn(async move { l.watch(&k, seed).await });
        let k = callers.clone();
        watchers.spawn(async move { readers::jobs(&k, seed).await });
        let (c, k) = (Arc::clone(&cluster), callers.clone());
        watchers.spawn(async move { load::again(&c, &k, seed).await });
        let (k, f) = (callers.clone(), Arc::clone(&fed));
        watchers.spawn(async move { readers::feed(&k, seed, &f).await });
        Ok(Self { cluster, callers, leaders, fed, watchers })
    }

    /// Jobs and faults for the time of the settings, or until Ctrl-C; then everything is mended. Answers the faults.
    pub(crate) async fn play(&mut self, settings: &Settings) -> Vec<Made> {
        let (stop_load, load_stopped) = watch::channel(false);
        let (stop_faults, faults_stopped) = watch::channel(false);
        let injector = Arc::new(Injector {
            cluster: Arc::clone(&self.cluster),
            callers: self.callers.clone(),
            leaders: Arc::clone(&self.leaders),
            settings: settings.clone(),
            made: Mutex::default(),
        });
        let load = tokio::spawn(load::submit(
            Arc::clone(&self.cluster),
            self.callers.clone(),
            settings.clone(),
            load_stopped,
        ));
        let faults = tokio::spawn(Arc::clone(&injector).run(faults_stopped));
        tokio::select! {
            () = sleep(settings.time.saturating_sub(LAST_FAULT_BEFORE_END)) => {}
            _ = tokio::signal::ctrl_c() => eprintln!("no more faults"),
        }
        let _ = stop_faults.send(true);
        faults.await.unwrap();
        if let Err(why) = self.cluster.mended().await {
            self.callers.ledger.wrong(why);
        }
        tokio::select! {
            () = sleep(LAST_FAULT_BEFORE_END.min(settings.time)) => {}
            _ = tokio::signal::ctrl_c() => eprintln!("no more jobs"),
        }
        let _ = stop_load.send(true);
        eprintln!("everything is mended; waiting for the last jobs …");
        load.await.unwrap();
        self.settle().await;
        injector.made.lock().await.clone()
    }

    /// Waits until every job has ended and the whole log was read from the feed.
    async fn settle(&self) {
        let open =
            "SELECT count(*) FROM jobs WHERE state NOT IN ('SUCCEEDED', 'FAILED', 'CANCELLED', 'TIMEOUT')";
        let unread = "SELECT (SELECT count(*) FROM transitions), (SELECT max(first_seq + length) - 1 FROM feed_segments)";
        let begun = Instant::now();
        let mut state;
        loop {
            let count = self.cluster.query(open).await;
            let log = self.cluster.query(unread).await.join("");
            let newest = log.split('|').next_back().and_then(|n| n.parse::<i64>().ok());
            let read = self.fed.load(Ordering::Relaxed);
            state = format!("{} jobs open, log {log}, feed read to {read}", count.join(""));
            if count == ["0"] && newest == Some(read) {
                return;
            }
            if begun.elapsed() > SETTLE {
                break;
            }
            sleep(LOOK).await;
        }
        self.callers.ledger.wrong(format!("it does not settle within {SETTLE:?}: {state}"));
    }

    /// All jobs as the API shows them.
    pub(crate) async fn jobs(&self, seed: u64) -> Result<Vec<JobView>, String> {
        let mut dice = random(seed, 9);
        let (mut jobs, mut cursor) = (Vec::new(), None);
        loop {
            let mut query = vec![("limit", PAGE.to_owned())];
            query.extend(cursor.map(|cursor| ("cursor", cursor)));
            let list = |client: Client| {
                let query = &query;
                async move { client.jobs(query).await }
            };
            let page = self.callers.call(&mut dice, Instant::now() + PATIENCE, list).await;
            let page = page.ok_or("nobody lists the jobs")?.map_err(|no| no.message)?;
            jobs.extend(page.jobs);
            match page.next_cursor {
                Some(next) => cursor = Some(next),
                None => return Ok(jobs),
            }
        }
    }

    /// One job with its attempts and rows.
    pub(crate) async fn job(&self, id: &str, seed: u64) -> Option<JobView> {
        let mut dice = random(seed, 10);
        let read = |client: Client| async move { client.job(id, Duration::ZERO).await };
        self.callers.call(&mut dice, Instant::now() + PATIENCE, read).await?.ok()
    }

    /// Ends everything; answers what is wrong with that.
    pub(crate) async fn close(&mut self) -> Vec<String> {
        sleep(GONE).await;
        let left = self.cluster.drivers().await;
        let mut wrong: Vec<String> =
            left.into_iter().map(|p| format!("alive although every job has ended: {p}")).collect();
        self.watchers.shutdown().await;
        wrong.extend(self.cluster.stop().await);
        wrong
    }
}
