//! What the doctor found.

use std::fmt::Write as _;

use serde::Serialize;

use crate::output::one_line;

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub(super) struct Check {
    name: &'static str,
    status: Status,
    detail: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    Warning,
    Missing,
}

impl Check {
    /// All is well.
    pub(super) fn ok(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, status: Status::Ok, detail: detail.into(), hints: Vec::new() }
    }
    /// It works, but not for long or not for everything.
    pub(super) fn warning(name: &'static str, detail: impl Into<String>) -> Self {
        Self { status: Status::Warning, ..Self::ok(name, detail) }
    }
    /// It does not work.
    pub(super) fn missing(name: &'static str, detail: impl Into<String>) -> Self {
        Self { status: Status::Missing, ..Self::ok(name, detail) }
    }
    /// The same with advice.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
    /// True when nothing is wrong with it.
    #[cfg(test)]
    pub(super) fn is_ok(&self) -> bool {
        self.status == Status::Ok
    }
}

/// Everything that was looked at.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// True when nothing is missing.
    pub(super) ok: bool,
    checks: Vec<Check>,
}

impl Report {
    pub(super) fn new(checks: Vec<Check>) -> Self {
        Self { ok: checks.iter().all(|check| check.status != Status::Missing), checks }
    }

    /// One line a check, its advice below.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for check in &self.checks {
            let status = match check.status {
                Status::Ok => "ok",
                Status::Warning => "warning",
                Status::Missing => "missing",
            };
            let _ = writeln!(text, "{status:<8} {:<14} {}", check.name, one_line(&check.detail));
            for hint in &check.hints {
                let _ = writeln!(text, "{:23} hint: {}", "", one_line(hint));
            }
        }
        text.push_str(if self.ok { "all is there\n" } else { "something is missing\n" });
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report() {
        let report = Report::new(vec![
            Check::ok("spark", "4.3.0 in /opt/spark"),
            Check::warning("memory", "1.0 GiB free").hint("close something"),
            Check::missing("java", "no `java` was found").hint("install one"),
        ]);
        insta::assert_snapshot!("doctor", report.text());
        insta::assert_snapshot!("doctor_json", serde_json::to_string_pretty(&report).unwrap());
        assert!(Report::new(vec![Check::warning("disk", "")]).ok);
    }
}
