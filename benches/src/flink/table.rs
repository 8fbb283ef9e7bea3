//! The table of deployments in Libra's database: filled past Libra, and read while it works.

use std::path::Path;

use libra_core::deployment::agenda::Agenda;
use libra_core::deployment::declared::Declared;
use libra_core::deployment::reconcile::{Fate, Kept, Mode, Phase, Row, Run, Stable, Wish};
use libra_store::db::DATABASE_FILE;
use rusqlite::{Connection, OpenFlags, params};

use super::{job_id, name, spec};
use crate::Outcome;

/// What no pass that changes nothing may change.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Written {
    revisions: i64,
    versions: i64,
    events: i64,
    updated_at: i64,
    agendas: String,
}

/// Adds deployments whose jobs run and are stable, with these numbers.
pub(super) fn fill(data_dir: &Path, cluster: &str, numbers: std::ops::Range<u32>) -> Outcome<()> {
    let mut db = Connection::open(database(data_dir))?;
    let tx = db.transaction()?;
    let wish = serde_json::to_string(&Declared::first())?;
    let agenda = serde_json::to_string(&Agenda::default())?;
    {
        let mut deployment = tx.prepare(
            "INSERT INTO deployments (tenant, id, user_id, cluster, version, wish, revision, state, agenda, events, \
             created_at, updated_at) VALUES ('default', ?1, 'local', ?2, 1, ?3, 1, ?4, ?5, 0, 1, 1)",
        )?;
        let mut generation = tx.prepare(
            "INSERT INTO deployment_generations (tenant, deployment, generation, spec, digest, applied_at, applied_by) \
             VALUES ('default', ?1, 1, ?2, ?3, 1, 'local')",
        )?;
        for number in numbers {
            let row = serde_json::to_string(&stable(number)?)?;
            deployment.execute(params![name(number), cluster, wish, row, agenda])?;
            let spec = spec(&name(number), cluster, 1).to_string();
            generation.execute(params![name(number), spec, "ab".repeat(32)])?;
        }
    }
    Ok(tx.commit()?)
}

fn stable(number: u32) -> Outcome<Row> {
    let id = job_id(number);
    let kept = Kept { path: format!("fake:/checkpoints/{id}/chk-5"), number: 5 };
    let run = Run { kept: Some(kept), proven: true, ..Run::new(id.try_into()?, 1, 0, Fate::Live) };
    Ok(Row {
        revision: 1,
        phase: Phase::Stable,
        wish: Some(Wish { mode: Mode::Running, generation: 1, nonce: 0 }),
        run: Some(run),
        stable: Some(Stable { generation: 1, state: None }),
        life: Some("/tmp/flink-web-1".to_owned()),
        ..Row::default()
    })
}

/// How everything stands.
pub(super) fn written(data_dir: &Path) -> Outcome<Written> {
    let sql = "SELECT sum(revision), sum(version), sum(events), max(updated_at), group_concat(DISTINCT agenda) FROM deployments";
    Ok(read_only(data_dir)?.query_row(sql, [], |row| {
        Ok(Written {
            revisions: row.get(0)?,
            versions: row.get(1)?,
            events: row.get(2)?,
            updated_at: row.get(3)?,
            agendas: row.get(4)?,
        })
    })?)
}

/// Deployments whose job of this generation is stable.
pub(super) fn stable_at(data_dir: &Path, generation: u32) -> Outcome<u32> {
    let sql = "SELECT count(*) FROM deployments WHERE json_extract(state, '$.phase') = 'stable' \
               AND json_extract(state, '$.run.generation') = ?1";
    Ok(read_only(data_dir)?.query_row(sql, [generation], |row| row.get(0))?)
}

fn read_only(data_dir: &Path) -> Outcome<Connection> {
    Ok(Connection::open_with_flags(database(data_dir), OpenFlags::SQLITE_OPEN_READ_ONLY)?)
}

fn database(data_dir: &Path) -> std::path::PathBuf {
    data_dir.join(DATABASE_FILE)
}
