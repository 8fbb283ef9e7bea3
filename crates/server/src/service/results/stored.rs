//! The files of a result.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use libra_engines::attempt_dir::{AttemptDir, ResultMeta};
use serde_json::{Value, json};

/// Bytes of rows on one page, at most (one row is always given).
const MAX_PAGE_BYTES: u64 = 16 * 1024 * 1024;

/// Rows and where the next ones begin (bytes), if there are more.
#[derive(Default)]
pub(super) struct Page {
    pub(super) rows: Vec<Value>,
    pub(super) next: Option<u64>,
}

/// Schema and figures; a job that wrote no rows has an empty schema.
pub(super) fn meta(dir: &Path) -> io::Result<ResultMeta> {
    match std::fs::read(AttemptDir::new(dir).result_file()) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            Ok(ResultMeta { schema: json!({"type": "struct", "fields": []}), rows: 0, truncated: false })
        }
        Err(e) => Err(e),
    }
}

/// Lines of the rows file, one row each.
pub(super) struct Lines {
    file: Option<BufReader<File>>,
    at: u64,
    end: u64,
    line: Vec<u8>,
}

impl Lines {
    /// No rows.
    pub(super) fn none() -> Self {
        Self { file: None, at: 0, end: 0, line: Vec::new() }
    }

    /// The rows from the place `from` on; none when no row begins there.
    pub(super) fn open(dir: &Path, from: u64) -> io::Result<Self> {
        let mut file = File::open(AttemptDir::new(dir).rows_file())?;
        let end = file.metadata()?.len();
        if from >= end {
            return Ok(Self::none());
        }
        if from > 0 {
            // A place that no page ended at was not given out by this result.
            let mut before = [0];
            file.seek(SeekFrom::Start(from - 1))?;
            file.read_exact(&mut before)?;
            if before != *b"\n" {
                return Ok(Self::none());
            }
        }
        file.seek(SeekFrom::Start(from))?;
        Ok(Self { file: Some(BufReader::new(file)), at: from, end, line: Vec::new() })
    }

    /// The place in the file, bytes.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// The next row; None at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Value>> {
        let Some(file) = self.file.as_mut().filter(|_| self.at < self.end) else { return Ok(None) };
        self.line.clear();
        let read = file.read_until(b'\n', &mut self.line)?;
        if read == 0 {
            return Ok(None);
        }
        self.at += read as u64;
        Ok(Some(serde_json::from_slice(&self.line)?))
    }

    /// Ends after `count` more rows; answers where the ones after them begin, if there are any.
    pub(super) fn end_after(&mut self, count: u64) -> io::Result<Option<u64>> {
        let Some(file) = self.file.as_mut() else { return Ok(None) };
        let (begin, whole) = (self.at, self.end);
        let mut at = begin;
        for _ in 0..count {
            let skipped = file.skip_until(b'\n')? as u64;
            if skipped == 0 {
                break;
            }
            at += skipped;
        }
        file.seek(SeekFrom::Start(begin))?;
        self.end = at;
        Ok(Some(at).filter(|at| *at < whole))
    }
}

/// A page of rows.
pub(super) fn page(dir: &Path, from: u64, limit: u32) -> io::Result<Page> {
    let mut lines = Lines::open(dir, from)?;
    let mut rows = Vec::new();
    while rows.len() < limit as usize && lines.at.saturating_sub(from) < MAX_PAGE_BYTES {
        let Some(row) = lines.next()? else { break };
        rows.push(row);
    }
    Ok(Page { rows, next: Some(lines.at).filter(|at| *at < lines.end) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let text = "{\"n\":0}\n{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n{\"n\":4}\n";
        std::fs::write(AttemptDir::new(dir.path()).rows_file(), text).unwrap();
        let mut seen = Vec::new();
        let mut from = 0;
        loop {
            let mut lines = Lines::open(dir.path(), from).unwrap();
            let end = lines.end_after(2).unwrap();
            let page = page(dir.path(), from, 2).unwrap();
            assert_eq!(end, page.next);
            for row in &page.rows {
                assert_eq!(lines.next().unwrap().as_ref(), Some(row));
            }
            assert_eq!(lines.next().unwrap(), None);
            seen.extend(page.rows.iter().map(|r| r["n"].as_u64().unwrap()));
            match page.next {
                Some(next) => from = next,
                None => break,
            }
        }
        assert_eq!(seen, [0, 1, 2, 3, 4]);
        assert!(page(dir.path(), 1_000, 2).unwrap().rows.is_empty(), "a cursor beyond the end");
        assert!(page(dir.path(), 3, 2).unwrap().rows.is_empty(), "a cursor within a row");
    }
}
