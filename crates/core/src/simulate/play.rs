//! Plays a workload: events in virtual time, a pass after each.

use std::collections::BTreeSet;

use super::Workload;
use crate::id::JobId;
use crate::time::Timestamp;
use crate::turn::{Candidate, Decision, Learned, Micros, Policy, Pool, RunTime, Scheduler, Why};

/// Where and by which rules a workload is played.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The capacity. All tasks draw on the first pool.
    pub pools: Vec<Pool>,
    /// The rules.
    pub policy: Policy,
    /// Whether run times are learned from ended jobs of the same user and name; else the limits alone are known.
    pub learn: bool,
}

/// How one job fared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ran {
    /// When it started.
    pub from: Timestamp,
    /// When it ended.
    pub to: Timestamp,
    /// Why it started then.
    pub why: Why,
}

/// How all jobs fared, in the order of the workload. None = it never started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// By job.
    pub ran: Vec<Option<Ran>>,
}

/// The id of the nth job of a workload.
pub(crate) fn id_of(n: usize, at: Micros) -> JobId {
    let mut entropy = [0; 10];
    entropy[2..].copy_from_slice(&(n as u64).to_be_bytes());
    JobId::new(Timestamp(at), entropy)
}

/// Plays a workload to its end.
pub fn run(workload: &Workload, setting: &Setting) -> Outcome {
    run_watched(workload, setting, |_, _| {})
}

/// Plays a workload to its end, and shows the scheduler and its decisions after every pass.
pub fn run_watched(
    workload: &Workload,
    setting: &Setting,
    mut watch: impl FnMut(&mut Scheduler, &[Decision]),
) -> Outcome {
    let pool = setting.pools.first().map(|p| p.name.clone()).unwrap_or_default();
    let mut scheduler = Scheduler::new(setting.policy.clone(), &setting.pools, Timestamp(0));
    let mut learned = Learned::default();
    let mut ran: Vec<Option<Ran>> = vec![None; workload.tasks.len()];
    let mut numbers = std::collections::BTreeMap::new();
    let mut ends: BTreeSet<(Timestamp, usize)> = BTreeSet::new();
    let mut next = 0;
    loop {
        let arrival = workload.tasks.get(next).map(|t| Timestamp(t.at));
        let end = ends.first().map(|e| e.0);
        let Some(now) = arrival.into_iter().chain(end).min() else { break };
        scheduler.advance(now);
        while let Some(&(at, n)) = ends.first()
            && at <= now
        {
            ends.pop_first();
            let task = &workload.tasks[n];
            scheduler.ended(id_of(n, task.at));
            if setting.learn {
                learned.ran(&task.tenant, &task.user, &task.name, task.length());
            }
        }
        while let Some(task) = workload.tasks.get(next)
            && task.at <= now.0
        {
            let id = id_of(next, task.at);
            let run_time = if setting.learn {
                learned.estimate(&task.tenant, &task.user, &task.name, task.limit).run_time
            } else {
                RunTime { expected: None, at_most: task.limit }
            };
            numbers.insert(id, next);
            scheduler.queued(&Candidate {
                id,
                queue: task.queue.clone(),
                tenant: task.tenant.clone(),
                user: task.user.clone(),
                priority: task.priority,
                since: now,
                mode: task.mode,
                pool: pool.clone(),
                demand: task.demand.clone(),
                run_time,
            });
            next += 1;
        }
        let decisions = scheduler.pass(now);
        for decision in &decisions {
            let Some(n) = numbers.remove(&decision.job) else { continue };
            let to = now.plus_micros(workload.tasks[n].length());
            ends.insert((to, n));
            ran[n] = Some(Ran { from: now, to, why: decision.why });
        }
        watch(&mut scheduler, &decisions);
    }
    Outcome { ran }
}
