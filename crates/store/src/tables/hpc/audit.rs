//! The `hpc_audit` table: who has changed what of an observed job, and what it was afterwards (contract H2).

use libra_core::hpc::job::HpcJob;
use libra_core::hpc::record::Record;
use libra_core::id::JobId;
use libra_core::time::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::StoreError;
use crate::tables::{from_json, json as text_of};
use crate::tx::{Arg, Tx, all, first};

/// What kind of change it is. The spellings are the reference's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeType {
    /// Made or changed, whichever it was.
    Upsert,
    /// Changed.
    Update,
    /// Removed.
    Delete,
}

impl ChangeType {
    /// The spelling on the wire and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Upsert => "upsert",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// Who changes a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// What is done.
    pub change_type: ChangeType,
    /// Who: `slurm-prolog`, `collector`, a user.
    pub changed_by: String,
    /// By which way: `slurm`, `api`.
    pub source: String,
    /// Ties together what belongs together.
    pub correlation_id: String,
}

/// A stored change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audited {
    /// Its number.
    pub id: i64,
    /// As stored.
    pub change_type: String,
    /// When.
    pub changed_at: Timestamp,
    /// Who.
    pub changed_by: String,
    /// By which way.
    pub source: String,
    /// Ties together what belongs together.
    pub correlation_id: String,
    /// The job afterwards, JSON; of one that was removed, the job before.
    pub job_snapshot: String,
}

/// Adds changes: what each has made of a job, who, and when.
pub(super) fn append(tx: &mut dyn Tx, changes: &[(&HpcJob, &Author, Timestamp)]) -> Result<(), StoreError> {
    if changes.is_empty() {
        return Ok(());
    }
    let rows: Vec<Value> = changes
        .iter()
        .map(|(job, author, at)| {
            let snapshot = json!({
                "id": job.id.to_string(), "state": job.hpc_state(), "status": job.state, "revision": job.revision,
                "cluster": job.cluster, "client_id": job.client_id, "record": job.record, "failure": job.failure,
            });
            let Author { change_type, changed_by, source, correlation_id } = author;
            let snapshot = snapshot.to_string();
            // Of what is there the row itself says so.
            let (tenant, name) = match (change_type, &job.client_id) {
                (ChangeType::Delete, name) => (Some(&job.tenant), Some(name.clone().unwrap_or(job.id.to_string()))),
                (ChangeType::Upsert | ChangeType::Update, _) => (None, None),
            };
            let id = job.id.to_string();
            json!([id, change_type.as_str(), at.0, changed_by, source, correlation_id, snapshot, tenant, name])
        })
        .collect();
    let sql = format!(
        "INSERT INTO hpc_audit (job_id, change_type, changed_at, changed_by, source, correlation_id, job_snapshot, \
         removed_tenant, removed_name) \
         SELECT e.value ->> 0, e.value ->> 1, CAST(e.value ->> 2 AS BIGINT), e.value ->> 3, e.value ->> 4, e.value ->> 5, \
         e.value ->> 6, e.value ->> 7, e.value ->> 8 FROM {} AS e",
        tx.elements()
    );
    tx.execute(&sql, &[Arg::from(&text_of("audit of jobs", &rows)?)])?;
    Ok(())
}

/// A job that was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// Libra's id of it.
    pub job: JobId,
    /// Whose it was.
    pub owner: String,
}

/// What of a snapshot says whose the job was.
#[derive(Deserialize)]
struct Snapshot {
    record: Record,
}

/// The job of this name that was removed last: the id that its maker gave it or, where there was none, Libra's.
pub fn removed(tx: &mut dyn Tx, tenant: &str, name: &str) -> Result<Option<Removed>, StoreError> {
    let sql = "SELECT job_id, job_snapshot FROM hpc_audit WHERE removed_tenant = ?1 AND removed_name = ?2 \
               ORDER BY id DESC LIMIT 1";
    first(tx, sql, &[tenant.into(), name.into()], |row| {
        let job = row.text(0)?;
        let snapshot: Snapshot = from_json("snapshot of a job", &row.text(1)?)?;
        Ok(Removed {
            job: job.parse().map_err(|_| StoreError::unreadable("job id", job))?,
            owner: snapshot.record.owner().to_owned(),
        })
    })
}

/// What was changed of a job, oldest first.
pub fn of_job(tx: &mut dyn Tx, job: JobId) -> Result<Vec<Audited>, StoreError> {
    let sql = "SELECT id, change_type, changed_at, changed_by, source, correlation_id, job_snapshot FROM hpc_audit \
               WHERE job_id = ?1 ORDER BY id";
    all(tx, sql, &[Arg::from(&job.to_string())], |row| {
        Ok(Audited {
            id: row.int(0)?,
            change_type: row.text(1)?,
            changed_at: Timestamp(row.int(2)?),
            changed_by: row.text(3)?,
            source: row.text(4)?,
            correlation_id: row.text(5)?,
            job_snapshot: row.text(6)?,
        })
    })
}
