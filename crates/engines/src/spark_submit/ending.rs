//! From a driver's exit to the truth about the job (contract L4, L7).

use std::path::Path;

use libra_core::attempt::{Exit, Outcome};
use libra_core::failure::{ErrorClass, Failure};
use libra_core::spec::Kind;
use serde::Deserialize;

use super::words;
use crate::attempt_dir::AttemptDir;
use crate::logs::Stream;
use crate::shim::{ExitRecord, LaunchFile, records};

/// The exit code of a JVM that ends itself because its heap is full.
const JVM_OUT_OF_MEMORY: i32 = 3;
/// The exit code of a spark-submit that does not find the main class.
const CLASS_NOT_LOADED: i32 = 101;
/// Python's exit code when it can't open its program.
const PYTHON_FOUND_NO_FILE: i32 = 2;
/// A shell and a JVM report a child that was ended by signal n as 128 + n.
const SIGNAL_BASE: i32 = 128;
/// The signals that end a process from outside or by its own crash: SIGABRT, SIGBUS, SIGKILL, SIGSEGV, SIGTERM.
/// Any other code above [`SIGNAL_BASE`] is one that the program chose.
const ENDING_SIGNALS: [i32; 5] = [6, 7, 9, 11, 15];

/// What our driver script says went wrong (`error.json`).
#[derive(Debug, Deserialize)]
struct Told {
    #[serde(rename = "type")]
    kind: String,
    message: String,
    traceback: String,
    /// What it was doing: `start`, `read`, `sql`, `compile`, `code`, `result`.
    phase: String,
}

/// How the attempt in `dir` ended, by the shim's record and what the driver left behind.
pub(super) fn exit(kind: Kind, dir: &AttemptDir, record: &ExitRecord) -> Exit {
    // The shim also stops when somebody else tells it to, as when the machine shuts down: not Libra's doing.
    let stopped = record.stopped && dir.stop_file().exists();
    let outcome = if stopped { Outcome::Stopped } else { outcome(kind, dir, record) };
    Exit { outcome, exit_code: record.code, signal: record.signal, at: record.at }
}

/// The end of an attempt whose shim died without a word.
pub(super) fn lost() -> Exit {
    let failure = Failure::new(
        ErrorClass::Infrastructure,
        "driver_lost",
        "The process that watched over the driver was killed, or the machine restarted, so nobody knows how the \
         job ended. Whatever was left of it has been ended.",
    );
    Exit {
        outcome: Outcome::Failed { failure: failure.with_unknown_outcome() },
        exit_code: None,
        signal: None,
        at: records::now(),
    }
}

/// The end of an attempt that Libra stopped before it left any other trace.
pub(super) fn stopped() -> Exit {
    Exit { outcome: Outcome::Stopped, exit_code: None, signal: None, at: records::now() }
}

fn outcome(kind: Kind, dir: &AttemptDir, record: &ExitRecord) -> Outcome {
    let failure = match (&record.spawn_error, record.code, record.signal) {
        (Some(error), _, _) => Failure::new(
            ErrorClass::Infrastructure,
            "driver_not_started",
            "The driver could not be started. Check the Spark installation and the free space on the disk.",
        )
        .with_detail(error),
        _ if record.abandoned => Failure::new(
            ErrorClass::Infrastructure,
            "host_cut_off",
            "No replica of Libra on the driver's host could reach the database for so long that the driver was ended, \
             before another host would run the job again.",
        )
        .with_unknown_outcome(),
        (None, Some(0), _) if kind == Kind::Sql && !dir.result_file().exists() => Failure::new(
            ErrorClass::Infrastructure,
            "result_missing",
            "The driver reported success, but left no result behind.",
        )
        .with_unknown_outcome(),
        (None, Some(0), _) => return Outcome::Succeeded,
        (None, Some(code), _) => failed(kind, dir, code),
        (None, None, Some(signal)) => killed(dir, signal),
        (None, None, None) => Failure::new(
            ErrorClass::Infrastructure,
            "driver_lost",
            "The driver ended, but its exit status was lost.",
        )
        .with_unknown_outcome(),
    };
    Outcome::Failed { failure }
}

fn failed(kind: Kind, dir: &AttemptDir, code: i32) -> Failure {
    let (out, err) = (words::tail(dir, Stream::Stdout), words::tail(dir, Stream::Stderr));
    if code == JVM_OUT_OF_MEMORY && (words::is_out_of_memory(&out) || words::is_out_of_memory(&err)) {
        return out_of_memory(&if words::is_out_of_memory(&out) { out } else { err });
    }
    // An unreadable file says as little as an absent one; the logs are still there.
    if let Some(told) = records::read::<Told>(&dir.error_file()).unwrap_or_default() {
        return by_own_account(kind, &told, &err);
    }
    if kind == Kind::Jar
        && matches!(code, 1 | CLASS_NOT_LOADED)
        && let Some(failure) = by_jar(&err)
    {
        return failure;
    }
    if code == 1 || code == 2 {
        if let Some(file) = words::missing_program(&out) {
            return file_missing(file).with_detail(last_lines(&out));
        }
        if let Some(file) = absent_program(kind, dir, code, &out) {
            return file_missing(&file).with_detail(last_lines(&err));
        }
        if let Some(failure) = by_traceback(&out) {
            return failure;
        }
        if let Some(words) = words::lost_cluster(&err) {
            return Failure::new(ErrorClass::Infrastructure, "cluster_lost", words)
                .with_detail(last_lines(&err));
        }
        if let Some(said) = words::java_error(&err) {
            return submit_failed(said, &err);
        }
    }
    if ENDING_SIGNALS.contains(&(code - SIGNAL_BASE)) {
        return killed(dir, code - SIGNAL_BASE);
    }
    let detail = if out.trim().is_empty() { &err } else { &out };
    Failure::new(
        ErrorClass::User,
        "exit_code",
        format!("The program ended with exit code {code}. Its last lines are in the log."),
    )
    .with_detail(last_lines(detail))
}

/// The program that Python could not open, when it said nothing of it: spark-submit does not always pass on the last words of
/// its Python before it ends with the same code (`PythonRunner` of Spark 4 waits for the process, and not for its output).
fn absent_program(kind: Kind, dir: &AttemptDir, code: i32, out: &str) -> Option<String> {
    if kind != Kind::Python || code != PYTHON_FOUND_NO_FILE || !out.trim().is_empty() {
        return None;
    }
    let launch = records::read::<LaunchFile>(&dir.launch_file()).ok().flatten()?;
    // Every option of ours has a value; what follows them is the program, and then its own arguments.
    let mut words = launch.argv.iter().skip(1);
    let program = loop {
        match words.next()? {
            option if option.starts_with("--") => drop(words.next()),
            program => break program,
        }
    };
    let is_absent = program.starts_with('/') && !Path::new(program).exists();
    is_absent.then(|| program.clone())
}

fn by_own_account(kind: Kind, told: &Told, err: &str) -> Failure {
    let text = &told.traceback;
    let failure = if told.kind == "MemoryError" || words::is_out_of_memory(text) {
        return out_of_memory(text);
    } else if let Some(words) = lost_cluster(told, err) {
        Failure::new(ErrorClass::Infrastructure, "cluster_lost", words)
    } else if told.phase == "read" {
        Failure::new(
            ErrorClass::User,
            "file_missing",
            format!("The file could not be read: {}", told.message),
        )
    } else if told.phase == "start" {
        let message = format!("The Spark session could not be started: {}", told.message);
        // Spark's word for a setting that it does not accept.
        if text.contains("IllegalArgumentException") || text.contains("NumberFormatException") {
            Failure::new(ErrorClass::User, "setting_refused", message)
        } else {
            Failure::new(ErrorClass::Infrastructure, "session_failed", message)
        }
    } else if told.phase == "compile" {
        let message = format!("The program does not compile: {}", told.message);
        Failure::new(ErrorClass::User, "compile_error", message)
    } else if kind == Kind::Sql && matches!(told.kind.as_str(), "OSError" | "PermissionError") {
        let message = format!("The result could not be written: {}", told.message);
        Failure::new(ErrorClass::Infrastructure, "result_not_written", message)
    } else if kind == Kind::Sql {
        Failure::new(ErrorClass::User, "sql_error", told.message.clone())
    } else {
        let message = if told.message.is_empty() {
            told.kind.clone()
        } else {
            format!("{}: {}", told.kind, told.message)
        };
        Failure::new(ErrorClass::User, "exception", message)
    };
    failure.with_detail(text)
}

/// While the session starts, the reason stands in Spark's log; the exception only says that it did not start.
fn lost_cluster(told: &Told, err: &str) -> Option<&'static str> {
    words::lost_cluster(&told.traceback)
        .or_else(|| words::lost_cluster(err).filter(|_| told.phase == "start"))
}

fn by_traceback(out: &str) -> Option<Failure> {
    let traceback = words::traceback(out)?;
    if words::is_out_of_memory(traceback) {
        return Some(out_of_memory(traceback));
    }
    let failure = match words::lost_cluster(traceback) {
        Some(words) => Failure::new(ErrorClass::Infrastructure, "cluster_lost", words),
        None => Failure::new(ErrorClass::User, "exception", words::exception(out)?),
    };
    Some(failure.with_detail(traceback))
}

/// What the JVM says of a jar's main class; None when it says nothing, or was lost to the cluster.
fn by_jar(err: &str) -> Option<Failure> {
    let said = words::java_error(err)?;
    if let Some(class) = said.strip_prefix("Failed to load class ") {
        if let Some(file) = words::missing_jar(err) {
            return Some(file_missing(file).with_detail(last_lines(err)));
        }
        let message = format!("The jar holds no class {}.", class.trim_end_matches('.'));
        return Some(Failure::new(ErrorClass::User, "class_missing", message).with_detail(last_lines(err)));
    }
    if said.contains("No main class set in JAR") {
        let message = "The jar's manifest names no main class; send `className`.";
        return Some(Failure::new(ErrorClass::User, "class_missing", message));
    }
    // Below everything that the main class does; above it, spark-submit itself failed.
    if !err.contains("JavaMainApplication.start") || words::lost_cluster(err).is_some() {
        return None;
    }
    let trace = words::stack_trace(err);
    if words::is_out_of_memory(trace) {
        return Some(out_of_memory(trace));
    }
    // The last one ended the program; what looks like another before it is the program's own output.
    let message = words::without_package(words::java_error(trace).unwrap_or(said));
    Some(Failure::new(ErrorClass::User, "exception", message).with_detail(first_lines(trace)))
}

fn submit_failed(said: &str, err: &str) -> Failure {
    let missing = said.contains("FileNotFoundException") || said.contains("NoSuchFileException");
    let (code, message) = if missing {
        ("file_missing", format!("A file of the job was not found: {said}"))
    } else {
        ("submit_failed", format!("spark-submit refused the job: {said}"))
    };
    Failure::new(ErrorClass::User, code, message).with_detail(last_lines(err))
}

fn file_missing(file: &str) -> Failure {
    let message = format!("The file {file} was not found on the machine that runs the driver.");
    Failure::new(ErrorClass::User, "file_missing", message)
}

fn out_of_memory(text: &str) -> Failure {
    let message = if text.contains("exceeding memory limits") || text.contains("exceeding physical memory") {
        "An executor ran out of memory. Raise `spark.executor.memory` or `spark.executor.memoryOverhead`."
    } else {
        "The driver ran out of memory. Raise `spark.driver.memory`, or bring less data to the driver."
    };
    Failure::new(ErrorClass::Resources, "out_of_memory", message).with_detail(last_lines(text))
}

fn killed(dir: &AttemptDir, signal: i32) -> Failure {
    const KILL: i32 = 9;
    let hint = if signal == KILL { "; the kernel does so when the machine's memory runs out" } else { "" };
    let message =
        format!("The driver was ended by {} that Libra did not send{hint}.", words::signal_name(signal));
    let err = words::tail(dir, Stream::Stderr);
    Failure::new(ErrorClass::Infrastructure, "driver_killed", message).with_detail(last_lines(&err))
}

/// The beginning of a stack trace: the end says only what started the program.
fn first_lines(text: &str) -> String {
    const LINES: usize = 40;
    text.lines().take(LINES).collect::<Vec<_>>().join("\n")
}

/// The last lines that people read: enough to see what happened.
fn last_lines(text: &str) -> String {
    const LINES: usize = 40;
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

#[cfg(test)]
#[path = "ending_tests.rs"]
mod tests;
