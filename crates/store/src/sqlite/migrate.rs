//! Forward-only migrations, applied at start; `user_version` remembers the last one.

use rusqlite::Connection;

use crate::error::StoreError;

/// The migrations, oldest first. An entry never changes once it was released; a change is a new entry.
const MIGRATIONS: [&str; 13] = [
    include_str!("../../migrations/sqlite/0001_jobs.sql"),
    include_str!("../../migrations/sqlite/0002_replicas.sql"),
    include_str!("../../migrations/sqlite/0003_feed_segments.sql"),
    include_str!("../../migrations/sqlite/0004_usage.sql"),
    include_str!("../../migrations/sqlite/0005_deployments.sql"),
    include_str!("../../migrations/sqlite/0006_generations_fared.sql"),
    include_str!("../../migrations/sqlite/0007_signatures.sql"),
    include_str!("../../migrations/sqlite/0008_artifact_versions.sql"),
    include_str!("../../migrations/sqlite/0009_begins_alone.sql"),
    include_str!("../../migrations/sqlite/0010_hpc.sql"),
    include_str!("../../migrations/sqlite/0011_hpc_whole.sql"),
    include_str!("../../migrations/sqlite/0012_hpc_figures.sql"),
    include_str!("../../migrations/sqlite/0013_hpc_removed.sql"),
];

/// The newest schema version that this program knows.
#[expect(clippy::cast_possible_wrap, reason = "a handful of migrations")]
pub const NEWEST_SCHEMA: i64 = MIGRATIONS.len() as i64;

/// Brings the database to [`NEWEST_SCHEMA`]; says from which version it came.
///
/// # Errors
/// [`StoreError::TooNew`] when a newer Libra wrote it; nothing is changed then.
pub fn migrate(conn: &mut Connection) -> Result<i64, StoreError> {
    let found: i64 = conn.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found > NEWEST_SCHEMA {
        return Err(StoreError::TooNew { found, known: NEWEST_SCHEMA });
    }
    for (version, sql) in (1i64..).zip(MIGRATIONS) {
        if version > found {
            let tx = conn.transaction()?;
            tx.execute_batch(sql)?;
            tx.pragma_update(None, "user_version", version)?;
            tx.commit()?;
        }
    }
    Ok(found)
}
