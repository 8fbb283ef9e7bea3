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
