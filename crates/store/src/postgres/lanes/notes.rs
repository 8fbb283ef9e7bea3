//! Notes about attempts, in one statement.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::{Arc, LazyLock};

use libra_core::attempt::Holder;
use libra_core::id::JobId;
use tokio_postgres::types::ToSql;

use super::Command;
use crate::error::StoreError;
use crate::lane::{AttemptNote, Note, Outcome};
use crate::postgres::connection::{Connection, Failure};
use crate::postgres::pool::Pool;
use crate::postgres::rows::{Of, Rows, unnest};
use crate::tables::attempts::SeenTexts;
use crate::tables::json;
use crate::tx::Arg;

/// Which attempt, who has to hold it, and what is set; NULL sets nothing.
const COLUMNS: [(&str, Of); 15] = [
    ("job_id", Of::Text),
    ("number", Of::Int),
    ("held_by", Of::Text),
    ("held_epoch", Of::Int),
    ("holder", Of::Text),
    ("epoch", Of::Int),
    ("launched_at", Of::Int),
    ("host", Of::Text),
    ("handle", Of::Text),
    ("progress", Of::Text),
    ("application_id", Of::Text),
    ("links", Of::Text),
    ("usage", Of::Text),
    ("looks", Of::Int),
    ("started_at", Of::Int),
];

/// `ended_at` is asked for in such a way that the index of open attempts is not even considered: it would be walked
/// from end to end.
static SQL: LazyLock<String> = LazyLock::new(|| {
    format!(
        "UPDATE attempts a SET holder = COALESCE(n.holder, a.holder), epoch = COALESCE(n.epoch, a.epoch), \
         launched_at = COALESCE(n.launched_at, a.launched_at), host = COALESCE(n.host, a.host), \
         handle = COALESCE(n.handle, a.handle), progress = COALESCE(n.progress, a.progress), \
         application_id = COALESCE(n.application_id, a.application_id), links = COALESCE(n.links, a.links), \
         usage = COALESCE(n.usage, a.usage), looks = COALESCE(n.looks + 1, a.looks), \
         started_at = COALESCE(n.started_at, a.started_at) \
         FROM {} \
         WHERE a.job_id = n.job_id AND a.number = n.number AND COALESCE(a.ended_at, -1) = -1 \
         AND ((n.held_by IS NULL AND a.holder IS NULL) OR (a.holder = n.held_by AND a.epoch = n.held_epoch)) \
         AND COALESCE(n.looks, a.looks) = a.looks \
         RETURNING n.ord",
        unnest("n", &COLUMNS, 0)
    )
});

impl Command for AttemptNote {
    type Answer = Outcome;
    type Store = Arc<Pool>;

    fn key(&self) -> impl Hash {
        (self.job_id, self.number)
    }

    fn bytes(&self) -> usize {
        1_024
    }

    async fn write(pool: &Arc<Arc<Pool>>, batch: Vec<Self>) -> Vec<Result<Outcome, StoreError>> {
        match write(pool, &batch).await {
            Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
            Err(e) => batch.iter().map(|_| Err(e.clone())).collect(),
        }
    }
}

/// What a note sets, as text.
#[derive(Default)]
struct Set<'a> {
    job_id: String,
    held_by: Option<&'a Holder>,
    holder: Option<&'a Holder>,
    launched_at: Option<i64>,
    host: Option<&'a str>,
    handle: Option<String>,
    progress: Option<String>,
    application_id: Option<&'a str>,
    links: Option<String>,
    usage: Option<String>,
    looks: Option<i64>,
    started_at: Option<i64>,
}

fn set(note: &AttemptNote) -> Result<Set<'_>, StoreError> {
    let held = Set { job_id: note.job_id.to_string(), held_by: Some(&note.by), ..Set::default() };
    Ok(match &note.what {
        Note::Claim { at, host } => {
            Set { held_by: None, holder: Some(&note.by), launched_at: Some(at.0), host: Some(host), ..held }
        }
        Note::Intent { at, host } => Set { launched_at: Some(at.0), host: Some(host), ..held },
        Note::Handle(handle) => Set { handle: Some(json("handle", handle)?), ..held },
        Note::Seen(seen) => {
            let SeenTexts { progress, usage, links } = SeenTexts::of(seen)?;
            Set {
                progress,
                application_id: seen.application_id.as_deref(),
                links: Some(links),
                usage,
                looks: Some(seen.after),
                started_at: seen.began.map(|at| at.0),
                ..held
            }
        }
        Note::TakeOver { from } => Set { held_by: Some(from), holder: Some(&note.by), ..held },
    })
}

async fn write(pool: &Arc<Pool>, batch: &[AttemptNote]) -> Result<Vec<Outcome>, StoreError> {
    let sets = batch.iter().map(set).collect::<Result<Vec<_>, _>>()?;
    let mut rows = Rows::new(&COLUMNS);
    for (note, s) in batch.iter().zip(&sets) {
        rows.push([
            Arg::from(&s.job_id),
            note.number.into(),
            s.held_by.map(|h| &h.replica).into(),
            s.held_by.map(|h| h.epoch).into(),
            s.holder.map(|h| &h.replica).into(),
            s.holder.map(|h| h.epoch).into(),
            s.launched_at.into(),
            s.host.into(),
            s.handle.as_ref().into(),
            s.progress.as_ref().into(),
            s.application_id.into(),
            s.links.as_ref().into(),
            s.usage.as_ref().into(),
            s.looks.into(),
            s.started_at.into(),
        ]);
    }
    let arguments: Vec<&(dyn ToSql + Sync)> = rows.arguments().collect();
    let mut connection = pool.get().await?;
    let written = connection.query(&SQL, &arguments).await?;
    let updated: HashSet<i64> = written.iter().map(|row| row.get(0)).collect();
    let missed: Vec<(JobId, u32)> = (1i64..)
        .zip(batch)
        .filter(|(n, _)| !updated.contains(n))
        .map(|(_, note)| (note.job_id, note.number))
        .collect();
    let there = there(&mut connection, &missed).await?;
    Ok((1i64..)
        .zip(batch)
        .map(|(n, note)| match updated.contains(&n) {
            true => Outcome::Updated,
            false if there.contains(&(note.job_id.to_string(), i64::from(note.number))) => Outcome::Stale,
            false => Outcome::Absent,
        })
        .collect())
}

/// Which of the attempts there are.
async fn there(
    connection: &mut Connection,
    missed: &[(JobId, u32)],
) -> Result<HashSet<(String, i64)>, Failure> {
    if missed.is_empty() {
        return Ok(HashSet::new());
    }
    let ids: Vec<String> = missed.iter().map(|(id, _)| id.to_string()).collect();
    let numbers: Vec<i64> = missed.iter().map(|(_, number)| i64::from(*number)).collect();
    let sql = "SELECT a.job_id, a.number FROM unnest($1::text[], $2::bigint[]) AS n(job_id, number) \
               JOIN attempts a ON a.job_id = n.job_id AND a.number = n.number";
    let found = connection.query(sql, &[&ids, &numbers]).await?;
    Ok(found.iter().map(|row| (row.get(0), row.get(1))).collect())
}
