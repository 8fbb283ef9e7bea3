//! A job's cgroups in version 1: a directory for each controller that Slurm was told to use.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::files;
use super::v2::{granted, sum};
use super::{Reading, number, pids, text};

/// Those that are asked for processes, the best first: `freezer` is where Slurm itself keeps track of them.
const KEEPERS: [&str; 6] = ["freezer", "memory", "cpuacct", "cpuset", "cpu", "blkio"];

/// Reads a job's directories, by controller. What has gone, or is not counted, is None.
pub fn read(dirs: &BTreeMap<&'static str, PathBuf>, sys: &Path) -> Reading {
    let memory = dirs.get("memory").filter(|dir| counts_all(dir));
    let stat = memory.and_then(|dir| text(dir, "memory.stat"));
    let of = |key: &str| stat.as_deref().and_then(|text| files::value(text, key));
    let used = memory.and_then(|dir| number(dir, "memory.usage_in_bytes"));
    let (read_bytes, written_bytes) = dirs.get("blkio").map_or((None, None), |dir| {
        let text = text(dir, "blkio.throttle.io_service_bytes_recursive")
            .or_else(|| text(dir, "blkio.io_service_bytes_recursive"));
        sum(&text.map(|text| files::io_v1(&text)).unwrap_or_default(), sys)
    });
    Reading {
        cpu_nanos: dirs.get("cpuacct").and_then(|dir| number(dir, "cpuacct.usage")),
        working_set: used.map(|used| used.saturating_sub(of("total_inactive_file").unwrap_or(0))),
        file_pages: of("total_cache"),
        peak: memory.and_then(|dir| number(dir, "memory.max_usage_in_bytes")),
        processors: granted(
            dirs.get("cpuset").and_then(|dir| files::processors(&text(dir, "cpuset.cpus")?)),
            dirs.get("cpu").and_then(|dir| {
                // -1 is no quota.
                files::granted(number(dir, "cpu.cfs_quota_us")?, number(dir, "cpu.cfs_period_us")?)
            }),
        ),
        read_bytes,
        written_bytes,
        pids: KEEPERS
            .iter()
            .filter_map(|one| dirs.get(one))
            .map(|dir| pids(dir))
            .find(|pids| !pids.is_empty())
            .unwrap_or_default(),
    }
}

/// False where a directory's figures are without those below it, as old kernels have it unless told otherwise.
fn counts_all(dir: &Path) -> bool {
    text(dir, "memory.use_hierarchy").is_none_or(|text| text.trim() != "0")
}
