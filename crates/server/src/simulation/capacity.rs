//! What the machines and quotas of a run allow.

use std::collections::BTreeMap;

use libra_core::admission::Limits;
use libra_store::tables::jobs::Holding;

use super::plan::Plan;
use crate::service::usage_of;

/// What may be reserved.
#[derive(Clone)]
pub(super) struct Capacity {
    /// Cores and bytes by machine.
    hosts: BTreeMap<String, (u64, u64)>,
    limits: Limits,
}

impl Capacity {
    pub(super) fn of(plan: &Plan, limits: Limits) -> Self {
        let hosts = plan.hosts.iter().map(|h| (h.machine.clone(), (h.cores, h.memory))).collect();
        Self { hosts, limits }
    }

    /// Every limit that what is held exceeds, in words.
    pub(super) fn exceeded(&self, holding: &[Holding]) -> Vec<String> {
        let usage = usage_of(holding);
        let mut wrong = Vec::new();
        for (machine, held) in &usage.hosts {
            let (cores, memory) = self.hosts.get(machine).copied().unwrap_or_default();
            if held.cores > cores || held.memory > memory {
                wrong.push(format!("{machine} has {cores} cores and {memory} bytes; {held:?} are held"));
            }
        }
        for (mode, jobs) in &usage.jobs {
            let most = self.limits.modes.get(mode).map_or(0, |quota| quota.max_concurrent_jobs);
            if *jobs > most {
                wrong.push(format!("{jobs} jobs in {}, {most} may be", mode.as_str()));
            }
        }
        wrong
    }
}
