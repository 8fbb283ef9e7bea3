//! Why a command brought nothing, in words, and what the exit code says of it.

use std::fmt::Write as _;
use std::process::ExitCode;

use libra_api::client::ClientError;
use libra_api::problem::{Problem, Violation};

use crate::output;

/// What the exit code says. Documented in `libra --help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done; the job SUCCEEDED.
    Done = 0,
    /// The job FAILED, or what was asked can't be done with it.
    Failed = 1,
    /// The command or the request is wrong; what clap uses as well. See also [`Exit::CHANGES`].
    Usage = 2,
    /// The job was CANCELLED.
    Cancelled = 3,
    /// The job ended in TIMEOUT.
    Timeout = 4,
    /// No answer, or none at present.
    Unreachable = 5,
    /// Not found, no valid key, or not allowed.
    Denied = 6,
    /// Interrupted from the keyboard: 128 + SIGINT, as shells have it.
    Interrupted = 130,
}

impl Exit {
    /// `plan --exit-code`: something changes. The number that other planners have for it; then errors are
    /// [`Exit::Failed`].
    pub(crate) const CHANGES: Self = Self::Usage;
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command brought nothing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    exit: Exit,
    passing: bool,
    message: String,
    violations: Vec<Violation>,
    hints: Vec<String>,
}

impl Failure {
    /// A failure with its exit code.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, passing: false, message: message.into(), violations: Vec::new(), hints: Vec::new() }
    }

    /// The command itself is wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// The same with advice.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The same with what it is about before the message, unless that begins with it.
    pub(crate) fn at(mut self, place: &str) -> Self {
        let rest = self.message.strip_prefix(place);
        if rest.is_none_or(|rest| !rest.starts_with([' ', ':'])) {
            self.message = format!("{place}: {}", self.message);
        }
        self
    }

    /// The same with another exit code.
    pub(crate) fn with_exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// What the exit code is to say.
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// What happened, without advice.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The advice.
    pub(crate) fn hints(&self) -> &[String] {
        &self.hints
    }

    /// True when the same call may work a moment later.
    pub(crate) fn is_passing(&self) -> bool {
        self.passing
    }

    /// For people, over as many lines as it takes.
    pub(crate) fn render(&self, colours: bool) -> String {
        let paint = |word: &str, code: &str| {
            if colours { format!("\u{1b}[{code}m{word}:\u{1b}[0m") } else { format!("{word}:") }
        };
        let mut text = format!("{} {}\n", paint("error", "1;31"), output::lines(&self.message));
        // A single violation is often the message itself.
        let said = |v: &Violation| self.message.contains(&v.pointer) && self.message.contains(&v.reason);
        for violation in self.violations.iter().filter(|v| !said(v)) {
            let pointer = if violation.pointer.is_empty() { "(the whole body)" } else { &violation.pointer };
            let _ =
                writeln!(text, "  {}: {}", output::one_line(pointer), output::one_line(&violation.reason));
        }
        for hint in &self.hints {
            let _ = writeln!(text, "{} {hint}", paint("hint", "1;36"));
        }
        text
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let message = error.to_string();
        match error {
            ClientError::Problem(problem) => from_problem(*problem),
            ClientError::Unreachable { .. } => {
                Self { passing: true, ..Self::new(Exit::Unreachable, message) }
                    .hint("start it with `libra serve`, or say where it is with --url or LIBRA_URL")
            }
            // 502 to 504 come from a gateway whose Libra is away for a moment.
            ClientError::NotLibra { status, .. } => {
                Self { passing: (502..=504).contains(&status), ..Self::new(Exit::Unreachable, message) }
                    .hint("check --url or LIBRA_URL: something else may listen on that port")
            }
            ClientError::Setup(_) => Self::new(Exit::Failed, message),
        }
    }
}

fn from_problem(problem: Problem) -> Failure {
    let exit = match (problem.status, problem.error.as_str()) {
        (401 | 403 | 404 | 410, _) => Exit::Denied,
        (409, _) => Exit::Failed,
        (429 | 500.., _) => Exit::Unreachable,
        _ => Exit::Usage,
    };
    let hint = match problem.error.as_str() {
        "unauthenticated" => Some("put your key into LIBRA_TOKEN".to_owned()),
        "forbidden" => Some("ask an administrator of this Libra for a role that allows it".to_owned()),
        "job_not_found" => Some("`libra jobs` lists the jobs that you may see".to_owned()),
        "deployment_not_found" => {
            Some("`libra deployments` lists the deployments that you may see".to_owned())
        }
        "generation_not_found" => Some("`libra history ID` lists its generations".to_owned()),
        "stale_version" => Some("run the command again: it shows what would change now".to_owned()),
        "storage_full" => Some("free some space on Libra's host, then submit again".to_owned()),
        "digest_mismatch" => Some("did the file change meanwhile? submit again".to_owned()),
        "webhook_not_found" => Some("`libra webhooks list` lists the messages that you may see".to_owned()),
        "not_finished" => Some("`libra wait ID` waits until it ends".to_owned()),
        "no_result" => Some("`libra job ID` says how it ended, `libra logs ID` what it wrote".to_owned()),
        "queue_full" | "unavailable" => Some("try again in a moment".to_owned()),
        "internal" => {
            Some(format!("this is a bug; the service's log has more under {}", problem.correlation_id))
        }
        _ => None,
    };
    Failure {
        exit,
        passing: matches!(problem.status, 429 | 503),
        message: problem.message,
        violations: problem.violations,
        hints: hint.into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libra_api::problem::Code;

    fn failure(code: Code, message: &str, violations: &[(&str, &str)]) -> Failure {
        let violations = violations.iter().map(|(p, r)| Violation::new(*p, *r)).collect();
        let problem = Problem::new(code, message, "c-1").with_violations(violations);
        ClientError::Problem(Box::new(problem)).into()
    }

    #[test]
    fn errors_are_shown_with_their_fields_and_a_hint() {
        let failures = [
            failure(
                Code::InvalidRequest,
                "2 fields are wrong",
                &[("/priority", "must be a whole number from 1 to 10, not 11"), ("", "x\u{1b}[2J")],
            ),
            failure(Code::InvalidQuery, "/limit must be a number", &[("/limit", "must be a number")]),
            failure(Code::JobNotFound, "There is no job job-1.", &[]),
            failure(Code::Internal, "Something is wrong inside Libra.", &[]),
            ClientError::Unreachable {
                url: "http://127.0.0.1:1".into(),
                cause: "Connection refused".into(),
                perhaps_taken: false,
            }
            .into(),
            ClientError::NotLibra { url: "http://127.0.0.1:1".into(), status: 200 }.into(),
        ];
        let text: Vec<String> =
            failures.iter().map(|f| format!("[exit {}]\n{}", f.exit() as u8, f.render(false))).collect();
        insta::assert_snapshot!("errors", text.join("\n"));
        assert!(failures[2].render(true).starts_with("\u{1b}[1;31merror:\u{1b}[0m "));
    }

    #[test]
    fn a_failure_says_what_it_is_about_once() {
        let about = |message: &str| Failure::usage(message).at("a").message().to_owned();
        assert_eq!(about("a was changed"), "a was changed");
        assert_eq!(about("all is wrong"), "a: all is wrong");
    }

    #[test]
    fn every_code_has_its_exit_code() {
        let table: Vec<String> = Code::ALL
            .iter()
            .map(|c| format!("{} {}", failure(*c, "", &[]).exit() as u8, c.as_str()))
            .collect();
        insta::assert_snapshot!("exit_codes", table.join("\n"));
    }
}
