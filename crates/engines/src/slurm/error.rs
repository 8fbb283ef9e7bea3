//! Why a call brought nothing, read from what slurmrestd and Slurm's commands say.

use serde_json::Value;

use super::value::Field;

/// The longest text of Slurm's that is kept, in characters.
pub const MOST_WORDS: usize = 1_000;

/// Slurm's number for "Invalid job id specified". The HTTP status beside it is 500 in old versions.
const INVALID_JOB: u64 = 2017;
/// Slurm's number for "Job/step already completing or completed".
const ALREADY_DONE: u64 = 2021;
/// Slurm's number for "Nothing found with query", which comes with HTTP status 200.
const NOTHING_FOUND: u64 = 9003;
/// Slurm's numbers for what went wrong on the way to slurmctld: 1800 "Unable to contact slurm controller".
const ON_THE_WAY: std::ops::RangeInclusive<u64> = 1800..=1899;
/// The same from below: 5005 "Zero Bytes were transmitted or received".
const IN_BETWEEN: std::ops::RangeInclusive<u64> = 5000..=5999;
/// Slurm's numbers for what slurmctld refuses: 2000 "Invalid partition name specified".
const REFUSALS: std::ops::RangeInclusive<u64> = 2000..=2999;
/// slurmrestd's own, for what it can't read: 9001 "Failure during parsing".
const UNREADABLE: std::ops::RangeInclusive<u64> = 9000..=9999;

/// Why a call brought nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No connection to slurmrestd, or it broke.
    #[error("slurmrestd can't be reached: {0}")]
    Unreachable(String),
    /// No answer in time. The request may have been carried out.
    #[error("Slurm did not answer in time")]
    TimedOut,
    /// slurmrestd does not take our token.
    #[error("slurmrestd does not take the token: {0}")]
    Unauthorised(String),
    /// The token or the key for one can't be had. Nothing was sent.
    #[error("there is no token for Slurm: {0}")]
    NoToken(String),
    /// slurmrestd speaks none of the versions that we know. Nothing was sent.
    #[error("slurmrestd speaks none of the versions v0.0.38 to v0.0.42")]
    NoVersion,
    /// A program of Slurm's can't be run. Nothing was sent.
    #[error("a command of Slurm's can't be run: {0}")]
    NoProgram(String),
    /// No such job, or no longer.
    #[error("Slurm does not know the job")]
    UnknownJob,
    /// The job has ended before.
    #[error("the job has ended")]
    AlreadyEnded,
    /// The cluster keeps no accounting. One that does not answer is [`Error::Failed`].
    #[error("there is no accounting: {0}")]
    NoAccounting(String),
    /// slurmctld does not answer; slurmrestd and the commands do. An old slurmrestd says the same of a token that is wrong.
    #[error("slurmctld gave no answer: {0}")]
    ControllerAway(String),
    /// Slurm refuses, and will again.
    #[error("Slurm refuses: {0}")]
    Refused(String),
    /// Slurm has a problem of its own.
    #[error("Slurm failed: {0}")]
    Failed(String),
    /// An answer that is none of Slurm's, or too long.
    #[error("this is no answer of Slurm: {0}")]
    Garbage(String),
}

impl Error {
    /// True when the request may have been carried out all the same. What was submitted is then looked for by its token.
    pub fn is_unclear(&self) -> bool {
        match self {
            Self::Unreachable(_)
            | Self::TimedOut
            | Self::ControllerAway(_)
            | Self::Failed(_)
            | Self::Garbage(_) => true,
            Self::Unauthorised(_)
            | Self::NoToken(_)
            | Self::NoVersion
            | Self::NoProgram(_)
            | Self::UnknownJob
            | Self::AlreadyEnded
            | Self::NoAccounting(_)
            | Self::Refused(_) => false,
        }
    }

    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "look whether slurmrestd runs, and whether rest-url is its address",
            Self::TimedOut => {
                "look at slurmctld with `scontrol ping` and `sdiag`; it may have too much to do"
            }
            Self::Unauthorised(_) => {
                "make another token with `scontrol token`, or name the key of slurm.conf's jwt_key"
            }
            Self::NoToken(_) => "name a file that Libra may read: jwt-file or jwt-key-file",
            Self::NoVersion => {
                "load an openapi plugin between v0.0.38 and v0.0.42 into slurmrestd, with its option -s or -d"
            }
            Self::NoProgram(_) => "install Slurm's client commands, or name a rest-url",
            Self::UnknownJob => "slurmctld forgets jobs after MinJobAge; only accounting has them then",
            Self::AlreadyEnded => "nothing is to be done",
            Self::NoAccounting(_) => "set up slurmdbd, and jwt_key in slurmdbd.conf as well",
            Self::ControllerAway(_) => {
                "look at slurmctld with `scontrol ping`; if it is up, the token's user or key is not the one of slurm.conf"
            }
            Self::Refused(_) => "change what is asked for",
            Self::Failed(_) => "look into slurmctld's and slurmrestd's logs",
            Self::Garbage(_) => {
                "look whether rest-url is slurmrestd's address, and not that of something in front of it"
            }
        }
    }
}

/// Cuts a text to what is kept of it.
pub(super) fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(MOST_WORDS).collect()
}

/// Reads an answer's list of errors; None for an empty one.
pub(super) fn of_list(errors: &[Value]) -> Option<Error> {
    let mut worst: Option<Error> = None;
    let mut all = Vec::new();
    for error in errors {
        let error = Field::of(error);
        let number = error.any(&["error_number", "error_code"]);
        let said = [error.at("error").text(), error.at("description").text()];
        let said: Vec<String> = said.into_iter().flatten().collect();
        all.push(said.join(": "));
        let told = match number.number() {
            Some(INVALID_JOB | NOTHING_FOUND) => Error::UnknownJob,
            Some(ALREADY_DONE) => Error::AlreadyEnded,
            Some(code) if ON_THE_WAY.contains(&code) || IN_BETWEEN.contains(&code) => {
                Error::ControllerAway(String::new())
            }
            Some(code) if REFUSALS.contains(&code) || UNREADABLE.contains(&code) => {
                Error::Refused(String::new())
            }
            // -1, which is what an old slurmrestd knows when slurmctld does not answer.
            None if said.iter().any(|words| words.contains("Unspecified error")) => {
                Error::ControllerAway(String::new())
            }
            Some(_) | None => Error::Failed(String::new()),
        };
        // The first says what went wrong, the others what followed.
        worst = worst.or(Some(told));
    }
    let words = words(&all.join("; "));
    worst.map(|error| match error {
        Error::ControllerAway(_) => Error::ControllerAway(words),
        Error::Refused(_) => Error::Refused(words),
        Error::Failed(_) => Error::Failed(words),
        other => other,
    })
}

/// Words of Slurm's commands, and of answers without numbers, that say that slurmctld was not reached.
const AWAY: [&str; 10] = [
    "receive failure",
    "send failure",
    "temporarily unable",
    "standby mode",
    "Unable to contact slurm controller",
    "Connection refused",
    "Socket timed out",
    "Zero Bytes were transmitted",
    "Unable to establish control",
    "Could not establish a configuration source",
];
/// Words that say that there is no accounting.
const NO_ACCOUNTING: [&str; 2] = ["accounting storage is disabled", "not configured with slurmdbd"];
/// Words that say that there is one, and that it does not answer.
const ACCOUNTING_AWAY: [&str; 2] = ["Problem talking to the database", "Unable to connect to database"];

/// True where these words say that the cluster has no accounting at all.
pub(super) fn is_not_configured(words: &str) -> bool {
    NO_ACCOUNTING.iter().any(|part| words.contains(part))
}

/// An accounting that does not answer.
pub(super) fn of_accounting(complaint: &str) -> Error {
    Error::Failed(words(&format!("accounting (slurmdbd) gave no answer: {complaint}")))
}

/// Words of a command that was told no. One that was killed says nothing, and may have done its work.
const REFUSES: [&str; 2] = ["error:", "fatal:"];

/// Reads what a command complained of. `is_request`: it asked for something to be done, which Slurm refuses.
pub(super) fn of_command(complaint: &str, is_request: bool) -> Error {
    let says = |list: &[&str]| list.iter().any(|part| complaint.contains(part));
    if complaint.contains("Invalid job id specified") {
        Error::UnknownJob
    } else if complaint.contains("already completing or completed") {
        Error::AlreadyEnded
    } else if is_not_configured(complaint) {
        Error::NoAccounting(words(complaint))
    } else if says(&ACCOUNTING_AWAY) {
        of_accounting(complaint)
    } else if says(&AWAY) {
        Error::ControllerAway(words(complaint))
    } else if is_request && says(&REFUSES) {
        Error::Refused(words(complaint))
    } else {
        Error::Failed(words(complaint))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(list: &Value) -> Option<Error> {
        of_list(list.as_array().unwrap())
    }

    #[test]
    fn slurms_numbers_say_what_its_status_does_not() {
        let unknown =
            json!([{"error_number": 2017, "error": "Invalid job id specified", "source": "slurm_load_job"}]);
        assert_eq!(told(&unknown), Some(Error::UnknownJob));
        assert_eq!(told(&json!([{"error_number": 9003, "error": "Nothing found"}])), Some(Error::UnknownJob));
        assert_eq!(told(&json!([])), None);
        let refused = told(&json!([{"error": "environment must be set", "error_code": 2127},
            {"error_code": 9001, "error": "Failure during parsing"}]));
        assert_eq!(
            refused,
            Some(Error::Refused("environment must be set; Failure during parsing".to_owned()))
        );
        let away =
            json!([{"error_code": 1800, "error": "Unable to contact slurm controller (connect failure)"}]);
        assert!(matches!(told(&away), Some(Error::ControllerAway(_))));
        let away = json!([{"description": "Failed while looking for jobs", "error_number": -1,
            "error": "Unspecified error", "source": "slurm_load_jobs"}]);
        assert!(matches!(told(&away), Some(Error::ControllerAway(_))));
        assert!(matches!(told(&json!([{}])), Some(Error::Failed(_))));
        assert!(matches!(told(&json!(["what", 3, null])), Some(Error::Failed(_))));
    }

    #[test]
    fn what_commands_complain_of_is_read() {
        let partition = "sbatch: error: Batch job submission failed: Invalid partition name specified";
        assert!(matches!(of_command(partition, true), Error::Refused(_)));
        let away = "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)";
        assert!(of_command(away, true).is_unclear());
        assert_eq!(
            of_command("scancel: error: Kill job error on job id 99999: Invalid job id specified", true),
            Error::UnknownJob
        );
        assert!(matches!(of_command("Slurm accounting storage is disabled", false), Error::NoAccounting(_)));
        let away = "sacct: error: Problem talking to the database: Connection refused";
        assert!(matches!(of_command(away, false), Error::Failed(words) if words.contains("slurmdbd")));
        assert!(matches!(of_command("", false), Error::Failed(_)));
        assert!(of_command("", true).is_unclear(), "it was killed");
    }
}
