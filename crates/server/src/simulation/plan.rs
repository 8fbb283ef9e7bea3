//! What a seed decides before the run begins: who is there, which faults can happen and how often. Each fault is
//! absent from half of the runs, so that rare combinations of few faults come up as well as storms of all.

use std::time::Duration;

use libra_core::memory::GIB;

use super::dice::Dice;

/// A machine.
#[derive(Clone, Debug)]
pub(super) struct HostPlan {
    pub(super) machine: String,
    pub(super) cores: u64,
    pub(super) memory: u64,
}

/// A replica: its name stays the same over all its lives.
#[derive(Clone, Debug)]
pub(super) struct ReplicaPlan {
    pub(super) id: String,
    /// Which host.
    pub(super) host: usize,
    /// Replicas with the same files have the same.
    pub(super) storage: String,
    /// What its clock is ahead of the true time, in seconds.
    pub(super) skew: i64,
}

/// Something that happens to the whole of a process, a host, or everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// kill -9 of a replica.
    Crash,
    /// SIGTERM of a replica.
    Leave,
    /// SIGSTOP of a replica.
    Freeze,
    /// The network between a replica and the store.
    CutOff,
    /// The store itself.
    Outage,
    /// A replica's clock.
    ClockJump,
    /// A machine with all that runs on it.
    HostLost,
    /// Redis forgets everything.
    RedisFlush,
    /// Redis does not answer.
    RedisDown,
    /// A second process with the same replica id.
    Namesake,
    /// A replica dies and comes back on another machine, under its name, without its files.
    Move,
}

const TROUBLES: [Trouble; 11] = [
    Trouble::Crash,
    Trouble::Leave,
    Trouble::Freeze,
    Trouble::CutOff,
    Trouble::Outage,
    Trouble::ClockJump,
    Trouble::HostLost,
    Trouble::RedisFlush,
    Trouble::RedisDown,
    Trouble::Namesake,
    Trouble::Move,
];

/// How often something goes wrong, in 10,000 calls.
#[derive(Clone, Debug, Default)]
pub(super) struct Rates {
    pub(super) store_error: u32,
    pub(super) store_answer_lost: u32,
    pub(super) store_effect_late: u32,
    pub(super) store_stall: u32,
    pub(super) store_answer_slow: u32,
    pub(super) read_error: u32,
    pub(super) crash_in_store_call: u32,
    pub(super) crash_in_engine_call: u32,
    pub(super) freeze_in_call: u32,
    pub(super) launch_refused: u32,
    pub(super) launch_reply_lost: u32,
    pub(super) launch_never_arrives: u32,
    pub(super) launch_twice: u32,
    pub(super) launch_slow: u32,
    pub(super) engine_blind: u32,
    pub(super) shim_killed: u32,
    pub(super) signal_lost: u32,
    pub(super) signal_twice: u32,
    pub(super) signal_late: u32,
    pub(super) redis_error: u32,
    pub(super) redis_loses: u32,
    pub(super) redis_twice: u32,
}

/// A run.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) hosts: Vec<HostPlan>,
    pub(super) replicas: Vec<ReplicaPlan>,
    /// Replicas on one machine share their files.
    pub(super) shared: bool,
    /// One Libra with a database of its own.
    pub(super) alone: bool,
    pub(super) redis: bool,
    pub(super) lease: Duration,
    pub(super) host_lost_after: Duration,
    pub(super) rates: Rates,
    pub(super) troubles: Vec<Trouble>,
    /// The longest pause between two troubles, in milliseconds.
    pub(super) pause_ms: u64,
    pub(super) jobs: u64,
    /// Jobs that may wait.
    pub(super) max_queued: u64,
    /// In-cluster jobs that run at once.
    pub(super) slots: u32,
    /// How long faults happen.
    pub(super) stormy: Duration,
}

impl Plan {
    pub(super) fn of(seed: u64) -> Self {
        let dice = Dice::new(seed).fork("plan");
        let machines = dice.between(1..=3);
        let hosts: Vec<HostPlan> = (1..=machines)
            .map(|n| HostPlan {
                machine: format!("m{n}"),
                cores: dice.between(2..=8),
                memory: dice.between(4..=16) * GIB,
            })
            .collect();
        let count = dice.between(1..=4).max(machines);
        let shared = dice.chance(7_000);
        let skewed = dice.chance(5_000);
        let replicas: Vec<ReplicaPlan> = (0..count)
            .map(|n| {
                // Every machine has at least one.
                let host = usize::try_from(n % machines).unwrap_or(0);
                let machine = host + 1;
                let storage = storage(shared, machine, &n.to_string());
                let skew = if skewed { signed(dice.between(0..=360), 180) } else { 0 };
                ReplicaPlan { id: format!("r{}", n + 1), host, storage, skew }
            })
            .collect();
        let alone = count == 1 && dice.chance(4_000);
        let redis = !alone && dice.chance(4_000);
        let mut rates = rates(&dice);
        if alone {
            // An embedded database answers, or did nothing.
            rates.store_answer_lost = 0;
            rates.store_effect_late = 0;
        }
        let mut troubles: Vec<Trouble> = TROUBLES.into_iter().filter(|_| dice.chance(5_000)).collect();
        troubles.retain(|t| match t {
            Trouble::RedisFlush | Trouble::RedisDown => redis,
            // With a database of its own a lock keeps others away; that machine's loss is an ordinary crash.
            Trouble::Namesake | Trouble::HostLost | Trouble::CutOff | Trouble::Move => !alone,
            Trouble::Crash | Trouble::Leave | Trouble::Freeze | Trouble::Outage | Trouble::ClockJump => true,
        });
        let long = troubles.contains(&Trouble::HostLost) || dice.chance(2_000);
        let stormy = Duration::from_secs(if long { dice.between(120..=240) } else { dice.between(30..=90) });
        Self {
            hosts,
            replicas,
            shared,
            alone,
            redis,
            lease: Duration::from_secs(dice.between(4..=10)),
            host_lost_after: Duration::from_mins(2),
            rates,
            troubles,
            pause_ms: dice.between(2_000..=20_000),
            jobs: dice.between(4..=16),
            max_queued: if dice.chance(2_000) { dice.between(1..=4) } else { 1_000 },
            slots: u32::try_from(dice.between(1..=4)).unwrap_or(1),
            stormy,
        }
    }
}

/// What the files on this machine are called: all its replicas share them, or each has its own.
pub(super) fn storage(shared: bool, machine: usize, own: &str) -> String {
    if shared { format!("s{machine}") } else { format!("s{machine}-{own}") }
}

/// `n` moved so that half of it is below zero.
pub(super) fn signed(n: u64, half: i64) -> i64 {
    i64::try_from(n).unwrap_or(0) - half
}

fn rates(dice: &Dice) -> Rates {
    let rate =
        |most: u64| if dice.chance(5_000) { 0 } else { u32::try_from(dice.between(1..=most)).unwrap_or(0) };
    Rates {
        store_error: rate(500),
        store_answer_lost: rate(300),
        store_effect_late: rate(400),
        store_stall: rate(100),
        store_answer_slow: rate(60),
        read_error: rate(500),
        crash_in_store_call: rate(60),
        crash_in_engine_call: rate(400),
        freeze_in_call: rate(60),
        launch_refused: rate(1_000),
        launch_reply_lost: rate(2_500),
        launch_never_arrives: rate(1_500),
        launch_twice: rate(2_500),
        launch_slow: rate(2_500),
        engine_blind: rate(1_500),
        shim_killed: rate(1_000),
        signal_lost: rate(4_000),
        signal_twice: rate(3_000),
        signal_late: rate(3_000),
        redis_error: rate(1_000),
        redis_loses: rate(2_500),
        redis_twice: rate(2_500),
    }
}
