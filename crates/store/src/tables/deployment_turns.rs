//! A step of the reconciler together with what it means for the jobs that stand for runs, all or nothing (contract F2):
//! neither is a run without its job, nor a job without its run.

use std::collections::HashMap;

use libra_core::id::JobId;
use libra_core::job::{Job, State};
use libra_core::lifecycle::Transition;
use libra_core::time::Timestamp;

use super::deployments::{self, Stepped, Written};
use super::{attempts, changes, feed, jobs, outbox, transitions};
use crate::error::StoreError;
use crate::lane::{Change, Fence, Origin, OutboxRow, Outcome};
use crate::tx::{Arg, Row, Tx, all, first};

/// How the job that stands for a run is, as far as each look has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Where it is in its life.
    pub state: State,
    /// Whether somebody has asked for its end.
    pub cancel_requested: bool,
}

/// Jobs that are asked for in one statement.
const AT_ONCE: usize = 500;

fn read(row: &dyn Row) -> Result<Standing, StoreError> {
    let state = row.text(0)?;
    Ok(Standing {
        state: State::parse(&state).ok_or_else(|| StoreError::unreadable("job state", state))?,
        cancel_requested: row.opt_int(1)?.is_some(),
    })
}

/// How a job is; None for one that is gone.
pub fn standing(tx: &mut dyn Tx, job: JobId) -> Result<Option<Standing>, StoreError> {
    let sql = "SELECT state, cancel_requested_at FROM jobs WHERE id = ?1";
    first(tx, sql, &[Arg::from(&job.to_string())], read)
}

/// How these jobs are; None for each that is gone.
pub fn standings(tx: &mut dyn Tx, jobs: &[JobId]) -> Result<HashMap<JobId, Option<Standing>>, StoreError> {
    let mut found: HashMap<JobId, Option<Standing>> = jobs.iter().map(|job| (*job, None)).collect();
    for some in jobs.chunks(AT_ONCE) {
        let ids: Vec<String> = some.iter().map(ToString::to_string).collect();
        let places: Vec<String> = (1..=ids.len()).map(|number| format!("?{number}")).collect();
        let sql =
            format!("SELECT state, cancel_requested_at, id FROM jobs WHERE id IN ({})", places.join(", "));
        let args: Vec<Arg<'_>> = ids.iter().map(Arg::from).collect();
        for (id, standing) in all(tx, &sql, &args, |row| Ok((row.text(2)?, read(row)?)))? {
            let job = id.parse().map_err(|_| StoreError::unreadable("job id", id))?;
            found.insert(job, Some(standing));
        }
    }
    Ok(found)
}

/// What happens to a job with the step.
#[derive(Clone, Debug)]
pub enum JobWrite {
    /// A new one, as it is after its first step.
    New {
        /// The job.
        job: Box<Job>,
        /// Its first log rows.
        log: Vec<Transition>,
        /// Where they come from.
        origin: Origin,
        /// Messages.
        outbox: Vec<OutboxRow>,
    },
    /// A step of its life.
    Step(Box<Change>),
    /// The engine's id of its open attempt is known.
    Name {
        /// The job.
        job: JobId,
        /// Which attempt.
        attempt: u32,
        /// The engine's id.
        application_id: String,
    },
    /// Messages about it.
    Tell {
        /// The job.
        job: JobId,
        /// The messages.
        outbox: Vec<OutboxRow>,
        /// When.
        at: Timestamp,
    },
}

/// Stores a step with what happens to jobs, unless another step was faster, a job has moved on since it was read, or the
/// leader's lease is another's.
///
/// # Errors
/// [`StoreError::Constraint`] when that is found out too late to be said otherwise; nothing took effect.
pub fn step(
    tx: &mut dyn Tx,
    fence: &Fence,
    stepped: &Stepped,
    writes: &[JobWrite],
) -> Result<Written, StoreError> {
    if !feed::holds(tx, fence)? {
        return Ok(Written::Stale);
    }
    let overtaken = |what: &str| StoreError::Constraint(format!("{what} has moved on since it was read"));
    for (index, write) in writes.iter().enumerate() {
        match write {
            JobWrite::New { job, log, origin, outbox } => {
                let id = job.id.to_string();
                jobs::insert(tx, job)?;
                transitions::append(tx, &id, job.revision, &job.correlation_id, log, origin)?;
                outbox::append(tx, &id, outbox, origin.at)?;
            }
            JobWrite::Step(change) => match changes::apply(tx, change)? {
                Outcome::Updated => {}
                Outcome::Stale | Outcome::Absent if index == 0 => return Ok(Written::Stale),
                Outcome::Stale | Outcome::Absent => return Err(overtaken("a job")),
            },
            JobWrite::Name { job, attempt, application_id } => {
                attempts::name(tx, *job, *attempt, application_id)?;
            }
            // After the step: where there is none, nothing was written.
            JobWrite::Tell { .. } => {}
        }
    }
    match deployments::step(tx, fence, stepped)? {
        Written::Done => {}
        Written::Stale if writes.iter().all(|write| matches!(write, JobWrite::Tell { .. })) => {
            return Ok(Written::Stale);
        }
        Written::Stale => return Err(overtaken("a deployment")),
    }
    for write in writes {
        if let JobWrite::Tell { job, outbox, at } = write {
            outbox::append(tx, &job.to_string(), outbox, *at)?;
        }
    }
    Ok(Written::Done)
}
