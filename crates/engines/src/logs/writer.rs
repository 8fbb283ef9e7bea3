//! Writing a stream: never fails and never waits. What can't be kept is counted, and the log says how much it was.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{LogLimits, Stream, archive, segments};
use crate::attempt_dir::AttemptDir;
use crate::shim::records::PRIVATE;

/// How much of what is left out is held in memory: the end of a log says most, in bytes.
const HELD: usize = 64 * 1024;
/// The pause between two tries on a disk that refused.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// How often the last words are tried on a full disk before the end is told without them.
const LAST_TRIES: u32 = 10;
/// A log that was never rotated is compressed from this size on, in bytes.
const WORTH_PACKING: u64 = 1024 * 1024;

/// Why bytes are left out at present.
#[derive(Debug)]
enum Obstacle {
    /// The attempt's log is as long as it may be.
    Limit,
    /// The disk refused, for this reason, at that moment.
    Disk(String, Instant),
}

/// Bytes that were not written.
#[derive(Debug)]
struct Loss {
    obstacle: Obstacle,
    /// Gone for good.
    gone: u64,
    /// The last of them, which may still be written.
    held: Vec<u8>,
}

/// Writes one stream of an attempt, from its beginning.
#[derive(Debug)]
pub(crate) struct LogWriter {
    dir: PathBuf,
    stream: Stream,
    limits: LogLimits,
    /// What both streams may still write, in bytes.
    room: Arc<AtomicU64>,
    pub(super) file: Option<File>,
    start: u64,
    length: u64,
    in_line: bool,
    loss: Option<Loss>,
}

impl LogWriter {
    /// Writers of both streams, which share the room of one attempt.
    pub(crate) fn pair(dir: &AttemptDir, limits: LogLimits) -> [Self; 2] {
        let room = Arc::new(AtomicU64::new(limits.max_bytes));
        // A segment that is too long could not be compressed.
        let limits = LogLimits { rotate_bytes: limits.rotate_bytes.clamp(1, archive::MAX_SEGMENT), ..limits };
        Stream::ALL.map(|stream| {
            let mut writer = Self {
                dir: dir.path().to_owned(),
                stream,
                limits,
                room: Arc::clone(&room),
                file: None,
                start: 0,
                length: 0,
                in_line: false,
                loss: None,
            };
            // Readers take an absent log for an empty one, so a failure here is no loss.
            writer.file = writer.open().ok();
            writer
        })
    }

    /// Takes bytes, whatever becomes of them.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        if !self.settle() {
            self.hold(bytes);
            return;
        }
        let mut granted = 0;
        // The closure always gives a value, so this can't fail.
        let _ = self.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |room| {
            granted = room.min(bytes.len() as u64);
            Some(room - granted)
        });
        let (within, beyond) = bytes.split_at(usize::try_from(granted).unwrap_or(bytes.len()));
        match self.append(within) {
            (_, None) if beyond.is_empty() => {}
            (_, None) => {
                self.mark("this log has reached its limit (libra.logs.max-size): what follows is left out, but for its end");
                self.loss = Some(Loss { obstacle: Obstacle::Limit, gone: 0, held: Vec::new() });
                self.hold(beyond);
            }
            (written, Some(error)) => {
                self.room.fetch_add(granted - written as u64, Ordering::Relaxed);
                self.refused(&error);
                self.hold(&bytes[written..]);
            }
        }
    }

    /// True while something waits for room on the disk.
    pub(crate) fn waits(&self) -> bool {
        self.loss.as_ref().is_some_and(|loss| match loss.obstacle {
            Obstacle::Limit => false,
            Obstacle::Disk(..) => true,
        })
    }

    /// Tries to write what was held back. True when bytes can go out again.
    pub(crate) fn settle(&mut self) -> bool {
        match self.loss.as_ref().map(|loss| &loss.obstacle) {
            None => true,
            Some(Obstacle::Limit) => false,
            Some(Obstacle::Disk(_, tried)) => tried.elapsed() >= TRY_AGAIN && self.release(),
        }
    }

    /// Says the last words: what was left out, and the end of it.
    pub(crate) fn finish(mut self) {
        for left in (0..LAST_TRIES).rev() {
            if self.loss.is_none() || self.release() || !self.dir.exists() {
                return;
            }
            if left > 0 {
                std::thread::sleep(TRY_AGAIN);
            }
        }
    }

    /// Marks the loss and writes its end. False when the disk refuses again.
    fn release(&mut self) -> bool {
        let Some(Loss { obstacle, mut gone, mut held }) = self.loss.take() else { return true };
        let why = match &obstacle {
            Obstacle::Limit => "the log had reached its limit (libra.logs.max-size)".to_owned(),
            Obstacle::Disk(error, _) => format!("the log could not be written: {error}"),
        };
        // The end begins with a whole line, if there is one.
        if gone > 0
            && let Some(at) = held.iter().position(|byte| *byte == b'\n').filter(|at| at + 1 < held.len())
        {
            held.drain(..=at);
            gone += at as u64 + 1;
        }
        if gone > 0 && !self.mark(&format!("{gone} bytes are left out here: {why}")) {
            let obstacle = match obstacle {
                Obstacle::Limit => Obstacle::Limit,
                Obstacle::Disk(error, _) => Obstacle::Disk(error, Instant::now()),
            };
            self.loss = Some(Loss { obstacle, gone, held });
            return false;
        }
        let (written, error) = self.append(&held);
        if let Some(error) = error {
            self.refused(&error);
            self.hold(&held[written..]);
            return false;
        }
        true
    }

    fn refused(&mut self, error: &io::Error) {
        let obstacle = Obstacle::Disk(error.to_string(), Instant::now());
        self.loss = Some(Loss { obstacle, gone: 0, held: Vec::new() });
    }

    fn hold(&mut self, bytes: &[u8]) {
        let Some(loss) = &mut self.loss else { return };
        let kept = &bytes[bytes.len().saturating_sub(HELD)..];
        let too_many = (loss.held.len() + kept.len()).saturating_sub(HELD);
        loss.held.drain(..too_many);
        loss.held.extend_from_slice(kept);
        loss.gone += (bytes.len() - kept.len() + too_many) as u64;
    }

    /// Writes a line of Libra's own, whole or not at all. It may make a segment a little longer than the others.
    fn mark(&mut self, words: &str) -> bool {
        let line = format!("{}[libra: {words}]\n", if self.in_line { "\n" } else { "" });
        let before = self.length;
        let Ok(file) = self.segment() else { return false };
        if file.write_all(line.as_bytes()).is_err() {
            // Half a line would be taken for the job's own words.
            let _ = file.set_len(before);
            self.file = None;
            return false;
        }
        self.length += line.len() as u64;
        self.in_line = false;
        true
    }

    /// Appends as many bytes as the disk takes; says how many, and what it said to the rest.
    fn append(&mut self, bytes: &[u8]) -> (usize, Option<io::Error>) {
        let mut written = 0;
        while written < bytes.len() {
            if self.length >= self.limits.rotate_bytes {
                self.start += self.length;
                self.length = 0;
                self.file = None;
            }
            let left = self.limits.rotate_bytes - self.length;
            let end = usize::try_from(left).map_or(bytes.len(), |left| bytes.len().min(written + left));
            let taken = self.segment().and_then(|file| file.write(&bytes[written..end]));
            match taken {
                Ok(0) => return (written, Some(io::ErrorKind::WriteZero.into())),
                Ok(count) => {
                    written += count;
                    self.length += count as u64;
                    self.in_line = bytes[written - 1] != b'\n';
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    // Opened anew next time: a directory that was away for a while is found again.
                    self.file = None;
                    return (written, Some(e));
                }
            }
        }
        (written, None)
    }

    fn segment(&mut self) -> io::Result<&mut File> {
        let file = match self.file.take() {
            Some(file) => file,
            None => self.open()?,
        };
        Ok(self.file.insert(file))
    }

    fn open(&self) -> io::Result<File> {
        let path = segments::plain(&self.dir, self.stream, self.start);
        OpenOptions::new().append(true).create(true).mode(PRIVATE).open(path)
    }
}

/// Compresses what is worth it, after the end. Ends early when `stop` says so; what is left stays as it is.
///
/// # Errors
/// When the file system refuses: the plain files are still there.
pub(crate) fn pack(dir: &AttemptDir, stop: &dyn Fn() -> bool) -> io::Result<()> {
    for stream in Stream::ALL {
        let found = segments::list(dir.path(), stream)?;
        let rotated = found.len() > 1;
        for segment in found.iter().filter(|s| s.packed.is_none()) {
            let length = std::fs::metadata(&segment.path)?.len();
            if length == 0 || (!rotated && length < WORTH_PACKING) {
                continue;
            }
            let target = segments::packed(dir.path(), stream, segment.start, length);
            if !archive::write(&segment.path, &target, stop)? {
                return Ok(());
            }
            std::fs::remove_file(&segment.path)?;
        }
    }
    Ok(())
}
