//! The `outbox` table: messages for the world, written with the state they tell of.

use libra_core::id::JobId;
use libra_core::time::Timestamp;

use crate::error::StoreError;
use crate::lane::OutboxRow;
use crate::tx::{Arg, Tx, all};

/// Appends messages about one job, due at once.
pub(crate) fn append(
    tx: &mut dyn Tx,
    job_id: &str,
    rows: &[OutboxRow],
    at: Timestamp,
) -> Result<(), StoreError> {
    for row in rows {
        tx.execute(
            "INSERT INTO outbox (job_id, topic, target, payload, created_at, tries, next_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, 0, ?5)",
            &[
                job_id.into(),
                Arg::from(&row.topic),
                Arg::from(&row.target),
                Arg::from(&row.payload),
                at.0.into(),
            ],
        )?;
    }
    Ok(())
}

/// The messages about one job, oldest first.
pub fn of_job(tx: &mut dyn Tx, job_id: JobId) -> Result<Vec<OutboxRow>, StoreError> {
    all(
        tx,
        "SELECT topic, target, payload FROM outbox WHERE job_id = ?1 ORDER BY id",
        &[Arg::from(&job_id.to_string())],
        |row| Ok(OutboxRow { topic: row.text(0)?, target: row.text(1)?, payload: row.text(2)? }),
    )
}
