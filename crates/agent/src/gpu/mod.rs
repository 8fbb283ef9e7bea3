//! GPUs: what they do, and for whom.

pub mod assign;
pub mod nvml;

/// A GPU at one look. What it does not say is None.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Device {
    /// Its name for ever.
    pub uuid: String,
    /// The number of its device file: `/dev/nvidia0`.
    pub minor: Option<u32>,
    /// Percent of the time that it had something to do, 0–100.
    pub usage: Option<f64>,
    /// What it draws, in watts.
    pub power_watts: Option<f64>,
    /// What it has drawn since its driver was loaded, in joules.
    pub energy_joules: Option<f64>,
    /// The instances that it is divided into; None when it is whole (no MIG).
    pub instances: Option<u32>,
    /// The processes that use it.
    pub processes: Vec<GpuProcess>,
}

/// A process on a GPU, or on an instance of one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GpuProcess {
    /// Its number.
    pub pid: u32,
    /// Memory that it holds there, in bytes.
    pub memory: Option<u64>,
    /// Percent of the time that it had something to do there, 0–100.
    pub usage: Option<f64>,
}

/// Where GPUs are asked.
pub trait Gpus: Send {
    /// What they say now; none where there are none, or where they do not answer.
    fn look(&mut self) -> Vec<Device>;
}

/// A node without any.
#[derive(Debug, Default)]
pub struct NoGpus;

impl Gpus for NoGpus {
    fn look(&mut self) -> Vec<Device> {
        Vec::new()
    }
}

/// GPUs whose driver may be loaded later than the agent.
pub struct LateGpus {
    load: Load,
    loaded: Option<Box<dyn Gpus>>,
    waits: u32,
}

/// Loads a driver's library; else the reason why there is none.
pub type Load = fn() -> Result<Box<dyn Gpus>, String>;

/// Where there are none they are looked for again after so many looks.
const LOOK_AGAIN: u32 = 20;

impl LateGpus {
    /// Those that `load` finds, now or later; with the reason why there are none yet.
    pub fn new(load: Load) -> (Self, Option<String>) {
        let (loaded, reason) = match load() {
            Ok(gpus) => (Some(gpus), None),
            Err(reason) => (None, Some(reason)),
        };
        (Self { load, loaded, waits: 0 }, reason)
    }
}

impl Gpus for LateGpus {
    fn look(&mut self) -> Vec<Device> {
        if self.loaded.is_none() {
            self.waits += 1;
            if self.waits >= LOOK_AGAIN {
                self.waits = 0;
                self.loaded = (self.load)().ok();
            }
        }
        self.loaded.as_mut().map(|gpus| gpus.look()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    struct One;

    impl Gpus for One {
        fn look(&mut self) -> Vec<Device> {
            vec![Device::default()]
        }
    }

    #[test]
    fn a_driver_that_comes_later_is_found() {
        static TRIES: AtomicU32 = AtomicU32::new(0);
        let (mut gpus, reason) = LateGpus::new(|| match TRIES.fetch_add(1, Ordering::Relaxed) {
            0 | 1 => Err("no driver".to_owned()),
            _ => Ok(Box::new(One)),
        });
        assert_eq!(reason.as_deref(), Some("no driver"));
        let seen: Vec<usize> = (0..2 * LOOK_AGAIN).map(|_| gpus.look().len()).collect();
        assert_eq!(seen.iter().sum::<usize>(), 1, "at the second time that it is looked for");
        assert_eq!(TRIES.load(Ordering::Relaxed), 3, "it is not looked for at every look");
    }
}
