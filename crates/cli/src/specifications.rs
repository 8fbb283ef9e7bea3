//! Reading specifications of deployments: from files, directories and standard input, several in one YAML text.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use libra_api::client::Notation;
use serde::de::IgnoredAny;

use crate::failure::Failure;
use crate::output;

/// What stands for standard input.
pub(crate) const STDIN: &str = "-";
/// The largest text that is read: what the service takes at once. Bytes.
const MOST_BYTES: u64 = 8 * 1024 * 1024;
/// The names of files that are taken from a directory end so.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// One specification, as it was written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Specification {
    /// Where it is from, for messages.
    pub(crate) place: String,
    /// How it is written.
    pub(crate) notation: Notation,
    text: String,
    /// Lines of the file before it.
    above: usize,
}

impl Specification {
    /// The text to send. Empty lines stand for those above it, so that a line number is that of the file.
    pub(crate) fn body(&self) -> String {
        "\n".repeat(self.above) + &self.text
    }
}

/// Everything that `sources` hold, in their order.
///
/// # Errors
/// When one can't be read, or there is no specification at all.
pub(crate) fn read(sources: &[String], mut stdin: impl Read) -> Result<Vec<Specification>, Failure> {
    if sources.iter().filter(|source| *source == STDIN).count() > 1 {
        return Err(Failure::usage("standard input can be read only once"));
    }
    let mut found = Vec::new();
    for source in sources {
        if source == STDIN {
            found.extend(specifications("standard input", None, text("standard input", &mut stdin)?));
            continue;
        }
        for path in paths(Path::new(source))? {
            let name = path.display().to_string();
            let file = File::open(&path).map_err(|e| unreadable(&name, &e))?;
            found.extend(specifications(&name, Some(&path), text(&name, file)?));
        }
    }
    if found.is_empty() {
        let places = sources.iter().map(|s| if s == STDIN { "standard input" } else { s });
        let places: Vec<String> = places.map(output::one_line).collect();
        return Err(Failure::usage(format!("there is no specification in {}", places.join(", "))));
    }
    Ok(found)
}

fn unreadable(place: &str, why: &dyn std::fmt::Display) -> Failure {
    Failure::usage(format!("{} can't be read: {why}", output::one_line(place)))
}

/// The file itself; of a directory those with a known ending, by name. Hidden ones are not meant.
fn paths(source: &Path) -> Result<Vec<PathBuf>, Failure> {
    let name = source.display().to_string();
    let about = |e: std::io::Error| unreadable(&name, &e);
    if !fs::metadata(source).map_err(about)?.is_dir() {
        return Ok(vec![source.to_owned()]);
    }
    let mut paths = Vec::new();
    for entry in fs::read_dir(source).map_err(about)? {
        let entry = entry.map_err(about)?;
        let (path, hidden) = (entry.path(), entry.file_name().to_string_lossy().starts_with('.'));
        if !hidden && ending(&path).is_some_and(|e| ENDINGS.contains(&e.as_str())) && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn ending(path: &Path) -> Option<String> {
    Some(path.extension()?.to_str()?.to_ascii_lowercase())
}

fn text(place: &str, source: impl Read) -> Result<String, Failure> {
    let mut text = String::new();
    source.take(MOST_BYTES + 1).read_to_string(&mut text).map_err(|e| unreadable(place, &e))?;
    if text.len() as u64 > MOST_BYTES {
        return Err(unreadable(place, &format!("it is larger than {MOST_BYTES} bytes")));
    }
    Ok(text)
}

/// The specifications of one text.
fn specifications(place: &str, path: Option<&Path>, text: String) -> Vec<Specification> {
    let is_json = match path.and_then(ending).as_deref() {
        Some("json") => true,
        Some("yaml" | "yml") => false,
        Some(_) | None => serde_json::from_str::<IgnoredAny>(&text).is_ok(),
    };
    if is_json {
        return vec![Specification { place: place.to_owned(), notation: Notation::Json, text, above: 0 }];
    }
    let documents = documents(&text);
    let several = documents.len() > 1;
    let one = |(index, (above, text)): (usize, (usize, String))| {
        let place = if several { format!("{place} (document {})", index + 1) } else { place.to_owned() };
        Specification { place, notation: Notation::Yaml, text, above }
    };
    documents.into_iter().enumerate().map(one).collect()
}

/// The documents of a YAML text that hold something, each with the number of lines above it.
fn documents(text: &str) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = vec![(0, String::new())];
    // Editors of some systems put a mark at the beginning.
    for (number, line) in text.trim_start_matches('\u{feff}').split_inclusive('\n').enumerate() {
        match marker(line) {
            // What stands behind it on its line belongs to the document.
            Some(Marker::Begin) => found.push((number, line.to_owned())),
            Some(Marker::End) => found.push((number + 1, String::new())),
            None => {
                if let Some((_, document)) = found.last_mut() {
                    document.push_str(line);
                }
            }
        }
    }
    found.retain(|(_, document)| document.lines().any(says_something));
    found
}

enum Marker {
    Begin,
    End,
}

/// Markers stand at the beginning of a line, alone or before a space; YAML has them nowhere inside a value.
fn marker(line: &str) -> Option<Marker> {
    let (mark, rest) = line.split_at_checked(3)?;
    match mark {
        "---" if rest.is_empty() || rest.starts_with(char::is_whitespace) => Some(Marker::Begin),
        "..." if rest.trim().is_empty() => Some(Marker::End),
        _ => None,
    }
}

/// False for empty lines, comments, markers and directives.
fn says_something(line: &str) -> bool {
    let said = if marker(line).is_some() { &line[3..] } else { line };
    !line.starts_with('%') && !said.trim_start().starts_with('#') && !said.trim().is_empty()
}

#[cfg(test)]
#[path = "specifications_tests.rs"]
mod tests;
