//! The gap of a redeploy: from the end of the old job until all tasks of the new one run, by Flink's own times, through
//! Libra and by the bare REST sequence in turns.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use libra_core::deployment::reconcile::{FlinkId, JobState, Trigger};
use libra_engines::flink::{Access, Flink, RunRequest, all_tasks_run};
use libra_testkit::flink::{self, FlinkCluster};
use serde_json::{Value, json};

use super::{apply, config};
use crate::Outcome;
use crate::figures::{Samples, Table, aim};
use crate::http1::{Connection, get};
use crate::service::Service;

/// Turns that are not counted: the JVMs get warm.
const WARM_UP: u32 = 3;
/// The bare sequence asks this often.
const ASK_EVERY: Duration = Duration::from_millis(20);
/// A job runs this long before it is replaced, so that it has made checkpoints and its times are told.
const RUN_FOR: Duration = Duration::from_secs(2);
/// Something that does not come in this time never comes.
const PATIENCE: Duration = Duration::from_mins(2);
/// Aimed at, milliseconds.
const AIM_MS: f64 = 150.0;
/// The job through Libra and the bare one.
const NAMES: [&str; 2] = ["through-libra", "bare"];

pub(crate) async fn measure(libra: &Path, redeploys: u32, table: &mut Table) -> Outcome<()> {
    let scratch = tempfile::tempdir()?;
    let jar = flink::jobs_jar();
    let programs = jar.parent().ok_or("the jar is nowhere")?;
    let cluster = FlinkCluster::start().await;
    let client = Flink::new(&Access { url: cluster.url(), ..Access::default() })?;
    let config = config(&[("main", cluster.url())], programs);
    let service = Service::start(libra, &scratch.path().join("libra"), &config)?;
    let mut through =
        Through { api: Connection::open(service.address).await?, scratch: scratch.path(), jar: &jar };
    let jar_id = client.upload(&jar, &flink::digest(&jar)).await?;
    let mut bare = Bare { client: &client, jar: jar_id, scratch: scratch.path(), job: None };

    let (mut gaps, mut wholes) =
        ([Samples::default(), Samples::default()], [Samples::default(), Samples::default()]);
    let (mut old, _) = (through.replace(0).await?, bare.replace(0).await?);
    tokio::time::sleep(RUN_FOR).await;
    for turn in 1..=WARM_UP + redeploys {
        for side in 0..2 {
            let begun = now_ms()?;
            let (before, after) = if side == 0 {
                let new = through.replace(turn).await?;
                (std::mem::replace(&mut old, new), new)
            } else {
                let before = bare.job.ok_or("the bare job is not there")?;
                (before, bare.replace(turn).await?)
            };
            tokio::time::sleep(RUN_FOR).await;
            let (ended, runs) = (ended(&client, &cluster, before).await?, runs(&cluster, after).await?);
            if turn > WARM_UP {
                gaps[side].add(between(ended, runs));
                wholes[side].add(between(begun, runs));
            }
        }
    }
    service.end()?;

    let ms = |samples: &Samples, percent| format!("{:.0} ms", samples.percentile(percent));
    for (what, [libra, bare], judged) in [
        ("redeploy: from the end of the old job until the new one runs, p50", &gaps, true),
        ("redeploy: from the request until the new one runs, p50", &wholes, false),
    ] {
        let more = libra.percentile(50) - bare.percentile(50);
        let met = if judged { aim("≤ + 150 ms", more <= AIM_MS) } else { String::new() };
        table.add(what, &ms(libra, 50), &ms(bare, 50), &format!("{more:+.0} ms"), &met);
        table.add("  the slowest", &ms(libra, 100), &ms(bare, 100), "", "");
    }
    table.remark(format!(
        "Redeploy: {redeploys} on either side, in turns; the bare sequence is stop with a savepoint, run, each polled every \
         {} ms.",
        ASK_EVERY.as_millis()
    ));
    Ok(())
}

fn arguments(scratch: &Path, side: usize, turn: u32) -> Vec<String> {
    let progress = scratch.join(NAMES[side]).display().to_string();
    ["--progress", &progress, "--every", &(50 + turn).to_string(), "--rate", "200"]
        .map(str::to_owned)
        .to_vec()
}

/// The job that Libra keeps.
struct Through<'a> {
    api: Connection,
    scratch: &'a Path,
    jar: &'a Path,
}

impl Through<'_> {
    /// Applies a change; answers the job that is stable then.
    async fn replace(&mut self, turn: u32) -> Outcome<FlinkId> {
        let spec = json!({
            "job_id": NAMES[0],
            "job_type": "stream",
            "artifact_path": self.jar,
            "entry_class": "libra.jobs.Counter",
            "args": arguments(self.scratch, 0, turn),
            "deployment": {"checkpoint_interval": 300},
            "stability": {"checkpoints": 2, "window_seconds": 1},
        });
        apply(&mut self.api, &spec).await?;
        let begun = Instant::now();
        let mut last = Value::Null;
        while begun.elapsed() < PATIENCE {
            // Seldom: whoever asks takes from what is measured.
            tokio::time::sleep(Duration::from_millis(500)).await;
            let (_, body) = self.api.call(&get(&format!("/api/v1/deployments/{}", NAMES[0]))).await?;
            last = serde_json::from_slice(body)?;
            if last["stable"] == true && last["runningGeneration"] == last["generation"] {
                let id = last["jobId"].as_str().unwrap_or_default();
                return Ok(id.to_owned().try_into()?);
            }
        }
        Err(format!("it never became stable: {last}").into())
    }
}

/// The job of the bare sequence.
struct Bare<'a> {
    client: &'a Flink,
    jar: String,
    scratch: &'a Path,
    job: Option<FlinkId>,
}

impl Bare<'_> {
    /// Stops the job with a savepoint and starts the next one from it; answers that one once all its tasks run.
    async fn replace(&mut self, turn: u32) -> Outcome<FlinkId> {
        let savepoint_path = match self.job {
            Some(job) => Some(self.stop(job, turn).await?),
            None => None,
        };
        let settings = [
            ("pipeline.name", NAMES[1]),
            ("execution.checkpointing.interval", "300 ms"),
            ("execution.checkpointing.externalized-checkpoint-retention", "RETAIN_ON_CANCELLATION"),
        ];
        let request = RunRequest {
            entry_class: Some("libra.jobs.Counter".to_owned()),
            program_args_list: arguments(self.scratch, 1, turn),
            parallelism: Some(1),
            savepoint_path,
            flink_configuration: settings.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            ..RunRequest::default()
        };
        let job = self.client.run(&self.jar, &request).await?;
        self.job = Some(job);
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let jobs = self.client.jobs().await?;
            let line = jobs.iter().find(|line| line.jid == job);
            if line.is_some_and(|line| line.state == JobState::Running && all_tasks_run(line.tasks)) {
                return Ok(job);
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
        Err("the bare job never ran".into())
    }

    async fn stop(&self, job: FlinkId, turn: u32) -> Outcome<String> {
        let trigger = FlinkId(u128::from(turn));
        let directory = self.scratch.join("savepoints").display().to_string();
        self.client.stop(job, trigger, &directory, false).await?;
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            match self.client.poll(job, trigger).await? {
                Trigger::Completed(path) if self.client.status(job).await? == JobState::Finished => {
                    return Ok(path);
                }
                Trigger::Failed(why) => return Err(why.into()),
                Trigger::Completed(_) | Trigger::InProgress | Trigger::Unknown | Trigger::NotAsked => {
                    tokio::time::sleep(ASK_EVERY).await;
                }
            }
        }
        Err("the bare job was never stopped".into())
    }
}

/// When a job ended, by Flink, in milliseconds since 1970.
async fn ended(client: &Flink, cluster: &FlinkCluster, job: FlinkId) -> Outcome<i64> {
    client.status(job).await?;
    let detail = cluster.api().get(&format!("/jobs/{job}")).await.expect(200);
    Ok(detail["timestamps"]["FINISHED"]
        .as_i64()
        .filter(|at| *at > 0)
        .ok_or("the old job has not finished")?)
}

/// When the last task of a job began to run, by Flink, in milliseconds since 1970.
async fn runs(cluster: &FlinkCluster, job: FlinkId) -> Outcome<i64> {
    let detail = cluster.api().get(&format!("/jobs/{job}")).await.expect(200);
    let mut last = None;
    for vertex in detail["vertices"].as_array().into_iter().flatten() {
        let id = vertex["id"].as_str().unwrap_or_default();
        let times = cluster.api().get(&format!("/jobs/{job}/vertices/{id}/subtasktimes")).await.expect(200);
        for subtask in times["subtasks"].as_array().into_iter().flatten() {
            last = last.max(subtask["timestamps"]["RUNNING"].as_i64());
        }
    }
    Ok(last.filter(|at| *at > 0).ok_or("the new job has no task that runs")?)
}

fn now_ms() -> Outcome<i64> {
    Ok(i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?)
}

fn between(from: i64, to: i64) -> Duration {
    Duration::from_millis(u64::try_from(to - from).unwrap_or(0))
}
