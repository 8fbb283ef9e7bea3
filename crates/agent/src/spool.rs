//! What is to be sent, until it was taken: on the disk where a directory is given, else in memory.
//!
//! A batch is a line of JSON, appended to a file before it is sent, so that neither an absent server nor a `kill -9` of the
//! agent loses it. What was taken is noted in `taken`; killed between the two, the agent sends a batch twice, which is as
//! good as once. No line is appended to a file of an earlier life: a torn one can only be the last of its file.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::ops::Add;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;

/// A file is closed when it is this long, or a sixteenth of the spool: the oldest file is what is dropped at once.
const FILE_BYTES: u64 = 1 << 20;
/// Files that a full spool has, at least.
const FILES: u64 = 16;
/// Without a directory so much is kept, in bytes.
pub const MEMORY_BYTES: u64 = 2 << 20;
/// What a file of lines ends in.
const EXTENSION: &str = "jsonl";
/// The file that says what was taken.
const TAKEN: &str = "taken";
/// The file that is locked while an agent uses the spool.
const LOCK: &str = "lock";

/// Why there is no spool.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The directory can't be used.
    #[error("the spool {0} can't be used: {1}")]
    Unusable(PathBuf, io::Error),
    /// Another agent uses it.
    #[error("the spool {0} is used by another agent: give each its own directory")]
    Taken(PathBuf),
}

/// A batch that is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// As JSON.
    pub text: String,
    /// Its samples.
    pub samples: u64,
    place: Place,
}

/// Where a batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In this file, and the next one begins at this byte.
    Disk { file: u64, next: u64 },
    /// In memory, under this number.
    Memory(u64),
}

/// What was lost on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Samples that were dropped because the spool was full.
    pub dropped: u64,
    /// Lines that could not be read: torn by a `kill -9`, or damaged.
    pub torn: u64,
}

impl Add for Lost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { dropped: self.dropped + other.dropped, torn: self.torn + other.torn }
    }
}

/// The spool.
#[derive(Debug)]
pub struct Spool {
    disk: Option<Disk>,
    memory: Memory,
    lost: Lost,
}

impl Spool {
    /// One in `dir`, which is made, with what an earlier life has left there.
    ///
    /// # Errors
    /// When the directory can't be used, or another agent uses it.
    pub fn open(dir: &Path, most_bytes: u64) -> Result<Self, SpoolError> {
        let disk = Disk::open(dir, most_bytes)?;
        Ok(Self { disk: Some(disk), memory: Memory::default(), lost: Lost::default() })
    }

    /// One that ends with the agent.
    pub fn in_memory() -> Self {
        Self { disk: None, memory: Memory::default(), lost: Lost::default() }
    }

    /// Keeps a batch; what is oldest is dropped where there is no room. On a disk that takes nothing, it is kept in memory.
    ///
    /// # Errors
    /// Why the disk did not take it.
    pub fn put(&mut self, text: String, samples: u64) -> io::Result<()> {
        let Some(disk) = &mut self.disk else {
            self.lost.dropped += self.memory.put(text, samples);
            return Ok(());
        };
        let written = disk.append(&text);
        let dropped = disk.make_room();
        self.lost.dropped += dropped;
        if written.is_err() {
            self.lost.dropped += self.memory.put(text, samples);
        }
        written
    }

    /// The oldest batch that was not taken yet.
    pub fn oldest(&mut self) -> Option<Batch> {
        let on_disk = self.disk.as_mut().and_then(|disk| disk.oldest(&mut self.lost));
        on_disk.or_else(|| self.memory.oldest())
    }

    /// The oldest batch on the disk, and the oldest of those that the disk did not take.
    pub(crate) fn heads(&mut self) -> Vec<Batch> {
        let on_disk = self.disk.as_mut().and_then(|disk| disk.oldest(&mut self.lost));
        on_disk.into_iter().chain(self.memory.oldest()).collect()
    }

    /// Nobody can read that batch: it is gone, and counted.
    pub(crate) fn torn(&mut self, batch: &Batch) {
        self.lost.torn += 1;
        self.done(batch);
    }

    /// That batch was taken, or will never be. One that was dropped meanwhile is no longer there.
    pub fn done(&mut self, batch: &Batch) {
        match (batch.place, &mut self.disk) {
            (Place::Disk { file, next }, Some(disk)) => disk.done(file, next),
            (Place::Disk { .. }, None) => {}
            (Place::Memory(number), _) => self.memory.done(number),
        }
    }

    /// What is kept, in bytes.
    pub fn bytes(&self) -> u64 {
        self.memory.bytes + self.disk.as_ref().map_or(0, Disk::bytes)
    }

    /// What was lost so far.
    pub fn lost(&self) -> Lost {
        self.lost
    }
}

/// One file of lines.
#[derive(Debug)]
struct Lines {
    number: u64,
    bytes: u64,
    /// Where the first line begins that was not taken.
    taken: u64,
}

#[derive(Debug)]
struct Disk {
    dir: PathBuf,
    most_bytes: u64,
    /// The oldest first.
    files: VecDeque<Lines>,
    /// The last of them, while it is written.
    open: Option<File>,
    next: u64,
    /// Held as long as the spool is used.
    _lock: File,
}

impl Disk {
    fn open(dir: &Path, most_bytes: u64) -> Result<Self, SpoolError> {
        let unusable = |e: io::Error| SpoolError::Unusable(dir.to_owned(), e);
        fs::create_dir_all(dir).map_err(unusable)?;
        let lock = private().create(true).truncate(false).open(dir.join(LOCK)).map_err(unusable)?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| SpoolError::Taken(dir.to_owned()))?;
        let mut files = Vec::new();
        for entry in fs::read_dir(dir).map_err(unusable)? {
            let path = entry.map_err(unusable)?.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            let is_lines = path.extension().is_some_and(|extension| extension == EXTENSION);
            if let (true, Ok(number)) = (is_lines, stem.parse()) {
                let bytes = fs::metadata(&path).map_err(unusable)?.len();
                files.push(Lines { number, bytes, taken: 0 });
            }
        }
        files.sort_unstable_by_key(|file| file.number);
        let (number, taken) = read_taken(&dir.join(TAKEN)).unwrap_or_default();
        if let Some(file) = files.iter_mut().find(|file| file.number == number) {
            file.taken = taken.min(file.bytes);
        }
        // What was noted for a file that is gone must not hold for a new one.
        let next = files.last().map_or(0, |file| file.number).max(number) + 1;
        Ok(Self { dir: dir.to_owned(), most_bytes, files: files.into(), open: None, next, _lock: lock })
    }

    fn path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number:020}.{EXTENSION}"))
    }

    fn append(&mut self, text: &str) -> io::Result<()> {
        let full = self.files.back().is_some_and(|file| file.bytes >= self.file_bytes());
        if self.open.is_none() || full {
            let open = private().create_new(true).append(true).open(self.path(self.next))?;
            self.open = Some(open);
            self.files.push_back(Lines { number: self.next, bytes: 0, taken: 0 });
            self.next += 1;
        }
        let (Some(open), Some(file)) = (&mut self.open, self.files.back_mut()) else { return Ok(()) };
        let mut line = String::with_capacity(text.len() + 1);
        line.push_str(text);
        line.push('\n');
        let written = open.write_all(line.as_bytes());
        if written.is_ok() {
            file.bytes += line.len() as u64;
        } else {
            // A part of it may be there: nothing is to follow a torn line.
            file.bytes = open.metadata().map_or(file.bytes, |meta| meta.len());
            self.open = None;
        }
        written
    }

    fn file_bytes(&self) -> u64 {
        FILE_BYTES.min(self.most_bytes / FILES).max(1)
    }

    /// Drops the oldest files until the rest fits; the samples that were in them.
    fn make_room(&mut self) -> u64 {
        let mut dropped = 0;
        while self.bytes() > self.most_bytes {
            let Some(file) = self.files.pop_front() else { break };
            if self.files.is_empty() {
                self.open = None;
            }
            let path = self.path(file.number);
            dropped += samples_from(&path, file.taken);
            let _ = fs::remove_file(path);
        }
        dropped
    }

    fn oldest(&mut self, lost: &mut Lost) -> Option<Batch> {
        loop {
            let file = self.files.front()?;
            let (number, taken) = (file.number, file.taken);
            let path = self.path(number);
            let line = match line_at(&path, taken) {
                Ok(line) if !line.is_empty() => line,
                Err(e) if e.kind() != io::ErrorKind::NotFound => return None,
                // There is nothing more in it, or somebody has removed it.
                Ok(_) | Err(_) => {
                    self.remove_first();
                    continue;
                }
            };
            let next = taken + line.len() as u64;
            let text = line.strip_suffix(b"\n").and_then(|line| String::from_utf8(line.to_vec()).ok());
            if let Some((samples, text)) = text.and_then(|text| Some((samples_in(&text)?, text))) {
                return Some(Batch { text, samples, place: Place::Disk { file: number, next } });
            }
            lost.torn += 1;
            self.done(number, next);
        }
    }

    fn done(&mut self, number: u64, next: u64) {
        let Some(file) = self.files.front_mut().filter(|file| file.number == number) else { return };
        file.taken = file.taken.max(next);
        if file.taken >= file.bytes {
            self.remove_first();
        } else {
            // When it can't be noted, some are sent twice by the next life.
            let _ = write_taken(&self.dir.join(TAKEN), number, next);
        }
    }

    fn remove_first(&mut self) {
        let Some(file) = self.files.pop_front() else { return };
        if self.files.is_empty() {
            self.open = None;
        }
        let _ = fs::remove_file(self.path(file.number));
    }

    fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes - file.taken.min(file.bytes)).sum()
    }
}

/// Files that only the agent's user can read: they say who runs what.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

/// The line that begins there, with its end if it has one; nothing at the end of the file.
fn line_at(path: &Path, at: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(at))?;
    let mut line = Vec::new();
    BufReader::new(file).read_until(b'\n', &mut line)?;
    Ok(line)
}

/// The samples in all lines from there on.
fn samples_from(path: &Path, at: u64) -> u64 {
    let Ok(mut file) = File::open(path) else { return 0 };
    let mut text = String::new();
    if file.seek(SeekFrom::Start(at)).is_err() || file.read_to_string(&mut text).is_err() {
        return 0;
    }
    text.lines().filter_map(samples_in).sum()
}

/// How many samples a batch has; None when it is none.
fn samples_in(text: &str) -> Option<u64> {
    #[derive(Deserialize)]
    struct Counted {
        #[serde(default)]
        samples: Vec<IgnoredAny>,
    }
    let counted: Counted = serde_json::from_str(text).ok()?;
    u64::try_from(counted.samples.len()).ok()
}

fn read_taken(path: &Path) -> Option<(u64, u64)> {
    let text = fs::read_to_string(path).ok()?;
    let (number, taken) = text.trim().split_once(' ')?;
    Some((number.parse().ok()?, taken.parse().ok()?))
}

fn write_taken(path: &Path, number: u64, taken: u64) -> io::Result<()> {
    let draft = path.with_extension("new");
    let mut file = private().create(true).truncate(true).open(&draft)?;
    file.write_all(format!("{number} {taken}\n").as_bytes())?;
    fs::rename(&draft, path)
}

#[derive(Debug, Default)]
struct Memory {
    batches: VecDeque<(u64, String, u64)>,
    bytes: u64,
    next: u64,
}

impl Memory {
    /// Keeps a batch; the samples that were dropped for it.
    fn put(&mut self, text: String, samples: u64) -> u64 {
        self.bytes += text.len() as u64;
        self.batches.push_back((self.next, text, samples));
        self.next += 1;
        let mut dropped = 0;
        while self.bytes > MEMORY_BYTES && self.batches.len() > 1 {
            dropped += self.pop();
        }
        dropped
    }

    fn pop(&mut self) -> u64 {
        let Some((_, text, samples)) = self.batches.pop_front() else { return 0 };
        self.bytes -= text.len() as u64;
        samples
    }

    fn oldest(&self) -> Option<Batch> {
        let (number, text, samples) = self.batches.front()?;
        Some(Batch { text: text.clone(), samples: *samples, place: Place::Memory(*number) })
    }

    fn done(&mut self, number: u64) {
        if self.batches.front().is_some_and(|(first, _, _)| *first == number) {
            self.pop();
        }
    }
}

#[cfg(test)]
#[path = "spool_tests.rs"]
mod tests;
