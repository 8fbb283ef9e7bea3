//! The `hpc_jobs` table. The jobs of a number of a cluster are counted, and the database itself sees to it that each is
//! made once.

use libra_core::hpc::job::HpcJob;
use libra_core::id::JobId;
use libra_core::job::State;
use libra_core::time::Timestamp;

use super::audit::{self, Author};
use crate::error::StoreError;
use crate::tables::from_json;
use crate::tx::{Arg, Row, Tx, first};

pub(super) const COLUMNS: &str = "j.id, j.revision, j.state, j.tenant, j.client_id, j.cluster, j.record, j.hint, j.failure, \
     j.correlation_id, j.created_at, j.updated_at, j.run";

pub(super) fn read(row: &dyn Row) -> Result<HpcJob, StoreError> {
    let id = row.text(0)?;
    let state = row.text(2)?;
    Ok(HpcJob {
        id: id.parse().map_err(|_| StoreError::unreadable("job id", id))?,
        revision: row.int(1)?,
        state: State::parse(&state).ok_or_else(|| StoreError::unreadable("job state", state))?,
        tenant: row.text(3)?,
        client_id: row.opt_text(4)?,
        cluster: row.text(5)?,
        record: from_json("record of a job", &row.text(6)?)?,
        hint: row.opt_text(7)?.map(|text| from_json("hint of an end", &text)).transpose()?,
        failure: row.opt_text(8)?.map(|text| from_json("failure", &text)).transpose()?,
        correlation_id: row.text(9)?,
        created_at: Timestamp(row.int(10)?),
        updated_at: Timestamp(row.int(11)?),
        run: u32::try_from(row.int(12)?).map_err(|e| StoreError::unreadable("run of a number", e))?,
    })
}

/// One job.
pub fn get(tx: &mut dyn Tx, id: JobId) -> Result<Option<HpcJob>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM hpc_jobs j WHERE j.id = ?1");
    first(tx, &sql, &[Arg::from(&id.to_string())], read)
}

/// The newest job with a number on a cluster.
pub fn newest(tx: &mut dyn Tx, cluster: &str, external_id: &str) -> Result<Option<HpcJob>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM hpc_jobs j WHERE j.cluster = ?1 AND j.external_id = ?2 ORDER BY j.run DESC LIMIT 1"
    );
    first(tx, &sql, &[cluster.into(), external_id.into()], read)
}

/// All jobs with a number on a cluster, and those that are parts of what has this number as a whole: the tasks of an array, the
/// parts of a heterogeneous job. Numbers begin anew: who asks knows which are meant.
pub fn as_a_whole(tx: &mut dyn Tx, cluster: &str, number: &str) -> Result<Vec<HpcJob>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM hpc_jobs j WHERE j.cluster = ?1 AND (j.external_id = ?2 OR j.whole = ?2) \
         ORDER BY j.external_id, j.run"
    );
    crate::tx::all(tx, &sql, &[cluster.into(), number.into()], read)
}

/// The job that a client has given an id of its own.
pub fn of_client(tx: &mut dyn Tx, tenant: &str, client_id: &str) -> Result<Option<HpcJob>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM hpc_jobs j WHERE j.tenant = ?1 AND j.client_id = ?2");
    first(tx, &sql, &[tenant.into(), client_id.into()], read)
}

/// The clusters of a tenant that have had a job with this number, and the newest of them on each.
pub fn with_number(tx: &mut dyn Tx, tenant: &str, external_id: &str) -> Result<Vec<HpcJob>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM hpc_jobs j WHERE j.external_id = ?1 AND j.tenant = ?2 AND j.run = \
         (SELECT MAX(k.run) FROM hpc_jobs k WHERE k.cluster = j.cluster AND k.external_id = ?1) ORDER BY j.cluster"
    );
    crate::tx::all(tx, &sql, &[external_id.into(), tenant.into()], read)
}

/// Removes a job with all that belongs to it but its audit, to which its removal is added. False where it is not there, or
/// is not as it was read.
pub fn delete(tx: &mut dyn Tx, job: &HpcJob, author: &Author, at: Timestamp) -> Result<bool, StoreError> {
    let id = job.id.to_string();
    let sql = "DELETE FROM hpc_jobs WHERE id = ?1 AND revision = ?2";
    if tx.execute(sql, &[Arg::from(&id), job.revision.into()])? == 0 {
        return Ok(false);
    }
    forget_what_belongs_to(tx, &id)?;
    audit::append(tx, &[(job, author, at)])?;
    Ok(true)
}

pub(super) fn forget_what_belongs_to(tx: &mut dyn Tx, id: &str) -> Result<(), StoreError> {
    for sql in [
        "DELETE FROM hpc_samples WHERE series IN (SELECT id FROM hpc_series WHERE job_id = ?1)",
        "DELETE FROM hpc_rollups WHERE series IN (SELECT id FROM hpc_series WHERE job_id = ?1)",
        "DELETE FROM hpc_series WHERE job_id = ?1",
        "DELETE FROM hpc_job_nodes WHERE job_id = ?1",
        "DELETE FROM hpc_verdicts WHERE job_id = ?1",
        "DELETE FROM outbox WHERE job_id = ?1",
        "DELETE FROM idempotency WHERE job_id = ?1",
    ] {
        tx.execute(sql, &[id.into()])?;
    }
    Ok(())
}
