//! This host: who it is, and what it has.

use std::path::Path;

/// The host's identity: machine-id, or the name that `named` gives the machine, and boot-id (design §6). A process of
/// another boot can't be alive.
pub fn identity(named: Option<&str>) -> String {
    let read = |path: &str| std::fs::read_to_string(path).map(|t| t.trim().to_owned()).ok();
    let machine = named
        .map(str::to_owned)
        .or_else(|| read("/etc/machine-id").filter(|t| !t.is_empty()))
        .or_else(|| read("/proc/sys/kernel/hostname"))
        .unwrap_or_else(|| "unknown".into());
    let boot = read("/proc/sys/kernel/random/boot_id").unwrap_or_else(|| "unknown".into());
    format!("{machine}/{boot}")
}

/// The host's name, for people.
pub fn name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let fine = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    let name: String = name.trim().chars().filter(|c| fine(*c)).take(60).collect();
    if name.is_empty() { "libra".to_owned() } else { name }
}

/// What a host has for jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resources {
    /// Cores.
    pub cores: u32,
    /// Bytes of memory.
    pub memory: u64,
}

/// What this host has: the cgroup's limits where there are any, else the machine's (contract R2).
pub fn resources() -> Resources {
    // Counts the processors that this process may use, and on Linux the cgroup's quota as well.
    let cores =
        std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX));
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_memory(&text));
    let group = cgroup_memory(Path::new("/sys/fs/cgroup"));
    let memory = match (machine, group) {
        (Some(machine), Some(group)) => machine.min(group),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => libra_core::memory::GIB,
    };
    Resources { cores, memory }
}

fn total_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(libra_core::memory::KIB)
}

/// The memory limit of cgroup v2 or v1, if there is one.
fn cgroup_memory(root: &Path) -> Option<u64> {
    let read = |path: &str| std::fs::read_to_string(root.join(path)).ok()?.trim().parse::<u64>().ok();
    read("memory.max").or_else(|| read("memory/memory.limit_in_bytes")).filter(|n| *n > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read() {
        assert_eq!(total_memory("MemTotal:       24576 kB\nMemFree: 1 kB"), Some(24 * 1024 * 1024));
        assert_eq!(total_memory(""), None);
        assert!(resources().memory > 0 && resources().cores > 0);
    }
}
