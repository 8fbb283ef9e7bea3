//! Jobs of Libra's own on Slurm clusters (contract H6): scripts, and Spark jobs, whose script is ours ([`super::spark`]).
//!
//! A submission is made once: whoever creates the attempt's `owner` file may send it, and its comment carries the attempt's
//! token. What became of it is not asked for here: [`Records`] has what the one read of a cluster has brought, that all share.

mod asked;
mod claim;
mod outcome;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use libra_core::allocation::tasks_of;
use libra_core::attempt::{Exit, Handle, Links, Outcome};
use libra_core::failure::{ErrorClass, Failure};
use libra_core::hpc::job::HpcJob;
use libra_core::hpc::record::Record;
use libra_core::id::Token;
use libra_core::spec::JobSpec;
use libra_core::time::Timestamp;
use serde_json::json;
use tokio::sync::Notify;

use self::claim::{Claim, Taken};
use self::outcome::Submitted;
use super::{Error, Slurm, Submission, spark};
use crate::attempt_dir::AttemptDir;
use crate::engine::{
    CancelOutcome, Engine, EngineError, Launch, LaunchError, Launched, Observation, Running,
};
use crate::failpoint;
use crate::shim::records;
use crate::spark_submit;

/// A submission whose answer was lost may still be on its way for so long: the patience of slurmctld and slurmrestd with a
/// message (`MessageTimeout`, 10 s unless the site says otherwise, and 100 s at most), and half as much again.
const SETTLES_SECONDS: i64 = 150;
/// Accounting is asked from so long before it was sent: Slurm's clock may be behind ours.
const FOUND_BEFORE_SECONDS: i64 = 3_600;
/// What is not known yet of one attempt is looked for this often.
const LOOKED_AGAIN: Duration = Duration::from_secs(10);
/// slurmctld knows every job for so long after its end, at least where `MinJobAge` (300 s) was left alone.
const KNOWN_SECONDS: i64 = 240;
/// A cancellation is told again after so long.
const TOLD_AGAIN: Duration = Duration::from_secs(15);
/// Whether a cancelled job has ended is asked this often.
const ASKED_AGAIN: Duration = Duration::from_secs(2);
/// Trouble of which nobody has heard for so long is over.
const TROUBLE_LASTS: Duration = Duration::from_mins(1);

/// What Libra knows of Slurm's jobs: the read of a cluster that everybody shares.
pub trait Records: Send + Sync {
    /// The newest job with this number, and the tasks or parts of it.
    fn of<'a>(&'a self, cluster: &'a str, number: &'a str)
    -> BoxFuture<'a, Result<Vec<HpcJob>, EngineError>>;

    /// Slurm has said this when it was asked at that time.
    fn hear<'a>(
        &'a self,
        cluster: &'a str,
        records: Vec<Record>,
        asked_at: Timestamp,
    ) -> BoxFuture<'a, Result<(), EngineError>>;
}

/// A cluster to submit to.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Its client.
    pub slurm: Slurm,
    /// Whether its nodes see the files of Libra's data directory under the same paths, and its jobs may write there.
    pub shares_files: bool,
    /// Where its nodes have Spark; None: where this machine has it.
    pub spark_home: Option<PathBuf>,
}

/// The engine.
pub struct SlurmJobs {
    clusters: BTreeMap<String, Cluster>,
    records: Arc<dyn Records>,
    heard: Arc<Notify>,
    cancels: Mutex<HashMap<Token, Cancel>>,
    asked: Mutex<HashMap<Token, Instant>>,
    trouble: Mutex<BTreeMap<String, (Instant, String)>>,
    spark: spark_submit::Settings,
}

/// What was done about a cancellation, and when.
#[derive(Clone, Copy, Debug)]
struct Cancel {
    told: Instant,
    asked: Instant,
}

impl SlurmJobs {
    /// An engine for these clusters, by name. `heard` wakes those who wait for news; `spark` is what drivers of Spark are
    /// started with.
    pub fn new(
        clusters: BTreeMap<String, Cluster>,
        records: Arc<dyn Records>,
        heard: Arc<Notify>,
        spark: spark_submit::Settings,
    ) -> Self {
        Self {
            clusters,
            records,
            heard,
            cancels: Mutex::default(),
            asked: Mutex::default(),
            trouble: Mutex::default(),
            spark,
        }
    }

    fn cluster(&self, spec: &JobSpec) -> Option<(&str, &Cluster)> {
        let (name, cluster) = self.clusters.get_key_value(spec.cluster.as_deref()?)?;
        Some((name, cluster))
    }

    /// The cluster of an attempt. One that is configured no more may come back.
    fn cluster_of(&self, launch: &Launch) -> Result<(&str, &Cluster), EngineError> {
        self.cluster(&launch.spec).ok_or_else(|| {
            let name = launch.spec.cluster.as_deref().unwrap_or_default();
            EngineError(format!("the Slurm cluster `{name}` is not configured any more"))
        })
    }

    /// Remembers what is wrong with a cluster, so that waiting jobs can say it.
    fn note_trouble(&self, cluster: &str, trouble: Option<&Error>) {
        let mut all = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match trouble {
            Some(error) => {
                let words = format!("Slurm `{cluster}`: {error}; {}", error.hint());
                all.insert(cluster.to_owned(), (Instant::now(), words))
            }
            None => all.remove(cluster),
        };
    }

    async fn submit(&self, launch: &Launch) -> Result<Launched, LaunchError> {
        let unknown = |e: &dyn std::fmt::Display| LaunchError::Unknown(e.to_string());
        let (name, cluster) = self.cluster_of(launch).map_err(|e| LaunchError::NotNow(e.0))?;
        let dir = AttemptDir::new(&launch.dir);
        if let Some(taken) = claim::taken(&dir).map_err(|e| unknown(&e))? {
            return Ok(launched(&taken));
        }
        // What was sent may run by now, with the files that are there.
        if claim::read(&dir).map_err(|e| unknown(&e))?.is_some() {
            return Err(LaunchError::Unknown("it was submitted or revoked before".to_owned()));
        }
        let submission = match self.made_ready(launch, name, cluster, &dir).await {
            Ok(submission) => submission,
            Err(error) => {
                // Who comes too late has nothing here to clear away: it may be somebody else's by now.
                if !launch.is_late() && matches!(claim::read(&dir), Ok(None)) {
                    asked::forget(launch, &dir);
                }
                return Err(error);
            }
        };
        if launch.is_late() {
            return Err(LaunchError::Unknown("it came too late to be submitted".to_owned()));
        }
        let at = records::now();
        let claim = Claim::Sent { cluster: name.to_owned(), at };
        if !claim::make(&dir, &claim).map_err(|e| unknown(&e))? {
            return Err(LaunchError::Unknown("it was submitted or revoked before".to_owned()));
        }
        failpoint::hit("after-owner");
        // The disk may have taken its time, and somebody else the attempt.
        if launch.is_late() {
            return Err(LaunchError::Unknown("it came too late to be submitted".to_owned()));
        }
        match cluster.slurm.submit(&submission).await {
            Ok(number) => {
                failpoint::hit("after-spawn");
                let taken = Taken { cluster: name.to_owned(), job: Some(number), at };
                claim::keep(&dir, &taken).map_err(|e| unknown(&e))?;
                self.make_known(launch, &taken).await;
                Ok(launched(&taken))
            }
            Err(Error::Refused(words)) => {
                asked::forget(launch, &dir);
                Err(refused(&words))
            }
            Err(error) if error.is_unclear() => Err(unknown(&error)),
            // Nothing was sent; it is as if nobody had tried.
            Err(error) => {
                self.note_trouble(name, Some(&error));
                // Before it is anybody's again.
                asked::forget(launch, &dir);
                claim::withdraw(&dir).map_err(|e| unknown(&e))?;
                Err(LaunchError::NotNow(error.to_string()))
            }
        }
    }

    /// What is sent, with its files written, once the cluster answers. Its errors are those of which nothing was sent.
    async fn made_ready(
        &self,
        launch: &Launch,
        name: &str,
        cluster: &Cluster,
        dir: &AttemptDir,
    ) -> Result<Submission, LaunchError> {
        let submission =
            asked::submission_of(launch, cluster, &self.spark, dir).map_err(LaunchError::Refused)?;
        submission.check().map_err(|flaw| refused(&flaw.words))?;
        // What can't be reached is not sent anything: then nothing has to be looked for.
        let reached = cluster.slurm.ping().await;
        self.note_trouble(name, reached.as_ref().err());
        reached.map_err(|e| LaunchError::NotNow(e.to_string()))?;
        asked::prepare(dir, cluster).map_err(|e| {
            let message = "The attempt's files could not be written. Check the free space and the permissions of \
                           Libra's data directory.";
            let failure = Failure::new(ErrorClass::Infrastructure, "attempt_dir_unwritable", message);
            LaunchError::Refused(failure.with_detail(e.to_string()))
        })?;
        Ok(submission)
    }

    /// Slurm has the job: everybody knows of it from now on, and it is asked for even if it is in no list. Said as of when it
    /// was sent: whatever Slurm has said of it since is newer. When it was submitted is Slurm's to say, by its own clock: one that it
    /// puts later is another job of the same number.
    async fn make_known(&self, launch: &Launch, taken: &Taken) {
        let Some(number) = &taken.job else { return };
        let record = Record {
            external_id: number.clone(),
            raw_state: "PENDING".to_owned(),
            name: Some(asked::name_of(launch)),
            comment: Some(launch.token.to_string()),
            ..Record::default()
        };
        if let Err(error) = self.records.hear(&taken.cluster, vec![record], taken.at).await {
            tracing::warn!(job_id = %launch.job_id, number, %error, "a submitted job is not among those of its cluster yet");
        }
    }

    /// What came of a submission without an answer; of one that never ran, no secret stays.
    async fn look_for(&self, launch: &Launch) -> Result<Option<Launched>, EngineError> {
        let found = self.find_sent(launch).await?;
        if found.is_none() {
            asked::forget(launch, &AttemptDir::new(&launch.dir));
        }
        Ok(found)
    }

    async fn find_sent(&self, launch: &Launch) -> Result<Option<Launched>, EngineError> {
        let dir = AttemptDir::new(&launch.dir);
        let unanswered = |e: std::io::Error| EngineError(e.to_string());
        if let Some(taken) = claim::taken(&dir).map_err(unanswered)? {
            return Ok(Some(launched(&taken)));
        }
        let claimed = match claim::read(&dir).map_err(unanswered)? {
            None if claim::make(&dir, &Claim::Revoked).map_err(unanswered)? => return Ok(None),
            None => claim::read(&dir).map_err(unanswered)?,
            claimed => claimed,
        };
        let Some(Claim::Sent { at, .. }) = claimed else { return Ok(None) };
        let (name, cluster) = self.cluster_of(launch)?;
        let still =
            || EngineError("whether a submission without an answer has arrived is not known yet".to_owned());
        if !self.is_due(launch.token) {
            return Err(still());
        }
        let asked_at = records::now();
        // Slurm's clock may be behind.
        let from = at.plus_seconds(-FOUND_BEFORE_SECONDS);
        let found = cluster.slurm.find(&launch.token.to_string(), from, asked_at).await;
        self.note_trouble(name, found.as_ref().err());
        let found = found.map_err(|e| EngineError(e.to_string()))?;
        let taken = |job: Option<String>| Taken { cluster: name.to_owned(), job, at };
        if let Some(number) = found.ids.into_iter().next() {
            let taken = taken(Some(number));
            claim::keep(&dir, &taken).map_err(unanswered)?;
            self.make_known(launch, &taken).await;
            return Ok(Some(launched(&taken)));
        }
        let since = asked_at.0.saturating_sub(at.0);
        let seconds = |seconds: i64| seconds.saturating_mul(libra_core::time::MICROS_PER_SECOND);
        if since < seconds(SETTLES_SECONDS) {
            return Err(still());
        }
        if since < seconds(KNOWN_SECONDS) || found.comments_kept {
            return Ok(None);
        }
        // It may have come, run and been forgotten.
        let lost = taken(None);
        claim::keep(&dir, &lost).map_err(unanswered)?;
        Ok(Some(launched(&lost)))
    }

    /// True when Slurm may be asked again about one attempt.
    fn is_due(&self, token: Token) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let due = asked.get(&token).is_none_or(|at| at.elapsed() >= LOOKED_AGAIN);
        if due {
            asked.insert(token, Instant::now());
        }
        due
    }

    /// What the jobs of a submission come to.
    async fn look_at(&self, launch: &Launch, handle: &Handle) -> Result<Observation, EngineError> {
        let taken = Taken::of(handle)?;
        let Some(number) = &taken.job else { return Ok(Observation::Ended(lost())) };
        let jobs = self.records.of(&taken.cluster, number).await?;
        let mark = launch.token.to_string();
        let submitted = submitted(launch, number, &mark, taken.at);
        if submitted.own(&jobs).is_empty() && self.is_due(launch.token) {
            // Libra died before it was known, or somebody has removed it.
            self.make_known(launch, &taken).await;
        }
        let seen = submitted.look(&jobs, records::now());
        if !spark::is_spark(launch.spec.kind) {
            return Ok(seen);
        }
        let dir = AttemptDir::new(&launch.dir);
        Ok(match seen {
            Observation::Ended(exit) => {
                let restarts = submitted.own(&jobs).first().and_then(|job| job.record.restarts);
                Observation::Ended(spark::ended(&launch.spec, &dir, exit, restarts))
            }
            Observation::Running(running) => {
                let links = spark::links(&self.spark, &launch.spec, &dir, false);
                Observation::Running(Running { links, ..running })
            }
            Observation::Starting
            | Observation::Waiting(_)
            | Observation::NeverRan(_)
            | Observation::Unknown(_) => seen,
        })
    }

    async fn end(&self, launch: &Launch, handle: &Handle) -> Result<CancelOutcome, EngineError> {
        let dir = AttemptDir::new(&launch.dir);
        let unanswered = |e: std::io::Error| EngineError(e.to_string());
        let taken = match Taken::of(handle) {
            Ok(taken) => Some(taken),
            Err(_) => claim::taken(&dir).map_err(unanswered)?,
        };
        let Some(taken) = taken else {
            // Nobody knows of a submission: either there is none, or it is looked for.
            return match self.look_for(launch).await? {
                None => Ok(CancelOutcome::Gone(stopped())),
                Some(found) => Box::pin(self.end(launch, &found.handle)).await,
            };
        };
        let Some(number) = &taken.job else { return Ok(CancelOutcome::Gone(lost())) };
        let handle = handle_of(&taken);
        if let Observation::Ended(exit) = self.look_at(launch, &handle).await? {
            return Ok(CancelOutcome::Gone(exit));
        }
        let (name, cluster) = self.cluster_of(launch)?;
        let now = Instant::now();
        let before = self.cancels.lock().unwrap_or_else(PoisonError::into_inner).get(&launch.token).copied();
        let cancel = match before {
            Some(cancel) if cancel.told.elapsed() < TOLD_AGAIN => cancel,
            Some(_) | None => {
                self.tell_to_end(launch, cluster, number, &taken).await.map_err(|error| {
                    self.note_trouble(name, Some(&error));
                    EngineError(error.to_string())
                })?;
                // From now on its end is what was asked for.
                if dir.path().exists() && !dir.stop_file().exists() {
                    records::write_whole(&dir.stop_file(), b"").map_err(unanswered)?;
                }
                Cancel { told: now, asked: now }
            }
        };
        let ask = cancel.asked.elapsed() >= ASKED_AGAIN;
        let cancel = if ask { Cancel { asked: now, ..cancel } } else { cancel };
        self.cancels.lock().unwrap_or_else(PoisonError::into_inner).insert(launch.token, cancel);
        if ask {
            self.ask(name, cluster, number).await?;
            if let Observation::Ended(exit) = self.look_at(launch, &handle).await? {
                return Ok(CancelOutcome::Gone(exit));
            }
        }
        Ok(CancelOutcome::Stopping)
    }

    /// Tells Slurm to end all jobs of a submission that are open, once it has said that they are ours.
    async fn tell_to_end(
        &self,
        launch: &Launch,
        cluster: &Cluster,
        number: &str,
        taken: &Taken,
    ) -> Result<(), Error> {
        let mark = launch.token.to_string();
        let submitted = submitted(launch, number, &mark, taken.at);
        let told = match cluster.slurm.job(number).await {
            // One that Slurm has forgotten has ended; its record says how.
            Err(Error::UnknownJob) => return Ok(()),
            told => told?,
        };
        if !told.iter().any(|record| submitted.owns(record)) {
            return Ok(());
        }
        match cluster.slurm.cancel(number).await {
            Ok(()) | Err(Error::UnknownJob) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Asks for one job beside the shared read: somebody is waiting for its end.
    async fn ask(&self, name: &str, cluster: &Cluster, number: &str) -> Result<(), EngineError> {
        let asked_at = records::now();
        match cluster.slurm.job(number).await {
            Ok(told) => self.records.hear(name, told, asked_at).await,
            // Whoever reads the cluster asks accounting.
            Err(Error::UnknownJob) => Ok(()),
            Err(error) => Err(EngineError(error.to_string())),
        }
    }
}

impl Engine for SlurmJobs {
    fn validate(&self, spec: &JobSpec) -> Vec<(String, String)> {
        let mut wrong = Vec::new();
        let cluster = self.cluster(spec);
        if cluster.is_none() {
            let known: Vec<&str> = self.clusters.keys().map(String::as_str).collect();
            let reason = match &spec.cluster {
                Some(_) => "no Slurm cluster of this name is configured",
                None => "is missing: there are several Slurm clusters",
            };
            wrong.push(("/cluster".to_owned(), format!("{reason}; configured: {}", known.join(", "))));
        }
        if let Some((name, _)) = cluster.filter(|(_, cluster)| cluster.slurm.made_up().is_some()) {
            let reason = format!("`{name}` is made up (source: mock) and runs nothing: name a real one");
            wrong.push(("/cluster".to_owned(), reason));
            return wrong;
        }
        wrong.extend(asked::violations(spec, cluster.map(|(_, cluster)| cluster)));
        wrong
    }

    fn launch<'a>(&'a self, launch: &'a Launch) -> BoxFuture<'a, Result<Launched, LaunchError>> {
        self.submit(launch).boxed()
    }

    fn find<'a>(&'a self, launch: &'a Launch) -> BoxFuture<'a, Result<Option<Launched>, EngineError>> {
        self.look_for(launch).boxed()
    }

    fn observe<'a>(&'a self, attempts: &'a [(Launch, Handle)]) -> BoxFuture<'a, Vec<Observation>> {
        let looks = attempts.iter().map(|(launch, handle)| async {
            self.look_at(launch, handle).await.unwrap_or_else(|e| Observation::Unknown(e.to_string()))
        });
        futures::future::join_all(looks).boxed()
    }

    fn cancel<'a>(
        &'a self,
        launch: &'a Launch,
        handle: &'a Handle,
    ) -> BoxFuture<'a, Result<CancelOutcome, EngineError>> {
        self.end(launch, handle).boxed()
    }

    fn release<'a>(&'a self, launch: &'a Launch, _handle: &'a Handle) -> BoxFuture<'a, ()> {
        self.leave(launch.token);
        asked::forget(launch, &AttemptDir::new(&launch.dir));
        futures::future::ready(()).boxed()
    }

    fn traces(&self, launch: &Launch) -> Running {
        let dir = AttemptDir::new(&launch.dir);
        let taken = claim::taken(&dir).ok().flatten();
        let links = if spark::is_spark(launch.spec.kind) {
            spark::links(&self.spark, &launch.spec, &dir, true)
        } else {
            Links::default()
        };
        Running { application_id: taken.and_then(|taken| taken.job), links, ..Running::default() }
    }

    fn trouble(&self) -> Option<String> {
        let all = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        all.values().find(|(at, _)| at.elapsed() < TROUBLE_LASTS).map(|(_, words)| words.clone())
    }

    fn trouble_of(&self, spec: &JobSpec) -> Option<String> {
        let all = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, words) = all.get(spec.cluster.as_deref()?)?;
        (at.elapsed() < TROUBLE_LASTS).then(|| words.clone())
    }

    fn leave(&self, token: Token) {
        self.cancels.lock().unwrap_or_else(PoisonError::into_inner).remove(&token);
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).remove(&token);
    }

    fn changed(&self, _token: Token) -> BoxFuture<'_, ()> {
        self.heard.notified().boxed()
    }
}

fn refused(words: &str) -> LaunchError {
    let message = format!("Slurm does not take the job: {words}");
    LaunchError::Refused(Failure::new(ErrorClass::User, "slurm_refused", message))
}

fn handle_of(taken: &Taken) -> Handle {
    Handle(json!({"cluster": taken.cluster, "job": taken.job, "at": taken.at}))
}

fn launched(taken: &Taken) -> Launched {
    Launched { handle: handle_of(taken), running_since: None }
}

fn submitted<'a>(launch: &'a Launch, number: &'a str, token: &'a str, at: Timestamp) -> Submitted<'a> {
    let array = launch.spec.slurm.as_ref().and_then(|asked| asked.array.as_deref());
    Submitted {
        number,
        token,
        at,
        tasks: array.and_then(tasks_of),
        stopped: AttemptDir::new(&launch.dir).stop_file().exists(),
    }
}

/// The end of an attempt that was stopped before Slurm had it.
fn stopped() -> Exit {
    Exit { outcome: Outcome::Stopped, exit_code: None, signal: None, began: None, at: records::now() }
}

/// The end of a submission of which nobody can say whether it arrived.
fn lost() -> Exit {
    let message = "its submission had no answer, and by the time that Libra could ask, Slurm no longer knew what came of \
                   it; with AccountingStoreFlags=job_comment in slurm.conf this is known";
    let failure = Failure::new(ErrorClass::Infrastructure, "submission_lost", message).with_unknown_outcome();
    Exit {
        outcome: Outcome::Failed { failure },
        exit_code: None,
        signal: None,
        began: None,
        at: records::now(),
    }
}
