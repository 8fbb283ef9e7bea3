//! Statements that walk along the list of one condition and look into those of the others.

use libra_core::id::JobId;
use libra_core::job::Job;

use super::conditions::{Condition, Moment, Range};
use crate::error::StoreError;
use crate::tables::jobs::{COLUMNS, WIDTH, read};
use crate::tx::{Arg, Tx, all, first};

/// A statement's arguments.
#[derive(Default)]
struct Args(Vec<Owned>);

enum Owned {
    Int(i64),
    Text(String),
}

impl Args {
    fn int(&mut self, value: i64) -> String {
        self.0.push(Owned::Int(value));
        format!("?{}", self.0.len())
    }

    fn text(&mut self, value: &str) -> String {
        self.0.push(Owned::Text(value.to_owned()));
        format!("?{}", self.0.len())
    }

    fn id(&mut self, id: JobId) -> String {
        self.text(&id.to_string())
    }

    fn given(&self) -> Vec<Arg<'_>> {
        self.0
            .iter()
            .map(|owned| match owned {
                Owned::Int(n) => Arg::Int(*n),
                Owned::Text(text) => Arg::Text(text),
            })
            .collect()
    }
}

/// `FROM … WHERE …`: the rows of a condition's list, `d`, with one of its values where it has several.
fn listed(args: &mut Args, condition: &Condition, value: Option<&str>, range: Range) -> String {
    let id = condition.id;
    // Where there is no other one.
    let mut tests = vec!["1 = 1".to_owned()];
    tests.extend(condition.equal.iter().map(|(column, value)| format!("d.{column} = {}", args.text(value))));
    if let (Some((column, _)), Some(value)) = (&condition.one_of, value) {
        tests.push(format!("d.{column} = {}", args.text(value)));
    }
    tests.extend(range.least.map(|least| format!("d.{id} >= {}", args.id(least))));
    tests.extend(range.before.map(|before| format!("d.{id} < {}", args.id(before))));
    format!("FROM {} d WHERE {}", condition.table, tests.join(" AND "))
}

/// ` AND …`: a test of what the index holds besides. Because of `|| ''` no other index is thought of.
fn within(args: &mut Args, row: &str, condition: &Condition) -> String {
    let test = |(column, value): &(&str, String)| format!(" AND {row}.{column} || '' = {}", args.text(value));
    condition.within.as_ref().map(test).unwrap_or_default()
}

/// The values of a condition, each of which has an order of its own.
fn values(condition: &Condition) -> Vec<Option<&'static str>> {
    match &condition.one_of {
        None => vec![None],
        Some((_, values)) => values.iter().copied().map(Some).collect(),
    }
}

/// Looked up for each row in turn: because of the OFFSET PostgreSQL does not make a join of it, which it might begin at
/// the wrong end.
fn exists(from: &str) -> String {
    format!("EXISTS (SELECT 1 FROM {from} LIMIT 1 OFFSET 0)")
}

/// A test whether the job of row `d` is in the list of a condition.
fn is_in(args: &mut Args, id: &str, condition: &Condition) -> String {
    let mut tests: Vec<String> =
        condition.equal.iter().map(|(column, value)| format!("o.{column} = {}", args.text(value))).collect();
    if let Some((column, values)) = &condition.one_of {
        let values: Vec<String> = values.iter().map(|value| args.text(value)).collect();
        tests.push(format!("o.{column} IN ({})", values.join(", ")));
    }
    let (table, other) = (condition.table, condition.id);
    // An equation would make SQLite take the index of the ids, and read the row.
    tests.push(format!("o.{other} >= d.{id} AND o.{other} <= d.{id}"));
    exists(&format!("{table} o WHERE {}{}", tests.join(" AND "), within(args, "o", condition)))
}

/// A test of the time to the microsecond.
fn is_at(args: &mut Args, id: &str, moment: &Moment) -> String {
    let (by_id, by_time) = match moment {
        Moment::Since(at, from) => {
            (format!("d.{id} >= {}", args.id(*from)), format!("t.submitted_at >= {}", args.int(at.0)))
        }
        Moment::Until(at, from) => {
            (format!("d.{id} < {}", args.id(*from)), format!("t.submitted_at < {}", args.int(at.0)))
        }
    };
    format!("({by_id} OR {})", exists(&format!("jobs t WHERE t.id = d.{id} AND {by_time}")))
}

/// For each condition, the id to which so many steps back along its list lead; None where the list ends before.
pub(super) fn reaches(
    tx: &mut dyn Tx,
    conditions: &[(&Condition, u64)],
    range: Range,
) -> Result<Vec<Option<JobId>>, StoreError> {
    let mut args = Args::default();
    let mut columns = Vec::new();
    for (condition, steps) in conditions {
        let values = values(condition);
        // The steps are shared out among the values.
        let skipped = (steps / values.len() as u64).max(1) - 1;
        for value in values {
            let from = listed(&mut args, condition, value, range);
            let id = condition.id;
            columns.push(format!("(SELECT d.{id} {from} ORDER BY d.{id} DESC LIMIT 1 OFFSET {skipped})"));
        }
    }
    let sql = format!("SELECT {}", columns.join(", "));
    let parse = |text: String| text.parse().map_err(|_| StoreError::unreadable("job id", text));
    let found: Option<Vec<Option<JobId>>> = first(tx, &sql, &args.given(), |row| {
        (0..columns.len()).map(|column| row.opt_text(column)?.map(parse).transpose()).collect()
    })?;
    let mut found = found.unwrap_or_default().into_iter();
    // Beyond the newest of them, one of its values would be looked at for too long.
    Ok(conditions
        .iter()
        .map(|(condition, _)| found.by_ref().take(values(condition).len()).max().flatten())
        .collect())
}

/// The list of one condition within a range of ids, with tests of all the others.
pub(super) struct Walk<'c> {
    pub(super) lead: &'c Condition,
    pub(super) others: Vec<&'c Condition>,
    pub(super) moments: &'c [Moment],
    pub(super) range: Range,
}

/// In which order ids are wanted, and how many.
#[derive(Clone, Copy)]
enum Wanted {
    /// All, in any order.
    All,
    /// So many, whichever.
    Any(u64),
    /// So many of the newest.
    Newest(u64),
}

impl Walk<'_> {
    /// The newest jobs, after skipping some.
    pub(super) fn page(&self, tx: &mut dyn Tx, offset: u32, limit: u64) -> Result<Vec<Job>, StoreError> {
        let mut args = Args::default();
        let ids = self.ids(&mut args, Wanted::Newest(u64::from(offset) + limit));
        let sql = jobs("", &format!("({ids}) found"), offset, limit);
        all(tx, &sql, &args.given(), read)
    }

    /// Counts the jobs, no further than `most`.
    pub(super) fn count(&self, tx: &mut dyn Tx, most: u64) -> Result<u64, StoreError> {
        let mut args = Args::default();
        let ids = self.ids(&mut args, Wanted::Any(most));
        let sql = format!("SELECT COUNT(*) FROM ({ids}) counted");
        let counted = first(tx, &sql, &args.given(), |row| row.int(0))?;
        Ok(counted.and_then(|n| u64::try_from(n).ok()).unwrap_or(0))
    }

    /// The newest jobs, and how many there are in all: one walk for both.
    pub(super) fn counted_page(
        &self,
        tx: &mut dyn Tx,
        offset: u32,
        limit: u64,
    ) -> Result<(Vec<Job>, u64), StoreError> {
        let mut args = Args::default();
        let ids = self.ids(&mut args, Wanted::All);
        let matched = format!("WITH matched AS MATERIALIZED ({ids}) ");
        let sql = jobs(&matched, "matched", offset, limit);
        let mut counted = 0;
        let found = all(tx, &sql, &args.given(), |row| {
            counted = u64::try_from(row.int(WIDTH)?).unwrap_or(0);
            read(row)
        })?;
        if found.is_empty() && offset > 0 {
            counted = self.count(tx, u64::from(offset))?;
        }
        Ok((found, counted))
    }

    /// `SELECT id …`.
    fn ids(&self, args: &mut Args, wanted: Wanted) -> String {
        let branches: Vec<String> =
            values(self.lead).into_iter().map(|value| self.branch(args, value, wanted)).collect();
        let [one] = branches.as_slice() else {
            let several: Vec<String> =
                branches.iter().map(|one| format!("SELECT id FROM ({one}) one")).collect();
            let every = format!("SELECT id FROM ({}) every", several.join(" UNION ALL "));
            return every + &wanted.end("id");
        };
        one.clone()
    }

    fn branch(&self, args: &mut Args, value: Option<&str>, wanted: Wanted) -> String {
        let id = self.lead.id;
        let mut sql = format!("SELECT d.{id} AS id {}", listed(args, self.lead, value, self.range));
        sql += &within(args, "d", self.lead);
        for other in &self.others {
            sql += " AND ";
            sql += &is_in(args, id, other);
        }
        for moment in self.moments {
            sql += " AND ";
            sql += &is_at(args, id, moment);
        }
        sql + &wanted.end(&format!("d.{id}"))
    }
}

impl Wanted {
    fn end(self, id: &str) -> String {
        match self {
            Self::All => String::new(),
            Self::Any(most) => format!(" LIMIT {most}"),
            Self::Newest(most) => format!(" ORDER BY {id} DESC LIMIT {most}"),
        }
    }
}

/// Jobs by the newest of the given ids; where they were matched before, with their number.
fn jobs(matched: &str, ids: &str, offset: u32, limit: u64) -> String {
    let counted = if matched.is_empty() { "" } else { ", (SELECT COUNT(*) FROM matched)" };
    format!(
        "{matched}SELECT {COLUMNS}{counted} FROM (SELECT id FROM {ids} ORDER BY id DESC LIMIT {limit} OFFSET {offset}) p \
         CROSS JOIN jobs j CROSS JOIN job_specs s WHERE j.id = p.id AND s.job_id = p.id ORDER BY p.id DESC"
    )
}
