//! A compressed segment that can be read from any place: gzip members of one block each, and at the end an empty
//! member whose header tells how long the others are. Every gzip reads it as one file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use crate::shim::records::PRIVATE;

/// Bytes of the log in one member; also what a reader holds in memory.
const BLOCK: usize = 256 * 1024;
/// The beginning of the last member: gzip, deflate, with an extra field, no time, any system (RFC 1952).
const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff];
/// The name of our extra field.
const FIELD: [u8; 2] = *b"LB";
/// The end of the last member: no data, of checksum 0 and length 0.
const TAIL: [u8; 10] = [3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// The longest segment that one extra field of 64 KiB can describe, in bytes.
pub(super) const MAX_SEGMENT: u64 = 16_382 * BLOCK as u64;

/// Compresses `source` into `target`, which is there whole or not at all. False when `stop` said so.
pub(super) fn write(source: &Path, target: &Path, stop: &dyn Fn() -> bool) -> io::Result<bool> {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(".draft");
    let draft = target.with_file_name(name);
    let written = compress(source, &draft, stop);
    match written {
        Ok(true) => fs::rename(&draft, target)?,
        Ok(false) | Err(_) => {
            let _ = fs::remove_file(&draft);
        }
    }
    written
}

fn compress(source: &Path, draft: &Path, stop: &dyn Fn() -> bool) -> io::Result<bool> {
    let mut source = File::open(source)?;
    let mut target = OpenOptions::new().write(true).create(true).truncate(true).mode(PRIVATE).open(draft)?;
    let mut lengths = Vec::new();
    let mut block = Vec::new();
    loop {
        if stop() {
            return Ok(false);
        }
        block.clear();
        Read::by_ref(&mut source).take(BLOCK as u64).read_to_end(&mut block)?;
        if block.is_empty() {
            break;
        }
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&block)?;
        let member = encoder.finish()?;
        let length = u32::try_from(member.len()).map_err(io::Error::other)?;
        lengths.extend_from_slice(&length.to_le_bytes());
        target.write_all(&member)?;
    }
    let size = u16::try_from(lengths.len()).map_err(io::Error::other)?;
    let field = size.checked_add(4).ok_or_else(|| io::Error::other("the segment is too long"))?;
    let mut last = HEAD.to_vec();
    last.extend_from_slice(&field.to_le_bytes());
    last.extend_from_slice(&FIELD);
    last.extend_from_slice(&size.to_le_bytes());
    last.extend_from_slice(&lengths);
    last.extend_from_slice(&TAIL);
    target.write_all(&last)?;
    target.sync_all()?;
    Ok(true)
}

/// An archive that is read.
#[derive(Debug)]
pub(super) struct Archive {
    file: File,
    /// Where each member begins, and where the last one ends.
    bounds: Vec<u64>,
    /// The block that was read last.
    block: Option<(usize, Vec<u8>)>,
}

impl Archive {
    /// Opens the archive of a segment of `length` bytes.
    pub(super) fn open(path: &Path, length: u64) -> io::Result<Self> {
        let broken = || io::Error::new(io::ErrorKind::InvalidData, format!("{}: is broken", path.display()));
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        let blocks = usize::try_from(length.div_ceil(BLOCK as u64)).map_err(io::Error::other)?;
        let head = HEAD.len() + 6;
        let mut last = vec![0; head + 4 * blocks + TAIL.len()];
        let at = size.checked_sub(last.len() as u64).ok_or_else(broken)?;
        file.read_exact_at(&mut last, at)?;
        if last[..HEAD.len()] != HEAD || last[HEAD.len() + 2..HEAD.len() + 4] != FIELD {
            return Err(broken());
        }
        let mut bounds = vec![0];
        let mut end = 0;
        for length in last[head..head + 4 * blocks].chunks_exact(4) {
            end += length.iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte));
            bounds.push(end);
        }
        if end != at {
            return Err(broken());
        }
        Ok(Self { file, bounds, block: None })
    }

    /// Reads from `at` bytes into the segment to the end of that block at most; nothing at the end of the segment.
    pub(super) fn read(&mut self, at: u64, limit: usize, out: &mut Vec<u8>) -> io::Result<usize> {
        let number = usize::try_from(at / BLOCK as u64).map_err(io::Error::other)?;
        let (Some(from), Some(to)) = (self.bounds.get(number), self.bounds.get(number + 1)) else {
            return Ok(0);
        };
        if self.block.as_ref().is_none_or(|(held, _)| *held != number) {
            let mut member = vec![0; usize::try_from(to - from).map_err(io::Error::other)?];
            self.file.read_exact_at(&mut member, *from)?;
            let mut block = Vec::with_capacity(BLOCK);
            GzDecoder::new(member.as_slice()).read_to_end(&mut block)?;
            self.block = Some((number, block));
        }
        let block = self.block.as_ref().map_or(&[][..], |(_, block)| block);
        let skipped = usize::try_from(at % BLOCK as u64).map_err(io::Error::other)?;
        let wanted = block.get(skipped..).unwrap_or_default();
        let taken = &wanted[..wanted.len().min(limit)];
        out.extend_from_slice(taken);
        Ok(taken.len())
    }
}
