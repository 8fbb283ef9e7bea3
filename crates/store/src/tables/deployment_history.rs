//! The `deployment_generations` and `deployment_events` tables: what was applied, and what happened.

use libra_core::deployment::reconcile::Fared;
use libra_core::time::Timestamp;

use super::deployments::Name;
use super::feed;
use crate::error::StoreError;
use crate::lane::Fence;
use crate::tx::{Row, Tx, all, first};

/// A generation as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredGeneration {
    /// Its number.
    pub generation: u64,
    /// The specification as it was written, JSON.
    pub spec: String,
    /// The sha256 of the file that Flink is given, in hexadecimal.
    pub digest: String,
    /// The signature that was verified, as it was written, where there was one.
    pub signature: Option<String>,
    /// The id of the key that has made it.
    pub signed_by: Option<String>,
    /// When.
    pub applied_at: Timestamp,
    /// Who.
    pub applied_by: String,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// `phase`, `starts` and so on.
    pub kind: String,
    /// In words.
    pub message: String,
}

/// A stored event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its number in its deployment, from 1.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: Happening,
    /// The generation that was wanted then.
    pub generation: u64,
}

fn number(what: &'static str, value: i64) -> Result<u64, StoreError> {
    u64::try_from(value).map_err(|e| StoreError::unreadable(what, e))
}

pub(super) fn stored(what: &'static str, value: u64) -> Result<i64, StoreError> {
    i64::try_from(value).map_err(|e| StoreError::unreadable(what, e))
}

pub(super) fn add_generation(tx: &mut dyn Tx, name: &Name, new: &StoredGeneration) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO deployment_generations (tenant, deployment, generation, spec, digest, applied_at, applied_by, \
         signature, signed_by) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        &[
            (&name.tenant).into(),
            (&name.id).into(),
            stored("generation", new.generation)?.into(),
            (&new.spec).into(),
            (&new.digest).into(),
            new.applied_at.0.into(),
            (&new.applied_by).into(),
            new.signature.as_deref().into(),
            new.signed_by.as_deref().into(),
        ],
    )?;
    Ok(())
}

/// Appends to the deployment's events. Its row is locked by the write before, so numbers have no gaps.
pub(super) fn tell(
    tx: &mut dyn Tx,
    name: &Name,
    at: Timestamp,
    generation: u64,
    what: &[Happening],
) -> Result<(), StoreError> {
    if what.is_empty() {
        return Ok(());
    }
    let of = [(&name.tenant).into(), (&name.id).into()];
    let last =
        first(tx, "SELECT events FROM deployments WHERE tenant = ?1 AND id = ?2", &of, |row| row.int(0))?
            .unwrap_or_default();
    let mut seq = last;
    for one in what {
        seq += 1;
        tx.execute(
            "INSERT INTO deployment_events (tenant, deployment, seq, at, kind, message, generation) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            &[
                (&name.tenant).into(),
                (&name.id).into(),
                seq.into(),
                at.0.into(),
                (&one.kind).into(),
                (&one.message).into(),
                stored("generation", generation)?.into(),
            ],
        )?;
    }
    tx.execute(
        "UPDATE deployments SET events = ?3 WHERE tenant = ?1 AND id = ?2",
        &[(&name.tenant).into(), (&name.id).into(), seq.into()],
    )?;
    Ok(())
}

/// True when the same was told of this generation, and is not forgotten.
pub(super) fn was_told(
    tx: &mut dyn Tx,
    name: &Name,
    generation: u64,
    what: &Happening,
) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM deployment_events WHERE tenant = ?1 AND deployment = ?2 AND generation = ?3 AND kind = ?4 \
               AND message = ?5 LIMIT 1";
    let of = [
        (&name.tenant).into(),
        (&name.id).into(),
        stored("generation", generation)?.into(),
        (&what.kind).into(),
        (&what.message).into(),
    ];
    Ok(first(tx, sql, &of, |row| row.int(0))?.is_some())
}

fn read_generation(row: &dyn Row) -> Result<StoredGeneration, StoreError> {
    Ok(StoredGeneration {
        generation: number("generation", row.int(0)?)?,
        spec: row.text(1)?,
        digest: row.text(2)?,
        applied_at: Timestamp(row.int(3)?),
        applied_by: row.text(4)?,
        signature: row.opt_text(5)?,
        signed_by: row.opt_text(6)?,
    })
}

const GENERATION: &str = "generation, spec, digest, applied_at, applied_by, signature, signed_by";

/// One generation.
pub fn generation(
    tx: &mut dyn Tx,
    name: &Name,
    generation: u64,
) -> Result<Option<StoredGeneration>, StoreError> {
    let sql = format!(
        "SELECT {GENERATION} FROM deployment_generations WHERE tenant = ?1 AND deployment = ?2 AND generation = ?3"
    );
    let of = [(&name.tenant).into(), (&name.id).into(), stored("generation", generation)?.into()];
    first(tx, &sql, &of, read_generation)
}

/// All generations, newest first.
pub fn generations(tx: &mut dyn Tx, name: &Name) -> Result<Vec<StoredGeneration>, StoreError> {
    let sql = format!(
        "SELECT {GENERATION} FROM deployment_generations WHERE tenant = ?1 AND deployment = ?2 ORDER BY generation DESC"
    );
    all(tx, &sql, &[(&name.tenant).into(), (&name.id).into()], read_generation)
}

/// How a generation has fared so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// When it was last found well.
    pub stable_at: Option<Timestamp>,
    /// When it was last given up.
    pub given_up_at: Option<Timestamp>,
}

pub(super) fn has_fared(
    tx: &mut dyn Tx,
    name: &Name,
    generation: u64,
    fared: Fared,
    at: Timestamp,
) -> Result<(), StoreError> {
    let column = match fared {
        Fared::Well => "stable_at",
        Fared::GivenUp => "given_up_at",
    };
    let sql = format!(
        "UPDATE deployment_generations SET {column} = ?4 WHERE tenant = ?1 AND deployment = ?2 AND generation = ?3"
    );
    let generation = stored("generation", generation)?;
    tx.execute(&sql, &[(&name.tenant).into(), (&name.id).into(), generation.into(), at.0.into()])?;
    Ok(())
}

/// How all generations have fared, newest first: those of [`generations`].
pub fn records(tx: &mut dyn Tx, name: &Name) -> Result<Vec<Record>, StoreError> {
    let sql = "SELECT stable_at, given_up_at FROM deployment_generations WHERE tenant = ?1 AND deployment = ?2 \
               ORDER BY generation DESC";
    all(tx, sql, &[(&name.tenant).into(), (&name.id).into()], |row| {
        Ok(Record { stable_at: row.opt_int(0)?.map(Timestamp), given_up_at: row.opt_int(1)?.map(Timestamp) })
    })
}

/// The newest generation before this one that was found well, and was not given up since.
pub fn stable_before(tx: &mut dyn Tx, name: &Name, generation: u64) -> Result<Option<u64>, StoreError> {
    let sql = "SELECT generation FROM deployment_generations WHERE tenant = ?1 AND deployment = ?2 AND generation < ?3 \
               AND stable_at IS NOT NULL AND (given_up_at IS NULL OR given_up_at < stable_at) \
               ORDER BY generation DESC LIMIT 1";
    let of = [(&name.tenant).into(), (&name.id).into(), stored("generation", generation)?.into()];
    first(tx, sql, &of, |row| number("generation", row.int(0)?))
}

/// The newest generation with this program.
pub fn newest_with(
    tx: &mut dyn Tx,
    name: &Name,
    digest: &str,
) -> Result<Option<StoredGeneration>, StoreError> {
    let sql = format!(
        "SELECT {GENERATION} FROM deployment_generations WHERE tenant = ?1 AND deployment = ?2 AND digest = ?3 \
         ORDER BY generation DESC LIMIT 1"
    );
    first(tx, &sql, &[(&name.tenant).into(), (&name.id).into(), digest.into()], read_generation)
}

/// True when another deployment has a generation with this program.
pub fn is_shared(tx: &mut dyn Tx, name: &Name, digest: &str) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM deployment_generations WHERE digest = ?3 AND (tenant <> ?1 OR deployment <> ?2) LIMIT 1";
    let found = first(tx, sql, &[(&name.tenant).into(), (&name.id).into(), digest.into()], |row| row.int(0))?;
    Ok(found.is_some())
}

/// The programs of all generations of all deployments, which must be kept: tenant and digest.
pub fn digests(tx: &mut dyn Tx) -> Result<Vec<(String, String)>, StoreError> {
    let sql = "SELECT DISTINCT tenant, digest FROM deployment_generations";
    all(tx, sql, &[], |row| Ok((row.text(0)?, row.text(1)?)))
}

/// Forgets the oldest events of deployments that have more than `kept`, of at most `most` deployments; says of how many,
/// or None when the leader's lease is another's.
pub fn forget_events(
    tx: &mut dyn Tx,
    fence: &Fence,
    kept: u32,
    most: u32,
) -> Result<Option<usize>, StoreError> {
    if !feed::holds(tx, fence)? {
        return Ok(None);
    }
    let sql = "SELECT tenant, id, events FROM deployments WHERE EXISTS (SELECT 1 FROM deployment_events e \
               WHERE e.tenant = deployments.tenant AND e.deployment = deployments.id AND e.seq <= deployments.events - ?1) \
               LIMIT ?2";
    let long = all(tx, sql, &[kept.into(), most.into()], |row| {
        Ok((Name { tenant: row.text(0)?, id: row.text(1)? }, row.int(2)?))
    })?;
    for (name, last) in &long {
        tx.execute(
            "DELETE FROM deployment_events WHERE tenant = ?1 AND deployment = ?2 AND seq <= ?3",
            &[(&name.tenant).into(), (&name.id).into(), last.saturating_sub(i64::from(kept)).into()],
        )?;
    }
    Ok(Some(long.len()))
}

/// Events after number `after`, oldest first, at most `limit`.
pub fn events(tx: &mut dyn Tx, name: &Name, after: u64, limit: u32) -> Result<Vec<StoredEvent>, StoreError> {
    all(
        tx,
        "SELECT seq, at, kind, message, generation FROM deployment_events \
         WHERE tenant = ?1 AND deployment = ?2 AND seq > ?3 ORDER BY seq LIMIT ?4",
        &[(&name.tenant).into(), (&name.id).into(), stored("event", after)?.into(), limit.into()],
        |row| {
            Ok(StoredEvent {
                seq: number("event", row.int(0)?)?,
                at: Timestamp(row.int(1)?),
                what: Happening { kind: row.text(2)?, message: row.text(3)? },
                generation: number("generation", row.int(4)?)?,
            })
        },
    )
}
