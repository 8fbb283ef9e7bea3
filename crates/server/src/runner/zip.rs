//! Files put into a ZIP archive that is there already, and the names of those in one.
//!
//! An archive ends with its directory, so what is added goes to where that was, and a longer directory follows. What was
//! in it stays as it is, byte by byte. All times are one, so that the same files give the same archive.

use std::io::{self, Read, Seek, SeekFrom, Write};

/// What a file in an archive begins with.
const LOCAL: u32 = 0x0403_4b50;
/// What a row of the directory begins with.
const ROW: u32 = 0x0201_4b50;
/// What the end of an archive begins with.
const END: [u8; 4] = *b"PK\x05\x06";
/// Bytes of the end of an archive, without its comment.
const END_BYTES: usize = 22;
/// The longest comment at the end of an archive.
const MOST_COMMENT: u64 = 65_535;
/// Bytes of a row without its name and what follows it.
const ROW_BYTES: usize = 46;
/// The version of the format that is needed to read a file that is not compressed: 1.0.
const VERSION: u16 = 10;
/// Names are UTF-8.
const UTF8: u16 = 1 << 11;
/// 1980-01-01, the first day that the format knows.
const DATE: u16 = (1 << 5) | 1;

/// What an archive holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Directory {
    /// Its rows as they are.
    rows: Vec<u8>,
    count: u16,
    /// Where it begins, and so what is added.
    at: u32,
}

impl Directory {
    /// Reads it.
    ///
    /// # Errors
    /// When it is no archive, is cut short, or has more than 65,535 files or 4 GiB (ZIP64).
    pub(super) fn read(archive: &mut (impl Read + Seek)) -> io::Result<Self> {
        let length = archive.seek(SeekFrom::End(0))?;
        let tail = length.min(MOST_COMMENT + END_BYTES as u64);
        archive.seek(SeekFrom::Start(length - tail))?;
        let mut bytes = Vec::new();
        archive.take(tail).read_to_end(&mut bytes)?;
        let broken = || io::Error::other("it is no whole ZIP archive");
        let at = bytes.windows(END.len()).rposition(|four| four == END).ok_or_else(broken)?;
        let end = bytes.get(at..at + END_BYTES).ok_or_else(broken)?;
        let (count, size, start) = (short(end, 10), long(end, 12), long(end, 16));
        if count == u16::MAX || start == u32::MAX {
            return Err(io::Error::other("it is too large: more than 65,534 files, or 4 GiB"));
        }
        // Something before the archive, as in one that unpacks itself, would move everything.
        if u64::from(start) + u64::from(size) != length - tail + at as u64 {
            return Err(broken());
        }
        archive.seek(SeekFrom::Start(start.into()))?;
        let mut rows = Vec::new();
        archive.take(size.into()).read_to_end(&mut rows)?;
        let directory = Self { rows, count, at: start };
        if directory.names().len() != usize::from(count) {
            return Err(broken());
        }
        Ok(directory)
    }

    /// The names of its files.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        let mut rest = self.rows.as_slice();
        while rest.len() >= ROW_BYTES && long(rest, 0) == ROW {
            let (name, more) = (usize::from(short(rest, 28)), usize::from(short(rest, 30)));
            let whole = ROW_BYTES + name + more + usize::from(short(rest, 32));
            let (Some(text), Some(after)) = (rest.get(ROW_BYTES..ROW_BYTES + name), rest.get(whole..)) else {
                break;
            };
            names.push(String::from_utf8_lossy(text).into_owned());
            rest = after;
        }
        names
    }
}

/// Writes the archive `base`, if there is one, with `files` added. A file that it has by that name is no longer found.
///
/// # Errors
/// As [`Directory::read`], and where the result would be too large.
pub(super) fn add(
    base: Option<&mut (impl Read + Seek)>,
    files: &[(&str, &[u8])],
    to: &mut impl Write,
) -> io::Result<()> {
    let large = |_| io::Error::other("it is too large: more than 65,534 files, or 4 GiB");
    let mut directory = Directory::default();
    if let Some(base) = base {
        directory = Directory::read(base)?;
        base.seek(SeekFrom::Start(0))?;
        io::copy(&mut base.take(directory.at.into()), to)?;
    }
    let Directory { mut rows, mut count, mut at } = directory;
    for (name, bytes) in files {
        let head = head(name, bytes).map_err(large)?;
        to.write_all(&LOCAL.to_le_bytes())?;
        to.write_all(&head)?;
        to.write_all(name.as_bytes())?;
        to.write_all(bytes)?;
        rows.extend(ROW.to_le_bytes());
        rows.extend(VERSION.to_le_bytes());
        rows.extend(&head);
        // Comment, disk and attributes: none.
        rows.extend([0; 10]);
        rows.extend(at.to_le_bytes());
        rows.extend(name.as_bytes());
        let whole = 4 + head.len() + name.len() + bytes.len();
        at = u32::try_from(u64::from(at) + whole as u64).map_err(large)?;
        count = count.checked_add(1).ok_or_else(|| io::Error::other("it has too many files"))?;
    }
    to.write_all(&rows)?;
    to.write_all(&END)?;
    to.write_all(&[0; 4])?;
    to.write_all(&count.to_le_bytes())?;
    to.write_all(&count.to_le_bytes())?;
    to.write_all(&u32::try_from(rows.len()).map_err(large)?.to_le_bytes())?;
    to.write_all(&at.to_le_bytes())?;
    to.write_all(&[0; 2])
}

/// What stands both before a file and in its row.
fn head(name: &str, bytes: &[u8]) -> Result<Vec<u8>, std::num::TryFromIntError> {
    let mut sum = flate2::Crc::new();
    sum.update(bytes);
    let size = u32::try_from(bytes.len())?.to_le_bytes();
    let mut head = Vec::new();
    head.extend(VERSION.to_le_bytes());
    head.extend(UTF8.to_le_bytes());
    // Not compressed; midnight.
    head.extend([0; 4]);
    head.extend(DATE.to_le_bytes());
    head.extend(sum.sum().to_le_bytes());
    head.extend(size);
    head.extend(size);
    head.extend(u16::try_from(name.len())?.to_le_bytes());
    head.extend([0; 2]);
    Ok(head)
}

fn short(bytes: &[u8], at: usize) -> u16 {
    let two = |at: usize| bytes.get(at).copied().unwrap_or(0);
    u16::from_le_bytes([two(at), two(at + 1)])
}

fn long(bytes: &[u8], at: usize) -> u32 {
    u32::from(short(bytes, at)) | u32::from(short(bytes, at + 2)) << 16
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::process::Command;

    use super::*;

    const NONE: Option<&mut Cursor<Vec<u8>>> = None;

    #[test]
    fn what_is_added_is_found_and_what_was_there_stays() {
        let mut first = Vec::new();
        add(NONE, &[("a.txt", b"one"), ("b/c.txt", b"")], &mut first).unwrap();
        let mut again = Vec::new();
        add(NONE, &[("a.txt", b"one"), ("b/c.txt", b"")], &mut again).unwrap();
        assert_eq!(first, again, "the same files are the same bytes");
        let mut both = Vec::new();
        add(Some(&mut Cursor::new(&first)), &[("d.txt", "zwölf".as_bytes())], &mut both).unwrap();
        let names = Directory::read(&mut Cursor::new(&both)).unwrap().names();
        assert_eq!(names, ["a.txt", "b/c.txt", "d.txt"]);
        // Another's reader finds the same.
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.jar");
        std::fs::write(&file, &both).unwrap();
        let script = "import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); print(z.testzip(), \
                      [z.read(n).decode() for n in z.namelist()])";
        let out =
            Command::new("python3").args(["-c", script]).arg(&file).env("PYTHONIOENCODING", "utf-8").output();
        let out = out.unwrap();
        assert_eq!(String::from_utf8_lossy(&out.stdout).trim(), "None ['one', '', 'zwölf']", "{out:?}");
    }

    #[test]
    fn what_is_no_archive_is_told() {
        let mut whole = Vec::new();
        add(NONE, &[("a.txt", b"one")], &mut whole).unwrap();
        let read = |bytes: &[u8]| Directory::read(&mut Cursor::new(bytes));
        assert!(read(&whole).is_ok());
        for cut in 0..whole.len() {
            assert!(read(&whole[..cut]).is_err(), "{cut}");
        }
        let moved = [b"#!/bin/sh\n".as_slice(), &whole].concat();
        assert!(read(&moved).is_err());
        let mut many = whole.clone();
        let end = many.len() - END_BYTES;
        many[end + 10..end + 12].copy_from_slice(&[0xff, 0xff]);
        assert!(read(&many).unwrap_err().to_string().contains("too large"));
        many[end + 10..end + 12].copy_from_slice(&[9, 0]);
        assert!(read(&many).is_err(), "it has one, and says nine");
    }
}
