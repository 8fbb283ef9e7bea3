//! What a job asks of a batch scheduler (contract H6).
//!
//! [`OPTIONS`] is the one list of all that can be asked for: the fields of [`Allocation`], their names on the wire, what `sbatch`
//! calls them, how their values are written, and what they mean. How slurmrestd is told is the engine's.

pub mod script;
pub mod spark;
pub mod syntax;

use serde::{Deserialize, Serialize};

pub use script::of_script;
pub use syntax::Syntax;

/// The most nodes, tasks, processors or GPUs that are believed; larger numbers are typing errors.
const MOST: u64 = 1_000_000;
/// The longest time limit, a year, in minutes.
const MOST_MINUTES: u64 = 366 * 24 * 60;
/// The most memory of a node or a processor, 1 PiB, in MiB.
const MOST_MEMORY_MB: u64 = 1 << 30;

/// Something that can be asked for.
#[derive(Clone, Copy, Debug)]
pub struct AskedFor {
    /// The field on the wire.
    pub name: &'static str,
    /// What `sbatch` calls it; the first of them is what it is told.
    pub words: &'static [&'static str],
    /// How its value is written.
    pub syntax: Syntax,
    /// What it means, for people.
    pub about: &'static str,
}

macro_rules! options {
    ($($field:ident: $type:ty, $name:literal, $words:expr, $syntax:expr, $about:literal;)*) => {
        /// What a job asks of a batch scheduler. None leaves the choice to the cluster.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct Allocation {
            $(
                #[doc = $about]
                #[serde(rename = $name, skip_serializing_if = "Option::is_none")]
                pub $field: Option<$type>,
            )*
        }

        /// All that can be asked for.
        pub const OPTIONS: &[AskedFor] =
            &[$(AskedFor { name: $name, words: &$words, syntax: $syntax, about: $about },)*];

        impl Allocation {
            /// This, and what it does not say as `those` say it.
            #[must_use]
            pub fn or(self, those: Self) -> Self {
                let those = those.beside(&self);
                Self { $($field: self.$field.or(those.$field),)* }
            }
        }
    };
}

options! {
    partition: String, "partition", ["--partition", "-p"], Syntax::Name, "A partition, or several with commas between.";
    account: String, "account", ["--account", "-A"], Syntax::Name, "The account to charge.";
    qos: String, "qos", ["--qos", "-q"], Syntax::Name, "A quality of service.";
    time_limit_minutes: u32, "timeLimitMinutes", ["--time", "-t"], Syntax::Minutes,
        "Slurm's time limit, in minutes.";
    nodes: u32, "nodes", ["--nodes", "-N"], Syntax::Count, "Nodes; with `maxNodes`, at least so many.";
    max_nodes: u32, "maxNodes", [], Syntax::Count, "Nodes at most, beside `nodes`.";
    tasks: u32, "tasks", ["--ntasks", "-n"], Syntax::Count, "Tasks.";
    tasks_per_node: u32, "tasksPerNode", ["--ntasks-per-node", "--tasks-per-node"], Syntax::Count,
        "Tasks on each node; beside `tasks`, at most so many.";
    cpus_per_task: u32, "cpusPerTask", ["--cpus-per-task", "-c"], Syntax::Count, "Processors for each task.";
    memory_mb: u64, "memoryMb", ["--mem"], Syntax::Memory, "Memory on each node, in MiB.";
    memory_per_cpu_mb: u64, "memoryPerCpuMb", ["--mem-per-cpu"], Syntax::Memory,
        "Memory for each processor, in MiB; not beside `memoryMb`.";
    gpus: u32, "gpus", ["--gpus", "-G"], Syntax::Count, "GPUs of the whole job.";
    gpus_per_node: String, "gpusPerNode", ["--gpus-per-node"], Syntax::Gpus,
        "GPUs of each node: `2`, or `a100:2` of one type.";
    gres: String, "gres", ["--gres"], Syntax::Gres,
        "Generic resources of each node, with commas between: `gpu:a100:2,shard:4`.";
    array: String, "array", ["--array", "-a"], Syntax::Array, "Tasks of an array: `0-9`, `1,3,5`, `0-99%10`.";
    dependency: String, "dependency", ["--dependency", "-d"], Syntax::Dependency,
        "What it waits for in Slurm, by Slurm's numbers: `afterok:17`, `afterany:17:18`, `singleton`.";
    nodelist: String, "nodelist", ["--nodelist", "-w"], Syntax::Hosts,
        "Nodes that have to be among its own: `n1,n[3-5]`.";
    exclude: String, "exclude", ["--exclude", "-x"], Syntax::Hosts, "Nodes that must not be among its own.";
    exclusive: String, "exclusive", ["--exclusive"], Syntax::Word(&["true", "user", "mcs"]),
        "Whether its nodes are its own: `true`; or `user`, which shares them with jobs of the same user of Slurm, or `mcs`.";
    constraint: String, "constraint", ["--constraint", "-C"], Syntax::Name, "Features that its nodes have to have.";
    reservation: String, "reservation", ["--reservation"], Syntax::Name, "A reservation to run in.";
    requeue: bool, "requeue", ["--requeue"], Syntax::Flag,
        "Whether Slurm itself may run it again after a node was lost. Absent is no: Libra tries again, as `retryPolicy` says.";
    directory: String, "directory", ["--chdir", "-D"], Syntax::Path, "Where it begins, a whole path on the nodes.";
    stdout: String, "stdout", ["--output", "-o"], Syntax::Path,
        "A file on the nodes for its standard output; it is not among the job's logs then.";
    stderr: String, "stderr", ["--error", "-e"], Syntax::Path, "A file on the nodes for its standard error, likewise.";
    open_mode: String, "openMode", ["--open-mode"], Syntax::Word(&["append", "truncate"]),
        "What happens to what these files hold when Slurm runs it again, and is in them before: `append` (if absent) or `truncate`.";
    comment: String, "comment", ["--comment"], Syntax::Comment,
        "Words for Slurm's comment; they stand there behind the token by which Libra knows the job.";
    mail_type: String, "mailType", ["--mail-type"], Syntax::Words(MAIL_TYPES),
        "When Slurm writes to `mailUser`, with commas between: `END,FAIL`.";
    mail_user: String, "mailUser", ["--mail-user"], Syntax::Name, "To whom Slurm writes.";
    signal: String, "signal", ["--signal"], Syntax::Signal,
        "A signal before its time limit ends it: `USR1@120` to its steps, `B:USR1@120` to the script itself; seconds, 60 if absent.";
}

/// Occasions for mail, as every version of Slurm names them.
pub const MAIL_TYPES: &[&str] = &[
    "NONE",
    "BEGIN",
    "END",
    "FAIL",
    "REQUEUE",
    "ALL",
    "INVALID_DEPEND",
    "STAGE_OUT",
    "TIME_LIMIT",
    "TIME_LIMIT_90",
    "TIME_LIMIT_80",
    "TIME_LIMIT_50",
    "ARRAY_TASKS",
];

/// What is wrong with what is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The field.
    pub name: &'static str,
    /// What is wrong and what would be right.
    pub reason: String,
}

impl Allocation {
    /// Without what means nothing, or something else, beside what `said` says of the same.
    fn beside(self, said: &Self) -> Self {
        let of_memory = said.memory_mb.is_some() || said.memory_per_cpu_mb.is_some();
        Self {
            max_nodes: self.max_nodes.filter(|_| said.nodes.is_none()),
            memory_mb: self.memory_mb.filter(|_| !of_memory),
            memory_per_cpu_mb: self.memory_per_cpu_mb.filter(|_| !of_memory),
            ..self
        }
    }

    /// What is asked for, each with its value.
    pub fn given(&self) -> Vec<(&'static AskedFor, serde_json::Value)> {
        let all = serde_json::to_value(self).unwrap_or_default();
        let value = |option: &'static AskedFor| Some((option, all.get(option.name)?.clone()));
        OPTIONS.iter().filter_map(value).collect()
    }

    /// Everything that no cluster would take.
    pub fn flaws(&self) -> Vec<Wrong> {
        let mut wrong: Vec<Wrong> = self
            .given()
            .into_iter()
            .filter_map(|(option, value)| {
                let reason = option.syntax.flaw(value.as_str()?)?;
                Some(Wrong { name: option.name, reason })
            })
            .collect();
        let mut say =
            |name: &'static str, reason: &str| wrong.push(Wrong { name, reason: reason.to_owned() });
        if self.memory_mb.is_some() && self.memory_per_cpu_mb.is_some() {
            say("memoryPerCpuMb", "can't be given together with `memoryMb`; ask for one of the two");
        }
        match (self.nodes, self.max_nodes) {
            (None, Some(_)) => say("maxNodes", "is for beside `nodes`, which says how many it has to have"),
            (Some(least), Some(most)) if most < least => say("maxNodes", "is less than `nodes`"),
            (_, None) | (Some(_), Some(_)) => {}
        }
        wrong
    }

    /// Nodes, at least.
    pub fn least_nodes(&self) -> u32 {
        self.nodes.unwrap_or(1).max(1)
    }

    /// Processors of the whole job, at least.
    pub fn least_cpus(&self) -> u32 {
        let nodes = self.least_nodes();
        let by_node = self.tasks_per_node.unwrap_or(1).saturating_mul(nodes);
        let tasks = self.tasks.unwrap_or(by_node).max(nodes);
        tasks.saturating_mul(self.cpus_per_task.unwrap_or(1).max(1))
    }

    /// Memory of the whole job, in MiB; 0 where nothing is asked for.
    pub fn memory_of_all_mb(&self) -> u64 {
        match self.memory_per_cpu_mb {
            Some(each) => each.saturating_mul(u64::from(self.least_cpus())),
            None => self.memory_mb.unwrap_or(0).saturating_mul(u64::from(self.least_nodes())),
        }
    }
}

/// How many tasks an array has: 4 of `0-3`, 3 of `1,3,5`, 4 of `0-15:4%2`. None where that can't be told.
pub fn tasks_of(array: &str) -> Option<u64> {
    let tasks = array.split('%').next()?;
    tasks.split(',').try_fold(0u64, |sum, part| {
        let (range, step) = part.split_once(':').unwrap_or((part, "1"));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last, step): (u64, u64, u64) =
            (first.parse().ok()?, last.parse().ok()?, step.parse().ok().filter(|step| *step > 0)?);
        sum.checked_add(last.checked_sub(first)? / step + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tasks_of_an_array_are_counted() {
        for (text, wanted) in [
            ("0-3", Some(4)),
            ("7", Some(1)),
            ("1,3,5-6%2", Some(4)),
            ("0-15:4", Some(4)),
            ("3-1", None),
            ("0-3:0", None),
            ("0x3F8", None),
            ("", None),
        ] {
            assert_eq!(tasks_of(text), wanted, "{text}");
        }
    }

    #[test]
    fn what_is_said_beside_the_script_counts() {
        let (beside, within) = (
            Allocation { nodes: Some(1), ..Allocation::default() },
            Allocation { nodes: Some(4), tasks: Some(8), ..Allocation::default() },
        );
        let asked = beside.or(within);
        assert_eq!((asked.nodes, asked.tasks, asked.least_cpus()), (Some(1), Some(8), 8));
        assert_eq!(Allocation { nodes: Some(3), ..Allocation::default() }.least_cpus(), 3);
        let by_node = Allocation {
            nodes: Some(2),
            tasks_per_node: Some(4),
            cpus_per_task: Some(2),
            memory_per_cpu_mb: Some(100),
            ..Allocation::default()
        };
        assert_eq!((by_node.least_cpus(), by_node.memory_of_all_mb()), (16, 1_600));
    }

    #[test]
    fn what_is_said_beside_the_script_counts_whole() {
        let of_script = Allocation {
            nodes: Some(2),
            max_nodes: Some(4),
            memory_per_cpu_mb: Some(2_048),
            ..Allocation::default()
        };
        let beside = Allocation { nodes: Some(8), memory_mb: Some(100), ..Allocation::default() };
        assert_eq!(beside.clone().or(of_script.clone()), beside);
        assert_eq!(Allocation::default().or(of_script.clone()), of_script);
    }

    #[test]
    fn what_contradicts_itself_is_wrong() {
        let named = |asked: Allocation| asked.flaws().into_iter().map(|wrong| wrong.name).collect::<Vec<_>>();
        let none: [&str; 0] = [];
        assert_eq!(named(Allocation { nodes: Some(2), max_nodes: Some(2), ..Allocation::default() }), none);
        assert_eq!(
            named(Allocation { nodes: Some(2), max_nodes: Some(1), ..Allocation::default() }),
            ["maxNodes"]
        );
        assert_eq!(named(Allocation { max_nodes: Some(1), ..Allocation::default() }), ["maxNodes"]);
        let both = Allocation { memory_mb: Some(1), memory_per_cpu_mb: Some(1), ..Allocation::default() };
        assert_eq!(named(both), ["memoryPerCpuMb"]);
        let texts = Allocation {
            partition: Some("a\nb".to_owned()),
            array: Some("all".to_owned()),
            ..Allocation::default()
        };
        assert_eq!(named(texts), ["partition", "array"]);
    }
}
