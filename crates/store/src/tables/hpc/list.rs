//! Lists of observed jobs, newest first.

use libra_core::hpc::job::HpcJob;
use libra_core::hpc::raw_state::HpcState;
use libra_core::id::JobId;

use super::jobs::{COLUMNS, read};
use crate::error::StoreError;
use crate::tables::json;
use crate::tx::{Arg, Tx, all, first};

/// Totals are exact up to this number.
pub const COUNTED_AT_MOST: u32 = 10_000;

/// Which jobs to list. All given conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this tenant.
    pub tenant: String,
    /// In this state.
    pub state: Option<HpcState>,
    /// Of this user.
    pub user: Option<String>,
    /// That were on this node.
    pub node: Option<String>,
    /// Charged to this account.
    pub account: Option<String>,
    /// In this partition.
    pub partition: Option<String>,
    /// On this cluster.
    pub cluster: Option<String>,
    /// Older than this one, which need not be there any more.
    pub before: Option<JobId>,
}

/// A page of a list.
#[derive(Clone, Debug)]
pub struct Page {
    /// Newest first.
    pub jobs: Vec<HpcJob>,
    /// How many the whole list has; None where that is more than [`COUNTED_AT_MOST`].
    pub total: Option<u64>,
}

/// The jobs from `offset` on, `limit` of them at most.
pub fn list(tx: &mut dyn Tx, filter: &Filter, offset: u32, limit: u32) -> Result<Page, StoreError> {
    let before = filter.before.map(|id| id.to_string());
    let mut args: Vec<Arg<'_>> = vec![Arg::from(&filter.tenant)];
    let mut given = vec!["j.tenant = ?1".to_owned()];
    let conditions = [
        ("j.hpc_state =", filter.state.map(HpcState::as_str)),
        ("j.user_name =", filter.user.as_deref()),
        ("j.account =", filter.account.as_deref()),
        ("j.partition_name =", filter.partition.as_deref()),
        ("j.cluster =", filter.cluster.as_deref()),
        (if filter.node.is_some() { "n.job_id <" } else { "j.id <" }, before.as_deref()),
    ];
    for (condition, value) in conditions {
        if let Some(value) = value {
            args.push(value.into());
            given.push(format!("{condition} ?{}", args.len()));
        }
    }
    // A node has few of all jobs: its own are gone through, newest first. CROSS keeps SQLite to that.
    let (from, key) = if let Some(node) = &filter.node {
        args.push(node.into());
        given.push(format!("j.id = n.job_id AND n.node = ?{}", args.len()));
        ("hpc_job_nodes n CROSS JOIN hpc_jobs j", "n.job_id")
    } else {
        ("hpc_jobs j", "j.id")
    };
    let sql = format!("FROM {from} WHERE {}", given.join(" AND "));
    let counted = format!("SELECT COUNT(*) FROM (SELECT 1 {sql} LIMIT {}) AS counted", COUNTED_AT_MOST + 1);
    let counted = first(tx, &counted, &args, |row| row.int(0))?.unwrap_or(0);
    let total = u64::try_from(counted).ok().filter(|total| *total <= u64::from(COUNTED_AT_MOST));
    let page = format!("SELECT {COLUMNS} {sql} ORDER BY {key} DESC LIMIT {limit} OFFSET {offset}");
    Ok(Page { jobs: all(tx, &page, &args, read)?, total })
}

/// All jobs of a cluster that have not ended, as they are to be held against what its scheduler says.
pub fn open(tx: &mut dyn Tx, cluster: &str) -> Result<Vec<HpcJob>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM hpc_jobs j WHERE j.hpc_state IN ('pending', 'running') AND j.cluster = ?1 ORDER BY j.id"
    );
    all(tx, &sql, &[cluster.into()], read)
}

/// The newest row of each of these numbers, each of a cluster, where there is one.
pub fn newest_of(tx: &mut dyn Tx, numbers: &[(&str, &str)]) -> Result<Vec<HpcJob>, StoreError> {
    // CROSS keeps SQLite to looking each number up, and LIMIT keeps PostgreSQL to it, which would walk along the whole index by
    // a plan that was made while there were no jobs.
    let sql = format!(
        "SELECT {COLUMNS} FROM {} AS e CROSS JOIN hpc_jobs j WHERE j.id = (SELECT k.id FROM hpc_jobs k \
         WHERE k.cluster = e.value ->> 0 AND k.external_id = e.value ->> 1 ORDER BY k.run DESC LIMIT 1)",
        tx.elements()
    );
    all(tx, &sql, &[Arg::from(&json("numbers of jobs", &numbers)?)], read)
}

/// How many jobs there are in each state.
pub fn counts(tx: &mut dyn Tx) -> Result<Vec<(HpcState, u64)>, StoreError> {
    let sql = "SELECT hpc_state, COUNT(*) FROM hpc_jobs GROUP BY hpc_state";
    all(tx, sql, &[], |row| {
        let text = row.text(0)?;
        let state = HpcState::parse(&text).ok_or_else(|| StoreError::unreadable("job state", text))?;
        Ok((state, u64::try_from(row.int(1)?).unwrap_or(0)))
    })
}
