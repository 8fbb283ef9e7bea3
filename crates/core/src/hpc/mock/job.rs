//! One job that is made up, from its submission to its end.

use super::{Cell, MockCluster, PLACES, WIDE, name, timestamp};
use crate::hpc::end::End;
use crate::hpc::record::{Amounts, ExitStatus, Record};
use crate::simulate::Dice;

/// Users, with their accounts.
const USERS: [(&str, &str); 6] = [
    ("ada", "physics"),
    ("alan", "physics"),
    ("barbara", "biology"),
    ("edsger", "biology"),
    ("grace", "climate"),
    ("katherine", "climate"),
];
/// What jobs are called.
const NAMES: [&str; 6] = ["relax", "align-reads", "ensemble", "train", "postprocess", "sweep"];
/// Why a job waits.
const REASONS: [&str; 2] = ["Priority", "Resources"];
/// One in so many cells is empty.
const EMPTY: u64 = 12;
/// One in so many jobs that might is on two nodes.
const TWO_NODES: u64 = 3;
/// How jobs end, of a hundred.
const ENDS: [(u64, End); 7] = [
    (70, End::Completed),
    (12, End::Failed),
    (5, End::OutOfMemory),
    (4, End::Timeout),
    (5, End::Cancelled),
    (2, End::NodeFail),
    (2, End::Preempted),
];
/// Of those that are cancelled, one in so many is while it waits.
const CANCELLED_WAITING: u64 = 2;
/// What a script exits with that fails.
const MOST_EXIT: u64 = 3;
/// Seconds in a minute.
const MINUTE: i64 = 60;

/// A job. Times are seconds since the Unix epoch.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) number: u64,
    pub(super) nodes: Vec<u32>,
    pub(super) submitted: i64,
    /// None where it was cancelled before.
    pub(super) started: Option<i64>,
    pub(super) ended: i64,
    pub(super) end: End,
    /// On each node.
    pub(super) cpus: u64,
    pub(super) memory_mb: u64,
    pub(super) gpus: u64,
    pub(super) habits: Habits,
    exit: ExitStatus,
    limit_minutes: u32,
    who: (&'static str, &'static str),
    name: &'static str,
    reason: &'static str,
    priority: u64,
}

/// What it makes of what it has, as parts of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Habits {
    pub(super) dice: u64,
    pub(super) busy: f64,
    pub(super) memory: f64,
    pub(super) gpu_busy: f64,
    /// Bytes in a second.
    pub(super) reads: i64,
    pub(super) writes: i64,
}

impl Habits {
    fn of(dice: &mut Dice) -> Self {
        // Most jobs are busy, with room to rise. Some keep one processor of many busy, some ask for far too much memory.
        let busy = match dice.below(10) {
            0 => 0.04 + 0.04 * dice.unit(),
            1..=3 => 0.3 + 0.3 * dice.unit(),
            _ => 0.6 + 0.2 * dice.unit(),
        };
        let memory = if dice.once_in(6) { 0.03 + 0.1 * dice.unit() } else { 0.3 + 0.6 * dice.unit() };
        let gpu_busy = if dice.once_in(5) { 0.0 } else { 0.5 + 0.3 * dice.unit() };
        let mut bytes = || i64::try_from(dice.below(20_000_000)).unwrap_or(0);
        let (reads, writes) = (bytes(), bytes());
        Self { dice: dice.roll(), busy, memory, gpu_busy, reads, writes }
    }
}

impl Job {
    /// The job in a cell; None where that is empty.
    pub(super) fn of(cluster: &MockCluster, cell: Cell) -> Option<Self> {
        let nodes = nodes(cluster, cell)?;
        let mut dice = dice(cluster, cell.number());
        if dice.once_in(EMPTY) {
            return None;
        }
        let (begin, seconds) = (cell.begin(), cell.seconds());
        let mut below = |most: i64| {
            let most = u64::try_from(most).unwrap_or(0);
            i64::try_from(dice.below(most)).unwrap_or(0)
        };
        let wait = seconds / 20 + below(seconds / 2 - seconds / 20);
        let started = begin + below(seconds / 20);
        let mut ran = seconds / 10 + below(seconds * 4 / 5);
        let submitted = begin - wait;
        let end = end_of(&mut dice);
        // What is asked for is a round figure, and hardly ever the right one.
        let mut limit = seconds / MINUTE * (1 << dice.below(3));
        if end == End::Timeout {
            limit = (ran / MINUTE).max(1);
            ran = limit * MINUTE;
        }
        let code = i32::try_from(1 + dice.below(MOST_EXIT)).unwrap_or(1);
        let exit = match end {
            End::Failed => ExitStatus { code, signal: 0 },
            // As Slurm writes it.
            End::OutOfMemory => ExitStatus { code: 0, signal: 125 },
            End::Completed | End::Timeout | End::Cancelled | End::NodeFail | End::Preempted => {
                ExitStatus { code: 0, signal: 0 }
            }
            End::Deadline | End::BootFail | End::Revoked => ExitStatus { code: 0, signal: 0 },
        };
        let never = end == End::Cancelled && dice.once_in(CANCELLED_WAITING);
        let (started, ended) = if never {
            let waited = 1 + i64::try_from(dice.below(u64::try_from(wait).unwrap_or(0))).unwrap_or(0);
            (None, submitted + waited)
        } else {
            (Some(started), started + ran)
        };
        let place = &PLACES[cell.place];
        let who = one_of(&USERS, &mut dice);
        Some(Self {
            number: cell.number(),
            gpus: if MockCluster::has_gpus(cell.node) { place.gpus } else { 0 },
            nodes,
            submitted,
            started,
            ended,
            end,
            cpus: place.cpus,
            memory_mb: place.memory_mb,
            exit,
            limit_minutes: u32::try_from(limit).unwrap_or(u32::MAX),
            who,
            name: one_of(&NAMES, &mut dice),
            reason: one_of(&REASONS, &mut dice),
            priority: 1_000 + dice.below(9_000),
            habits: Habits::of(&mut dice),
        })
    }

    /// True while it runs.
    pub(super) fn runs(&self, at: i64) -> bool {
        self.started.is_some_and(|started| started <= at) && at < self.ended
    }

    /// What its scheduler says of it at a time; None before it was submitted.
    pub(super) fn record(&self, at: i64) -> Option<Record> {
        if at < self.submitted {
            return None;
        }
        let started = self.started.filter(|started| *started <= at);
        let over = at >= self.ended;
        let raw_state = match (started, over) {
            (_, true) => word(self.end),
            (Some(_), false) => "RUNNING",
            (None, false) => "PENDING",
        };
        let count = self.nodes.len() as u64;
        let asked = Amounts {
            cpus: Some(self.cpus * count),
            memory_mb: Some(self.memory_mb * count),
            gpus: Some(self.gpus * count),
        };
        let (user, account) = self.who;
        Some(Record {
            external_id: self.number.to_string(),
            raw_state: raw_state.to_owned(),
            reason: (raw_state == "PENDING").then(|| self.reason.to_owned()),
            name: Some(self.name.to_owned()),
            user: Some(user.to_owned()),
            account: Some(account.to_owned()),
            partition: Some(if self.gpus > 0 { "gpu" } else { "batch" }.to_owned()),
            qos: Some("normal".to_owned()),
            priority: Some(self.priority),
            submitted: Some(timestamp(self.submitted)),
            started: started.map(timestamp),
            ended: over.then(|| timestamp(self.ended)),
            time_limit_minutes: Some(self.limit_minutes),
            nodes: started.map(|_| self.nodes.iter().map(|node| name(*node)).collect()).unwrap_or_default(),
            node_count: u32::try_from(count).ok(),
            requested: asked,
            allocated: started.map(|_| asked).unwrap_or_default(),
            exit: over.then_some(self.exit),
            made_up: true,
            ..Record::default()
        })
    }
}

/// The nodes of the job in a cell; None for a part of a job that begins on the node before.
fn nodes(cluster: &MockCluster, cell: Cell) -> Option<Vec<u32>> {
    let node = cell.node;
    let first = node - node % 2;
    let may_be_wide = cell.place == WIDE
        && first + 1 < cluster.nodes
        && ![first, first + 1].into_iter().any(MockCluster::has_gpus);
    let pair = Cell { node: first, ..cell };
    // By other dice than the job's own: both nodes have to know it.
    if may_be_wide && dice(cluster, !pair.number()).once_in(TWO_NODES) {
        return (node == first).then(|| vec![first, first + 1]);
    }
    Some(vec![node])
}

fn dice(cluster: &MockCluster, number: u64) -> Dice {
    let mut seed = Dice::new(cluster.seed);
    Dice::new(seed.roll() ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn one_of<T: Copy>(all: &[T], dice: &mut Dice) -> T {
    let most = all.len() as u64;
    all[usize::try_from(dice.below(most)).unwrap_or(0)]
}

fn end_of(dice: &mut Dice) -> End {
    let mut left = dice.below(ENDS.iter().map(|(weight, _)| weight).sum());
    for (weight, end) in ENDS {
        match left.checked_sub(weight) {
            Some(rest) => left = rest,
            None => return end,
        }
    }
    End::Completed
}

/// How Slurm calls an end.
fn word(end: End) -> &'static str {
    match end {
        End::Completed => "COMPLETED",
        End::Failed => "FAILED",
        End::Timeout => "TIMEOUT",
        End::Deadline => "DEADLINE",
        End::NodeFail => "NODE_FAIL",
        End::BootFail => "BOOT_FAIL",
        End::OutOfMemory => "OUT_OF_MEMORY",
        End::Cancelled => "CANCELLED",
        End::Preempted => "PREEMPTED",
        End::Revoked => "REVOKED",
    }
}
