//! The `leases` table: who works on what, and the epoch that fences off those who did before.
//!
//! Arithmetic uses the store's clock, never a replica's (design §4).

use crate::error::StoreError;
use crate::tx::{Arg, Tx, first};

/// The store's clock, in microseconds.
const NOW: &str = "CAST(unixepoch('subsec') * 1000000 AS INTEGER)";

/// Takes the lease `name` for `seconds`, if it is free, expired, or already held by `holder`.
///
/// A new holder gets a new epoch, and so does the same holder with `fresh` (a process that starts again must
/// fence off its former self). Answers the epoch, or None when another holds the lease.
pub fn take(
    tx: &mut dyn Tx,
    name: &str,
    holder: &str,
    seconds: i64,
    fresh: bool,
) -> Result<Option<i64>, StoreError> {
    let sql = format!(
        "INSERT INTO leases (name, holder, epoch, expires_at) VALUES (?1, ?2, 1, {NOW} + ?3 * 1000000) \
         ON CONFLICT (name) DO UPDATE SET \
         epoch = CASE WHEN leases.holder = excluded.holder AND ?4 = 0 THEN leases.epoch ELSE leases.epoch + 1 END, \
         holder = excluded.holder, expires_at = excluded.expires_at \
         WHERE leases.holder = excluded.holder OR leases.expires_at < {NOW}"
    );
    let args = [name.into(), holder.into(), seconds.into(), Arg::Int(i64::from(fresh))];
    if tx.execute(&sql, &args)? == 0 {
        return Ok(None);
    }
    first(tx, "SELECT epoch FROM leases WHERE name = ?1", &[name.into()], |row| row.int(0))
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
