//! Looking at a database file without changing it, and bringing it up to date.

use std::path::Path;
use std::time::{Duration, Instant};

use super::connection::{OpenFor, open};
use super::migrate::{NEWEST_SCHEMA, migrate};
use crate::backend::Kind;
use crate::error::StoreError;
use crate::postgres::CheckReport;

/// Looks at the file; one that is not there yet is fine.
pub(crate) fn check(path: &Path) -> Result<CheckReport, StoreError> {
    let asked = Instant::now();
    let (schema_found, writable) = if path.exists() {
        let conn = open(path, OpenFor::Reading)?;
        let found = conn.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        (found, !std::fs::metadata(path).is_ok_and(|m| m.permissions().readonly()))
    } else {
        (0, path.parent().is_some_and(Path::is_dir))
    };
    Ok(CheckReport {
        kind: Kind::Sqlite,
        url: format!("sqlite://{}", path.display()),
        version: rusqlite::version().to_owned(),
        schema_found,
        schema_known: NEWEST_SCHEMA,
        latency: asked.elapsed().max(Duration::from_micros(1)),
        clock_ahead_micros: 0,
        connections: None,
        writable,
    })
}

/// Migrates; says from which version to which.
pub(crate) fn migrate_file(path: &Path) -> Result<(i64, i64), StoreError> {
    Ok((migrate(&mut open(path, OpenFor::Writing)?)?, NEWEST_SCHEMA))
}
