//! What the whole node uses.

use std::fs;
use std::path::Path;

/// The node's processor time and processors, from `/proc/stat`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Processors {
    /// Ticks at work, of all processors.
    pub busy: u64,
    /// Ticks in all.
    pub total: u64,
    /// Processors that are switched on.
    pub count: u32,
}

/// The node's memory, in bytes, from `/proc/meminfo`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// All of it.
    pub total: u64,
    /// What new programs could have.
    pub available: u64,
}

impl Memory {
    /// What is not available.
    pub fn used(self) -> u64 {
        self.total.saturating_sub(self.available)
    }
}

impl Processors {
    /// Percent at work since `before`; None where nothing can be said.
    pub fn usage_since(self, before: Self) -> Option<f64> {
        // Waiting for a disk is counted back and forth by the kernel: what falls says nothing.
        let busy = self.busy.checked_sub(before.busy)?;
        let total = self.total.checked_sub(before.total).filter(|ticks| *ticks > 0)?;
        Some((busy as f64 / total as f64 * 100.0).min(100.0))
    }
}

/// Reads `/proc/stat`.
pub fn parse_stat(text: &str) -> Option<Processors> {
    let first = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = first.split_ascii_whitespace().map_while(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; what follows, time for guests, is in user and nice already.
    let counted = ticks.get(..ticks.len().min(8)).filter(|counted| counted.len() >= 4)?;
    let total = counted.iter().fold(0u64, |sum, ticks| sum.saturating_add(*ticks));
    let idle = counted[3].saturating_add(counted.get(4).copied().unwrap_or(0));
    let numbered = |line: &&str| {
        line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let count = u32::try_from(text.lines().filter(numbered).count()).ok()?;
    Some(Processors { busy: total.saturating_sub(idle), total, count })
}

/// Reads `/proc/meminfo`.
pub fn parse_meminfo(text: &str) -> Option<Memory> {
    let of = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        kib.checked_mul(1_024)
    };
    Some(Memory { total: of("MemTotal")?, available: of("MemAvailable")? })
}

/// Reads the first number of `/proc/uptime`, in hundredths of a second.
pub fn parse_uptime(text: &str) -> Option<u64> {
    let (seconds, rest) = text.split_ascii_whitespace().next()?.split_once('.')?;
    let hundredths: u64 = rest.get(..2)?.parse().ok()?;
    seconds.parse::<u64>().ok()?.checked_mul(100)?.checked_add(hundredths)
}

/// The node's processors now; None where they can't be read.
pub fn processors(proc: &Path) -> Option<Processors> {
    parse_stat(&fs::read_to_string(proc.join("stat")).ok()?)
}

/// The node's memory now; None where it can't be read.
pub fn memory(proc: &Path) -> Option<Memory> {
    parse_meminfo(&fs::read_to_string(proc.join("meminfo")).ok()?)
}

/// For how long the machine has run, in hundredths of a second.
pub fn uptime(proc: &Path) -> Option<u64> {
    parse_uptime(&fs::read_to_string(proc.join("uptime")).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "cpu  100 10 50 800 40 0 5 5 30 0\ncpu0 50 5 25 400 20 0 2 3 15 0\ncpu1 50 5 25 400 20 0 3 2 15 0\nintr 1\n";

    #[test]
    fn time_for_guests_is_not_counted_twice_and_waiting_is_no_work() {
        let seen = parse_stat(STAT).unwrap();
        assert_eq!(seen, Processors { busy: 170, total: 1_010, count: 2 });
        let later = Processors { busy: 270, total: 1_210, count: 2 };
        assert_eq!(later.usage_since(seen), Some(50.0));
        assert_eq!(seen.usage_since(seen), None);
        assert_eq!(seen.usage_since(later), None, "a counter that falls says nothing");
    }

    #[test]
    fn memory_that_could_be_had_is_not_used() {
        let text = "MemTotal:       16384 kB\nMemFree:   1 kB\nMemAvailable:   4096 kB\n";
        let memory = parse_meminfo(text).unwrap();
        assert_eq!((memory.total, memory.used()), (16 << 20, 12 << 20));
        assert_eq!(parse_meminfo("MemTotal: 1 kB\n"), None);
        assert_eq!(parse_uptime("123.45 67.8\n"), Some(12_345));
    }

    #[test]
    fn this_machine_is_read() {
        let proc = Path::new("/proc");
        assert!(processors(proc).unwrap().count > 0);
        assert!(memory(proc).unwrap().used() > 0);
        assert!(uptime(proc).unwrap() > 0);
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".*", near in "(cpu[0-9 ]*\n|MemTotal:[ 0-9kB]*\n|[0-9.]*){0,4}") {
            for text in [text, near] {
                let _ = (parse_stat(&text), parse_meminfo(&text), parse_uptime(&text));
            }
        }
    }
}
