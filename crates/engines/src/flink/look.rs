//! From Flink's answers to what the reconciler reads.

use std::collections::BTreeMap;

use libra_core::deployment::reconcile::{Job, Kept};

use super::answers::{Checkpoints, Exceptions, JarFile, JobLine, Snapshot, Tasks};
use super::error::cause;

/// The metrics of a job that tell how often it was restarted; they lag behind by seconds.
pub(super) const RESTARTS: [&str; 2] = [NUM_RESTARTS, NUM_RESCALES];
const NUM_RESTARTS: &str = "numRestarts";
/// Of these restarts, those for another number of subtasks. Only the adaptive scheduler has it, and not in Flink 1.20.
const NUM_RESCALES: &str = "numRescales";

/// The longest word on how a program was packed, in bytes.
const MOST_PACKED: usize = 16;

/// True when every task runs or has finished, and there are some: RUNNING alone says nothing.
pub fn all_tasks_run(tasks: Tasks) -> bool {
    tasks.total > 0 && tasks.running.saturating_add(tasks.finished) >= tasks.total
}

/// A snapshot from which a job can be restored, if this is one.
pub fn kept(snapshot: Option<&Snapshot>) -> Option<Kept> {
    let snapshot = snapshot.filter(|snapshot| !snapshot.discarded)?;
    // Flink writes `<checkpoint-not-externally-addressable>` for what lives in its memory.
    let path = snapshot.external_path.clone().filter(|path| !path.is_empty() && !path.starts_with('<'))?;
    Some(Kept { path, number: snapshot.id })
}

/// How often a job was restarted because it failed; `failures` are the entries of its exception history.
///
/// The adaptive scheduler counts each change of the number of subtasks as a restart too, also when it makes one by itself
/// because slots come or go. Where it does not tell these apart, the history alone is believed.
pub fn restarts(metrics: &BTreeMap<String, String>, failures: u64, adaptive: bool) -> u64 {
    let metric = |name| metrics.get(name).and_then(|text| text.parse::<u64>().ok());
    let counted = match (metric(NUM_RESTARTS), metric(NUM_RESCALES)) {
        (Some(restarts), Some(rescales)) => restarts.saturating_sub(rescales),
        (Some(restarts), None) if !adaptive => restarts,
        (Some(_) | None, _) => 0,
    };
    // The metrics are empty for the first seconds, also of a job that does nothing but restart. Each failure that is in
    // the history has led to one.
    counted.max(failures)
}

/// A job as the reconciler sees it. What was not asked for (it need not be, for others' jobs) is nothing.
pub fn observed_job(
    line: &JobLine,
    checkpoints: &Checkpoints,
    exceptions: &Exceptions,
    metrics: &BTreeMap<String, String>,
    adaptive: bool,
) -> Job {
    let failures = u64::try_from(exceptions.entries.len()).unwrap_or(u64::MAX);
    let failure = exceptions.entries.first().map(|newest| cause(&newest.stacktrace));
    Job {
        id: line.jid,
        name: line.name.clone(),
        state: line.state,
        all_tasks_run: all_tasks_run(line.tasks),
        restarts: restarts(metrics, failures, adaptive),
        exceptions: failures,
        checkpoints: checkpoints.counts.completed,
        checkpoint: kept(checkpoints.latest.completed.as_ref()),
        savepoint: kept(checkpoints.latest.savepoint.as_ref()),
        failure,
        pressure: None,
    }
}

impl JarFile {
    /// The name under which it was uploaded, if it was by us: a sha256, and how it was packed.
    pub fn digest(&self) -> Option<&str> {
        let name = self.name.strip_suffix(".jar")?;
        let (digest, packed) = name.split_at_checked(64)?;
        let fine = digest.bytes().all(|b| b.is_ascii_hexdigit())
            && packed.len() <= MOST_PACKED
            && packed.bytes().all(|b| b.is_ascii_alphanumeric());
        fine.then_some(name)
    }
}
