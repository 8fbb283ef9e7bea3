use std::fs;
use std::io::Write;

use proptest::prelude::*;

use super::*;
use crate::attempt_dir::AttemptDir;

struct Scratch(AttemptDir);

impl Scratch {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("libra-logs-{}", uuid::Uuid::now_v7()));
        fs::create_dir_all(&path).unwrap();
        Self(AttemptDir::new(path))
    }

    fn write(&self, limits: LogLimits, pieces: &[&[u8]]) {
        let [mut out, err] = LogWriter::pair(&self.0, limits);
        for piece in pieces {
            out.write(piece);
        }
        out.finish();
        err.finish();
    }

    fn whole(&self) -> Vec<u8> {
        LogReader::new(&self.0, Stream::Stdout).read(0, usize::MAX).unwrap()
    }

    fn files(&self) -> Vec<String> {
        let names = fs::read_dir(self.0.path()).unwrap().map(|e| e.unwrap().file_name());
        let mut names: Vec<String> = names.map(|n| n.into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.0.path());
    }
}

fn limits(rotate_bytes: u64, max_bytes: u64) -> LogLimits {
    LogLimits { rotate_bytes, max_bytes }
}

fn numbered(lines: usize) -> Vec<u8> {
    (0..lines).flat_map(|n| format!("line {n}\n").into_bytes()).collect()
}

#[test]
fn many_segments_read_as_one_log_before_and_after_they_are_compressed() {
    let scratch = Scratch::new();
    let text = numbered(2_000);
    let pieces: Vec<&[u8]> = text.chunks(333).collect();
    scratch.write(limits(1_000, u64::MAX), &pieces);
    assert_eq!(scratch.files().len(), text.len().div_ceil(1_000) + 1, "with an empty stderr.log");
    let mut before = LogReader::new(&scratch.0, Stream::Stdout);
    assert_eq!(before.read(500, 10).unwrap(), text[500..510]);
    assert_eq!(scratch.whole(), text);

    pack(&scratch.0, &|| false).unwrap();
    assert!(
        scratch.files().iter().all(|f| f.contains(".log.gz") || f == "stderr.log"),
        "{:?}",
        scratch.files()
    );
    assert_eq!(scratch.whole(), text);
    assert_eq!(before.read(510, usize::MAX).unwrap(), text[510..], "a reader of before goes on");
    let mut reader = LogReader::new(&scratch.0, Stream::Stdout);
    assert_eq!(reader.total().unwrap(), text.len() as u64);
    for at in [0, 999, 1_000, 1_001, 5_432, text.len() - 1, text.len()] {
        assert_eq!(reader.read(at as u64, 1_500).unwrap(), text[at..text.len().min(at + 1_500)], "{at}");
    }
    assert_eq!(reader.read(u64::MAX / 2, 10).unwrap(), b"", "beyond the end");
}

#[test]
fn a_large_segment_is_read_from_any_place_and_by_any_gzip() {
    let scratch = Scratch::new();
    let text = numbered(300_000);
    scratch.write(LogLimits::default(), &[&text]);
    pack(&scratch.0, &|| false).unwrap();
    let file = scratch.0.path().join(format!("stdout.0-{}.log.gz", text.len()));
    assert!(fs::metadata(&file).unwrap().len() < text.len() as u64 / 3);
    let mut reader = LogReader::new(&scratch.0, Stream::Stdout);
    for at in [text.len() - 100, 1_048_570, 0, 2_097_152] {
        let read = reader.read(at as u64, 50).unwrap();
        assert_eq!(read, text[at..at + 50], "{at}");
    }
    let out = std::process::Command::new("gzip").args(["-dc"]).arg(&file).output().unwrap();
    assert!(out.status.success() && out.stdout == text, "{}", String::from_utf8_lossy(&out.stderr));
    fs::OpenOptions::new().append(true).open(&file).unwrap().write_all(b"x").unwrap();
    assert!(LogReader::new(&scratch.0, Stream::Stdout).read(0, 1).is_err(), "a broken one is said so");
}

#[test]
fn compressing_can_be_interrupted() {
    let scratch = Scratch::new();
    scratch.write(limits(1_000, u64::MAX), &[&numbered(1_000)]);
    let before = scratch.files();
    pack(&scratch.0, &|| true).unwrap();
    assert_eq!(scratch.files(), before);
    assert_eq!(scratch.whole(), numbered(1_000));
}

#[test]
fn beyond_the_limit_the_loss_is_counted_and_the_end_is_kept() {
    let scratch = Scratch::new();
    let text = numbered(100_000);
    let pieces: Vec<&[u8]> = text.chunks(4_096).collect();
    scratch.write(limits(10_000, 50_000), &pieces);
    let log = String::from_utf8(scratch.whole()).unwrap();
    assert!(log.as_bytes().starts_with(&text[..50_000]));
    assert!(log.ends_with("line 99999\n"));
    let marks: Vec<&str> = log.lines().filter(|l| l.starts_with("[libra: ")).collect();
    assert_eq!(marks.len(), 2, "{marks:?}");
    let gone: usize = marks[1]["[libra: ".len()..].split(' ').next().unwrap().parse().unwrap();
    let kept: usize = log.lines().filter(|l| !l.starts_with("[libra: ")).map(|l| l.len() + 1).sum();
    // The mark of the limit stands on a line of its own, which may end a line that the limit cut.
    let added = usize::from(text[49_999] != b'\n');
    assert_eq!(gone + kept - added, text.len());
}

#[test]
fn a_disk_that_refuses_loses_bytes_and_says_how_many() {
    let scratch = Scratch::new();
    let [mut out, err] = LogWriter::pair(&scratch.0, LogLimits::default());
    out.write(b"before\n");
    // A directory that is away, and comes back with what was in it: the nearest to a full disk without one.
    let away = scratch.0.path().with_extension("away");
    out.file = None;
    fs::rename(scratch.0.path(), &away).unwrap();
    let lost = numbered(20_000);
    for piece in lost.chunks(10_000) {
        out.write(piece);
    }
    assert!(out.waits());
    fs::rename(&away, scratch.0.path()).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    out.write(b"after\n");
    assert!(!out.waits());
    out.finish();
    err.finish();
    let log = String::from_utf8(scratch.whole()).unwrap();
    let (head, rest) = log.split_once("bytes are left out here").unwrap();
    let gone: usize = head.strip_prefix("before\n[libra: ").unwrap().trim().parse().unwrap();
    let (_, rest) = rest.split_once("]\n").unwrap();
    assert_eq!(rest, format!("{}after\n", std::str::from_utf8(&lost[gone..]).unwrap()));
    assert!(gone > 0 && lost.len() - gone > 60_000, "the end of it is kept");
}

#[test]
fn a_full_device_is_survived() {
    let scratch = Scratch::new();
    std::os::unix::fs::symlink("/dev/full", scratch.0.path().join("stdout.log")).unwrap();
    let [mut out, err] = LogWriter::pair(&scratch.0, LogLimits::default());
    out.write(b"lost\n");
    assert!(out.waits());
    fs::remove_file(scratch.0.path().join("stdout.log")).unwrap();
    out.finish();
    err.finish();
    assert_eq!(scratch.whole(), b"lost\n", "held in memory meanwhile");
}

#[test]
fn the_last_lines_are_found() {
    let scratch = Scratch::new();
    scratch.write(limits(10_000, u64::MAX), &[&numbered(50_000), b"unfinished"]);
    let mut reader = LogReader::new(&scratch.0, Stream::Stdout);
    let mut last = |lines| {
        let at = reader.last_lines(lines, 1024 * 1024).unwrap();
        String::from_utf8(reader.read(at, usize::MAX).unwrap()).unwrap()
    };
    assert_eq!(last(1), "unfinished");
    assert_eq!(last(3), "line 49998\nline 49999\nunfinished");
    assert_eq!(last(40_001).lines().count(), 40_001);
    assert_eq!(last(1_000_000).len(), scratch.whole().len());
    assert_eq!(LogReader::new(&scratch.0, Stream::Stderr).last_lines(5, 100).unwrap(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_is_written_is_read(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..20), rotate in 50_u64..500, at in 0_usize..3_000) {
        let scratch = Scratch::new();
        let slices: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        scratch.write(limits(rotate, u64::MAX), &slices);
        let text = pieces.concat();
        prop_assert_eq!(&scratch.whole(), &text);
        pack(&scratch.0, &|| false).unwrap();
        let mut reader = LogReader::new(&scratch.0, Stream::Stdout);
        let at = at.min(text.len());
        prop_assert_eq!(reader.read(at as u64, 100).unwrap(), &text[at..text.len().min(at + 100)]);
    }
}
