//! What was found to be wasted while a job ran: told once for each kind, with its log, its audit and its messages (contract
//! H7).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use libra_core::hpc::efficiency::{Kind, Verdict};
use libra_core::hpc::job::HpcJob;
use libra_core::id::JobId;
use libra_core::time::Timestamp;

use super::jobs::{COLUMNS, read};
use super::writes::{Write, apply};
use crate::error::StoreError;
use crate::lane::{Fence, Outcome};
use crate::tables::feed::holds;
use crate::tx::{Arg, Tx, all};

/// Jobs of which verdicts are looked for in one statement.
const MOST_AT_ONCE: usize = 500;

/// A verdict that was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The job.
    pub job: JobId,
    /// What.
    pub kind: Kind,
    /// When.
    pub at: Timestamp,
    /// The figures that say so.
    pub message: String,
}

/// Tells a verdict of the job of a change, unless it was told already or the job is not as it was read; says whether it was
/// told. None when the fence is broken.
pub fn tell(
    tx: &mut dyn Tx,
    fence: &Fence,
    verdict: &Verdict,
    write: &Write,
) -> Result<Option<bool>, StoreError> {
    if !holds(tx, fence)? {
        return Ok(None);
    }
    let id = write.job.id;
    if of_jobs(tx, &[id])?.iter().any(|told| told.kind == verdict.kind) {
        return Ok(Some(false));
    }
    if apply(tx, std::slice::from_ref(write))? != [Outcome::Updated] {
        return Ok(Some(false));
    }
    let sql = "INSERT INTO hpc_verdicts (job_id, kind, at, message) VALUES (?1, ?2, ?3, ?4)";
    let (id, kind) = (id.to_string(), verdict.kind.as_str());
    tx.execute(sql, &[Arg::from(&id), kind.into(), write.at.0.into(), Arg::from(&verdict.message)])?;
    Ok(Some(true))
}

/// What was told of these jobs.
pub fn of_jobs(tx: &mut dyn Tx, jobs: &[JobId]) -> Result<Vec<Told>, StoreError> {
    let ids: Vec<String> = jobs.iter().map(ToString::to_string).collect();
    let mut found = Vec::new();
    for some in ids.chunks(MOST_AT_ONCE) {
        let places = crate::tables::places(0, some.len());
        let sql = format!(
            "SELECT job_id, kind, at, message FROM hpc_verdicts WHERE job_id IN ({places}) ORDER BY job_id, at, kind"
        );
        let args: Vec<Arg<'_>> = some.iter().map(Arg::from).collect();
        found.extend(all(tx, &sql, &args, |row| {
            let (job, kind) = (row.text(0)?, row.text(1)?);
            Ok(Told {
                job: job.parse().map_err(|_| StoreError::unreadable("job id", job))?,
                kind: Kind::parse(&kind).ok_or_else(|| StoreError::unreadable("verdict", kind))?,
                at: Timestamp(row.int(2)?),
                message: row.text(3)?,
            })
        })?);
    }
    Ok(found)
}

/// Running jobs behind the id `after`, `limit` of them at most.
pub fn running(tx: &mut dyn Tx, after: &str, limit: u32) -> Result<Vec<HpcJob>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM hpc_jobs j WHERE j.hpc_state = 'running' AND j.id > ?1 ORDER BY j.id LIMIT {limit}"
    );
    all(tx, &sql, &[after.into()], read)
}

/// Whose jobs a report is of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Of {
    /// This tenant's.
    pub tenant: String,
    /// This user's.
    pub user: Option<String>,
    /// Charged to this account.
    pub account: Option<String>,
}

/// Jobs that have begun and were first heard of at `since` or later, the newest first, `limit` of them at most.
pub fn begun(tx: &mut dyn Tx, of: &Of, since: Timestamp, limit: u32) -> Result<Vec<HpcJob>, StoreError> {
    let first = JobId::first_at(since).to_string();
    let mut args: Vec<Arg<'_>> = vec![Arg::from(&of.tenant), Arg::from(&first)];
    let mut conditions = String::new();
    let given: BTreeMap<&str, &Option<String>> =
        BTreeMap::from([("user_name", &of.user), ("account", &of.account)]);
    for (column, value) in given {
        if let Some(value) = value {
            args.push(value.into());
            let _ = write!(conditions, " AND j.{column} = ?{}", args.len());
        }
    }
    let sql = format!(
        "SELECT {COLUMNS} FROM hpc_jobs j WHERE j.tenant = ?1 AND j.id >= ?2 AND j.start_time IS NOT NULL{conditions} \
         ORDER BY j.id DESC LIMIT {limit}"
    );
    all(tx, &sql, &args, read)
}
