//! Asking Slurm: one read of each cluster that everybody shares, within its budget, and single questions for what that
//! does not tell (contract H4). The leader does it alone.
//!
//! Hooks are hints; what is read here is the truth. A Libra that was away asks accounting for what has ended meanwhile.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use libra_core::hpc::collect::{Asked, is_forgotten, is_number, of_cluster, unlisted, unseen_since};
use libra_core::hpc::job::HpcJob;
use libra_core::hpc::record::Record;
use libra_core::id::JobId;
use libra_core::time::Timestamp;
use libra_engines::slurm::{Budget, Error, Listing, REQUESTS_OF_A_LOOK, Slurm};
use libra_store::StoreError;
use libra_store::tables::facts;
use libra_store::tables::hpc::list;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::Shutdown;
use crate::service::{Heard, Service};
use crate::slurm::SlurmCluster;

/// It looks this often whether a read is due, or somebody has to be asked for.
const TICK: Duration = Duration::from_millis(500);
/// Single questions in one round, at most: the rest is asked in the next.
const MOST_SINGLE: usize = 20;
/// Records that are heard in one transaction, at most.
const HEARD_AT_ONCE: usize = 200;

pub(super) async fn run(service: Arc<Service>, mut shutdown: Shutdown) {
    let mut clusters = JoinSet::new();
    for cluster in service.slurm.iter() {
        clusters.spawn(collect(Arc::clone(&service), Arc::clone(cluster), shutdown.clone()));
    }
    shutdown.wait().await;
    clusters.join_all().await;
}

async fn collect(service: Arc<Service>, cluster: Arc<SlurmCluster>, mut shutdown: Shutdown) {
    let mut collector: Option<(i64, Collector)> = None;
    loop {
        tokio::select! {
            () = shutdown.wait() => return,
            () = sleep(TICK) => {}
        }
        let Some(epoch) = service.leader_epoch() else {
            if collector.take().is_some() {
                // Whoever leads now knows.
                cluster.note_trouble(None);
                service.metrics.hpc.reads_no_more(&cluster.name);
            }
            continue;
        };
        let (_, collector) = match &mut collector {
            Some(of) if of.0 == epoch => of,
            other => {
                // Never, until it was.
                service.metrics.hpc.read(&cluster.name, Timestamp(0));
                other.insert((epoch, Collector::new(&service, &cluster)))
            }
        };
        tokio::select! {
            () = shutdown.wait() => return,
            looked = collector.round() => {
                if let Err(error) = looked {
                    cluster.note_trouble(Some(format!("what it says can't be stored: {error}")));
                    tracing::warn!(%error, cluster = cluster.name, "what Slurm says could not be stored; trying again");
                }
            }
        }
    }
}

/// What is remembered of a cluster while this replica leads.
struct Collector {
    service: Arc<Service>,
    cluster: Arc<SlurmCluster>,
    budget: Budget,
    /// What to name in the next read.
    mark: Option<Timestamp>,
    /// The numbers in the last list, and when that was asked for; None before the first.
    listed: Option<(BTreeSet<String>, Timestamp)>,
    /// Records of jobs that have ended, which need not be heard again.
    settled: HashMap<String, Record>,
    /// Jobs that nobody knows, and since when.
    missed: HashMap<JobId, Timestamp>,
    /// Jobs that are in no list, and how they were asked for.
    asked: HashMap<JobId, Asked>,
    /// What the cluster calls itself, once it has told of a job.
    own_name: Option<String>,
    /// What was last wrong with any question, so that it is logged once.
    trouble: Option<String>,
    /// True once accounting has said that there is none.
    no_accounting: bool,
}

impl Collector {
    fn new(service: &Arc<Service>, cluster: &Arc<SlurmCluster>) -> Self {
        Self {
            service: Arc::clone(service),
            cluster: Arc::clone(cluster),
            budget: Budget::new(cluster.requests_per_minute, cluster.interval_seconds),
            mark: None,
            listed: None,
            settled: HashMap::new(),
            missed: HashMap::new(),
            asked: HashMap::new(),
            own_name: None,
            trouble: None,
            no_accounting: false,
        }
    }

    fn slurm(&self) -> &Slurm {
        &self.cluster.slurm
    }

    async fn round(&mut self) -> Result<(), StoreError> {
        let now = self.service.clock.now();
        if self.budget.shared_read_at(now, REQUESTS_OF_A_LOOK) > now {
            return Ok(());
        }
        if self.look(now).await? {
            self.ask_for_the_unlisted().await?;
        }
        Ok(())
    }

    /// False where nobody has answered.
    async fn look(&mut self, asked_at: Timestamp) -> Result<bool, StoreError> {
        self.budget.spend(asked_at, REQUESTS_OF_A_LOOK);
        let looked = self.slurm().look(self.mark).await;
        let now = self.service.clock.now();
        let look = match looked {
            Ok(look) => look,
            Err(error) => {
                if matches!(error, Error::Unreachable(_) | Error::ControllerAway(_)) {
                    self.budget.unreached(now);
                } else {
                    self.budget.failed(now);
                }
                self.is_in_trouble(&error);
                self.cluster.note_trouble(Some(format!("{error}; {}", error.hint())));
                return Ok(false);
            }
        };
        self.budget.read(now, now.0.saturating_sub(asked_at.0), look.load);
        if self.cluster.note_trouble(None).is_some() {
            self.trouble = None;
            tracing::info!(cluster = self.cluster.name, "Slurm answers again");
        }
        let named =
            look.jobs.iter().flat_map(|listing| &listing.records).find_map(|record| record.cluster.clone());
        self.own_name = named.or(self.own_name.take());
        let nothing_unseen = self.ask_for_the_unseen(now).await?;
        let mut mark = look.mark;
        if let Some(listing) = look.jobs {
            let numbers = listing.records.iter().map(|record| record.external_id.clone()).collect();
            self.listed = Some((numbers, asked_at));
            self.settled
                .retain(|number, _| self.listed.as_ref().is_some_and(|(all, _)| all.contains(number)));
            if !self.hear_all(listing, asked_at).await? {
                // Somebody else changed a row meanwhile: everything is to be told again.
                mark = None;
            }
        } else if let Some((_, at)) = &mut self.listed {
            // Nothing has changed: the last list is as good as one of now.
            *at = asked_at;
        }
        self.mark = mark;
        // Only now is it known to everybody.
        self.service.metrics.hpc.read(&self.cluster.name, now);
        if nothing_unseen {
            let fact = self.fact();
            self.service.db.write(move |tx| facts::set(tx, &fact, &asked_at.0.to_string())).await?;
        }
        Ok(true)
    }

    /// What the cluster calls itself. Before it has told of a job, its configured name, if accounting knows one of that.
    fn own_name(&self, accounted: &[Record]) -> Option<String> {
        let configured = || {
            let name = &self.cluster.name;
            accounted.iter().any(|record| record.cluster.as_ref() == Some(name)).then(|| name.clone())
        };
        self.own_name.clone().or_else(configured)
    }

    fn fact(&self) -> String {
        format!("slurm_looked_at:{}", self.cluster.name)
    }

    /// What began and ended while nobody looked is in accounting alone. False where that has to be asked again.
    async fn ask_for_the_unseen(&mut self, now: Timestamp) -> Result<bool, StoreError> {
        let fact = self.fact();
        let looked_at = self.service.db.read(move |tx| facts::get(tx, &fact)).await?;
        let looked_at = looked_at.and_then(|text| text.parse().ok()).map(Timestamp);
        let Some(from) = unseen_since(looked_at, now).filter(|_| !self.no_accounting) else {
            return Ok(true);
        };
        self.budget.spend(now, 1);
        match self.slurm().accounted_between(from, now).await {
            Ok(listing) => {
                let own = self.own_name(&listing.records);
                let records = of_cluster(listing.records, own.as_deref());
                self.hear_all(Listing { records, ..listing }, now).await
            }
            Err(Error::NoAccounting(_)) => {
                self.no_accounting = true;
                Ok(true)
            }
            Err(error) => {
                self.is_in_trouble(&error);
                Ok(false)
            }
        }
    }

    /// False where some of it could not be stored, because somebody else was faster.
    async fn hear_all(&mut self, listing: Listing, asked_at: Timestamp) -> Result<bool, StoreError> {
        if listing.skipped > 0 {
            tracing::warn!(
                cluster = self.cluster.name,
                jobs = listing.skipped,
                "Slurm tells of jobs in a way that can't be read"
            );
        }
        let new = listing
            .records
            .into_iter()
            .filter(|record| self.settled.get(&record.external_id) != Some(record));
        let new: Vec<Record> = new.collect();
        let mut all = true;
        for some in new.chunks(HEARD_AT_ONCE) {
            let heard = self.service.hear_records(&self.cluster.name, some, asked_at).await?;
            all &= heard.len() == some.len();
            for Heard { record, ended } in heard {
                if ended {
                    self.settled.insert(record.external_id.clone(), record);
                }
            }
        }
        Ok(all)
    }

    /// Asks for each job that has not ended and is in no list, as far as the budget goes.
    async fn ask_for_the_unlisted(&mut self) -> Result<(), StoreError> {
        let Some((listed, at)) = &self.listed else { return Ok(()) };
        let of = self.cluster.name.clone();
        let open = self.service.db.read(move |tx| list::open(tx, &of)).await?;
        let missing =
            unlisted(&open, listed, *at).into_iter().filter(|job| is_number(&job.record.external_id));
        let mut missing: Vec<HpcJob> = missing.cloned().collect();
        // Who is listed again in between is missed anew.
        let ids: HashSet<JobId> = missing.iter().map(|job| job.id).collect();
        self.missed.retain(|id, _| ids.contains(id));
        self.asked.retain(|id, _| ids.contains(id));
        // Those that have waited longest for their question: nobody is kept from it by those who are asked for in vain.
        missing.sort_by_key(|job| self.asked.get(&job.id).unwrap_or(&Asked::NEVER).next);
        for (n, job) in missing.into_iter().take(MOST_SINGLE).enumerate() {
            let now = self.service.clock.now();
            let asked = self.asked.get(&job.id).copied().unwrap_or(Asked::NEVER);
            // The next shared read is worth more than single questions; one of them has to be possible with any budget.
            let kept_free = if n == 0 { 0 } else { REQUESTS_OF_A_LOOK };
            if asked.next > now || self.budget.free_at(now, 2 + kept_free) > now {
                break;
            }
            self.budget.spend(now, 2);
            self.asked.insert(job.id, asked.once_more(now));
            self.ask_for(&job, now).await?;
        }
        Ok(())
    }

    async fn ask_for(&mut self, job: &HpcJob, asked_at: Timestamp) -> Result<(), StoreError> {
        let number = job.record.external_id.clone();
        let told = match self.slurm().job(&number).await {
            Ok(records) => records,
            Err(Error::UnknownJob) => match self.slurm().accounted(std::slice::from_ref(&number)).await {
                Ok(listing) => listing.records,
                Err(Error::NoAccounting(_)) => Vec::new(),
                Err(error) => {
                    self.is_in_trouble(&error);
                    return Ok(());
                }
            },
            Err(error) => {
                self.is_in_trouble(&error);
                return Ok(());
            }
        };
        let own = self.own_name(&told);
        let told = of_cluster(told, own.as_deref()).into_iter();
        let told: Vec<Record> = told.filter(|record| record.external_id == number).collect();
        if !told.is_empty() {
            self.missed.remove(&job.id);
            return self.service.hear_records(&self.cluster.name, &told, asked_at).await.map(drop);
        }
        if is_forgotten(*self.missed.entry(job.id).or_insert(asked_at), asked_at) {
            self.missed.remove(&job.id);
            self.service.hear_of_forgotten(&self.cluster.name, &number).await?;
        }
        Ok(())
    }

    fn is_in_trouble(&mut self, error: &Error) {
        self.service.metrics.hpc.unread(&self.cluster.name);
        let words = error.to_string();
        if self.trouble.as_ref() != Some(&words) {
            tracing::warn!(%error, cluster = self.cluster.name, hint = error.hint(), "Slurm can't be asked; trying again");
        }
        self.trouble = Some(words);
    }
}
