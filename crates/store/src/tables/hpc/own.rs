//! What attempts of Libra's own use: in the same tables as what observed jobs use, under the id of their job (contract H3).

use std::collections::BTreeSet;

use libra_core::hpc::record::Record;
use libra_core::id::{JobId, Token};
use libra_core::time::Timestamp;

use super::samples::Batch;
use crate::error::StoreError;
use crate::tables::places;
use crate::tx::{Arg, Tx, all};

/// Tokens, or jobs, in one statement.
const MANY: usize = 250;

/// An attempt as far as it takes to say whether a sample, or a job of a scheduler, is its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measured {
    /// Its token.
    pub token: Token,
    /// The job.
    pub job: JobId,
    /// Whose tenant.
    pub tenant: String,
    /// Whose job.
    pub user: String,
    /// What its engine calls it: its number, where it is Slurm's; None while nobody knows.
    pub number: Option<String>,
    /// When it was launched; before that it has used nothing.
    pub begun: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
}

impl Measured {
    /// True where the job of this record can be the attempt, or a part of it.
    pub fn may_be(&self, record: &Record) -> bool {
        self.number.as_ref().is_none_or(|number| record.has_number(number))
    }
}

/// The attempts with these tokens, in no order; a token that nobody knows is left out.
pub fn with_tokens(tx: &mut dyn Tx, tokens: &[Token]) -> Result<Vec<Measured>, StoreError> {
    let texts: Vec<String> = tokens.iter().map(ToString::to_string).collect();
    let mut found = Vec::with_capacity(texts.len());
    for some in texts.chunks(MANY) {
        let args: Vec<Arg<'_>> = some.iter().map(Arg::from).collect();
        let sql = format!(
            "SELECT a.token, a.job_id, j.tenant, j.user_id, COALESCE(a.launched_at, a.created_at), a.ended_at, a.application_id FROM attempts a \
             JOIN jobs j ON j.id = a.job_id WHERE a.token IN ({})",
            places(0, args.len())
        );
        found.extend(all(tx, &sql, &args, |row| {
            let (token, job) = (row.text(0)?, row.text(1)?);
            Ok(Measured {
                token: token.parse().map_err(|e| StoreError::unreadable("attempt token", e))?,
                job: job.parse().map_err(|e| StoreError::unreadable("job id", e))?,
                tenant: row.text(2)?,
                user: row.text(3)?,
                begun: Timestamp(row.int(4)?),
                ended: row.opt_int(5)?.map(Timestamp),
                number: row.opt_text(6)?,
            })
        })?);
    }
    Ok(found)
}

/// Those of the batches whose jobs are still there: what was forgotten meanwhile gets no samples any more.
pub fn kept(tx: &mut dyn Tx, batches: Vec<Batch>) -> Result<Vec<Batch>, StoreError> {
    let ids: BTreeSet<String> = batches.iter().map(|batch| batch.job.to_string()).collect();
    let ids: Vec<String> = ids.into_iter().collect();
    let mut there = BTreeSet::new();
    for some in ids.chunks(MANY) {
        let args: Vec<Arg<'_>> = some.iter().map(Arg::from).collect();
        let sql = format!("SELECT id FROM jobs WHERE id IN ({})", places(0, args.len()));
        there.extend(all(tx, &sql, &args, |row| row.text(0))?);
    }
    Ok(batches.into_iter().filter(|batch| there.contains(&batch.job.to_string())).collect())
}

/// Forgets what these jobs used.
pub(crate) fn forget(tx: &mut dyn Tx, jobs: &[String]) -> Result<(), StoreError> {
    for some in jobs.chunks(MANY) {
        let args: Vec<Arg<'_>> = some.iter().map(Arg::from).collect();
        let these = places(0, args.len());
        let series = format!("SELECT id FROM hpc_series WHERE job_id IN ({these})");
        for sql in [
            format!("DELETE FROM hpc_samples WHERE series IN ({series})"),
            format!("DELETE FROM hpc_rollups WHERE series IN ({series})"),
            format!("DELETE FROM hpc_series WHERE job_id IN ({these})"),
        ] {
            tx.execute(&sql, &args)?;
        }
    }
    Ok(())
}
