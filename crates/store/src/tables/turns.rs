//! What the scheduler reads: who waits, who holds what, what ended lately, and what has changed since it last looked.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use libra_core::attempt::Usage;
use libra_core::id::JobId;
use libra_core::job::{State, TimeLimits};
use libra_core::mode::Mode;
use libra_core::requirement::Requirement;
use libra_core::time::Timestamp;

use super::numbering::{self, MAX_NUMBERED};
use super::{from_json, places};
use crate::error::StoreError;
use crate::tx::{Arg, Row, Tx, all, first};

/// Ids in one statement of [`briefs`], at most.
const MANY: usize = 256;

/// A job, as far as turns depend on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Brief {
    /// The job.
    pub id: JobId,
    /// Its revision.
    pub revision: i64,
    /// Where it is in its life.
    pub state: State,
    /// Its present or last attempt.
    pub attempt: u32,
    /// Who submitted it.
    pub user: String,
    /// Whose it is.
    pub tenant: String,
    /// Where it is to run.
    pub mode: Mode,
    /// The queue that it names.
    pub queue: Option<String>,
    /// The cluster of its executors, where that has a name here.
    pub cluster: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// 1–10, higher first.
    pub priority: u8,
    /// What it needs.
    pub needed: Requirement,
    /// How long it may take.
    pub limits: TimeLimits,
    /// Since when it waits, or waited last.
    pub queued_at: Option<Timestamp>,
    /// When its attempt was admitted.
    pub scheduled_at: Option<Timestamp>,
    /// When its attempt began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
    /// The machine on which it holds resources.
    pub host: Option<String>,
}

const COLUMNS: &str = "j.id, j.revision, j.state, j.attempt, j.user_id, j.tenant, j.mode, j.queue, j.name, j.priority, \
     j.requirement, s.limits, j.queued_at, j.scheduled_at, j.started_at, j.completed_at, j.host, j.cluster";
const FROM: &str = "FROM jobs j JOIN job_specs s ON s.job_id = j.id";

fn read(row: &dyn Row) -> Result<Brief, StoreError> {
    let time = |column| Ok::<_, StoreError>(row.opt_int(column)?.map(Timestamp));
    let bad = |what: &'static str, text: String| StoreError::unreadable(what, text);
    let (state, mode) = (row.text(2)?, row.text(6)?);
    Ok(Brief {
        id: row.text(0)?.parse().map_err(|e| StoreError::unreadable("job id", e))?,
        revision: row.int(1)?,
        state: State::parse(&state).ok_or_else(|| bad("job state", state))?,
        attempt: u32::try_from(row.int(3)?).map_err(|e| StoreError::unreadable("attempt number", e))?,
        user: row.text(4)?,
        tenant: row.text(5)?,
        mode: Mode::parse(&mode).ok_or_else(|| bad("mode", mode))?,
        queue: row.opt_text(7)?,
        name: row.opt_text(8)?,
        priority: u8::try_from(row.int(9)?).map_err(|e| StoreError::unreadable("priority", e))?,
        needed: from_json("requirement", &row.text(10)?)?,
        limits: from_json("time limits", &row.text(11)?)?,
        queued_at: time(12)?,
        scheduled_at: time(13)?,
        started_at: time(14)?,
        completed_at: time(15)?,
        host: row.opt_text(16)?,
        cluster: row.opt_text(17)?,
    })
}

/// Every job that waits for its turn.
pub fn waiting(tx: &mut dyn Tx) -> Result<Vec<Brief>, StoreError> {
    all(tx, &format!("SELECT {COLUMNS} {FROM} WHERE j.state = 'QUEUED'"), &[], read)
}

/// Every job that holds resources.
pub fn holding(tx: &mut dyn Tx) -> Result<Vec<Brief>, StoreError> {
    all(tx, &format!("SELECT {COLUMNS} {FROM} WHERE j.state IN ('SCHEDULED', 'RUNNING')"), &[], read)
}

/// The jobs that ended last, the newest first, at most `limit` and none before `since`.
pub fn ended(tx: &mut dyn Tx, since: Timestamp, limit: u32) -> Result<Vec<Brief>, StoreError> {
    // CROSS keeps SQLite from beginning with the specifications.
    let sql = format!(
        "SELECT {COLUMNS} FROM jobs j CROSS JOIN job_specs s WHERE s.job_id = j.id AND j.completed_at IS NOT NULL \
         AND j.completed_at >= ?1 ORDER BY j.completed_at DESC, j.id DESC LIMIT {limit}"
    );
    all(tx, &sql, &[since.0.into()], read)
}

/// These jobs, in no order; those that are gone are left out.
pub fn briefs(tx: &mut dyn Tx, ids: &[JobId]) -> Result<Vec<Brief>, StoreError> {
    let mut found = Vec::with_capacity(ids.len());
    for chunk in ids.chunks(MANY) {
        let ids: Vec<String> = chunk.iter().map(JobId::to_string).collect();
        // A few lengths only, so that few statements are prepared: the last id fills up.
        let length = ids.len().next_power_of_two();
        let sql = format!("SELECT {COLUMNS} {FROM} WHERE j.id IN ({})", places(0, length));
        let filled = ids.iter().chain(ids.last().into_iter().cycle()).take(length);
        let args: Vec<Arg<'_>> = filled.map(Arg::from).collect();
        found.extend(all(tx, &sql, &args, read)?);
    }
    Ok(found)
}

/// How many executors the present attempts of these jobs had on their clusters when they were last counted.
pub fn executors(tx: &mut dyn Tx, ids: &[JobId]) -> Result<Vec<(JobId, u32)>, StoreError> {
    let mut found = Vec::new();
    for chunk in ids.chunks(MANY) {
        let ids: Vec<String> = chunk.iter().map(JobId::to_string).collect();
        let length = ids.len().next_power_of_two();
        let sql = format!(
            "SELECT a.job_id, a.usage FROM attempts a JOIN jobs j ON j.id = a.job_id AND j.attempt = a.number \
             WHERE a.usage IS NOT NULL AND a.ended_at IS NULL AND a.job_id IN ({})",
            places(0, length)
        );
        let filled = ids.iter().chain(ids.last().into_iter().cycle()).take(length);
        let args: Vec<Arg<'_>> = filled.map(Arg::from).collect();
        let read = |row: &dyn Row| {
            let id = row.text(0)?.parse().map_err(|e| StoreError::unreadable("job id", e))?;
            let usage: Usage = from_json("usage", &row.text(1)?)?;
            Ok((id, usage.executors))
        };
        found.extend(all(tx, &sql, &args, read)?.into_iter().filter_map(|(id, count)| Some((id, count?))));
    }
    Ok(found)
}

/// How many jobs wait, and which hold resources: what somebody who follows changes should know.
pub fn tally(tx: &mut dyn Tx) -> Result<(u64, BTreeSet<JobId>), StoreError> {
    let waiting = first(tx, "SELECT COUNT(*) FROM jobs WHERE state = 'QUEUED'", &[], |row| row.int(0))?;
    let sql = "SELECT id FROM jobs WHERE state IN ('SCHEDULED', 'RUNNING')";
    let holding =
        all(tx, sql, &[], |row| row.text(0)?.parse().map_err(|e| StoreError::unreadable("job id", e)))?;
    Ok((u64::try_from(waiting.unwrap_or(0)).unwrap_or(0), holding.into_iter().collect()))
}

/// Whose submissions are counted. All given conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Submitter {
    /// Of this tenant.
    pub tenant: Option<String>,
    /// Of this user.
    pub user: Option<String>,
    /// To this queue; that of jobs which name none is `default`.
    pub queue: Option<String>,
}

impl Submitter {
    fn conditions<'a>(&'a self, args: &mut Vec<Arg<'a>>) -> String {
        let mut conditions = String::new();
        let columns = [
            ("tenant = ", &self.tenant),
            ("user_id = ", &self.user),
            ("COALESCE(queue, 'default') = ", &self.queue),
        ];
        for (column, value) in columns {
            if let Some(value) = value {
                args.push(Arg::from(value));
                let _ = write!(conditions, " AND {column}?{}", args.len());
            }
        }
        conditions
    }

    /// How many of its jobs wait, counting no further than `most`.
    pub fn queued(&self, tx: &mut dyn Tx, most: u64) -> Result<u64, StoreError> {
        let mut args = vec![Arg::Int(i64::try_from(most).unwrap_or(i64::MAX))];
        let conditions = self.conditions(&mut args);
        let sql = format!(
            "SELECT COUNT(*) FROM (SELECT 1 FROM jobs WHERE state = 'QUEUED'{conditions} LIMIT ?1) counted"
        );
        Ok(first(tx, &sql, &args, |row| row.int(0))?.map_or(0, |n| u64::try_from(n).unwrap_or(0)))
    }

    /// When its newest `most` jobs since `since` came, the oldest first. Ids begin with the moment of submission, so
    /// their order is that of time.
    pub fn recent(&self, tx: &mut dyn Tx, since: Timestamp, most: u64) -> Result<Vec<Timestamp>, StoreError> {
        let from = JobId::first_at(since).to_string();
        let mut args = vec![Arg::from(&from), Arg::Int(i64::try_from(most).unwrap_or(i64::MAX))];
        let conditions = self.conditions(&mut args);
        let sql =
            format!("SELECT submitted_at FROM jobs WHERE id >= ?1{conditions} ORDER BY id DESC LIMIT ?2");
        let mut times = all(tx, &sql, &args, |row| Ok(Timestamp(row.int(0)?)))?;
        times.reverse();
        Ok(times)
    }
}

/// How far the log of transitions was read.
///
/// Rows are read by their ids, at once. Where a row may appear behind one with a greater id, all are read again by their
/// numbers in the feed, which leave nothing out: a row that came late is seen when it has got its number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The greatest id that was read.
    id: i64,
    /// The greatest number in the feed that was read.
    number: i64,
    /// Ids that were read, and whose numbers were not.
    early: BTreeSet<i64>,
}

impl Position {
    /// The end of the log as it is now: what was committed before is behind it, or still waits for its number.
    pub fn end(tx: &mut dyn Tx) -> Result<Self, StoreError> {
        let number = if tx.ids_may_appear_late() { numbering::newest(tx)? } else { 0 };
        let id = first(tx, "SELECT MAX(id) FROM transitions", &[], |row| row.opt_int(0))?.flatten();
        Ok(Self { id: id.unwrap_or(0), number, early: BTreeSet::new() })
    }

    /// What was written since. None when rows were removed meanwhile: then everything has to be read anew.
    pub fn changes(&self, tx: &mut dyn Tx) -> Result<Option<Changes>, StoreError> {
        let mut next = self.clone();
        let sql = format!(
            "SELECT id, job_id, revision FROM transitions WHERE id > ?1 ORDER BY id LIMIT {MAX_NUMBERED}"
        );
        let mut rows = all(tx, &sql, &[self.id.into()], LogEntry::read)?;
        let mut more = rows.len() >= usize::try_from(MAX_NUMBERED).unwrap_or(usize::MAX);
        next.id = rows.last().map_or(self.id, |row| row.id);
        if tx.ids_may_appear_late() {
            next.early.extend(rows.iter().map(|row| row.id));
            let newest = numbering::newest(tx)?;
            if numbering::begins_after(tx)? > self.number {
                return Ok(None);
            }
            next.number = newest.min(self.number.saturating_add(MAX_NUMBERED));
            more |= next.number < newest;
            let mut numbered_to = 0;
            for segment in numbering::between(tx, self.number, next.number)? {
                let (from, to) = segment.ids_between(self.number, next.number);
                numbered_to = to.max(numbered_to);
                let sql = "SELECT id, job_id, revision FROM transitions WHERE id >= ?1 AND id <= ?2";
                let numbered = all(tx, sql, &[from.into(), to.into()], LogEntry::read)?;
                rows.extend(numbered.into_iter().filter(|row| !next.early.remove(&row.id)));
            }
            // What is behind them without a number is late: it may be read twice.
            next.early = next.early.split_off(&numbered_to.saturating_add(1));
        }
        Ok(Some(Changes { jobs: newest_of(&rows)?, next, more }))
    }
}

/// What was written to the log since some position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// The jobs, each with its greatest revision there.
    pub jobs: Vec<(JobId, i64)>,
    /// Where to go on.
    pub next: Position,
    /// True when there is more behind it already.
    pub more: bool,
}

/// A row of the log, as far as it is needed here.
#[derive(Clone, Debug, PartialEq, Eq)]
struct LogEntry {
    id: i64,
    job: String,
    revision: i64,
}

impl LogEntry {
    fn read(row: &dyn Row) -> Result<Self, StoreError> {
        Ok(Self { id: row.int(0)?, job: row.text(1)?, revision: row.int(2)? })
    }
}

/// Each job once, with its greatest revision.
fn newest_of(rows: &[LogEntry]) -> Result<Vec<(JobId, i64)>, StoreError> {
    let mut newest = BTreeMap::new();
    for row in rows {
        let seen = newest.entry(row.job.as_str()).or_insert(row.revision);
        *seen = row.revision.max(*seen);
    }
    let read = |(job, revision): (&str, i64)| {
        Ok((job.parse().map_err(|e| StoreError::unreadable("job id", e))?, revision))
    };
    newest.into_iter().map(read).collect()
}
