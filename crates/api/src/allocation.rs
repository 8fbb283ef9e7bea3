//! What a job asks of Slurm: the `slurm` object of a submission (contract H6).

use libra_core::allocation::Allocation;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::fields::Fields;
use crate::problem::Violation;
use crate::submit::{MAX_NAME_BYTES, MAX_PATH_BYTES};

/// The most nodes, tasks, processors or GPUs that are believed; larger numbers are typing errors.
const MOST: u64 = 1_000_000;
/// The longest time limit, a year, in minutes.
const MOST_MINUTES: u64 = 366 * 24 * 60;
/// The most memory of a node, 1 PiB, in MiB.
const MOST_MEMORY_MB: u64 = 1 << 30;

/// What a job asks of Slurm. Whatever is absent is the cluster's choice; a script's `#SBATCH` lines are read as well, and
/// these count before them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct SlurmRequest {
    /// A partition, or several with commas between.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<String>,
    /// The account to charge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// A quality of service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qos: Option<String>,
    /// Slurm's time limit, in minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_limit_minutes: Option<u32>,
    /// Nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<u32>,
    /// Tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks: Option<u32>,
    /// Processors for each task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus_per_task: Option<u32>,
    /// Memory on each node, in MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_mb: Option<u64>,
    /// GPUs of the whole job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpus: Option<u32>,
    /// Tasks of an array: `0-9`, `1,3,5`, `0-99%10`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "0-9%2")]
    pub array: Option<String>,
    /// Features that its nodes have to have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub constraint: Option<String>,
    /// A reservation to run in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reservation: Option<String>,
    /// Whether Slurm itself may run it again after a node was lost. Absent is no: Libra tries again, as `retryPolicy` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requeue: Option<bool>,
    /// Where it begins, a whole path on the nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// A file on the nodes for its standard output; it is not among the job's logs then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdout: Option<String>,
    /// A file on the nodes for its standard error, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stderr: Option<String>,
}

impl SlurmRequest {
    /// With a value in every field, for whoever has to know which there are and of which kind.
    pub fn every() -> Self {
        let text = || Some(String::new());
        Self {
            partition: text(),
            account: text(),
            qos: text(),
            time_limit_minutes: Some(1),
            nodes: Some(1),
            tasks: Some(1),
            cpus_per_task: Some(1),
            memory_mb: Some(1),
            gpus: Some(1),
            array: text(),
            constraint: text(),
            reservation: text(),
            requeue: Some(true),
            directory: text(),
            stdout: text(),
            stderr: text(),
        }
    }
}

/// Reads the object. Every wrong field is named.
pub(crate) fn parse(map: &Map<String, Value>, wrong: &mut Vec<Violation>) -> Allocation {
    let mut f = Fields::new(map, "/slurm");
    let mut text = |name, most, wrong: &mut Vec<Violation>| f.text(name, most, wrong).map(str::to_owned);
    let partition = text("partition", MAX_NAME_BYTES, wrong);
    let account = text("account", MAX_NAME_BYTES, wrong);
    let qos = text("qos", MAX_NAME_BYTES, wrong);
    let array = text("array", MAX_NAME_BYTES, wrong);
    let constraint = text("constraint", MAX_NAME_BYTES, wrong);
    let reservation = text("reservation", MAX_NAME_BYTES, wrong);
    let directory = text("directory", MAX_PATH_BYTES, wrong);
    let stdout = text("stdout", MAX_PATH_BYTES, wrong);
    let stderr = text("stderr", MAX_PATH_BYTES, wrong);
    let mut count = |name, most, wrong: &mut Vec<Violation>| {
        f.whole(name, 1..=most, wrong).and_then(|n| u32::try_from(n).ok())
    };
    let nodes = count("nodes", MOST, wrong);
    let tasks = count("tasks", MOST, wrong);
    let cpus_per_task = count("cpusPerTask", MOST, wrong);
    let gpus = count("gpus", MOST, wrong);
    let time_limit_minutes = count("timeLimitMinutes", MOST_MINUTES, wrong);
    let memory_mb = f.whole("memoryMb", 1..=MOST_MEMORY_MB, wrong);
    let requeue = f.flag("requeue", wrong);
    f.finish(wrong);
    Allocation {
        partition,
        account,
        qos,
        time_limit_minutes,
        nodes,
        tasks,
        cpus_per_task,
        memory_mb,
        gpus,
        array,
        constraint,
        reservation,
        requeue,
        directory,
        stdout,
        stderr,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_parser_and_the_documented_schema_know_the_same_fields() {
        let full = SlurmRequest::every();
        let Value::Object(map) = serde_json::to_value(&full).unwrap() else { panic!("an object") };
        let mut wrong = Vec::new();
        let asked = parse(&map, &mut wrong);
        assert_eq!(wrong, []);
        assert_eq!(serde_json::to_value(asked).unwrap(), serde_json::to_value(full).unwrap());
    }

    #[test]
    fn every_wrong_field_is_named() {
        let Value::Object(map) =
            json!({"nodes": 0, "memoryMb": -1, "requeue": "yes", "partition": 7, "colour": 1})
        else {
            panic!("an object")
        };
        let mut wrong = Vec::new();
        parse(&map, &mut wrong);
        let mut pointers: Vec<&str> = wrong.iter().map(|violation| violation.pointer.as_str()).collect();
        pointers.sort_unstable();
        assert_eq!(
            pointers,
            ["/slurm/colour", "/slurm/memoryMb", "/slurm/nodes", "/slurm/partition", "/slurm/requeue"]
        );
    }
}
