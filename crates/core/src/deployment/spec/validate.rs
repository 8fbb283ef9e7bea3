//! What a specification must keep to.

use super::{
    ArtifactPath, ArtifactType, DeploymentSpec, Every, JobType, Millis, RestartStrategy, is_refused,
};
use crate::artifact::Digest;
use crate::deployment::Violation;
use crate::deployment::normal;
use crate::deployment::schedule::Schedule;
use crate::memory;

/// The longest `job_id`, in bytes: it is part of names of files and of addresses.
pub const MAX_JOB_ID_BYTES: usize = 128;
/// The most subtasks of an operator: Flink's upper bound of the maximum parallelism.
pub const MAX_PARALLELISM: u32 = 1 << 15;
/// The shortest time between checkpoints. Flink takes 10 ms; below this a job does nothing else.
pub const MIN_CHECKPOINT_INTERVAL: Millis = Millis(100);
/// The shortest time between savepoints, each of which is the whole state.
pub const MIN_SAVEPOINT_INTERVAL: Millis = Millis(1_000);
/// The longest time anywhere in a specification: a year.
pub const MAX_DURATION: Millis = Millis::seconds(366 * 86_400);
/// The most arguments.
pub const MAX_ARGS: usize = 1_000;
/// The longest argument, value or signature, in bytes.
pub const MAX_TEXT_BYTES: usize = 64 * 1024;
/// The longest SQL, in bytes.
pub const MAX_SQL_BYTES: usize = 2 * 1024 * 1024;
/// The most checkpoints under way at once.
const MAX_CONCURRENT_CHECKPOINTS: u32 = 100;
/// The most restarts: what Flink counts with.
const MAX_RESTARTS: u32 = i32::MAX.unsigned_abs();

/// What was found so far.
struct Found(Vec<Violation>);

impl Found {
    fn add(&mut self, pointer: &str, reason: impl Into<String>) {
        self.0.push(Violation::new(pointer, reason));
    }

    fn unless(&mut self, fine: bool, pointer: &str, reason: &str) {
        if !fine {
            self.add(pointer, reason);
        }
    }

    /// A length of time: at least `least` (0 is allowed where `off` is), at most a year.
    fn length(&mut self, pointer: &str, value: Option<Millis>, least: Millis, off: bool) {
        let Some(value) = value else { return };
        if off && value == Millis(0) {
            return;
        }
        let or_off = if off { ", or 0 for none" } else { "" };
        if value < least {
            self.add(pointer, format!("must be at least {least}{or_off}"));
        } else if value > MAX_DURATION {
            self.add(pointer, format!("must be at most {MAX_DURATION}{or_off}"));
        }
    }

    fn text(&mut self, pointer: &str, value: Option<&str>) {
        let Some(value) = value else { return };
        if value.trim().is_empty() {
            self.add(pointer, "must not be empty; leave it out instead");
        } else if value.len() > MAX_TEXT_BYTES {
            self.add(pointer, "must be at most 64 KiB long");
        }
    }
}

impl DeploymentSpec {
    /// Everything that is wrong; empty for a specification that can be deployed. With `strict: true` also
    /// what has no effect.
    pub fn validate(&self) -> Vec<Violation> {
        let mut found = Found(Vec::new());
        if let Err(reason) = check_job_id(&self.job_id) {
            found.add("/job_id", reason);
        }
        found.text("/cluster", self.cluster.as_deref());
        self.check_program(&mut found);
        self.check_args(&mut found);
        self.check_deployment(&mut found);
        self.check_stream(&mut found);
        self.check_batch(&mut found);
        self.check_stability(&mut found);
        self.check_sizes(&mut found);
        if self.strict {
            found.0.extend(self.warnings());
        }
        found.0
    }

    fn check_program(&self, found: &mut Found) {
        let path = self.artifact_path.as_deref().map(ArtifactPath::read);
        if let Some(Err(reason)) = &path {
            found.add("/artifact_path", *reason);
        }
        let kind = self.program_type();
        let by_path = self.artifact_path.as_deref().map(ArtifactType::of_path);
        match kind {
            ArtifactType::Jar | ArtifactType::Python => {
                found.unless(path.is_some(), "/artifact_path", "is required: the program to run");
                let reason = "is only for `artifact_type: sql`";
                found.unless(self.sql.is_none(), "/sql", reason);
            }
            ArtifactType::Sql => match (&self.sql, by_path) {
                (None, None | Some(ArtifactType::Jar | ArtifactType::Python)) => {
                    found.add(
                        "/sql",
                        "is required: the statements, here or in a file that `artifact_path` names",
                    );
                }
                (Some(_), Some(ArtifactType::Sql)) => {
                    found.add("/sql", "must not be given beside a file of statements in `artifact_path`");
                }
                (Some(_), Some(ArtifactType::Python)) => {
                    found.add("/artifact_path", "must be the jar that runs the statements, or be left out");
                }
                (None, Some(ArtifactType::Sql)) | (Some(_), None | Some(ArtifactType::Jar)) => {}
            },
        }
        if let Some(sql) = &self.sql {
            found.unless(!sql.split().is_empty(), "/sql", "must have at least one statement");
            found.unless(
                sql.bytes() <= MAX_SQL_BYTES,
                "/sql",
                "must be at most 2 MiB long; put it into a file",
            );
            // A jar of the user's may do with them what it likes.
            let ours = by_path.is_none();
            for (at, statement) in sql.split().iter().enumerate().filter(|_| ours) {
                if let Some(why) = is_refused(statement) {
                    found.add("/sql", format!("must be mended: statement {} {why}", at + 1));
                }
            }
        }
        if let Some(class) = self.entry_class.as_deref() {
            let fine = is_class_name(class);
            found.unless(fine, "/entry_class", "must be a full name like `org.example.Job`");
            let statements = kind == ArtifactType::Sql && by_path != Some(ArtifactType::Jar);
            let reason = "needs the jar with this class in `artifact_path`";
            found.unless(!statements, "/entry_class", reason);
        }
        if kind == ArtifactType::Sql && by_path != Some(ArtifactType::Jar) {
            let reason =
                "must not be given: statements take none; only a jar in `artifact_path` that runs them does";
            found.unless(self.args.is_empty(), "/args", reason);
        }
        for (given, pointer) in [
            (self.artifact_signature.is_some(), "/artifact_signature"),
            (self.signature.is_some(), "/signature"),
        ] {
            let alone = given && kind == ArtifactType::Sql && path.is_none();
            found.unless(!alone, pointer, "is for an artifact, and there is none: the statements stand here");
        }
        if let Some(text) = self.artifact_signature.as_deref() {
            let digest = text.starts_with("sha256:").then(|| text.parse::<Digest>());
            let said = path.as_ref().and_then(|p| p.as_ref().ok()).and_then(ArtifactPath::digest);
            match (digest, said) {
                (Some(Ok(digest)), Some(said)) if digest != *said => {
                    found.add("/artifact_signature", "is another digest than the one in `artifact_path`");
                }
                (Some(Ok(_)), _) => {}
                (None | Some(Err(_)), _) => found.add(
                    "/artifact_signature",
                    "must be `sha256:` and 64 hexadecimal digits, as `sha256sum FILE` prints them",
                ),
            }
        }
        found.text("/signature", self.signature.as_deref());
        let asked = self.security.as_ref().is_some_and(|s| s.artifact_verification == Some(true));
        let named = path.as_ref().and_then(|p| p.as_ref().ok()).is_some_and(|p| p.digest().is_some());
        let given = self.artifact_signature.is_some() || self.signature.is_some() || named;
        if asked && !given && path.is_some() {
            let reason = "needs something to verify: `artifact_signature: sha256:…` or `signature`";
            found.add("/security/artifact_verification", reason);
        }
    }

    fn check_args(&self, found: &mut Found) {
        found.unless(self.args.len() <= MAX_ARGS, "/args", "must have at most 1,000 items");
        for (at, arg) in self.args.iter().enumerate().take(MAX_ARGS) {
            let fine = arg.len() <= MAX_TEXT_BYTES && !arg.contains('\0');
            found.unless(fine, &format!("/args/{at}"), "must be at most 64 KiB long, without NUL");
        }
        found.unless(self.env_vars.len() <= MAX_ARGS, "/env_vars", "must have at most 1,000 entries");
        for name in self.env_vars.keys().take(MAX_ARGS) {
            let fine = !name.is_empty() && !name.contains(['=', '\0']) && name.len() <= MAX_TEXT_BYTES;
            found.unless(fine, "/env_vars", "must have names without `=`");
        }
    }

    fn check_deployment(&self, found: &mut Found) {
        let Some(d) = &self.deployment else { return };
        let fine = d.parallelism.is_none_or(|p| (1..=MAX_PARALLELISM).contains(&p));
        found.unless(fine, "/deployment/parallelism", "must be from 1 to 32768");
        found.length("/deployment/checkpoint_interval", d.checkpoint_interval, MIN_CHECKPOINT_INTERVAL, true);
        found.length("/deployment/restart_delay", d.restart_delay, Millis(0), false);
        found.text("/deployment/savepoint_path", d.savepoint_path.as_deref());
        let fine = d.max_restart_attempts.is_none_or(|n| n <= MAX_RESTARTS);
        found.unless(fine, "/deployment/max_restart_attempts", "must be at most 2147483647");
        if d.restart_strategy == Some(RestartStrategy::FailureRate) && d.max_restart_attempts == Some(0) {
            let reason = "must be at least 1 with `failure-rate`";
            found.add("/deployment/max_restart_attempts", reason);
        }
        if d.restart_strategy == Some(RestartStrategy::ExponentialDelay) && d.restart_delay == Some(Millis(0))
        {
            found.add("/deployment/restart_delay", "must be more than 0 with `exponential-delay`");
        }
    }

    fn check_stream(&self, found: &mut Found) {
        let Some(s) = &self.stream_config else { return };
        match &s.savepoint_trigger_interval {
            Some(Every::Interval(every)) => {
                let pointer = "/stream_config/savepoint_trigger_interval";
                found.length(pointer, Some(*every), MIN_SAVEPOINT_INTERVAL, true);
            }
            Some(Every::Cron(text)) => {
                if let Err(reason) = Schedule::parse(text, None) {
                    found.add("/stream_config/savepoint_trigger_interval", reason.to_string());
                }
            }
            None => {}
        }
        let least = MIN_CHECKPOINT_INTERVAL;
        found.length("/stream_config/checkpoint_timeout", s.checkpoint_timeout, least, false);
        let pause = s.min_pause_between_checkpoints;
        found.length("/stream_config/min_pause_between_checkpoints", pause, Millis(0), false);
        let most = s.max_concurrent_checkpoints;
        let fine = most.is_none_or(|n| (1..=MAX_CONCURRENT_CHECKPOINTS).contains(&n));
        found.unless(fine, "/stream_config/max_concurrent_checkpoints", "must be from 1 to 100");
    }

    fn check_batch(&self, found: &mut Found) {
        let Some(b) = &self.batch_config else { return };
        match (&b.cron, &b.timezone) {
            (Some(cron), zone) => {
                if let Err(bad) = Schedule::parse(cron, zone.as_deref()) {
                    let field = if bad.is_zone() { "timezone" } else { "cron" };
                    found.add(&format!("/batch_config/{field}"), bad.to_string());
                }
            }
            (None, Some(zone)) => {
                if let Err(bad) = Schedule::parse("@daily", Some(zone)) {
                    found.add("/batch_config/timezone", bad.to_string());
                }
            }
            (None, None) => {}
        }
        found.unless(
            b.max_runs != Some(0),
            "/batch_config/max_runs",
            "must be at least 1; leave it out for no limit",
        );
        let ttl = b.ttl_seconds.map(Millis::seconds);
        found.length("/batch_config/ttl_seconds", ttl, Millis::seconds(1), false);
    }

    fn check_stability(&self, found: &mut Found) {
        let Some(s) = &self.stability else { return };
        let window = s.window_seconds.map(Millis::seconds);
        found.length("/stability/window_seconds", window, Millis(0), false);
        let timeout = s.timeout_seconds.map(Millis::seconds);
        found.length("/stability/timeout_seconds", timeout, Millis::seconds(1), false);
        let interval = normal::checkpoint_interval(self);
        if self.job_type == JobType::Stream && interval == Millis(0) && s.checkpoints > Some(0) {
            let reason = "must be 0 where `deployment.checkpoint_interval` is 0: there will be none";
            found.add("/stability/checkpoints", reason);
        }
        let least = normal::least_stability_time(self);
        if s.timeout_seconds.is_some_and(|t| Millis::seconds(t) < least) {
            let reason = format!("is too short: the window and the checkpoints take {least} at least");
            found.add("/stability/timeout_seconds", reason);
        }
    }

    fn check_sizes(&self, found: &mut Found) {
        let r = self.resources.as_ref();
        let heap = self.advanced.as_ref().and_then(|a| a.taskmanager_heap_size.as_deref());
        for (pointer, size) in [
            ("/resources/memory", r.and_then(|r| r.memory.as_deref())),
            ("/resources/network_memory", r.and_then(|r| r.network_memory.as_deref())),
            ("/advanced/taskmanager_heap_size", heap),
        ] {
            if let Some(Err(bad)) = size.map(|size| memory::parse(size, 1)) {
                found.add(pointer, bad.to_string());
            }
        }
        let cores = r.and_then(|r| r.cpu_cores);
        let fine = cores.is_none_or(|c| c.is_finite() && c > 0.0);
        found.unless(fine, "/resources/cpu_cores", "must be more than 0");
        let timeout = self.advanced.as_ref().and_then(|a| a.network_buffer_timeout);
        found.length("/advanced/network_buffer_timeout", timeout, Millis(0), false);
    }
}

fn check_job_id(id: &str) -> Result<(), &'static str> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if id.is_empty() {
        Err("must not be empty")
    } else if id.len() > MAX_JOB_ID_BYTES {
        Err("must be at most 128 bytes long")
    } else if !id.chars().all(fine) || !id.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        Err("must begin with a letter or digit and have only letters, digits, `.`, `_` and `-`")
    } else {
        Ok(())
    }
}

/// A Java class or a Python module: names with dots between them.
fn is_class_name(text: &str) -> bool {
    let first = |c: char| c.is_alphabetic() || matches!(c, '_' | '$');
    let rest = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$');
    text.len() <= MAX_TEXT_BYTES
        && text.split('.').all(|part| part.starts_with(first) && part.chars().all(rest))
}

#[cfg(test)]
mod tests;
