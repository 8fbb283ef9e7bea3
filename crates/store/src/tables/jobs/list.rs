//! Lists of jobs (contract A3): which index leads to them, and the page itself.
//!
//! One condition leads: its index gives the jobs newest first, and the others are looked at on the way. Where there
//! are several to choose from, the one with the fewest jobs leads; a look into each index tells, no further than it
//! takes. `|| ''` on the leading table's other conditions keeps both databases to it.

use libra_core::id::JobId;
use libra_core::job::{Job, State};
use libra_core::mode::Mode;
use libra_core::spec::Kind;
use libra_core::time::Timestamp;

use super::{COLUMNS, read};
use crate::error::StoreError;
use crate::tx::{Arg, Tx, all, first};

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
    /// Newest first. Without their programs, which may be large: `spec.source` is empty.
    pub jobs: Vec<Job>,
    /// How many there are in all, counted no further than [`COUNTED_AT_MOST`]; None beyond.
    pub total: Option<u64>,
    /// True when older ones follow.
    pub more: bool,
}

/// Totals are exact up to this number (contract A3).
pub const COUNTED_AT_MOST: u64 = 10_000;
/// Where several conditions could lead, each is counted no further than this.
const PROBED_AT_MOST: u64 = 500;

/// The condition whose index leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lead {
    /// The first label: `job_labels`.
    Label,
    /// A column of `job_specs`.
    Spec(&'static str),
    /// State, or user and state: `jobs`.
    State,
    /// None: all jobs, by their ids.
    Id,
}

/// The filter with everything in the form in which the database has it.
struct Wanted {
    /// Column and value; the names are the same in `jobs` and `job_specs`.
    columns: Vec<(&'static str, String)>,
    /// The modes of an engine.
    modes: Vec<&'static str>,
    states: Vec<&'static str>,
    labels: Vec<(String, String)>,
    /// Ids begin with their time: the least id, and the one after the greatest.
    from: Option<String>,
    until: Option<String>,
    /// Conditions that ids can't express, being exact to the millisecond only.
    exactly: Vec<(&'static str, i64)>,
}

/// Microseconds in the unit of time that ids hold.
const ID_UNIT: i64 = 1_000;

fn id_at(micros: i64) -> String {
    JobId::new(Timestamp(micros), [0; 10]).to_string()
}

impl Wanted {
    fn of(filter: &Filter) -> Self {
        let modes: Vec<Mode> = Mode::ALL
            .into_iter()
            .filter(|m| filter.engine.as_ref().is_none_or(|engine| m.engine() == engine))
            .collect();
        let columns = [
            ("name", filter.name.clone()),
            ("queue", filter.queue.clone()),
            ("cluster", filter.cluster.clone()),
            ("user_id", filter.user.clone()),
            ("kind", filter.kind.map(|k| k.as_str().to_owned())),
            ("mode", filter.mode.map(|m| m.as_str().to_owned())),
            ("tenant", filter.tenant.clone()),
        ];
        let mut exactly = Vec::new();
        if let Some(since) = filter.since.filter(|t| t.0 % ID_UNIT != 0) {
            exactly.push(("submitted_at >= ", since.0));
        }
        if let Some(until) = filter.until.filter(|t| t.0 % ID_UNIT != 0) {
            exactly.push(("submitted_at < ", until.0));
        }
        Self {
            columns: columns.into_iter().filter_map(|(c, value)| Some((c, value?))).collect(),
            modes: if modes.len() == Mode::ALL.len() {
                Vec::new()
            } else if modes.is_empty() {
                // No mode has such a name: nothing is found.
                vec![""]
            } else {
                modes.into_iter().map(Mode::as_str).collect()
            },
            states: if filter.states.len() == State::ALL.len() {
                Vec::new()
            } else {
                filter.states.iter().map(|s| s.as_str()).collect()
            },
            labels: filter.labels.clone(),
            from: filter.since.map(|t| id_at(t.0)),
            until: filter.until.map(|t| id_at(t.0.saturating_add(ID_UNIT - 1))),
            exactly,
        }
    }

    /// What could lead, the best guess first.
    fn leads(&self) -> Vec<Lead> {
        let mut leads = Vec::new();
        if !self.labels.is_empty() {
            leads.push(Lead::Label);
        }
        if !self.states.is_empty() {
            leads.push(Lead::State);
        }
        // With states, a user's jobs have an index of their own.
        let combined = |column: &str| column == "user_id" && !self.states.is_empty();
        leads.extend(self.columns.iter().filter(|(c, _)| !combined(c)).map(|(c, _)| Lead::Spec(c)));
        if leads.is_empty() {
            leads.push(Lead::Id);
        }
        leads
    }

    fn column(&self, name: &str) -> Option<&str> {
        self.columns.iter().find(|(c, _)| *c == name).map(|(_, value)| value.as_str())
    }
}

/// A statement with its arguments.
#[derive(Default)]
struct Sql {
    text: String,
    args: Vec<Owned>,
}

enum Owned {
    Int(i64),
    Text(String),
}

impl Sql {
    /// A place for a value.
    fn place(&mut self, value: Owned) -> String {
        self.args.push(value);
        format!("?{}", self.args.len())
    }

    fn text(&mut self, value: &str) -> String {
        self.place(Owned::Text(value.to_owned()))
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

/// What is asked for.
#[derive(Clone, Copy)]
enum Asked<'a> {
    /// Some, whichever.
    Any,
    /// The newest, before this id.
    Newest(Option<&'a str>),
}

/// `SELECT id … LIMIT most`: one for each state where states lead, because each has its own order.
fn ids(sql: &mut Sql, wanted: &Wanted, lead: Lead, asked: Asked<'_>, most: u64) -> String {
    let states: Vec<Option<&str>> = match lead {
        Lead::State => wanted.states.iter().copied().map(Some).collect(),
        Lead::Label | Lead::Spec(_) | Lead::Id => vec![None],
    };
    let branches: Vec<String> =
        states.into_iter().map(|state| branch(sql, wanted, lead, state, asked, most)).collect();
    let order = match asked {
        Asked::Any => "",
        Asked::Newest(_) => "ORDER BY id DESC ",
    };
    match branches.as_slice() {
        [one] => one.clone(),
        several => {
            let several: Vec<String> =
                several.iter().map(|one| format!("SELECT id FROM ({one}) one")).collect();
            format!("SELECT id FROM ({}) every {order}LIMIT {most}", several.join(" UNION ALL "))
        }
    }
}

fn branch(
    sql: &mut Sql,
    wanted: &Wanted,
    lead: Lead,
    state: Option<&str>,
    asked: Asked<'_>,
    most: u64,
) -> String {
    let (table, id) = match lead {
        Lead::Label => ("job_labels", "d.job_id"),
        Lead::Spec(_) | Lead::Id => ("job_specs", "d.job_id"),
        Lead::State => ("jobs", "d.id"),
    };
    let rest = |column: &str| match lead {
        Lead::Spec(leading) => column != leading,
        Lead::State => column != "user_id",
        Lead::Label | Lead::Id => true,
    };
    // Where there is no other one.
    let mut conditions = vec!["1 = 1".to_owned()];
    // What only the job's row tells.
    let mut of_job = Vec::new();
    match lead {
        Lead::Label => {
            if let Some((key, value)) = wanted.labels.first() {
                conditions.push(format!("d.key = {} AND d.value = {}", sql.text(key), sql.text(value)));
            }
        }
        Lead::Spec(leading) => {
            conditions.extend(wanted.column(leading).map(|v| format!("d.{leading} = {}", sql.text(v))));
        }
        Lead::State => {
            conditions.extend(wanted.column("user_id").map(|user| format!("d.user_id = {}", sql.text(user))));
            conditions.extend(state.map(|state| format!("d.state = {}", sql.text(state))));
        }
        Lead::Id => {}
    }
    conditions.extend(wanted.from.as_ref().map(|from| format!("{id} >= {}", sql.text(from))));
    conditions.extend(wanted.until.as_ref().map(|until| format!("{id} < {}", sql.text(until))));
    let mut order = String::new();
    if let Asked::Newest(before) = asked {
        conditions.extend(before.map(|before| format!("{id} < {}", sql.text(before))));
        order = format!("ORDER BY {id} DESC ");
    }
    let mut others = Vec::new();
    for (column, value) in wanted.columns.iter().filter(|(c, _)| rest(c)) {
        others.push(format!("{column} || '' = {}", sql.text(value)));
    }
    if !wanted.modes.is_empty() {
        let modes: Vec<String> = wanted.modes.iter().map(|mode| sql.text(mode)).collect();
        others.push(format!("mode || '' IN ({})", modes.join(", ")));
    }
    if lead == Lead::Label { &mut of_job } else { &mut conditions }.extend(others);
    let mut moving = Vec::new();
    if lead != Lead::State && !wanted.states.is_empty() {
        let states: Vec<String> = wanted.states.iter().map(|state| sql.text(state)).collect();
        moving.push(format!("state IN ({})", states.join(", ")));
    }
    for (condition, micros) in &wanted.exactly {
        moving.push(format!("{condition}{}", sql.place(Owned::Int(*micros))));
    }
    if lead == Lead::State { &mut conditions } else { &mut of_job }.extend(moving);
    if !of_job.is_empty() {
        let of_job: Vec<String> = of_job.iter().map(|condition| format!("j.{condition}")).collect();
        conditions.push(exists(&format!("jobs j WHERE j.id = {id} AND {}", of_job.join(" AND "))));
    }
    for (key, value) in wanted.labels.iter().skip(usize::from(lead == Lead::Label)) {
        let (key, value) = (sql.text(key), sql.text(value));
        let label = format!("job_labels l WHERE l.key = {key} AND l.value = {value} AND l.job_id = {id}");
        conditions.push(exists(&label));
    }
    let conditions = conditions.join(" AND ");
    format!("SELECT {id} AS id FROM {table} d WHERE {conditions} {order}LIMIT {most}")
}

/// Looked up for each row in turn: because of the OFFSET PostgreSQL does not make a join of it, which it might begin at
/// the wrong end.
fn exists(from: &str) -> String {
    format!("EXISTS (SELECT 1 FROM {from} LIMIT 1 OFFSET 0)")
}

/// Counts the jobs to which `lead` leads, alone or with all the other conditions.
fn count(tx: &mut dyn Tx, wanted: &Wanted, lead: Lead, most: u64) -> Result<u64, StoreError> {
    let mut sql = Sql::default();
    let ids = ids(&mut sql, wanted, lead, Asked::Any, most);
    sql.text = format!("SELECT COUNT(*) FROM ({ids}) counted");
    let counted = first(tx, &sql.text, &sql.args(), |row| row.int(0))?.unwrap_or(0);
    Ok(u64::try_from(counted).unwrap_or(0))
}

/// The condition that leads to the fewest jobs, as far as that can be seen quickly.
fn lead(tx: &mut dyn Tx, wanted: &Wanted) -> Result<Lead, StoreError> {
    let leads = wanted.leads();
    if let [only] = leads.as_slice() {
        return Ok(*only);
    }
    let mut best = (u64::MAX, leads.first().copied().unwrap_or(Lead::Id));
    for lead in leads {
        let alone = Wanted {
            columns: wanted
                .columns
                .iter()
                .filter(|(c, _)| lead == Lead::Spec(c) || (lead == Lead::State && *c == "user_id"))
                .cloned()
                .collect(),
            modes: Vec::new(),
            states: if lead == Lead::State { wanted.states.clone() } else { Vec::new() },
            labels: if lead == Lead::Label {
                wanted.labels.first().cloned().into_iter().collect()
            } else {
                Vec::new()
            },
            from: wanted.from.clone(),
            until: wanted.until.clone(),
            exactly: Vec::new(),
        };
        let found = count(tx, &alone, lead, PROBED_AT_MOST)?;
        if found < best.0 {
            best = (found, lead);
        }
    }
    Ok(best.1)
}

/// Lists jobs, newest first: those older than `before`, after skipping `offset`.
pub fn list(
    tx: &mut dyn Tx,
    filter: &Filter,
    before: Option<JobId>,
    limit: u32,
    offset: u32,
) -> Result<Page, StoreError> {
    let wanted = Wanted::of(filter);
    let lead = lead(tx, &wanted)?;
    let total = count(tx, &wanted, lead, COUNTED_AT_MOST + 1)?;
    let total = Some(total).filter(|n| *n <= COUNTED_AT_MOST);

    let before = before.map(|id| id.to_string());
    let most = u64::from(offset) + u64::from(limit) + 1;
    let mut sql = Sql::default();
    let ids = ids(&mut sql, &wanted, lead, Asked::Newest(before.as_deref()), most);
    sql.text = format!(
        "SELECT {COLUMNS} FROM (SELECT id FROM ({ids}) found ORDER BY id DESC LIMIT {} OFFSET {offset}) p \
         CROSS JOIN jobs j CROSS JOIN job_specs s WHERE j.id = p.id AND s.job_id = p.id ORDER BY p.id DESC",
        u64::from(limit) + 1
    );
    let mut jobs = all(tx, &sql.text, &sql.args(), read)?;
    let more = jobs.len() > limit as usize;
    jobs.truncate(limit as usize);
    Ok(Page { jobs, total, more })
}
