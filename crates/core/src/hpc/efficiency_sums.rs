//! What many jobs have made of what they were given, together (contract H7).

use super::efficiency::{Efficiency, Share};

/// A full percentage.
const ALL: f64 = 100.0;

/// One thing of many jobs: what they had of it beside what they used, where both are known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sum {
    /// Jobs of which both are known.
    pub jobs: u64,
    /// What those had.
    pub allocated: f64,
    /// What they used.
    pub used: f64,
    /// What all jobs had, also those that nobody has measured, and how much of that was measured.
    all: f64,
    covered: f64,
}

impl Sum {
    /// Counts a job in; `times` is for how long it had it, where that is not in the figure.
    fn add(&mut self, share: &Share, times: f64) {
        let Some(has) = share.allocated.or(share.requested).filter(|has| *has > 0.0) else { return };
        self.all += has * times;
        self.covered += has * times * share.coverage / ALL;
        if let Some(used) = share.used {
            self.jobs += 1;
            self.allocated += has * times;
            self.used += used * times;
        }
    }

    /// What was used of what they had, percent; None where nothing is known.
    pub fn percent(&self) -> Option<f64> {
        (self.jobs > 0 && self.allocated > 0.0).then(|| ALL * self.used / self.allocated)
    }

    /// How much of what all jobs had was measured, percent.
    pub fn coverage(&self) -> f64 {
        if self.all > 0.0 { ALL * self.covered / self.all } else { 0.0 }
    }
}

/// Many jobs together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    /// How many.
    pub jobs: u64,
    /// Those of which anything was measured.
    pub measured: u64,
    /// Processors times seconds.
    pub cpu: Sum,
    /// MiB times seconds: what a job needed at most counts for all its time.
    pub memory: Sum,
    /// GPUs times seconds.
    pub gpu: Sum,
    /// Seconds of their time limits.
    pub time: Sum,
}

impl Sums {
    /// Counts a job in.
    pub fn add(&mut self, job: &Efficiency) {
        self.jobs += 1;
        self.measured += u64::from(job.samples > 0);
        self.cpu.add(&job.cpu, 1.0);
        self.memory.add(&job.memory, job.runtime.unwrap_or(0.0));
        self.gpu.add(&job.gpu, 1.0);
        self.time.add(&job.time, 1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_that_nobody_has_measured_count_for_the_coverage_alone() {
        let share = |used: Option<f64>, coverage| Share {
            allocated: Some(100.0),
            used,
            percent: used,
            coverage,
            ..Share::default()
        };
        let job = |cpu| Efficiency { runtime: Some(10.0), cpu, samples: 1, ..Efficiency::default() };
        let mut sums = Sums::default();
        sums.add(&job(share(Some(50.0), 100.0)));
        sums.add(&job(share(None, 0.0)));
        assert_eq!(
            (sums.jobs, sums.cpu.jobs, sums.cpu.percent(), sums.cpu.coverage()),
            (2, 1, Some(50.0), 50.0)
        );
        assert_eq!((sums.gpu.percent(), sums.gpu.coverage()), (None, 0.0));
    }
}
