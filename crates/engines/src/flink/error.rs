//! Why a call brought nothing, read from what Flink says.

use libra_core::deployment::reconcile::{Answer, Refusal};
use serde::Deserialize;

/// The longest text of Flink's that is kept, in characters.
pub const MOST_WORDS: usize = 1_000;

/// Why a call brought nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A job with this id was submitted before, in this life of the JobManager: it runs, or has run.
    #[error("a job with this id was submitted before")]
    Duplicate,
    /// No such job.
    #[error("Flink does not know the job")]
    UnknownJob,
    /// No such trigger: it never came, came to a former JobManager, or is too long ago.
    #[error("Flink does not know the trigger")]
    UnknownTrigger,
    /// The uploaded artifact is no longer there.
    #[error("the uploaded jar is no longer there")]
    MissingJar,
    /// The entry class is not there, or the artifact is no jar.
    #[error("Flink can't load the program: {0}")]
    BadProgram(String),
    /// `main()` failed, or its SQL or its configuration is wrong.
    #[error("the program's main() failed: {0}")]
    MainFailed(String),
    /// The savepoint or checkpoint is not there, or is none that Flink can read.
    #[error("the savepoint is not there, or can't be read: {0}")]
    StateNotFound(String),
    /// The program has no place for some of the state.
    #[error("the program has no place for some of its state: {0}")]
    StateMismatch(String),
    /// Not enough slots.
    #[error("the cluster has no room: {0}")]
    NoResources(String),
    /// No connection, or it broke.
    #[error("Flink can't be reached: {0}")]
    Unreachable(String),
    /// No answer in time. The request may have been carried out.
    #[error("Flink did not answer in time")]
    TimedOut,
    /// An answer that is none of Flink's, or too long.
    #[error("this is no answer of Flink: {0}")]
    Garbage(String),
    /// Flink says that it has a problem of its own.
    #[error("Flink answered {status}: {words}")]
    Server {
        /// The HTTP status.
        status: u16,
        /// Flink's words.
        words: String,
    },
    /// Flink refuses for another reason.
    #[error("Flink refuses ({status}): {words}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Flink's words.
        words: String,
    },
}

impl Error {
    /// What the reconciler makes of it: refused, or nobody knows.
    pub fn answer(&self) -> Answer {
        match self {
            Self::Duplicate => Answer::Refused(Refusal::Duplicate),
            Self::UnknownJob => Answer::Refused(Refusal::UnknownJob),
            Self::MissingJar => Answer::Refused(Refusal::MissingJar),
            Self::BadProgram(why) => Answer::Refused(Refusal::BadProgram(why.clone())),
            Self::MainFailed(why) => Answer::Refused(Refusal::MainFailed(why.clone())),
            Self::StateNotFound(why) => Answer::Refused(Refusal::StateNotFound(why.clone())),
            Self::StateMismatch(why) => Answer::Refused(Refusal::StateMismatch(why.clone())),
            Self::NoResources(why) => Answer::Refused(Refusal::NoResources(why.clone())),
            Self::Refused { status: _, words } => Answer::Refused(Refusal::Other(words.clone())),
            Self::UnknownTrigger
            | Self::Unreachable(_)
            | Self::TimedOut
            | Self::Garbage(_)
            | Self::Server { .. } => Answer::Unclear(self.to_string()),
        }
    }
}

/// What was asked about, where the status 404 alone has to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// A job.
    Job,
    /// A trigger.
    Trigger,
    /// A jar.
    Jar,
    /// The cluster itself.
    Cluster,
}

#[derive(Deserialize)]
struct Told {
    #[serde(default)]
    errors: Vec<String>,
}

/// What Flink says itself; None for a page of somebody on the way.
fn told(body: &[u8]) -> Option<String> {
    let told = serde_json::from_slice::<Told>(body).ok().filter(|told| !told.errors.is_empty())?;
    Some(told.errors.join("\n"))
}

/// Reads an answer that is no success.
pub(super) fn classify(status: u16, body: &[u8], about: About) -> Error {
    let text = told(body).unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    let says = |part: &str| text.contains(part);
    let words = cause(&text);
    // From the most particular to the least: a main() that fails wraps what went wrong in it.
    if says("DuplicateApplicationSubmissionException") || says("DuplicateJobSubmissionException") {
        Error::Duplicate
    } else if says("FlinkJobNotFoundException") || says("Could not find Flink job") {
        Error::UnknownJob
    } else if says("UnknownOperationKeyException") || says("Operation not found under key") {
        Error::UnknownTrigger
    } else if says("Jar file") && says("does not exist") {
        Error::MissingJar
    } else if says("Cannot map checkpoint/savepoint state") || says("StateMigrationException") {
        Error::StateMismatch(words)
    } else if is_absent(&text)
        // Damaged, or somewhere that Flink has no plugin for.
        || says("Unexpected magic number")
        || says("for checkpoint/savepoint path")
    {
        Error::StateNotFound(words)
    } else if says("NoResourceAvailableException") {
        Error::NoResources(words)
    } else if says("zip END header not found") || says("ZipException") || says("Only Jar files are allowed") {
        Error::BadProgram(words)
    } else if says("Could not execute application") || says("The main method caused an error") {
        Error::MainFailed(words)
    } else if says("ClassNotFoundException") || says("Neither a 'Main-Class', nor a 'program-class'") {
        Error::BadProgram(words)
    } else if status == 404 && says("Checkpointing has not been enabled") {
        Error::Refused { status, words }
    } else if status == 404 {
        match about {
            About::Job => Error::UnknownJob,
            About::Trigger => Error::UnknownTrigger,
            About::Jar => Error::MissingJar,
            About::Cluster => Error::Refused { status, words },
        }
    } else if status >= 500 {
        Error::Server { status, words }
    } else {
        Error::Refused { status, words }
    }
}

/// True when Flink says that there is no such savepoint or checkpoint.
pub(super) fn is_absent(text: &str) -> bool {
    ["Cannot find checkpoint or savepoint", "Cannot find meta data file"]
        .iter()
        .any(|part| text.contains(part))
}

/// [`classify`] for a run from `savepoint`: a file that is not there is its own matter, or that of `main()`. Whoever on
/// the way answers in Flink's place does not know whether the run began; who wants to know us first (401, 403) has let
/// nothing through.
pub(super) fn classify_run(status: u16, body: &[u8], savepoint: Option<&str>) -> Error {
    if told(body).is_none() && ![401, 403].contains(&status) {
        return Error::Garbage(format!("status {status}, and no words of Flink's"));
    }
    let error = classify(status, body, About::Jar);
    let text = String::from_utf8_lossy(body);
    let names =
        savepoint.is_some_and(|path| text.contains(path.trim_start_matches("file:").trim_start_matches('/')));
    let missing = text.contains("FileNotFoundException") || text.contains("NoSuchFileException");
    // Past main(), where the JobManager reads the state; of an empty file this is all that it says.
    let cut_short = savepoint.is_some()
        && text.contains("JobInitializationException")
        && text.contains("java.io.EOFException");
    match error {
        Error::MainFailed(words)
        | Error::Server { status: _, words }
        | Error::Refused { status: _, words }
            if (names && missing) || cut_short =>
        {
            Error::StateNotFound(words)
        }
        other => other,
    }
}

/// How Java begins when the system gives it nothing but a number.
const ERROR_NUMBER: &str = "java.io.IOException: error=";
/// In what words of a Python program reach Flink.
const PYTHON: &str = "org.apache.flink.client.deployment.application.UnsuccessfulExecutionException: ";

/// The innermost cause in a stack trace: its message without the places in the code.
pub(super) fn cause(text: &str) -> String {
    const MARK: &str = "Caused by: ";
    let last = |text: &str| text.rfind(MARK).map(|at| at + MARK.len());
    let mut at = last(text).unwrap_or(0);
    // Of a program that can't be started Java's last words don't say which.
    if text[at..].starts_with(ERROR_NUMBER) {
        at = last(&text[..at.saturating_sub(MARK.len())]).unwrap_or(at);
    }
    let from = &text[at..];
    let lines =
        from.lines().map(str::trim).skip_while(|line| line.is_empty() || *line == "Internal server error.");
    let message: Vec<&str> =
        lines.take_while(|line| !line.starts_with("at ") && !line.starts_with("...")).collect();
    let words = message.join(" ");
    let words = words.trim_start_matches("<Exception on server side:").trim();
    words.strip_prefix(PYTHON).unwrap_or(words).chars().take(MOST_WORDS).collect()
}
