//! The `replicas` table: who serves this database, and where. Whether one is alive says its lease.

use libra_core::time::Timestamp;

use crate::error::StoreError;
use crate::tx::{Arg, Row, Tx, all};

/// A replica as it introduced itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// Its id.
    pub id: String,
    /// Machine-id and boot-id.
    pub host: String,
    /// Whose files it can read: replicas with the same shared directory have the same storage.
    pub storage: String,
    /// Where the others reach its API.
    pub address: String,
    /// Libra's version.
    pub version: String,
    /// Cores that jobs may use on its host.
    pub cores: u64,
    /// Memory that jobs may use on its host, in bytes.
    pub memory: u64,
    /// When it started.
    pub started_at: Timestamp,
}

/// The lease by which a replica shows that it is alive.
pub fn lease_of(replica: &str) -> String {
    format!("replica:{replica}")
}

/// Introduces a replica, or what has changed about it.
pub fn introduce(tx: &mut dyn Tx, r: &Replica) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO replicas (id, host, storage, address, version, cores, memory, started_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) \
         ON CONFLICT (id) DO UPDATE SET host = excluded.host, storage = excluded.storage, \
         address = excluded.address, version = excluded.version, cores = excluded.cores, \
         memory = excluded.memory, started_at = excluded.started_at",
        &[
            Arg::from(&r.id),
            Arg::from(&r.host),
            Arg::from(&r.storage),
            Arg::from(&r.address),
            Arg::from(&r.version),
            Arg::Int(i64::try_from(r.cores).unwrap_or(i64::MAX)),
            Arg::Int(i64::try_from(r.memory).unwrap_or(i64::MAX)),
            r.started_at.0.into(),
        ],
    )?;
    Ok(())
}

/// Every replica that has ever introduced itself and was not forgotten.
pub fn replicas(tx: &mut dyn Tx) -> Result<Vec<Replica>, StoreError> {
    let sql =
        "SELECT id, host, storage, address, version, cores, memory, started_at FROM replicas ORDER BY id";
    all(tx, sql, &[], read)
}

fn read(row: &dyn Row) -> Result<Replica, StoreError> {
    let amount = |column| u64::try_from(row.int(column)?).map_err(|e| StoreError::unreadable("amount", e));
    Ok(Replica {
        id: row.text(0)?,
        host: row.text(1)?,
        storage: row.text(2)?,
        address: row.text(3)?,
        version: row.text(4)?,
        cores: amount(5)?,
        memory: amount(6)?,
        started_at: Timestamp(row.int(7)?),
    })
}

/// Forgets a replica that is gone for good, with its lease.
pub fn forget(tx: &mut dyn Tx, id: &str) -> Result<(), StoreError> {
    tx.execute("DELETE FROM replicas WHERE id = ?1", &[id.into()])?;
    tx.execute("DELETE FROM leases WHERE name = ?1", &[Arg::from(&lease_of(id))])?;
    Ok(())
}
