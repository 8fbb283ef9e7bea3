//! The process table, read from `/proc`.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::sync::OnceLock;

use libra_core::id::Token;

use super::TOKEN_VARIABLE;
use super::records::Identity;

/// What is read of one file of a process, in bytes, at most: an environment has 6 MiB at most (execve(2)).
const LARGEST: u64 = 8 * 1024 * 1024;
/// What most of these files fit into, in bytes.
const USUAL: usize = 8 * 1024;
/// The kernel's own threads have this flag (`PF_KTHREAD`), and no environment.
const KERNEL_THREAD: u64 = 0x0020_0000;

/// One line of the process table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: i32,
    pub(super) parent: i32,
    pub(super) session: i32,
    pub(super) start_ticks: u64,
    /// Dead, and only waiting for its parent to notice.
    pub(super) dead: bool,
    /// The kernel's own: no program.
    pub(super) kernel: bool,
}

/// Reads a file of a process. Such files have no size that one could ask for, so a place is made that most fit into: they
/// are read for every process at the end of every job. The kernel fills the place as far as it has something to say.
pub(super) fn file_of(pid: i32, name: &str) -> io::Result<Vec<u8>> {
    let mut file = File::open(format!("/proc/{pid}/{name}"))?;
    let mut bytes = vec![0; USUAL];
    let read = file.read(&mut bytes)?;
    bytes.truncate(read);
    if read == USUAL {
        file.take(LARGEST).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// The line of a process in the process table; None when there is none with that pid. A program's name may be no text.
pub(super) fn stat_of(pid: i32) -> Option<String> {
    Some(String::from_utf8_lossy(&file_of(pid, "stat").ok()?).into_owned())
}

/// The id of this boot of the machine; empty where the kernel has none.
pub(super) fn boot_id() -> &'static str {
    static ID: OnceLock<String> = OnceLock::new();
    ID.get_or_init(|| {
        fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
    })
}

/// Looks a process up; None when there is none with that pid.
pub(super) fn look_up(pid: i32) -> Option<Process> {
    parse_stat(&stat_of(pid)?)
}

/// Who `pid` is.
pub(super) fn identify(pid: i32) -> io::Result<Identity> {
    let process = look_up(pid).ok_or_else(|| io::Error::other(format!("process {pid} is not in /proc")))?;
    Ok(Identity { pid, start_ticks: process.start_ticks, boot_id: boot_id().to_owned() })
}

/// True while exactly that process runs.
pub(super) fn is_alive(who: &Identity) -> bool {
    who.boot_id == boot_id() && look_up(who.pid).is_some_and(|p| !p.dead && p.start_ticks == who.start_ticks)
}

/// All processes that run now. One that is born or dies meanwhile may or may not be in it.
pub(super) fn all() -> io::Result<Vec<Process>> {
    let mut processes = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        processes.extend(look_up(pid).filter(|p| !p.dead));
    }
    Ok(processes)
}

/// True when the process was started with the attempt's token in its environment.
pub(super) fn carries(pid: i32, token: &str) -> bool {
    let wanted = format!("{TOKEN_VARIABLE}={token}");
    file_of(pid, "environ")
        .is_ok_and(|environ| environ.split(|b| *b == 0).any(|variable| variable == wanted.as_bytes()))
}

/// The tokens of all attempts of which a process lives on this machine.
///
/// # Errors
/// When `/proc` can't be read.
pub fn tokens() -> io::Result<BTreeSet<Token>> {
    let name = format!("{TOKEN_VARIABLE}=");
    let mut found = BTreeSet::new();
    for process in all()? {
        // One that has just ended, or is another user's, has nothing to read.
        let environ = file_of(process.pid, "environ").unwrap_or_default();
        let value = environ.split(|b| *b == 0).find_map(|variable| variable.strip_prefix(name.as_bytes()));
        found.extend(value.and_then(|token| std::str::from_utf8(token).ok()?.parse::<Token>().ok()));
    }
    Ok(found)
}

/// Reads `/proc/PID/stat`. The second field is the program's name in parentheses and may hold anything.
fn parse_stat(stat: &str) -> Option<Process> {
    let pid = stat.split_once(' ')?.0.parse().ok()?;
    let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let _group = fields.next()?;
    let session = fields.next()?.parse().ok()?;
    // Fields 3 to 6 are taken; the flags are field 9, the start time is field 22.
    let flags: u64 = fields.nth(2)?.parse().ok()?;
    let start_ticks = fields.nth(12)?.parse().ok()?;
    let (dead, kernel) = (matches!(state, "Z" | "X" | "x"), flags & KERNEL_THREAD != 0);
    Some(Process { pid, parent, session, start_ticks, dead, kernel })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_name_may_hold_parentheses_and_spaces() {
        let stat = "42 (a) R (b) Z 7 42 41 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 123456 1000 10 rest";
        let process =
            Process { pid: 42, parent: 7, session: 41, start_ticks: 123_456, dead: true, kernel: false };
        assert_eq!(parse_stat(stat), Some(process));
        let stat = "2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 3 0 0 rest";
        assert!(parse_stat(stat).is_some_and(|p| p.kernel && p.start_ticks == 3));
        assert_eq!(parse_stat("nonsense"), None);
    }

    #[test]
    fn this_process_is_alive_and_its_successor_is_not() {
        let me = identify(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(is_alive(&me));
        assert!(!is_alive(&Identity { start_ticks: me.start_ticks + 1, ..me.clone() }));
        assert!(!is_alive(&Identity { boot_id: "another".to_owned(), ..me }));
    }
}
