//! A job's cgroup in version 2: one directory with everything, that of ended steps included.

use std::path::Path;

use super::files::{self, DeviceIo};
use super::{Reading, number, pids, text};

/// Reads a job's directory. What has gone, or is not counted, is None.
pub fn read(dir: &Path, sys: &Path) -> Reading {
    let memory = text(dir, "memory.stat");
    let of = |key: &str| memory.as_deref().and_then(|text| files::value(text, key));
    let used = number(dir, "memory.current");
    let (read_bytes, written_bytes) =
        sum(&text(dir, "io.stat").map(|text| files::io_v2(&text)).unwrap_or_default(), sys);
    Reading {
        cpu_nanos: text(dir, "cpu.stat").and_then(|text| files::cpu_nanos(&text)),
        working_set: used.map(|used| used.saturating_sub(of("inactive_file").unwrap_or(0))),
        file_pages: of("file"),
        peak: number(dir, "memory.peak"),
        processors: granted(
            text(dir, "cpuset.cpus.effective").and_then(|list| files::processors(&list)),
            text(dir, "cpu.max").and_then(|text| files::quota(&text)),
        ),
        read_bytes,
        written_bytes,
        pids: pids(dir),
    }
}

/// What a set of processors and a quota leave.
pub(super) fn granted(set: Option<u32>, quota: Option<f64>) -> Option<f64> {
    let set = set.filter(|count| *count > 0).map(f64::from);
    match (set, quota) {
        (Some(set), Some(quota)) => Some(set.min(quota)),
        (set, quota) => set.or(quota),
    }
}

/// Bytes of all devices; None without any. What a device made of others passes on is counted with those.
pub(super) fn sum(devices: &[DeviceIo], sys: &Path) -> (Option<u64>, Option<u64>) {
    let is_made_of_others = |device: &str| {
        let slaves = sys.join("dev/block").join(device).join("slaves");
        std::fs::read_dir(slaves).is_ok_and(|mut slaves| slaves.next().is_some())
    };
    let mut total = None;
    for device in devices.iter().filter(|one| one.device != "Total" && !is_made_of_others(&one.device)) {
        let (read, written) = total.unwrap_or((0u64, 0u64));
        total = Some((read.saturating_add(device.read), written.saturating_add(device.written)));
    }
    total.unzip()
}
