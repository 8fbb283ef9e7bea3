//! How everybody fared.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::{Outcome, Workload};
use crate::time::MICROS_PER_SECOND;
use crate::turn::{Dimension, Resources, Why};

/// A slowdown counts as if a job ran for at least this long, in seconds: else the shortest jobs would decide alone.
pub const SHORTEST: f64 = 10.0;
/// Who waits longer than this is counted as left waiting, in seconds.
pub const LONG_WAIT: f64 = 6.0 * 3_600.0;

/// How a figure spreads over all jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// Half of them have less.
    pub median: f64,
    /// 95 of 100 have less.
    pub p95: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let Some(max) = values.last().copied() else { return Self::default() };
        let at = |percent: usize| values[(values.len() - 1) * percent / 100];
        Self { mean: values.iter().sum::<f64>() / values.len() as f64, median: at(50), p95: at(95), max }
    }
}

/// How one tenant fared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TenantFigures {
    /// Jobs that ran.
    pub jobs: usize,
    /// Their mean wait, in seconds.
    pub wait: f64,
    /// Their mean bounded slowdown.
    pub slowdown: f64,
}

/// How a workload fared under a policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    /// Jobs that ran.
    pub jobs: usize,
    /// Jobs that never started: larger than everything.
    pub never: usize,
    /// Jobs that started before somebody whose turn was first, without delaying it.
    pub backfilled: usize,
    /// Waits, in seconds.
    pub wait: Spread,
    /// (wait + run) / run, where a run counts as 10 s at least.
    pub slowdown: Spread,
    /// From the first submission to the last end, in seconds.
    pub makespan: f64,
    /// The part of the capacity that was held over that time: of the cores, or of the scarcest that is used at all.
    pub utilisation: f64,
    /// Jain's index of the tenants' mean slowdowns: 1 when all fare alike, 1/n when one bears it all.
    pub fairness: f64,
    /// Jobs that waited longer than six hours.
    pub long_waits: usize,
    /// By tenant.
    pub tenants: BTreeMap<String, TenantFigures>,
}

impl Figures {
    /// The figures of a workload on this capacity.
    pub fn of(workload: &Workload, outcome: &Outcome, capacity: Resources) -> Self {
        let mut figures = Self::default();
        let (mut waits, mut slowdowns) = (Vec::new(), Vec::new());
        let mut areas = [0.0; 4];
        let (mut first, mut last) = (i64::MAX, i64::MIN);
        for (task, ran) in workload.tasks.iter().zip(&outcome.ran) {
            let Some(ran) = ran else {
                figures.never += 1;
                continue;
            };
            let run = ran.to.seconds_since(ran.from);
            let wait = (ran.from.0 - task.at).max(0) as f64 / MICROS_PER_SECOND as f64;
            let slowdown = ((wait + run) / run.max(SHORTEST)).max(1.0);
            waits.push(wait);
            slowdowns.push(slowdown);
            figures.long_waits += usize::from(wait > LONG_WAIT);
            figures.backfilled += usize::from(matches!(ran.why, Why::Backfill { .. }));
            let tenant = figures.tenants.entry(task.tenant.clone()).or_default();
            tenant.jobs += 1;
            tenant.wait += wait;
            tenant.slowdown += slowdown;
            let held = task.demand.reserve();
            for (area, d) in areas.iter_mut().zip(Dimension::ALL) {
                *area += held.get(d) as f64 * run;
            }
            first = first.min(task.at);
            last = last.max(ran.to.0);
        }
        figures.jobs = waits.len();
        figures.makespan = last.saturating_sub(first).max(0) as f64 / MICROS_PER_SECOND as f64;
        let used =
            |(area, d): (f64, Dimension)| area / (capacity.get(d).max(1) as f64 * figures.makespan.max(1e-6));
        let parts: Vec<f64> = areas.into_iter().zip(Dimension::ALL).map(used).collect();
        figures.utilisation = if areas[0] > 0.0 { parts[0] } else { parts.into_iter().fold(0.0, f64::max) };
        for tenant in figures.tenants.values_mut() {
            tenant.wait /= tenant.jobs as f64;
            tenant.slowdown /= tenant.jobs as f64;
        }
        figures.fairness = jain(figures.tenants.values().map(|t| t.slowdown));
        figures.wait = Spread::of(waits);
        figures.slowdown = Spread::of(slowdowns);
        figures
    }
}

/// Jain's index: (Σx)² / (n · Σx²). 1 for nobody.
pub fn jain(values: impl Iterator<Item = f64>) -> f64 {
    let (mut n, mut sum, mut squares) = (0.0, 0.0, 0.0);
    for value in values {
        n += 1.0;
        sum += value;
        squares += value * value;
    }
    if squares == 0.0 { 1.0 } else { sum * sum / (n * squares) }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { wait, slowdown, .. } = self;
        writeln!(f, "jobs {}  never started {}  backfilled {}", self.jobs, self.never, self.backfilled)?;
        writeln!(
            f,
            "wait (s): mean {:.0}  median {:.0}  p95 {:.0}  max {:.0}  over six hours: {} jobs",
            wait.mean, wait.median, wait.p95, wait.max, self.long_waits
        )?;
        writeln!(
            f,
            "bounded slowdown: mean {:.2}  median {:.2}  p95 {:.2}  max {:.2}",
            slowdown.mean, slowdown.median, slowdown.p95, slowdown.max
        )?;
        write!(
            f,
            "utilisation {:.1} %  makespan {:.1} h  fairness (Jain) {:.3}",
            self.utilisation * 100.0,
            self.makespan / 3_600.0,
            self.fairness
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jain_says_how_even_it_is() {
        assert!((jain([2.0, 2.0, 2.0].into_iter()) - 1.0).abs() < 1e-9);
        assert!((jain([3.0, 0.0, 0.0].into_iter()) - 1.0 / 3.0).abs() < 1e-9);
    }
}
