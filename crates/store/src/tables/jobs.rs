//! The `jobs` table: one row is one job.

use std::fmt::Write as _;

use libra_core::admission::Waiting;
use libra_core::id::JobId;
use libra_core::job::{Job, State, StopReason};
use libra_core::mode::Mode;
use libra_core::requirement::Requirement;
use libra_core::spec::Kind;
use libra_core::time::Timestamp;

use super::{from_json, json};
use crate::error::StoreError;
use crate::lane::{Fence, Outcome};
use crate::tx::{Arg, Row, Tx, all, first};

const COLUMNS: &str = "j.id, j.revision, j.state, j.user_id, j.tenant, j.mode, j.requirement, j.limits, j.retry, \
     j.attempt, j.retries, j.lost_launches, j.submitted_at, j.queued_at, j.scheduled_at, j.started_at, \
     j.completed_at, j.not_before, j.cancel_requested_at, j.stop, j.failure, j.correlation_id, s.spec";

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
    })
}

/// Inserts a new job, its specification and its labels.
pub(crate) fn insert(tx: &mut dyn Tx, job: &Job) -> Result<(), StoreError> {
    let id = job.id.to_string();
    let requirement = json("requirement", &job.requirement)?;
    let limits = json("time limits", &job.limits)?;
    let retry = json("retry policy", &job.retry)?;
    let failure = job.failure.as_ref().map(|f| json("failure", f)).transpose()?;
    let time = |t: Option<Timestamp>| Arg::from(t.map(|t| t.0));
    tx.execute(
        "INSERT INTO jobs (id, revision, state, user_id, tenant, name, kind, engine, mode, queue, cluster, \
         priority, requirement, limits, retry, attempt, retries, lost_launches, submitted_at, queued_at, \
         scheduled_at, started_at, completed_at, not_before, cancel_requested_at, stop, failure, correlation_id, due_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, \
         ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29)",
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
            Arg::from(&limits),
            Arg::from(&retry),
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
        ],
    )?;
    let spec = json("job specification", &job.spec)?;
    tx.execute("INSERT INTO job_specs (job_id, spec) VALUES (?1, ?2)", &[Arg::from(&id), Arg::from(&spec)])?;
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
         cancel_requested_at = ?13, stop = ?14, failure = ?15, due_at = ?18 \
         WHERE id = ?1 AND revision = ?2 \
         AND (?16 IS NULL OR EXISTS (SELECT 1 FROM leases WHERE name = ?16 AND epoch = ?17))",
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
    let sql = format!("SELECT {COLUMNS} FROM jobs j JOIN job_specs s ON s.job_id = j.id WHERE j.id = ?1");
    first(tx, &sql, &[Arg::from(&id.to_string())], read)
}

/// All jobs in one of `states`, oldest first.
pub fn in_states(tx: &mut dyn Tx, states: &[State]) -> Result<Vec<Job>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM jobs j JOIN job_specs s ON s.job_id = j.id WHERE j.state = ?1 ORDER BY j.id"
    );
    let mut found = Vec::new();
    for state in states {
        found.extend(all(tx, &sql, &[state.as_str().into()], read)?);
    }
    found.sort_by_key(|job| job.id);
    Ok(found)
}

/// The first `limit` jobs that wait for `mode`, in the order of their turns.
pub fn waiting(tx: &mut dyn Tx, mode: Mode, limit: u32) -> Result<Vec<Waiting>, StoreError> {
    let sql = format!(
        "SELECT id, priority, queued_at, requirement FROM jobs WHERE state = 'QUEUED' AND mode = ?1 \
         ORDER BY priority DESC, queued_at, id LIMIT {limit}"
    );
    all(tx, &sql, &[mode.as_str().into()], |row| {
        Ok(Waiting {
            id: row.text(0)?.parse().map_err(|e| StoreError::unreadable("job id", e))?,
            priority: u8::try_from(row.int(1)?).map_err(|e| StoreError::unreadable("priority", e))?,
            since: Timestamp(row.int(2)?),
            mode,
            needed: from_json("requirement", &row.text(3)?)?,
        })
    })
}

/// What the jobs that hold resources hold, and which they are.
pub fn holding(tx: &mut dyn Tx) -> Result<Vec<(JobId, Mode, Requirement)>, StoreError> {
    all(tx, "SELECT id, mode, requirement FROM jobs WHERE state IN ('SCHEDULED', 'RUNNING')", &[], |row| {
        let mode = row.text(1)?;
        Ok((
            row.text(0)?.parse().map_err(|e| StoreError::unreadable("job id", e))?,
            Mode::parse(&mode).ok_or_else(|| StoreError::unreadable("mode", mode))?,
            from_json("requirement", &row.text(2)?)?,
        ))
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

/// Which jobs to list (contract A3). All given conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// In one of these states; empty = any.
    pub states: Vec<State>,
    /// Submitted by.
    pub user: Option<String>,
    /// Of this tenant.
    pub tenant: Option<String>,
    /// In this mode.
    pub mode: Option<Mode>,
    /// On this engine.
    pub engine: Option<String>,
    /// Of this kind.
    pub kind: Option<Kind>,
    /// In this queue.
    pub queue: Option<String>,
    /// With this name.
    pub name: Option<String>,
    /// On this cluster.
    pub cluster: Option<String>,
    /// With these labels.
    pub labels: Vec<(String, String)>,
    /// Submitted at or after.
    pub since: Option<Timestamp>,
    /// Submitted before.
    pub until: Option<Timestamp>,
}

/// A page of jobs.
#[derive(Clone, Debug)]
pub struct Page {
    /// Newest first.
    pub jobs: Vec<Job>,
    /// How many there are in all, counted no further than [`COUNTED_AT_MOST`]; None beyond.
    pub total: Option<u64>,
    /// True when older ones follow.
    pub more: bool,
}

/// Totals are exact up to this number (contract A3).
pub const COUNTED_AT_MOST: u64 = 10_000;

/// A condition in SQL with its arguments.
struct Conditions {
    sql: String,
    args: Vec<Owned>,
}

enum Owned {
    Int(i64),
    Text(String),
}

impl Conditions {
    fn add(&mut self, before: &str, value: Owned, after: &str) {
        self.args.push(value);
        let _ = write!(self.sql, " AND {before}?{}{after}", self.args.len());
    }

    fn of(filter: &Filter) -> Self {
        let mut c = Self { sql: "1 = 1".to_owned(), args: Vec::new() };
        let texts = [
            ("j.user_id = ", filter.user.clone()),
            ("j.tenant = ", filter.tenant.clone()),
            ("j.mode = ", filter.mode.map(|m| m.as_str().to_owned())),
            ("j.engine = ", filter.engine.clone()),
            ("j.kind = ", filter.kind.map(|k| k.as_str().to_owned())),
            ("j.queue = ", filter.queue.clone()),
            ("j.name = ", filter.name.clone()),
            ("j.cluster = ", filter.cluster.clone()),
        ];
        for (condition, value) in texts {
            if let Some(value) = value {
                c.add(condition, Owned::Text(value), "");
            }
        }
        if !filter.states.is_empty() {
            let mut list = Vec::new();
            for state in &filter.states {
                c.args.push(Owned::Text(state.as_str().to_owned()));
                list.push(format!("?{}", c.args.len()));
            }
            let _ = write!(c.sql, " AND j.state IN ({})", list.join(", "));
        }
        for (key, value) in &filter.labels {
            c.args.push(Owned::Text(key.clone()));
            let key_at = c.args.len();
            c.add(
                &format!("j.id IN (SELECT job_id FROM job_labels WHERE key = ?{key_at} AND value = "),
                Owned::Text(value.clone()),
                ")",
            );
        }
        if let Some(since) = filter.since {
            c.add("j.submitted_at >= ", Owned::Int(since.0), "");
        }
        if let Some(until) = filter.until {
            c.add("j.submitted_at < ", Owned::Int(until.0), "");
        }
        c
    }

    fn args(&self) -> Vec<Arg<'_>> {
        self.args
            .iter()
            .map(|a| match a {
                Owned::Int(n) => Arg::Int(*n),
                Owned::Text(text) => Arg::Text(text),
            })
            .collect()
    }
}

/// Lists jobs, newest first: those older than `before`, after skipping `offset`.
pub fn list(
    tx: &mut dyn Tx,
    filter: &Filter,
    before: Option<JobId>,
    limit: u32,
    offset: u32,
) -> Result<Page, StoreError> {
    let counting = Conditions::of(filter);
    let sql = format!(
        "SELECT COUNT(*) FROM (SELECT 1 FROM jobs j WHERE {} LIMIT {}) counted",
        counting.sql,
        COUNTED_AT_MOST + 1
    );
    let counted = first(tx, &sql, &counting.args(), |row| row.int(0))?.unwrap_or(0);
    let total = u64::try_from(counted).ok().filter(|n| *n <= COUNTED_AT_MOST);

    let mut paging = Conditions::of(filter);
    if let Some(before) = before {
        paging.add("j.id < ", Owned::Text(before.to_string()), "");
    }
    let sql = format!(
        "SELECT {COLUMNS} FROM jobs j JOIN job_specs s ON s.job_id = j.id WHERE {} \
         ORDER BY j.id DESC LIMIT {} OFFSET {offset}",
        paging.sql,
        u64::from(limit) + 1
    );
    let mut jobs = all(tx, &sql, &paging.args(), read)?;
    let more = jobs.len() > limit as usize;
    jobs.truncate(limit as usize);
    Ok(Page { jobs, total, more })
}
