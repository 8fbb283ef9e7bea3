//! Reading what is sent to the HPC face: every wrong field is named, and nothing is stored then.

use libra_core::hpc::job::EndHint;
use libra_core::hpc::observe::Finished;
use libra_core::hpc::raw_state::{HpcState, Standing};
use libra_core::hpc::record::{Amounts, ExitStatus, Record};
use libra_core::hpc::usage::Sample;
use libra_core::time::Timestamp;
use serde_json::{Map, Value};

use super::samples::MAX_AHEAD_SECONDS;
use crate::fields::Fields;
use crate::problem::Violation;

/// The longest name, id or state, in bytes.
pub const MAX_NAME_BYTES: usize = 255;
/// The most nodes of a job.
pub const MAX_NODES: usize = 100_000;
/// The greatest figure of anything that is counted: sums of a great many of these are still whole numbers.
const MOST: u64 = 1 << 40;
/// The greatest share, in thousandths of a percent.
const WHOLE: u32 = 100_000;

/// A job that somebody makes known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewJob {
    /// The id that it is to have.
    pub client_id: String,
    /// Its scheduler's cluster, where one was named.
    pub cluster: Option<String>,
    /// What is known of it.
    pub record: Record,
}

/// A change of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patch {
    /// Its state from now on.
    pub state: Option<HpcState>,
    /// What it uses now.
    pub usage: Option<Usage>,
}

/// What a job uses, as people and simple scripts send it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processors at work of those that it has, in thousandths of a percent.
    pub cpu: Option<i64>,
    /// MiB.
    pub memory_mb: Option<i64>,
    /// How busy its GPUs are, in thousandths of a percent.
    pub gpu: Option<i64>,
    /// When; now, where it is not said.
    pub at: Option<Timestamp>,
}

impl Usage {
    /// The same as a sample.
    pub fn sample(&self, now: Timestamp) -> Sample {
        Sample {
            cpu: self.cpu,
            memory_mb: self.memory_mb,
            gpu: self.gpu,
            ..Sample::at(self.at.unwrap_or(now))
        }
    }
}

/// What a hook says of a beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartedEvent {
    /// The cluster, where the hook knows it.
    pub cluster: Option<String>,
    /// What it knows of the job.
    pub record: Record,
}

/// What a hook says of an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinishedEvent {
    /// The cluster, where the hook knows it.
    pub cluster: Option<String>,
    /// What it says.
    pub finished: Finished,
}

type Wrong = Vec<Violation>;

/// Reads the body of `POST /v1/jobs`.
///
/// # Errors
/// With every field that is wrong.
pub fn new_job(body: &Value, now: Timestamp) -> Result<NewJob, Wrong> {
    read(body, |fields, wrong| {
        let client_id = required(fields, "id", wrong);
        let user = required(fields, "user", wrong);
        let nodes = fields.texts("nodes", MAX_NODES, MAX_NAME_BYTES, wrong);
        if nodes.is_empty() {
            wrong.push(Violation::new(fields.pointer("nodes"), "must name at least one node"));
        }
        let state = fields.word("state", STATES, HpcState::parse, wrong);
        let started = past(fields, "start_time", now, wrong);
        let mut record = Record { user: Some(user), ..Record::default() };
        let mut cluster = None;
        let scheduler = fields.object("scheduler", wrong);
        if let Some(map) = scheduler {
            cluster = of_scheduler(map, fields.pointer("scheduler"), &mut record, wrong);
        }
        if record.external_id.is_empty() {
            record.external_id.clone_from(&client_id);
        }
        if record.raw_state.is_empty() {
            state.unwrap_or(HpcState::Running).raw().clone_into(&mut record.raw_state);
        }
        let runs = Standing::of(&record.raw_state).is_none_or(|standing| standing != Standing::Waits);
        record.started = started.or(runs.then_some(now));
        record.node_count = u32::try_from(nodes.len()).ok();
        record.nodes = nodes;
        NewJob { client_id, cluster, record }
    })
}

/// Reads the body of `PATCH /v1/jobs/{id}`.
///
/// # Errors
/// With every field that is wrong.
pub fn patch(body: &Value) -> Result<Patch, Wrong> {
    read(body, |fields, wrong| {
        let state = fields.word("state", STATES, HpcState::parse, wrong);
        let usage = usage(fields, wrong);
        let usage = Some(usage).filter(|usage| *usage != Usage::default());
        Patch { state, usage }
    })
}

/// Reads the body of `POST /v1/jobs/{id}/metrics`.
///
/// # Errors
/// With every field that is wrong.
pub fn sample(body: &Value) -> Result<Usage, Wrong> {
    read(body, |fields, wrong| {
        let at = time(fields, "timestamp", wrong);
        let usage = usage(fields, wrong);
        for (name, missing) in
            [("cpu_usage", usage.cpu.is_none()), ("memory_usage_mb", usage.memory_mb.is_none())]
        {
            let pointer = fields.pointer(name);
            if missing && !wrong.iter().any(|violation| violation.pointer == pointer) {
                wrong.push(Violation::new(pointer, "is required"));
            }
        }
        Usage { at, ..usage }
    })
}

/// Reads the body of `POST /v1/events/job-started`.
///
/// # Errors
/// With every field that is wrong.
pub fn started(body: &Value, now: Timestamp) -> Result<StartedEvent, Wrong> {
    read(body, |fields, wrong| {
        let external_id = job_number(fields, wrong);
        let user = required(fields, "user", wrong);
        let nodes = fields.texts("node_list", MAX_NODES, MAX_NAME_BYTES, wrong);
        if nodes.is_empty() {
            wrong.push(Violation::new(fields.pointer("node_list"), "must name at least one node"));
        }
        let cpus = fields.whole("cpu_allocation", 0..=MOST, wrong);
        let gpus = fields.whole("gpu_allocation", 0..=MOST, wrong);
        let memory_mb = fields.whole("memory_allocation_mb", 0..=MOST, wrong);
        // Told by the reference's hooks, and known better by the agent.
        fields.word("gpu_vendor", "`none`, `nvidia` or `amd`", vendor, wrong);
        fields.texts("gpu_devices", MAX_NODES, MAX_NAME_BYTES, wrong);
        fields.text("cgroup_path", 4 * MAX_NAME_BYTES, wrong);
        let at = seen(fields, "timestamp", now, wrong).unwrap_or(now);
        let cluster = name(fields, "cluster", wrong);
        let record = Record {
            external_id,
            user: Some(user),
            nodes,
            started: Some(at),
            allocated: Amounts { cpus, memory_mb, gpus },
            partition: name(fields, "partition", wrong),
            account: name(fields, "account", wrong),
            name: name(fields, "name", wrong),
            restarts: restarts(fields, wrong),
            ..Record::default()
        };
        StartedEvent { cluster, record }
    })
}

/// Reads the body of `POST /v1/events/job-finished`.
///
/// # Errors
/// With every field that is wrong.
pub fn finished(body: &Value, now: Timestamp) -> Result<FinishedEvent, Wrong> {
    read(body, |fields, wrong| {
        let external_id = job_number(fields, wrong);
        let final_state =
            fields.word("final_state", ENDS, |word| HpcState::parse(word).filter(|s| s.is_terminal()), wrong);
        let raw_state = name(fields, "raw_state", wrong);
        let code = number(fields, "exit_code", wrong);
        let signal = number(fields, "signal", wrong);
        let at = seen(fields, "timestamp", now, wrong).unwrap_or(now);
        let cluster = name(fields, "cluster", wrong);
        let node = name(fields, "node", wrong);
        let user = name(fields, "user", wrong);
        let restarts = restarts(fields, wrong);
        let exit = (code.is_some() || signal.is_some())
            .then(|| ExitStatus { code: code.unwrap_or(0), signal: signal.unwrap_or(0) });
        let mut nodes = fields.texts("node_list", MAX_NODES, MAX_NAME_BYTES, wrong);
        nodes.extend(node.iter().cloned());
        let record = Record {
            external_id,
            user,
            nodes,
            restarts,
            started: seen(fields, "start_time", now, wrong),
            submitted: seen(fields, "submit_time", now, wrong),
            name: name(fields, "name", wrong),
            partition: name(fields, "partition", wrong),
            account: name(fields, "account", wrong),
            ..Record::default()
        };
        let hint = EndHint { at, exit, raw_state, final_state };
        // Who names a node speaks of that node.
        let finished = Finished { record, hint, whole: node.is_none() };
        FinishedEvent { cluster, finished }
    })
}

const STATES: &str = "`pending`, `running`, `completed`, `failed` or `cancelled`";
const ENDS: &str = "`completed`, `failed` or `cancelled`";

fn vendor(word: &str) -> Option<()> {
    ["none", "nvidia", "amd"].contains(&word).then_some(())
}

fn read<T>(body: &Value, of: impl FnOnce(&mut Fields<'_>, &mut Wrong) -> T) -> Result<T, Wrong> {
    let Value::Object(map) = body else { return Err(vec![Violation::new("", "must be an object")]) };
    let mut wrong = Vec::new();
    let mut fields = Fields::new(map, "");
    let found = of(&mut fields, &mut wrong);
    fields.finish(&mut wrong);
    if wrong.is_empty() { Ok(found) } else { Err(wrong) }
}

/// Slurm's word for nothing, which its hooks hand on.
const NOTHING: &str = "(null)";

fn name(fields: &mut Fields<'_>, name: &'static str, wrong: &mut Wrong) -> Option<String> {
    let text = fields.text(name, MAX_NAME_BYTES, wrong).filter(|text| *text != NOTHING)?;
    if text.is_empty() || text.chars().any(char::is_control) {
        wrong.push(Violation::new(fields.pointer(name), "must be a word without control characters"));
        return None;
    }
    Some(text.to_owned())
}

fn required(fields: &mut Fields<'_>, of: &'static str, wrong: &mut Wrong) -> String {
    let before = wrong.len();
    let found = name(fields, of, wrong);
    if found.is_none() && wrong.len() == before {
        wrong.push(Violation::new(fields.pointer(of), "is required"));
    }
    found.unwrap_or_default()
}

/// `slurm-12` is job 12: the reference answers with the one and is asked with the other.
fn job_number(fields: &mut Fields<'_>, wrong: &mut Wrong) -> String {
    let given = required(fields, "job_id", wrong);
    given.strip_prefix("slurm-").map(str::to_owned).unwrap_or(given)
}

fn time(fields: &mut Fields<'_>, name: &'static str, wrong: &mut Wrong) -> Option<Timestamp> {
    let text = fields.text(name, MAX_NAME_BYTES, wrong)?;
    let read = Timestamp::parse_rfc3339(text);
    if read.is_none() {
        wrong.push(Violation::new(fields.pointer(name), "must be a time such as 2026-01-22T10:00:00Z"));
    }
    read
}

/// When a hook has seen something: it has, whatever its clock, or Libra's, says of the time. What is ahead was seen now.
fn seen(fields: &mut Fields<'_>, name: &'static str, now: Timestamp, wrong: &mut Wrong) -> Option<Timestamp> {
    time(fields, name, wrong).map(|at| at.min(now))
}

/// A time at which something has happened, as people say it. A clock that is a little ahead says now; what is further ahead is a
/// mistake.
fn past(fields: &mut Fields<'_>, name: &'static str, now: Timestamp, wrong: &mut Wrong) -> Option<Timestamp> {
    let at = time(fields, name, wrong)?;
    if at > now.plus_seconds(MAX_AHEAD_SECONDS) {
        let reason =
            format!("is more than {MAX_AHEAD_SECONDS} s ahead of Libra's clock: set the clock of its sender");
        wrong.push(Violation::new(fields.pointer(name), reason));
        return None;
    }
    Some(at.min(now))
}

fn restarts(fields: &mut Fields<'_>, wrong: &mut Wrong) -> Option<u32> {
    let most = u64::from(u32::MAX);
    fields.whole("restart_count", 0..=most, wrong).and_then(|count| u32::try_from(count).ok())
}

/// An exit code or a signal.
fn number(fields: &mut Fields<'_>, name: &'static str, wrong: &mut Wrong) -> Option<i32> {
    const MOST: u64 = 255;
    fields.whole(name, 0..=MOST, wrong).and_then(|code| i32::try_from(code).ok())
}

fn usage(fields: &mut Fields<'_>, wrong: &mut Wrong) -> Usage {
    let cpu = fields.milli("cpu_usage", 0..=WHOLE, wrong).map(i64::from);
    let memory_mb = fields.whole("memory_usage_mb", 0..=MOST, wrong).and_then(|mb| i64::try_from(mb).ok());
    let gpu = fields.milli("gpu_usage", 0..=WHOLE, wrong).map(i64::from);
    Usage { cpu, memory_mb, gpu, at: None }
}

/// What is said of the scheduler; answers with its cluster.
fn of_scheduler(
    map: &Map<String, Value>,
    at: String,
    record: &mut Record,
    wrong: &mut Wrong,
) -> Option<String> {
    let mut fields = Fields::new(map, at);
    let of_slurm = |word: &str| ["slurm", "mock"].contains(&word).then_some(word == "slurm");
    record.said_of_slurm = fields.word("type", "`slurm` or `mock`", of_slurm, wrong).unwrap_or(false);
    record.external_id = name(&mut fields, "external_job_id", wrong).unwrap_or_default();
    record.raw_state = name(&mut fields, "raw_state", wrong).unwrap_or_default();
    record.reason = name(&mut fields, "state_reason", wrong);
    record.name = name(&mut fields, "name", wrong);
    record.partition = name(&mut fields, "partition", wrong);
    record.account = name(&mut fields, "account", wrong);
    record.qos = name(&mut fields, "qos", wrong);
    record.priority = fields.whole("priority", 0..=MOST, wrong);
    record.submitted = time(&mut fields, "submit_time", wrong);
    let code = number(&mut fields, "exit_code", wrong);
    record.exit = code.map(|code| ExitStatus { code, signal: 0 });
    let limit = fields.whole("time_limit_minutes", 0..=u64::from(u32::MAX), wrong);
    record.time_limit_minutes = limit.and_then(|minutes| u32::try_from(minutes).ok());
    record.requested = Amounts {
        cpus: fields.whole("requested_cpus", 0..=MOST, wrong),
        memory_mb: fields.whole("requested_memory_mb", 0..=MOST, wrong),
        gpus: fields.whole("requested_gpus", 0..=MOST, wrong),
    };
    record.allocated = Amounts {
        cpus: fields.whole("allocated_cpus", 0..=MOST, wrong),
        memory_mb: fields.whole("allocated_memory_mb", 0..=MOST, wrong),
        gpus: fields.whole("allocated_gpus", 0..=MOST, wrong),
    };
    let cluster = name(&mut fields, "cluster_name", wrong);
    fields.finish(wrong);
    cluster
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp(1_769_100_000_000_000);

    fn pointers(wrong: Wrong) -> Vec<String> {
        wrong.into_iter().map(|violation| violation.pointer).collect()
    }

    #[test]
    fn the_references_bodies_are_read() {
        let body = json!({"job_id": "12345", "user": "alice", "node_list": ["node-01", "node-02"], "cpu_allocation": 16,
            "gpu_allocation": 2, "gpu_vendor": "nvidia", "gpu_devices": ["GPU-abc123"],
            "cgroup_path": "/sys/fs/cgroup/system.slice/slurmstepd.scope/job_12345", "timestamp": "2026-01-22T10:00:00Z"});
        let event = started(&body, NOW).unwrap();
        assert_eq!((event.record.external_id.as_str(), event.record.allocated.gpus), ("12345", Some(2)));
        let body = json!({"job_id": "1", "user": "b", "node_list": ["n"], "account": "(null)", "timestamp": "2100-01-01T00:00:00Z"});
        let record = started(&body, NOW).unwrap().record;
        assert_eq!((record.account, record.started), (None, Some(NOW)), "nothing, and now");
        let body = json!({"job_id": "slurm-12345", "final_state": "completed", "exit_code": 0, "signal": 0});
        let event = finished(&body, NOW).unwrap().finished;
        assert_eq!((event.record.external_id.as_str(), event.hint.at, event.whole), ("12345", NOW, true));
        let told = (event.hint.raw_state, event.hint.final_state);
        assert_eq!(
            told,
            (None, Some(HpcState::Completed)),
            "what a hook makes of it is not the scheduler's word"
        );
        let body = json!({"job_id": "12", "raw_state": "TIMEOUT", "start_time": "2026-01-22T10:00:00Z",
            "submit_time": "2026-01-22T09:00:00Z", "node_list": ["n[1-2]"], "name": "a", "partition": "p", "account": "c"});
        let record = finished(&body, NOW).unwrap().finished.record;
        assert!(record.started > record.submitted && record.nodes == ["n[1-2]"]);
        let body = json!({"id": "job-001", "user": "alice", "nodes": ["node-01"], "scheduler": {"type": "slurm",
            "external_job_id": "12345", "raw_state": "RUNNING", "submit_time": "2026-01-20T09:55:00Z", "partition": "gpu",
            "account": "project_123", "qos": "normal", "priority": 100}});
        let job = new_job(&body, NOW).unwrap();
        assert_eq!((job.client_id.as_str(), job.record.external_id.as_str()), ("job-001", "12345"));
        assert_eq!((job.record.started, job.record.priority), (Some(NOW), Some(100)));
        assert!(job.record.said_of_slurm);
        let bare = new_job(&json!({"id": "a", "user": "b", "nodes": ["n"]}), NOW).unwrap();
        assert_eq!((bare.record.external_id.as_str(), bare.record.raw_state.as_str()), ("a", "RUNNING"));
        let sampled =
            sample(&json!({"cpu_usage": 75.5, "memory_usage_mb": 4096, "gpu_usage": 50.0})).unwrap();
        assert_eq!((sampled.cpu, sampled.memory_mb, sampled.gpu), (Some(75_500), Some(4_096), Some(50_000)));
        assert_eq!(patch(&json!({"state": "completed"})).unwrap().state, Some(HpcState::Completed));
    }

    #[test]
    fn every_wrong_field_is_named() {
        let body = json!({"cpu_usage": -1, "memory_usage_mb": -5, "gpu_usage": 101, "cpuUsage": 3});
        assert_eq!(
            pointers(sample(&body).unwrap_err()),
            ["/cpu_usage", "/memory_usage_mb", "/gpu_usage", "/cpuUsage"]
        );
        assert_eq!(pointers(sample(&json!({})).unwrap_err()), ["/cpu_usage", "/memory_usage_mb"]);
        let body = json!({"user": "", "node_list": [], "timestamp": "soon", "gpu_vendor": "intel"});
        let wrong = pointers(started(&body, NOW).unwrap_err());
        assert_eq!(wrong, ["/job_id", "/user", "/node_list", "/gpu_vendor", "/timestamp"]);
        let body = json!({"job_id": "1", "final_state": "running", "exit_code": 256, "signal": -1});
        assert_eq!(pointers(finished(&body, NOW).unwrap_err()), ["/final_state", "/exit_code", "/signal"]);
        assert_eq!(pointers(new_job(&json!([]), NOW).unwrap_err()), [""]);
        let body = json!({"id": "a\u{0}", "user": "b", "nodes": ["n"], "scheduler": {"type": "pbs", "partiton": "x"}});
        let wrong = pointers(new_job(&body, NOW).unwrap_err());
        assert_eq!(wrong, ["/id", "/scheduler/type", "/scheduler/partiton"]);
    }

    #[test]
    fn what_is_said_to_happen_years_ahead_is_a_mistake_of_people_and_a_clock_of_hooks() {
        let years = "2100-01-01T00:00:00Z";
        let body = json!({"job_id": "1", "final_state": "completed", "timestamp": years, "start_time": years, "submit_time": years});
        let told = finished(&body, NOW).unwrap().finished;
        assert_eq!((told.hint.at, told.record.started, told.record.submitted), (NOW, Some(NOW), Some(NOW)));
        let body = json!({"id": "a", "user": "b", "nodes": ["n"], "start_time": years});
        assert_eq!(pointers(new_job(&body, NOW).unwrap_err()), ["/start_time"]);
    }

    proptest::proptest! {
        #[test]
        fn no_body_is_too_odd(text in "\\PC{0,60}") {
            for body in [serde_json::from_str(&text).unwrap_or(json!(text)), json!({"job_id": text, "user": text, "timestamp": text})] {
                let _ = (new_job(&body, NOW).is_ok(), patch(&body).is_ok(), sample(&body).is_ok());
                let _ = (started(&body, NOW).is_ok(), finished(&body, NOW).is_ok());
            }
        }
    }
}
