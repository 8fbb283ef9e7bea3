//! Changes of `hpc_jobs`: many rows in a few statements, each with its log, its audit and its messages.

use std::collections::HashSet;

use libra_core::hpc::job::HpcJob;
use libra_core::lifecycle::Transition;
use libra_core::time::Timestamp;
use serde_json::{Value, json};

use super::audit::{self, Author};
use crate::error::StoreError;
use crate::lane::{Origin, OutboxRow, Outcome};
use crate::tables::{element, json as text_of, outbox, transitions};
use crate::tx::{Arg, Tx, all};

/// A row and what belongs to it: stored together or not at all.
#[derive(Clone, Debug)]
pub struct Write {
    /// The row afterwards.
    pub job: HpcJob,
    /// True where it is a new one.
    pub new: bool,
    /// When.
    pub at: Timestamp,
    /// What is told of it. None where nobody has changed anything, and it has moved on by itself, such as a priority.
    pub told: Option<Told>,
}

/// What is told of a change.
#[derive(Clone, Debug)]
pub struct Told {
    /// Who has made it.
    pub author: Author,
    /// Rows for the log of transitions.
    pub log: Vec<Transition>,
    /// What the log says besides, JSON; None: the source, and what the scheduler calls the state.
    pub metadata: Option<Value>,
    /// Messages for the world.
    pub outbox: Vec<OutboxRow>,
}

impl Told {
    /// A change that is told nobody outside.
    pub fn here(author: Author, log: Vec<Transition>) -> Self {
        Self { author, log, metadata: None, outbox: Vec::new() }
    }
}

/// Stores rows that were decided on. [`Outcome::Stale`] where a row is not as it was read, as it is for the second of two
/// writes of one job, and where a new one has come too late: read again, and decide again.
pub fn apply(tx: &mut dyn Tx, writes: &[Write]) -> Result<Vec<Outcome>, StoreError> {
    let mut seen = HashSet::new();
    let first: Vec<bool> = writes.iter().map(|write| seen.insert(write.job.id)).collect();
    let each = writes.iter().zip(&first).filter(|(_, first)| **first).map(|(write, _)| write);
    let (mut new, mut changed): (Vec<&Write>, Vec<&Write>) = each.partition(|write| write.new);
    // Whoever else writes the same rows does so in the same order: nobody waits for somebody who waits.
    let number =
        |write: &&Write| (write.job.cluster.clone(), write.job.record.external_id.clone(), write.job.run);
    new.sort_by_key(number);
    changed.sort_by_key(|write| write.job.id);
    let mut stored = insert(tx, &new)?;
    stored.extend(update(tx, &changed)?);
    let outcomes = writes.iter().zip(first);
    let outcomes = outcomes.map(|(write, first)| first && stored.contains(&write.job.id.to_string()));
    let outcomes: Vec<bool> = outcomes.collect();
    let done: Vec<&Write> =
        writes.iter().zip(&outcomes).filter(|(_, stored)| **stored).map(|(write, _)| write).collect();
    belongings(tx, &done)?;
    Ok(outcomes.into_iter().map(|stored| if stored { Outcome::Updated } else { Outcome::Stale }).collect())
}

/// The columns that an update changes, in the order of [`values`], behind the id.
const CHANGED: [(&str, &str); 13] = [
    ("revision", "BIGINT"),
    ("state", "TEXT"),
    ("hpc_state", "TEXT"),
    ("user_name", "TEXT"),
    ("account", "TEXT"),
    ("partition_name", "TEXT"),
    ("start_time", "BIGINT"),
    ("end_time", "BIGINT"),
    ("record", "TEXT"),
    ("hint", "TEXT"),
    ("failure", "TEXT"),
    ("updated_at", "BIGINT"),
    ("whole", "TEXT"),
];
/// What a new row has besides, in the order of [`values`].
const FIXED: [(&str, &str); 6] = [
    ("tenant", "TEXT"),
    ("client_id", "TEXT"),
    ("cluster", "TEXT"),
    ("external_id", "TEXT"),
    ("run", "BIGINT"),
    ("correlation_id", "TEXT"),
];
/// Where the time is at which it was made.
const CREATED: (&str, &str) = ("created_at", "BIGINT");

/// A row: its id, [`CHANGED`], [`FIXED`] and [`CREATED`].
fn values(job: &HpcJob) -> Result<Value, StoreError> {
    let record = &job.record;
    let hint = job.hint.as_ref().map(|hint| text_of("hint of an end", hint)).transpose()?;
    let failure = job.failure.as_ref().map(|failure| text_of("failure", failure)).transpose()?;
    Ok(json!([
        job.id.to_string(),
        job.revision,
        job.state.as_str(),
        job.hpc_state().as_str(),
        record.owner(),
        record.account,
        record.partition,
        record.started.map(|at| at.0),
        record.ended.map(|at| at.0),
        text_of("record of a job", record)?,
        hint,
        failure,
        job.updated_at.0,
        record.whole().map(|number| number.to_string()),
        job.tenant,
        job.client_id,
        job.cluster,
        record.external_id,
        job.run,
        job.correlation_id,
        job.created_at.0,
    ]))
}

fn rows(writes: &[&Write]) -> Result<String, StoreError> {
    let rows = writes.iter().map(|write| values(&write.job)).collect::<Result<Vec<_>, _>>()?;
    text_of("rows of jobs", &rows)
}

/// Answers the ids of those that are stored.
fn insert(tx: &mut dyn Tx, writes: &[&Write]) -> Result<HashSet<String>, StoreError> {
    if writes.is_empty() {
        return Ok(HashSet::new());
    }
    let columns = CHANGED.iter().chain(&FIXED).chain([&CREATED]);
    let names: Vec<&str> = columns.clone().map(|(name, _)| *name).collect();
    let read: Vec<String> = columns.zip(1..).map(|((_, kind), n)| element(n, kind)).collect();
    // SQLite takes ON for a join's where no condition stands before it.
    let sql = format!(
        "INSERT INTO hpc_jobs (id, {}) SELECT e.value ->> 0, {} FROM {} AS e WHERE 1 = 1 ON CONFLICT DO NOTHING RETURNING id",
        names.join(", "),
        read.join(", "),
        tx.elements()
    );
    Ok(all(tx, &sql, &[Arg::from(&rows(writes)?)], |row| row.text(0))?.into_iter().collect())
}

/// Answers the ids of those that were as they were read.
fn update(tx: &mut dyn Tx, writes: &[&Write]) -> Result<HashSet<String>, StoreError> {
    if writes.is_empty() {
        return Ok(HashSet::new());
    }
    let rows = rows(writes)?;
    if tx.ids_may_appear_late() && writes.len() > 1 {
        let sql = format!(
            "SELECT j.id FROM {} AS e JOIN hpc_jobs j ON j.id = e.value ->> 0 ORDER BY j.id FOR UPDATE OF j",
            tx.elements()
        );
        all(tx, &sql, &[Arg::from(&rows)], |row| row.text(0))?;
    }
    let set: Vec<String> =
        CHANGED.iter().zip(1..).map(|((name, kind), n)| format!("{name} = {}", element(n, kind))).collect();
    let sql = format!(
        "UPDATE hpc_jobs SET {} FROM {} AS e WHERE hpc_jobs.id = e.value ->> 0 AND hpc_jobs.revision = {} - 1 RETURNING hpc_jobs.id",
        set.join(", "),
        tx.elements(),
        element(1, "BIGINT")
    );
    Ok(all(tx, &sql, &[Arg::from(&rows)], |row| row.text(0))?.into_iter().collect())
}

/// What stands elsewhere of rows that were stored.
fn belongings(tx: &mut dyn Tx, done: &[&Write]) -> Result<(), StoreError> {
    name_nodes(tx, done)?;
    let (mut entries, mut audited) = (Vec::new(), Vec::new());
    for write in done {
        let Some(Told { author, log, metadata, .. }) = &write.told else { continue };
        let job = &write.job;
        let own = || json!({"source": author.source, "rawState": job.record.raw_state});
        let metadata = text_of("metadata of a transition", &metadata.clone().unwrap_or_else(own))?;
        let origin = Origin { at: write.at, actor: author.changed_by.clone(), metadata: Some(metadata) };
        let correlation_id = author.correlation_id.clone();
        entries.push(transitions::Entry { job: job.id, revision: job.revision, correlation_id, log, origin });
        audited.push((job, author, write.at));
    }
    transitions::append_all(tx, &entries)?;
    audit::append(tx, &audited)?;
    for write in done {
        if let Some(told) = write.told.as_ref().filter(|told| !told.outbox.is_empty()) {
            outbox::append(tx, &write.job.id.to_string(), &told.outbox, write.at)?;
        }
    }
    Ok(())
}

/// The nodes that they were ever on: who asks for a node's jobs wants those that have left it, too.
fn name_nodes(tx: &mut dyn Tx, done: &[&Write]) -> Result<(), StoreError> {
    // What has moved on by itself has moved to no other node.
    let told = done.iter().filter(|write| write.told.is_some());
    let of = |write: &&&Write| {
        let id = write.job.id.to_string();
        write.job.record.nodes.iter().map(move |node| json!([node, id])).collect::<Vec<_>>()
    };
    let named: Vec<Value> = told.flat_map(|write| of(&write)).collect();
    if named.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "INSERT INTO hpc_job_nodes (node, job_id) SELECT e.value ->> 0, e.value ->> 1 FROM {} AS e WHERE 1 = 1 \
         ON CONFLICT DO NOTHING",
        tx.elements()
    );
    tx.execute(&sql, &[Arg::from(&text_of("nodes of jobs", &named)?)])?;
    Ok(())
}
