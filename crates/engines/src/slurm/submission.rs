//! A job to submit: what is asked for, and how each of Slurm's doors wants to be told.

use std::borrow::Cow;
use std::collections::BTreeMap;

use libra_core::allocation::Allocation;
use libra_core::allocation::syntax::Signalled;
use serde_json::{Map, Value, json};

use super::version::ApiVersion;

/// The search path of a job that brings none: an empty environment is refused by slurmrestd.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// The largest script, in bytes. Slurm's own limit (`max_script_size`) is 4 MiB unless the site says otherwise.
pub const MOST_SCRIPT_BYTES: usize = 4 * 1024 * 1024;
/// What becomes of the files of a job's output where nobody says otherwise: the tasks of an array write to one file, and what ran
/// before a node was lost stays in it.
const APPEND: &str = "append";
/// How long before the end a signal comes where nobody says so: `sbatch`'s own, in seconds.
const SIGNAL_SECONDS: u32 = 60;
/// What a script is called that has no name, where Slurm wants one.
const SCRIPT: &str = "script";
/// Lines before a script that brings its own arguments.
const BOOTSTRAP_LINES: usize = 3;
/// Variables that `sbatch` reads for itself, and that would change what is asked for.
const READ_BY_SBATCH: [&str; 4] = ["SBATCH_", "SLURM_CONF", "SLURM_CLUSTERS", "SLURM_JWT"];

/// A job to submit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Submission {
    /// What is run, with its first line `#!…`. It holds no `#SBATCH` lines: only `sbatch` would read them.
    pub script: String,
    /// What the script is given as `$1`, `$2` and so on.
    pub arguments: Vec<String>,
    /// The mark of this submission: the first word of the job's comment, by which it is found again. Letters, digits, `-`, `_`
    /// and `.`.
    pub token: String,
    /// A name.
    pub name: Option<String>,
    /// What is asked for. Its directory has to be one on the nodes, and has to be given.
    pub asked: Allocation,
    /// Environment of the script, and all that it gets.
    pub environment: BTreeMap<String, String>,
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
        if self.script_with_arguments().len() > MOST_SCRIPT_BYTES {
            let words =
                format!("the script, with what it is called with, is larger than {MOST_SCRIPT_BYTES} bytes");
            return flaw("/code", words);
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
        if let Some(wrong) = self.asked.flaws().into_iter().next() {
            return flaw(&format!("/slurm/{}", wrong.name), wrong.reason);
        }
        if !self.directory().starts_with('/') {
            let words = "the directory has to be a whole path, as `/home/ada`";
            return flaw("/slurm/directory", words.to_owned());
        }
        if self.name.as_ref().is_some_and(|name| name.is_empty() || name.chars().any(char::is_control)) {
            return flaw("/name", format!("{:?} is empty or holds a line's end", self.name));
        }
        if let Some(at) = self.arguments.iter().position(|argument| argument.contains('\0')) {
            return flaw(&format!("/args/{at}"), "holds a NUL, which ends it".to_owned());
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
        Ok(())
    }

    /// Where it begins; empty where nobody has said so, which is refused.
    fn directory(&self) -> &str {
        self.asked.directory.as_deref().unwrap_or_default()
    }

    /// The job's comment: the mark, and behind it what people have to say.
    fn comment(&self) -> String {
        match &self.asked.comment {
            Some(words) => format!("{} {words}", self.token),
            None => self.token.clone(),
        }
    }

    /// What the script is called with: Slurm puts the place where it has laid the script in the place of the first word.
    fn words(&self) -> Option<Value> {
        if self.arguments.is_empty() {
            return None;
        }
        let name = self.name.as_deref().unwrap_or(SCRIPT);
        Some(std::iter::once(name).chain(self.arguments.iter().map(String::as_str)).collect())
    }

    /// How many nodes: `2`, or at least and at most `2-4`.
    fn nodes(&self) -> Option<String> {
        let least = self.asked.nodes?;
        Some(self.asked.max_nodes.map_or_else(|| least.to_string(), |most| format!("{least}-{most}")))
    }

    /// The environment, with a search path, and with what scripts find there of what was asked for: sbatch tells them, but not
    /// beside an environment from a file, and slurmrestd does not. A file's `%x` is filled in from it.
    pub(super) fn variables(&self) -> BTreeMap<&str, Cow<'_, str>> {
        let number = |number: Option<u32>| number.map(|number| Cow::from(number.to_string()));
        let asked = &self.asked;
        let told = [
            ("SLURM_JOB_NAME", self.name.as_deref().map(Cow::from)),
            ("SLURM_NTASKS", number(asked.tasks)),
            ("SLURM_NTASKS_PER_NODE", number(asked.tasks_per_node)),
            ("SLURM_CPUS_PER_TASK", number(asked.cpus_per_task)),
            ("SLURM_GPUS", number(asked.gpus)),
            ("SLURM_GPUS_PER_NODE", asked.gpus_per_node.as_deref().map(Cow::from)),
        ];
        let given = self.environment.iter().map(|(name, value)| (name.as_str(), Cow::from(value)));
        let mut all: BTreeMap<&str, Cow<'_, str>> =
            told.into_iter().filter_map(|(name, value)| Some((name, value?))).chain(given).collect();
        all.entry("PATH").or_insert(Cow::from(DEFAULT_PATH));
        all
    }

    /// What slurmrestd wants to be sent.
    pub(super) fn body(&self, version: ApiVersion) -> Value {
        let mut job = Map::new();
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                job.insert(name.to_owned(), value);
            }
        };
        let text = |text: &Option<String>| text.as_ref().map(|text| json!(text));
        let asked = &self.asked;
        put("comment", Some(json!(self.comment())));
        put("name", text(&self.name));
        put("partition", text(&asked.partition));
        put("account", text(&asked.account));
        put("qos", text(&asked.qos));
        put("tasks", asked.tasks.map(Value::from));
        put("tasks_per_node", asked.tasks_per_node.map(Value::from));
        put("cpus_per_task", asked.cpus_per_task.map(Value::from));
        put("array", text(&asked.array));
        put("dependency", text(&asked.dependency));
        put("constraints", text(&asked.constraint));
        put("reservation", text(&asked.reservation));
        put("current_working_directory", text(&asked.directory));
        put("standard_output", text(&asked.stdout));
        put("standard_error", text(&asked.stderr));
        put("mail_user", text(&asked.mail_user));
        match version {
            ApiVersion::V38 => self.put_in_words(&mut put),
            ApiVersion::V39 | ApiVersion::V40 | ApiVersion::V41 | ApiVersion::V42 => {
                self.put_by_kind(version, &mut put);
            }
        }
        match version {
            ApiVersion::V38 => json!({"script": self.script_with_arguments(), "job": job}),
            ApiVersion::V39 => json!({"script": self.script, "job": job}),
            ApiVersion::V40 | ApiVersion::V41 | ApiVersion::V42 => {
                job.insert("script".to_owned(), json!(self.script));
                json!({"job": job})
            }
        }
    }

    /// What v0.0.38 reads as `sbatch` reads its options, in words and plain numbers.
    fn put_in_words(&self, put: &mut impl FnMut(&str, Option<Value>)) {
        let text = |text: &Option<String>| text.as_ref().map(|text| json!(text));
        let asked = &self.asked;
        put("open_mode", Some(json!(asked.open_mode.as_deref().unwrap_or(APPEND))));
        // 22.05 takes every `requeue` for yes.
        put(if asked.requeue == Some(true) { "requeue" } else { "no_requeue" }, Some(json!(true)));
        put("time_limit", asked.time_limit_minutes.map(Value::from));
        put("memory_per_node", asked.memory_mb.map(Value::from));
        put("memory_per_cpu", asked.memory_per_cpu_mb.map(Value::from));
        // Its schema wants the least and the most in a list, of which 22.05 takes no notice.
        put("nodes", self.nodes().map(Value::from));
        put("gpus", asked.gpus.map(|gpus| json!(gpus.to_string())));
        put("gpus_per_node", text(&asked.gpus_per_node));
        put("gres", text(&asked.gres));
        put("nodelist", text(&asked.nodelist));
        put("exclude_nodes", text(&asked.exclude));
        let exclusive = |how: &String| json!(if how == "true" { "exclusive" } else { how });
        put("exclusive", asked.exclusive.as_ref().map(exclusive));
        put("mail_type", text(&asked.mail_type));
        put("signal", text(&asked.signal));
        put("environment", Some(json!(self.variables())));
    }

    /// What newer versions read, each field of its own kind.
    fn put_by_kind(&self, version: ApiVersion, put: &mut impl FnMut(&str, Option<Value>)) {
        put("argv", self.words());
        // They take plain numbers as well; these say what they mean.
        let number = |number: u64| json!({"set": true, "infinite": false, "number": number});
        let list = |text: &Option<String>| Some(json!([text.as_ref()?]));
        let asked = &self.asked;
        let mode = asked.open_mode.as_deref().unwrap_or(APPEND).to_ascii_uppercase();
        put("open_mode", Some(json!([mode])));
        put("requeue", Some(json!(asked.requeue.unwrap_or(false))));
        put("time_limit", asked.time_limit_minutes.map(|minutes| number(u64::from(minutes))));
        put("memory_per_node", asked.memory_mb.map(number));
        put("memory_per_cpu", asked.memory_per_cpu_mb.map(number));
        put(
            "nodes",
            self.nodes()
                .map(|nodes| if nodes.contains('-') { nodes } else { format!("{nodes}-{nodes}") }.into()),
        );
        // Slurm 23.02 has a colon where later ones have a slash.
        let gres = if version == ApiVersion::V39 { "gres:" } else { "gres/" };
        put("tres_per_job", asked.gpus.map(|gpus| json!(format!("{gres}gpu:{gpus}"))));
        let gpus = asked
            .gpus_per_node
            .iter()
            .flat_map(|gpus| gpus.split(',').map(|gpus| format!("{gres}gpu:{gpus}")));
        let resources = asked.gres.iter().flat_map(|all| all.split(','));
        let resources = resources.map(|one| format!("{gres}{}", one.strip_prefix("gres/").unwrap_or(one)));
        let each: Vec<String> = gpus.chain(resources).collect();
        put("tres_per_node", (!each.is_empty()).then(|| json!(each.join(","))));
        put("required_nodes", list(&asked.nodelist));
        put("excluded_nodes", list(&asked.exclude));
        let shared = |how: &String| if how == "true" { "none" } else { how.as_str() }.to_owned();
        put("shared", asked.exclusive.as_ref().map(|how| json!([shared(how)])));
        put("mail_type", asked.mail_type.as_deref().map(occasions));
        if let Some(signalled) = asked.signal.as_deref().and_then(Signalled::read) {
            put("kill_warning_signal", Some(json!(signalled.signal)));
            put("kill_warning_delay", Some(number(u64::from(signalled.seconds.unwrap_or(SIGNAL_SECONDS)))));
            put("kill_warning_flags", signalled.to_script.then(|| json!(["BATCH_JOB"])));
        }
        let variables = self.variables();
        let pairs: Vec<String> = variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
        put("environment", Some(json!(pairs)));
    }

    /// What this version of slurmrestd does not take of it, in words.
    pub(super) fn beyond(&self, version: ApiVersion) -> Option<String> {
        let to_script =
            self.asked.signal.as_deref().and_then(Signalled::read).is_some_and(|signal| signal.to_script);
        (version == ApiVersion::V38 && to_script).then(|| {
            "slurmrestd v0.0.38 takes no signal for the script itself (`B:`); ask for one to its steps, or say `sbatch: always` \
             of the cluster"
                .to_owned()
        })
    }

    /// The script with its arguments in it. slurmrestd v0.0.38 knows `argv`, but 22.05 dies of it, the job submitted; and sbatch
    /// takes a `:` among its words for the mark between two parts of a job. What is sent puts the script into its own place, where Slurm has laid it, and calls it as Slurm would have: with the
    /// same `$0`, by its own first line.
    pub(super) fn script_with_arguments(&self) -> Cow<'_, str> {
        if self.arguments.is_empty() {
            return Cow::from(&self.script);
        }
        let quoted: Vec<String> =
            self.arguments.iter().map(|argument| format!("'{}'", argument.replace('\'', "'\\''"))).collect();
        let quoted = quoted.join(" ");
        // Arguments may hold ends of lines.
        let first = quoted.matches('\n').count() + BOOTSTRAP_LINES + 1;
        // A shell leaves out the ends of lines behind the last one. It has read all of the line in braces before it begins with it.
        Cow::from(format!(
            "#!/bin/sh\n# The script is below; this gives it its arguments.\n\
             {{ script=$(PATH=/usr/bin:/bin tail -n +{first} \"$0\" && echo .) && printf %s \"${{script%.}}\" >\"$0\" && exec \"$0\" {quoted}; exit 126; }}\n{}",
            self.script
        ))
    }

    /// What `sbatch` wants to be told; the script goes to its standard input, with what it is called with.
    pub(super) fn options(&self) -> Vec<String> {
        let asked = &self.asked;
        let own = [
            ("--comment", Some(self.comment())),
            ("--job-name", self.name.clone()),
            ("--nodes", self.nodes()),
        ];
        let own = own.into_iter().filter_map(|(word, value)| Some(format!("{word}={}", value?)));
        let given = asked.given().into_iter().filter_map(|(option, value)| {
            let word = option.words.first()?;
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            match option.name {
                // Said above or below.
                "comment" | "nodes" | "requeue" | "openMode" => None,
                "exclusive" if text == "true" => Some((*word).to_owned()),
                "memoryMb" | "memoryPerCpuMb" => Some(format!("{word}={text}M")),
                _ => Some(format!("{word}={text}")),
            }
        });
        let again = if asked.requeue == Some(true) { "--requeue" } else { "--no-requeue" };
        let mode = format!("--open-mode={}", asked.open_mode.as_deref().unwrap_or(APPEND));
        // Limits of this process are none of the job's; those of slurmrestd are not either.
        let fixed = ["--parsable", "--export=ALL", "--propagate=NONE", &mode, again];
        let options = fixed.into_iter().map(str::to_owned).chain(own).chain(given);
        options.collect()
    }
}

/// The occasions of `--mail-type` as newer versions of slurmrestd name them.
fn occasions(text: &str) -> Value {
    let each = text.split(',').flat_map(|word| -> Vec<String> {
        let word = word.to_ascii_uppercase();
        let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        match word.as_str() {
            "NONE" => Vec::new(),
            "ALL" => named(&["BEGIN", "END", "FAIL", "REQUEUE", "INVALID_DEPENDENCY", "STAGE_OUT"]),
            "INVALID_DEPEND" => named(&["INVALID_DEPENDENCY"]),
            "TIME_LIMIT" => named(&["TIME=100%"]),
            "TIME_LIMIT_90" => named(&["TIME=90%"]),
            "TIME_LIMIT_80" => named(&["TIME=80%"]),
            "TIME_LIMIT_50" => named(&["TIME=50%"]),
            _ => vec![word],
        }
    });
    each.collect()
}

/// The first line that `sbatch` takes for an option: it looks until the first command.
fn directive(script: &str) -> Option<&str> {
    let head = script.lines().take_while(|line| line.trim().is_empty() || line.trim_start().starts_with('#'));
    head.map(str::trim_end).find(|line| line.starts_with("#SBATCH") || line.starts_with("#PBS"))
}
