//! Who gets how much, and that everybody's turn comes.

use std::collections::{BTreeMap, BTreeSet};

use libra_core::id::JobId;
use libra_core::memory::GIB;
use libra_core::simulate::{Dice, Setting, Task, Workload, run};
use libra_core::time::Timestamp;
use libra_core::turn::{Demand, Policy, Resources, RunTime, Scheduler, Shares};

use crate::world::{SECOND, host, job, seed_or};

/// Somebody who always has jobs waiting.
pub struct Rival {
    pub share: u32,
    pub cores: u64,
    /// Shortest and longest run, in seconds.
    pub seconds: (u64, u64),
}

/// What each rival held of all that was held over a day, when each always has 20 jobs waiting.
pub fn contest(seed: u64, cores: u64, rivals: &[Rival], memory: i64) -> Vec<f64> {
    let mut dice = Dice::new(seed);
    let mut policy = Policy { memory, ..Policy::default() };
    for (n, rival) in rivals.iter().enumerate() {
        policy.tenants.insert(format!("tenant-of-{n}"), Shares { share: rival.share, ..Shares::default() });
    }
    let mut scheduler = Scheduler::new(policy, &host(cores), Timestamp(0));
    let mut next = 0u64;
    let mut owner: BTreeMap<JobId, (usize, i64)> = BTreeMap::new();
    let mut ends: BTreeSet<(Timestamp, JobId)> = BTreeSet::new();
    let mut held = vec![0f64; rivals.len()];
    let mut submit = |n: usize, now: Timestamp, scheduler: &mut Scheduler, dice: &mut Dice| {
        next += 1;
        let (least, most) = rivals[n].seconds;
        let seconds = i64::try_from(least + dice.below(most - least + 1)).unwrap();
        let mut job = job(next, &n.to_string(), rivals[n].cores, seconds);
        job.since = now;
        scheduler.queued(&job);
        (job.id, (n, seconds * SECOND))
    };
    for n in 0..rivals.len() {
        for _ in 0..20 {
            owner.extend([submit(n, Timestamp(0), &mut scheduler, &mut dice)]);
        }
    }
    let mut now = Timestamp(0);
    while now.0 < 24 * 3_600 * SECOND {
        for decision in scheduler.pass(now) {
            let (n, length) = owner[&decision.job];
            ends.insert((now.plus_micros(length), decision.job));
            held[n] += rivals[n].cores as f64 * length as f64;
            owner.extend([submit(n, now, &mut scheduler, &mut dice)]);
        }
        let Some((end, gone)) = ends.pop_first() else { break };
        now = end;
        scheduler.advance(now);
        scheduler.ended(gone);
        owner.remove(&gone);
    }
    let all: f64 = held.iter().sum();
    held.into_iter().map(|h| h / all).collect()
}

fn rivals(dice: &mut Dice, shares: [u32; 2]) -> Vec<Rival> {
    shares
        .map(|share| {
            let shortest = 5 + dice.below(60);
            // Neither needs more at once than its share allows.
            Rival { share, cores: 1 + dice.below(8), seconds: (shortest, shortest + dice.below(600)) }
        })
        .into()
}

const HOUR: i64 = 3_600 * SECOND;

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig {
        cases: std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(3),
        failure_persistence: None,
        max_shrink_iters: 0,
        ..Default::default()
    })]
    #[test]
    fn equal_shares_come_within_five_percent(seed: u64) {
        let seed = seed_or(seed);
        let held = contest(seed, 40, &rivals(&mut Dice::new(seed), [1, 1]), HOUR);
        proptest::prop_assert!((held[0] - 0.5).abs() < 0.025, "seed {seed}: {held:?}");
    }

    /// Small jobs of ever new people keep two thirds of the host busy; now and then one comes that needs all of it.
    #[test]
    fn with_bounded_arrival_nobody_starves(seed: u64) {
        let seed = seed_or(seed);
        let mut dice = Dice::new(seed);
        let mut tasks = Vec::new();
        for minute in 0..24 * 60i64 {
            for n in 0..4 {
                let who = format!("new-{minute}-{n}");
                // 4 jobs a minute × 2.5 min × 1 core: ten of sixteen cores.
                tasks.push(task(minute * 60, &who, 1, 60 + i64::try_from(dice.below(180)).unwrap()));
            }
            if dice.once_in(180) {
                tasks.push(task(minute * 60, "large", 16, 300));
            }
        }
        let workload = Workload::new(tasks);
        let setting = Setting { pools: host(16), policy: Policy::default(), learn: false };
        for (task, ran) in workload.tasks.iter().zip(run(&workload, &setting).ran) {
            let ran = ran.expect("everybody runs");
            let wait = (ran.from.0 - task.at) / SECOND;
            proptest::prop_assert!(wait < 3 * 3_600, "seed {seed}: {} of {} waited {wait} s", task.name, task.user);
        }
    }
}

/// Fixed seeds: jobs of eight cores and a share of ten can't always be met as closely; of 900 pairs one was off by more.
#[test]
fn one_to_three_comes_within_ten_percent() {
    for seed in 0..5 {
        let held = contest(seed, 40, &rivals(&mut Dice::new(seed), [1, 3]), HOUR);
        assert!((held[0] - 0.25).abs() < 0.025, "seed {seed}: {held:?}");
    }
}

fn task(second: i64, user: &str, cores: u64, seconds: i64) -> Task {
    Task {
        at: second * SECOND,
        queue: "default".into(),
        tenant: user.into(),
        user: user.into(),
        name: "job".into(),
        priority: 5,
        mode: libra_core::mode::Mode::SparkSubmit,
        demand: Demand::on_one_node(Resources::new(cores, cores * GIB)),
        runs: seconds * SECOND,
        limit: Some(seconds * SECOND),
    }
}

#[test]
fn a_flood_delays_nobody_else() {
    let mut tasks: Vec<Task> = (0..3_000).map(|_| task(0, "flood", 1, 60)).collect();
    tasks.extend((1..60).map(|minute| task(minute * 60 + 7, "ann", 1, 30)));
    let workload = Workload::new(tasks);
    let outcome = run(&workload, &Setting { pools: host(16), policy: Policy::default(), learn: false });
    for (task, ran) in workload.tasks.iter().zip(outcome.ran) {
        if task.user == "ann" {
            let wait = (ran.expect("it runs").from.0 - task.at) / SECOND;
            assert!(wait <= 60, "waited {wait} s, longer than the next end of a job");
        }
    }
}

#[test]
fn one_small_job_does_not_cost_a_user_its_turn() {
    // Large jobs of `big` hold nothing in the moment between two of them; `ann` always holds a core.
    let mut tasks = vec![task(0, "ann", 1, 20_000)];
    tasks.extend((0..60).map(|_| task(0, "big", 15, 300)));
    tasks.extend((0..3).map(|_| task(600, "ann", 10, 300)));
    let workload = Workload::new(tasks);
    let outcome = run(&workload, &Setting { pools: host(16), policy: Policy::default(), learn: false });
    for (task, ran) in workload.tasks.iter().zip(outcome.ran).filter(|(t, _)| t.user == "ann" && t.at > 0) {
        let wait = (ran.expect("it runs").from.0 - task.at) / SECOND;
        assert!(wait <= 1_500, "waited {wait} s, while `big` ran one job after another");
    }
}

#[test]
fn priority_is_a_head_start_and_no_more() {
    let mut scheduler = Scheduler::new(Policy::default(), &host(1), Timestamp(0));
    let submit = |scheduler: &mut Scheduler, n: u64, priority: u8, minute: i64| {
        let since = Timestamp(minute * 60 * SECOND);
        let run_time = RunTime::exactly(SECOND);
        scheduler.queued(&libra_core::turn::Candidate { priority, since, run_time, ..job(n, "ann", 1, 1) });
    };
    submit(&mut scheduler, 1, 5, 0);
    submit(&mut scheduler, 2, 9, 39);
    submit(&mut scheduler, 3, 9, 41);
    submit(&mut scheduler, 4, 1, 0);
    let order = [2, 1, 3, 4].map(crate::world::id);
    assert_eq!(scheduler.turns("hosts", 10), order, "four steps are worth forty minutes");
}

#[test]
#[ignore = "prints figures"]
fn figures_of_equal_shares() {
    for (what, hours) in [("the present alone", 0), ("the present and the past hour", 1)] {
        let mut off: Vec<(f64, u64)> = (0..100)
            .map(|seed| {
                let held = contest(seed, 40, &rivals(&mut Dice::new(seed), [1, 1]), hours * HOUR);
                ((held[0] - 0.5).abs() * 200.0, seed)
            })
            .collect();
        off.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mean = off.iter().map(|o| o.0).sum::<f64>() / off.len() as f64;
        let at = |n: usize| format!("{:.1} % (seed {})", off[n].0, off[n].1);
        println!(
            "100 pairs of equal shares, by {what}: off by {mean:.1} % on average, p95 {}, worst {}",
            at(95),
            at(99)
        );
    }
}
