//! The `idempotency` table: first answers, kept as long as their job (contract A5).

use crate::error::StoreError;
use crate::lane::Idempotency;
use crate::tx::{Arg, Tx, first};

/// A kept answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// SHA-256 of the body that it answered, in hex.
    pub body_hash: String,
    /// HTTP status.
    pub status: u16,
    /// JSON.
    pub response: String,
}

/// The answer kept for this key, if there is one.
pub fn get(tx: &mut dyn Tx, scope: &str, key: &str) -> Result<Option<Kept>, StoreError> {
    first(
        tx,
        "SELECT body_hash, status, response FROM idempotency WHERE scope = ?1 AND key = ?2",
        &[scope.into(), key.into()],
        |row| {
            Ok(Kept {
                body_hash: row.text(0)?,
                status: u16::try_from(row.int(1)?).map_err(|e| StoreError::unreadable("status", e))?,
                response: row.text(2)?,
            })
        },
    )
}

/// Keeps an answer.
pub(crate) fn insert(tx: &mut dyn Tx, kept: &Idempotency, job_id: &str, at: i64) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO idempotency (scope, key, body_hash, job_id, status, response, created_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        &[
            Arg::from(&kept.scope),
            Arg::from(&kept.key),
            Arg::from(&kept.body_hash),
            job_id.into(),
            Arg::Int(i64::from(kept.status)),
            Arg::from(&kept.response),
            at.into(),
        ],
    )?;
    Ok(())
}
