//! What a run comes to: the table, and every promise that was broken.

use std::fmt;
use std::fmt::Write as _;
use std::time::Duration;

/// What a run comes to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    lines: Vec<(String, String)>,
    broken: Vec<String>,
}

impl Report {
    /// True when every promise was kept.
    pub fn is_good(&self) -> bool {
        self.broken.is_empty()
    }

    /// Adds a line of the table.
    pub(crate) fn line(&mut self, what: impl Into<String>, figure: impl fmt::Display) {
        self.lines.push((what.into(), figure.to_string()));
    }

    /// A line for something of which there must be none.
    pub(crate) fn none_of(&mut self, what: impl Into<String>, found: &[String]) {
        let verdict = if found.is_empty() { "0".to_owned() } else { format!("{} !", found.len()) };
        self.line(what, verdict);
        self.broken.extend_from_slice(found);
    }
}

/// Seconds with one digit.
pub(crate) fn secs(seconds: f64) -> String {
    format!("{seconds:.1} s")
}

/// The duration that `percent` of the samples do not exceed.
pub(crate) fn percentile(samples: &mut [Duration], percent: usize) -> Duration {
    samples.sort_unstable();
    let at = (samples.len() * percent).div_ceil(100).saturating_sub(1);
    samples.get(at).copied().unwrap_or_default()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.lines.iter().map(|(what, _)| what.chars().count()).max().unwrap_or_default();
        for (what, figure) in &self.lines {
            let mut line = String::new();
            // Writing to a String can't fail.
            let _ = write!(line, "{what:width$}  {figure}");
            writeln!(f, "{}", line.trim_end())?;
        }
        for broken in &self.broken {
            writeln!(f, "BROKEN: {broken}")?;
        }
        Ok(())
    }
}
