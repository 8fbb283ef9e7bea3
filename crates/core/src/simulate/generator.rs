//! Workloads of our own making: the same seed, the same jobs.

use super::{Task, Workload};
use crate::memory::GIB;
use crate::mode::Mode;
use crate::time::MICROS_PER_SECOND;
use crate::turn::{Demand, Micros, Resources};

/// Random numbers from a seed (SplitMix64).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The numbers of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`; 0 for 0.
    pub fn below(&mut self, n: u64) -> u64 {
        let wide = u128::from(self.roll()) * u128::from(n);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// A number from 0 to below 1.
    pub fn unit(&mut self) -> f64 {
        (self.roll() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True once in `n`.
    pub fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// A number from a normal distribution of mean 0 and deviation 1 (Box–Muller).
    pub fn normal(&mut self) -> f64 {
        let (u, v) = (1.0 - self.unit(), self.unit());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }

    /// A number whose logarithm is normal, with this median and spread.
    pub fn log_normal(&mut self, median: f64, sigma: f64) -> f64 {
        median * (sigma * self.normal()).exp()
    }
}

/// What a workload is to be like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recipe {
    /// How many jobs.
    pub jobs: usize,
    /// The seed.
    pub seed: u64,
    /// Cores of the machine that the work is cut for.
    pub cores: u64,
    /// Its memory, in bytes.
    pub memory: u64,
    /// Cores asked for on average, as a part of those that there are.
    pub load: f64,
    /// Tenants. The first has the greatest appetite, and each next one less.
    pub tenants: u32,
}

impl Default for Recipe {
    fn default() -> Self {
        Self { jobs: 50_000, seed: 1, cores: 64, memory: 256 * GIB, load: 0.85, tenants: 8 }
    }
}

/// Run times: their median in seconds, and the spread of their logarithm.
const RUN_MEDIAN: f64 = 60.0;
const RUN_SPREAD: f64 = 1.5;
/// No job runs shorter or longer than this, in seconds.
const RUN_BOUNDS: (f64, f64) = (2.0, 6.0 * 3_600.0);
/// Cores: median and spread.
const CORES_MEDIAN: f64 = 2.5;
const CORES_SPREAD: f64 = 1.1;
/// Time limits that people write, in minutes.
const LIMITS: [i64; 9] = [5, 10, 15, 30, 60, 120, 240, 480, 720];
/// Names of jobs that one user has.
const NAMES: u64 = 6;

/// One kind of job that somebody runs again and again.
struct Kind {
    cores: u64,
    memory: u64,
    seconds: f64,
    limit: Micros,
    priority: u8,
}

fn seconds(s: f64) -> Micros {
    #[expect(clippy::cast_possible_truncation, reason = "bounded by RUN_BOUNDS and the length of a workload")]
    let micros = (s * MICROS_PER_SECOND as f64) as Micros;
    micros
}

fn kind(dice: &mut Dice, recipe: &Recipe) -> Kind {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive, and clamped below"
    )]
    let cores = dice.log_normal(CORES_MEDIAN, CORES_SPREAD).ceil() as u64;
    let cores = cores.clamp(1, recipe.cores.max(1));
    let per_core = recipe.memory / recipe.cores.max(1);
    // Some jobs want more memory for each core than there is, most want less.
    let memory = cores * per_core * [1, 2, 2, 3, 4, 4, 6][usize::try_from(dice.below(7)).unwrap_or(0)] / 4;
    let length = dice.log_normal(RUN_MEDIAN, RUN_SPREAD).clamp(RUN_BOUNDS.0, RUN_BOUNDS.1);
    // People write a limit well above what they expect, or take the default of an hour.
    let wish = length * (1.5 + 4.0 * dice.unit()) / 60.0;
    let fitting = LIMITS.into_iter().find(|m| *m as f64 >= wish).unwrap_or(720);
    let minutes = if dice.once_in(2) { fitting.max(60) } else { fitting };
    let priority = if dice.once_in(10) { 8 } else { 5 };
    Kind {
        cores,
        memory: memory.clamp(GIB / 2, recipe.memory.max(1)),
        seconds: length,
        limit: minutes * 60 * MICROS_PER_SECOND,
        priority,
    }
}

/// Makes a workload: users of different appetite who run the same few jobs again and again, often many at once.
pub fn generate(recipe: &Recipe) -> Workload {
    let mut dice = Dice::new(recipe.seed);
    let tenants = u64::from(recipe.tenants.max(1));
    // The appetite of tenant n is 1 / (n + 1).
    let appetites: Vec<f64> = (1..=tenants).map(|n| 1.0 / n as f64).collect();
    let all: f64 = appetites.iter().sum();
    let users: Vec<u64> = (0..tenants).map(|_| 1 + dice.below(6)).collect();
    let kinds: Vec<Vec<Vec<Kind>>> = users
        .iter()
        .map(|n| (0..*n).map(|_| (0..NAMES).map(|_| kind(&mut dice, recipe)).collect()).collect())
        .collect();
    let mut tasks = Vec::with_capacity(recipe.jobs);
    let mut clock = 0.0;
    while tasks.len() < recipe.jobs {
        // Time is stretched below, so that the load comes out.
        clock += -(1.0 - dice.unit()).ln();
        let mut point = dice.unit() * all;
        let tenant = appetites
            .iter()
            .position(|a| {
                point -= a;
                point < 0.0
            })
            .unwrap_or(0);
        let user = usize::try_from(dice.below(users[tenant])).unwrap_or(0);
        let name = usize::try_from(dice.below(NAMES)).unwrap_or(0);
        let kind = &kinds[tenant][user][name];
        // Most come alone; some by the dozen, a few by the hundred.
        let burst = match dice.below(100) {
            0 => 50 + dice.below(100),
            1..=9 => 5 + dice.below(20),
            _ => 1,
        };
        for _ in 0..burst {
            if tasks.len() == recipe.jobs {
                break;
            }
            let length = (kind.seconds * dice.log_normal(1.0, 0.25)).clamp(RUN_BOUNDS.0, RUN_BOUNDS.1);
            tasks.push((clock, tenant, user, name, length));
        }
    }
    let area: f64 = tasks.iter().map(|(_, t, u, n, length)| kinds[*t][*u][*n].cores as f64 * length).sum();
    let span = area / (recipe.load.max(0.01) * recipe.cores.max(1) as f64);
    let stretch = if clock > 0.0 { span / clock } else { 0.0 };
    let tasks = tasks.into_iter().map(|(at, tenant, user, name, length)| {
        let kind = &kinds[tenant][user][name];
        Task {
            at: seconds(at * stretch),
            queue: "default".into(),
            tenant: format!("tenant-{}", tenant + 1),
            user: format!("user-{}-{}", tenant + 1, user + 1),
            name: format!("job-{}", name + 1),
            priority: kind.priority,
            mode: Mode::SparkSubmit,
            demand: Demand::on_one_node(Resources::new(kind.cores, kind.memory)),
            runs: seconds(length),
            limit: Some(kind.limit),
        }
    });
    Workload::new(tasks.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_jobs() {
        let recipe = Recipe { jobs: 500, ..Recipe::default() };
        assert_eq!(generate(&recipe), generate(&recipe));
        assert_ne!(generate(&recipe), generate(&Recipe { seed: 2, ..recipe }));
        assert!(generate(&recipe).tasks.iter().all(|t| t.demand.driver.cores <= 64 && t.runs > 0));
    }
}
