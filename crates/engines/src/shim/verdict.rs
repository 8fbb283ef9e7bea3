//! What a shim's record says of its process, whatever it ran (contract L4, L7). What an exit code means is for its engine.

use std::fmt;

use libra_core::attempt::{Exit, Outcome};
use libra_core::failure::{ErrorClass, Failure};

use super::{ExitRecord, records};
use crate::attempt_dir::AttemptDir;
use crate::logs::{LogReader, Stream};

/// How much of the end of a log is read, in bytes.
const TAIL_BYTES: usize = 64 * 1024;
/// The lines of a log that people are shown with a failure: enough to see what happened.
const SHOWN_LINES: usize = 40;

/// What people call the process under the shim.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Supervised {
    /// A spark-submit with the driver in it.
    Driver,
    /// A program of a process without a Spark of its own.
    Program,
}

impl fmt::Display for Supervised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Driver => "driver",
            Self::Program => "program",
        })
    }
}

/// How a process ended by itself.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    /// With this exit code.
    Code(i32),
    /// By this signal, which Libra did not send.
    Signal(i32),
}

impl Supervised {
    /// How it ended by itself.
    ///
    /// # Errors
    /// What is to be said when it did not: it never began, was ended with its host, or nobody knows.
    pub(crate) fn end(self, record: &ExitRecord) -> Result<End, Failure> {
        Err(match (&record.spawn_error, record.code, record.signal) {
            (Some(error), _, _) => infrastructure(
                "driver_not_started",
                format!(
                    "The {self}'s process could not be started. Check the Spark installation and the free space on the \
                     disk."
                ),
            )
            .with_detail(error),
            _ if record.abandoned => infrastructure(
                "host_cut_off",
                format!(
                    "No replica of Libra on the {self}'s host could reach the database for so long that the {self} was \
                     ended, before another host would run the job again."
                ),
            )
            .with_unknown_outcome(),
            (None, Some(code), _) => return Ok(End::Code(code)),
            (None, None, Some(signal)) => return Ok(End::Signal(signal)),
            (None, None, None) => {
                infrastructure("driver_lost", format!("The {self} ended, but its exit status was lost."))
                    .with_unknown_outcome()
            }
        })
    }

    /// The end of an attempt whose shim died without a word.
    pub(crate) fn lost(self) -> Exit {
        let message = format!(
            "The process that watched over the {self} was killed, or the machine restarted, so nobody knows how the job \
             ended. Whatever was left of it has been ended."
        );
        failed(infrastructure("driver_lost", message).with_unknown_outcome())
    }

    /// The failure of one that was ended by a signal; its last words are in the error log.
    pub(crate) fn killed(self, dir: &AttemptDir, signal: i32) -> Failure {
        const KILL: i32 = 9;
        let hint =
            if signal == KILL { "; the kernel does so when the machine's memory runs out" } else { "" };
        let name = signal_name(signal);
        let message = format!("The {self} was ended by {name} that Libra did not send{hint}.");
        infrastructure("driver_killed", message).with_detail(last_lines(&tail(dir, Stream::Stderr)))
    }
}

/// The end of an attempt that Libra stopped before it left any other trace.
pub(crate) fn stopped() -> Exit {
    without_a_process(Outcome::Stopped)
}

/// A failure without a process.
pub(crate) fn failed(failure: Failure) -> Exit {
    without_a_process(Outcome::Failed { failure })
}

/// The failure of a program that chose an exit code of its own; `log` says more.
pub(crate) fn exit_code(code: i32, log: &str) -> Failure {
    let message = format!("The program ended with exit code {code}. Its last lines are in the log.");
    Failure::new(ErrorClass::User, "exit_code", message).with_detail(last_lines(log))
}

/// The end of a log; empty when there is none.
pub(crate) fn tail(dir: &AttemptDir, stream: Stream) -> String {
    let bytes = LogReader::new(dir, stream).tail(TAIL_BYTES).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The last lines that people read.
pub(crate) fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
}

/// The beginning of a stack trace: the end says only what started the program.
pub(crate) fn first_lines(text: &str) -> String {
    text.lines().take(SHOWN_LINES).collect::<Vec<_>>().join("\n")
}

fn infrastructure(code: &str, message: impl Into<String>) -> Failure {
    Failure::new(ErrorClass::Infrastructure, code, message)
}

fn without_a_process(outcome: Outcome) -> Exit {
    Exit { outcome, exit_code: None, signal: None, began: None, at: records::now() }
}

/// The name of a signal for people.
fn signal_name(signal: i32) -> String {
    let names = [
        (1, "SIGHUP"),
        (2, "SIGINT"),
        (3, "SIGQUIT"),
        (4, "SIGILL"),
        (6, "SIGABRT"),
        (7, "SIGBUS"),
        (8, "SIGFPE"),
        (9, "SIGKILL"),
        (11, "SIGSEGV"),
        (13, "SIGPIPE"),
        (15, "SIGTERM"),
        (24, "SIGXCPU"),
    ];
    names
        .iter()
        .find(|(n, _)| *n == signal)
        .map_or_else(|| format!("signal {signal}"), |(_, s)| (*s).to_owned())
}
