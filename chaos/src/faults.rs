//! What is broken, and for how long.

use rand::Rng;
use rand::rngs::StdRng;

/// What can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// `kill -9` of any replica, and another start after a while.
    KillReplica,
    /// `kill -9` of the leader, and another start after two leases.
    KillLeader,
    /// SIGSTOP of a replica for longer than its lease, then SIGCONT.
    FreezeReplica,
    /// SIGTERM of a replica, and another start.
    RestartReplica,
    /// PostgreSQL dies like at a power cut and starts again at once.
    PostgresRestart,
    /// PostgreSQL is away for a while.
    PostgresStop,
    /// The network between a replica and PostgreSQL resets all connections, once.
    NetworkReset,
    /// That network refuses everything for a while.
    NetworkDown,
    /// That network is a black hole for a while, then everything arrives late.
    NetworkStall,
    /// That network is a black hole for a while, then everything in it is lost.
    NetworkLoss,
    /// `kill -9` of Redis, and another start after a while, empty.
    RedisKill,
    /// Redis forgets everything.
    RedisFlush,
    /// Redis hangs for a while.
    RedisPause,
    /// `kill -9` of the driver of a job.
    KillDriver,
    /// `kill -9` of the shim of a job.
    KillShim,
}

impl Fault {
    /// All of them.
    pub(crate) const ALL: [Self; 15] = [
        Self::KillReplica,
        Self::KillLeader,
        Self::FreezeReplica,
        Self::RestartReplica,
        Self::PostgresRestart,
        Self::PostgresStop,
        Self::NetworkReset,
        Self::NetworkDown,
        Self::NetworkStall,
        Self::NetworkLoss,
        Self::RedisKill,
        Self::RedisFlush,
        Self::RedisPause,
        Self::KillDriver,
        Self::KillShim,
    ];

    /// For people.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::KillReplica => "kill -9 of a replica",
            Self::KillLeader => "kill -9 of the leader",
            Self::FreezeReplica => "replica frozen beyond its lease",
            Self::RestartReplica => "SIGTERM and start of a replica",
            Self::PostgresRestart => "PostgreSQL crash and start",
            Self::PostgresStop => "PostgreSQL away for a while",
            Self::NetworkReset => "connections to PostgreSQL reset",
            Self::NetworkDown => "network to PostgreSQL down",
            Self::NetworkStall => "network stalled, then late",
            Self::NetworkLoss => "network stalled, then reset",
            Self::RedisKill => "kill -9 of Redis",
            Self::RedisFlush => "Redis flushed",
            Self::RedisPause => "Redis hangs",
            Self::KillDriver => "kill -9 of a driver",
            Self::KillShim => "kill -9 of a shim",
        }
    }

    /// How often it comes, among the others.
    fn weight(self) -> u32 {
        match self {
            Self::KillReplica | Self::KillLeader => 5,
            Self::FreezeReplica | Self::KillDriver => 3,
            Self::RestartReplica
            | Self::PostgresRestart
            | Self::NetworkReset
            | Self::NetworkDown
            | Self::NetworkStall
            | Self::NetworkLoss
            | Self::RedisKill
            | Self::KillShim => 2,
            Self::PostgresStop | Self::RedisFlush | Self::RedisPause => 1,
        }
    }

    fn needs_redis(self) -> bool {
        match self {
            Self::RedisKill | Self::RedisFlush | Self::RedisPause => true,
            Self::KillReplica
            | Self::KillLeader
            | Self::FreezeReplica
            | Self::RestartReplica
            | Self::PostgresRestart
            | Self::PostgresStop
            | Self::NetworkReset
            | Self::NetworkDown
            | Self::NetworkStall
            | Self::NetworkLoss
            | Self::KillDriver
            | Self::KillShim => false,
        }
    }

    /// The next one.
    pub(crate) fn draw(random: &mut StdRng, redis: bool) -> Self {
        let possible = || Self::ALL.into_iter().filter(|f| redis || !f.needs_redis());
        let total = possible().map(Self::weight).sum();
        let mut ticket = random.random_range(0..total);
        possible()
            .find(|fault| {
                let found = ticket < fault.weight();
                ticket = ticket.saturating_sub(fault.weight());
                found
            })
            .expect("a ticket is less than the sum of all weights")
    }
}

/// Whom faults of the database strike.
pub(crate) const POSTGRES: &str = "PostgreSQL";

/// One fault that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Made {
    pub(crate) fault: Fault,
    /// Whom it struck.
    pub(crate) whom: String,
    /// When it began, microseconds since the Unix epoch.
    pub(crate) at: i64,
    /// When everything was there again; a replica that was started may need a moment more.
    pub(crate) mended_at: i64,
    /// For the leader: its epoch.
    pub(crate) epoch: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_comes_and_redis_is_left_alone_where_there_is_none() {
        let mut random = crate::callers::random(1, 1);
        let drawn: std::collections::BTreeSet<Fault> =
            (0..2_000).map(|_| Fault::draw(&mut random, true)).collect();
        assert_eq!(drawn.len(), Fault::ALL.len());
        assert!((0..2_000).all(|_| !Fault::draw(&mut random, false).needs_redis()));
    }
}
