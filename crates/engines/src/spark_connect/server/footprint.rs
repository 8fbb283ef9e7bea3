//! The memory of a server's processes, from `/proc`.

use std::collections::BTreeMap;
use std::fs;

/// The resident memory of a process and everything below it, in bytes; None when the process is gone. Pages that
/// several of them share count for each.
pub(super) fn resident(root: i32) -> Option<u64> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    let mut pages: BTreeMap<i32, u64> = BTreeMap::new();
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some((parent, resident)) = parse(&stat) else { continue };
        children.entry(parent).or_default().push(pid);
        pages.insert(pid, resident);
    }
    let mut sum = *pages.get(&root)?;
    let mut below = children.remove(&root).unwrap_or_default();
    while let Some(pid) = below.pop() {
        sum = sum.saturating_add(pages.get(&pid).copied().unwrap_or(0));
        below.extend(children.remove(&pid).unwrap_or_default());
    }
    Some(sum.saturating_mul(rustix::param::page_size() as u64))
}

/// The parent and the resident pages in `/proc/PID/stat` (fields 4 and 24). The program's name, in parentheses, may
/// hold anything.
fn parse(stat: &str) -> Option<(i32, u64)> {
    let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
    let parent = fields.nth(1)?.parse().ok()?;
    let resident = fields.nth(19)?.parse().ok()?;
    Some((parent, resident))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_a_size() {
        let own = resident(i32::try_from(std::process::id()).unwrap()).unwrap();
        let statm = fs::read_to_string("/proc/self/statm").unwrap();
        let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
        let said = pages * rustix::param::page_size() as u64;
        assert!(own > said / 2 && own < said * 4, "{own} is nowhere near {said}");
        assert_eq!(resident(i32::MAX), None);
    }
}
