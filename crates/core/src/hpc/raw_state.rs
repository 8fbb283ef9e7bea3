//! What a scheduler's word for a job's state means.
//!
//! Slurm writes one word, a base state and flags, or `CANCELLED by 1000`, depending on who asks and on its version; newer
//! versions know words that this build does not. None of them may be guessed to be an end.

use serde::{Deserialize, Serialize};

use super::end::End;

/// The five states of the HPC face, by the reference's table (contract L8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HpcState {
    /// It waits, or is suspended.
    Pending,
    /// It runs, or is being cleaned up.
    Running,
    /// Done.
    Completed,
    /// Failed, or out of time.
    Failed,
    /// Cancelled or preempted.
    Cancelled,
}

impl HpcState {
    /// All five, in the order of a job's life.
    pub const ALL: [Self; 5] = [Self::Pending, Self::Running, Self::Completed, Self::Failed, Self::Cancelled];

    /// The spelling on the wire and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Reads the spelling.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// True when nothing leaves this state.
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Pending | Self::Running => false,
            Self::Completed | Self::Failed | Self::Cancelled => true,
        }
    }

    /// The word that a scheduler would use, for jobs that are known by the HPC face alone.
    pub fn raw(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
        }
    }
}

/// Where a job stands with its scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It waits for its turn.
    Waits,
    /// It holds its resources and does not run.
    Suspended,
    /// It holds its resources.
    Runs,
    /// It holds nothing any more.
    Ended(End),
}

impl Standing {
    /// What a scheduler's word means; None for words that this build does not know.
    pub fn of(raw: &str) -> Option<Self> {
        let mut base = None;
        let mut flag = None;
        for word in words(raw) {
            match Word::read(word) {
                Some(Word::Base(standing)) => base = base.or(Some(standing)),
                // What is still being cleaned up has not ended, and what was put back has not either.
                Some(Word::Flag(standing)) => flag = Some(standing),
                Some(Word::Nothing) | None => {}
            }
        }
        flag.or(base)
    }

    /// The same in the five states of the reference's table.
    pub fn hpc_state(self) -> HpcState {
        match self {
            Self::Waits | Self::Suspended => HpcState::Pending,
            Self::Runs => HpcState::Running,
            Self::Ended(end) => end.hpc_state(),
        }
    }
}

/// What one word of a state says.
enum Word {
    /// The state itself.
    Base(Standing),
    /// What goes before the state beside it.
    Flag(Standing),
    /// Nothing about where the job stands.
    Nothing,
}

impl Word {
    fn read(word: &str) -> Option<Self> {
        let read = match word {
            "PENDING" => Self::Base(Standing::Waits),
            "RUNNING" | "STOPPED" => Self::Base(Standing::Runs),
            "SUSPENDED" => Self::Base(Standing::Suspended),
            "COMPLETED" => Self::Base(Standing::Ended(End::Completed)),
            "FAILED" => Self::Base(Standing::Ended(End::Failed)),
            "TIMEOUT" => Self::Base(Standing::Ended(End::Timeout)),
            "DEADLINE" => Self::Base(Standing::Ended(End::Deadline)),
            "NODE_FAIL" => Self::Base(Standing::Ended(End::NodeFail)),
            "BOOT_FAIL" => Self::Base(Standing::Ended(End::BootFail)),
            "OUT_OF_MEMORY" => Self::Base(Standing::Ended(End::OutOfMemory)),
            "CANCELLED" => Self::Base(Standing::Ended(End::Cancelled)),
            "PREEMPTED" => Self::Base(Standing::Ended(End::Preempted)),
            "REVOKED" => Self::Base(Standing::Ended(End::Revoked)),
            "CONFIGURING" | "POWER_UP_NODE" | "REQUEUED" | "REQUEUE_HOLD" | "REQUEUE_FED"
            | "SPECIAL_EXIT" | "RESV_DEL_HOLD" | "LAUNCH_FAILED" => Self::Flag(Standing::Waits),
            "RESIZING" => Self::Flag(Standing::Suspended),
            "COMPLETING" | "SIGNALING" | "STAGE_OUT" => Self::Flag(Standing::Runs),
            "UPDATE_DB" | "RECONFIG_FAIL" | "EXPEDITING" => Self::Nothing,
            _ => return None,
        };
        Some(read)
    }
}

/// The words of a state: `COMPLETED,COMPLETING`, `RUNNING+CONFIGURING`, `CANCELLED by 1000`, `CANCELLED+`.
fn words(raw: &str) -> impl Iterator<Item = &str> {
    // Who has cancelled it is no state.
    let states = raw.split_once(" by ").map_or(raw, |(state, _)| state);
    states.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_the_reference_holds() {
        let table = [
            (
                HpcState::Pending,
                "PENDING CONFIGURING REQUEUED RESIZING SUSPENDED RESV_DEL_HOLD REQUEUE_FED REQUEUE_HOLD SPECIAL_EXIT",
            ),
            (HpcState::Running, "RUNNING COMPLETING SIGNALING STAGE_OUT"),
            (HpcState::Completed, "COMPLETED"),
            (HpcState::Failed, "FAILED BOOT_FAIL DEADLINE NODE_FAIL OUT_OF_MEMORY TIMEOUT"),
            (HpcState::Cancelled, "CANCELLED PREEMPTED REVOKED"),
        ];
        for (state, words) in table {
            for word in words.split(' ') {
                assert_eq!(Standing::of(word).map(Standing::hpc_state), Some(state), "{word}");
            }
        }
    }

    #[test]
    fn what_is_beside_a_state_goes_first() {
        let table = [
            ("CANCELLED by 1000", Some(Standing::Ended(End::Cancelled))),
            ("CANCELLED+", Some(Standing::Ended(End::Cancelled))),
            ("COMPLETED,COMPLETING", Some(Standing::Runs)),
            ("RUNNING,CONFIGURING", Some(Standing::Waits)),
            ("PENDING,REQUEUE_HOLD,LAUNCH_FAILED", Some(Standing::Waits)),
            ("NODE_FAIL,REQUEUED", Some(Standing::Waits)),
            ("RUNNING,EXPEDITING", Some(Standing::Runs)),
            ("RUNNING,SOMETHING_NEW", Some(Standing::Runs)),
            ("FAILED,UPDATE_DB", Some(Standing::Ended(End::Failed))),
            ("TELEPORTED", None),
            ("", None),
            ("completed", None),
        ];
        for (raw, standing) in table {
            assert_eq!(Standing::of(raw), standing, "{raw}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_taken_for_an_end_that_it_does_not_name(raw in "\\PC{0,40}") {
            if let Some(Standing::Ended(_)) = Standing::of(&raw) {
                let named = ["COMPLETED", "FAILED", "TIMEOUT", "DEADLINE", "FAIL", "MEMORY", "CANCELLED", "PREEMPTED", "REVOKED"];
                proptest::prop_assert!(named.iter().any(|name| raw.contains(name)));
            }
        }
    }
}
