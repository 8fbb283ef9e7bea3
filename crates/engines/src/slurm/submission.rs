//! A job to submit: what is asked for, and how each of Slurm's doors wants to be told.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::version::ApiVersion;

/// The search path of a job that brings none: an empty environment is refused by slurmrestd.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// The largest script, in bytes. Slurm's own limit (`max_script_size`) is 4 MiB unless the site says otherwise.
pub const MOST_SCRIPT_BYTES: usize = 4 * 1024 * 1024;
/// Variables that `sbatch` reads for itself, and that would change what is asked for.
const READ_BY_SBATCH: [&str; 4] = ["SBATCH_", "SLURM_CONF", "SLURM_CLUSTERS", "SLURM_JWT"];

/// A job to submit. None and empty leave the choice to the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Submission {
    /// What is run, with its first line `#!…`. It holds no `#SBATCH` lines: only `sbatch` would read them.
    pub script: String,
    /// The mark of this submission: the job's comment, by which it is found again. Letters, digits, `-`, `_` and `.`.
    pub token: String,
    /// A name.
    pub name: Option<String>,
    /// A partition, or several with commas between.
    pub partition: Option<String>,
    /// The account to charge.
    pub account: Option<String>,
    /// A quality of service.
    pub qos: Option<String>,
    /// A time limit in minutes.
    pub time_limit_minutes: Option<u32>,
    /// Nodes.
    pub nodes: Option<u32>,
    /// Tasks.
    pub tasks: Option<u32>,
    /// Processors for each task.
    pub cpus_per_task: Option<u32>,
    /// Memory on each node, in MiB.
    pub memory_mb_per_node: Option<u64>,
    /// GPUs of the whole job.
    pub gpus: Option<u32>,
    /// Tasks of an array, as `0-9%2`.
    pub array: Option<String>,
    /// Features that its nodes have to have.
    pub constraint: Option<String>,
    /// A reservation to run in.
    pub reservation: Option<String>,
    /// Whether Slurm itself may run it again after a node was lost.
    pub requeue: bool,
    /// Environment of the script, and all that it gets.
    pub environment: BTreeMap<String, String>,
    /// Where it begins; it has to be a directory on the nodes.
    pub directory: String,
    /// A file for its standard output; Slurm's patterns (`%j`) are filled in.
    pub stdout: Option<String>,
    /// A file for its standard error.
    pub stderr: Option<String>,
}

/// What is wrong with a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// Where it was asked for, a JSON pointer into a submission to Libra.
    pub pointer: String,
    /// What is wrong and what would be right.
    pub words: String,
}

impl Submission {
    /// Says what is wrong with it, in words for who asked.
    ///
    /// # Errors
    /// With the first thing that no cluster would take, or that its doors would take differently.
    pub fn check(&self) -> Result<(), Flaw> {
        let flaw = |pointer: &str, words: String| Err(Flaw { pointer: pointer.to_owned(), words });
        if !self.script.starts_with("#!") {
            let words = "the script does not begin with `#!`; hint: put `#!/bin/sh` in its first line";
            return flaw("/code", words.to_owned());
        }
        if self.script.len() > MOST_SCRIPT_BYTES {
            return flaw("/code", format!("the script is larger than {MOST_SCRIPT_BYTES} bytes"));
        }
        if self.script.contains('\0') || self.script.contains('\r') {
            let words = "the script holds a NUL or a carriage return, which Slurm refuses";
            return flaw("/code", words.to_owned());
        }
        if let Some(line) = directive(&self.script) {
            return flaw(
                "/code",
                format!(
                    "the script says `{line}`, which only sbatch would read; hint: ask for it beside the script"
                ),
            );
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if self.token.is_empty() || !self.token.chars().all(plain) {
            return flaw("", "the token has to be of letters, digits, `-`, `_` and `.`".to_owned());
        }
        if !self.directory.starts_with('/') {
            let words = "the directory has to be a whole path, as `/home/ada`";
            return flaw("/slurm/directory", words.to_owned());
        }
        let is_array = |c: char| c.is_ascii_digit() || "-,%:".contains(c);
        if self.array.as_ref().is_some_and(|array| array.is_empty() || !array.chars().all(is_array)) {
            let words = "the array is none; hint: `0-9`, `1,3,5` or `0-99%10`";
            return flaw("/slurm/array", words.to_owned());
        }
        for (name, value) in &self.environment {
            let is_name = !name.is_empty()
                && !name.starts_with(|c: char| c.is_ascii_digit())
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            let pointer = format!("/env/{}", name.replace('~', "~0").replace('/', "~1"));
            if !is_name || value.contains('\0') {
                return flaw(&pointer, format!("`{name}` is no variable of an environment"));
            }
            if READ_BY_SBATCH.iter().any(|own| name.starts_with(own)) {
                return flaw(
                    &pointer,
                    format!("the variable {name} is Slurm's own; hint: ask for it beside the script"),
                );
            }
        }
        let directory = Some(self.directory.clone());
        let texts = [
            ("/name", &self.name),
            ("/slurm/partition", &self.partition),
            ("/slurm/account", &self.account),
            ("/slurm/qos", &self.qos),
            ("/slurm/constraint", &self.constraint),
            ("/slurm/reservation", &self.reservation),
            ("/slurm/stdout", &self.stdout),
            ("/slurm/stderr", &self.stderr),
            ("/slurm/directory", &directory),
        ];
        let odd = |text: &String| text.is_empty() || text.chars().any(char::is_control);
        let mut given = texts.into_iter().filter_map(|(pointer, text)| Some((pointer, text.as_ref()?)));
        match given.find(|(_, text)| odd(text)) {
            Some((pointer, text)) => flaw(pointer, format!("{text:?} is empty or holds a line's end")),
            None => Ok(()),
        }
    }

    /// The environment, with a search path, and with what scripts find there of what was asked for: sbatch tells them, but not
    /// beside an environment from a file, and slurmrestd does not. A file's `%x` is filled in from it.
    pub(super) fn variables(&self) -> BTreeMap<&str, Cow<'_, str>> {
        let number = |number: Option<u32>| number.map(|number| Cow::from(number.to_string()));
        let told = [
            ("SLURM_JOB_NAME", self.name.as_deref().map(Cow::from)),
            ("SLURM_NTASKS", number(self.tasks)),
            ("SLURM_CPUS_PER_TASK", number(self.cpus_per_task)),
            ("SLURM_GPUS", number(self.gpus)),
        ];
        let given = self.environment.iter().map(|(name, value)| (name.as_str(), Cow::from(value)));
        let mut all: BTreeMap<&str, Cow<'_, str>> =
            told.into_iter().filter_map(|(name, value)| Some((name, value?))).chain(given).collect();
        all.entry("PATH").or_insert(Cow::from(DEFAULT_PATH));
        all
    }

    /// What slurmrestd wants to be sent.
    pub(super) fn body(&self, version: ApiVersion) -> Value {
        // Every version takes plain numbers, and the newer ones as structs too; these say what they mean.
        let number = |number: u64| match version {
            ApiVersion::V38 => json!(number),
            ApiVersion::V39 | ApiVersion::V40 | ApiVersion::V41 | ApiVersion::V42 => {
                json!({"set": true, "infinite": false, "number": number})
            }
        };
        let mut job = Map::new();
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                job.insert(name.to_owned(), value);
            }
        };
        let text = |text: &Option<String>| text.as_ref().map(|text| json!(text));
        put("comment", Some(json!(self.token)));
        put("name", text(&self.name));
        put("partition", text(&self.partition));
        put("account", text(&self.account));
        put("qos", text(&self.qos));
        put("time_limit", self.time_limit_minutes.map(|minutes| number(u64::from(minutes))));
        put("tasks", self.tasks.map(|tasks| json!(tasks)));
        put("cpus_per_task", self.cpus_per_task.map(|cpus| json!(cpus)));
        put("memory_per_node", self.memory_mb_per_node.map(number));
        put("array", text(&self.array));
        put("constraints", text(&self.constraint));
        put("reservation", text(&self.reservation));
        put("current_working_directory", Some(json!(self.directory)));
        put("standard_output", text(&self.stdout));
        put("standard_error", text(&self.stderr));
        let variables = self.variables();
        match version {
            ApiVersion::V38 => {
                put("open_mode", Some(json!("append")));
                // 22.05 takes every `requeue` for yes.
                put(if self.requeue { "requeue" } else { "no_requeue" }, Some(json!(true)));
                // Its schema wants the least and the most in a list, of which 22.05 takes no notice.
                put("nodes", self.nodes.map(|nodes| json!(nodes)));
                put("gpus", self.gpus.map(|gpus| json!(gpus.to_string())));
                put("environment", Some(json!(variables)));
            }
            ApiVersion::V39 | ApiVersion::V40 | ApiVersion::V41 | ApiVersion::V42 => {
                put("open_mode", Some(json!(["APPEND"])));
                put("requeue", Some(json!(self.requeue)));
                let pairs: Vec<String> =
                    variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
                // Slurm 23.02 has a colon where later ones have a slash.
                let gres = if version == ApiVersion::V39 { "gres:gpu" } else { "gres/gpu" };
                put("nodes", self.nodes.map(|nodes| json!(format!("{nodes}-{nodes}"))));
                put("tres_per_job", self.gpus.map(|gpus| json!(format!("{gres}:{gpus}"))));
                put("environment", Some(json!(pairs)));
            }
        }
        match version {
            ApiVersion::V38 | ApiVersion::V39 => json!({"script": self.script, "job": job}),
            ApiVersion::V40 | ApiVersion::V41 | ApiVersion::V42 => {
                job.insert("script".to_owned(), json!(self.script));
                json!({"job": job})
            }
        }
    }

    /// What `sbatch` wants to be told; the script goes to its standard input.
    pub(super) fn arguments(&self) -> Vec<String> {
        let options = [
            ("comment", Some(self.token.clone())),
            ("chdir", Some(self.directory.clone())),
            ("job-name", self.name.clone()),
            ("partition", self.partition.clone()),
            ("account", self.account.clone()),
            ("qos", self.qos.clone()),
            ("time", self.time_limit_minutes.map(|minutes| minutes.to_string())),
            ("nodes", self.nodes.map(|nodes| nodes.to_string())),
            ("ntasks", self.tasks.map(|tasks| tasks.to_string())),
            ("cpus-per-task", self.cpus_per_task.map(|cpus| cpus.to_string())),
            ("mem", self.memory_mb_per_node.map(|memory| format!("{memory}M"))),
            ("gpus", self.gpus.map(|gpus| gpus.to_string())),
            ("array", self.array.clone()),
            ("constraint", self.constraint.clone()),
            ("reservation", self.reservation.clone()),
            ("output", self.stdout.clone()),
            ("error", self.stderr.clone()),
        ];
        let given = options.into_iter().filter_map(|(name, value)| Some(format!("--{name}={}", value?)));
        let again = if self.requeue { "--requeue" } else { "--no-requeue" };
        // Limits of this process are none of the job's; those of slurmrestd are not either. The tasks of an array write to
        // one file, and what ran before a node was lost stays in it.
        ["--parsable", "--export=ALL", "--propagate=NONE", "--open-mode=append", again]
            .into_iter()
            .map(str::to_owned)
            .chain(given)
            .collect()
    }
}

/// The first line that `sbatch` takes for an option: it looks until the first command.
fn directive(script: &str) -> Option<&str> {
    let head = script.lines().take_while(|line| line.trim().is_empty() || line.trim_start().starts_with('#'));
    head.map(str::trim_end).find(|line| line.starts_with("#SBATCH") || line.starts_with("#PBS"))
}
