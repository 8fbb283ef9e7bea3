//! How a scheduler's job has ended, and what that is in Libra's words.

use super::raw_state::HpcState;
use super::record::{ExitStatus, Record};
use crate::failure::{ErrorClass, Failure};
use crate::job::State;

/// How a scheduler's job has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// With exit code 0.
    Completed,
    /// With another one, or by a signal.
    Failed,
    /// Its time was over.
    Timeout,
    /// Its deadline came before its end.
    Deadline,
    /// A node was lost.
    NodeFail,
    /// Its nodes did not start.
    BootFail,
    /// Its memory ran out.
    OutOfMemory,
    /// Somebody cancelled it.
    Cancelled,
    /// Another job took its place.
    Preempted,
    /// Another cluster of its federation has run it.
    Revoked,
}

/// What Slurm 22.05 was seen to give for a signal where a script could not be started on a node, such as when its output
/// can't be opened.
const NOT_LAUNCHED: i32 = 53;

impl End {
    /// The same in Libra's states.
    pub fn state(self) -> State {
        match self {
            Self::Completed => State::Succeeded,
            Self::Failed | Self::NodeFail | Self::BootFail | Self::OutOfMemory => State::Failed,
            Self::Timeout | Self::Deadline => State::Timeout,
            Self::Cancelled | Self::Preempted | Self::Revoked => State::Cancelled,
        }
    }

    /// Who has to act, where it failed (contract L4).
    pub fn class(self) -> Option<ErrorClass> {
        match self {
            Self::Failed => Some(ErrorClass::User),
            Self::NodeFail | Self::BootFail => Some(ErrorClass::Infrastructure),
            Self::OutOfMemory => Some(ErrorClass::Resources),
            Self::Timeout | Self::Deadline => Some(ErrorClass::Policy),
            Self::Completed | Self::Cancelled | Self::Preempted | Self::Revoked => None,
        }
    }

    /// The same in the five states of the reference.
    pub fn hpc_state(self) -> HpcState {
        match self {
            Self::Completed => HpcState::Completed,
            Self::Failed
            | Self::Timeout
            | Self::Deadline
            | Self::NodeFail
            | Self::BootFail
            | Self::OutOfMemory => HpcState::Failed,
            Self::Cancelled | Self::Preempted | Self::Revoked => HpcState::Cancelled,
        }
    }

    /// The end that an exit status tells of, by the reference's table: SIGKILL and SIGTERM are somebody's wish.
    pub fn of_exit(exit: ExitStatus) -> Self {
        const SIGKILL: i32 = 9;
        const SIGTERM: i32 = 15;
        match exit {
            ExitStatus { signal: SIGKILL | SIGTERM, .. } => Self::Cancelled,
            ExitStatus { code: 0, signal: 0 } => Self::Completed,
            ExitStatus { .. } => Self::Failed,
        }
    }

    /// Why a job failed that has ended so, and what its owner can do; None where it did not fail.
    pub fn failure(self, record: &Record) -> Option<Failure> {
        let class = self.class()?;
        let (code, message) = match self {
            Self::Failed if record.started.is_none() && record.reason.is_some() => {
                ("never_began", "Slurm has not begun it; what it asks for can't be given".to_owned())
            }
            Self::Failed if record.exit.is_some_and(|exit| exit.signal == NOT_LAUNCHED) => (
                "launch_failed",
                "Slurm could not start its script: look whether its directory and the files for its output can be opened on its nodes"
                    .to_owned(),
            ),
            Self::Failed => ("exit_code", of_the_script(record.exit)),
            Self::Timeout => ("time_limit", "it ran longer than its time limit".to_owned()),
            Self::Deadline => ("deadline", "its deadline came before its end".to_owned()),
            Self::NodeFail => ("node_lost", "a node on which it ran was lost".to_owned()),
            Self::BootFail => ("boot_failed", "its nodes did not start".to_owned()),
            Self::OutOfMemory => {
                ("out_of_memory", "it used more memory than it was given; ask for more".to_owned())
            }
            Self::Completed | Self::Cancelled | Self::Preempted | Self::Revoked => return None,
        };
        Some(Failure {
            class,
            code: code.to_owned(),
            message,
            detail: record.reason.clone().filter(|reason| reason != "None"),
            outcome_unknown: false,
            took_effect: false,
        })
    }
}

fn of_the_script(exit: Option<ExitStatus>) -> String {
    match exit {
        Some(ExitStatus { signal, .. }) if signal != 0 => format!("its script was ended by signal {signal}"),
        Some(ExitStatus { code, .. }) => format!("its script ended with exit code {code}"),
        None => "its script failed".to_owned(),
    }
}

/// What is said of a job whose end nobody has seen (contract L7).
pub fn no_record() -> Failure {
    Failure {
        class: ErrorClass::Infrastructure,
        code: "no_record".to_owned(),
        message:
            "the scheduler has no record of its end: it ended while Libra could not see it; with accounting \
                  (slurmdbd) or the job-completion script installed this is known"
                .to_owned(),
        detail: None,
        outcome_unknown: true,
        took_effect: false,
    }
}
