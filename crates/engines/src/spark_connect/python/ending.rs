//! From the process's exit to the truth about a Python job (contract L4, L7).

use libra_core::attempt::{Exit, Outcome};
use libra_core::failure::{ErrorClass, Failure};
use serde::Deserialize;

use super::super::failure;
use super::super::server::Live;
use crate::attempt_dir::AttemptDir;
use crate::logs::Stream;
use crate::shim::verdict::{self, End, Supervised};
use crate::shim::{ExitRecord, records};
use crate::spark_submit::words;

/// Written when the attempt is ended because its server is dead: the failure.
const SERVER_LOST: &str = "server-lost.json";
/// Written by the driver when SIGTERM comes.
const TERMINATED: &str = "terminated";

/// What the driver says went wrong (`error.json`).
#[derive(Debug, Deserialize)]
struct Told {
    #[serde(rename = "type")]
    kind: String,
    message: String,
    traceback: String,
    /// What it was doing: `client`, `start`, `settings`, `code`.
    phase: String,
}

/// How the attempt in `dir` ended, by its shim's record and what its process left behind; the server lived on.
pub(super) fn exit(dir: &AttemptDir, record: &ExitRecord) -> Exit {
    let told_to_end = record.stopped || dir.path().join(TERMINATED).exists();
    let outcome = match server_lost(dir) {
        // Libra asks by the stop file. Others tell the shim or the program by signals, as when the machine shuts down,
        // and then not even an exit code of 0 says that it came to its own end.
        _ if told_to_end && !record.abandoned && !dir.stop_file().exists() => {
            Outcome::Failed { failure: terminated() }
        }
        Some(failure) if record.stopped && dir.stop_file().exists() => Outcome::Failed { failure },
        _ if record.stopped && dir.stop_file().exists() => Outcome::Stopped,
        _ => outcome(dir, record),
    };
    Exit { outcome, exit_code: record.code, signal: record.signal, began: None, at: record.at }
}

/// True when the program failed in a way in which it would if its server had died.
pub(super) fn may_be_the_servers_fault(dir: &AttemptDir) -> bool {
    let told = records::read::<Told>(&dir.error_file()).unwrap_or_default();
    told.is_some_and(|told| {
        let transport = ["UNAVAILABLE", "Connection refused", "Socket closed", "RETRIES_EXCEEDED", "RPC"];
        told.kind.contains("Grpc")
            || told.kind.contains("Rpc")
            || told.kind == "RetriesExceeded"
            || transport.iter().any(|mark| told.message.contains(mark))
    })
}

/// Remembers what the death of the server means for the attempt, before it is ended for it.
pub(super) fn note_server_lost(dir: &AttemptDir, failure: &Failure) -> std::io::Result<()> {
    records::write_private(&dir.path().join(SERVER_LOST), &serde_json::to_vec(failure)?)
}

fn server_lost(dir: &AttemptDir) -> Option<Failure> {
    records::read(&dir.path().join(SERVER_LOST)).unwrap_or_default()
}

/// What the death of `live` means for a program that ran there.
pub(super) fn died_with(live: &Live) -> Failure {
    if live.was_exhausted_by_one() {
        return failure::out_of_memory("").with_unknown_outcome();
    }
    engine_lost(&live.last_words())
}

fn terminated() -> Failure {
    let text = "The program was told to end (SIGTERM) by somebody else than Libra, as when the machine shuts down. Nobody \
                knows how much of it took effect.";
    Failure::new(ErrorClass::Infrastructure, "driver_terminated", text).with_unknown_outcome()
}

/// The failure of a job whose server died.
pub(super) fn engine_lost(how: &str) -> Failure {
    let text = format!(
        "The shared Spark server ended while the program ran: {how}. Nobody knows how much of the program took effect."
    );
    Failure::new(ErrorClass::Infrastructure, "engine_lost", text).with_unknown_outcome()
}

fn outcome(dir: &AttemptDir, record: &ExitRecord) -> Outcome {
    let failure = match Supervised::Program.end(record) {
        Ok(End::Code(0)) => return Outcome::Succeeded,
        Ok(End::Code(code)) => by_code(dir, code),
        Ok(End::Signal(signal)) => Supervised::Program.killed(dir, signal),
        Err(failure) => failure,
    };
    Outcome::Failed { failure }
}

fn by_code(dir: &AttemptDir, code: i32) -> Failure {
    // An unreadable file says as little as an absent one; the logs are still there.
    if let Some(told) = records::read::<Told>(&dir.error_file()).unwrap_or_default() {
        return by_own_account(&told);
    }
    verdict::exit_code(code, &verdict::tail(dir, Stream::Stderr))
}

fn by_own_account(told: &Told) -> Failure {
    let text = &told.traceback;
    let message =
        if told.message.is_empty() { told.kind.clone() } else { format!("{}: {}", told.kind, told.message) };
    let failure = if told.kind == "MemoryError" {
        let message = "The program's Python process ran out of memory. Bring less data to it, or let Spark do the work.";
        Failure::new(ErrorClass::Resources, "out_of_memory", message)
    } else if words::is_out_of_memory(text) {
        let message = "The shared Spark server ran out of memory under the program. Raise \
                       `libra.execution.modes.in-cluster.driver-memory`, or run the job with `spark-submit`.";
        Failure::new(ErrorClass::Resources, "out_of_memory", message)
    } else {
        match told.phase.as_str() {
            "client" => Failure::new(
                ErrorClass::Infrastructure,
                "python_client_missing",
                format!(
                    "Spark's Python client can't be used: {}. `make setup` installs what it needs into Spark's Python \
                     environment; `libra doctor` says what is missing.",
                    told.message
                ),
            ),
            "settings" => Failure::new(
                ErrorClass::User,
                "bad_setting",
                format!("A Spark setting was refused: {message}"),
            ),
            "start" => Failure::new(
                ErrorClass::Infrastructure,
                "session_failed",
                format!("The Spark session could not be started: {message}"),
            ),
            _ if needs_a_spark_of_its_own(told) => {
                let hint = "in-cluster programs share a Spark and have no SparkContext or RDDs: run the job with \
                            `\"executionMode\": \"spark-submit\"`";
                Failure::new(ErrorClass::User, "exception", format!("{message} (hint: {hint})"))
            }
            _ => Failure::new(ErrorClass::User, "exception", message),
        }
    };
    failure.with_detail(text)
}

/// Spark Connect's words for what only a driver with a JVM of its own has.
fn needs_a_spark_of_its_own(told: &Told) -> bool {
    [
        "JVM_ATTRIBUTE_NOT_SUPPORTED",
        "CONTEXT_UNAVAILABLE_FOR_REMOTE_CLIENT",
        "ONLY_SUPPORTED_WITH_SPARK_CLASSIC",
        "CANNOT_CONFIGURE_SPARK_CONNECT_MASTER",
    ]
    .iter()
    .any(|mark| told.message.contains(mark))
}
