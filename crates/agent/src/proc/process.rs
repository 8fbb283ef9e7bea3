//! What the kernel says of one process.

use std::fs;
use std::path::Path;

/// A process in one of its lives: a pid is used again, a pid with its start is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// Its number.
    pub pid: u32,
    /// When it was started, in clock ticks since the machine was.
    pub started: u64,
}

/// One line of `/proc/PID/stat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The first 15 bytes of its program's name.
    pub name: String,
    /// Dead, and only waiting for its parent to notice.
    pub dead: bool,
    /// Processor time of its own, in clock ticks.
    pub own_ticks: u64,
    /// That of its children that it has waited for, and of theirs.
    pub waited_ticks: u64,
    /// When it was started, in clock ticks since the machine was.
    pub started: u64,
    /// Resident memory, in pages.
    pub pages: u64,
}

/// Bytes that went to and came from storage, its own and those of children that it has waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Io {
    /// Read.
    pub read: u64,
    /// Written.
    pub written: u64,
}

/// Reads fields 2, 3, 14 to 17, 22 and 24 of `/proc/PID/stat`. The program's name, in parentheses, may hold anything.
pub fn parse_stat(stat: &str) -> Option<Stat> {
    let (open, close) = (stat.find('(')?, stat.rfind(')')?);
    let name = stat.get(open + 1..close)?.to_owned();
    let mut fields = stat.get(close + 1..)?.split_ascii_whitespace();
    let dead = matches!(fields.next()?, "Z" | "X" | "x");
    let user: u64 = fields.nth(10)?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    let waited_user: u64 = fields.next()?.parse().ok()?;
    let waited_system: u64 = fields.next()?.parse().ok()?;
    let started = fields.nth(4)?.parse().ok()?;
    let pages = fields.nth(1)?.parse().ok()?;
    let own_ticks = user.saturating_add(system);
    let waited_ticks = waited_user.saturating_add(waited_system);
    Some(Stat { name, dead, own_ticks, waited_ticks, started, pages })
}

/// Reads `/proc/PID/io`.
pub fn parse_io(text: &str) -> Option<Io> {
    let of = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line?.trim().parse().ok()
    };
    Some(Io { read: of("read_bytes")?, written: of("write_bytes")? })
}

/// The line of a process; None when it is gone.
pub fn stat(proc: &Path, pid: u32) -> Option<Stat> {
    let line = fs::read(proc.join(pid.to_string()).join("stat")).ok()?;
    parse_stat(&String::from_utf8_lossy(&line))
}

/// What a process has read and written; None when it is gone, or another user's.
pub fn io(proc: &Path, pid: u32) -> Option<Io> {
    parse_io(&fs::read_to_string(proc.join(pid.to_string()).join("io")).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_kernel_is_read() {
        let line = "42 (a) R (b) S 7 42 41 0 -1 4194560 1 0 0 0 11 12 13 14 20 0 1 0 123456 1000 99 rest";
        let stat = parse_stat(line).unwrap();
        assert_eq!((stat.name.as_str(), stat.dead), ("a) R (b", false));
        assert_eq!((stat.own_ticks, stat.waited_ticks), (23, 27));
        assert_eq!((stat.started, stat.pages), (123_456, 99));
        assert!(parse_stat(&line.replace(" S 7", " Z 7")).unwrap().dead);
        assert_eq!(parse_stat("42 (a S"), None);
    }

    #[test]
    fn bytes_of_storage_are_read_and_not_those_of_the_cache() {
        let text = "rchar: 9\nwchar: 8\nsyscr: 7\nsyscw: 6\nread_bytes: 4096\nwrite_bytes: 512\ncancelled_write_bytes: 3\n";
        assert_eq!(parse_io(text), Some(Io { read: 4_096, written: 512 }));
        assert_eq!(parse_io("read_bytes: 1\n"), None);
    }

    #[test]
    fn this_process_is_found() {
        let own = stat(Path::new("/proc"), std::process::id()).unwrap();
        assert!(own.pages > 0 && own.started > 0 && !own.dead, "{own:?}");
        assert!(io(Path::new("/proc"), std::process::id()).is_some());
        assert_eq!(stat(Path::new("/proc"), u32::MAX), None);
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".*", tail in "[)( 0-9a-z:\n-]*") {
            let _ = (parse_stat(&text), parse_stat(&tail), parse_io(&text), parse_io(&tail));
        }
    }
}
