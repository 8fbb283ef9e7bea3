//! What a process and everything below it use, from `/proc`.
//!
//! Memory is resident memory, summed: a page that several processes share counts for each of them, so that a program's
//! forks look larger than they are. The exact share (PSS) is no choice: for it the kernel walks every page of every
//! process, which takes a large heap's own threads their locks for long, at every look.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use super::table;

/// The processes in a tree that are looked at, at most: a fork bomb must not keep its shim busy.
const MOST: usize = 4_096;

/// What processes use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Footprint {
    /// Resident memory, in bytes.
    pub(crate) resident: u64,
    /// Processor time of these processes and of all that they have waited for, in clock ticks.
    pub(crate) ticks: u64,
}

impl Footprint {
    fn add(&mut self, stat: Stat) {
        self.resident =
            self.resident.saturating_add(stat.pages.saturating_mul(rustix::param::page_size() as u64));
        self.ticks = self.ticks.saturating_add(stat.own_ticks).saturating_add(stat.waited_ticks);
    }
}

/// What `root` and everything below it use; None when it is gone.
#[cfg(any(test, feature = "spark-connect"))]
pub(crate) fn of(root: i32) -> Option<Footprint> {
    let mut sum = Footprint::default();
    sum.add(stat(root)?);
    descend(root, &mut sum);
    Some(sum)
}

/// What everything below this process uses, and what it has waited for has used.
pub(super) fn below_this() -> Footprint {
    let me = rustix::process::getpid().as_raw_nonzero().get();
    let waited_ticks = stat(me).map_or(0, |stat| stat.waited_ticks);
    let mut sum = Footprint { resident: 0, ticks: waited_ticks };
    descend(me, &mut sum);
    sum
}

fn descend(root: i32, sum: &mut Footprint) {
    let table = if has_lists() { None } else { Some(every()) };
    let children = |pid| match &table {
        None => listed(pid),
        Some(table) => table.iter().filter(|(_, stat)| stat.parent == pid).map(|(pid, _)| *pid).collect(),
    };
    let mut below = children(root);
    let mut seen = 0;
    while let Some(pid) = below.pop() {
        seen += 1;
        if seen > MOST {
            return;
        }
        // One that has gone meanwhile is in its parent's account by now.
        let Some(stat) = stat(pid) else { continue };
        sum.add(stat);
        below.extend(children(pid));
    }
}

/// True where the kernel lists the children of a thread (`CONFIG_PROC_CHILDREN`): then nothing but the tree itself has
/// to be read.
fn has_lists() -> bool {
    static LISTS: OnceLock<bool> = OnceLock::new();
    *LISTS.get_or_init(|| Path::new("/proc/thread-self/children").exists())
}

/// The children of a process, as its threads have them.
fn listed(pid: i32) -> Vec<i32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists =
        threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| numbers(&list)).collect()
}

fn numbers(list: &str) -> Vec<i32> {
    list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Every process of the machine, where there is no better way.
fn every() -> Vec<(i32, Stat)> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| Some((pid, stat(pid)?))).collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    parent: i32,
    own_ticks: u64,
    waited_ticks: u64,
    pages: u64,
}

fn stat(pid: i32) -> Option<Stat> {
    parse(&table::stat_of(pid)?)
}

/// Fields 4, 14 to 17 and 24 of `/proc/PID/stat`. The program's name, in parentheses, may hold anything.
fn parse(stat: &str) -> Option<Stat> {
    let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
    let parent = fields.nth(1)?.parse().ok()?;
    let user: u64 = fields.nth(9)?.parse().ok()?;
    let mut more = || fields.next()?.parse::<u64>().ok();
    let own_ticks = user.saturating_add(more()?);
    let waited_ticks = more()?.saturating_add(more()?);
    let pages = fields.nth(6)?.parse().ok()?;
    Some(Stat { parent, own_ticks, waited_ticks, pages })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_a_size() {
        let own = of(i32::try_from(std::process::id()).unwrap()).unwrap().resident;
        let statm = fs::read_to_string("/proc/self/statm").unwrap();
        let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
        let said = pages * rustix::param::page_size() as u64;
        assert!(own > said / 2 && own < said * 4, "{own} is nowhere near {said}");
        assert_eq!(of(i32::MAX), None);
    }

    #[test]
    fn a_line_of_the_kernel_is_read() {
        let line = "42 (a) R (b) S 7 42 41 0 -1 4194560 1 0 0 0 11 12 13 14 20 0 1 0 123456 1000 99 rest";
        assert_eq!(parse(line), Some(Stat { parent: 7, own_ticks: 23, waited_ticks: 27, pages: 99 }));
    }

    #[test]
    fn children_are_found_by_list_and_by_table() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let (pid, me) = (i32::try_from(child.id()).unwrap(), i32::try_from(std::process::id()).unwrap());
        let found = (
            !has_lists() || listed(me).contains(&pid),
            every().iter().any(|(p, stat)| *p == pid && stat.parent == me),
        );
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(found, (true, true));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".*", tail in "[)( 0-9a-z-]*") {
            let _ = (parse(&text), parse(&tail), numbers(&text), numbers(&tail));
        }
    }
}
