//! The calls, one function each.

use std::collections::BTreeMap;

use libra_core::deployment::reconcile::{FlinkId, JobState, Trigger};
use reqwest::Method;
use serde::Serialize;
use serde_json::{Value, json};

use super::answers::{
    Checkpoints, ClusterSettings, Config, Exceptions, Features, History, JarFile, Jars, JobDetail, JobLine,
    Jobs, Metric, Overview, Polled, Requested, Setting, Started, Status,
};
use super::error::{About, Error, classify_run, is_absent};
use super::transport::{ASK_PATIENCE, Flink, RUN_PATIENCE, exchange, read};

/// What a run is told. Flink ignores what it does not know, so every name here is one that it was seen to honour.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunRequest {
    /// The job id to give: ours, stored before. Good for one job, and only in the life of the JobManager to which it was
    /// sent: a later one takes it again, but TaskManagers may refuse its jar, and the former job's checkpoints are in
    /// the way of the new one's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_id: Option<FlinkId>,
    /// The entry class; the jar's own without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry_class: Option<String>,
    /// Arguments of `main()`.
    pub program_args_list: Vec<String>,
    /// Parallelism; the cluster's own without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallelism: Option<u32>,
    /// The state to begin with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub savepoint_path: Option<String>,
    /// Whether state without an operator may be left out.
    pub allow_non_restored_state: bool,
    /// Configuration of this job.
    pub flink_configuration: BTreeMap<String, String>,
}

impl Flink {
    /// TaskManagers, slots and the version.
    pub async fn overview(&self) -> Result<Overview, Error> {
        self.get("/overview", About::Cluster).await
    }

    /// What the cluster lets us do.
    pub async fn features(&self) -> Result<Features, Error> {
        Ok(self.get::<Config>("/config", About::Cluster).await?.features)
    }

    /// The cluster's configuration, as far as it matters; with a mark of this life of its JobManager.
    pub async fn settings(&self) -> Result<ClusterSettings, Error> {
        let all: Vec<Setting> = self.get("/jobmanager/config", About::Cluster).await?;
        Ok(ClusterSettings::read(&all))
    }

    /// The uploaded artifacts.
    pub async fn jars(&self) -> Result<Vec<JarFile>, Error> {
        Ok(self.get::<Jars>("/jars", About::Cluster).await?.files)
    }

    /// Removes an uploaded artifact.
    pub async fn delete_jar(&self, jar: &str) -> Result<(), Error> {
        let path = format!("/jars/{}", segment(jar));
        let (status, body) = exchange(self.request(Method::DELETE, &path, ASK_PATIENCE)).await?;
        read::<Value>(status, &body, About::Jar).map(drop)
    }

    /// Runs the program of an uploaded artifact, and gives the job's id. [`Error::TimedOut`] is no refusal: `main()`
    /// may still be at work.
    pub async fn run(&self, jar: &str, run: &RunRequest) -> Result<FlinkId, Error> {
        // Flink takes an empty path for none, and would begin without state.
        if run.savepoint_path.as_deref().is_some_and(|path| path.trim().is_empty()) {
            return Err(Error::StateNotFound("its path is empty".to_owned()));
        }
        let request =
            self.request(Method::POST, &format!("/jars/{}/run", segment(jar)), RUN_PATIENCE).json(run);
        let (status, body) = exchange(request).await?;
        if (200..300).contains(&status) {
            return read::<Started>(status, &body, About::Jar).map(|started| started.jobid);
        }
        Err(classify_run(status, &body, run.savepoint_path.as_deref()))
    }

    /// All jobs that the cluster knows, ended ones included, with their present states.
    pub async fn jobs(&self) -> Result<Vec<JobLine>, Error> {
        Ok(self.get::<Jobs>("/jobs/overview", About::Cluster).await?.jobs)
    }

    /// The present state of a job.
    pub async fn status(&self, job: FlinkId) -> Result<JobState, Error> {
        Ok(self.get::<Status>(&format!("/jobs/{job}/status"), About::Job).await?.status)
    }

    /// The parts of a job.
    pub async fn detail(&self, job: FlinkId) -> Result<JobDetail, Error> {
        self.get(&format!("/jobs/{job}"), About::Job).await
    }

    /// A job's checkpoints. A job without checkpointing, as in BATCH, has no such page: [`Error::Refused`] with 404.
    pub async fn checkpoints(&self, job: FlinkId) -> Result<Checkpoints, Error> {
        self.get(&format!("/jobs/{job}/checkpoints"), About::Job).await
    }

    /// The newest entries of a job's exception history.
    pub async fn exceptions(&self, job: FlinkId, most: u32) -> Result<Exceptions, Error> {
        let path = format!("/jobs/{job}/exceptions?maxExceptions={most}");
        Ok(self.get::<History>(&path, About::Job).await?.exception_history)
    }

    /// Metrics of a job by name, as Flink writes them; ones that it does not have are left out. They lag behind.
    pub async fn metrics(&self, job: FlinkId, names: &[&str]) -> Result<BTreeMap<String, String>, Error> {
        let names: Vec<String> = names.iter().map(|name| segment(name)).collect();
        let path = format!("/jobs/{job}/metrics?get={}", names.join(","));
        let all: Vec<Metric> = self.get(&path, About::Job).await?;
        Ok(all.into_iter().filter_map(|metric| metric.value.map(|value| (metric.id, value))).collect())
    }

    /// Makes a savepoint under `directory`; the job goes on. Safe to repeat with the same trigger.
    pub async fn savepoint(&self, job: FlinkId, trigger: FlinkId, directory: &str) -> Result<FlinkId, Error> {
        // Here with hyphens, there in camel case.
        let body = json!({"triggerId": trigger, "target-directory": directory, "cancel-job": false,
            "formatType": "CANONICAL"});
        let path = format!("/jobs/{job}/savepoints");
        Ok(self.post::<Requested>(&path, &body, About::Job).await?.request_id)
    }

    /// Stops the job with a savepoint under `directory`. Safe to repeat with the same trigger.
    pub async fn stop(
        &self,
        job: FlinkId,
        trigger: FlinkId,
        directory: &str,
        drain: bool,
    ) -> Result<FlinkId, Error> {
        let body = json!({"triggerId": trigger, "targetDirectory": directory, "drain": drain, "formatType": "CANONICAL"});
        Ok(self.post::<Requested>(&format!("/jobs/{job}/stop"), &body, About::Job).await?.request_id)
    }

    /// What became of a savepoint or a stop; both are asked for at the same place.
    pub async fn poll(&self, job: FlinkId, trigger: FlinkId) -> Result<Trigger, Error> {
        known(self.get::<Polled>(&format!("/jobs/{job}/savepoints/{trigger}"), About::Trigger).await)
    }

    /// Cancels a job. Says yes for a job that has ended as well: Flink itself does so only for one that was cancelled.
    pub async fn cancel(&self, job: FlinkId) -> Result<(), Error> {
        let request = self.request(Method::PATCH, &format!("/jobs/{job}?mode=cancel"), ASK_PATIENCE);
        let (status, body) = exchange(request).await?;
        if (200..300).contains(&status) || has_ended(status, &body) {
            return Ok(());
        }
        read::<Value>(status, &body, About::Job).map(drop)
    }

    /// Removes a savepoint; needs no job. The trigger is Flink's own here: it takes none of ours. Safe to repeat.
    pub async fn dispose(&self, path: &str) -> Result<FlinkId, Error> {
        let body = json!({"savepoint-path": path});
        Ok(self.post::<Requested>("/savepoint-disposal", &body, About::Cluster).await?.request_id)
    }

    /// What became of a removal. What is not there is removed: an earlier request was not heard of.
    pub async fn poll_disposal(&self, trigger: FlinkId) -> Result<Trigger, Error> {
        let polled = self.get::<Polled>(&format!("/savepoint-disposal/{trigger}"), About::Trigger).await;
        Ok(match known(polled)? {
            Trigger::Failed(why) if is_absent(&why) => Trigger::Completed(String::new()),
            other => other,
        })
    }
}

/// True when Flink refuses to cancel a job because it has finished or failed.
fn has_ended(status: u16, body: &[u8]) -> bool {
    status == 409 && String::from_utf8_lossy(body).contains("already reached another terminal state")
}

/// A trigger that Flink does not know is an answer, and no failure.
fn known(polled: Result<Polled, Error>) -> Result<Trigger, Error> {
    match polled {
        Ok(polled) => polled.trigger(),
        Err(Error::UnknownTrigger | Error::UnknownJob) => Ok(Trigger::Unknown),
        Err(other) => Err(other),
    }
}

/// A text as one segment of a path: only what needs no escape stays as it is.
pub(super) fn segment(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
        out
    })
}
