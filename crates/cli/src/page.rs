//! A page about one thing: a name and a value a line.

use std::fmt::Write as _;

use crate::output::one_line;

/// A page in the making.
#[derive(Default)]
pub(crate) struct Page {
    /// What it says so far.
    pub(crate) text: String,
}

impl Page {
    /// Adds a line.
    pub(crate) fn line(&mut self, name: &str, value: &str) {
        let _ = writeln!(self.text, "{name:<13} {}", one_line(value));
    }

    /// Adds a line when there is something to say.
    pub(crate) fn maybe(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.line(name, value);
        }
    }
}
