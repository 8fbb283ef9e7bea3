//! What differs between two normal forms, and what each difference makes necessary.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::deployment::normal::{Fingerprint, Normal};
use crate::deployment::spec::JobType;

/// What a change makes necessary; the greatest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Needs {
    /// It is stored; Flink is not touched.
    Nothing,
    /// It counts from a batch job's next run on.
    NextRun,
    /// The number of subtasks changes; where the cluster can, without a stop.
    Rescale,
    /// The job has to be started again.
    Redeploy,
}

impl Needs {
    /// The words for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Nothing => "stored, nothing in Flink changes",
            Self::NextRun => "from the next run on",
            Self::Rescale => "another number of subtasks",
            Self::Redeploy => "needs a redeployment",
        }
    }
}

/// One field that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// JSON pointer to the field, as in the specification.
    pub pointer: String,
    /// What it was; None = absent.
    pub from: Option<Value>,
    /// What it will be; None = absent.
    pub to: Option<Value>,
    /// What that makes necessary.
    pub needs: Needs,
}

/// Every field of a normal form, and what its change needs. A test holds it against the form.
const FIELDS: [(&str, Needs); 35] = [
    ("/job_id", Needs::Redeploy),
    ("/job_type", Needs::Redeploy),
    ("/cluster", Needs::Redeploy),
    ("/artifact_type", Needs::Redeploy),
    ("/artifact_path", Needs::Redeploy),
    ("/artifact_signature", Needs::Redeploy),
    ("/artifact_pinned", Needs::Nothing),
    ("/artifact_watch", Needs::Nothing),
    ("/signature", Needs::Nothing),
    ("/entry_class", Needs::Redeploy),
    ("/sql", Needs::Redeploy),
    ("/args", Needs::Redeploy),
    ("/upgrade_mode", Needs::Nothing),
    ("/allow_non_restored_state", Needs::Nothing),
    ("/strict", Needs::Nothing),
    ("/stability", Needs::Nothing),
    ("/deployment/parallelism", Needs::Rescale),
    ("/deployment/checkpoint_interval", Needs::Redeploy),
    // Named with every request for a savepoint.
    ("/deployment/savepoint_path", Needs::Nothing),
    ("/deployment/restart_strategy", Needs::Redeploy),
    ("/deployment/max_restart_attempts", Needs::Redeploy),
    ("/deployment/restart_delay", Needs::Redeploy),
    ("/resources", Needs::Nothing),
    ("/security", Needs::Nothing),
    ("/monitoring", Needs::Nothing),
    ("/env_vars", Needs::Nothing),
    ("/batch_config", Needs::NextRun),
    // Libra takes them.
    ("/stream_config/savepoint_trigger_interval", Needs::Nothing),
    ("/stream_config/checkpoint_timeout", Needs::Redeploy),
    ("/stream_config/min_pause_between_checkpoints", Needs::Redeploy),
    ("/stream_config/max_concurrent_checkpoints", Needs::Redeploy),
    ("/advanced/classloader_resolve_order", Needs::Redeploy),
    ("/advanced/classloader_cache_mode", Needs::Nothing),
    ("/advanced/network_buffer_timeout", Needs::Redeploy),
    ("/advanced/taskmanager_heap_size", Needs::Nothing),
];

/// What a change of the field at `pointer`, or of the block that it is in, needs; None for a field without a row.
pub(super) fn needs(pointer: &str) -> Option<Needs> {
    let is = |field: &str| {
        pointer.strip_prefix(field).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    FIELDS.iter().find(|(field, _)| is(field)).map(|(_, needs)| *needs)
}

/// Everything that differs, sorted by field.
pub(super) fn changes(old: &Normal, new: &Normal) -> Vec<Change> {
    let (mut from, mut to) = (BTreeMap::new(), BTreeMap::new());
    leaves(&old.canonical(), String::new(), &mut from);
    leaves(&new.canonical(), String::new(), &mut to);
    let pointers: std::collections::BTreeSet<_> = from.keys().chain(to.keys()).cloned().collect();
    let differs = |pointer: &String| from.get(pointer) != to.get(pointer);
    let change = |pointer: String| {
        let hidden = pointer.starts_with("/env_vars/");
        let show = |value: Option<&Value>| {
            value.map(|value| if hidden { Value::from("(hidden)") } else { value.clone() })
        };
        let needs = in_context(&pointer, old, new);
        Change { from: show(from.get(&pointer)), to: show(to.get(&pointer)), pointer, needs }
    };
    pointers.into_iter().filter(differs).map(change).collect()
}

/// The fingerprint of what of a form needs a job to be replaced when it changes.
pub(super) fn job(normal: &Normal) -> Fingerprint {
    let mut fields = BTreeMap::new();
    leaves(&normal.canonical(), String::new(), &mut fields);
    fields.retain(|pointer, _| counts(pointer, normal));
    // Pointers are sorted, and no two forms write the same differently.
    Fingerprint::of(&serde_json::json!(fields).to_string())
}

/// The same without the number of subtasks.
pub(super) fn shape(normal: &Normal) -> Fingerprint {
    let mut one = normal.clone();
    one.deployment.parallelism = 1;
    job(&one)
}

fn counts(pointer: &str, normal: &Normal) -> bool {
    if pointer == "/artifact_path" && normal.artifact_digest.is_some() {
        return false;
    }
    if is_timed(normal) {
        return ["/job_id", "/job_type", "/cluster"].contains(&pointer);
    }
    needs(pointer).unwrap_or(Needs::Redeploy) >= Needs::Rescale
}

fn is_timed(normal: &Normal) -> bool {
    normal.batch_config.as_ref().is_some_and(|batch| batch.cron.is_some())
}

fn in_context(pointer: &str, old: &Normal, new: &Normal) -> Needs {
    // A field that nobody has thought of is taken for one that counts.
    let needs = needs(pointer).unwrap_or(Needs::Redeploy);
    let same_bytes = old.artifact_digest.is_some() && old.artifact_digest == new.artifact_digest;
    if pointer == "/artifact_path" && same_bytes {
        return Needs::Nothing;
    }
    // The other block comes or goes with the type, which says enough.
    if old.job_type != new.job_type {
        return needs;
    }
    match new.job_type {
        JobType::Batch if is_timed(old) && is_timed(new) && needs > Needs::NextRun => Needs::NextRun,
        JobType::Batch | JobType::Stream => needs,
    }
}

/// The values of a form by their pointers; a list is one value.
pub(super) fn leaves(value: &Value, pointer: String, found: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let key = key.replace('~', "~0").replace('/', "~1");
                leaves(value, format!("{pointer}/{key}"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            found.insert(pointer, value.clone());
        }
    }
}
