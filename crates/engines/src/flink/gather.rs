//! One look at a cluster, shared by all its deployments, and what of it a deployment reads.

use std::collections::{BTreeMap, BTreeSet};

use libra_core::deployment::reconcile::{
    Cluster, Desired, Disk, FlinkId, Job, JobState, Observed, Open, Reply, Row, Trigger, may_rescale,
    needs_pages,
};

use super::answers::{ClusterSettings, JobLine};
use super::error::Error;
use super::look::{RESTARTS, all_tasks_run, observed_job};
use super::transport::Flink;

/// Entries of a job's exception history that are asked for.
const MOST_EXCEPTIONS: u32 = 20;
/// What Flink says of the pages of a job whose JobMaster is being made.
const BEING_MADE: &str = "Unable to get JobMasterGateway for initializing job";

/// What is the same for every deployment on the cluster. Four requests, however many there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    life: Option<String>,
    jobs: BTreeMap<FlinkId, JobLine>,
    /// So that a deployment finds its namesakes without reading the whole list.
    named: BTreeMap<String, Vec<FlinkId>>,
    /// Flink's id of a jar by its digest.
    jars: BTreeMap<String, String>,
    settings: ClusterSettings,
}

/// What the caller knows beside: about one deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// What came back on the last request.
    pub reply: Option<Reply>,
    /// What the directories hold, where they can be read.
    pub disk: Option<Disk>,
    /// Removals of savepoints and what became of them.
    pub disposals: Vec<(FlinkId, Trigger)>,
    /// Requests that are still waited for.
    pub open: Open,
    /// What the pages of its job said earlier, where that will do as long as nothing has changed.
    pub pages: Option<Pages>,
}

/// What the pages of a job said, and its line in the list at that time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pages {
    line: JobLine,
    job: Job,
}

/// What a look has told of one deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// For the reconciler.
    pub observed: Observed,
    /// What the pages of its job said, where it is listed and they were read.
    pub pages: Option<Pages>,
    /// True when they were read now.
    pub fresh: bool,
}

impl Look {
    /// Asks the cluster.
    ///
    /// # Errors
    /// When any of the questions has no answer: then nothing is to be decided.
    pub async fn at(flink: &Flink) -> Result<Self, Error> {
        let settings = flink.settings().await?;
        let life = settings.life.clone();
        let (lines, jars) = tokio::try_join!(flink.jobs(), flink.jars())?;
        // A JobManager that was replaced in between has told us two stories.
        if flink.settings().await?.life != life {
            return Err(Error::Garbage("the JobManager changed while it was asked".to_owned()));
        }
        let mut named: BTreeMap<String, Vec<FlinkId>> = BTreeMap::new();
        for line in &lines {
            named.entry(line.name.clone()).or_default().push(line.jid);
        }
        let jobs = lines.into_iter().map(|line| (line.jid, line)).collect();
        let jars = jars.into_iter().filter_map(|jar| Some((jar.digest()?.to_owned(), jar.id))).collect();
        Ok(Self { life, jobs, named, jars, settings })
    }

    /// What the cluster says of itself.
    pub fn settings(&self) -> &ClusterSettings {
        &self.settings
    }

    /// Flink's id of an uploaded program.
    pub fn jar(&self, digest: &str) -> Option<&str> {
        self.jars.get(digest).map(String::as_str)
    }

    /// The state of a job that is listed.
    pub fn state(&self, job: FlinkId) -> Option<JobState> {
        self.jobs.get(&job).map(|line| line.state)
    }

    /// Asks for what one deployment needs beside, and puts it together. Three requests at once while its job is listed,
    /// unless what its pages said earlier will do, one for a trigger, and three where the number of its subtasks matters.
    pub async fn of(&self, flink: &Flink, desired: &Desired, row: &Row, known: Known) -> Told {
        told(self.cluster(flink, &desired.name, Some(desired), row, known).await)
    }

    /// The same for a deployment that is not stored yet: who has its name.
    pub async fn named(&self, flink: &Flink, name: &str, row: &Row) -> Observed {
        told(self.cluster(flink, name, None, row, Known::default()).await).observed
    }

    async fn cluster(
        &self,
        flink: &Flink,
        name: &str,
        desired: Option<&Desired>,
        row: &Row,
        known: Known,
    ) -> Result<(Cluster, Option<Pages>, bool), Error> {
        let Known { reply, disk, disposals, open, pages } = known;
        let own = row.run.as_ref().map(|run| run.id);
        let namesakes = self.named.get(name).into_iter().flatten();
        // Ours by their ids, others' by their name; nobody else matters to this deployment.
        let ids: BTreeSet<FlinkId> = own.iter().chain(&row.past).chain(namesakes).copied().collect();
        let line = own.and_then(|id| self.jobs.get(&id));
        let earlier = pages.filter(|pages| line == Some(&pages.line));
        let fresh = earlier.is_none() && line.is_some();
        // One that has to prove itself is looked at too often for that.
        let watches = desired.is_some_and(|desired| desired.watches_pressure && !needs_pages(desired, row));
        let rescales = desired.is_some_and(|desired| may_rescale(desired, row));
        let rescales = line.filter(|line| rescales && !line.state.is_terminal());
        let saves = row.operation.as_ref().and_then(|operation| Some((operation.job, operation.saving()?)));
        let (pages, trigger, parts) = tokio::try_join!(
            async {
                match (line, earlier) {
                    (Some(line), None) => self.read_pages(flink, line, watches).await.map(Some),
                    (Some(_) | None, earlier) => Ok(earlier),
                }
            },
            async {
                match saves {
                    Some((job, saving)) => flink.poll(job, saving.trigger).await,
                    None => Ok(Trigger::NotAsked),
                }
            },
            async {
                match rescales {
                    Some(line) => flink.parts(line.jid).await,
                    None => Ok(None),
                }
            }
        )?;
        let lines = ids.iter().filter_map(|id| self.jobs.get(id)).filter(|line| Some(line.jid) != own);
        let (no_checkpoints, no_exceptions, no_metrics) = Default::default();
        let others =
            lines.map(|line| observed_job(line, &no_checkpoints, &no_exceptions, &no_metrics, false));
        let jobs = pages.iter().map(|pages| pages.job.clone()).chain(others).collect();
        let versions = desired.map(|desired| &desired.versions);
        let digests = versions.into_iter().flatten().map(|version| &version.digest);
        let jars = digests.filter_map(|of| Some((of.clone(), self.jars.get(of)?.clone()))).collect();
        Ok((
            Cluster { life: self.life.clone(), parts, jobs, jars, trigger, reply, disk, disposals, open },
            pages,
            fresh,
        ))
    }

    async fn read_pages(&self, flink: &Flink, line: &JobLine, watches: bool) -> Result<Pages, Error> {
        let runs = line.state == JobState::Running && all_tasks_run(line.tasks);
        let (checkpoints, exceptions, metrics, pressure) = tokio::try_join!(
            async { perhaps(flink.checkpoints(line.jid).await, line) },
            async { perhaps(flink.exceptions(line.jid, MOST_EXCEPTIONS).await, line) },
            async { perhaps(flink.metrics(line.jid, &RESTARTS).await, line) },
            async { Ok(if watches && runs { flink.pressure(line.jid).await } else { None }) },
        )?;
        let adaptive = self.settings.adaptive;
        let job = Job { pressure, ..observed_job(line, &checkpoints, &exceptions, &metrics, adaptive) };
        Ok(Pages { line: line.clone(), job })
    }
}

fn told(cluster: Result<(Cluster, Option<Pages>, bool), Error>) -> Told {
    match cluster {
        Ok((cluster, pages, fresh)) => {
            Told { observed: Observed::Reachable(Box::new(cluster)), pages, fresh }
        }
        Err(error) => Told { observed: Observed::Unreachable(error.to_string()), pages: None, fresh: false },
    }
}

/// Details of a job that is still being made ready, or never was more than a name, are nothing; of any other job they
/// are needed.
fn perhaps<T: Default>(answer: Result<T, Error>, line: &JobLine) -> Result<T, Error> {
    let bare = match line.state {
        JobState::Initializing | JobState::Created | JobState::Reconciling | JobState::Suspended => true,
        JobState::Running
        | JobState::Failing
        | JobState::Failed
        | JobState::Cancelling
        | JobState::Canceled
        | JobState::Finished
        | JobState::Restarting => line.tasks.total == 0,
    };
    match answer {
        Err(Error::UnknownJob | Error::Refused { .. } | Error::Server { .. }) if bare => Ok(T::default()),
        // The list may be a moment ahead of the pages.
        Err(Error::Server { status: _, words }) if words.contains(BEING_MADE) => Ok(T::default()),
        // Without checkpointing there is no such page.
        Err(Error::Refused { status: 404, words } | Error::Server { status: _, words })
            if words.contains("Checkpointing has not been enabled") =>
        {
            Ok(T::default())
        }
        other => other,
    }
}
