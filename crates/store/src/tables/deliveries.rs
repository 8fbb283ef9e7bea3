//! The `outbox` table as people see it: which messages were delivered, which wait, which were given up, and
//! sending those once more.

use libra_core::id::JobId;
use libra_core::time::Timestamp;

use crate::error::StoreError;
use crate::tx::{Arg, Row, Tx, all, first};

/// Where a message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It waits for its turn, or for another try.
    Pending,
    /// Its target took it.
    Delivered,
    /// It was given up.
    Dead,
}

impl Standing {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Delivered, Self::Dead];

    /// The spelling on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        }
    }

    /// Reads the spelling.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }
}

/// A message and how its delivery goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its id.
    pub id: i64,
    /// The job it tells of.
    pub job_id: JobId,
    /// The job's user.
    pub user: String,
    /// The job's tenant.
    pub tenant: String,
    /// The state it tells of.
    pub topic: String,
    /// Where it goes.
    pub target: String,
    /// JSON.
    pub payload: String,
    /// When it was written.
    pub created_at: Timestamp,
    /// How often it was sent since it was written or last replayed.
    pub tries: u32,
    /// When it is due; of interest while it is pending.
    pub next_at: Timestamp,
    /// When its target took it.
    pub done_at: Option<Timestamp>,
    /// When it was given up.
    pub dead_at: Option<Timestamp>,
    /// Why the last try failed.
    pub last_error: Option<String>,
}

impl Delivery {
    /// Where it stands.
    pub fn standing(&self) -> Standing {
        match (self.done_at, self.dead_at) {
            (Some(_), _) => Standing::Delivered,
            (None, Some(_)) => Standing::Dead,
            (None, None) => Standing::Pending,
        }
    }
}

/// Whose jobs messages are about: those that Libra runs, and those that it sees.
const JOBS: [&str; 2] = ["jobs", "(SELECT id, user_name AS user_id, tenant FROM hpc_jobs)"];

const COLUMNS: &str = "o.id, o.job_id, j.user_id, j.tenant, o.topic, o.target, o.payload, o.created_at, o.tries, \
     o.next_at, o.done_at, o.dead_at, o.last_error";

fn read(row: &dyn Row) -> Result<Delivery, StoreError> {
    Ok(Delivery {
        id: row.int(0)?,
        job_id: row.text(1)?.parse().map_err(|e| StoreError::unreadable("job id", e))?,
        user: row.text(2)?,
        tenant: row.text(3)?,
        topic: row.text(4)?,
        target: row.text(5)?,
        payload: row.text(6)?,
        created_at: Timestamp(row.int(7)?),
        tries: u32::try_from(row.int(8)?).map_err(|e| StoreError::unreadable("tries", e))?,
        next_at: Timestamp(row.int(9)?),
        done_at: row.opt_int(10)?.map(Timestamp),
        dead_at: row.opt_int(11)?.map(Timestamp),
        last_error: row.opt_text(12)?,
    })
}

/// Which messages. All given conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// Standing so.
    pub standing: Option<Standing>,
    /// Of this job.
    pub job: Option<JobId>,
    /// Of jobs of this user and tenant.
    pub owner: Option<(String, String)>,
}

/// The place of a message in a list: the column by which the list is ordered, and the id.
pub type Place = (i64, i64);

/// The order of a list, by an index that holds just its rows.
struct Order {
    condition: &'static str,
    key: &'static str,
    ascending: bool,
    /// How the jobs are joined: where there are few messages, CROSS keeps SQLite from beginning with all jobs of a
    /// user.
    join: &'static str,
}

fn order(filter: &DeliveryFilter) -> Order {
    let (condition, key, few) = match filter.standing {
        Some(Standing::Dead) => ("o.dead_at IS NOT NULL", "o.dead_at", true),
        Some(Standing::Pending) => ("o.done_at IS NULL AND o.dead_at IS NULL", "o.next_at", true),
        Some(Standing::Delivered) => ("o.done_at IS NOT NULL", "o.id", false),
        None => ("1 = 1", "o.id", false),
    };
    let ascending = filter.standing == Some(Standing::Pending);
    Order { condition, key, ascending, join: if few { "CROSS JOIN" } else { "," } }
}

/// The conditions of a filter with their arguments, which begin at `?1`.
fn conditions<'a>(filter: &'a DeliveryFilter, job: Option<&'a String>) -> (String, Vec<Arg<'a>>) {
    use std::fmt::Write as _;
    let mut args: Vec<Arg<'a>> = Vec::new();
    let mut sql = format!("j.id = o.job_id AND {}", order(filter).condition);
    if let Some(job) = job {
        args.push(Arg::from(job));
        let _ = write!(sql, " AND o.job_id = ?{}", args.len());
    }
    if let Some((user, tenant)) = &filter.owner {
        args.extend([Arg::from(user), Arg::from(tenant)]);
        let _ = write!(sql, " AND j.user_id = ?{} AND j.tenant = ?{}", args.len() - 1, args.len());
    }
    (sql, args)
}

/// At most `limit` messages behind `from`, and the place behind which more follow, if they do. Dead ones: the last
/// given up first; pending ones: the next due first; else the newest first.
pub fn list(
    tx: &mut dyn Tx,
    filter: &DeliveryFilter,
    from: Option<Place>,
    limit: u32,
) -> Result<(Vec<Delivery>, Option<Place>), StoreError> {
    let job = filter.job.map(|id| id.to_string());
    let (mut sql, mut args) = conditions(filter, job.as_ref());
    let Order { key, ascending, join, .. } = order(filter);
    if let Some((at, id)) = from {
        args.extend([Arg::Int(at), Arg::Int(id)]);
        let beyond = if ascending { '>' } else { '<' };
        sql = format!("{sql} AND ({key}, o.id) {beyond} (?{}, ?{})", args.len() - 1, args.len());
    }
    let direction = if ascending { "ASC" } else { "DESC" };
    let mut found = Vec::new();
    for jobs in JOBS {
        let sql = format!(
            "SELECT {COLUMNS} FROM outbox o {join} {jobs} j WHERE {sql} \
             ORDER BY {key} {direction}, o.id {direction} LIMIT {}",
            u64::from(limit) + 1
        );
        found.extend(all(tx, &sql, &args, read)?);
    }
    found.sort_by_key(|delivery| place(filter, delivery));
    if !ascending {
        found.reverse();
    }
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let last = found.last().filter(|_| more).map(|delivery| place(filter, delivery));
    Ok((found, last))
}

/// Where a message stands in its list.
fn place(filter: &DeliveryFilter, d: &Delivery) -> Place {
    match filter.standing {
        Some(Standing::Dead) => (d.dead_at.map_or(0, |t| t.0), d.id),
        Some(Standing::Pending) => (d.next_at.0, d.id),
        Some(Standing::Delivered) | None => (d.id, d.id),
    }
}

/// One message.
pub fn get(tx: &mut dyn Tx, id: i64) -> Result<Option<Delivery>, StoreError> {
    for jobs in JOBS {
        let sql = format!("SELECT {COLUMNS} FROM outbox o JOIN {jobs} j ON j.id = o.job_id WHERE o.id = ?1");
        if let Some(found) = first(tx, &sql, &[id.into()], read)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Makes a message due at once, with all its tries before it, unless it was delivered; says whether it was made so.
pub fn replay(tx: &mut dyn Tx, id: i64) -> Result<bool, StoreError> {
    let changed = tx.execute(
        "UPDATE outbox SET dead_at = NULL, tries = 0, next_at = 0 WHERE id = ?1 AND done_at IS NULL",
        &[id.into()],
    )?;
    Ok(changed == 1)
}

/// Makes at most `limit` of those that were given up at `until` or before due at once; says how many.
pub fn replay_dead(
    tx: &mut dyn Tx,
    filter: &DeliveryFilter,
    until: Timestamp,
    limit: u32,
) -> Result<u64, StoreError> {
    let filter = DeliveryFilter { standing: Some(Standing::Dead), ..filter.clone() };
    let job = filter.job.map(|id| id.to_string());
    let (conditions, mut args) = conditions(&filter, job.as_ref());
    args.push(until.0.into());
    let mut made = 0;
    for jobs in JOBS {
        let left = u64::from(limit).saturating_sub(made);
        let sql = format!(
            "UPDATE outbox SET dead_at = NULL, tries = 0, next_at = 0 WHERE id IN (\
               SELECT o.id FROM outbox o CROSS JOIN {jobs} j WHERE {conditions} AND o.dead_at <= ?{} \
               ORDER BY o.dead_at, o.id LIMIT {left})",
            args.len()
        );
        made += tx.execute(&sql, &args)?;
    }
    Ok(made)
}
