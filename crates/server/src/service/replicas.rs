//! Who serves this database, and what each of them does.

use std::collections::BTreeMap;

use libra_api::views::{ReplicaListView, ReplicaView};
use libra_core::admission::Usage;
use libra_core::id::JobId;
use libra_core::job::State;
use libra_core::memory::GIB;
use libra_store::tables::jobs::Holding;
use libra_store::tables::{attempts, jobs, leases, replicas};

use super::standing::{LEADER, machine_of};
use super::{Service, ServiceError};
use crate::auth::{Principal, may_see};

/// What is held, by host and by mode.
pub(crate) fn usage_of(holding: &[Holding]) -> Usage {
    Usage::of(holding.iter().map(|h| (h.mode, h.needed, h.host.as_deref())))
}

/// Where a job's files can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Whereabouts {
    /// By this replica.
    Here,
    /// By the replica at this address.
    At(String),
    /// By nobody at present: they are on this host.
    Nowhere(String),
}

impl Service {
    /// Who can read the files of an attempt, the last one when None is named. With `of_success`, a job that has
    /// not succeeded needs no files.
    pub(crate) async fn whereabouts(
        &self,
        principal: &Principal,
        job: JobId,
        attempt: Option<u32>,
        of_success: bool,
    ) -> Result<Whereabouts, ServiceError> {
        let (found, known, leases) = self
            .db
            .read(move |tx| {
                let found = jobs::get(tx, job)?;
                let number = attempt.or(found.as_ref().map(|j| j.attempt)).unwrap_or(0);
                let at = attempts::get(tx, job, number)?;
                Ok((found.zip(at), replicas::replicas(tx)?, leases::leases(tx)?))
            })
            .await?;
        // What is not there is told by whoever answers here.
        let Some((job, attempt)) = found else { return Ok(Whereabouts::Here) };
        if !may_see(principal, &job.user, &job.tenant) {
            return Ok(Whereabouts::Here);
        }
        let mine = attempt.storage == self.standing.me.storage || attempt.storage.is_empty();
        if mine || (of_success && job.state != State::Succeeded) {
            return Ok(Whereabouts::Here);
        }
        let alive = |id: &str| leases.get(&replicas::lease_of(id)).is_some_and(|l| l.alive);
        let reads = known.into_iter().find(|r| r.storage == attempt.storage && alive(&r.id));
        Ok(match reads {
            Some(replica) => Whereabouts::At(replica.address),
            None => Whereabouts::Nowhere(machine_of(&attempt.host).to_owned()),
        })
    }

    /// Every replica that is known, alive or not.
    pub(crate) async fn replicas(&self) -> Result<ReplicaListView, ServiceError> {
        let (known, leases, open, now) = self
            .db
            .read(|tx| Ok((replicas::replicas(tx)?, leases::leases(tx)?, attempts::open(tx)?, tx.now()?)))
            .await?;
        let mut held: BTreeMap<String, u64> = BTreeMap::new();
        for holder in open.into_iter().filter_map(|a| a.holder) {
            *held.entry(holder.replica).or_default() += 1;
        }
        let leader = leases.get(LEADER).filter(|l| l.alive);
        let views = known.into_iter().map(|r| {
            let lease = leases.get(&replicas::lease_of(&r.id));
            let epoch = lease.map_or(0, |l| l.epoch);
            let alive = lease.is_some_and(|l| l.alive);
            ReplicaView {
                leader: alive && leader.is_some_and(|l| l.holder == r.id),
                leader_epoch: leader.filter(|l| l.holder == r.id).map(|l| l.epoch),
                epoch,
                alive,
                heartbeat_age_seconds: lease.map(|l| now.seconds_since(l.renewed_at)),
                attempts_held: held.get(&r.id).copied().unwrap_or(0),
                host: r.host,
                address: r.address,
                version: r.version,
                cpu_cores: r.cores,
                memory_gb: (r.memory as f64 / GIB as f64 * 100.0).round() / 100.0,
                started_at: r.started_at.rfc3339(),
                id: r.id,
            }
        });
        Ok(ReplicaListView { replicas: views.collect() })
    }
}
