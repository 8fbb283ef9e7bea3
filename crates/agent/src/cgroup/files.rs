//! The files of cgroups, as text.

/// Nanoseconds in a microsecond.
const NANOS: u64 = 1_000;
/// Processors that a list may name, at most; a longer one is none.
const MOST_PROCESSORS: u32 = 1 << 16;

/// The number behind `key` in a file of `key number` lines: `memory.stat`, `cpu.stat`.
pub fn value(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (name, number) = line.split_once(' ')?;
        (name == key).then(|| number.trim().parse().ok()).flatten()
    })
}

/// Processor time from `cpu.stat` of version 2, in nanoseconds.
pub fn cpu_nanos(text: &str) -> Option<u64> {
    value(text, "usage_usec")?.checked_mul(NANOS)
}

/// Processors that `cpu.max` of version 2 grants: `150000 100000` are one and a half, `max 100000` is no word on it.
pub fn quota(text: &str) -> Option<f64> {
    let mut fields = text.split_ascii_whitespace();
    let quota: u64 = fields.next()?.parse().ok()?;
    let period: u64 = fields.next()?.parse().ok()?;
    granted(quota, period)
}

/// The same from two numbers; a quota of 0 is none.
pub fn granted(quota: u64, period: u64) -> Option<f64> {
    (quota > 0 && period > 0).then(|| quota as f64 / period as f64)
}

/// How many processors a list names: `0-3,8`. None for an empty one, and where it is no such list.
pub fn processors(text: &str) -> Option<u32> {
    let mut count = 0u32;
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if last < first || last >= MOST_PROCESSORS {
            return None;
        }
        count = count.checked_add(last - first + 1)?;
    }
    Some(count)
}

/// The pids of `cgroup.procs`. 0 stands for one of another pid namespace.
pub fn pids(text: &str) -> Vec<u32> {
    text.lines().filter_map(|line| line.trim().parse().ok()).filter(|pid| *pid != 0).collect()
}

/// What one device has read and written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceIo {
    /// Major and minor number: `8:0`.
    pub device: String,
    /// Bytes read.
    pub read: u64,
    /// Bytes written.
    pub written: u64,
}

/// Reads `io.stat` of version 2: `8:0 rbytes=1 wbytes=2 rios=…`.
pub fn io_v2(text: &str) -> Vec<DeviceIo> {
    let line = |line: &str| {
        let (device, rest) = line.split_once(' ')?;
        let of = |key: &str| {
            rest.split_ascii_whitespace()
                .find_map(|pair| pair.strip_prefix(key)?.strip_prefix('=')?.parse().ok())
        };
        Some(DeviceIo { device: device.to_owned(), read: of("rbytes")?, written: of("wbytes")? })
    };
    text.lines().filter_map(line).collect()
}

/// Reads `blkio.throttle.io_service_bytes_recursive` of version 1: `8:0 Read 1`, `8:0 Write 2`, …, `Total 3`.
pub fn io_v1(text: &str) -> Vec<DeviceIo> {
    let mut devices: Vec<DeviceIo> = Vec::new();
    for line in text.lines() {
        let mut fields = line.split_ascii_whitespace();
        let (Some(device), Some(what), Some(bytes)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let Ok(bytes) = bytes.parse::<u64>() else { continue };
        let place = devices.iter().position(|known| known.device == device).unwrap_or_else(|| {
            devices.push(DeviceIo { device: device.to_owned(), read: 0, written: 0 });
            devices.len() - 1
        });
        match what {
            "Read" => devices[place].read = bytes,
            "Write" => devices[place].written = bytes,
            _ => {}
        }
    }
    devices
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_their_whole_name() {
        let text = "anon 10\nfile 20\ninactive_file 7\n";
        assert_eq!(value(text, "file"), Some(20));
        assert_eq!(value(text, "inactive_file"), Some(7));
        assert_eq!(value(text, "active_file"), None);
        assert_eq!(cpu_nanos("usage_usec 2500\nuser_usec 2000\n"), Some(2_500_000));
    }

    #[test]
    fn what_a_job_may_use_is_read() {
        assert_eq!(quota("150000 100000\n"), Some(1.5));
        assert_eq!(quota("max 100000\n"), None);
        assert_eq!((processors("0-3,8\n"), processors("5"), processors("\n")), (Some(5), Some(1), None));
        for list in ["3-1", "a", "0-4000000000", "1,,2"] {
            assert_eq!(processors(list), None, "{list}");
        }
    }

    #[test]
    fn bytes_are_read_for_each_device() {
        let v2 =
            io_v2("8:0 rbytes=100 wbytes=200 rios=1 wios=2 dbytes=0 dios=0\n253:0 rbytes=1 wbytes=2\n7:0 \n");
        assert_eq!(v2.len(), 2);
        assert_eq!(v2[0], DeviceIo { device: "8:0".to_owned(), read: 100, written: 200 });
        let v1 = io_v1("8:0 Read 100\n8:0 Write 200\n8:0 Sync 1\n8:0 Total 300\nTotal 300\n");
        assert_eq!(v1, [DeviceIo { device: "8:0".to_owned(), read: 100, written: 200 }]);
        assert_eq!(pids("12\n0\n34\nx\n"), [12, 34]);
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(?s).{0,200}", near in "([0-9]{1,20}[ :,-]|max |rbytes=|Read |\n){0,12}") {
            for text in [text, near] {
                let _ = (value(&text, "file"), cpu_nanos(&text), quota(&text), processors(&text));
                let _ = (pids(&text), io_v1(&text), io_v2(&text));
            }
        }

        #[test]
        fn a_list_has_as_many_processors_as_it_names(ranges in proptest::collection::vec((0u32..500, 0u32..20), 1..6)) {
            let list: Vec<String> = ranges.iter().map(|(first, more)| format!("{first}-{}", first + more)).collect();
            let count: u32 = ranges.iter().map(|(_, more)| more + 1).sum();
            proptest::prop_assert_eq!(processors(&list.join(",")), Some(count));
        }
    }
}
