//! Spark's settings as a file: every user of the machine can read a command line, and settings hold secrets.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;

use crate::attempt_dir::AttemptDir;
use crate::shim::records;
use crate::spark_home::SparkHome;

/// The first major version of Spark that reads spark-defaults.conf beside a file of ours
/// (`--load-spark-defaults`).
const FIRST_WITH_DEFAULTS: u32 = 4;

/// Where the settings of an attempt are, while it runs.
pub(super) fn file(dir: &AttemptDir) -> PathBuf {
    dir.path().join("spark.properties")
}

/// Writes the settings and answers the options that make spark-submit use them.
///
/// What a file can't carry stays on the command line: every setting for a Spark that would forget its defaults
/// over the file, and values with blanks at their ends, which Spark cuts off.
pub(super) fn write(
    spark: &SparkHome,
    dir: &AttemptDir,
    conf: BTreeMap<String, String>,
) -> io::Result<Vec<String>> {
    let major = spark.version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    let has_flag = major.is_some_and(|major| major >= FIRST_WITH_DEFAULTS);
    let (filed, spoken): (BTreeMap<_, _>, BTreeMap<_, _>) =
        conf.into_iter().partition(|(_, value)| has_flag && value.trim_matches(is_cut) == value);
    let mut options = Vec::new();
    if !filed.is_empty() {
        let path = file(dir);
        records::write_private(&path, properties(&filed).as_bytes())?;
        let path = path.to_string_lossy().into_owned();
        options.extend(["--properties-file".to_owned(), path, "--load-spark-defaults".to_owned()]);
    }
    for (key, value) in spoken {
        options.extend(["--conf".to_owned(), format!("{key}={value}")]);
    }
    Ok(options)
}

/// What Spark cuts off the ends of a value that it reads from a file.
fn is_cut(c: char) -> bool {
    c <= ' ' && c != '\r' && c != '\n'
}

/// The text of a Java properties file (`java.util.Properties.load`).
fn properties(conf: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    for (key, value) in conf {
        escape(&mut text, key);
        text.push('=');
        escape(&mut text, value);
        text.push('\n');
    }
    text
}

fn escape(text: &mut String, part: &str) {
    for c in part.chars() {
        match c {
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            // Blanks need it in keys and at the beginning of values; it does no harm elsewhere.
            '\\' | ' ' | '=' | ':' | '#' | '!' => text.extend(['\\', c]),
            '!'..='~' => text.push(c),
            // The format counts in UTF-16, so a character beyond its first plane is two escapes.
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a String can't fail.
                    let _ = write!(text, "\\u{unit:04X}");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn java_reads_back_what_was_written() {
        let conf = [("spark.a b", " x=1:#!\\\n\t"), ("spark.ü", "é\u{1F600}\u{7}z")];
        let conf = conf.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        let expected = [r"spark.a\ b=\ x\=1\:\#\!\\\n\t", r"spark.\u00FC=\u00E9\uD83D\uDE00\u0007z"];
        assert_eq!(properties(&conf), format!("{}\n", expected.join("\n")));
    }
}
