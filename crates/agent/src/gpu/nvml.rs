//! GPUs by NVIDIA's own library, which is loaded when the agent starts; where it is not installed there are none.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;

use nvml_wrapper::enum_wrappers::device::Sampling;
use nvml_wrapper::enums::device::{SampleValue, UsedGpuMemory};
use nvml_wrapper::struct_wrappers::device::ProcessInfo;
use nvml_wrapper::{Device as Handle, Nvml};

use super::{Device, GpuProcess, Gpus};

/// The library as drivers install it; the name without a number comes with the developers' files alone.
const LIBRARY: &str = "libnvidia-ml.so.1";
/// Milliwatts in a watt, millijoules in a joule.
const MILLI: f64 = 1_000.0;

/// The GPUs of this node.
pub struct NvidiaGpus {
    nvml: Nvml,
    /// When the last figures of each were taken, in the driver's microseconds: of a GPU, and of the processes on it.
    seen: HashMap<String, (u64, u64)>,
}

impl NvidiaGpus {
    /// Loads the library.
    ///
    /// # Errors
    /// Why there are none: no library, no driver, no permission.
    pub fn load() -> Result<Box<dyn Gpus>, String> {
        let nvml = Nvml::builder().lib_path(OsStr::new(LIBRARY)).init().map_err(|e| e.to_string())?;
        Ok(Box::new(Self { nvml, seen: HashMap::new() }))
    }
}

impl Gpus for NvidiaGpus {
    fn look(&mut self) -> Vec<Device> {
        let count = self.nvml.device_count().unwrap_or(0);
        let mut devices = Vec::new();
        for index in 0..count {
            // One that has fallen off the bus, or may not be seen, is not there.
            let Ok(handle) = self.nvml.device_by_index(index) else { continue };
            let Ok(uuid) = handle.uuid() else { continue };
            let seen = self.seen.entry(uuid.clone()).or_default();
            devices.push(read(&handle, uuid, seen));
        }
        devices
    }
}

fn read(handle: &Handle<'_>, uuid: String, (seen, processes_seen): &mut (u64, u64)) -> Device {
    let is_divided = handle.mig_mode().is_ok_and(|mode| mode.current != 0);
    let parts: Vec<Handle<'_>> = if is_divided {
        // Places without an instance answer that there is none.
        let places = handle.mig_device_count().unwrap_or(0);
        (0..places).filter_map(|place| handle.mig_device_by_index(place).ok()).collect()
    } else {
        Vec::new()
    };
    let mut processes = BTreeMap::new();
    for part in if is_divided { parts.iter().collect() } else { vec![handle] } {
        let running = part.running_compute_processes().unwrap_or_default().into_iter();
        let running = running.chain(part.running_graphics_processes().unwrap_or_default());
        add(&mut processes, running);
    }
    if !is_divided {
        for (pid, usage) in usages(handle, processes_seen) {
            if let Some(process) = processes.get_mut(&pid) {
                process.usage = Some(usage);
            }
        }
    }
    Device {
        uuid,
        minor: handle.minor_number().ok(),
        usage: if is_divided { None } else { usage(handle, seen) },
        power_watts: handle.power_usage().ok().map(|milliwatts| f64::from(milliwatts) / MILLI),
        energy_joules: handle.total_energy_consumption().ok().map(|millijoules| millijoules as f64 / MILLI),
        instances: is_divided.then(|| u32::try_from(parts.len()).unwrap_or(u32::MAX)),
        processes: processes.into_values().collect(),
    }
}

/// Adds processes. One that computes and draws is listed twice with the same memory; one on two instances has both.
fn add(all: &mut BTreeMap<u32, GpuProcess>, running: impl Iterator<Item = ProcessInfo>) {
    let mut here: BTreeMap<u32, Option<u64>> = BTreeMap::new();
    for info in running {
        let memory = match info.used_gpu_memory {
            UsedGpuMemory::Used(bytes) => Some(bytes),
            UsedGpuMemory::Unavailable => None,
        };
        let known = here.entry(info.pid).or_insert(memory);
        *known = (*known).max(memory);
    }
    for (pid, memory) in here {
        let process = all.entry(pid).or_insert(GpuProcess { pid, memory: Some(0), usage: None });
        process.memory = process.memory.zip(memory).map(|(before, more)| before.saturating_add(more));
    }
}

/// The mean of what the driver has noted since the last look; where it notes nothing, what it says of this moment.
fn usage(handle: &Handle<'_>, seen: &mut u64) -> Option<f64> {
    let noted = handle.samples(Sampling::GpuUtilization, *seen).unwrap_or_default();
    // The list has room for more than there are: those have no time.
    let noted: Vec<(u64, f64)> = noted
        .into_iter()
        .filter(|sample| sample.timestamp > *seen)
        .filter_map(|sample| Some((sample.timestamp, number(&sample.value)?)))
        .collect();
    if noted.is_empty() {
        return handle.utilization_rates().ok().map(|rates| f64::from(rates.gpu).min(100.0));
    }
    *seen = noted.iter().map(|(time, _)| *time).fold(*seen, u64::max);
    let sum: f64 = noted.iter().map(|(_, value)| value).sum();
    Some((sum / noted.len() as f64).clamp(0.0, 100.0))
}

fn number(value: &SampleValue) -> Option<f64> {
    let number = match value {
        SampleValue::F64(value) => *value,
        SampleValue::U32(value) => f64::from(*value),
        SampleValue::U64(value) => *value as f64,
        SampleValue::I64(value) => *value as f64,
    };
    Some(number).filter(|number| number.is_finite())
}

/// What each process had to do since the last look, the mean of what the driver has noted.
fn usages(handle: &Handle<'_>, seen: &mut u64) -> BTreeMap<u32, f64> {
    let noted = handle.process_utilization_stats(*seen).unwrap_or_default();
    let mut sums: BTreeMap<u32, (f64, f64)> = BTreeMap::new();
    let mut last = *seen;
    for sample in noted.into_iter().filter(|sample| sample.timestamp > *seen && sample.sm_util <= 100) {
        let (sum, count) = sums.entry(sample.pid).or_default();
        *sum += f64::from(sample.sm_util);
        *count += 1.0;
        last = last.max(sample.timestamp);
    }
    *seen = last;
    sums.into_iter().map(|(pid, (sum, count))| (pid, sum / count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(pid: u32, used_gpu_memory: UsedGpuMemory) -> ProcessInfo {
        ProcessInfo { pid, used_gpu_memory, gpu_instance_id: None, compute_instance_id: None }
    }

    #[test]
    fn a_process_that_is_listed_twice_holds_its_memory_once() {
        let mut all = BTreeMap::new();
        add(
            &mut all,
            [
                info(1, UsedGpuMemory::Used(5)),
                info(1, UsedGpuMemory::Used(5)),
                info(2, UsedGpuMemory::Unavailable),
            ]
            .into_iter(),
        );
        assert_eq!((all[&1].memory, all[&2].memory), (Some(5), None));
        // On a second instance it holds more.
        add(&mut all, [info(1, UsedGpuMemory::Used(7))].into_iter());
        assert_eq!(all[&1].memory, Some(12));
    }

    #[test]
    fn where_there_is_no_library_there_are_no_gpus_and_a_reason() {
        match NvidiaGpus::load() {
            Ok(mut gpus) => assert!(gpus.look().iter().all(|gpu| !gpu.uuid.is_empty())),
            Err(reason) => assert!(!reason.is_empty()),
        }
    }
}
