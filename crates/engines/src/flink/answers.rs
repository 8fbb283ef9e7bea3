//! What Flink answers. Fields that nobody reads are not named here, and ones that are not there are zero.

use libra_core::deployment::reconcile::{FlinkId, JobState, Trigger};
use serde::{Deserialize, Deserializer};

/// A count: Flink writes -1 where it has none.
fn count<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    Ok(u64::try_from(i64::deserialize(from)?).unwrap_or(0))
}

/// `/overview`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Overview {
    /// TaskManagers that have registered. Their slots may come a moment later.
    #[serde(deserialize_with = "count")]
    pub taskmanagers: u64,
    /// Slots in all.
    #[serde(deserialize_with = "count")]
    pub slots_total: u64,
    /// Free slots.
    #[serde(deserialize_with = "count")]
    pub slots_available: u64,
    /// Jobs that are not at an end.
    #[serde(default, deserialize_with = "count")]
    pub jobs_running: u64,
    /// As `2.3.0`.
    #[serde(default)]
    pub flink_version: String,
}

/// What the cluster's web interface may do (`/config`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Features {
    /// Jobs may be submitted.
    pub web_submit: bool,
    /// Jobs may be cancelled.
    pub web_cancel: bool,
    /// Jobs may be rescaled in place.
    pub web_rescale: bool,
}

#[derive(Deserialize)]
pub(super) struct Config {
    #[serde(default)]
    pub features: Features,
}

#[derive(Deserialize)]
pub(super) struct Setting {
    key: String,
    value: String,
}

/// What of `/jobmanager/config` matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterSettings {
    /// A mark of this life of the JobManager: the directory that it makes for itself at each start.
    pub life: Option<String>,
    /// How long tasks go on without their JobManager, in milliseconds; Flink's default (50 s) where it is not set.
    pub heartbeat_timeout_ms: Option<u64>,
    /// Where checkpoints are.
    pub checkpoints: Option<String>,
    /// Where savepoints go that name no directory.
    pub savepoints: Option<String>,
    /// Where uploads are on the JobManager's host.
    pub uploads: Option<String>,
    /// Whether the JobManager's successor knows its jobs.
    pub high_availability: bool,
    /// Whether jobs change their number of subtasks as slots come and go.
    pub adaptive: bool,
}

/// The directory for uploads within the configured one, or within the JobManager's own.
const UPLOADS: &str = "flink-web-upload";

impl ClusterSettings {
    pub(super) fn read(settings: &[Setting]) -> Self {
        let value = |key: &str| settings.iter().find(|setting| setting.key == key).map(|s| s.value.as_str());
        let life = value("web.tmpdir").filter(|path| path.contains("flink-web-")).map(str::to_owned);
        let checkpoints = value("execution.checkpointing.dir").or_else(|| value("state.checkpoints.dir"));
        let savepoints =
            value("execution.checkpointing.savepoint-dir").or_else(|| value("state.savepoints.dir"));
        let ha = value("high-availability.type").or_else(|| value("high-availability"));
        let reactive = value("scheduler-mode").is_some_and(|mode| mode.eq_ignore_ascii_case("reactive"));
        let adaptive =
            value("jobmanager.scheduler").is_some_and(|name| name.eq_ignore_ascii_case("adaptive"));
        let place = value("web.upload.dir").or_else(|| value("web.tmpdir"));
        Self {
            life,
            uploads: place.map(|place| format!("{}/{UPLOADS}", place.trim_end_matches('/'))),
            heartbeat_timeout_ms: value("heartbeat.timeout").and_then(milliseconds),
            checkpoints: checkpoints.map(str::to_owned),
            savepoints: savepoints.map(str::to_owned),
            high_availability: ha.is_some_and(|kind| !kind.eq_ignore_ascii_case("none")),
            adaptive: adaptive || reactive,
        }
    }
}

/// A duration as Flink writes it: milliseconds, or a number and its unit.
pub(super) fn milliseconds(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..end].parse().ok()?;
    let factor = match text[end..].trim() {
        "" | "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => 1,
        "s" | "sec" | "secs" | "second" | "seconds" => 1_000,
        "m" | "min" | "minute" | "minutes" => 60_000,
        "h" | "hour" | "hours" => 3_600_000,
        "d" | "day" | "days" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// An uploaded artifact.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct JarFile {
    /// Flink's id of it: `<uuid>_<name>`.
    pub id: String,
    /// The name under which it was uploaded.
    pub name: String,
}

#[derive(Deserialize)]
pub(super) struct Jars {
    #[serde(default)]
    pub files: Vec<JarFile>,
}

#[derive(Deserialize)]
pub(super) struct Uploaded {
    pub filename: String,
    pub status: String,
}

#[derive(Deserialize)]
pub(super) struct Started {
    pub jobid: FlinkId,
}

#[derive(Deserialize)]
pub(super) struct Status {
    pub status: JobState,
}

/// How many of a job's tasks are where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Tasks {
    /// All.
    #[serde(deserialize_with = "count")]
    pub total: u64,
    /// They run.
    #[serde(deserialize_with = "count")]
    pub running: u64,
    /// They have finished.
    #[serde(deserialize_with = "count")]
    pub finished: u64,
}

/// A line of `/jobs/overview`, which is not cached for seconds.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct JobLine {
    /// The job.
    pub jid: FlinkId,
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: JobState,
    /// Its tasks. None for the ghost of a refused run.
    #[serde(default)]
    pub tasks: Tasks,
    /// When it was submitted, milliseconds since the Unix epoch.
    #[serde(default, rename = "start-time")]
    pub start_time: i64,
}

#[derive(Deserialize)]
pub(super) struct Jobs {
    pub jobs: Vec<JobLine>,
}

/// A part of a job.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Vertex {
    /// Its id.
    pub id: String,
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Its parallelism.
    #[serde(default, deserialize_with = "count")]
    pub parallelism: u64,
}

/// `/jobs/{id}`: up to `web.refresh-interval` old, so only what does not change is read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct JobDetail {
    /// The job.
    pub jid: FlinkId,
    /// Its name.
    pub name: String,
    /// Its parts.
    #[serde(default)]
    pub vertices: Vec<Vertex>,
}

/// How many checkpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct CheckpointCounts {
    /// Completed, savepoints among them.
    #[serde(deserialize_with = "count")]
    pub completed: u64,
    /// Failed.
    #[serde(deserialize_with = "count")]
    pub failed: u64,
    /// Being made.
    #[serde(deserialize_with = "count")]
    pub in_progress: u64,
    /// Restores.
    #[serde(deserialize_with = "count")]
    pub restored: u64,
}

/// One checkpoint or savepoint.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Snapshot {
    /// Its number.
    #[serde(deserialize_with = "count")]
    pub id: u64,
    /// Where it is.
    #[serde(default)]
    pub external_path: Option<String>,
    /// It has been removed.
    #[serde(default)]
    pub discarded: bool,
    /// When it was complete, milliseconds since the Unix epoch.
    #[serde(default)]
    pub latest_ack_timestamp: i64,
}

/// The newest of each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct LatestCheckpoints {
    /// Checkpoint.
    pub completed: Option<Snapshot>,
    /// Savepoint.
    pub savepoint: Option<Snapshot>,
}

/// `/jobs/{id}/checkpoints`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Checkpoints {
    /// How many.
    pub counts: CheckpointCounts,
    /// The newest.
    pub latest: LatestCheckpoints,
}

/// One entry of a job's exception history.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exception {
    /// Its class.
    #[serde(default)]
    pub exception_name: String,
    /// Its stack trace.
    #[serde(default)]
    pub stacktrace: String,
    /// When, milliseconds since the Unix epoch.
    #[serde(default)]
    pub timestamp: i64,
}

/// `/jobs/{id}/exceptions`, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Exceptions {
    /// The entries.
    pub entries: Vec<Exception>,
    /// There are more.
    pub truncated: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct History {
    #[serde(default)]
    pub exception_history: Exceptions,
}

#[derive(Deserialize)]
pub(super) struct Metric {
    pub id: String,
    #[serde(default)]
    pub value: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Requested {
    pub request_id: FlinkId,
}

#[derive(Deserialize)]
pub(super) struct Polled {
    status: PolledStatus,
    #[serde(default)]
    operation: Option<Operation>,
}

#[derive(Deserialize)]
struct PolledStatus {
    id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Operation {
    #[serde(default)]
    location: Option<String>,
    #[serde(default)]
    failure_cause: Option<FailureCause>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct FailureCause {
    #[serde(default)]
    class: String,
    #[serde(default)]
    stack_trace: String,
}

impl Polled {
    /// COMPLETED is only a success when it says where, or has nothing to say.
    pub(super) fn trigger(self) -> Result<Trigger, super::Error> {
        match self.status.id.as_str() {
            "IN_PROGRESS" => Ok(Trigger::InProgress),
            "COMPLETED" => Ok(match self.operation {
                Some(Operation { failure_cause: Some(cause), location: _ }) => {
                    let words = super::error::cause(&cause.stack_trace);
                    Trigger::Failed(if words.is_empty() { cause.class } else { words })
                }
                Some(Operation { failure_cause: None, location }) => {
                    Trigger::Completed(location.unwrap_or_default())
                }
                None => Trigger::Completed(String::new()),
            }),
            other => Err(super::Error::Garbage(format!("a trigger that is {other}"))),
        }
    }
}
