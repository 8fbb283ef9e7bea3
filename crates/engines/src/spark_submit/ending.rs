//! From a driver's exit to the truth about the job (contract L4, L7).

use libra_core::attempt::{Exit, Outcome};
use libra_core::failure::{ErrorClass, Failure};
use libra_core::spec::Kind;
use serde::Deserialize;

use super::words;
use crate::attempt_dir::AttemptDir;
use crate::logs::Stream;
use crate::shim::verdict::{self, End, Supervised, first_lines, last_lines, tail};
use crate::shim::{ExitRecord, records};

/// The exit code of a JVM that ends itself because its heap is full.
const JVM_OUT_OF_MEMORY: i32 = 3;
/// The exit code of a spark-submit that does not find the main class.
const CLASS_NOT_LOADED: i32 = 101;
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
    Exit { outcome, exit_code: record.code, signal: record.signal, began: None, at: record.at }
}

fn outcome(kind: Kind, dir: &AttemptDir, record: &ExitRecord) -> Outcome {
    let failure = match Supervised::Driver.end(record) {
        Ok(End::Code(0)) if kind == Kind::Sql && !dir.result_file().exists() => Failure::new(
            ErrorClass::Infrastructure,
            "result_missing",
            "The driver reported success, but left no result behind.",
        )
        .with_unknown_outcome(),
        Ok(End::Code(0)) => return Outcome::Succeeded,
        Ok(End::Code(code)) => failed(kind, dir, code),
        Ok(End::Signal(signal)) => Supervised::Driver.killed(dir, signal),
        Err(failure) => failure,
    };
    Outcome::Failed { failure }
}

fn failed(kind: Kind, dir: &AttemptDir, code: i32) -> Failure {
    let (out, err) = (tail(dir, Stream::Stdout), tail(dir, Stream::Stderr));
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
        return Supervised::Driver.killed(dir, code - SIGNAL_BASE);
    }
    verdict::exit_code(code, if out.trim().is_empty() { &err } else { &out })
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

/// The failure of a job whose file is not there.
pub(super) fn file_missing(file: &str) -> Failure {
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

#[cfg(test)]
#[path = "ending_tests.rs"]
mod tests;
