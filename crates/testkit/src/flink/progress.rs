//! What the counting job (`libra.jobs.Counter`) tells of itself.

use std::fs;
use std::path::Path;

/// What a line tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The first record of a start of the operator.
    First,
    /// It is here now.
    At,
    /// The last record before it was closed; none when its process was killed.
    Last,
    /// Its state is not that of all records before: something was lost, or counted twice.
    Broken,
}

/// A line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What it tells.
    pub mark: Mark,
    /// The record: they are 0, 1, 2, …
    pub value: u64,
    /// The job's id.
    pub job: String,
}

/// The lines so far; none when the file is not there yet.
pub fn progress(path: &Path) -> Vec<Line> {
    let text = fs::read_to_string(path).unwrap_or_default();
    // The last line may be half written.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| read(line).unwrap_or_else(|| panic!("no line of a counter: {line}"))).collect()
}

fn read(line: &str) -> Option<Line> {
    let mut words = line.split(' ');
    let mark = match words.next()? {
        "FIRST" => Mark::First,
        "AT" => Mark::At,
        "LAST" => Mark::Last,
        "BROKEN" => Mark::Broken,
        _ => return None,
    };
    Some(Line { mark, value: words.next()?.parse().ok()?, job: words.next()?.to_owned() })
}

/// Panics unless the counter has counted, and its state has always been that of all records before. Records after the
/// last checkpoint may have been counted again after a failure, in a state that went back as well.
#[track_caller]
pub fn assert_unbroken(path: &Path) -> Vec<Line> {
    let lines = progress(path);
    assert!(!lines.is_empty(), "the counter has not begun");
    let broken: Vec<_> = lines.iter().filter(|line| line.mark == Mark::Broken).collect();
    assert!(broken.is_empty(), "state is lost, or counted twice: {broken:?}");
    lines
}

/// Panics unless it is unbroken and each start, but for the first, began with the record that follows the last one of
/// the start before: nothing lost, nothing twice, never two at once. For an operator of parallelism 1.
#[track_caller]
pub fn assert_nothing_twice(path: &Path) -> Vec<Line> {
    let lines = assert_unbroken(path);
    let ends: Vec<_> = lines.iter().filter(|line| matches!(line.mark, Mark::First | Mark::Last)).collect();
    for (at, end) in ends.iter().enumerate() {
        let wanted = if at % 2 == 0 { Mark::First } else { Mark::Last };
        assert_eq!(end.mark, wanted, "two at once, or one was killed: {ends:#?}");
        if at > 0 && wanted == Mark::First {
            assert_eq!(end.value, ends[at - 1].value + 1, "it did not go on where it was: {ends:#?}");
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn what_goes_on_where_it_was_is_told_from_what_does_not() {
        let good = written("FIRST 0 a\nAT 9 a\nLAST 11 a\nFIRST 12 b\nAT 1");
        assert_eq!(assert_nothing_twice(good.path()).len(), 4);
        for bad in [
            "FIRST 0 a\nLAST 11 a\nFIRST 11 b\n",
            "FIRST 0 a\nLAST 11 a\nFIRST 13 b\n",
            "FIRST 0 a\nFIRST 0 b\n",
            "FIRST 0 a\nBROKEN 4 a count 1\n",
            "",
        ] {
            let file = written(bad);
            assert!(std::panic::catch_unwind(|| assert_nothing_twice(file.path())).is_err(), "{bad}");
        }
        assert_eq!(assert_unbroken(written("FIRST 0 a\nLAST 11 a\nFIRST 8 a\n").path()).len(), 3);
    }
}
