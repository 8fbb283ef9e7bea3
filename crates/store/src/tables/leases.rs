//! The `leases` table: who works on what, and the epoch that fences off those who did before.
//!
//! Arithmetic uses the store's clock, never a replica's (design §4).

use std::collections::BTreeMap;

use libra_core::time::Timestamp;

use crate::error::StoreError;
use crate::tx::{Arg, Tx, all, first};

/// Takes the lease `name` for `micros`, if it is free, expired, or already held by `holder`.
///
/// A new holder gets a new epoch, and so does the same holder with `fresh` (a process that starts again must
/// fence off its former self). Answers the epoch, or None when another holds the lease.
pub fn take(
    tx: &mut dyn Tx,
    name: &str,
    holder: &str,
    micros: i64,
    fresh: bool,
) -> Result<Option<i64>, StoreError> {
    let now = tx.now()?;
    // Look before taking: an attempt to take waits for every write that is under way beneath the lease.
    let found =
        first(tx, "SELECT holder, epoch, expires_at FROM leases WHERE name = ?1", &[name.into()], |row| {
            Ok((row.text(0)?, row.int(1)?, row.int(2)?))
        })?;
    match found {
        Some((by, _, until)) if by != holder && until >= now.0 => return Ok(None),
        Some((by, epoch, _)) if by == holder && !fresh && renew(tx, name, epoch, micros)? => {
            return Ok(Some(epoch));
        }
        Some(_) | None => {}
    }
    let changed = tx.execute(
        "INSERT INTO leases (name, holder, epoch, expires_at, renewed_at) VALUES (?1, ?2, 1, ?3, ?4) \
         ON CONFLICT (name) DO UPDATE SET \
         epoch = CASE WHEN leases.holder = excluded.holder AND ?5 = 0 THEN leases.epoch ELSE leases.epoch + 1 END, \
         holder = excluded.holder, expires_at = excluded.expires_at, renewed_at = excluded.renewed_at \
         WHERE leases.holder = excluded.holder OR leases.expires_at < ?4",
        &[
            name.into(),
            holder.into(),
            now.plus_micros(micros).0.into(),
            now.0.into(),
            Arg::Int(i64::from(fresh)),
        ],
    )?;
    if changed == 0 {
        return Ok(None);
    }
    first(tx, "SELECT epoch FROM leases WHERE name = ?1", &[name.into()], |row| row.int(0))
}

/// Keeps the lease of `epoch` for `micros` more, also when it has run out and nobody has taken it; false when it
/// is another's now.
pub fn renew(tx: &mut dyn Tx, name: &str, epoch: i64, micros: i64) -> Result<bool, StoreError> {
    let now = tx.now()?;
    let changed = tx.execute(
        "UPDATE leases SET expires_at = ?3, renewed_at = ?4 WHERE name = ?1 AND epoch = ?2",
        &[name.into(), epoch.into(), now.plus_micros(micros).0.into(), now.0.into()],
    )?;
    Ok(changed == 1)
}

/// Lets go of a lease, if it is still of this epoch. The epoch stays, so that the next one is greater.
pub fn release(tx: &mut dyn Tx, name: &str, epoch: i64) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE leases SET expires_at = 0 WHERE name = ?1 AND epoch = ?2",
        &[name.into(), epoch.into()],
    )?;
    Ok(())
}

/// Ends a lease at once, whoever holds it: for one who knows by other means that the holder is gone.
pub fn expire(tx: &mut dyn Tx, name: &str) -> Result<(), StoreError> {
    tx.execute("UPDATE leases SET expires_at = 0 WHERE name = ?1", &[name.into()])?;
    Ok(())
}

/// Ends all leases at once: for one who knows by other means that every holder is gone.
pub fn expire_all(tx: &mut dyn Tx) -> Result<(), StoreError> {
    tx.execute("UPDATE leases SET expires_at = 0", &[])?;
    Ok(())
}

/// Fences off the holder of a lease that has run out: nothing that it writes under `epoch` takes effect from now
/// on. False when the lease is alive or of another epoch.
pub fn fence_off(tx: &mut dyn Tx, name: &str, epoch: i64) -> Result<bool, StoreError> {
    let now = tx.now()?;
    let changed = tx.execute(
        "UPDATE leases SET epoch = epoch + 1, expires_at = 0 WHERE name = ?1 AND epoch = ?2 AND expires_at < ?3",
        &[name.into(), epoch.into(), now.0.into()],
    )?;
    Ok(changed == 1)
}

/// A lease as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Who took it last.
    pub holder: String,
    /// Its epoch.
    pub epoch: i64,
    /// When it was last renewed.
    pub renewed_at: Timestamp,
    /// True while it has not run out.
    pub alive: bool,
}

/// All leases by name, judged by the store's clock.
pub fn leases(tx: &mut dyn Tx) -> Result<BTreeMap<String, Lease>, StoreError> {
    let now = tx.now()?;
    let found = all(tx, "SELECT name, holder, epoch, renewed_at, expires_at FROM leases", &[], |row| {
        let lease = Lease {
            holder: row.text(1)?,
            epoch: row.int(2)?,
            renewed_at: Timestamp(row.int(3)?),
            alive: row.int(4)? >= now.0,
        };
        Ok((row.text(0)?, lease))
    })?;
    Ok(found.into_iter().collect())
}
