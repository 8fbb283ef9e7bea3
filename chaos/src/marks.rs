//! What the jobs themselves left behind.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

/// What one attempt of a job left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ran {
    /// The attempt's token.
    pub(crate) token: String,
    /// When it started; more than one when it was started more than once.
    pub(crate) starts: Vec<i64>,
    /// When it ended, and with which code it meant to exit.
    pub(crate) end: Option<(i64, i32)>,
}

impl Ran {
    /// Its last sign of life.
    pub(crate) fn last(&self) -> i64 {
        let end = self.end.map(|(at, _)| at);
        self.starts.iter().copied().chain(end).max().unwrap_or_default()
    }

    /// Its first sign of life.
    pub(crate) fn first(&self) -> i64 {
        self.starts.iter().copied().min().unwrap_or(i64::MAX)
    }
}

/// All that ran: by the job's name, in the order of the first starts.
pub(crate) type Marks = BTreeMap<String, Vec<Ran>>;

/// Reads the file of marks. An absent one is empty.
pub(crate) fn read(path: &Path) -> io::Result<Marks> {
    match fs::read_to_string(path) {
        Ok(text) => parse(&text),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Marks::new()),
        Err(e) => Err(e),
    }
}

fn parse(text: &str) -> io::Result<Marks> {
    let mut marks = Marks::new();
    for line in text.lines() {
        let wrong = || io::Error::other(format!("not a mark: {line:?}"));
        let words: Vec<&str> = line.split(' ').collect();
        let (name, token, at, what) = match words.as_slice() {
            [name, token, _pid, at, what @ ..] => (name, token, at.parse().map_err(|_| wrong())?, what),
            _ => return Err(wrong()),
        };
        let attempts = marks.entry((*name).to_owned()).or_default();
        let place = attempts.iter().position(|ran| ran.token == *token).unwrap_or_else(|| {
            attempts.push(Ran { token: (*token).to_owned(), ..Ran::default() });
            attempts.len() - 1
        });
        match what {
            ["start"] => attempts[place].starts.push(at),
            ["end", code] => attempts[place].end = Some((at, code.parse().map_err(|_| wrong())?)),
            _ => return Err(wrong()),
        }
    }
    for attempts in marks.values_mut() {
        attempts.sort_by_key(Ran::first);
    }
    Ok(marks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_told_apart_by_token() {
        let marks =
            parse("a t1 10 100 start\nb t2 11 101 start\na t1 10 200 end 7\na t3 12 300 start\n").unwrap();
        let a = &marks["a"];
        assert_eq!(a[0], Ran { token: "t1".into(), starts: vec![100], end: Some((200, 7)) });
        assert_eq!((a[1].token.as_str(), a[1].end, a[1].last()), ("t3", None, 300));
        assert_eq!(marks["b"].len(), 1);
        assert!(parse("a t1 10 start").is_err() && parse("a t1 10 100 middle").is_err());
    }
}
