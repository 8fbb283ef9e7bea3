//! Percentiles, and the table that is printed.

use std::fmt;
use std::fmt::Write as _;
use std::time::Duration;

/// Durations that were measured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    /// Adds one.
    pub(crate) fn add(&mut self, sample: Duration) {
        self.0.push(sample);
    }

    /// Takes all of `other` in.
    pub(crate) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// The duration, in milliseconds, that `percent` of the samples do not exceed.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
        sorted.get(at).map_or(f64::NAN, |d| d.as_secs_f64() * 1000.0)
    }
}

/// One line: a figure, what it stands beside, and what was aimed at.
#[derive(Clone, Debug)]
struct Line {
    what: String,
    libra: String,
    bare: String,
    compared: String,
    aim: String,
}

/// All lines, and the remarks below them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    lines: Vec<Line>,
    remarks: Vec<String>,
}

impl Table {
    /// Adds a line. `compared` says how the two differ; `aim` what was aimed at, and whether it was met.
    pub(crate) fn add(&mut self, what: &str, libra: &str, bare: &str, compared: &str, aim: &str) {
        let [what, libra, bare, compared, aim] = [what, libra, bare, compared, aim].map(str::to_owned);
        self.lines.push(Line { what, libra, bare, compared, aim });
    }

    /// Adds a remark.
    pub(crate) fn remark(&mut self, text: String) {
        self.remarks.push(text);
    }
}

/// An aim in words, and whether it was met.
pub(crate) fn aim(words: &str, met: bool) -> String {
    format!("{words}: {}", if met { "met" } else { "missed" })
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let titles = ["", "Libra", "bare", "", "aim"].map(str::to_owned);
        let rows: Vec<[String; 5]> = std::iter::once(titles)
            .chain(self.lines.iter().cloned().map(|l| [l.what, l.libra, l.bare, l.compared, l.aim]))
            .collect();
        let mut widths = [0; 5];
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for row in &rows {
            let mut line = String::new();
            for (width, cell) in widths.iter().zip(row) {
                // Writing to a String can't fail.
                let _ = write!(line, "{cell:width$}  ");
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        for remark in &self.remarks {
            writeln!(f, "\n{remark}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples() {
        let mut samples = Samples::default();
        assert!(samples.percentile(50).is_nan());
        for ms in (1..=200).rev() {
            samples.add(Duration::from_millis(ms));
        }
        assert!((samples.percentile(50) - 100.0).abs() < 1e-9);
        assert!((samples.percentile(99) - 198.0).abs() < 1e-9);
        assert!((samples.percentile(100) - 200.0).abs() < 1e-9);
    }
}
