//! The `hpc_jobs` table. The jobs of a number of a cluster are counted, and the database itself sees to it that each is
//! made once.

use libra_core::hpc::job::HpcJob;
use libra_core::hpc::record::Record;
use libra_core::id::JobId;
use libra_core::job::State;
use libra_core::lifecycle::Transition;
use libra_core::time::Timestamp;

use super::audit::{self, Author};
use crate::error::StoreError;
use crate::lane::{Origin, Outcome};
use crate::tables::{from_json, json, transitions};
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
        "SELECT {COLUMNS} FROM hpc_jobs j WHERE j.external_id = ?1 AND j.tenant = ?2 AND NOT EXISTS \
         (SELECT 1 FROM hpc_jobs k WHERE k.cluster = j.cluster AND k.external_id = ?1 AND k.run > j.run) ORDER BY j.cluster"
    );
    crate::tx::all(tx, &sql, &[external_id.into(), tenant.into()], read)
}

/// A row and what belongs to it: stored together or not at all.
#[derive(Clone, Debug)]
pub struct Write {
    /// The row afterwards.
    pub job: HpcJob,
    /// True where it is a new one.
    pub new: bool,
    /// Rows for the log of transitions.
    pub log: Vec<Transition>,
    /// Who has changed it.
    pub author: Author,
    /// When.
    pub at: Timestamp,
}

/// Stores rows that were decided on. [`Outcome::Stale`] where a row is not as it was read, and where a new one has come
/// too late: read again, and decide again.
pub fn apply(tx: &mut dyn Tx, writes: &[Write]) -> Result<Vec<Outcome>, StoreError> {
    writes.iter().map(|write| apply_one(tx, write)).collect()
}

fn apply_one(tx: &mut dyn Tx, write: &Write) -> Result<Outcome, StoreError> {
    let Write { job, new, log, author, at } = write;
    let done = if *new { insert(tx, job)? } else { update(tx, job)? };
    if !done {
        return Ok(Outcome::Stale);
    }
    let id = job.id.to_string();
    name_nodes(tx, &id, &job.record)?;
    let metadata = json(
        "source of a transition",
        &serde_json::json!({"source": author.source, "rawState": job.record.raw_state}),
    )?;
    let origin = Origin { at: *at, actor: author.changed_by.clone(), metadata: Some(metadata) };
    transitions::append(tx, &id, job.revision, &author.correlation_id, log, &origin)?;
    audit::append(tx, job, author, *at)?;
    Ok(Outcome::Updated)
}

/// Stores what has moved on by itself, such as a priority: nobody has changed anything, so neither log nor audit has it.
/// [`Outcome::Stale`] as of [`apply`].
pub fn refresh(tx: &mut dyn Tx, job: &HpcJob) -> Result<Outcome, StoreError> {
    Ok(if update(tx, job)? { Outcome::Updated } else { Outcome::Stale })
}

/// What is written of a row, as text.
struct Texts {
    id: String,
    record: String,
    hint: Option<String>,
    failure: Option<String>,
    whole: Option<String>,
}

impl Texts {
    fn of(job: &HpcJob) -> Result<Self, StoreError> {
        Ok(Self {
            id: job.id.to_string(),
            record: json("record of a job", &job.record)?,
            hint: job.hint.as_ref().map(|hint| json("hint of an end", hint)).transpose()?,
            failure: job.failure.as_ref().map(|failure| json("failure", failure)).transpose()?,
            whole: job.record.whole().map(|number| number.to_string()),
        })
    }
}

fn insert(tx: &mut dyn Tx, job: &HpcJob) -> Result<bool, StoreError> {
    let texts = Texts::of(job)?;
    let Record { external_id, user, account, partition, started, ended, .. } = &job.record;
    let inserted = tx.execute(
        "INSERT INTO hpc_jobs (id, revision, state, hpc_state, tenant, client_id, cluster, external_id, run, user_name, account, \
         partition_name, start_time, end_time, record, hint, failure, correlation_id, created_at, updated_at, whole) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21) \
         ON CONFLICT DO NOTHING",
        &[
            Arg::from(&texts.id),
            job.revision.into(),
            job.state.as_str().into(),
            job.hpc_state().as_str().into(),
            Arg::from(&job.tenant),
            job.client_id.as_ref().into(),
            Arg::from(&job.cluster),
            Arg::from(external_id),
            job.run.into(),
            user.as_deref().unwrap_or_default().into(),
            account.as_ref().into(),
            partition.as_ref().into(),
            started.map(|at| at.0).into(),
            ended.map(|at| at.0).into(),
            Arg::from(&texts.record),
            texts.hint.as_ref().into(),
            texts.failure.as_ref().into(),
            Arg::from(&job.correlation_id),
            job.created_at.0.into(),
            job.updated_at.0.into(),
            texts.whole.as_ref().into(),
        ],
    )?;
    Ok(inserted == 1)
}

fn update(tx: &mut dyn Tx, job: &HpcJob) -> Result<bool, StoreError> {
    let texts = Texts::of(job)?;
    let Record { user, account, partition, started, ended, .. } = &job.record;
    let updated = tx.execute(
        "UPDATE hpc_jobs SET revision = ?3, state = ?4, hpc_state = ?5, user_name = ?6, account = ?7, partition_name = ?8, \
         start_time = ?9, end_time = ?10, record = ?11, hint = ?12, failure = ?13, updated_at = ?14, \
         whole = ?15 WHERE id = ?1 AND revision = ?2",
        &[
            Arg::from(&texts.id),
            (job.revision - 1).into(),
            job.revision.into(),
            job.state.as_str().into(),
            job.hpc_state().as_str().into(),
            user.as_deref().unwrap_or_default().into(),
            account.as_ref().into(),
            partition.as_ref().into(),
            started.map(|at| at.0).into(),
            ended.map(|at| at.0).into(),
            Arg::from(&texts.record),
            texts.hint.as_ref().into(),
            texts.failure.as_ref().into(),
            job.updated_at.0.into(),
            texts.whole.as_ref().into(),
        ],
    )?;
    Ok(updated == 1)
}

/// The nodes that it was ever on: who asks for a node's jobs wants those that have left it, too.
fn name_nodes(tx: &mut dyn Tx, id: &str, record: &Record) -> Result<(), StoreError> {
    for node in &record.nodes {
        let sql = "INSERT INTO hpc_job_nodes (node, job_id) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
        tx.execute(sql, &[node.into(), id.into()])?;
    }
    Ok(())
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
    audit::append(tx, job, author, at)?;
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
    ] {
        tx.execute(sql, &[id.into()])?;
    }
    Ok(())
}
