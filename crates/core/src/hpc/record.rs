//! What a scheduler's own record says of a job.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Processors, memory and GPUs. None is unknown, which is not zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Amounts {
    /// Processors.
    pub cpus: Option<u64>,
    /// Memory of all nodes together, in MiB.
    pub memory_mb: Option<u64>,
    /// GPUs.
    pub gpus: Option<u64>,
}

impl Amounts {
    /// These, and where nothing is known, those.
    #[must_use]
    pub fn or(self, those: Self) -> Self {
        Self {
            cpus: self.cpus.or(those.cpus),
            memory_mb: self.memory_mb.or(those.memory_mb),
            gpus: self.gpus.or(those.gpus),
        }
    }
}

/// How a job's script has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitStatus {
    /// Its exit code; 0 where a signal ended it.
    pub code: i32,
    /// The signal that ended it; 0 for none.
    pub signal: i32,
}

impl ExitStatus {
    /// Reads what `wait` tells, as Slurm 22.05 writes exit codes: 768 is exit code 3, 9 is signal 9.
    pub fn of_wait(status: u32) -> Self {
        let signal = i32::try_from(status & 0x7f).unwrap_or(0);
        let code = i32::try_from((status >> 8) & 0xff).unwrap_or(0);
        Self { code, signal }
    }

    /// Reads `code:signal`, as `sacct` and the hooks write it.
    pub fn of_pair(text: &str) -> Option<Self> {
        let (code, signal) = text.split_once(':')?;
        Some(Self { code: code.trim().parse().ok()?, signal: signal.trim().parse().ok()? })
    }
}

/// Which task of an array a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ArrayTask {
    /// The id of the array.
    pub job: u64,
    /// The number of the task.
    pub task: u64,
}

/// Where a job writes, as its scheduler knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Places {
    /// Where it began.
    pub directory: Option<String>,
    /// Its standard output.
    pub stdout: Option<String>,
    /// Its standard error.
    pub stderr: Option<String>,
}

/// What a scheduler says of one job at one time. What it does not say is None or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// Its number with the scheduler: each task of an array and each part of a heterogeneous job has its own.
    pub external_id: String,
    /// The cluster, by the name that it has for itself: accounting may hold several, and the same number on each.
    pub cluster: Option<String>,
    /// The state in the scheduler's words, several of them with commas between.
    pub raw_state: String,
    /// Why it is in that state, in the scheduler's words.
    pub reason: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// Its owner, as the scheduler knows him.
    pub user: Option<String>,
    /// Who has submitted it through Libra, where Libra has: to the scheduler all of these are one user's.
    pub submitted_by: Option<String>,
    /// The account that is charged.
    pub account: Option<String>,
    /// Its partition, or several with commas between while it waits.
    pub partition: Option<String>,
    /// Its quality of service.
    pub qos: Option<String>,
    /// Its priority.
    pub priority: Option<u64>,
    /// When it was submitted; on being put back into the queue some versions set it anew.
    pub submitted: Option<Timestamp>,
    /// When it began to run; while it waits, nothing: Slurm's guess is none.
    pub started: Option<Timestamp>,
    /// When it ended; while it runs, nothing: Slurm's limit is no end.
    pub ended: Option<Timestamp>,
    /// Its time limit in minutes; None = unknown or none.
    pub time_limit_minutes: Option<u32>,
    /// Its nodes, one by one.
    pub nodes: Vec<String>,
    /// How many nodes it has or asks for.
    pub node_count: Option<u32>,
    /// What it asks for.
    pub requested: Amounts,
    /// What it has, or had.
    pub allocated: Amounts,
    /// How its script has ended.
    pub exit: Option<ExitStatus>,
    /// How often it was put back into the queue.
    pub restarts: Option<u32>,
    /// Its comment: Libra's token is in it where Libra has submitted it.
    pub comment: Option<String>,
    /// Which task of an array it is.
    pub array: Option<ArrayTask>,
    /// Tasks of an array that wait and have no number of their own yet, in the scheduler's words: `3-5,7%2`, or a mask as
    /// `0x3F8`. This record stands for all of them then; the last to begin keeps its number.
    pub array_waiting: Option<String>,
    /// The id of the heterogeneous job that it is a part of.
    pub het_job: Option<u64>,
    /// Where it writes.
    pub places: Places,
    /// True where there is no such job: a cluster that is made up tells of it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub made_up: bool,
    /// True where somebody has made it known who says that it is Slurm's: of others it is taken that no scheduler knows them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub said_of_slurm: bool,
}

impl Record {
    /// Whose it is: who has submitted it through Libra, else whom the scheduler names; empty where nobody knows.
    pub fn owner(&self) -> &str {
        self.submitted_by.as_deref().or(self.user.as_deref()).unwrap_or_default()
    }

    /// True where it has this number with its scheduler, itself or as a part of what has it as a whole.
    pub fn has_number(&self, number: &str) -> bool {
        self.external_id == number || self.whole().is_some_and(|whole| whole.to_string() == number)
    }

    /// The words of its comment: one of them is the token of Libra's attempt, where Libra has submitted it.
    pub fn marks(&self) -> impl Iterator<Item = &str> {
        self.comment.as_deref().unwrap_or_default().split_whitespace()
    }

    /// The number of the array or of the heterogeneous job that it is a part of.
    pub fn whole(&self) -> Option<u64> {
        self.array.map(|task| task.job).or(self.het_job)
    }

    /// What is known after `newer` was said: it counts, and what it does not say stays.
    #[must_use]
    pub fn followed_by(&self, newer: Self) -> Self {
        let known = self.clone();
        let text = |newer: String, known: String| if newer.is_empty() { known } else { newer };
        // A reason is the reason of a state: who says the one says the other.
        let reason = if newer.raw_state.is_empty() { newer.reason.or(known.reason) } else { newer.reason };
        Self {
            reason,
            external_id: text(newer.external_id, known.external_id),
            cluster: newer.cluster.or(known.cluster),
            raw_state: text(newer.raw_state, known.raw_state),
            name: newer.name.or(known.name),
            user: newer.user.or(known.user),
            submitted_by: newer.submitted_by.or(known.submitted_by),
            account: newer.account.or(known.account),
            partition: newer.partition.or(known.partition),
            qos: newer.qos.or(known.qos),
            priority: newer.priority.or(known.priority),
            submitted: newer.submitted.or(known.submitted),
            started: newer.started.or(known.started),
            ended: newer.ended.or(known.ended),
            time_limit_minutes: newer.time_limit_minutes.or(known.time_limit_minutes),
            nodes: if newer.nodes.is_empty() { known.nodes } else { newer.nodes },
            node_count: newer.node_count.or(known.node_count),
            requested: newer.requested.or(known.requested),
            allocated: newer.allocated.or(known.allocated),
            exit: newer.exit.or(known.exit),
            restarts: newer.restarts.max(known.restarts),
            comment: newer.comment.or(known.comment),
            array: newer.array.or(known.array),
            // None are left, where nothing is said of them.
            array_waiting: newer.array_waiting,
            het_job: newer.het_job.or(known.het_job),
            made_up: newer.made_up || known.made_up,
            said_of_slurm: newer.said_of_slurm || known.said_of_slurm,
            places: if newer.places == Places::default() { known.places } else { newer.places },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_read_as_slurm_writes_them() {
        let of = |code, signal| ExitStatus { code, signal };
        assert_eq!(ExitStatus::of_wait(768), of(3, 0));
        assert_eq!(ExitStatus::of_wait(9), of(0, 9));
        assert_eq!(ExitStatus::of_wait(15), of(0, 15));
        assert_eq!(ExitStatus::of_wait(0), of(0, 0));
        assert_eq!(ExitStatus::of_pair("127:0"), Some(of(127, 0)));
        assert_eq!(ExitStatus::of_pair("0:125"), Some(of(0, 125)));
        for text in ["", "3", "a:b", "3:0:1", ":"] {
            assert_eq!(ExitStatus::of_pair(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_unknown_is_taken_from_elsewhere() {
        let few = Amounts { cpus: Some(2), ..Amounts::default() };
        let more = Amounts { cpus: Some(4), memory_mb: Some(100), gpus: None };
        assert_eq!(few.or(more), Amounts { cpus: Some(2), memory_mb: Some(100), gpus: None });
    }
}
