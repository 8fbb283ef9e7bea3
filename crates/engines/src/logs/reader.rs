//! Reading a stream by offset, whether it is still written or was compressed long ago.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;

use super::archive::Archive;
use super::{Stream, segments};
use crate::attempt_dir::AttemptDir;

/// How much is read at once while lines are counted from the end, in bytes.
const STEP: u64 = 64 * 1024;

/// Reads one stream of an attempt. Keeps the segment open that was read last: reading on costs no search.
#[derive(Debug)]
pub struct LogReader {
    dir: PathBuf,
    stream: Stream,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    start: u64,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Plain(File),
    Packed(Archive, u64),
}

impl Open {
    fn of(segment: &segments::Segment) -> io::Result<Self> {
        let body = match segment.packed {
            None => Body::Plain(File::open(&segment.path)?),
            Some(length) => Body::Packed(Archive::open(&segment.path, length)?, length),
        };
        Ok(Self { start: segment.start, body })
    }

    fn read(&mut self, offset: u64, limit: usize, out: &mut Vec<u8>) -> io::Result<usize> {
        let at = offset - self.start;
        match &mut self.body {
            Body::Plain(file) => {
                let before = out.len();
                // No more room than there are bytes: a reader may ask for far more than the log holds.
                let size = file.metadata()?.len().saturating_sub(at);
                let room = usize::try_from(size).unwrap_or(limit).min(limit);
                out.resize(before + room, 0);
                let mut filled = before;
                while filled < out.len() {
                    let place = at + (filled - before) as u64;
                    match file.read_at(&mut out[filled..], place) {
                        Ok(0) => break,
                        Ok(count) => filled += count,
                        Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                        Err(e) => return Err(e),
                    }
                }
                out.truncate(filled);
                Ok(filled - before)
            }
            Body::Packed(archive, _) => archive.read(at, limit, out),
        }
    }
}

impl LogReader {
    /// A reader of one stream of the attempt in `dir`.
    pub fn new(dir: &AttemptDir, stream: Stream) -> Self {
        Self { dir: dir.path().to_owned(), stream, open: None }
    }

    /// At most `limit` bytes from `offset`; none where the log has no more so far.
    ///
    /// # Errors
    /// When the files can't be read.
    pub fn read(&mut self, offset: u64, limit: usize) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        while out.len() < limit {
            let at = offset + out.len() as u64;
            let wanted = limit - out.len();
            let read = match &mut self.open {
                Some(open) if open.start <= at => open.read(at, wanted, &mut out)?,
                Some(_) | None => 0,
            };
            if read == 0 && !self.move_on(at)? {
                break;
            }
        }
        Ok(out)
    }

    /// Opens the segment that holds the byte at `offset`. False when there is none, or it is open already.
    fn move_on(&mut self, offset: u64) -> io::Result<bool> {
        if let Some(Open { start, body: Body::Plain(file) }) = &self.open
            && *start <= offset
        {
            let about = file.metadata()?;
            // The end of the log so far: the one question of a reader that waits, so it costs no search.
            let at_end = offset >= start + about.len() && about.nlink() > 0;
            if at_end && !segments::plain(&self.dir, self.stream, offset).exists() {
                return Ok(false);
            }
        }
        for _ in 0..3 {
            let found = segments::list(&self.dir, self.stream)?;
            let Some(segment) = found.iter().rev().find(|s| s.start <= offset) else { return Ok(false) };
            match Open::of(segment) {
                Ok(open) => {
                    let holds = match &open.body {
                        Body::Plain(file) => file.metadata()?.len(),
                        Body::Packed(_, length) => *length,
                    };
                    let more = offset < open.start + holds;
                    self.open = Some(open);
                    return Ok(more);
                }
                // Compressed a moment ago: the next look finds the other file.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        Err(io::Error::new(io::ErrorKind::NotFound, "the log's segments change their names too often"))
    }

    /// Bytes in all, so far.
    ///
    /// # Errors
    /// When the files can't be looked at.
    pub fn total(&self) -> io::Result<u64> {
        for _ in 0..3 {
            let found = segments::list(&self.dir, self.stream)?;
            let Some(last) = found.last() else { return Ok(0) };
            let length = match last.packed {
                Some(length) => length,
                None => match std::fs::metadata(&last.path) {
                    Ok(about) => about.len(),
                    Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                    Err(e) => return Err(e),
                },
            };
            return Ok(last.start + length);
        }
        Err(io::Error::new(io::ErrorKind::NotFound, "the log's segments change their names too often"))
    }

    /// The last `limit` bytes, or all there are.
    ///
    /// # Errors
    /// When the files can't be read.
    pub fn tail(&mut self, limit: usize) -> io::Result<Vec<u8>> {
        let total = self.total()?;
        self.read(total.saturating_sub(limit as u64), limit)
    }

    /// Where the last `lines` lines begin, looking back over at most `within` bytes.
    ///
    /// # Errors
    /// When the files can't be read.
    pub fn last_lines(&mut self, lines: u32, within: u64) -> io::Result<u64> {
        let total = self.total()?;
        let least = total.saturating_sub(within);
        let (mut from, mut seen) = (total, 0);
        while from > least {
            let to = from;
            from = to.saturating_sub(STEP).max(least);
            let piece = self.read(from, usize::try_from(to - from).map_err(io::Error::other)?)?;
            for (at, _) in piece.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
                let after = from + at as u64 + 1;
                // The line end at the very end closes the last line and begins none.
                if after == total {
                    continue;
                }
                seen += 1;
                if seen == lines {
                    return Ok(after);
                }
            }
        }
        Ok(least)
    }
}
