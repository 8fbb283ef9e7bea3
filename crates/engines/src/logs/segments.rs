//! The files of one stream, by name.

use std::io;
use std::path::{Path, PathBuf};

use super::Stream;

/// One file of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// The place of its first byte in the whole log.
    pub(super) start: u64,
    /// How many bytes of the log it holds, where it is compressed; a plain one tells by its size.
    pub(super) packed: Option<u64>,
    pub(super) path: PathBuf,
}

/// The file of the plain segment that begins at `start`.
pub(super) fn plain(dir: &Path, stream: Stream, start: u64) -> PathBuf {
    let name = stream.as_str();
    dir.join(if start == 0 { format!("{name}.log") } else { format!("{name}.{start}.log") })
}

/// The file of the compressed segment of `length` bytes that begins at `start`.
pub(super) fn packed(dir: &Path, stream: Stream, start: u64, length: u64) -> PathBuf {
    dir.join(format!("{}.{start}-{length}.log.gz", stream.as_str()))
}

/// All segments in order; none when the log was never begun. Where one is there plain and compressed, as for a moment
/// while it is compressed, the compressed one counts: it stays.
pub(super) fn list(dir: &Path, stream: Stream) -> io::Result<Vec<Segment>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if let Some((start, packed)) = entry.file_name().to_str().and_then(|name| parse(name, stream)) {
            found.push(Segment { start, packed, path: entry.path() });
        }
    }
    found.sort_by_key(|s| (s.start, s.packed.is_none()));
    found.dedup_by_key(|s| s.start);
    Ok(found)
}

/// Where a file begins, and how long it is if it is compressed; None for a file that is no segment of this stream.
fn parse(name: &str, stream: Stream) -> Option<(u64, Option<u64>)> {
    let rest = name.strip_prefix(stream.as_str())?;
    if rest == ".log" {
        return Some((0, None));
    }
    let rest = rest.strip_prefix('.')?;
    if let Some(place) = rest.strip_suffix(".log.gz") {
        let (start, length) = place.split_once('-')?;
        return Some((start.parse().ok()?, Some(length.parse().ok()?)));
    }
    Some((rest.strip_suffix(".log")?.parse().ok()?, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_where_a_segment_is() {
        let of = |name: &str| parse(name, Stream::Stdout);
        assert_eq!(of("stdout.log"), Some((0, None)));
        assert_eq!(of("stdout.100.log"), Some((100, None)));
        assert_eq!(of("stdout.0-100.log.gz"), Some((0, Some(100))));
        for other in ["stderr.log", "stdout.log.gz", "stdout.0-100.log.gz.draft", "stdout.x.log", "stdout"] {
            assert_eq!(of(other), None, "{other}");
        }
        let path = packed(Path::new("/a"), Stream::Stderr, 5, 7);
        assert_eq!(parse(path.file_name().unwrap().to_str().unwrap(), Stream::Stderr), Some((5, Some(7))));
    }
}
