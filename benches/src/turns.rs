//! What it costs to give turns, as the queue grows: the same figures at 1,000 waiting jobs are the baseline.

use std::sync::Arc;
use std::time::{Duration, Instant};

use libra_core::id::JobId;
use libra_core::mode::Mode;
use libra_core::simulate::Dice;
use libra_core::time::{MICROS_PER_SECOND, Timestamp};
use libra_core::turn::{
    Candidate, Demand, Limits, Policy, Pool, Quota, Resources, RunTime, Scheduler, Snapshot,
};
use libra_store::Db;
use libra_store::tables::turns::{self, Position};
use tokio::task::JoinSet;

use crate::Outcome;
use crate::figures::{Samples, Table, aim};
use crate::jobs;

/// Waiting jobs.
const QUEUES: [u64; 3] = [1_000, 10_000, 100_000];
/// Ends of jobs that are measured, each with the pass that follows.
const ENDS: usize = 500;
/// Cores of the one host.
const CORES: u64 = 512;
/// Users, in 50 tenants and 4 queues.
const USERS: u64 = 1_000;
/// Aimed at: a pass after one end with 100,000 waiting jobs, milliseconds.
const AIM_PASS_MS: f64 = 5.0;
/// Aimed at: everything read and built with 100,000 waiting jobs, milliseconds.
const AIM_REBUILD_MS: f64 = 2_000.0;
/// Jobs that are stored at once.
const WRITERS: usize = 256;

/// What makes a queue hard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// About 20 sizes, lengths as they were learned.
    Usual,
    /// No two jobs need the same.
    AllDifferent,
    /// Every user is at their quota, and there is room.
    AtQuota,
}

/// What was measured of one queue.
struct Measured {
    rebuild_ms: f64,
    bytes: u64,
    passes: Samples,
    explain_ms: f64,
}

pub(crate) async fn measure(table: &mut Table) -> Outcome<()> {
    for (kind, name) in [
        (Kind::Usual, "usual"),
        (Kind::AllDifferent, "no two need the same"),
        (Kind::AtQuota, "every user at their quota"),
    ] {
        let mut base: Option<Measured> = None;
        for waiting in QUEUES {
            let seen = give_turns(&snapshot(waiting, kind));
            let base = base.get_or_insert_with(|| give_turns(&snapshot(waiting, kind)));
            show(table, &format!("{waiting} jobs wait, {name}"), waiting, &seen, base);
        }
    }
    let (read, built) = from_store(QUEUES[2]).await?;
    table.add(
        "100000 jobs in SQLite, everything read and built",
        &format!("{:.0} ms", read + built),
        &format!("{read:.0} ms to read"),
        &format!("{:.2} of it is building", built / (read + built)),
        &aim("≤ 2 s", read + built <= AIM_REBUILD_MS),
    );
    table.remark(format!(
        "Turns: {USERS} users in 50 tenants and 4 queues on {CORES} cores; {ENDS} jobs end one after another, each time somebody \
         else is given a turn. Beside each: the same with 1,000 waiting jobs. Memory is what the process has grown by."
    ));
    Ok(())
}

fn show(table: &mut Table, name: &str, waiting: u64, seen: &Measured, base: &Measured) {
    let aims = |what: &str, met: bool| if waiting == QUEUES[2] { aim(what, met) } else { String::new() };
    let mut line = |what: &str, this: f64, that: f64, aim: &str| {
        let growth = format!("{:.1} times that of 1,000", this / that);
        table.add(
            &format!("{name}: {what}"),
            &format!("{this:.3} ms"),
            &format!("{that:.3} ms"),
            &growth,
            aim,
        );
    };
    for percent in [50, 99] {
        let (this, that) = (seen.passes.percentile(percent), base.passes.percentile(percent));
        let aim = if percent == 50 { aims("≤ 5 ms", this <= AIM_PASS_MS) } else { String::new() };
        line(&format!("pass after one end, p{percent}"), this, that, &aim);
    }
    line("built anew", seen.rebuild_ms, base.rebuild_ms, &aims("≤ 2 s", seen.rebuild_ms <= AIM_REBUILD_MS));
    line("the last one explained", seen.explain_ms, base.explain_ms, "");
    let megabytes = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
    table.add(&format!("{name}: memory"), &megabytes(seen.bytes), &megabytes(base.bytes), "", "");
}

fn snapshot(jobs: u64, kind: Kind) -> Snapshot {
    let mut dice = Dice::new(7);
    let waiting = (0..jobs).map(|n| candidate(&mut dice, n, kind)).collect();
    let running = match kind {
        Kind::AtQuota => Quota { cores: Some(1), ..Quota::default() },
        Kind::Usual | Kind::AllDifferent => Quota::default(),
    };
    let user_default = Limits { running, ..Limits::default() };
    Snapshot {
        policy: Policy { user_default, ..Policy::default() },
        pools: vec![Pool::single("hosts", Resources::new(CORES, (4 * CORES) << 30))],
        waiting,
        ..Snapshot::default()
    }
}

fn candidate(dice: &mut Dice, n: u64, kind: Kind) -> Candidate {
    let user = dice.below(USERS);
    let cores = 1 << dice.below(6);
    let seconds = i64::try_from(30 + dice.below(7_200)).unwrap_or(i64::MAX);
    let mut memory = (1 + dice.below(4)) << 30;
    if kind == Kind::AllDifferent {
        memory += dice.below(1 << 30);
    }
    let since = Timestamp(i64::try_from(n).unwrap_or(i64::MAX));
    let mut entropy = [0; 10];
    entropy[..8].copy_from_slice(&n.to_be_bytes());
    Candidate {
        id: JobId::new(since, entropy),
        queue: format!("queue-{}", user % 4),
        tenant: format!("tenant-{}", user % 50),
        user: format!("user-{user}"),
        priority: 5,
        since,
        mode: Mode::SparkSubmit,
        pool: "hosts".to_owned(),
        demand: Demand::on_one_node(Resources::new(cores, memory)),
        run_time: RunTime::exactly(seconds * MICROS_PER_SECOND),
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

/// Resident bytes of this process.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
    pages.saturating_mul(rustix::param::page_size() as u64)
}

fn give_turns(snapshot: &Snapshot) -> Measured {
    let mut now = Timestamp(100 * MICROS_PER_SECOND);
    let (before, began) = (resident(), Instant::now());
    let mut scheduler = Scheduler::rebuild(snapshot, now);
    let rebuild_ms = millis(began.elapsed());
    let bytes = resident().saturating_sub(before);
    let mut running: Vec<JobId> = scheduler.pass(now).into_iter().map(|d| d.job).collect();
    running.reverse();
    let mut passes = Samples::default();
    for _ in 0..ENDS {
        let Some(gone) = running.pop() else { break };
        now = now.plus_micros(MICROS_PER_SECOND);
        let began = Instant::now();
        scheduler.ended(gone);
        let decisions = scheduler.pass(now);
        passes.add(began.elapsed());
        running.splice(0..0, decisions.into_iter().map(|d| d.job));
    }
    let began = Instant::now();
    let _ = snapshot.waiting.last().and_then(|last| scheduler.explain(last.id));
    Measured { rebuild_ms, bytes, passes, explain_ms: millis(began.elapsed()) }
}

/// Stores so many waiting jobs, and reads and builds what a new leader does: milliseconds to read, and to build.
async fn from_store(waiting: u64) -> Outcome<(f64, f64)> {
    let dir = tempfile::tempdir()?;
    let db = Db::open_sqlite(&dir.path().join("libra.db"))?;
    let (db, mut writers) = (Arc::new(db), JoinSet::new());
    for _ in 0..WRITERS {
        let db = Arc::clone(&db);
        let mine = waiting / WRITERS as u64 + 1;
        writers.spawn(async move {
            for _ in 0..mine {
                let draft = jobs::draft().map_err(|e| e.to_string())?;
                db.submit(jobs::submission(&draft)).await.map_err(|e| e.to_string())?;
            }
            Ok::<(), String>(())
        });
    }
    while let Some(done) = writers.join_next().await {
        done??;
    }
    let began = Instant::now();
    let read = db.read(|tx| {
        Position::end(tx)?;
        turns::ended(tx, Timestamp(0), 50_000)?;
        turns::holding(tx)?;
        turns::waiting(tx)
    });
    let read = read.await?;
    let reading = millis(began.elapsed());
    let began = Instant::now();
    let candidate = |job: turns::Brief| Candidate {
        id: job.id,
        queue: job.queue.unwrap_or_default(),
        tenant: job.tenant,
        user: job.user,
        priority: job.priority,
        since: job.queued_at.unwrap_or(Timestamp(0)),
        mode: job.mode,
        pool: job.mode.as_str().to_owned(),
        demand: Demand::of(&job.needed, job.mode, job.cluster.as_deref()),
        run_time: RunTime::default(),
    };
    let snapshot = Snapshot {
        pools: vec![Pool::single(Mode::InCluster.as_str(), Resources::of_slots(10))],
        waiting: read.into_iter().map(candidate).collect(),
        ..Snapshot::default()
    };
    let scheduler = Scheduler::rebuild(&snapshot, jobs::now());
    let built = millis(began.elapsed());
    if scheduler.waiting_jobs() < usize::try_from(waiting)? {
        return Err("not all jobs were read".into());
    }
    Ok((reading, built))
}
