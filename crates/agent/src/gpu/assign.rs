//! Whose a GPU's figures are.
//!
//! A GPU that one job has alone says what that job does. On one that several share, or that is divided (MIG), each has
//! its own processes' figures, and what the GPU tells for all of them together is nobody's.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Device;
use crate::job::Job;

/// What a job does on its GPUs. What can't be said is None.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GpuUse {
    /// Percent of the time that they had something to do, their mean.
    pub usage: Option<f64>,
    /// Memory that it holds there, in bytes.
    pub memory: Option<u64>,
    /// What they draw, in watts.
    pub power_watts: Option<f64>,
    /// The energy counters of those that it has alone, by their UUID; None when one of its GPUs has none, or is shared.
    pub energy_joules: Option<BTreeMap<String, f64>>,
}

/// What each job does. `owner` says whose process a pid is; `allotted` are the GPUs that jobs were given, by the numbers
/// of their device files, used or not. Instances have no such numbers: on a divided GPU only processes count.
pub fn assign(
    devices: &[Device],
    owner: impl Fn(u32) -> Option<Job>,
    allotted: &BTreeMap<Job, Vec<u32>>,
) -> HashMap<Job, GpuUse> {
    let divided = devices.iter().any(|device| device.instances.is_some());
    let mut shares: HashMap<Job, Vec<GpuUse>> = HashMap::new();
    for device in devices {
        let owners: Vec<Option<Job>> = device.processes.iter().map(|process| owner(process.pid)).collect();
        let strangers = owners.iter().any(Option::is_none);
        let mut holders: BTreeSet<Job> = owners.iter().flatten().cloned().collect();
        if !divided && let Some(minor) = device.minor {
            holders.extend(
                allotted.iter().filter(|(_, minors)| minors.contains(&minor)).map(|(job, _)| job.clone()),
            );
        }
        let alone = holders.len() == 1 && !strangers && device.instances.is_none_or(|count| count == 1);
        for job in holders {
            let own: Vec<_> = device
                .processes
                .iter()
                .zip(&owners)
                .filter(|(_, owner)| owner.as_ref() == Some(&job))
                .map(|(process, _)| process)
                .collect();
            let memory = own.iter().try_fold(0u64, |sum, process| Some(sum.saturating_add(process.memory?)));
            let share = if alone {
                GpuUse {
                    usage: device.usage,
                    memory,
                    power_watts: device.power_watts,
                    energy_joules: device
                        .energy_joules
                        .map(|joules| BTreeMap::from([(device.uuid.clone(), joules)])),
                }
            } else {
                // A process that the GPU names without a figure may have done anything.
                let usage = own.iter().try_fold(0.0, |sum, process| Some(sum + process.usage?));
                let usage = usage.filter(|_| device.instances.is_none()).map(|sum: f64| sum.min(100.0));
                GpuUse { usage, memory, power_watts: None, energy_joules: None }
            };
            shares.entry(job).or_default().push(share);
        }
    }
    shares.into_iter().map(|(job, shares)| (job, together(shares))).collect()
}

/// Several GPUs' figures as one: what one of them does not say is not known of all.
fn together(shares: Vec<GpuUse>) -> GpuUse {
    let count = shares.len() as f64;
    let usages: Option<f64> = shares.iter().map(|share| share.usage).sum();
    let memory = shares.iter().try_fold(0u64, |sum, share| Some(sum.saturating_add(share.memory?)));
    let power_watts: Option<f64> = shares.iter().map(|share| share.power_watts).sum();
    let energies: Option<Vec<BTreeMap<String, f64>>> =
        shares.into_iter().map(|share| share.energy_joules).collect();
    GpuUse {
        usage: usages.map(|sum| sum / count),
        memory,
        power_watts,
        energy_joules: energies.map(|all| all.into_iter().flatten().collect()),
    }
}

/// What a job's GPUs have drawn since it was first seen, in joules.
#[derive(Debug, Default)]
pub struct Meter {
    last: Option<BTreeMap<String, f64>>,
    joules: f64,
    lost: bool,
}

impl Meter {
    /// It has no GPU at present: what those that it had draw meanwhile is not its own.
    pub fn rest(&mut self) {
        self.last = None;
    }

    /// The sum after this look; None once a part of it could not be measured.
    pub fn look(&mut self, now: Option<&BTreeMap<String, f64>>) -> Option<f64> {
        let Some(now) = now else {
            self.lost = true;
            return None;
        };
        for (uuid, joules) in now {
            let before = self.last.as_ref().and_then(|last| last.get(uuid));
            // A counter that has fallen began again with its driver.
            self.joules += before.map_or(0.0, |before| (joules - before).max(0.0));
        }
        self.last = Some(now.clone());
        (!self.lost).then_some(self.joules)
    }
}

#[cfg(test)]
#[path = "assign_tests.rs"]
mod tests;
