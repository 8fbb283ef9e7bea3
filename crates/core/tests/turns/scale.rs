//! What a pass costs as the queue grows. Printed, never asserted.

use std::time::{Duration, Instant};

use libra_core::id::JobId;
use libra_core::simulate::Dice;
use libra_core::time::Timestamp;
use libra_core::turn::{Candidate, Limits, Policy, Pool, Quota, Resources, RunTime, Scheduler, Snapshot};

use crate::world::{SECOND, job};

/// Bytes of memory in use, as the kernel tells.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) * 4_096
}

/// What makes a queue hard.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// A thousand users, about 20 sizes, lengths as they were learned.
    Usual,
    /// No two jobs need the same.
    AllDifferent,
    /// Every user is at their quota, and there is room.
    AtQuota,
}

fn snapshot(jobs: u64, kind: Kind) -> Snapshot {
    let mut dice = Dice::new(7);
    let cores = 512;
    let waiting = (0..jobs)
        .map(|n| {
            let user = dice.below(1_000);
            let seconds = i64::try_from(30 + dice.below(7_200)).unwrap();
            let mut job = job(n, &format!("user-{user}"), 1 << dice.below(6), seconds);
            job.tenant = format!("tenant-{}", user % 50);
            job.queue = format!("queue-{}", user % 4);
            job.run_time = RunTime::exactly(seconds * SECOND);
            job.demand.driver.memory = (1 + dice.below(4)) << 30;
            if kind == Kind::AllDifferent {
                job.demand.driver.memory += dice.below(1 << 30);
            }
            job
        })
        .collect();
    let user = match kind {
        Kind::AtQuota => {
            Limits { running: Quota { cores: Some(1), ..Quota::default() }, ..Limits::default() }
        }
        Kind::Usual | Kind::AllDifferent => Limits::default(),
    };
    Snapshot {
        policy: Policy { user_default: user, ..Policy::default() },
        pools: vec![Pool::single("hosts", Resources::new(cores, (4 * cores) << 30))],
        waiting,
        ..Snapshot::default()
    }
}

fn millis(d: Duration) -> f64 {
    d.as_secs_f64() * 1_000.0
}

fn measure(jobs: u64, kind: Kind, name: &str) {
    let snapshot = snapshot(jobs, kind);
    let mut now = Timestamp(100 * SECOND);
    let (before, begun) = (resident(), Instant::now());
    let mut s = Scheduler::rebuild(&snapshot, now);
    let rebuilt = begun.elapsed();
    let memory = resident().saturating_sub(before);
    let begun = Instant::now();
    let started = s.pass(now).len();
    let first = begun.elapsed();
    let mut running: Vec<JobId> =
        snapshot.waiting.iter().map(|c| c.id).filter(|id| s.is_running(*id)).collect();
    let (mut passes, mut explains) = (Vec::new(), Vec::new());
    let last = snapshot.waiting.last().map(|c: &Candidate| c.id);
    for _ in 0..500 {
        let Some(gone) = (!running.is_empty()).then(|| running.remove(0)) else { break };
        now = now.plus_micros(SECOND);
        let begun = Instant::now();
        s.ended(gone);
        let decisions = s.pass(now);
        passes.push(begun.elapsed());
        running.extend(decisions.into_iter().map(|d| d.job));
    }
    for _ in 0..5 {
        let begun = Instant::now();
        let _ = last.and_then(|id| s.explain(id));
        explains.push(begun.elapsed());
    }
    passes.sort_unstable();
    let at =
        |percent: usize| passes.get((passes.len().max(1) - 1) * percent / 100).copied().unwrap_or_default();
    println!(
        "{jobs:>7} {name:<14} rebuild {:>7.1} ms  {:>6.1} MB  first pass {:>6.2} ms starts {started:>4}  \
         pass after one end: median {:.3} p99 {:.3} max {:.3} ms  explain the last {:.1} ms",
        millis(rebuilt),
        memory as f64 / 1e6,
        millis(first),
        millis(at(50)),
        millis(at(99)),
        millis(at(100)),
        millis(explains.into_iter().min().unwrap_or_default()),
    );
}

#[test]
#[ignore = "prints figures"]
fn figures_of_a_pass() {
    for (kind, name) in
        [(Kind::Usual, "usual"), (Kind::AllDifferent, "all different"), (Kind::AtQuota, "at quota")]
    {
        for jobs in [1_000, 10_000, 100_000] {
            measure(jobs, kind, name);
        }
    }
}
