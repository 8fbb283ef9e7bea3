//! The `attempts` table: every try at running a job (contract L3).

use libra_core::attempt::{Attempt, Holder};
use libra_core::id::{JobId, Token};
use libra_core::mode::Mode;
use libra_core::time::Timestamp;

use super::{from_json, json, places};
use crate::error::StoreError;
use crate::lane::{AttemptNote, AttemptWrite, Note, Outcome, Seen};
use crate::tx::{Arg, Row, Tx, all, first};

const COLUMNS: &str = "job_id, number, token, mode, host, epoch, created_at, launched_at, started_at, ended_at, \
     handle, exit, progress, application_id, links, holder, storage, usage, looks";

fn read(row: &dyn Row) -> Result<Attempt, StoreError> {
    let time = |column| Ok::<_, StoreError>(row.opt_int(column)?.map(Timestamp));
    let (job_id, token, mode) = (row.text(0)?, row.text(2)?, row.text(3)?);
    Ok(Attempt {
        job_id: job_id.parse().map_err(|e| StoreError::unreadable("job id", e))?,
        number: u32::try_from(row.int(1)?).map_err(|e| StoreError::unreadable("attempt number", e))?,
        token: token.parse().map_err(|e| StoreError::unreadable("attempt token", e))?,
        mode: Mode::parse(&mode).ok_or_else(|| StoreError::unreadable("mode", mode))?,
        host: row.text(4)?,
        storage: row.text(16)?,
        holder: holder(row.opt_text(15)?, row.int(5)?),
        created_at: Timestamp(row.int(6)?),
        launched_at: time(7)?,
        started_at: time(8)?,
        ended_at: time(9)?,
        handle: row.opt_text(10)?.map(|t| from_json("handle", &t)).transpose()?,
        exit: row.opt_text(11)?.map(|t| from_json("exit", &t)).transpose()?,
        progress: row.opt_text(12)?.map(|t| from_json("progress", &t)).transpose()?,
        usage: row.opt_text(17)?.map(|t| from_json("usage", &t)).transpose()?,
        looks: row.int(18)?,
        application_id: row.opt_text(13)?,
        links: from_json("links", &row.text(14)?)?,
    })
}

fn holder(replica: Option<String>, epoch: i64) -> Option<Holder> {
    replica.map(|replica| Holder { replica, epoch })
}

/// Performs what a change of state does to attempts.
pub(crate) fn write(tx: &mut dyn Tx, job_id: &str, write: &AttemptWrite) -> Result<(), StoreError> {
    match write {
        AttemptWrite::Open(a) => {
            let links = json("links", &a.links)?;
            tx.execute(
                "INSERT INTO attempts (job_id, number, token, mode, host, epoch, created_at, launched_at, links, holder, \
                 storage) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
                &[
                    job_id.into(),
                    a.number.into(),
                    Arg::from(&a.token.to_string()),
                    a.mode.as_str().into(),
                    Arg::from(&a.host),
                    a.holder.as_ref().map_or(0, |h| h.epoch).into(),
                    a.created_at.0.into(),
                    a.launched_at.map(|t| t.0).into(),
                    Arg::from(&links),
                    a.holder.as_ref().map(|h| &h.replica).into(),
                    Arg::from(&a.storage),
                ],
            )?;
        }
        AttemptWrite::Start { number, at, handle } => {
            let handle = handle.as_ref().map(|h| json("handle", h)).transpose()?;
            tx.execute(
                "UPDATE attempts SET started_at = ?3, handle = COALESCE(?4, handle) \
                 WHERE job_id = ?1 AND number = ?2 AND ended_at IS NULL",
                &[job_id.into(), (*number).into(), at.0.into(), handle.as_ref().into()],
            )?;
        }
        AttemptWrite::Close { number, at, exit } => {
            let exit = exit.as_ref().map(|e| json("exit", e)).transpose()?;
            tx.execute(
                "UPDATE attempts SET ended_at = ?3, exit = ?4 \
                 WHERE job_id = ?1 AND number = ?2 AND ended_at IS NULL",
                &[job_id.into(), (*number).into(), at.0.into(), exit.as_ref().into()],
            )?;
        }
        AttemptWrite::Look { number, seen } => {
            let texts = SeenTexts::of(seen)?;
            let key = [job_id.into(), (*number).into()];
            let args: Vec<Arg<'_>> = key.into_iter().chain(texts.args(seen)).collect();
            let sql = format!(
                "UPDATE attempts SET {} WHERE job_id = ?1 AND number = ?2 AND ended_at IS NULL AND looks = ?3",
                seen_sets(3)
            );
            tx.execute(&sql, &args)?;
        }
    }
    Ok(())
}

/// What a look brought, as text.
pub(crate) struct SeenTexts {
    pub(crate) progress: Option<String>,
    pub(crate) usage: Option<String>,
    pub(crate) links: String,
}

impl SeenTexts {
    pub(crate) fn of(seen: &Seen) -> Result<Self, StoreError> {
        Ok(Self {
            progress: seen.progress.as_ref().map(|p| json("progress", p)).transpose()?,
            usage: seen.usage.as_ref().map(|u| json("usage", u)).transpose()?,
            links: json("links", &seen.links)?,
        })
    }

    /// The arguments of [`seen_sets`], in its order.
    fn args<'a>(&'a self, seen: &'a Seen) -> [Arg<'a>; 6] {
        [
            seen.after.into(),
            self.progress.as_ref().into(),
            seen.application_id.as_ref().into(),
            Arg::from(&self.links),
            self.usage.as_ref().into(),
            seen.began.map(|at| at.0).into(),
        ]
    }
}

/// What a look sets; its arguments begin with the count of looks, at the place `first`.
fn seen_sets(first: usize) -> String {
    let [progress, application_id, links, usage, began] = [1, 2, 3, 4, 5].map(|n| first + n);
    format!(
        "progress = COALESCE(?{progress}, progress), application_id = COALESCE(?{application_id}, application_id), \
         links = ?{links}, usage = COALESCE(?{usage}, usage), started_at = COALESCE(?{began}, started_at), \
         looks = looks + 1"
    )
}

/// Notes the engine's id of an open attempt. Whoever looks after it is no replica, so nobody holds it.
pub(crate) fn name(
    tx: &mut dyn Tx,
    job_id: JobId,
    number: u32,
    application_id: &str,
) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE attempts SET application_id = ?3 WHERE job_id = ?1 AND number = ?2 AND ended_at IS NULL",
        &[Arg::from(&job_id.to_string()), number.into(), application_id.into()],
    )?;
    Ok(())
}

/// Notes something about an open attempt, if its holder is the one that the note expects.
pub fn note(tx: &mut dyn Tx, note: &AttemptNote) -> Result<Outcome, StoreError> {
    const OPEN: &str = "WHERE job_id = ?1 AND number = ?2 AND ended_at IS NULL AND";
    const HELD: &str = "holder = ?3 AND epoch = ?4";
    let id = note.job_id.to_string();
    let key = [Arg::from(&id), note.number.into(), Arg::from(&note.by.replica), note.by.epoch.into()];
    let mut with = |set: &str, holder: &str, more: &[Arg<'_>]| {
        let args: Vec<Arg<'_>> = key.iter().chain(more).copied().collect();
        tx.execute(&format!("UPDATE attempts SET {set} {OPEN} {holder}"), &args)
    };
    let changed = match &note.what {
        Note::Claim { at, host } => with(
            "holder = ?3, epoch = ?4, launched_at = ?5, host = ?6",
            "holder IS NULL",
            &[at.0.into(), Arg::from(host)],
        )?,
        Note::Intent { at, host } => {
            with("launched_at = ?5, host = ?6", HELD, &[at.0.into(), Arg::from(host)])?
        }
        Note::Handle(handle) => {
            let handle = json("handle", handle)?;
            with("handle = ?5", HELD, &[Arg::from(&handle)])?
        }
        Note::Seen(seen) => {
            let texts = SeenTexts::of(seen)?;
            with(&seen_sets(5), "holder = ?3 AND epoch = ?4 AND looks = ?5", &texts.args(seen))?
        }
        Note::TakeOver { from } => with(
            "holder = ?3, epoch = ?4",
            "holder = ?5 AND epoch = ?6",
            &[Arg::from(&from.replica), from.epoch.into()],
        )?,
    };
    if changed == 1 {
        return Ok(Outcome::Updated);
    }
    let there = first(tx, "SELECT 1 FROM attempts WHERE job_id = ?1 AND number = ?2", &key[..2], |_| Ok(()))?;
    Ok(if there.is_some() { Outcome::Stale } else { Outcome::Absent })
}

/// An open attempt, as far as it takes to say whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// The job.
    pub job_id: JobId,
    /// Which attempt.
    pub number: u32,
    /// Where it runs.
    pub mode: Mode,
    /// Whether it is known how to find it again.
    pub has_handle: bool,
    /// Who looks after it.
    pub holder: Option<Holder>,
    /// Machine-id and boot-id.
    pub host: String,
    /// Whose files it uses.
    pub storage: String,
    /// When it was scheduled.
    pub created_at: Timestamp,
}

/// All open attempts that replicas look after: those of runs of deployments the leader follows by their deployments.
pub fn open(tx: &mut dyn Tx) -> Result<Vec<Open>, StoreError> {
    open_where(tx, "1 = 1")
}

fn open_where(tx: &mut dyn Tx, condition: &str) -> Result<Vec<Open>, StoreError> {
    let sql = format!(
        "SELECT job_id, number, holder, epoch, host, storage, created_at, mode, \
         CAST(CASE WHEN handle IS NULL THEN 0 ELSE 1 END AS BIGINT) FROM attempts \
         WHERE ended_at IS NULL AND mode <> '{}' AND {condition}",
        Mode::Flink.as_str()
    );
    all(tx, &sql, &[], |row| {
        let mode = row.text(7)?;
        Ok(Open {
            has_handle: row.int(8)? != 0,
            mode: Mode::parse(&mode).ok_or_else(|| StoreError::unreadable("execution mode", mode))?,
            job_id: row.text(0)?.parse().map_err(|e| StoreError::unreadable("job id", e))?,
            number: u32::try_from(row.int(1)?).map_err(|e| StoreError::unreadable("attempt number", e))?,
            holder: holder(row.opt_text(2)?, row.int(3)?),
            host: row.text(4)?,
            storage: row.text(5)?,
            created_at: Timestamp(row.int(6)?),
        })
    })
}

/// The open attempts that nobody has claimed.
pub fn unclaimed(tx: &mut dyn Tx) -> Result<Vec<Open>, StoreError> {
    open_where(tx, "holder IS NULL")
}

/// Whether a replica looks after any attempt.
pub fn held_by(tx: &mut dyn Tx, replica: &str) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM attempts WHERE ended_at IS NULL AND holder = ?1 LIMIT 1";
    Ok(first(tx, sql, &[replica.into()], |_| Ok(()))?.is_some())
}

/// The attempts of one job, oldest first.
pub fn of_job(tx: &mut dyn Tx, job_id: JobId) -> Result<Vec<Attempt>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM attempts WHERE job_id = ?1 ORDER BY number");
    all(tx, &sql, &[Arg::from(&job_id.to_string())], read)
}

/// One attempt.
pub fn get(tx: &mut dyn Tx, job_id: JobId, number: u32) -> Result<Option<Attempt>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM attempts WHERE job_id = ?1 AND number = ?2");
    first(tx, &sql, &[Arg::from(&job_id.to_string()), number.into()], read)
}

/// The attempt with this token.
pub fn of_token(tx: &mut dyn Tx, token: Token) -> Result<Option<Attempt>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM attempts WHERE token = ?1");
    first(tx, &sql, &[Arg::from(&token.to_string())], read)
}

/// Jobs in one statement of [`last_of`], at most.
const MANY: usize = 256;

/// The last attempts of these jobs, in no order; a job that had none is left out.
pub fn last_of(tx: &mut dyn Tx, jobs: &[JobId]) -> Result<Vec<Attempt>, StoreError> {
    let columns: Vec<String> = COLUMNS.split(", ").map(|column| format!("a.{column}")).collect();
    let columns = columns.join(", ");
    let mut found = Vec::with_capacity(jobs.len());
    for chunk in jobs.chunks(MANY) {
        let ids: Vec<String> = chunk.iter().map(JobId::to_string).collect();
        // A few lengths only, so that few statements are prepared: the last id fills up.
        let filled = ids.iter().chain(ids.last().into_iter().cycle()).take(ids.len().next_power_of_two());
        let args: Vec<Arg<'_>> = filled.map(Arg::from).collect();
        let sql = format!(
            "SELECT {columns} FROM jobs j JOIN attempts a ON a.job_id = j.id AND a.number = j.attempt \
             WHERE j.id IN ({})",
            places(0, args.len())
        );
        found.extend(all(tx, &sql, &args, read)?);
    }
    Ok(found)
}
