//! The `jobs` table: one row is one job, with what never changes about it in `job_specs`.

mod list;

use libra_core::id::JobId;
use libra_core::job::{Job, State, StopReason};
use libra_core::mode::Mode;
use libra_core::requirement::Requirement;
use libra_core::spec::{JobSpec, Source};
use libra_core::time::Timestamp;

use super::{from_json, json};
use crate::error::StoreError;
use crate::lane::{Fence, Outcome};
use crate::tx::{Arg, Row, Tx, all, first};

pub use list::{COUNTED_AT_MOST, Filter, Page, PageAt, Place, Total, list};

const COLUMNS: &str = "j.id, j.revision, j.state, j.user_id, j.tenant, j.mode, j.requirement, s.limits, s.retry, \
     j.attempt, j.retries, j.lost_launches, j.submitted_at, j.queued_at, j.scheduled_at, j.started_at, \
     j.completed_at, j.not_before, j.cancel_requested_at, j.stop, j.failure, j.correlation_id, s.spec, j.host";
/// How many those are: what is selected besides follows.
const WIDTH: usize = 24;

fn read(row: &dyn Row) -> Result<Job, StoreError> {
    let time = |column| Ok::<_, StoreError>(row.opt_int(column)?.map(Timestamp));
    let bad = |what: &'static str, text: String| StoreError::unreadable(what, text);
    let count = |column| u32::try_from(row.int(column)?).map_err(|e| StoreError::unreadable("job count", e));
    let id = row.text(0)?;
    let state = row.text(2)?;
    let mode = row.text(5)?;
    let stop = row.opt_text(19)?;
    Ok(Job {
        id: id.parse().map_err(|_| bad("job id", id))?,
        revision: row.int(1)?,
        state: State::parse(&state).ok_or_else(|| bad("job state", state))?,
        user: row.text(3)?,
        tenant: row.text(4)?,
        mode: Mode::parse(&mode).ok_or_else(|| bad("mode", mode))?,
        requirement: from_json("requirement", &row.text(6)?)?,
        limits: from_json("time limits", &row.text(7)?)?,
        retry: from_json("retry policy", &row.text(8)?)?,
        attempt: count(9)?,
        retries: count(10)?,
        lost_launches: count(11)?,
        submitted_at: Timestamp(row.int(12)?),
        queued_at: time(13)?,
        scheduled_at: time(14)?,
        started_at: time(15)?,
        completed_at: time(16)?,
        not_before: time(17)?,
        cancel_requested_at: time(18)?,
        stop: match stop {
            None => None,
            Some(text) => Some(StopReason::parse(&text).ok_or_else(|| bad("stop reason", text))?),
        },
        failure: row.opt_text(20)?.map(|text| from_json("failure", &text)).transpose()?,
        correlation_id: row.text(21)?,
        spec: from_json("job specification", &row.text(22)?)?,
        host: row.opt_text(23)?,
    })
}

/// Reads a job with its program, which is the column after [`COLUMNS`].
fn read_whole(row: &dyn Row) -> Result<Job, StoreError> {
    let mut job = read(row)?;
    job.spec.source = from_json("program", &row.text(WIDTH)?)?;
    Ok(job)
}

/// What never changes about a job, as text.
pub(crate) struct SpecTexts {
    pub(crate) limits: String,
    pub(crate) retry: String,
    /// With no program in it.
    pub(crate) spec: String,
    pub(crate) source: String,
}

impl SpecTexts {
    pub(crate) fn of(job: &Job) -> Result<Self, StoreError> {
        // Lists do without the program, which may be large, so it is stored by itself.
        let bare = JobSpec { source: Source::Code(String::new()), ..job.spec.clone() };
        Ok(Self {
            limits: json("time limits", &job.limits)?,
            retry: json("retry policy", &job.retry)?,
            spec: json("job specification", &bare)?,
            source: json("program", &job.spec.source)?,
        })
    }
}

/// Inserts a new job, its specification and its labels.
pub(crate) fn insert(tx: &mut dyn Tx, job: &Job) -> Result<(), StoreError> {
    let id = job.id.to_string();
    let requirement = json("requirement", &job.requirement)?;
    let spec = SpecTexts::of(job)?;
    let failure = job.failure.as_ref().map(|f| json("failure", f)).transpose()?;
    let time = |t: Option<Timestamp>| Arg::from(t.map(|t| t.0));
    tx.execute(
        "INSERT INTO jobs (id, revision, state, user_id, tenant, name, kind, engine, mode, queue, cluster, \
         priority, requirement, attempt, retries, lost_launches, submitted_at, queued_at, scheduled_at, started_at, \
         completed_at, not_before, cancel_requested_at, stop, failure, correlation_id, due_at, host) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, \
         ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28)",
        &[
            Arg::from(&id),
            job.revision.into(),
            job.state.as_str().into(),
            Arg::from(&job.user),
            Arg::from(&job.tenant),
            job.spec.name.as_deref().into(),
            job.spec.kind.as_str().into(),
            job.mode.engine().into(),
            job.mode.as_str().into(),
            job.spec.queue.as_deref().into(),
            job.spec.cluster.as_deref().into(),
            Arg::Int(i64::from(job.spec.priority)),
            Arg::from(&requirement),
            job.attempt.into(),
            job.retries.into(),
            job.lost_launches.into(),
            job.submitted_at.0.into(),
            time(job.queued_at),
            time(job.scheduled_at),
            time(job.started_at),
            time(job.completed_at),
            time(job.not_before),
            time(job.cancel_requested_at),
            job.stop.map(StopReason::as_str).into(),
            failure.as_ref().into(),
            Arg::from(&job.correlation_id),
            time(job.due_at()),
            job.host.as_ref().into(),
        ],
    )?;
    tx.execute(
        "INSERT INTO job_specs (job_id, user_id, tenant, mode, kind, name, queue, cluster, limits, retry, spec, source) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        &[
            Arg::from(&id),
            Arg::from(&job.user),
            Arg::from(&job.tenant),
            job.mode.as_str().into(),
            job.spec.kind.as_str().into(),
            job.spec.name.as_ref().into(),
            job.spec.queue.as_ref().into(),
            job.spec.cluster.as_ref().into(),
            Arg::from(&spec.limits),
            Arg::from(&spec.retry),
            Arg::from(&spec.spec),
            Arg::from(&spec.source),
        ],
    )?;
    for (key, value) in &job.spec.labels {
        tx.execute(
            "INSERT INTO job_labels (job_id, key, value) VALUES (?1, ?2, ?3)",
            &[Arg::from(&id), Arg::from(key), Arg::from(value)],
        )?;
    }
    Ok(())
}

/// Writes what changes in a job's life, if the row is still at `expected` and the fence still holds.
pub(crate) fn update(
    tx: &mut dyn Tx,
    job: &Job,
    expected: i64,
    fence: Option<&Fence>,
) -> Result<Outcome, StoreError> {
    let id = job.id.to_string();
    let failure = job.failure.as_ref().map(|f| json("failure", f)).transpose()?;
    let time = |t: Option<Timestamp>| Arg::from(t.map(|t| t.0));
    let changed = tx.execute(
        "UPDATE jobs SET revision = ?3, state = ?4, attempt = ?5, retries = ?6, lost_launches = ?7, \
         queued_at = ?8, scheduled_at = ?9, started_at = ?10, completed_at = ?11, not_before = ?12, \
         cancel_requested_at = ?13, stop = ?14, failure = ?15, due_at = ?18, host = ?19 \
         WHERE id = ?1 AND revision = ?2 \
         AND (CAST(?16 AS TEXT) IS NULL OR EXISTS (SELECT 1 FROM leases WHERE name = ?16 AND epoch = ?17))",
        &[
            Arg::from(&id),
            expected.into(),
            job.revision.into(),
            job.state.as_str().into(),
            job.attempt.into(),
            job.retries.into(),
            job.lost_launches.into(),
            time(job.queued_at),
            time(job.scheduled_at),
            time(job.started_at),
            time(job.completed_at),
            time(job.not_before),
            time(job.cancel_requested_at),
            job.stop.map(StopReason::as_str).into(),
            failure.as_ref().into(),
            fence.map(|f| f.lease.as_str()).into(),
            fence.map(|f| f.epoch).into(),
            time(job.due_at()),
            job.host.as_ref().into(),
        ],
    )?;
    if changed == 1 {
        return Ok(Outcome::Updated);
    }
    let there = first(tx, "SELECT 1 FROM jobs WHERE id = ?1", &[Arg::from(&id)], |_| Ok(()))?;
    Ok(if there.is_some() { Outcome::Stale } else { Outcome::Absent })
}

/// One job.
pub fn get(tx: &mut dyn Tx, id: JobId) -> Result<Option<Job>, StoreError> {
    let sql =
        format!("SELECT {COLUMNS}, s.source FROM jobs j JOIN job_specs s ON s.job_id = j.id WHERE j.id = ?1");
    first(tx, &sql, &[Arg::from(&id.to_string())], read_whole)
}

/// Ids in one statement of [`get_many`], at most.
const MANY: usize = 256;

/// These jobs, in no order; those that are gone are left out.
pub fn get_many(tx: &mut dyn Tx, ids: &[JobId]) -> Result<Vec<Job>, StoreError> {
    let mut found = Vec::with_capacity(ids.len());
    for chunk in ids.chunks(MANY) {
        let ids: Vec<String> = chunk.iter().map(JobId::to_string).collect();
        // A few lengths only, so that few statements are prepared: the last id fills up.
        let places = ids.len().next_power_of_two();
        let list: Vec<String> = (1..=places).map(|n| format!("?{n}")).collect();
        let sql = format!(
            "SELECT {COLUMNS}, s.source FROM jobs j JOIN job_specs s ON s.job_id = j.id WHERE j.id IN ({})",
            list.join(", ")
        );
        let filled = ids.iter().chain(ids.last().into_iter().cycle()).take(places);
        let args: Vec<Arg<'_>> = filled.map(Arg::from).collect();
        found.extend(all(tx, &sql, &args, read_whole)?);
    }
    Ok(found)
}

/// All jobs in one of `states`, oldest first.
pub fn in_states(tx: &mut dyn Tx, states: &[State]) -> Result<Vec<Job>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS}, s.source FROM jobs j JOIN job_specs s ON s.job_id = j.id WHERE j.state = ?1 ORDER BY j.id"
    );
    let mut found = Vec::new();
    for state in states {
        found.extend(all(tx, &sql, &[state.as_str().into()], read_whole)?);
    }
    found.sort_by_key(|job| job.id);
    Ok(found)
}

/// What a job that holds resources holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// The job.
    pub id: JobId,
    /// Where it runs.
    pub mode: Mode,
    /// What it occupies.
    pub needed: Requirement,
    /// On which machine.
    pub host: Option<String>,
}

/// What the jobs that hold resources hold, and which they are.
pub fn holding(tx: &mut dyn Tx) -> Result<Vec<Holding>, StoreError> {
    let sql = "SELECT id, mode, requirement, host FROM jobs WHERE state IN ('SCHEDULED', 'RUNNING')";
    all(tx, sql, &[], |row| {
        let mode = row.text(1)?;
        Ok(Holding {
            id: row.text(0)?.parse().map_err(|e| StoreError::unreadable("job id", e))?,
            mode: Mode::parse(&mode).ok_or_else(|| StoreError::unreadable("mode", mode))?,
            needed: from_json("requirement", &row.text(2)?)?,
            host: row.opt_text(3)?,
        })
    })
}

/// The ids of at most `limit` jobs whose queue wait or backoff is over at `now`.
pub fn due(tx: &mut dyn Tx, now: Timestamp, limit: u32) -> Result<Vec<JobId>, StoreError> {
    let sql = format!("SELECT id FROM jobs WHERE due_at <= ?1 ORDER BY due_at, id LIMIT {limit}");
    all(tx, &sql, &[now.0.into()], |row| {
        row.text(0)?.parse().map_err(|e| StoreError::unreadable("job id", e))
    })
}

/// When the next queue wait or backoff is over.
pub fn next_due(tx: &mut dyn Tx) -> Result<Option<Timestamp>, StoreError> {
    let next = first(tx, "SELECT MIN(due_at) FROM jobs WHERE due_at IS NOT NULL", &[], |row| row.opt_int(0))?;
    Ok(next.flatten().map(Timestamp))
}

/// How many jobs are in `state`, counting no further than `most`.
pub fn count_in_state(tx: &mut dyn Tx, state: State, most: u64) -> Result<u64, StoreError> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let counted = first(
        tx,
        "SELECT COUNT(*) FROM (SELECT 1 FROM jobs WHERE state = ?1 LIMIT ?2) counted",
        &[state.as_str().into(), most.into()],
        |row| row.int(0),
    )?;
    Ok(u64::try_from(counted.unwrap_or(0)).unwrap_or(0))
}
