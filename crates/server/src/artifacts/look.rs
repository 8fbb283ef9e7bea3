//! What a file is: its digest, and whether it is an archive that has arrived whole.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use libra_core::artifact::Digest;
use sha2::{Digest as _, Sha256};

use super::read;
use crate::hex;

/// What a ZIP archive begins with.
const ZIP: [u8; 4] = *b"PK\x03\x04";
/// What the record at its end begins with.
const END: [u8; 4] = *b"PK\x05\x06";
/// Bytes of that record, without the comment behind it.
const END_BYTES: usize = 22;
/// The longest comment, in bytes.
const MAX_COMMENT_BYTES: u64 = 65_535;
/// Stands for an offset that is in another record (ZIP64).
const ELSEWHERE: u32 = u32::MAX;

/// A file that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Looked {
    /// Of its bytes.
    pub(crate) digest: Digest,
    /// What it is.
    pub(crate) form: Form,
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A ZIP archive, as jars are.
    Zip,
    /// The beginning of one: its end is missing, as while it is being copied.
    ZipInPart,
    /// Anything else.
    Other,
}

/// Reads a file whole and says what it is; `also` is given its bytes, too.
pub(crate) fn look(path: &Path, mut also: impl FnMut(&[u8])) -> io::Result<Looked> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    read(&mut file, |piece| {
        hash.update(piece);
        also(piece);
        Ok(())
    })?;
    let digest = Digest::of_hex(&hex(&hash.finalize())).ok_or_else(|| io::Error::other("no digest"))?;
    Ok(Looked { digest, form: form(&mut file)? })
}

/// What a file is, by its first and its last bytes.
pub(crate) fn form(file: &mut File) -> io::Result<Form> {
    let size = file.seek(SeekFrom::End(0))?;
    file.rewind()?;
    let mut first = Vec::new();
    file.take(ZIP.len() as u64).read_to_end(&mut first)?;
    if first != ZIP {
        return Ok(Form::Other);
    }
    let from = size.saturating_sub(MAX_COMMENT_BYTES + END_BYTES as u64);
    file.seek(SeekFrom::Start(from))?;
    let mut last = Vec::new();
    file.take(MAX_COMMENT_BYTES + END_BYTES as u64).read_to_end(&mut last)?;
    let ends = last.windows(END_BYTES).enumerate().rev().any(|(at, record)| {
        let behind = last.len() - at - END_BYTES;
        is_end(record, behind, from.saturating_add(at as u64))
    });
    Ok(if ends { Form::Zip } else { Form::ZipInPart })
}

/// True for the record at the end of an archive, found at `place` with so many bytes behind it: the comment is all that
/// follows, and the directory is before it.
fn is_end(record: &[u8], behind: usize, place: u64) -> bool {
    let short = |at: usize| u16::from_le_bytes([record[at], record[at + 1]]);
    let long = |at: usize| u32::from_le_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]]);
    let (size, offset) = (long(12), long(16));
    record.starts_with(&END)
        && usize::from(short(20)) == behind
        && (offset == ELSEWHERE || u64::from(size).saturating_add(u64::from(offset)) <= place)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// An archive without files, with this comment.
    fn archive(comment: &[u8]) -> Vec<u8> {
        let mut bytes = ZIP.to_vec();
        bytes.extend([7; 100]);
        bytes.extend(END);
        bytes.extend([0; 8]);
        bytes.extend(50u32.to_le_bytes());
        bytes.extend(54u32.to_le_bytes());
        bytes.extend(u16::try_from(comment.len()).unwrap().to_le_bytes());
        bytes.extend(comment);
        bytes
    }

    #[test]
    fn an_archive_is_whole_with_its_end_and_not_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jar");
        let form = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            let mut seen = Vec::new();
            let looked = look(&path, |piece| seen.extend_from_slice(piece)).unwrap();
            assert_eq!(seen, bytes);
            looked.form
        };
        for comment in [&b""[..], b"made by hand", &vec![b'x'; 65_535]] {
            let whole = archive(comment);
            assert_eq!(form(&whole), Form::Zip);
            for cut in [4, 50, whole.len() - 1] {
                assert_eq!(form(&whole[..cut]), Form::ZipInPart, "{cut} of {}", whole.len());
            }
        }
        assert_eq!(form(b"PK"), Form::Other);
        assert_eq!(form(b""), Form::Other);
        assert_eq!(form(b"text, and not a jar"), Form::Other);
    }
}
